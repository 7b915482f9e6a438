"""Models in integers by NumPy: `numpy.einsum` for networks, `numeric` for cells, nothing mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from einchip import numeric
from einchip.mapper import CellKind, Linear, ModelProblem, Recurrent
from einchip.network import Network
from einchip.numeric import Ints
from einchip.program import Act

#: Weights, biases and inputs are whole numbers; states and activations have fractional bits.
H_FRAC, CELL_FRAC, PEEPHOLE_FRAC = 3, 10, 2
#: One weight tensor of a network whose result goes through an activation has these, since the
#: accumulator must have those of the activation's input.
FINE_FRAC = numeric.ACT_IN_FRAC
#: Width of the data where nothing else is said.
BITS = 16

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Value:
    """Integers, one row per time step, and their fractional bits."""

    rows: Ints
    frac: int


def shapes(problem: ModelProblem) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the names and shapes of all stored tensors."""

    def weights(
        prefix: str, network: Network, data: Sequence[str]
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from ((prefix + n, network.shape(n)) for n in network.tensors if n not in data)

    for stage in problem.stages:
        if isinstance(stage, Linear):
            yield from weights(f"{stage.name}.", stage.network, stage.operands)
            if stage.bias:
                yield f"{stage.name}.bias", (stage.network.size(stage.network.output),)
            continue
        kind, size = stage.cell, stage.hidden_size
        for d, direction in zip(stage.direction_names, stage.directions, strict=True):
            yield from weights(f"{d}.input.", direction.inputs, ["x"])
            yield from weights(f"{d}.hidden.", direction.hidden, ["h"])
            yield f"{d}.bias", (kind.n_gates * size,)
            if kind is CellKind.GRU:
                yield f"{d}.bias_hidden", (3 * size,)
            if kind is CellKind.PEEPHOLE:
                yield f"{d}.peepholes", (3, size)


def small(rng: np.random.Generator, shape: tuple[int, ...], density: float = 0.5) -> np.ndarray:
    """Return integers -1, 0, 1."""
    return rng.choice([-1, 0, 1], shape, p=[density / 2, 1 - density, density / 2])


def fine(problem: ModelProblem) -> set[str]:
    """Return the names of the weights that have FINE_FRAC fractional bits."""
    found = set()
    for stage in problem.stages:
        if isinstance(stage, Linear) and stage.act in (Act.SIGMOID, Act.TANH):
            first = next(n for n in stage.network.tensors if n not in stage.operands)
            found.add(f"{stage.name}.{first}")
        elif isinstance(stage, Recurrent) and stage.cell is CellKind.RNN_TANH:
            for d, direction in zip(stage.direction_names, stage.directions, strict=True):
                found.add(f"{d}.hidden.{next(n for n in direction.hidden.tensors if n != 'h')}")
    return found


def random_weights(problem: ModelProblem, seed: int, bits: int = BITS) -> dict[str, np.ndarray]:
    """Return integers for all stored tensors."""
    up = min(FINE_FRAC - 4, bits - 2)
    rng, scaled = np.random.default_rng(seed), fine(problem)
    return {n: small(rng, shape) << (up if n in scaled else 0) for n, shape in shapes(problem)}


def apply(network: Network, weights: Arrays, prefix: str, data: Arrays) -> Ints:
    """Return the network's output as a vector."""
    arrays = {n: weights[prefix + n] for n in network.tensors if n not in data}
    arrays |= {n: np.asarray(v).reshape(network.shape(n)) for n, v in data.items()}
    shaped = {n: np.asarray(a, dtype=np.float64) for n, a in arrays.items()}
    return network.contract(shaped).reshape(-1).astype(np.int64)


def finish(acc: Ints, frac: int, act: Act, bits: int) -> tuple[Ints, int]:
    """Return an accumulator's result and its fractional bits."""
    if act is Act.NONE:
        return numeric.saturate(acc, bits), frac
    if act is Act.RELU:
        return np.maximum(numeric.saturate(acc, bits), 0), frac
    shifted = numeric.requantise(acc, frac - numeric.ACT_IN_FRAC, numeric.WIDE_BITS)
    function = numeric.sigmoid if act is Act.SIGMOID else numeric.tanh
    return numeric.requantise(function(shifted), numeric.ACT_OUT_FRAC - H_FRAC, bits), H_FRAC


def linear(stage: Linear, weights: Arrays, data: Mapping[str, Value], bits: int) -> Value:
    """Return a linear stage's output for every row."""
    frac = sum(v.frac for v in data.values())
    frac += FINE_FRAC if stage.act in (Act.SIGMOID, Act.TANH) else 0
    rows = []
    for t in range(len(next(iter(data.values())).rows)):
        acc = apply(
            stage.network, weights, f"{stage.name}.", {n: v.rows[t] for n, v in data.items()}
        )
        if stage.bias:
            acc = acc + (weights[f"{stage.name}.bias"] << frac)
        rows.append(finish(acc, frac, stage.act, bits)[0])
    return Value(np.array(rows), finish(np.zeros(1, dtype=np.int64), frac, stage.act, bits)[1])


Step = Callable[[Ints, Ints, Ints], tuple[Ints, Ints]]


def step_of(stage: Recurrent, d: str, direction: int, w: Arrays, x_frac: int, bits: int) -> Step:
    """Return the function (gates_input, h, state) -> (state, h) of one time step."""
    kind, n = stage.cell, stage.cell.n_gates
    network = stage.directions[direction].hidden
    to_gates = partial(apply, network, w, f"{d}.hidden.")
    fields: Any = {"cell_frac": CELL_FRAC, "hidden_frac": H_FRAC, "data_bits": bits}

    def split(values: Ints) -> Any:
        return tuple(numeric.saturate(values, bits).reshape(n, -1))

    def lstm(xs: Ints, h: Ints, c: Ints) -> tuple[Ints, Ints]:
        gates = split((xs << H_FRAC - x_frac) + to_gates({"h": h}))
        if kind is CellKind.LSTM:
            return numeric.lstm_cell(gates, c, gate_frac=H_FRAC, **fields)
        holes: Any = tuple(w[f"{d}.peepholes"])
        return numeric.peephole_cell(
            gates,
            holes,
            c,
            gate_frac=H_FRAC,
            peephole_frac=PEEPHOLE_FRAC,
            **fields,
        )

    def gru(xs: Ints, h: Ints, c: Ints) -> tuple[Ints, Ints]:
        gates = split(to_gates({"h": h}) + (w[f"{d}.bias_hidden"] << H_FRAC))
        return numeric.gru_cell(
            gates,
            split(xs),
            c,
            gate_frac=H_FRAC,
            aux_frac=x_frac,
            **fields,
        )

    def before(xs: Ints, h: Ints, c: Ints) -> tuple[Ints, Ints]:
        given = xs << H_FRAC - x_frac
        r, z, _ = split(given + to_gates({"h": h}))
        reset = numeric.gru_reset(r, c, gate_frac=H_FRAC, **fields)
        candidate = split(given + to_gates({"h": reset}))[2]
        return numeric.gru_update(z, candidate, c, gate_frac=H_FRAC, aux_frac=H_FRAC, **fields)

    def rnn(xs: Ints, h: Ints, c: Ints) -> tuple[Ints, Ints]:
        tanh = kind is CellKind.RNN_TANH
        frac = H_FRAC + (FINE_FRAC if tanh else 0)
        acc = (xs << frac - x_frac) + to_gates({"h": h})
        return c, finish(acc, frac, Act.TANH if tanh else Act.RELU, bits)[0]

    if kind in (CellKind.LSTM, CellKind.PEEPHOLE):
        return lstm
    return {CellKind.GRU: gru, CellKind.GRU_BEFORE: before}.get(kind, rnn)


def recurrent(stage: Recurrent, w: Arrays, x: Value, bits: int) -> tuple[Value, Ints]:
    """Return the states of every step, directions side by side, and those of the last steps."""
    found, last = [], []
    for k, (d, direction) in enumerate(zip(stage.direction_names, stage.directions, strict=True)):
        step = step_of(stage, d, k, w, x.frac, bits)
        h = np.zeros(stage.hidden_size, dtype=np.int64)
        c, rows = np.zeros_like(h), []
        for row in x.rows[:: -1 if k else 1]:
            xs = apply(direction.inputs, w, f"{d}.input.", {"x": row})
            xs = numeric.saturate(xs + (w[f"{d}.bias"] << x.frac), bits)
            c, h = step(xs, h, c)
            rows.append(h)
        found.append(np.array(rows[:: -1 if k else 1]))
        last.append(h)
    return Value(np.concatenate(found, axis=1), H_FRAC), np.concatenate(last)


def answer(
    problem: ModelProblem, weights: Arrays, inputs: Ints | Mapping[str, Ints], bits: int = BITS
) -> Ints:
    """Return what a model answers: [n_out], or [n_steps, n_out]."""
    data = inputs if isinstance(inputs, Mapping) else {"x": inputs}
    values = {n: Value(np.asarray(v), 0) for n, v in data.items()}
    recurrents = [k for k, s in enumerate(problem.stages) if isinstance(s, Recurrent)]
    for k, stage in enumerate(problem.stages):
        if isinstance(stage, Linear):
            values = {"x": linear(stage, weights, values, bits)}
            continue
        out, last = recurrent(stage, weights, next(iter(values.values())), bits)
        values = {"x": out}
        if k == recurrents[-1] and problem.output == "last":
            values = {"x": Value(last[None], H_FRAC)}
    rows = values["x"].rows
    return rows[0] if problem.output == "last" else rows
