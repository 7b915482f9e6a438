"""Cells in shares: array and vector unit work on different hidden units at the same time.

In a time step the hidden matrix needs h of the step before, and the cell the whole matrix. Where a
factor of the hidden units is cut into runs, the last contraction, the cell and, if it keeps that
factor, the contraction that reads h are operations for each run: the vector unit begins with the
first run while the array works on the others, and the array with the next time step while the
vector unit works on the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import NamedTuple

from einchip.mapper.emit import axes
from einchip.mapper.nets import CellNets
from einchip.mapper.ops import Op, Portion
from einchip.mapper.plan import Step
from einchip.mapper.problem import CellKind

#: Cells of one instruction, which can be cut.
KINDS = (CellKind.LSTM, CellKind.PEEPHOLE, CellKind.GRU)
#: Shares of a cell at most.
MAX_SHARES = 4


class Shares(NamedTuple):
    """Factor `position` of the hidden units in `n` equal runs."""

    position: int
    n: int


def ways(cell: CellNets) -> Iterator[Shares]:
    """Yield the ways to cut a cell without a contraction or a vector more in all."""
    units, last = cell.units, cell.hidden.part.steps[-1]
    if cell.kind not in KINDS or units.flat_gates:
        return
    for position, size in enumerate(units.sizes):
        lanes = dict(cell.lanes).get(position, 1)
        for count in range(2, MAX_SHARES + 1):
            if size % (count * lanes) == 0 and divides(last, units.gates[position].name, count):
                yield Shares(position, count)


def divides(step: Step, index: str, count: int) -> bool:
    """Tell whether runs of an index, so many, take the lanes and iterations of the whole step."""
    if step.executions > 1 or index not in step.extents or step.extents[index] % count:
        return False
    axis = next(a for a in axes(step) if index in a.chain)
    return axis.chain[-1] == index and axis.size % (count * axis.lanes * axis.blocks) == 0


def portions(step: Step, cell: CellNets, shares: Shares | None) -> list[Portion]:
    """Return the portions in which a step of the hidden matrix is executed, none for one whole."""
    if shares is None:
        return []
    position, count = shares
    if step is cell.hidden.part.steps[-1]:
        return [Portion(cell.units.gates[position].name, k, count) for k in range(count)]
    if cell.h.name not in (step.x, step.y) or cell.units.flat_hidden:
        return []
    index = cell.units.hidden[position].name
    if index not in cell.hidden.part.tensors[step.name].indices or not divides(step, index, count):
        return []
    return [Portion(index, k, count) for k in range(count)]


def share_name(buffer: str, number: int) -> str:
    """Return the name of a share of a buffer."""
    return f"{buffer}/{number}"


def of_share(op: Op, buffers: Collection[str], number: int) -> Op:
    """Return an operation that touches one share of some buffers."""

    def names(touched: frozenset[str]) -> frozenset[str]:
        return frozenset(share_name(b, number) if b in buffers else b for b in touched)

    name = f"{op.name}/{number}"
    return replace(op, name=name, reads=names(op.reads), writes=names(op.writes))


def of_all(op: Op, buffers: Collection[str], shares: Shares) -> Op:
    """Return an operation that touches all shares of the buffers of which it touches the whole."""

    def names(touched: frozenset[str]) -> frozenset[str]:
        found = (share_name(b, k) for b in touched & set(buffers) for k in range(shares.n))
        return touched | frozenset(found)

    return replace(op, reads=names(op.reads), writes=names(op.writes))
