"""The pointwise part of a cell in the vector unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper.image import Region, Scattered
from einchip.mapper.nets import CellNets, Net
from einchip.mapper.plan import Tensor
from einchip.mapper.problem import CellKind
from einchip.mapper.shares import Shares
from einchip.mapper.vector import (
    N_PEEPHOLES,
    Operand,
    Pointwise,
    Sweep,
    copy_op,
    cycles,
    peephole_addresses,
    sweeps,
)
from einchip.mapper.wires import (
    GATE,
    cuts,
)
from einchip.program import (
    Cell,
    Copy,
    Gru,
    GruReset,
    GruUpdate,
    Lstm,
    Peephole,
    Vector,
)

_KINDS: Mapping[CellKind, type[Cell]] = {
    CellKind.LSTM: Lstm,
    CellKind.PEEPHOLE: Peephole,
    CellKind.GRU: Gru,
    CellKind.GRU_BEFORE: GruUpdate,
}


def cell_instructions(kind: CellKind) -> tuple[type[Cell], ...]:
    """Return the instruction classes of a cell's pointwise part; none of a cell without state."""
    reset = (GruReset,) if kind is CellKind.GRU_BEFORE else ()
    return (*reset, _KINDS[kind]) if kind in _KINDS else ()


@dataclass(frozen=True)
class CellWork:
    """The pointwise part of a cell: its vectors, buffers and instructions."""

    cell: CellNets
    spaces: Mapping[str, int]
    arch: Architecture
    shares: Shares | None = None

    @cached_property
    def share_sweeps(self) -> list[tuple[Sweep, ...]]:
        """The vectors of each share: operands pre-activations, h, and for peepholes the numbers."""
        u = self.cell.units
        operands = [
            u.strides(self.cell.hidden.result.layout), u.strides(self.cell.h.layout, hidden=True)
        ]  # fmt: skip
        if self.cell.kind is CellKind.PEEPHOLE:
            operands.append(tuple(cuts(u.sizes)[-2::-1]))
        if self.shares is None:
            return [tuple(sweeps(u.sizes, self.cell.lanes, operands))]
        at, count = self.shares
        sizes = [n // count if p == at else n for p, n in enumerate(u.sizes)]
        whole = sweeps(sizes, self.cell.lanes, operands)
        steps, vectors = [sizes[at] * o[at] for o in operands], sum(s.vectors for s in whole)
        return [tuple(s.moved(steps, vectors, k) for s in whole) for k in range(count)]

    @property
    def cell_sweeps(self) -> list[Sweep]:
        """The vectors of all shares."""
        return [sweep for share in self.share_sweeps for sweep in share]

    @property
    def n_vectors(self) -> int:
        """Vectors that hold all hidden units."""
        return sum(s.vectors for s in self.cell_sweeps)

    @property
    def state_name(self) -> str:
        """The buffer of the wide states, "" for a cell without."""
        rnn = (CellKind.RNN_TANH, CellKind.RNN_RELU)
        return f"{self.cell.prefix}.cell" if self.cell.kind not in rnn else ""

    @property
    def peepholes(self) -> str:
        """The buffer of the peephole weights, "" for a cell without."""
        has = self.cell.kind is CellKind.PEEPHOLE
        return f"{self.cell.prefix}.peepholes" if has else ""

    @property
    def buffers(self) -> dict[str, int]:
        """Elements of the wide states and the peephole weights."""
        row = self.n_vectors * self.arch.lanes
        found = {self.state_name: row * self.arch.cell_planes} if self.state_name else {}
        return found | ({self.peepholes: row * N_PEEPHOLES} if self.peepholes else {})

    @property
    def cycles(self) -> int:
        """Cycles from the pre-activations to h, about."""
        kind: type[Vector] = _KINDS.get(self.cell.kind, Copy)
        return cycles(kind, self.n_vectors, self.arch)

    def copy(self) -> op.Op:
        """Return the COPY of a cell without a wide state: pre-activations to h."""
        gates, h = (Operand(t.name, t.space) for t in (self.cell.hidden.result, self.cell.h))
        name = f"{self.cell.prefix}.{self.cell.kind.value}"
        return copy_op(name, self.cell_sweeps, gates, h, self.arch)

    def pointwise(self) -> list[Pointwise]:
        """Return the instructions of a cell with a wide state, share by share."""
        cell = self.cell
        if not self.state_name:
            return []
        gates, h = cell.hidden.result, cell.h
        state = Operand(self.state_name, self.spaces[self.state_name])
        source, target = Operand(gates.name, gates.space), Operand(h.name, h.space)
        stride = cell.units.gate_stride(gates.layout)
        found, name = tuple(self.cell_sweeps), f"{self.cell.prefix}.{cell.kind.value}"
        if cell.candidate:
            return [
                self._reset(cell, cell.candidate, source, state),
                Pointwise(
                    GruUpdate, name, found, 0, source._replace(offset=stride), target, state,
                    self._candidate(cell, cell.candidate),
                ),
            ]  # fmt: skip
        aux = None
        if cell.kind is CellKind.PEEPHOLE:
            aux = Operand(self.peepholes, self.spaces[self.peepholes])
        elif cell.kind is CellKind.GRU:
            aux = Operand(cell.inputs.result.name, cell.inputs.result.space)
        kind = _KINDS[cell.kind]
        return [
            Pointwise(kind, name, share, stride, source, target, state, aux)
            for share in self.share_sweeps
        ]

    def _candidate(self, cell: CellNets, net: Net) -> Operand:
        """Return the candidate: the last gate, where the network computes all of them."""
        whole = not net.addend_gates
        at = 2 * cell.units.gate_stride(net.result.layout) if whole else 0
        return Operand(net.result.name, net.result.space, at)

    def _reset(self, cell: CellNets, net: Net, source: Operand, state: Operand) -> Pointwise:
        units, name = cell.units, f"{self.cell.prefix}.reset"
        reset = net.part.tensors[name]
        operands = (
            units.strides(cell.hidden.result.layout), units.strides(reset.layout, hidden=True)
        )  # fmt: skip
        found = sweeps(units.sizes, cell.lanes, operands)
        target = Operand(name, reset.space)
        return Pointwise(GruReset, name, tuple(found), 0, source, target, state)

    def peephole_region(self) -> tuple[Tensor, Region]:
        """Return the peephole weights, in the order of the vectors."""
        size = self.buffers[self.peepholes]
        sizes = {GATE: N_PEEPHOLES, "unit": self.cell.units.size}
        layout = replace(self.cell.h.layout, sizes={"packed": size}, strides={"packed": 1})
        name = self.peepholes
        tensor = Tensor(name, ("packed",), layout, self.spaces[name], True)
        at = peephole_addresses(self.cell_sweeps, 2, self.arch)
        return tensor, Scattered(0, tuple(sizes), sizes, layout, at=at, elements=size)
