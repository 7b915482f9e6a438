"""Energy of a contraction step: what the counters would count, at a table's prices.

Counted are multiply-adds, elements read and written, results drained, instructions, and cycles
where the table has leakage. Loads and the store are the same for every tree and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

from einchip import energy
from einchip.arch import Architecture
from einchip.mapper.factors import Fold, Lanes, Shape, Sized, runs
from einchip.mapper.plan import Part
from einchip.registers import COUNTERS

#: Counters that steps count; all others are the same for every tree.
COUNTED = (
    "macs", "drained", "instructions", "cycles", "x_reads", "y_reads", "x_writes", "y_writes",
)  # fmt: skip


class Prices(NamedTuple):
    """Picojoules for one of each counter."""

    macs: float
    drained: float
    instructions: float
    cycles: float
    x_reads: float
    y_reads: float
    x_writes: float
    y_writes: float

    @classmethod
    def of(cls, arch: Architecture, table: energy.Table) -> Prices:
        """Return a table's prices on a machine: the energy of a run that counts one."""
        none = {c.name: 0 for c in COUNTERS}
        return cls(*(energy.energy(none | {n: 1}, arch, table).total_pj for n in COUNTED))

    @property
    def reads(self) -> tuple[float, float]:
        """An element read from X, from Y."""
        return self.x_reads, self.y_reads

    @property
    def writes(self) -> tuple[float, float]:
        """An element written into X, into Y."""
        return self.x_writes, self.y_writes


class Counts(NamedTuple):
    """What one execution of a step counts, but for the writes."""

    macs: int
    drained: int
    instructions: int
    x_reads: int
    y_reads: int

    def pj(self, prices: Prices, cycles: float) -> float:
        """Return the energy of a step of so many cycles, its writes left out."""
        return (
            self.macs * prices.macs
            + self.drained * prices.drained
            + self.instructions * prices.instructions
            + self.x_reads * prices.x_reads
            + self.y_reads * prices.y_reads
            + cycles * prices.cycles
        )


def counts(shape: Shape, fold: Fold) -> Counts:
    """Return what a step counts: each operand is read anew for every iteration over the others.

    A vector of X is read once for all vectors of Y that pass while it is held, a vector of Y once
    for all that are held.
    """
    m, _, k, b, rx, ry = (prod(size for _, size in group) for group in shape.groups())
    n = _padded(shape.n, fold.q)
    over_n, n_parts = _steps(shape.n, fold.n, fold.q)
    over_m, m_parts = _steps(shape.m, fold.m, fold.h)
    _, b_parts = _steps(shape.b, fold.b, ())
    return Counts(
        macs=m * n * k * b * rx * ry,
        drained=m * n * b,
        instructions=n_parts * m_parts * b_parts,
        x_reads=m * k * b * rx * over_n * ry,
        y_reads=n * k * b * ry * over_m * rx,
    )


def _padded(group: Sized, blocks: Lanes) -> int:
    """Return the values of a group, those to which blocks reach included."""
    sizes = dict(group)
    found = prod(sizes.values())
    for factor in blocks:
        if factor.reach:
            found = found // prod(sizes.get(i, 1) for i in factor.chain) * factor.reach
    return found


def _steps(group: Sized, lanes: Lanes, blocks: Lanes) -> tuple[int, int]:
    """Return the iterations in time over a group, and into how many CONTRACTs it falls."""
    sizes = dict(group)
    counts, beyond = ({f.chain: f.count for f in factors} for factors in (lanes, blocks))
    reach = {f.chain: f.reach for f in blocks}
    chains = dict.fromkeys((*counts, *beyond))
    taken = {i for chain in chains for i in chain}
    steps, parts = prod(size for i, size in group if i not in taken), 1
    for chain in chains:
        size = prod(sizes.get(i, 1) for i in chain)
        found = runs(size, counts.get(chain, 1), beyond.get(chain, 1), reach=reach.get(chain, 0))
        steps, parts = steps * sum(r.iterations for r in found), parts * len(found)
    return steps, parts


def part_energy(part: Part, prices: Prices) -> float:
    """Return the energy of a mapped network's steps in pJ."""
    total = 0.0
    for step in part.steps:
        x, y, z = (part.tensors[n] for n in (step.x, step.y, step.name))
        shape = Shape.of(x.indices, y.indices, z.indices, step.extents)
        found = counts(shape, step.fold)
        each = found.pj(prices, step.cycles) + found.drained * prices.writes[z.space]
        total += step.executions * each
    return total


def part_counts(part: Part) -> Mapping[str, int]:
    """Return what all steps of a mapped network count."""
    total = dict.fromkeys(Counts._fields, 0) | {"x_writes": 0, "y_writes": 0}
    for step in part.steps:
        x, y, z = (part.tensors[n] for n in (step.x, step.y, step.name))
        found = counts(Shape.of(x.indices, y.indices, z.indices, step.extents), step.fold)
        for name, n in found._asdict().items():
            total[name] += step.executions * n
        total["xy"[z.space] + "_writes"] += step.executions * found.drained
    return total
