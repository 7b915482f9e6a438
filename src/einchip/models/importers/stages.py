"""What every importer produces: stages with float32 weights in einchip's order, then a model.

Matrices are ``[n_gates * H, in]`` (linear: ``[out, in]``), rows gate-slowest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from einchip.models.errors import model_error
from einchip.models.io import spec_error
from einchip.models.spec import (
    GATE_ORDER,
    MAX_TENSOR_ELEMENTS,
    Activation,
    Cell,
    EmbeddingSpec,
    LinearSpec,
    MatrixSpec,
    ModelSpec,
    Output,
    RecurrentSpec,
    Reset,
    RnnActivation,
)

Float32 = NDArray[np.float32]
Array = NDArray[Any]

#: Order of the gates in the rows of each framework, by the letters of `GATE_ORDER` (g is the cell
#: candidate that ONNX and Keras call c; n the candidate that they call h).
FRAMEWORK_ORDER: Final[dict[str, dict[str, str]]] = {
    "pytorch": GATE_ORDER,
    "onnx": {"lstm": "iofg", "gru": "zrn", "rnn": "h"},
    "keras": {"lstm": "ifgo", "gru": "zrn", "rnn": "h"},
}
DENSE: Final = MatrixSpec(format="dense")


@dataclass(frozen=True)
class Weights:
    """Weights of one direction of a recurrent layer; `bias_hidden` [3H] of a GRU goes with U h."""

    input: Float32
    hidden: Float32
    bias: Float32
    bias_hidden: Float32 | None = None
    peepholes: Float32 | None = None

    def arrays(self) -> dict[str, Float32]:
        """Return the stored tensors of the direction by the last parts of their names."""
        named = {
            "input.W": self.input,
            "hidden.W": self.hidden,
            "bias": self.bias,
            "bias_hidden": self.bias_hidden,
            "peepholes": self.peepholes,
        }
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer; `directions` holds the forward one, and the reverse one if there is."""

    name: str
    cell: Cell
    directions: tuple[Weights, ...]
    reset: Reset = "after"
    activation: RnnActivation = "tanh"

    @property
    def hidden_size(self) -> int:
        """Units of one direction."""
        return int(self.directions[0].hidden.shape[1])

    @property
    def in_size(self) -> int:
        """Elements of one time step of the input."""
        return int(self.directions[0].input.shape[1])

    @property
    def out_size(self) -> int:
        """Elements of one time step of the output."""
        return self.hidden_size * len(self.directions)

    def spec(self) -> RecurrentSpec:
        """Return what a model file says about the layer."""
        return RecurrentSpec(
            cell=self.cell,
            input_size=self.in_size,
            hidden_size=self.hidden_size,
            gate_order=GATE_ORDER[self.cell],
            peepholes=self.directions[0].peepholes is not None,
            reset=self.reset,
            activation=self.activation,
            bidirectional=len(self.directions) == 2,
            input=DENSE,
            hidden=DENSE,
        )

    def tensors(self) -> dict[str, Float32]:
        """Return the stored tensors."""
        return {
            part + name: array
            for part, weights in zip(("", "reverse."), self.directions, strict=False)
            for name, array in weights.arrays().items()
        }


@dataclass(frozen=True)
class Linear:
    """A linear layer: a matrix `weight` by its format's tensors, `size` (out, in)."""

    name: str
    weight: Mapping[str, Float32]
    size: tuple[int, int]
    bias: Float32 | None = None
    activation: Activation = "none"
    matrix: MatrixSpec = DENSE

    @property
    def in_size(self) -> int:
        """Elements of the input."""
        return self.size[1]

    @property
    def out_size(self) -> int:
        """Elements of the output."""
        return self.size[0]

    def spec(self) -> LinearSpec:
        """Return what a model file says about the layer."""
        return LinearSpec(
            input_size=self.in_size,
            out_size=self.out_size,
            weight=self.matrix,
            bias=self.bias is not None,
            activation=self.activation,
        )

    def tensors(self) -> dict[str, Float32]:
        """Return the stored tensors."""
        bias = {} if self.bias is None else {"bias": self.bias}
        return {f"weight.{name}": array for name, array in self.weight.items()} | bias


