"""Folds: which indices of a pairwise step lie on the lanes of one iteration.

A step multiplies X (rows) by Y (columns). Its indices fall into groups: `m` (X and Z), `n` (Y and
Z), `k` (X and Y, summed), `b` (all three), `rx` and `ry` (in one operand only, summed). A fold puts
up to two factors of m, n and k and one of b on lanes; a factor is the innermost `count` values of
an index, the rest of the index runs in time. Where `count` does not divide the index, the rest is
a *tail*: one more CONTRACT with fewer lanes. Lanes of k divide exactly, since a tail of k would
need a second sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

from einchip.arch import Architecture, clog2
from einchip.mapper.cost import issue_cycles, latency

#: Words that a CONTRACT takes to fetch, and the states FETCH and DECODE: no CONTRACT is quicker.
FETCH_CYCLES = 10
#: The groups that may be on lanes; a part of them restricts the folds.
ALL_GROUPS = "mnkb"
#: Cycles between the end of a lane set-up and the next one's start.
SETUP_MARGIN = 2


@dataclass(frozen=True)
class Factor:
    """The innermost `count` values of an index."""

    index: str
    count: int


@dataclass(frozen=True)
class Fold:
    """The lanes of one iteration."""

    m: tuple[Factor, ...] = ()
    n: tuple[Factor, ...] = ()
    k: tuple[Factor, ...] = ()
    b: tuple[Factor, ...] = ()

    @property
    def x_lanes(self) -> tuple[Factor, ...]:
        """Lanes that are read from X at once."""
        return self.m + self.k + self.b

    @property
    def y_lanes(self) -> tuple[Factor, ...]:
        """Lanes that are read from Y at once."""
        return self.n + self.k + self.b

    @property
    def z_lanes(self) -> tuple[Factor, ...]:
        """Lanes that are written (and read as an addend) at once."""
        return self.n + self.b

    @property
    def n_m(self) -> int:
        """Rows drained per tile."""
        return prod(f.count for f in self.m)

    @property
    def macs(self) -> int:
        """Multiply-adds of one full iteration."""
        return prod(f.count for f in self.m + self.n + self.k + self.b)


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


class Machine(NamedTuple):
    """What folds depend on."""

    rows: int
    cols: int
    lanes: int
    groups: str = ALL_GROUPS

    @classmethod
    def of(cls, arch: Architecture, groups: str = ALL_GROUPS) -> Machine:
        return cls(arch.rows, arch.cols, arch.lanes, groups)

    def room(self, group: str, lanes: int) -> int:
        """Return how many of `lanes` a group may use."""
        return lanes if group in self.groups else 1


class Option(NamedTuple):
    """One choice of lanes for one group: by position in the group."""

    steps: int  # iterations in time, tails included
    tails: int  # factors that do not divide
    lanes: int
    factors: tuple[tuple[int, int], ...]  # (position, count)


def _counts(size: int, cap: int, exact: bool) -> list[int]:
    """Return lane counts worth trying: for each number of iterations the least count."""
    if exact:
        return [c for c in range(2, min(size, cap) + 1) if size % c == 0]
    most = min(size, cap)
    found = {-(-size // -(-size // c)) for c in range(2, most + 1)} | {most}
    return sorted(c for c in found if c >= 2)


@lru_cache(maxsize=65536)
def _options(
    sizes: tuple[int, ...], cap: int, factors: int, exact: bool, alternatives: int
) -> tuple[Option, ...]:
    """Return the choices for a group that no other one beats in every figure."""
    total = prod(sizes)
    found = [Option(total, 0, 1, ())]
    for number in range(1, factors + 1):
        for where in itertools.combinations(range(len(sizes)), number):
            ways = [_counts(sizes[p], cap, exact) for p in where]
            for counts in itertools.product(*ways):
                lanes = prod(counts)
                if lanes > cap:
                    continue
                chosen = tuple(zip(where, counts, strict=True))
                steps = total
                for p, c in chosen:
                    steps = steps // sizes[p] * -(-sizes[p] // c)
                tails = sum(sizes[p] % c != 0 for p, c in chosen)
                found.append(Option(steps, tails, lanes, chosen))
    return _front(found, alternatives)


def _front(options: list[Option], alternatives: int) -> tuple[Option, ...]:
    """Keep the Pareto front over (steps, tails, lanes), with some alternatives of each point."""
    kept: dict[tuple[int, int, int], list[Option]] = {}
    for o in sorted(options):
        key = o[:3]
        if key in kept:
            if len(kept[key]) < alternatives:
                kept[key].append(o)
        elif not any(all(p <= q for p, q in zip(other, key, strict=True)) for other in kept):
            kept[key] = [o]
    return tuple(o for group in kept.values() for o in group)


def group_options(sizes: tuple[int, ...], cap: int) -> tuple[Option, ...]:
    """Return ways to put up to `cap` values of a group of indices on lanes."""
    return _options(sizes, cap, 2, False, 4)


@lru_cache(maxsize=65536)
def _segments(sizes: tuple[int, ...], option: Option) -> list[tuple[int, int]]:
    """Return (iterations in time, lanes) of each part of a group: full lanes, and the tails."""
    chosen = dict(option.factors)
    rest = prod(s for p, s in enumerate(sizes) if p not in chosen)
    parts = [(rest, 1)]
    for p, c in option.factors:
        ways = [(sizes[p] // c, c)] + ([(1, sizes[p] % c)] if sizes[p] % c else [])
        parts = [(t * q, lanes * w) for t, lanes in parts for q, w in ways]
    return parts


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

    def ordered(self) -> _Sizes:
        """Return an equal shape whose figures are the same, so that it is found more often."""
        m, n, k, b = (tuple(sorted(g)) for g in (self.m, self.n, self.k, self.b))
        return _Sizes(m, n, k, b, self.alone)


class _Choice(NamedTuple):
    """One fold by positions, and the cycles of its CONTRACTs in the steady state."""

    cycles: int
    contracts: int
    m: Option
    n: Option
    k: Option
    b: Option


def _evaluate(
    s: _Sizes, machine: Machine, addend: bool, m: Option, n: Option, k: Option, b: Option
) -> _Choice:
    iterations, floor = k.steps * s.alone, max(machine.lanes + SETUP_MARGIN, FETCH_CYCLES)
    if not m.tails + n.tails + b.tails:
        cycles = issue_cycles(m.steps * n.steps * b.steps, iterations, m.lanes, addend)
        return _Choice(max(cycles, floor), 1, m, n, k, b)
    cycles = contracts = 0
    for (tm, n_m), (tn, _), (tb, _) in itertools.product(
        _segments(s.m, m), _segments(s.n, n), _segments(s.b, b)
    ):
        cycles += max(issue_cycles(tm * tn * tb, iterations, n_m, addend), floor)
        contracts += 1
    return _Choice(cycles, contracts, m, n, k, b)


def _combinations(s: _Sizes, machine: Machine, alternatives: int) -> Iterator[tuple[Option, ...]]:
    """Yield all choices of lanes that fit the array, as (m, n, k, b)."""
    cap = min(machine.rows, machine.cols)
    for k in _options(s.k, machine.room("k", cap), 2, True, alternatives):
        k_blocks = 1 << clog2(k.lanes)
        for b in _options(s.b, machine.room("b", cap // k_blocks), 1, False, alternatives):
            blocks = k_blocks << clog2(b.lanes)
            rows = machine.room("m", machine.rows // blocks)
            cols = machine.room("n", machine.cols // blocks)
            ms = _options(s.m, rows, 2, False, alternatives)
            ns = _options(s.n, cols, 2, False, alternatives)
            for m, n in itertools.product(ms, ns):
                yield m, n, k, b


@lru_cache(maxsize=65536)
def _choices(
    s: _Sizes, machine: Machine, addend: bool, alternatives: int, keep: int
) -> tuple[_Choice, ...]:
    found = [
        _evaluate(s, machine, addend, *options)
        for options in _combinations(s, machine, alternatives)
    ]
    found.sort(key=lambda c: (c.cycles + c.m.lanes, c.contracts, c.m.lanes))
    return tuple(found[:keep])


def best_cycles(
    shape: Shape, arch: Architecture, addend: bool = False, groups: str = ALL_GROUPS
) -> int:
    """Return the least cycles of a step, its drain included."""
    first = _choices(_Sizes.of(shape).ordered(), Machine.of(arch, groups), addend, 1, 1)[0]
    return first.cycles + latency(first.m.lanes, arch)


class Candidate(NamedTuple):
    """A fold and its cycles, drain included."""

    cycles: int
    fold: Fold


def candidates(
    shape: Shape,
    arch: Architecture,
    addend: bool = False,
    keep: int = 48,
    groups: str = ALL_GROUPS,
) -> list[Candidate]:
    """Return the best folds of a step, best first; the plainest (no lanes at all) is among them.

    Only `groups` are on lanes.
    """
    key, machine = _Sizes.of(shape), Machine.of(arch, groups)
    plain = _evaluate(
        key, machine, addend, *(Option(prod(g), 0, 1, ()) for g in (key.m, key.n, key.k, key.b))
    )
    chosen = dict.fromkeys((*_choices(key, machine, addend, 4, keep), plain))

    def named(group: Sized, option: Option) -> tuple[Factor, ...]:
        return tuple(Factor(group[p][0], c) for p, c in option.factors)

    return [
        Candidate(
            c.cycles + latency(c.m.lanes, arch),
            Fold(
                named(shape.m, c.m), named(shape.n, c.n), named(shape.k, c.k), named(shape.b, c.b)
            ),
        )
        for c in chosen
    ]
