"""Folds of a pairwise step, by the cycles of their CONTRACTs.

What fits a machine depends on its fold (`program.Contract`). Lanes hold up to two factors of m, n
and k and one of b. Where values of X are held, one more factor of m (`h`) lies on groups of
columns, and up to two of n (`q`) pass in time. A factor is a count of an index, or of several that
are fused; the rest runs in time. Where the count does not divide, the rest is a *tail*: one more
CONTRACT with fewer lanes. Lanes of k divide exactly, since a tail of k would need a second sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import NamedTuple

from einchip.arch import Architecture, clog2
from einchip.mapper.cost import issue_cycles, latency
from einchip.mapper.factors import Factor, Fold, Lanes, Run, Shape, Sized, runs
from einchip.mapper.options import Option, Place, blocked, laned, make

__all__ = [
    "Candidate",
    "Factor",
    "Fold",
    "Found",
    "Lanes",
    "Run",
    "Shape",
    "Sized",
    "best_cycles",
    "candidates",
    "group_options",
    "runs",
]

#: Words that a CONTRACT takes to fetch, and the states FETCH and DECODE: no CONTRACT is quicker.
FETCH_CYCLES = 10
#: Cycles between the end of a lane set-up and the next one's start.
SETUP_MARGIN = 2
#: Ways to choose indices for the same lanes that are looked at.
ALTERNATIVES = 4
#: Part of the least cycles by which folds may exceed them where nothing else is said.
USUAL_SLACK = 1 / 4


class Machine(NamedTuple):
    """What folds depend on."""

    fold: str
    rows: int
    cols: int
    lanes: int
    passing: int  # vectors of Y that may pass while X is held

    @classmethod
    def of(cls, arch: Architecture) -> Machine:
        passing = arch.tile_accumulators if arch.holds else 1
        return cls(arch.fold, arch.rows, arch.cols, arch.lanes, passing)

    @property
    def floor(self) -> int:
        """Cycles that no CONTRACT beats: fetch, and the lane set-up of the next one."""
        return max(self.lanes + SETUP_MARGIN, FETCH_CYCLES)

    @property
    def most_k(self) -> int:
        """Lanes of k at most."""
        return {"op": 1, "ip": self.rows}.get(self.fold, min(self.rows, self.cols))

    def most_b(self, n_k: int) -> int:
        """Lanes of b at most, beside those of k."""
        return min(self.rows, self.cols) // (1 << clog2(n_k)) if self.blocks else 1

    @property
    def blocks(self) -> bool:
        """Whether the array can be cut into blocks."""
        return self.fold in ("hybrid", "flex")

    def most_m(self, blocks: int) -> int:
        """Lanes of m at most in one of so many blocks."""
        return 1 if self.fold == "ip" else self.rows // blocks

    def most_n(self, blocks: int) -> int:
        """Lanes of n at most in one of so many blocks."""
        return 1 if self.fold == "ip" else self.cols // blocks

    def most_held(self, blocks: int, n_n: int) -> int:
        """Vectors of X that may be held beside so many lanes of n."""
        if self.fold == "ip":
            return self.cols
        fit = self.cols // (blocks * n_n)
        return 1 << fit.bit_length() - 1 if self.fold == "flex" else 1


class _Sizes(NamedTuple):
    """A shape without names: the key of every cache."""

    m: tuple[int, ...]
    n: tuple[int, ...]
    k: tuple[int, ...]
    b: tuple[int, ...]
    alone: int  # product of rx and ry

    @classmethod
    def of(cls, shape: Shape) -> _Sizes:
        m, n, k, b, rx, ry = (tuple(s for _, s in g) for g in shape.groups())
        return cls(m, n, k, b, prod(rx) * prod(ry))

    def fused(self) -> _Sizes:
        """Return the shape whose groups are one index each: no fold of this one is cheaper."""
        m, n, k, b = (tuple(x for x in (prod(g),) if x > 1) for g in self[:4])
        return _Sizes(m, n, k, b, self.alone)


class _Choice(NamedTuple):
    """One fold by positions, and the cycles of its CONTRACTs in the steady state."""

    cycles: int
    contracts: int
    rows: int  # drained by a tile
    n_fused: int
    m: Option
    n: Option
    k: Option
    b: Option


def _evaluate(
    machine: Machine, alone: int, addend: bool, m: Option, n: Option, k: Option, b: Option
) -> _Choice:
    iterations, floor = k.steps * alone, machine.floor
    cycles = contracts = 0
    for (tm, n_m, nh), (tn, _, q), (tb, _, _) in itertools.product(m.parts, n.parts, b.parts):
        cycles += max(floor, issue_cycles(tm * tn * tb, iterations, n_m, addend, nh, q))
        contracts += 1
    fused = m.n_fused + n.n_fused + k.n_fused + b.n_fused
    return _Choice(cycles, contracts, m.lanes * n.n_blocks, fused, m, n, k, b)


class _Pair(NamedTuple):
    """Lanes of all groups, and a bound of their cycles whatever is held."""

    least: int
    held: int
    m: Option
    n: Option
    k: Option
    b: Option


def _pairs(s: _Sizes, machine: Machine, addend: bool, fuse: bool, few: int) -> Iterator[_Pair]:
    """Yield all choices of lanes that fit the array."""
    for k in laned(s.k, machine.most_k, 2, True, fuse, few):
        k_blocks = 1 << clog2(k.lanes)
        iterations = k.steps * s.alone
        for b in laned(s.b, machine.most_b(k.lanes), 1, False, fuse, few):
            blocks = k_blocks << clog2(b.lanes)
            ms = laned(s.m, machine.most_m(blocks), 2, False, fuse, few)
            ns = laned(s.n, machine.most_n(blocks), 2, False, fuse, few)
            for m, n in itertools.product(ms, ns):
                held = min(machine.most_held(blocks, n.lanes), m.steps)
                both = max(1, min(held, machine.passing, n.steps))
                slots = m.steps * n.steps * b.steps * iterations // both
                rows = m.lanes * m.steps * n.steps * b.steps // held
                least = slots + rows if addend else max(slots, rows)
                yield _Pair(max(least, machine.floor), held, m, n, k, b)


def _holding(
    s: _Sizes, machine: Machine, pair: _Pair, fuse: bool, few: int
) -> Iterator[tuple[Option, Option]]:
    """Yield the ways to hold values of m while values of n pass, and to hold none."""
    yield pair.m, pair.n
    if pair.held > 1:
        passing = blocked(s.n, pair.n, machine.passing, 2, fuse, few)
        for m in blocked(s.m, pair.m, pair.held, 1, fuse, few):
            yield m, pair.n
            for n in passing:
                yield m, n


@lru_cache(maxsize=262144)
def _least(s: _Sizes, machine: Machine, addend: bool) -> tuple[int, int]:
    """Return the cycles of the cheapest fold, and the rows of its last tile."""
    best: _Choice | None = None
    for pair in sorted(_pairs(s, machine, addend, False, 1), key=lambda p: p.least):
        if best and pair.least >= best.cycles:
            break
        for m, n in _holding(s, machine, pair, False, 1):
            found = _evaluate(machine, s.alone, addend, m, n, pair.k, pair.b)
            if best is None or found[:3] < best[:3]:
                best = found
    assert best is not None
    return best.cycles, best.rows


def best_cycles(shape: Shape, arch: Architecture, addend: bool = False) -> int:
    """Return the least cycles of a step, its drain included: those with all groups fused."""
    cycles, rows = _least(_Sizes.of(shape).fused(), Machine.of(arch), addend)
    return cycles + latency(rows, arch)


@lru_cache(maxsize=16384)
def _choices(
    s: _Sizes, machine: Machine, addend: bool, slack: int | None, keep: int
) -> tuple[tuple[_Choice, ...], int]:
    """Return the cheapest folds, and the cycles of the cheapest that was left out."""
    limit = _least(s.fused(), machine, addend)[0]
    limit += int(limit * USUAL_SLACK) if slack is None else slack
    found: list[_Choice] = []
    cut = limit + 1
    for pair in _pairs(s, machine, addend, True, ALTERNATIVES):
        if pair.least > limit:
            continue
        for m, n in _holding(s, machine, pair, True, ALTERNATIVES):
            choice = _evaluate(machine, s.alone, addend, m, n, pair.k, pair.b)
            if choice.cycles <= limit:
                found.append(choice)
    found.sort(key=lambda c: (c.cycles + c.rows, c.contracts, c.n_fused, c.rows))
    if len(found) > keep:
        cut = min(c.cycles + c.rows for c in found[keep:])
    return tuple(found[:keep]), cut


class Candidate(NamedTuple):
    """A fold and its cycles, drain included."""

    cycles: int
    fold: Fold


class Found(NamedTuple):
    """Folds of a step, best first, and the least cycles of those that were left out."""

    candidates: list[Candidate]
    cut: int


def candidates(
    shape: Shape,
    arch: Architecture,
    addend: bool = False,
    slack: int | None = None,
    keep: int = 48,
) -> Found:
    """Return the best `keep` folds of a step that take up to `slack` cycles more than the least.

    `slack` None stands for `USUAL_SLACK` of the least. The plainest fold (no lanes at all) is
    always among them.
    """
    key, machine = _Sizes.of(shape), Machine.of(arch)
    nothing = [make(g, (), ()) for g in key[:4]]
    m, n, k, b = nothing
    plain = _evaluate(machine, key.alone, addend, m, n, k, b)
    chosen, cut = _choices(key, machine, addend, slack, keep)
    fixed = latency(0, arch)
    return Found(
        [
            Candidate(c.cycles + c.rows + fixed, _named(shape, c))
            for c in dict.fromkeys((*chosen, plain))
        ],
        cut + fixed,
    )


def _named(shape: Shape, c: _Choice) -> Fold:
    """Return a fold with the names of its indices."""

    def factors(group: Sized, places: tuple[Place, ...]) -> Lanes:
        return tuple(
            Factor(group[p.chain[0]][0], p.count, tuple(group[i][0] for i in p.chain[1:]), p.step)
            for p in places
        )

    return Fold(
        factors(shape.m, c.m.places), factors(shape.n, c.n.places), factors(shape.k, c.k.places),
        factors(shape.b, c.b.places), factors(shape.m, c.m.blocks), factors(shape.n, c.n.blocks),
    )  # fmt: skip


class Unfused(NamedTuple):
    """Lanes of a group whose indices stay apart: by position and count."""

    steps: int
    tails: int
    factors: tuple[tuple[int, int], ...]


def group_options(sizes: tuple[int, ...], cap: int) -> tuple[Unfused, ...]:
    """Return ways to put up to `cap` values of a group of indices on up to two lanes' factors."""
    found = laned(sizes, cap, 2, False, False, ALTERNATIVES)
    return tuple(
        Unfused(o.steps, o.tails, tuple((p.chain[0], p.count) for p in o.places)) for o in found
    )


def steady_cycles(shape: Shape, arch: Architecture) -> int:
    """Return the least cycles for which a step holds the array in the steady state."""
    return _least(_Sizes.of(shape).fused(), Machine.of(arch), False)[0]
