"""Factors of indices on the lanes of an iteration, and the folds that they make.

A step multiplies X (rows) by Y (columns). Its indices fall into groups: `m` (X and Z), `n` (Y and
Z), `k` (X and Y, summed), `b` (all three), `rx` and `ry` (in one operand only, summed).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import NamedTuple


@dataclass(frozen=True, order=True)
class Factor:
    """`count` values of an index, `step` apart, the first one 0.

    `outer` are indices that are fused with it, from the inside out: in every tensor that holds them
    each lies right outside the one before, so that all together act as one index. With `reach` that
    index is taken for one of so many values: there is room for them in every tensor.
    """

    index: str
    count: int
    outer: tuple[str, ...] = ()
    step: int = 1
    reach: int = 0

    @property
    def chain(self) -> tuple[str, ...]:
        """All indices that act as one, from the inside out."""
        return (self.index, *self.outer)

    @property
    def fused(self) -> Factor:
        """What it demands of tensors that it takes one value of at a time."""
        return Factor(self.index, 1, self.outer, reach=self.reach)

    @property
    def name(self) -> str:
        """The indices as text, the outermost first."""
        return "*".join(reversed(self.chain))


Lanes = tuple[Factor, ...]


class Run(NamedTuple):
    """A part of an index: first value, iterations in time, lanes, blocks of lanes.

    It has iterations * blocks * lanes values, lanes fastest.
    """

    start: int
    iterations: int
    lanes: int
    blocks: int = 1


def runs(
    size: int, lanes: int, blocks: int = 1, at_once: bool = False, reach: int = 0
) -> list[Run]:
    """Return the full runs of an index and what is left of it.

    The rest is one run if some number of lanes and blocks makes it, else full lanes and a tail.
    Blocks that are accessed `at_once` are always full lanes apart, as their banks are. With `reach`
    there are so many values instead of `size`.
    """
    size, full = reach or size, lanes * blocks
    times, rest = divmod(size, full)
    found = [Run(0, times, lanes, blocks)] if times else []
    if not rest:
        return found
    start = size - rest
    least = min(rest, lanes) if at_once else 1
    for part in range(min(rest, lanes), least - 1, -1):
        if rest % part == 0 and rest // part <= blocks:
            return [*found, Run(start, 1, part, rest // part)]
    whole, tail = divmod(rest, lanes)
    found += [Run(start, 1, lanes, whole)] if whole else []
    return [*found, *([Run(size - tail, 1, tail)] if tail else [])]


@dataclass(frozen=True)
class Fold:
    """The lanes of one iteration, and what is held.

    `h` are values of the m group that are held, each by columns of its own; `q` the part of the n
    group that passes while they are held.
    """

    m: Lanes = ()
    n: Lanes = ()
    k: Lanes = ()
    b: Lanes = ()
    h: Lanes = ()
    q: Lanes = ()

    @property
    def x_lanes(self) -> Lanes:
        """Lanes that are read from X at once (a count of 1 demands fused indices only)."""
        return self.m + self.k + self.b + _fused(self.h)

    @property
    def y_lanes(self) -> Lanes:
        """Lanes that are read from Y at once."""
        return self.n + self.k + self.b + _fused(self.q)

    @property
    def z_lanes(self) -> Lanes:
        """Lanes that are written (and read as an addend) at once."""
        return self.n + self.b + self.h + _fused(self.m + self.q)

    @property
    def n_m(self) -> int:
        """Rows drained for each vector that passes."""
        return prod(f.count for f in self.m)

    @property
    def tile_rows(self) -> int:
        """Rows drained per tile."""
        return self.n_m * prod(f.count for f in self.q)

    @property
    def macs(self) -> int:
        """Multiply-adds of one full issue."""
        return prod(f.count for f in self.m + self.n + self.k + self.b + self.h)

    @property
    def factors(self) -> Lanes:
        """All factors."""
        return self.m + self.n + self.k + self.b + self.h + self.q

    @property
    def n_fused(self) -> int:
        """Indices that are fused with another one."""
        return sum(len(c) - 1 for c in {f.chain for f in self.factors})


def _fused(factors: Lanes) -> Lanes:
    return tuple(f.fused for f in factors if f.outer or f.reach)


Sized = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Shape:
    """The index groups of a pairwise step, each index with its size; indices of size 1 left out."""

    m: Sized
    n: Sized
    k: Sized
    b: Sized
    rx: Sized
    ry: Sized

    @classmethod
    def of(
        cls, x: Iterable[str], y: Iterable[str], z: Iterable[str], sizes: Mapping[str, int]
    ) -> Shape:
        """Sort the indices of X, Y and the result into groups."""
        xs, ys, zs = set(x), set(y), set(z)

        def group(indices: Iterable[str], wanted: set[str]) -> Sized:
            return tuple((i, sizes[i]) for i in indices if i in wanted and sizes[i] > 1)

        return cls(
            m=group(x, (xs & zs) - ys),
            n=group(y, (ys & zs) - xs),
            k=group(x, (xs & ys) - zs),
            b=group(x, xs & ys & zs),
            rx=group(x, xs - ys - zs),
            ry=group(y, ys - xs - zs),
        )

    def groups(self) -> tuple[Sized, ...]:
        """Return all six groups."""
        return self.m, self.n, self.k, self.b, self.rx, self.ry
