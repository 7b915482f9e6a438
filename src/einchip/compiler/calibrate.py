"""Float runs of a mapped model in its own contraction order, and the scales they call for."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip.arch import Architecture
from einchip.compiler.scales import best_frac
from einchip.mapper.lstm import LstmMapping
from einchip.mapper.plan import Part
from einchip.mapper.tree import ONE
from einchip.models import Model
from einchip.numeric import WIDE_BITS

Float = NDArray[np.float64]
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
    parts, seen = mapping.layer.parts, states(model, sequences)
    arrays = weights(model, mapping)
    found = dict(arrays) | {"h": seen.h, "cell": seen.cell, "x": seen.x}

    def run(part: Part, name: str, rows: Float, addend: Float) -> Float:
        tensor = part.tensors[name]
        shape = tuple(tensor.layout.sizes.get(i, 1) for i in tensor.indices)
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
    """Return the fractional bits of every name.

    A result has no more of them than its product, nor has what is added to that product; what the
    LSTM instruction reads and writes has 0 to 15.
    """
    bits, parts = arch.data_bits, mapping.layer.parts
    inner = {s.name for part in parts.all for s in part.steps}
    fracs = {
        name: best_frac(v, bits)
        for name, v in values.items()
        if name not in inner and name not in ("cell", "bias", "head.bias")
    }
    fracs["cell"] = _within(best_frac(values["cell"], WIDE_BITS, max(CELL_FRACS)))
    fracs["h"] = _within(best_frac(values["h"], bits, max(CELL_FRACS)))
    for part in parts.all:
        fracs |= {n: 0 for n in part.tensors if n.startswith(ONE)}
    limits: dict[str, int] = {}
    for part in (parts.hidden, parts.inputs, *([parts.head] if parts.head else [])):
        for step in part.steps:
            product = fracs[step.left] + fracs[step.right]
            most = min(product, limits.get(step.name, product))
            fracs[step.name] = best_frac(values[step.name], bits, most)
        addend = {"gates": "gates_input", "gates_input": "bias", "logits": "head.bias"}[part.result]
        limits[addend] = product
        if addend in values and addend not in inner:
            fracs[addend] = best_frac(values[addend], bits, product)
    fracs["gates"] = _within(min(fracs["gates"], max(CELL_FRACS)))
    return fracs


def _within(frac: int) -> int:
    return max(min(CELL_FRACS), frac)
