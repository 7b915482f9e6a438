"""Folds of a pairwise step, by the cycles of their CONTRACTs.

What fits a machine depends on its fold (`program.Contract`). Lanes hold up to two factors of m, n
and k and one of b. Where values of X are held, one more factor of m (`h`) lies on groups of
columns, and up to two of n (`q`) pass in time. A factor is a count of an index, or of several that
are fused; the rest runs in time. Where the count does not divide, the rest is a *tail*: one more
CONTRACT with fewer lanes. Lanes of k divide exactly, since a tail of k would need a second sum.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import NamedTuple

from einchip.arch import Architecture, clog2
from einchip.mapper.cost import issue_cycles, latency
from einchip.mapper.factors import Factor, Fold, Lanes, Run, Shape, Sized, runs
from einchip.mapper.options import Chain, Limit, Option, Place, Way, laned, ways
from einchip.mapper.serial import least_contract
from einchip.program import HOLD_LOOPS

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
    "steady_cycles",
]

#: Words that a CONTRACT takes to fetch, and the states FETCH and DECODE: no CONTRACT is quicker.
FETCH_CYCLES = 10
#: The groups that may be on lanes, and `h` for values of m that are held; a part of these restricts
#: the folds, and no index is fused then.
ALL_GROUPS = "mnkbh"
#: All groups, but no index is fused.
UNFUSED = ALL_GROUPS[::-1]
#: Cycles between the end of a lane set-up and the next one's start.
SETUP_MARGIN = 2
#: Ways to choose indices for the same lanes that are looked at.
ALTERNATIVES = 8
#: Of the folds that are kept, those that fuse the same indices are this part at most.
BUCKETS = 8
#: Part of the least cycles by which folds may exceed them where nothing else is said.
USUAL_SLACK = 1 / 8


class Machine(NamedTuple):
    """What folds depend on."""

    fold: str
    rows: int
    cols: int
    lanes: int
    passing: int  # vectors of Y that may pass while X is held
    groups: str = ALL_GROUPS
    drains: bool = True  # whether the last tile's drain counts: nothing else hides it
    pads: bool = False  # whether vectors that pass may be padded: Y is made of weights

    @classmethod
    def of(
        cls, arch: Architecture, groups: str = ALL_GROUPS, drains: bool = True, pads: bool = False
    ) -> Machine:
        passing = arch.tile_accumulators if arch.holds and "h" in groups else 1
        pads = pads and passing > 1
        return cls(arch.fold, arch.rows, arch.cols, arch.lanes, passing, groups, drains, pads)

    @property
    def serial(self) -> bool:
        """Whether it is a machine of one multiplier."""
        return self.rows == self.cols == 1

    @property
    def fuses(self) -> bool:
        """Whether indices may be fused: where folds are restricted, layouts are, too."""
        return self.groups == ALL_GROUPS

    def room(self, group: str, lanes: int) -> int:
        """Return how many of `lanes` a group may use."""
        return lanes if group in self.groups else 1

    @property
    def floor(self) -> int:
        """Cycles that no CONTRACT beats: fetch, and the lane set-up of the next one."""
        return max(self.lanes + SETUP_MARGIN, FETCH_CYCLES)

    @property
    def most_k(self) -> int:
        """Lanes of k at most."""
        most = {"op": 1, "ip": self.rows}.get(self.fold, min(self.rows, self.cols))
        return self.room("k", most)

    def most_b(self, n_k: int) -> int:
        """Lanes of b at most, beside those of k."""
        if self.fold not in ("hybrid", "flex"):
            return 1
        return self.room("b", min(self.rows, self.cols) // (1 << clog2(n_k)))

    def blocks(self, n_k: int, n_b: int) -> int:
        """Blocks into which lanes of k and b cut the array."""
        return 1 if self.fold == "ip" else 1 << clog2(n_k) + clog2(n_b)

    def most_m(self, blocks: int) -> int:
        """Lanes of m at most in one of so many blocks."""
        return 1 if self.fold == "ip" else self.room("m", self.rows // blocks)

    def most_n(self, blocks: int) -> int:
        """Lanes of n at most in one of so many blocks."""
        return 1 if self.fold == "ip" else self.room("n", self.cols // blocks)

    def most_held(self, blocks: int, n_n: int) -> int:
        """Vectors of X that may be held beside so many lanes of n."""
        if self.fold == "ip":
            return self.room("h", self.cols)
        fit = self.cols // (blocks * n_n)
        return self.room("h", 1 << fit.bit_length() - 1) if self.fold == "flex" else 1


class _Sizes(NamedTuple):
    """A shape without names: the key of every cache."""

    m: tuple[int, ...]
    n: tuple[int, ...]
    k: tuple[int, ...]
    b: tuple[int, ...]
    alone: int  # product of rx and ry
    apart: bool = False  # whether m is several indices that only stand for one

    @classmethod
    def of(cls, shape: Shape) -> _Sizes:
        m, n, k, b, rx, ry = (tuple(s for _, s in g) for g in shape.groups())
        return cls(m, n, k, b, prod(rx) * prod(ry))

    def fused(self) -> _Sizes:
        """Return the shape whose groups are one index each: no fold of this one is cheaper."""
        m, n, k, b = (tuple(x for x in (prod(g),) if x > 1) for g in self[:4])
        return _Sizes(m, n, k, b, self.alone, len(self.m) > 1)


class _Ways(NamedTuple):
    """One fold by its figures; every combination of the options of its ways is one by names."""

    total: int  # cycles of the CONTRACTs in the steady state, and of the last drain if it counts
    contracts: int
    rows: int
    m: Way
    n: Way
    k: Way
    b: Way

    def choices(self) -> Iterator[_Choice]:
        """Yield the folds with these figures."""
        for options in itertools.product(self.m.same, self.n.same, self.k.same, self.b.same):
            yield _Choice(self.total, *options)


class _Choice(NamedTuple):
    """One fold by positions."""

    total: int
    m: Option
    n: Option
    k: Option
    b: Option

    @property
    def rows(self) -> int:
        """Rows that the last tile drains."""
        return self.m.lanes * self.n.n_blocks

    @property
    def fused(self) -> tuple[Chain, ...]:
        """The chains of each group that fuse indices."""
        return tuple(p.chain for o in self[1:] for p in (*o.places, *o.blocks) if len(p.chain) > 1)


def _evaluate(machine: Machine, alone: int, addend: bool, ways: tuple[Way, ...]) -> _Ways:
    m, n, k, b = ways
    iterations, floor = k.steps * alone, machine.floor
    cycles = contracts = 0
    for (tm, n_m, nh), (tn, _, q), (tb, _, _) in itertools.product(m.parts, n.parts, b.parts):
        tiles = tm * tn * tb
        if machine.serial:
            cycles += least_contract(tiles, iterations, addend)
        else:
            cycles += max(floor, issue_cycles(tiles, iterations, n_m, addend, nh, q))
        contracts += 1
    rows = 0 if machine.serial else m.lanes * n.n_blocks
    return _Ways(cycles + rows * machine.drains, contracts, rows, m, n, k, b)


class _Lanes(NamedTuple):
    """Lanes of all groups, and a bound of their cycles whatever is held."""

    least: int
    held: int
    m: Way
    n: Way
    k: Way
    b: Way

    def holding(self, passing: int) -> Iterator[tuple[Way, ...]]:
        """Yield the ways to hold values of m while values of n pass, and to hold none."""
        for m in (self.m, *self.m.blocked):
            if m.n_blocks <= self.held:
                for n in (self.n, *self.n.blocked):
                    if n.n_blocks <= passing:
                        yield m, n, self.k, self.b


class _Blocks(NamedTuple):
    """How an array is cut into blocks of k and b, and a bound of the cycles."""

    least: int
    k: Way
    b: Way


def _blocks(s: _Sizes, machine: Machine, fuse: bool, few: int) -> list[_Blocks]:
    """Return all ways to cut the array into blocks, the best bound first.

    All rows and columns of n blocks multiply 1/n as many pairs as an array in one piece.
    """
    nothing = Limit(1, 0)
    found = []
    macs = prod(itertools.chain(*s[:4])) * s.alone
    for k in ways(s.k, Limit(machine.most_k, 2), nothing, True, fuse, few):
        for b in ways(s.b, Limit(machine.most_b(k.lanes), 1), nothing, False, fuse, few):
            blocks = machine.blocks(k.lanes, b.lanes)
            found.append(_Blocks(macs * blocks // (machine.rows * machine.cols), k, b))
    return sorted(found, key=lambda f: f.least)


def _lanes(
    s: _Sizes, machine: Machine, addend: bool, fuse: bool, few: int, cut: _Blocks
) -> Iterator[_Lanes]:
    """Yield all choices of lanes that fit the blocks of an array."""
    k, b = cut.k, cut.b
    blocks, floor = machine.blocks(k.lanes, b.lanes), machine.floor
    most = machine.most_held(blocks, 1)
    passing = Limit(machine.passing, HOLD_LOOPS, pads=machine.pads)
    held = Limit(most, 1, 0 if s.apart else machine.lanes)
    ms = ways(s.m, Limit(machine.most_m(blocks), 2), held, False, fuse, few)
    ns = ways(s.n, Limit(machine.most_n(blocks), 2), passing, False, fuse, few)
    for m, n in itertools.product(ms, ns):
        most = min(machine.most_held(blocks, n.lanes), m.steps)
        both = max(1, min(most, machine.passing, n.steps))
        slots = m.steps * n.steps * b.steps * k.steps * s.alone // both
        rows = prod(s.m) * n.steps * b.steps // most
        least = slots + rows if addend else max(slots, rows)
        yield _Lanes(max(least, floor) + m.lanes * machine.drains, most, m, n, k, b)


@lru_cache(maxsize=262144)
def _least(s: _Sizes, machine: Machine, addend: bool) -> int:
    """Return the cycles of the cheapest fold."""
    best: int | None = None
    for cut in _blocks(s, machine, False, 1):
        if best is not None and cut.least >= best:
            break
        for lanes in sorted(_lanes(s, machine, addend, False, 1, cut), key=lambda p: p.least):
            if best is not None and lanes.least >= best:
                break
            for held in lanes.holding(machine.passing):
                total = _evaluate(machine, s.alone, addend, held).total
                best = total if best is None else min(best, total)
    assert best is not None
    return best


def best_cycles(
    shape: Shape,
    arch: Architecture,
    addend: bool = False,
    groups: str = ALL_GROUPS,
    pads: bool = False,
) -> int:
    """Return the least cycles of a step, its drain included: those with all groups fused.

    Only `groups` are on lanes. With `pads` the n group may be padded.
    """
    return steady_cycles(shape, arch, groups, True, pads, addend) + latency(0, arch)


def steady_cycles(
    shape: Shape,
    arch: Architecture,
    groups: str = ALL_GROUPS,
    drains: bool = False,
    pads: bool = False,
    addend: bool = False,
) -> int:
    """Return the least cycles for which a step holds the array, its last drain left out.

    With `drains` that is added. Else as `best_cycles`.
    """
    machine = Machine.of(arch, groups, drains, pads)
    return _least(_fused(_Sizes.of(shape), machine), machine, addend)


def _fused(s: _Sizes, machine: Machine) -> _Sizes:
    """Return sizes with their groups fused where that is possible."""
    return s.fused() if machine.fuses else s


@lru_cache(maxsize=16384)
def _choices(
    s: _Sizes, machine: Machine, addend: bool, slack: int | None, keep: int
) -> tuple[tuple[_Choice, ...], int]:
    """Return the cheapest folds, and the cycles of the cheapest that was left out."""
    limit = _least(_fused(s, machine), machine, addend)
    limit += int(limit * USUAL_SLACK) if slack is None else slack
    found: list[_Ways] = []
    for cut in _blocks(s, machine, machine.fuses, ALTERNATIVES):
        for lanes in _lanes(s, machine, addend, machine.fuses, ALTERNATIVES, cut):
            if max(cut.least, lanes.least) > limit:
                continue
            evaluated = (
                _evaluate(machine, s.alone, addend, held) for held in lanes.holding(machine.passing)
            )
            found += [w for w in evaluated if w.total <= limit]
    found.sort(key=lambda w: w[:3])
    kept: list[_Choice] = []
    buckets: Counter[tuple[Chain, ...]] = Counter()
    for way in found:
        for choice in way.choices():
            if len(kept) == keep:
                return tuple(kept), way.total
            fused = choice.fused
            if buckets[fused] < max(keep // BUCKETS, 1):
                buckets[fused] += 1
                kept.append(choice)
            else:
                limit = min(limit, way.total - 1)
    return tuple(kept), limit + 1


class Candidate(NamedTuple):
    """A fold, its cycles, and those of its last drain where they are not among them."""

    cycles: int
    fold: Fold
    hidden: int = 0


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
    groups: str = ALL_GROUPS,
    drains: bool = True,
    pads: bool = False,
) -> Found:
    """Return the best `keep` folds of a step that take up to `slack` cycles more than the least.

    `slack` None stands for `USUAL_SLACK` of the least. The plainest fold (no lanes at all) is
    always among them. Only `groups` are on lanes. Without `drains` the last drain does not count.
    With `pads` the n group may be padded.
    """
    key, machine = _Sizes.of(shape), Machine.of(arch, groups, drains, pads)
    nothing = Limit(1, 0)
    plain = _evaluate(
        machine, key.alone, addend,
        tuple(ways(g, nothing, nothing, False, False, 1)[0] for g in key[:4]),
    )  # fmt: skip
    chosen, cut = _choices(key, machine, addend, slack, keep)
    fixed = latency(0, arch)
    every = dict.fromkeys((*chosen, *plain.choices()))
    return Found(
        [Candidate(c.total + fixed, _named(shape, c), 0 if drains else c.rows) for c in every],
        cut + fixed,
    )


def _named(shape: Shape, c: _Choice) -> Fold:
    """Return a fold with the names of its indices."""

    def factors(group: Sized, places: tuple[Place, ...]) -> Lanes:
        return tuple(
            Factor(
                group[p.chain[0]][0], p.n, tuple(group[i][0] for i in p.chain[1:]), p.step, p.reach
            )
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
        Unfused(o.steps, o.tails, tuple((p.chain[0], p.n) for p in o.places)) for o in found
    )
