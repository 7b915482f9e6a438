"""The model in NumPy, in float64: what every quantised or compiled form is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip.mistakes import did_you_mean
from einchip.models.cells import ACTIVATIONS, gru_before_step, gru_step, lstm_step
from einchip.models.errors import model_error
from einchip.models.formats import matrix_network, to_dense
from einchip.models.matrix import Matrix, one_hot
from einchip.models.spec import (
    LinearSpec,
    MatrixSpec,
    ModelSpec,
    RecurrentSpec,
    model_matrices,
    tensor_shapes,
)

Float = NDArray[np.float64]
Wires = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Steps:
    """Time steps of several sequences as rows, sequence after sequence."""

    lengths: NDArray[np.int64]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First row of each sequence."""
        return np.cumsum(self.lengths) - self.lengths

    def walk(self, reverse: bool) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield for every step: the sequences that have it, and their rows."""
        for t in range(int(self.lengths.max(initial=0))):
            (alive,) = np.nonzero(t < self.lengths)
            step = self.lengths[alive] - 1 - t if reverse else t
            yield alive, self.starts[alive] + step


@dataclass(frozen=True)
class Model:
    """A model with its weights: a chain of embedding, linear and recurrent layers.

    What a layer computes is said at its class in `einchip.models.spec`. States start at 0.

    Attributes:
        spec: formats and sizes.
        tensors: the arrays named by `tensor_shapes`; missing, extra or ill-shaped ones, and NaN
            or infinity, raise `ModelError`.
    """

    spec: ModelSpec
    tensors: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        check_tensors(self.spec, self.tensors, self.spec.name)

    def cores(self, matrix: str) -> dict[str, np.ndarray]:
        """Return the tensors of one matrix, named as in formats; "layers.0.input" for example."""
        spec, _ = self._matrix_spec(matrix)
        return {name: self.tensors[f"{matrix}.{name}"] for name in matrix_network(spec).tensors}

    def matrix(self, matrix: str) -> Float:
        """Return one weight matrix in full, rows gate-slowest; "layers.0.input" for example."""
        spec, n_gates = self._matrix_spec(matrix)
        return to_dense(spec, self.cores(matrix), n_gates)

    def _matrix_spec(self, matrix: str) -> tuple[MatrixSpec, int]:
        return model_matrices(self.spec)[matrix]

    def run(self, sequence: ArrayLike) -> Float:
        """Run one sequence ``[n_steps, input_size]`` (tokens ``[n_steps]`` with an embedding).

        Returns ``[n_out]`` with output "last", ``[n_steps, n_out]`` with output "sequence".
        """
        rows = self.run_batch([sequence])
        return rows[0] if self.spec.output == "last" else rows

    def run_batch(self, sequences: Sequence[ArrayLike]) -> Float:
        """Run sequences of any lengths together.

        Returns ``[n_sequences, n_out]`` with output "last"; with output "sequence" the rows of all
        steps, sequence after sequence, ``[sum of lengths, n_out]``.
        """
        return self._run(sequences, None)

    def record(self, sequences: Sequence[ArrayLike]) -> Wires:
        """Return the rows of every data wire, one for each step of each sequence, in order.

        For a recurrent layer in direction d (``layers.0``, ``layers.0.reverse``): ``d.x``; ``d.h``
        before, ``d.h_after`` after the step; ``d.cell`` after it (c of an LSTM, h of a GRU); for a
        GRU with reset "before" ``d.reset``, s(r) h. For a linear layer ``layers.K.x`` and
        ``layers.K.y``; behind the last recurrent layer of a model with output "last" they have one
        row for each sequence. For an embedding ``embedding.e0`` .., the token's digits one-hot,
        and ``embedding.y``. The rows of all wires of a layer correspond.
        """
        wires: Wires = {}
        self._run(sequences, wires)
        return wires

    def _run(self, sequences: Sequence[ArrayLike], wires: Wires | None) -> Float:
        checked = [self._checked(k, s) for k, s in enumerate(sequences)]
        steps = Steps(np.array([len(s) for s in checked], dtype=np.int64))
        width = () if self.spec.embedding is not None else (self.spec.input_size,)
        rows: NDArray[Any] = np.concatenate([np.zeros((0, *width), np.int64), *checked])
        rows = self._embedded(rows, wires)
        for k, layer in enumerate(self.spec.layers):
            name = f"layers.{k}"
            if isinstance(layer, LinearSpec):
                rows = self._linear(name, layer, rows, wires)
                continue
            after, last = self._recurrent(name, layer, rows, steps, wires)
            ends = self.spec.output == "last" and k == self.spec.last_recurrent
            rows = last if ends else after
        return rows

    def _checked(self, k: int, sequence: ArrayLike) -> NDArray[Any]:
        """Return a sequence as an array of finite numbers or of tokens, or raise `ModelError`."""
        where, field = self.spec.name, f"sequence {k}"
        tokens = self.spec.embedding is not None
        shape = "[n_steps]" if tokens else f"[n_steps, {self.spec.input_size}]"
        expected = f"{'tokens' if tokens else 'numbers'} of shape {shape}"
        try:
            x = np.asarray(sequence)
        except (TypeError, ValueError) as e:
            raise model_error(where, field, e, expected, "give one row per time step") from None
        if x.dtype.kind not in ("iu" if tokens else "fiu"):
            kind = "integers" if tokens else "float"
            raise model_error(where, field, f"dtype {x.dtype}", expected, f"convert it to {kind}")
        if len(x.shape) != (1 if tokens else 2) or len(x) == 0 or not self._fits(x):
            found = f"shape {list(x.shape)}"
            raise model_error(where, field, found, expected, "give one row per time step")
        if not np.isfinite(x).all():
            raise model_error(where, field, "NaN or infinity", "finite values", "clean the data")
        if self.spec.embedding is not None:
            top = self.spec.embedding.vocabulary - 1
            if x.min() < 0 or x.max() > top:
                found = f"tokens from {x.min()} to {x.max()}"
                raise model_error(where, field, found, f"0 to {top}", "check the vocabulary")
        return x

    def _fits(self, x: NDArray[Any]) -> bool:
        return self.spec.embedding is not None or x.shape[1] == self.spec.input_size

    def _embedded(self, rows: NDArray[Any], wires: Wires | None) -> NDArray[Any]:
        """Return the embedding's rows of tokens; what is no token stays as it is."""
        if self.spec.embedding is None:
            return rows
        spec = self.spec.embedding.weight
        rows, tokens = self._matrix("embedding").look_up(rows), rows
        if wires is not None:
            digits = one_hot(tokens, spec.in_modes)
            wires |= {f"embedding.e{k}": digit for k, digit in enumerate(digits)}
            wires["embedding.y"] = rows
        return rows

    def _matrix(self, name: str, columns: slice | None = None) -> Matrix:
        spec, n_gates = self._matrix_spec(name)
        return Matrix(spec, self.cores(name), n_gates, columns)

    def _tensor(self, name: str) -> Float:
        return self.tensors[name].astype(np.float64)

    def _linear(
        self, name: str, layer: LinearSpec, rows: NDArray[Any], wires: Wires | None
    ) -> Float:
        y = self._matrix(f"{name}.weight").apply(rows)
        if layer.bias:
            y = y + self._tensor(f"{name}.bias")
        y = ACTIVATIONS[layer.activation](y)
        if wires is not None:
            wires |= {f"{name}.x": rows, f"{name}.y": y}
        return y

    def _recurrent(
        self,
        name: str,
        layer: RecurrentSpec,
        rows: NDArray[Any],
        steps: Steps,
        wires: Wires | None,
    ) -> tuple[Float, Float]:
        """Return h of every step and of the end: both directions side by side."""
        after, last = [], []
        for direction in layer.directions:
            runner = _Direction(self, f"{name}.{direction}", layer)
            found, end = runner.run(rows, steps, reverse=bool(direction))
            after.append(found["h_after"])
            last.append(end)
            if wires is not None:
                d = f"{name}.{direction}".removesuffix(".")
                wires |= {f"{d}.{wire}": value for wire, value in ({"x": rows} | found).items()}
        return np.concatenate(after, axis=1), np.concatenate(last, axis=1)


