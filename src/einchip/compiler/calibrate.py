"""Float runs of a mapped model in its own contraction order, and the scales they call for."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip.arch import Architecture
from einchip.compiler.scales import best_frac
from einchip.mapper import MappingError
from einchip.mapper.lstm import LstmMapping
from einchip.mapper.plan import Part, Step
from einchip.mapper.tree import ONE
from einchip.models import Model
from einchip.numeric import WIDE_BITS
from einchip.program import Contract, Program

Float = NDArray[np.float64]
#: What is added to the product behind each network's result.
ADDENDS: Final = {"gates": "gates_input", "gates_input": "bias", "logits": "head.bias"}
#: Greatest shift of a product or of an addend.
MAX_SHIFT: Final = 63
#: Most fractional bits of what the LSTM instruction reads and writes.
CELL_FRACS = range(16)


@dataclass(frozen=True)
class States:
    """The states of a model over sequences, one row per time step of any sequence.

    `x` [n, input_size], `h_before` and `h` [n, hidden_size], `cell` [n, hidden_size], `last`
    [n_sequences, hidden_size].
    """

    x: Float
    h_before: Float
    h: Float
    cell: Float
    last: Float


def states(model: Model, sequences: Sequence[ArrayLike]) -> States:
    """Run the float model and keep the states of every time step."""
    inputs = [np.asarray(s, dtype=np.float64) for s in sequences]
    weights, recurrent = model.matrix("input"), model.matrix("hidden")
    bias = model.tensors["layers.0.bias"].astype(np.float64)
    order = sorted(range(len(inputs)), key=lambda k: -len(inputs[k]))
    lengths = np.array([len(inputs[k]) for k in order])
    h = np.zeros((len(inputs), recurrent.shape[1]))
    c = np.zeros_like(h)
    kept: list[tuple[Float, Float, Float, Float]] = []
    for t in range(int(lengths[0])):
        n = int(np.sum(lengths > t))
        x = np.stack([inputs[k][t] for k in order[:n]])
        before = h[:n].copy()
        gates = x @ weights.T + before @ recurrent.T + bias
        i, f, g, o = np.split(gates, 4, axis=1)
        c[:n] = _sigmoid(f) * c[:n] + _sigmoid(i) * np.tanh(g)
        h[:n] = _sigmoid(o) * np.tanh(c[:n])
        kept.append((x, before, h[:n].copy(), c[:n].copy()))
    x, before, after, cells = (np.concatenate(column) for column in zip(*kept, strict=True))
    return States(x, before, after, cells, h)


def _sigmoid(x: Float) -> Float:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def weights(model: Model, mapping: LstmMapping) -> dict[str, Float]:
    """Return the arrays of all weights and biases under the mapping's names, in its shapes."""
    found: dict[str, Float] = {}
    for name, region in mapping.layer.weights.items():
        stored = name if name.startswith("head.") else f"layers.0.{name}"
        found[name] = model.tensors[stored].astype(np.float64).reshape(region.shape)
    return found


def _contract(part: Part, arrays: Mapping[str, Float]) -> dict[str, Float]:
    """Return the float result of every step; what depends on x or h has one more axis in front."""
    known: dict[str, Float] = {n: np.ones(1) for n in part.tensors if n.startswith(ONE)}
    known = {n: a.reshape(()) for n, a in known.items()} | dict(arrays)
    found: dict[str, Float] = {}
    for step in part.steps:
        a, b = known[step.left], known[step.right]
        names = [part.tensors[n].indices for n in (step.left, step.right, step.name)]
        used = dict.fromkeys(i for n in names for i in n)
        letter = dict(zip(used, string.ascii_letters, strict=False))
        left, right, out = ("..." + "".join(letter[i] for i in n) for n in names)
        result = np.einsum(f"{left},{right}->{out}", a, b, optimize=True)
        found[step.name] = known[step.name] = np.asarray(result)
    return found


def observe(model: Model, mapping: LstmMapping, sequences: Sequence[ArrayLike]) -> dict[str, Float]:
    """Return float values of every tensor and every result that the mapping names."""
    with np.errstate(over="ignore", invalid="ignore"):  # `choose_fracs` refuses what is not finite
        return _observe(model, mapping, sequences)


