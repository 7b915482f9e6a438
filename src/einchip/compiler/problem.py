"""From a model's description to what the mapper is asked: every matrix as a network on its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from einchip.mapper.problem import CellKind, Direction, Linear, ModelProblem, Recurrent, Stage
from einchip.models import LinearSpec, MatrixSpec, Model, ModelSpec, RecurrentSpec, matrix_network
from einchip.network import Network
from einchip.program import Act

#: The activation of a linear layer in the drain path.
ACTS = {"none": Act.NONE, "sigmoid": Act.SIGMOID, "tanh": Act.TANH, "relu": Act.RELU}


def network_of(spec: MatrixSpec, operand: str, n_gates: int = 1, prefix: str = "") -> Network:
    """Return a weight matrix applied to `operand`; open ends of size 1 are dropped.

    Weight tensors have the format's names behind `prefix`, and no indices of size 1 that only they
    carry (the ends of a train, the root of a tree).
    """
    return _applied(spec, {operand: None}, n_gates, prefix)


def _applied(
    spec: MatrixSpec, operands: Mapping[str, int | None], n_gates: int, prefix: str
) -> Network:
    """Return a matrix on operands: each holds all input indices (None) or that of one mode."""
    m = matrix_network(spec, n_gates)
    holders = {i: sum(i in t for t in m.tensors.values()) for i in m.sizes}
    ends = {i for i, n in holders.items() if n == 1 and m.sizes[i] == 1}
    dropped = ends - {*m.inputs, *m.outputs}
    tensors = {prefix + n: tuple(i for i in t if i not in dropped) for n, t in m.tensors.items()}
    data = {n: m.inputs if k is None else (m.inputs[k],) for n, k in operands.items()}
    sizes = {i: s for i, s in m.sizes.items() if i not in dropped}
    return Network({**data, **tensors}, sizes, m.outputs)


@dataclass(frozen=True)
class Split:
    """A matrix over [x; h], split by linearity: W [x; h] = W_x x + W_h h.

    Of the slowest input mode, `first` values belong to x, the rest to h; the tensors that hold it
    (`axes`: name to axis) are cut there, all others serve both.
    """

    first: int
    mode: str
    axes: Mapping[str, int]

    @classmethod
    def of(cls, layer: RecurrentSpec) -> Split:
        """Return how the matrix of a layer with `joint` is split."""
        assert layer.joint is not None
        m = matrix_network(layer.joint, layer.n_gates)
        mode = m.inputs[0]
        axes = {n: t.index(mode) for n, t in m.tensors.items() if mode in t}
        return cls(layer.input_size // prod(layer.joint.in_modes[1:]), mode, axes)

    def networks(self, layer: RecurrentSpec) -> Direction:
        """Return the two networks."""
        assert layer.joint is not None
        x, h = (network_of(layer.joint, operand, layer.n_gates) for operand in "xh")
        rest = x.sizes[self.mode] - self.first
        return Direction(
            replace(x, sizes={**x.sizes, self.mode: self.first}),
            replace(h, sizes={**h.sizes, self.mode: rest}),
        )

    def arrays(self, name: str, array: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return one stored tensor of the matrix as those of the two networks."""
        if name not in self.axes:
            return {f"input.{name}": array, f"hidden.{name}": array}
        x, h = np.split(array, [self.first], axis=self.axes[name])
        return {f"input.{name}": x, f"hidden.{name}": h}


def _cell(layer: RecurrentSpec) -> CellKind:
    if layer.cell == "lstm":
        return CellKind.PEEPHOLE if layer.peepholes else CellKind.LSTM
    if layer.cell == "gru":
        return CellKind.GRU if layer.reset == "after" else CellKind.GRU_BEFORE
    return CellKind.RNN_TANH if layer.activation == "tanh" else CellKind.RNN_RELU


def _recurrent(name: str, layer: RecurrentSpec) -> Recurrent:
    if layer.joint is not None:
        direction = Split.of(layer).networks(layer)
    else:
        assert layer.input is not None
        assert layer.hidden is not None
        direction = Direction(
            network_of(layer.input, "x", layer.n_gates),
            network_of(layer.hidden, "h", layer.n_gates),
        )
    directions = (direction,) * len(layer.directions)
    return Recurrent(name, _cell(layer), layer.hidden_size, directions)


def _linear(name: str, layer: LinearSpec) -> Linear:
    network = network_of(layer.weight, "x", prefix="weight.")
    return Linear(name, network, bias=layer.bias, act=ACTS[layer.activation])


def problem_of(spec: ModelSpec, batch: int = 1) -> ModelProblem:
    """Return what the mapper is to map, for `batch` sequences side by side."""
    stages: list[Stage] = []
    if spec.embedding is not None:
        digits = {f"e{k}": k for k in range(len(spec.embedding.weight.in_modes))}
        network = _applied(spec.embedding.weight, digits, 1, "")
        stages.append(Linear("embedding", network, tuple(digits), bias=False))
    for k, layer in enumerate(spec.layers):
        name = f"layers.{k}"
        if isinstance(layer, LinearSpec):
            stages.append(_linear(name, layer))
        else:
            stages.append(_recurrent(name, layer))
    return ModelProblem(tuple(stages), spec.output, batch)


def arrays_of(model: Model) -> dict[str, NDArray[np.float32]]:
    """Return a model's weights under the names of its problem: joint matrices split."""
    found: dict[str, NDArray[np.float32]] = {}
    splits = {
        f"layers.{k}.{direction}": Split.of(layer)
        for k, layer in enumerate(model.spec.layers)
        if isinstance(layer, RecurrentSpec) and layer.joint is not None
        for direction in layer.directions
    }
    for name, array in model.tensors.items():
        start, joint, tensor = name.partition("joint.")
        if joint and start in splits:
            cut = splits[start].arrays(tensor, array)
            found |= {start + part: a for part, a in cut.items()}
        else:
            found[name] = array
    return found


def preactivations(problem: ModelProblem) -> frozenset[str]:
    """Return the names of results that go nowhere but through an activation, in a cell."""
    ends = {
        CellKind.GRU: ("gates", "gates_input"),
        CellKind.GRU_BEFORE: ("gates", "candidate"),
        CellKind.LSTM: ("gates",),
        CellKind.PEEPHOLE: ("gates",),
    }
    return frozenset(
        f"{d}.{end}"
        for stage in problem.stages
        if isinstance(stage, Recurrent)
        for d in stage.direction_names
        for end in ends.get(stage.cell, ())
    )


def input_names(problem: ModelProblem) -> tuple[str, ...]:
    """Return the names of the wires that the host fills."""
    first = problem.stages[0]
    if isinstance(first, Linear):
        return tuple(f"{first.name}.{operand}" for operand in first.operands)
    return tuple(f"{name}.x" for name in first.direction_names)