class _Direction:
    """One direction of a recurrent layer; `prefix` begins the names of its tensors."""

    def __init__(self, model: Model, prefix: str, layer: RecurrentSpec) -> None:
        x, h = layer.input_size, layer.hidden_size
        if layer.joint is None:
            self.input = model._matrix(f"{prefix}input")
            self.hidden = model._matrix(f"{prefix}hidden")
        else:
            self.input = model._matrix(f"{prefix}joint", slice(0, x))
            self.hidden = model._matrix(f"{prefix}joint", slice(x, x + h))
        self.layer = layer
        self.bias = model._tensor(f"{prefix}bias")
        after = layer.cell == "gru" and layer.reset == "after"
        self.bias_hidden = model._tensor(f"{prefix}bias_hidden") if after else None
        self.peepholes = model._tensor(f"{prefix}peepholes") if layer.peepholes else None

    def run(
        self, rows: NDArray[Any], steps: Steps, reverse: bool
    ) -> tuple[dict[str, Float], Float]:
        """Return the recorded wires by row, and the last h of every sequence."""
        gates = self.input.apply(rows) + self.bias
        size = self.layer.hidden_size
        h = np.zeros((len(steps.lengths), size))
        cell = h.copy()
        wires = {name: np.zeros((len(rows), size)) for name in self._wires()}
        for alive, at in steps.walk(reverse):
            wires["h"][at] = h[alive]
            found = self._step(gates[at], h[alive], cell[alive])
            for name, value in found.items():
                wires[name][at] = value
            h[alive] = found["h_after"]
            cell[alive] = found.get("cell", cell[alive])
        return wires, h

    def _wires(self) -> tuple[str, ...]:
        before = self.layer.cell == "gru" and self.layer.reset == "before"
        state = () if self.layer.cell == "rnn" else ("cell",)
        return ("h", "h_after", *state, *(("reset",) if before else ()))

    def _step(self, gates: Float, h: Float, cell: Float) -> dict[str, Float]:
        """Return what one step gives, by the names of wires."""
        if self.layer.cell == "rnn":
            act = ACTIVATIONS[self.layer.activation]
            return {"h_after": act(gates + self.hidden.apply(h))}
        if self.layer.cell == "lstm":
            c, new = lstm_step(gates + self.hidden.apply(h), cell, self.peepholes)
            return {"h_after": new, "cell": c}
        if self.bias_hidden is not None:
            new = gru_step(gates, self.hidden.apply(h) + self.bias_hidden, h)
            return {"h_after": new, "cell": new}
        new, reset = gru_before_step(gates, self.hidden.apply, h)
        return {"h_after": new, "cell": new, "reset": reset}


