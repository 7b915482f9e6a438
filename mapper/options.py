"""Ways to put a group of indices on lanes: which indices, fused or not, and how many values."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import gcd, prod
from typing import Any, NamedTuple

from einchip.mapper.factors import runs

#: Indices of a group up to which they are fused in every order; of more, in two orders.
ALL_FUSED = 3

Chain = tuple[int, ...]  # positions in a group, from the inside out


class Place(NamedTuple):
    """`n` values, `step` apart, of the indices of a chain, taken for `reach` values if given."""

    chain: Chain
    n: int
    step: int = 1
    reach: int = 0


class Limit(NamedTuple):
    """How many values may be on lanes or in blocks, and by how many factors."""

    most: int
    factors: int
    banks: int = 0  # of blocks that are accessed at once; 0: one after the other
    pads: bool = False  # whether blocks may reach beyond the values that there are


Parts = tuple[tuple[int, int, int], ...]  # (iterations in time, lanes, blocks)


class Option(NamedTuple):
    """One choice of lanes for a group; `blocks` are kept or passed beside them."""

    steps: int  # iterations in time, tails included
    tails: int  # further CONTRACTs
    lanes: int
    n_fused: int
    n_blocks: int
    places: tuple[Place, ...]
    blocks: tuple[Place, ...]
    parts: Parts


def counts(size: int, cap: int, exact: bool = False) -> list[int]:
    """Return lane counts worth trying: for each number of iterations the least count."""
    most = min(size, cap)
    if exact:
        return [c for c in range(2, most + 1) if size % c == 0]
    found = {-(-size // -(-size // c)) for c in range(2, most + 1)} | {most}
    return sorted(c for c in found if c >= 2)


@lru_cache(maxsize=4096)
def chains(n: int, fuse: bool) -> tuple[Chain, ...]:
    """Return the ways to take indices of a group of n as one: each alone, then fused."""
    natural = tuple(range(n))
    found: list[Chain] = [(p,) for p in natural]
    if fuse:
        every = n <= ALL_FUSED
        orders = itertools.permutations(natural) if every else (natural, natural[::-1])
        for order in orders:
            found += [order[a:b] for a, b in itertools.combinations(range(n + 1), 2)]
    return tuple(sorted(dict.fromkeys(found), key=len))


def make(
    sizes: tuple[int, ...],
    places: tuple[Place, ...],
    blocks: tuple[Place, ...],
    at_once: bool = False,
) -> Option:
    """Return the option of these places; blocks on the chain of a place lie beyond its lanes."""
    lanes = {p.chain: p.n for p in places}
    beyond = {p.chain: p.n for p in blocks}
    reach = {p.chain: p.reach for p in blocks}
    used = dict.fromkeys((*lanes, *beyond))
    taken = {p for chain in used for p in chain}
    parts = [(prod(s for p, s in enumerate(sizes) if p not in taken), 1, 1)]
    for chain in used:
        size = prod(sizes[p] for p in chain)
        ways = runs(size, lanes.get(chain, 1), beyond.get(chain, 1), at_once, reach.get(chain, 0))
        parts = [
            (t * r.iterations, c * r.lanes, q * r.blocks)
            for (t, c, q), r in itertools.product(parts, ways)
        ]
    return Option(
        sum(p[0] for p in parts), len(parts) - 1, prod(lanes.values()),
        sum(len(c) - 1 for c in used), prod(beyond.values()), places, blocks, tuple(parts),
    )  # fmt: skip


def front(options: Iterable[Option], figures: int, alternatives: int) -> tuple[Option, ...]:
    """Keep the Pareto front over the first figures, with some alternatives of each point."""
    kept: dict[tuple[Any, ...], list[Option]] = {}
    for o in sorted(options, key=lambda o: o[:5]):
        key = o[:figures]
        if key in kept:
            if len(kept[key]) < alternatives:
                kept[key].append(o)
        elif not any(all(p <= q for p, q in zip(other, key, strict=True)) for other in kept):
            kept[key] = [o]
    return tuple(o for group in kept.values() for o in group)


@lru_cache(maxsize=16384)
def laned(
    sizes: tuple[int, ...], cap: int, factors: int, exact: bool, fuse: bool, alternatives: int
) -> tuple[Option, ...]:
    """Return ways to put up to `cap` values of a group on lanes, by up to `factors` factors."""
    found = [make(sizes, (), ())]
    if factors and cap > 1:
        singles = [
            Place(chain, c)
            for chain in chains(len(sizes), fuse)
            for c in counts(prod(sizes[p] for p in chain), cap, exact)
        ]
        found += [make(sizes, (p,), ()) for p in singles]
        if factors > 1:
            found += [make(sizes, pair, ()) for pair in _pairs(sizes, singles, cap)]
    return front(found, 4, alternatives)


def _pairs(
    sizes: tuple[int, ...], singles: Sequence[Place], cap: int
) -> Iterator[tuple[Place, Place]]:
    """Yield two places beside each other, without fused indices that make no difference."""
    needed = [p for p in singles if prod(sizes[i] for i in p.chain[:-1]) < p.n * p.step]
    for a, b in itertools.combinations(needed, 2):
        if a.n * b.n <= cap and not set(a.chain) & set(b.chain):
            yield a, b


def blocked(
    sizes: tuple[int, ...], option: Option, limit: Limit, fuse: bool, alternatives: int
) -> tuple[Option, ...]:
    """Return the ways to take blocks of what an option leaves in time.

    Blocks that are accessed at once need banks of their own: behind 16 lanes of an index of any
    stride, 16 banks hold one block.
    """
    cap = limit.most
    if cap < 2 or option.steps == 1:
        return ()
    lanes = {p.chain: p.n for p in option.places}
    taken = {i for chain in lanes for i in chain}
    free = [c for c in chains(len(sizes), fuse) if not taken & set(c)]
    singles = [
        Place(chain, c, lanes.get(chain, 1))
        for chain in (*lanes, *free)
        for c in counts(-(-prod(sizes[p] for p in chain) // lanes.get(chain, 1)), cap)
        if not limit.banks or c <= limit.banks // gcd(limit.banks, lanes.get(chain, 1))
    ]
    if limit.pads:
        singles += list(_padded(sizes, singles))
    found = [make(sizes, option.places, (p,), limit.banks > 0) for p in singles]
    if limit.factors > 1:
        found += [
            make(sizes, option.places, pair, limit.banks > 0)
            for pair in _pairs(sizes, singles, cap)
        ]
    return front(found, 5, alternatives)


def _padded(sizes: tuple[int, ...], singles: Sequence[Place]) -> Iterator[Place]:
    """Yield the places that take all values of a chain at once if there are a few more of them."""
    for place in singles:
        size, reach = prod(sizes[p] for p in place.chain), place.n * place.step
        if reach - place.step < size < reach:
            yield place._replace(reach=reach)


class Way(NamedTuple):
    """Lanes of a group by their figures; `same` are the options that have them."""

    steps: int
    lanes: int
    n_blocks: int
    parts: Parts
    same: tuple[Option, ...]
    blocked: tuple[Way, ...] = ()


def _ways(options: Iterable[Option], blocked: Mapping[Parts, tuple[Way, ...]]) -> tuple[Way, ...]:
    found: dict[Parts, list[Option]] = {}
    for o in sorted(options, key=lambda o: o.n_fused):
        found.setdefault(o.parts, []).append(o)
    return tuple(
        Way(o[0].steps, o[0].lanes, o[0].n_blocks, parts, tuple(o), blocked.get(parts, ()))
        for parts, o in found.items()
    )


@lru_cache(maxsize=16384)
def ways(
    sizes: tuple[int, ...], lanes: Limit, blocks: Limit, exact: bool, fuse: bool, alternatives: int
) -> tuple[Way, ...]:
    """Return the ways to put a group on lanes, each with those to take blocks of the rest."""
    options = laned(sizes, lanes.most, lanes.factors, exact, fuse, alternatives)
    beyond: dict[Parts, list[Option]] = {}
    for o in options:
        found = blocked(sizes, o, blocks, fuse, alternatives)
        beyond.setdefault(o.parts, []).extend(found)
    return _ways(options, {parts: _ways(found, {}) for parts, found in beyond.items()})