def dense(
    name: str, weight: Float32, bias: Float32 | None = None, activation: Activation = "none"
) -> Linear:
    """Return a linear layer with one dense matrix ``[out, in]``."""
    size = (int(weight.shape[0]), int(weight.shape[1]))
    return Linear(name, {"W": weight}, size, bias, activation)


@dataclass(frozen=True)
class Embedding:
    """A lookup table ``weight[out, vocabulary]``."""

    name: str
    weight: Float32

    @property
    def out_size(self) -> int:
        """Elements of one looked-up vector."""
        return int(self.weight.shape[0])

    def spec(self) -> EmbeddingSpec:
        """Return what a model file says about the table."""
        vocabulary = int(self.weight.shape[1])
        return EmbeddingSpec(vocabulary=vocabulary, out_size=self.out_size, weight=DENSE)


Stage = Recurrent | Linear


@dataclass(frozen=True)
class Imported:
    """A model from outside.

    Attributes:
        spec, tensors: the model.
        notes: one sentence for each thing that the file leaves open and the reader assumed.
    """

    spec: ModelSpec
    tensors: dict[str, Float32]
    notes: tuple[str, ...]


def _advice(before: Stage | Embedding, stage: Stage) -> str:
    """Return what to do where a layer does not take what the one before it gives."""
    advice = "give the layers' order (--order NAME,NAME,..)"
    if isinstance(before, Linear) and before.in_size == stage.in_size:
        advice += f", or say that {before.name} is a lookup table (--embedding {before.name})"
    return advice


def assemble(
    where: object,
    name: str,
    stages: Sequence[Stage],
    output: Output,
    notes: Sequence[str] = (),
    embedding: Embedding | None = None,
) -> Imported:
    """Chain stages into a model.

    Raises:
        ModelError: there is no stage, or one does not take what the one before it gives.
    """
    if not stages:
        raise model_error(where, "layers", "none", "at least one layer", "name another file")
    _check_chain(where, stages, embedding)
    tensors = {
        f"layers.{k}.{part}": array
        for k, stage in enumerate(stages)
        for part, array in stage.tensors().items()
    }
    if embedding is not None:
        tensors["embedding.W"] = embedding.weight
    try:
        spec = ModelSpec(
            name=name,
            embedding=None if embedding is None else embedding.spec(),
            layers=tuple(stage.spec() for stage in stages),
            output=output,
        )
    except ValidationError as e:
        raise spec_error(e, where) from None
    return Imported(spec, tensors, tuple(notes))


def _check_chain(where: object, stages: Sequence[Stage], embedding: Embedding | None) -> None:
    """Raise ModelError where a stage does not take what the one before it gives."""
    before: Stage | Embedding | None = embedding
    for stage in stages:
        if before is not None and before.out_size != stage.in_size:
            found = f"{stage.in_size} inputs behind the {before.out_size} outputs of {before.name}"
            raise model_error(where, stage.name, found, "as many", _advice(before, stage))
        before = stage


def gate_rows(array: Array, cell: Cell, framework: str) -> Array:
    """Reorder the first axis (gates times H) from a framework's gate order to einchip's."""
    order = FRAMEWORK_ORDER[framework][cell]
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[order.index(gate)] for gate in GATE_ORDER[cell]])


def float32(where: object, field: str, array: Array) -> Float32:
    """Return a weight as contiguous float32.

    Raises:
        ModelError: it is not made of finite floats, too large, empty, or beyond float32.
    """
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise model_error(where, field, array.dtype, "floats", "store it as float32")
    if not 0 < array.size <= MAX_TENSOR_ELEMENTS:
        expected = f"1 to {MAX_TENSOR_ELEMENTS}"
        raise model_error(where, field, f"{array.size} elements", expected, "change the shape")
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(result).all():
        found = "NaN, infinity or a value beyond float32"
        raise model_error(where, field, found, "finite values", "train or store it again")
    return result