def check_tensors(spec: ModelSpec, tensors: dict[str, np.ndarray], where: object) -> None:
    """Raise `ModelError` unless `tensors` are the finite float arrays that `spec` names."""
    check_shapes(spec, {name: tensor.shape for name, tensor in tensors.items()}, where)
    for name, tensor in tensors.items():
        if tensor.dtype.kind != "f":
            raise model_error(where, name, tensor.dtype, "float32", "store it as float32")
        if not np.isfinite(tensor).all():
            raise model_error(where, name, "NaN or infinity", "finite values", "train it again")


def check_shapes(spec: ModelSpec, found: dict[str, tuple[int, ...]], where: object) -> None:
    """Raise `ModelError` unless names and shapes of tensors are those of `spec`."""
    shapes = tensor_shapes(spec)
    for name in found:
        if name not in shapes:
            near = did_you_mean(name, shapes.keys() - found.keys()).removeprefix("; ")
            advice = near or "remove it or change the spec"
            raise model_error(where, name, "an extra tensor", "only the spec's", advice)
    for name, shape in shapes.items():
        if name not in found:
            expected = f"shape {list(shape)}"
            raise model_error(where, name, "no such tensor", expected, "add the tensor")
    bonds = disagreeing_bond(spec, found)
    if bonds is not None:
        raise model_error(where, *bonds)
    for name, shape in shapes.items():
        if found[name] != shape:
            raise model_error(
                where,
                name,
                f"shape {list(found[name])}",
                f"shape {list(shape)}",
                "store the tensor as the spec's modes and ranks say",
            )


def disagreeing_bond(
    spec: ModelSpec, found: dict[str, tuple[int, ...]]
) -> tuple[str, str, str, str] | None:
    """Return field, found, expected, advice for two tensors whose common index has two sizes."""
    for prefix, (matrix, n_gates) in model_matrices(spec).items():
        seen: dict[str, tuple[str, int]] = {}
        for name, axes in matrix_network(matrix, n_gates).tensors.items():
            shape = found[f"{prefix}.{name}"]
            if len(shape) != len(axes):
                continue
            for index, size in zip(axes, shape, strict=True):
                other, first = seen.setdefault(index, (name, size))
                if first != size:
                    at = f"{prefix}.{other} and {prefix}.{name}"
                    sizes = f"sizes {first} and {size} of index {index}"
                    return at, sizes, "equal ones", "store tensors whose bonds agree"
    return None
