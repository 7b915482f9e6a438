"""Layouts: strides that keep every access of a tensor free of bank conflicts.

Element (x1, .., xd) lies at base + sum of s_i * x_i. An access takes a group of lanes, some counts
of some indices; it is conflict-free if its offsets differ modulo the lanes. Strides are chosen one
index after another, innermost first: each the least that is not below the extent so far (so that
no two elements coincide) and keeps the residues of every access apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from einchip.mapper.lanes import Factor

#: Indices up to which all orders are tried; beyond, a sample of at most MAX_ORDERS.
ALL_ORDERS = 5
MAX_ORDERS = 120
#: A layout with less padding than this part of the tensor ends the search.
GOOD_PADDING = 1 / 64


@dataclass(frozen=True)
class Layout:
    """Where the elements of a tensor lie, from its base."""

    sizes: Mapping[str, int]
    strides: Mapping[str, int]

    @property
    def extent(self) -> int:
        """Elements from the first to the last, padding between them included."""
        return 1 + sum((n - 1) * self.strides[i] for i, n in self.sizes.items())

    @property
    def elements(self) -> int:
        """Elements of the tensor itself."""
        return prod(self.sizes.values())

    def stride(self, index: str) -> int:
        """Return an index's stride; 0 where the tensor does not have it (or has it once)."""
        return self.strides.get(index, 0)


Pattern = tuple[tuple[int, int], ...]  # (position of the index, count)


def _spread(mask: int, count: int, stride: int, lanes: int) -> int:
    """Return the residues of `mask` repeated `count` times at `stride`; 0 if two coincide."""
    full = (1 << lanes) - 1
    result = 0
    for j in range(count):
        by = j * stride % lanes
        moved = (mask << by | mask >> (lanes - by)) & full
        if result & moved:
            return 0
        result |= moved
    return result


def _strides(
    sizes: tuple[int, ...], patterns: tuple[Pattern, ...], order: tuple[int, ...], lanes: int
) -> tuple[int, tuple[int, ...]] | None:
    """Return (extent, strides) for one order of the indices, innermost first."""
    strides, extent = [0] * len(sizes), 1
    masks = [1] * len(patterns)
    counts = [dict(p) for p in patterns]
    for i in order:
        touched = [q for q, c in enumerate(counts) if i in c]
        for stride in range(extent, extent + lanes):
            spread = [_spread(masks[q], counts[q][i], stride, lanes) for q in touched]
            if all(spread):
                break
        else:
            return None
        for q, mask in zip(touched, spread, strict=True):
            masks[q] = mask
        strides[i] = stride
        extent += stride * (sizes[i] - 1)
    return extent, tuple(strides)


def _orders(n: int, patterns: tuple[Pattern, ...]) -> Iterable[tuple[int, ...]]:
    """Return orders of n indices, innermost first: the last index of the tensor innermost first."""
    natural = tuple(reversed(range(n)))
    if n <= ALL_ORDERS:
        return itertools.permutations(natural)
    laned = [i for i in natural if any(i == p for pattern in patterns for p, _ in pattern)]
    rest = tuple(i for i in natural if i not in laned)
    orders = (
        part
        for p in itertools.permutations(laned)
        for part in (p + rest, p[:-1] + rest + p[-1:], p[:-2] + rest + p[-2:])
    )
    return itertools.islice(itertools.chain([natural], orders), MAX_ORDERS)


@lru_cache(maxsize=65536)
def _solve(
    sizes: tuple[int, ...], patterns: tuple[Pattern, ...], lanes: int
) -> tuple[int, ...] | None:
    """Return the strides of the first order with little padding, else of the best, or None."""
    best: tuple[int, tuple[int, ...]] | None = None
    good = prod(sizes) * (1 + GOOD_PADDING)
    for order in _orders(len(sizes), patterns):
        found = _strides(sizes, patterns, order, lanes)
        if found and (best is None or found[0] < best[0]):
            best = found
            if best[0] <= good:
                break
    return best[1] if best else None


def solve(
    indices: Iterable[str],
    sizes: Mapping[str, int],
    accesses: Iterable[Iterable[Factor]],
    lanes: int,
) -> Layout | None:
    """Return a layout in which all `accesses` are free of conflicts, or None.

    Indices of size 1, and those with an access to other tensors only, have no stride.
    """
    names = tuple(i for i in indices if sizes[i] > 1)
    position = {i: p for p, i in enumerate(names)}
    patterns = {
        tuple(sorted((position[f.index], f.count) for f in a if f.index in position))
        for a in accesses
    }
    wanted = tuple(sorted(p for p in patterns if p))
    strides = _solve(tuple(sizes[i] for i in names), wanted, lanes)
    if strides is None:
        return None
    return Layout({i: sizes[i] for i in names}, dict(zip(names, strides, strict=True)))


def row_major(indices: Iterable[str], sizes: Mapping[str, int]) -> Layout:
    """Return the layout without padding in which the last index runs fastest.

    Under it the tensor is one vector, whatever indices it is cut into.
    """
    strides: dict[str, int] = {}
    extent = 1
    for i in reversed(tuple(indices)):
        if sizes[i] > 1:
            strides[i] = extent
            extent *= sizes[i]
    ordered = dict(reversed(strides.items()))
    return Layout({i: sizes[i] for i in ordered}, ordered)


def pitched(
    indices: Iterable[str],
    sizes: Mapping[str, int],
    accesses: Iterable[Iterable[Factor]],
    lanes: int,
) -> Layout | None:
    """Return the layout with the last index fastest and the least padding, or None.

    Strides are padded only so that all `accesses` are free of conflicts.
    """
    names = tuple(i for i in indices if sizes[i] > 1)
    position = {i: p for p, i in enumerate(names)}
    patterns = tuple(
        tuple((position[f.index], f.count) for f in a if f.index in position) for a in accesses
    )
    found = _strides(
        tuple(sizes[i] for i in names), patterns, tuple(reversed(range(len(names)))), lanes
    )
    if found is None:
        return None
    return Layout({i: sizes[i] for i in names}, dict(zip(names, found[1], strict=True)))


def restrict(layout: Layout, indices: Iterable[str], sizes: Mapping[str, int]) -> Layout:
    """Return the layout of a part of a tensor: some of its indices, or fewer values of them."""
    kept = [i for i in indices if sizes[i] > 1]
    return Layout({i: sizes[i] for i in kept}, {i: layout.stride(i) for i in kept})


def conflict_free(layout: Layout, access: Iterable[Factor], lanes: int) -> bool:
    """Tell whether an access meets no bank twice."""
    mask = 1
    for factor in access:
        if factor.index in layout.strides:
            mask = _spread(mask, factor.count, layout.stride(factor.index) % lanes, lanes)
            if not mask:
                return False
    return True
