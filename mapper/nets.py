"""What one phase is asked, and its mapped networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from einchip.mapper.choose import Lanes
from einchip.mapper.layout import Layout
from einchip.mapper.plan import Part, Tensor
from einchip.mapper.problem import CellKind, Linear, Recurrent
from einchip.mapper.wires import (
    Units,
)
from einchip.program import Act


class Cut(NamedTuple):
    """Where a mapped weight comes from: the problem's tensor, its refined shape, values of an axis.

    `axis` < 0: all of it; `stop` - `start` = 1 drops the axis if `drop`. `repeat`: so many copies
    of each element follow one another, one for each of the sequences side by side.
    """

    source: str
    shape: tuple[int, ...]
    axis: int = -1
    start: int = 0
    stop: int = 0
    drop: bool = False
    repeat: int = 1


@dataclass(frozen=True)
class Asked:
    """What one phase computes in its loop: linear stages, a direction of a cell, linear stages.

    `behind` runs in the loop if `behind_in_loop`, else once after it. `copied_in` says that the
    first stage behind reads a copy of the states, `flat_in` that the phase's input lies flat,
    `flat_behind` that this copy does, `fuse` that vectors of the cell without common factors are
    fused where they can be. The phases of a group read the same sequence.
    """

    chain: tuple[Linear, ...] = ()
    layer: Recurrent | None = None
    direction: int = 0
    behind: tuple[Linear, ...] = ()
    behind_in_loop: bool = False
    copied_in: bool = False
    flat_in: bool = False
    flat_behind: bool = False
    fuse: bool = False
    group: int = 0

    @property
    def prefix(self) -> str:
        """The prefix of the direction's names."""
        return self.layer.direction_names[self.direction] if self.layer else ""

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the tensors that are the phase's input."""
        if self.chain:
            return tuple(f"{self.chain[0].name}.{o}" for o in self.chain[0].operands)
        return (f"{self.prefix}.x",)


@dataclass(frozen=True)
class Net:
    """A mapped network and its end.

    Attributes
    ----------
    operands : tensor of the part -> the wire whose values it holds.
    addend : what the last step adds, "" for nothing: `addend_gates` gates of it from `addend_gate`
        on, or all where that is 0.
    cuts : where each weight comes from.
    """

    part: Part
    operands: Mapping[str, str]
    addend: str
    act: Act
    cuts: Mapping[str, Cut]
    addend_gate: int = 0
    addend_gates: int = 0

    @cached_property
    def constant(self) -> frozenset[str]:
        """Results that depend on weights alone: `setup` computes them once."""
        fixed = {n for n, t in self.part.tensors.items() if t.is_input and n not in self.operands}
        found = set[str]()
        for step in self.part.steps:
            if {step.left, step.right} <= fixed | found:
                found.add(step.name)
        return frozenset(found)

    @property
    def result(self) -> Tensor:
        """The result."""
        return self.part.tensors[self.part.result]

    def with_layout(self, name: str, layout: Layout) -> Net:
        """Return the same with a tensor of another layout."""
        tensor = replace(self.part.tensors[name], layout=layout)
        return replace(self, part=replace(self.part, tensors={**self.part.tensors, name: tensor}))

    def with_names(self, names: Mapping[str, str]) -> Net:
        """Return the same with some tensors in other buffers."""
        tensors = {
            key: replace(t, name=names[key]) if key in names else t
            for key, t in self.part.tensors.items()
        }
        return replace(self, part=replace(self.part, tensors=tensors))

    def with_result_in(self, space: int) -> Net:
        """Return the same with its result in a scratchpad."""
        return replace(self, part=self.part.with_result_in(space))

    def reads(self, tensor: str) -> Lanes:
        """Return the lanes with which the only reader of a tensor reads it."""
        step = next(s for s in self.part.steps if tensor in (s.x, s.y))
        return step.fold.x_lanes if step.x == tensor else step.fold.y_lanes


@dataclass(frozen=True)
class CellNets:
    """The networks of a cell's direction; `units` and `lanes` of its pointwise part."""

    kind: CellKind
    prefix: str
    inputs: Net
    hidden: Net
    candidate: Net | None
    units: Units
    lanes: tuple[tuple[int, int], ...]

    @property
    def h(self) -> Tensor:
        """The hidden state."""
        return self.hidden.part.tensors[f"{self.prefix}.h"]


@dataclass(frozen=True)
class Nets:
    """All networks of a phase: before the cell, of the cell, behind it."""

    asked: Asked
    chain: tuple[Net, ...]
    cell: CellNets | None
    behind: tuple[Net, ...]

    @property
    def all(self) -> list[Net]:
        """All networks in the order in which they run."""
        cell = self.cell
        own = [cell.inputs, cell.hidden] if cell else []
        own += [cell.candidate] if cell and cell.candidate else []
        return [*self.chain, *own, *self.behind]

    @property
    def first(self) -> Net:
        """The network that reads the phase's input."""
        return self.all[0]

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that hold the phase's input."""
        return [self.first.part.tensors[n] for n in self.asked.operands]

    @property
    def free_results(self) -> list[Tensor]:
        """The results that may be in either scratchpad: those that no network contracts."""
        read = {name for net in self.all for name in net.operands}
        return [net.result for net in self.all if net.part.result not in read]

    def in_spaces(self, spaces: Mapping[str, int]) -> Nets:
        """Return the same with the results in these scratchpads."""

        def moved(net: Net) -> Net:
            name = net.part.result
            return net.with_result_in(spaces[name]) if name in spaces else net

        cell = self.cell
        if cell:
            candidate = moved(cell.candidate) if cell.candidate else None
            cell = replace(
                cell, inputs=moved(cell.inputs), hidden=moved(cell.hidden), candidate=candidate
            )
        chain, behind = (tuple(moved(n) for n in nets) for nets in (self.chain, self.behind))
        return Nets(self.asked, chain, cell, behind)

    @property
    def weight_elements(self) -> int:
        """Elements of all stored tensors."""
        stored = {n: net.part.tensors[n] for net in self.all for n in net.cuts} | self.biases
        return sum(t.layout.extent for t in stored.values())

    @cached_property
    def biases(self) -> dict[str, Tensor]:
        """The stored tensors that are added, each laid out as what it is added to."""
        found: dict[str, Tensor] = {}
        for net in self.all:
            if net.addend.endswith((".bias", ".bias_hidden")):
                found[net.addend] = replace(net.result, name=net.addend, is_input=True)
        return found
