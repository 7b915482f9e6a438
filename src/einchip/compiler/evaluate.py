"""Float runs of a mapped model: the values of every tensor, in the mapper's contraction order."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip.compiler.problem import ACTS, arrays_of, preactivations
from einchip.compiler.scales import thin
from einchip.mapper.calibration import Evaluation
from einchip.mapper.model import ModelMapping
from einchip.mapper.plan import Part, Step
from einchip.mapper.tree import ONE
from einchip.models import Model, cells
from einchip.numeric import ACT_IN_FRAC, WIDE_BITS

Float = NDArray[np.float64]
#: Most elements of one tensor over all rows; rows beyond are left out, evenly spaced.
MAX_ELEMENTS = 1 << 25
#: An activation's input is in [-8, 8).
ACT_LIMIT: Final = 2.0 ** (WIDE_BITS - 1 - ACT_IN_FRAC)
#: What the drain path's activations compute in float.
ACTIVATIONS: Final = {ACTS[name]: function for name, function in cells.ACTIVATIONS.items()}


def weights(model: Model, mapping: ModelMapping) -> dict[str, Float]:
    """Return the arrays of all weights and biases under the mapping's names, in its shapes."""
    arrays = {n: a.astype(np.float64) for n, a in arrays_of(model).items()}
    return {n: np.asarray(a, np.float64) for n, a in mapping.weight_arrays(arrays).items()}


def shape_of(part: Part, name: str) -> tuple[int, ...]:
    """Return the shape of a whole tensor as a part's steps see it."""
    tensor = part.tensors[name]
    sizes = {i: tensor.layout.sizes.get(i, 1) for i in tensor.indices}
    if tensor.sliced:
        sizes[part.slicing.index] *= part.slicing.count
    return tuple(sizes[i] for i in tensor.indices)


def step_einsum(part: Part, step: Step) -> tuple[str, str, str]:
    """Return the index letters of a step: left, right, result."""
    names = [part.tensors[n].indices for n in (step.left, step.right, step.name)]
    used = dict.fromkeys(i for n in names for i in n)
    letter = dict(zip(used, string.ascii_letters, strict=False))
    left, right, out = ("".join(letter[i] for i in n) for n in names)
    return left, right, out


def observe(
    model: Model, mapping: ModelMapping, sequences: Sequence[ArrayLike]
) -> dict[str, Float]:
    """Return real values of every tensor and every result that the mapping names.

    Those of a wire or a result are of all time steps of all sequences, thinned out where there are
    many (`scales.thin`); those of a weight are the weight. What a cell's activation takes is
    clipped as the activation does, and what is added to it where no sum comes back into its range.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # scales refuse what is not finite
        return Observer(model, mapping, sequences).values()


class Observer:
    """Evaluates a mapping's networks on the rows of a float run."""

    def __init__(self, model: Model, mapping: ModelMapping, sequences: Sequence[ArrayLike]) -> None:
        self.mapping = mapping
        self.batch = mapping.problem.batch
        self.rows: dict[str, Float] = dict(model.record(sequences))
        self.arrays = weights(model, mapping)
        self.kept = {e.addend for e in mapping.evaluations}
        self.clipped = preactivations(mapping.problem)
        self.reach: dict[str, float] = {}

    def values(self) -> dict[str, Float]:
        found = {name: a.ravel() for name, a in self.arrays.items()}
        found |= {name: thin(r) for name, r in self.rows.items()}
        for e in self.mapping.evaluations:
            found |= {name: thin(result) for name, result in self.evaluate(e).items()}
        for name, reach in {**self.reach, **dict.fromkeys(self.clipped, ACT_LIMIT)}.items():
            if name in found and name not in self.arrays:
                found[name] = np.clip(found[name], -reach, reach)
        return found

    def evaluate(self, e: Evaluation) -> dict[str, Float]:
        """Return the results of one part's steps, the last with addend and activation."""
        data, n_rows = {}, 0
        for name, wire in e.operands.items():
            rows = self.rows[wire]
            rows = rows[:: self.stride(len(rows))]
            n_rows = len(rows)
            data[name] = beside(rows, self.batch).reshape(-1, *shape_of(e.part, name))
        found = contract(e.part, {**self.arrays, **data})
        last = found[e.part.result]
        if e.result in self.clipped and e.addend:
            reach = ACT_LIMIT + float(np.abs(last).max(initial=0.0))
            self.reach[e.addend] = max(reach, self.reach.get(e.addend, 0.0))
        found[e.part.result] = ACTIVATIONS[e.act](last + self.addend(e, last.shape))
        if e.result in self.kept:
            flat = found[e.part.result].reshape(len(last), -1)
            self.rows[e.result] = apart(flat, self.batch)[:n_rows]
        return found

    def stride(self, n_rows: int) -> int:
        """Return how far apart rows are that are evaluated: the same for all parts."""
        largest = max(
            prod(shape_of(e.part, n)) for e in self.mapping.evaluations for n in e.part.tensors
        )
        return max(1, -(-n_rows * largest // (self.batch * MAX_ELEMENTS)))

    def addend(self, e: Evaluation, shape: tuple[int, ...]) -> Float | float:
        """Return what is added to a result of this shape: both are row-major."""
        if not e.addend:
            return 0.0
        if e.addend in self.arrays:
            return self.arrays[e.addend].reshape(1, *shape[1:])
        whole = beside(self.rows[e.addend], self.batch)
        return whole[:, e.addend_from : e.addend_to or whole.shape[1]].reshape(shape)


def beside(rows: Float, batch: int) -> Float:
    """Return rows [n, size] as those of sequences side by side: [ceil(n / batch), size * batch].

    The batch is fastest; the last row fills the places that are left.
    """
    missing = -len(rows) % batch
    padded = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
    n_rows, size = padded.shape
    return padded.reshape(n_rows // batch, batch, size).transpose(0, 2, 1).reshape(-1, size * batch)


def apart(rows: Float, batch: int) -> Float:
    """Return rows of sequences side by side as single rows: what `beside` has put together."""
    n_rows, size = len(rows), rows.shape[1] // batch
    return rows.reshape(n_rows, size, batch).transpose(0, 2, 1).reshape(n_rows * batch, size)


def contract(part: Part, arrays: Mapping[str, Float]) -> dict[str, Float]:
    """Return the result of every step; what depends on data has one more axis in front."""
    known: dict[str, Float] = {n: np.ones(()) for n in part.tensors if n.startswith(ONE)}
    known |= arrays
    found: dict[str, Float] = {}
    for step in part.steps:
        left, right, out = (f"...{letters}" for letters in step_einsum(part, step))
        operands = known[step.left], known[step.right]
        result = np.einsum(f"{left},{right}->{out}", *operands, optimize=True)
        found[step.name] = known[step.name] = np.asarray(result)
    return found