def _observe(
    model: Model, mapping: LstmMapping, sequences: Sequence[ArrayLike]
) -> dict[str, Float]:
    parts, seen = mapping.layer.parts, states(model, sequences)
    arrays = weights(model, mapping)
    found = dict(arrays) | {"h": seen.h, "cell": seen.cell, "x": seen.x}

    def run(part: Part, name: str, rows: Float, addend: Float) -> Float:
        shape = mapping.shapes[name]
        results = _contract(part, {**arrays, name: rows.reshape(-1, *shape)})
        results[part.result] = results[part.result] + addend
        found.update(results)
        return results[part.result]

    gates_input = run(parts.inputs, "x", seen.x, arrays["bias"])
    same = parts.hidden.tensors["gates"].indices
    order = [0, *(1 + parts.inputs.tensors["gates_input"].indices.index(i) for i in same)]
    run(parts.hidden, "h", seen.h_before, gates_input.transpose(order))
    if parts.head:
        run(parts.head, "h", seen.last, arrays["head.bias"])
    return found


def choose_fracs(
    mapping: LstmMapping, values: Mapping[str, Float], arch: Architecture
) -> dict[str, int]:
    """Return the fractional bits of every name: the least error that the machine allows.

    * A result has no more of them than its product, nor has what is added to that product.
    * A product has at most `MAX_SHIFT` more than its result, and no more than the accumulator can
      add up with the addend: beyond that, an operand has fewer than would be best for it alone.
    * What the LSTM instruction reads and writes has 0 to 15.

    Raises MappingError where there are none: values too large, or not finite.
    """
    for name, array in values.items():
        if not np.all(np.isfinite(array)):
            raise MappingError(
                f"{name}: found values beyond float64, expected finite ones; scale the weights down"
            )
    return _Chooser(mapping, values, arch).choose()


class _Chooser:
    """Chooses what is best for each tensor alone, then what shifts and accumulators reach."""

    def __init__(
        self, mapping: LstmMapping, values: Mapping[str, Float], arch: Architecture
    ) -> None:
        self.parts, self.values, self.bits = mapping.layer.parts, values, arch.data_bits
        self.addend_shift = addend_shift(mapping.emit().run, arch)
        self.steps = {s.name: s for part in self.parts.all for s in part.steps}
        later = {*self.steps, *ADDENDS.values(), "cell", "h"}
        self.fracs = {name: self.best(name) for name in values if name not in later}
        self.fracs |= {n: 0 for p in self.parts.all for n in p.tensors if n.startswith(ONE)}
        self.fracs["cell"] = _within(best_frac(values["cell"], WIDE_BITS, max(CELL_FRACS)))
        self.fracs["h"] = _within(self.best("h", max(CELL_FRACS)))

    def choose(self) -> dict[str, int]:
        for step in self.steps.values():
            self.fracs[step.name] = self.best(step.name, self.product(step))
        self.fracs["gates"] = _within(min(self.fracs["gates"], max(CELL_FRACS)))
        self.check_gates()
        for part in (self.parts.hidden, self.parts.inputs, self.parts.head):
            if part is not None:
                self.bound(part)
        return self.fracs

    def best(self, name: str, most: int | None = None) -> int:
        return best_frac(self.values[name], self.bits, most)

    def product(self, step: Step) -> int:
        return self.fracs[step.left] + self.fracs[step.right]

    def check_gates(self) -> None:
        found, expected = self.product(self.steps["gates"]), self.fracs["gates"]
        if found < expected:
            wider = "" if self.bits == WIDE_BITS else f"set data_bits to {WIDE_BITS}, or "
            raise MappingError(
                f"gates: found products of {found} fractional bits, expected at least {expected}; "
                f"{wider}scale the weights down"
            )

    def bound(self, part: Part) -> None:
        """Choose a part's addend, then lower operands, from the last step back."""
        addend, last = ADDENDS[part.result], self.steps[part.result]
        most = min(self.product(last), self.fracs[last.name] + MAX_SHIFT)
        if addend in self.steps:
            most = min(most, self.product(self.steps[addend]))
        self.fracs[addend] = self.best(addend, most)
        self.lower(last, self.fracs[addend] + self.addend_shift)
        for step in reversed(part.steps):
            self.lower(step, self.fracs[step.name] + MAX_SHIFT)

    def lower(self, step: Step, most: int) -> None:
        """Bring a product down to `most` fractional bits; x and h have other readers."""
        free = [n for n in (step.left, step.right) if n not in ("x", "h") and not n.startswith(ONE)]
        excess = self.product(step) - most
        if excess > 0 and free:
            self.fracs[max(free, key=lambda n: self.fracs[n])] -= excess


def addend_shift(program: Program, arch: Architecture) -> int:
    """Return by how much an addend may be shifted left so that no accumulator can overflow."""
    terms = max(i.tile_iterations * i.n_k for i in program.instructions if isinstance(i, Contract))
    left = (1 << arch.acc_bits - 1) - (terms << 2 * (arch.data_bits - 1))
    return min(MAX_SHIFT, max(0, (left - 1).bit_length() - arch.data_bits))


def _within(frac: int) -> int:
    return max(min(CELL_FRACS), frac)
