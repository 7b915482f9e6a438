"""The model in NumPy, in float64: what every quantised or compiled form is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip.models.errors import model_error
from einchip.models.formats import core_shapes, to_dense
from einchip.models.spec import N_GATES, MatrixSpec, ModelSpec

Float = NDArray[np.float64]


def tensor_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor that a model holds, in order.

    ``layers.0.input.*`` and ``layers.0.hidden.*`` are the cores of the two matrices (``G0``,
    ``G1``, .. or ``W``), ``layers.0.bias`` is the one bias of all gates (gate slowest), and
    ``head.weight``, ``head.bias`` exist if there is a head.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for k, layer in enumerate(spec.layers):
        for part, matrix in (("input", layer.input), ("hidden", layer.hidden)):
            shapes |= {f"layers.{k}.{part}.{n}": s for n, s in core_shapes(matrix).items()}
        shapes[f"layers.{k}.bias"] = (N_GATES * layer.hidden_size,)
    if spec.head is not None:
        shapes["head.weight"] = (spec.head.out_size, spec.layers[-1].hidden_size)
        shapes["head.bias"] = (spec.head.out_size,)
    return shapes


@dataclass(frozen=True)
class Model:
    """A model with its weights.

    The cell, for gates in the order i, f, g, o::

        i, f, g, o = W_input x + W_hidden h + bias
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    Both states start at 0. With a head, ``logits = W h + b`` of the last h.

    Attributes:
        spec: formats and sizes.
        tensors: the arrays named by `tensor_shapes`; missing, extra or ill-shaped ones, and NaN
            or infinity, raise `ModelError`.
    """

    spec: ModelSpec
    tensors: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        check_tensors(self.spec, self.tensors, self.spec.name)

    def cores(self, part: str, layer: int = 0) -> dict[str, np.ndarray]:
        """Return the cores of one matrix (`part` is "input" or "hidden"), named as in formats."""
        prefix = f"layers.{layer}.{part}."
        return {n[len(prefix) :]: t for n, t in self.tensors.items() if n.startswith(prefix)}

    def matrix(self, part: str, layer: int = 0) -> Float:
        """Return one weight matrix in full, ``[4 * hidden_size, in]``."""
        spec: MatrixSpec = getattr(self.spec.layers[layer], part)
        return to_dense(spec, self.cores(part, layer))

    def run(self, sequence: ArrayLike) -> Float:
        """Return the logits (the last h, if there is no head) of one ``[n_steps, input_size]``."""
        return self.run_batch([sequence])[0]

    def run_batch(self, sequences: Sequence[ArrayLike]) -> Float:
        """Run sequences of any lengths together; return ``[n_sequences, n_out]``.

        All run for as many steps as the longest; the state of each stops changing at its own end.
        """
        h = self._last_hidden([self._checked(k, s) for k, s in enumerate(sequences)])
        if self.spec.head is None:
            return h
        weight = self.tensors["head.weight"].astype(np.float64)
        return h @ weight.T + self.tensors["head.bias"].astype(np.float64)

    def _checked(self, k: int, sequence: ArrayLike) -> NDArray[Any]:
        """Return a sequence as an array of finite numbers, or raise `ModelError`."""
        where, field = self.spec.name, f"sequence {k}"
        n = self.spec.layers[0].input_size
        expected = f"numbers of shape [n_steps, {n}]"
        try:
            x = np.asarray(sequence)
        except (TypeError, ValueError) as e:
            raise model_error(where, field, e, expected, "give one row per time step") from None
        if x.dtype.kind not in "fiu":
            raise model_error(where, field, f"dtype {x.dtype}", expected, "convert it to float")
        if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] != n:
            found = f"shape {list(x.shape)}"
            raise model_error(where, field, found, expected, "give one row per time step")
        if not np.isfinite(x).all():
            raise model_error(where, field, "NaN or infinity", "finite values", "clean the data")
        return x

    def _last_hidden(self, sequences: list[NDArray[Any]]) -> Float:
        """Return the last hidden state of each sequence, ``[n_sequences, hidden_size]``."""
        lengths = np.array([len(s) for s in sequences], dtype=np.int64)
        h = np.zeros((len(sequences), self.spec.layers[0].hidden_size))
        c = h.copy()
        w_input, w_hidden = self.matrix("input").T, self.matrix("hidden").T
        bias = self.tensors["layers.0.bias"].astype(np.float64)
        for t in range(lengths.max(initial=0)):
            x = np.stack([s[min(t, len(s) - 1)] for s in sequences]).astype(np.float64)
            i, f, g, o = np.split(x @ w_input + h @ w_hidden + bias, N_GATES, axis=1)
            c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            alive = (t < lengths)[:, None]
            c = np.where(alive, c_new, c)
            h = np.where(alive, sigmoid(o) * np.tanh(c_new), h)
        return h


def sigmoid(x: Float) -> Float:
    """Return ``1 / (1 + exp(-x))`` without overflow."""
    return np.asarray(0.5 * (np.tanh(0.5 * x) + 1.0), dtype=np.float64)


def check_tensors(spec: ModelSpec, tensors: dict[str, np.ndarray], where: object) -> None:
    """Raise `ModelError` unless `tensors` are the finite float arrays that `spec` names."""
    shapes = tensor_shapes(spec)
    for name in tensors:
        if name not in shapes:
            raise model_error(
                where, name, "an extra tensor", "only the spec's", "remove it or change the spec"
            )
    for name, shape in shapes.items():
        if name not in tensors:
            raise model_error(
                where, name, "no such tensor", f"shape {list(shape)}", "add the tensor"
            )
        tensor = tensors[name]
        if tensor.shape != shape:
            raise model_error(
                where,
                name,
                f"shape {list(tensor.shape)}",
                f"shape {list(shape)}",
                "store the tensor as the spec's modes and ranks say",
            )
        if tensor.dtype.kind != "f":
            raise model_error(where, name, tensor.dtype, "float32", "store it as float32")
        if not np.isfinite(tensor).all():
            raise model_error(where, name, "NaN or infinity", "finite values", "train it again")
