"""Layouts: strides that keep every access of a tensor free of bank conflicts.

Element (x1, .., xd) lies at base + sum of s_i * x_i. An access takes a group of lanes, some counts
of some indices; it is conflict-free if its offsets differ modulo the lanes. Indices that an access
takes as one lie behind one another, and are one *axis*. Strides are chosen one axis after another,
innermost first: each the least that is not below the extent so far (so that no two elements
coincide) and keeps the residues of every access apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

from einchip.arch import clog2
from einchip.mapper.factors import Factor

#: Indices up to which all orders are tried; beyond, a sample of at most MAX_ORDERS.
ALL_ORDERS = 5
MAX_ORDERS = 120
#: A layout with less padding than this part of the tensor ends the search.
GOOD_PADDING = 1 / 64


@dataclass(frozen=True)
class Layout:
    """Where the elements of a tensor lie, from its base.

    `spare` are elements behind the last that belong to it, too: values of an axis that accesses
    take for longer than it is (`Factor.reach`).
    """

    sizes: Mapping[str, int]
    strides: Mapping[str, int]
    spare: int = 0

    @property
    def extent(self) -> int:
        """Elements from the first to the last, padding between and behind them included."""
        return 1 + sum((n - 1) * self.strides[i] for i, n in self.sizes.items()) + self.spare

    @property
    def elements(self) -> int:
        """Elements of the tensor itself."""
        return prod(self.sizes.values())

    def stride(self, index: str) -> int:
        """Return an index's stride; 0 where the tensor does not have it (or has it once)."""
        return self.strides.get(index, 0)


class Lane(NamedTuple):
    """Lanes along an axis: the axis, how many, and how many of its values they are apart."""

    axis: int
    n: int
    step: int


Pattern = tuple[Lane, ...]


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


def _spread_all(mask: int, touched: Iterable[Lane], stride: int, lanes: int) -> int:
    """Return the residues of all lanes along an axis of this stride; 0 if two coincide."""
    for lane in touched:
        mask = _spread(mask, lane.n, lane.step * stride % lanes, lanes)
        if not mask:
            return 0
    return mask


def _on(patterns: tuple[Pattern, ...], axis: int) -> dict[int, list[Lane]]:
    """Return which patterns have lanes along an axis, and which lanes."""
    found = {q: [t for t in pattern if t.axis == axis] for q, pattern in enumerate(patterns)}
    return {q: touched for q, touched in found.items() if touched}


def _strides(
    sizes: tuple[int, ...], patterns: tuple[Pattern, ...], order: tuple[int, ...], lanes: int
) -> tuple[int, tuple[int, ...]] | None:
    """Return (extent, strides) for one order of the axes, innermost first."""
    strides, extent = [0] * len(sizes), 1
    masks = [1] * len(patterns)
    for i in order:
        touched = _on(patterns, i)
        for stride in range(extent, extent + lanes):
            spread = {q: _spread_all(masks[q], t, stride, lanes) for q, t in touched.items()}
            if all(spread.values()):
                break
        else:
            return None
        for q, mask in spread.items():
            masks[q] = mask
        strides[i] = stride
        extent += stride * (sizes[i] - 1)
    return extent, tuple(strides)


def _residues(axes: Sequence[int], patterns: tuple[Pattern, ...], lanes: int) -> dict[int, int]:
    """Return residues of strides of all axes with lanes, {} where there are none.

    Odd multiples of residues that serve do too, so the first one's may be a power of 2.
    """
    found: dict[int, int] = {}

    def place(k: int, masks: list[int]) -> bool:
        if k == len(axes):
            return True
        touched = _on(patterns, axes[k])
        for residue in range(lanes) if k else (0, *(1 << j for j in range(clog2(lanes)))):
            spread = {q: _spread_all(masks[q], t, residue, lanes) for q, t in touched.items()}
            if all(spread.values()):
                found[axes[k]] = residue
                if place(k + 1, [spread.get(q, mask) for q, mask in enumerate(masks)]):
                    return True
        return False

    return found if place(0, [1] * len(patterns)) else {}


def _with_residues(
    sizes: tuple[int, ...], residues: Mapping[int, int], lanes: int
) -> tuple[int, tuple[int, ...]]:
    """Return (extent, strides) for given residues, the last axis innermost."""
    strides, extent = [0] * len(sizes), 1
    for i in reversed(range(len(sizes))):
        strides[i] = extent + (residues[i] - extent) % lanes if i in residues else extent
        extent += strides[i] * (sizes[i] - 1)
    return extent, tuple(strides)


def _orders(n: int, laned: Collection[int]) -> Iterator[tuple[int, ...]]:
    """Return orders of n axes, innermost first: the last axis of the tensor innermost first."""
    natural = tuple(reversed(range(n)))
    if n <= ALL_ORDERS:
        yield from itertools.permutations(natural)
        return
    front = [i for i in natural if i in laned]
    rest = tuple(i for i in natural if i not in laned)
    orders = (
        part
        for p in itertools.permutations(front)
        for part in (p + rest, p[:-1] + rest + p[-1:], p[:-2] + rest + p[-2:])
    )
    yield from itertools.islice(itertools.chain([natural], orders), MAX_ORDERS)


@lru_cache(maxsize=65536)
def _solve(
    sizes: tuple[int, ...], patterns: tuple[Pattern, ...], lanes: int, n_orders: int
) -> tuple[int, ...] | None:
    """Return the strides of the first order with little padding, else of the best, or None.

    Where the least strides of no order do, residues of all strides are searched, so None means
    that no strides serve all patterns.
    """
    best: tuple[int, tuple[int, ...]] | None = None
    good = prod(sizes) * (1 + GOOD_PADDING)
    laned = sorted({t.axis for pattern in patterns for t in pattern})
    for order in itertools.islice(_orders(len(sizes), laned), n_orders):
        found = _strides(sizes, patterns, order, lanes)
        if found and (best is None or found[0] < best[0]):
            best = found
            if best[0] <= good:
                break
    if best is None:
        residues = _residues(laned, patterns, lanes)
        best = _with_residues(sizes, residues, lanes) if residues else None
    return best[1] if best else None


class Fusion:
    """The axes of a tensor: its indices, those that an access fuses taken as one.

    `axes` are chains of indices from the inside out; None where two accesses fuse an index with
    different ones.
    """

    def __init__(self, names: Sequence[str], accesses: Iterable[Iterable[Factor]]) -> None:
        outer: dict[str, str] = {}
        inner: dict[str, str] = {}
        agree = True
        for factor in (f for a in accesses for f in a if f.outer):
            for low, high in itertools.pairwise(factor.chain):
                agree &= outer.setdefault(low, high) == high and inner.setdefault(high, low) == low
        self.axes: tuple[tuple[str, ...], ...] | None = None
        if not agree:
            return
        chains = []
        for name in names:
            if name not in inner:
                chain = [name]
                while chain[-1] in outer:
                    chain.append(outer[chain[-1]])
                chains.append(tuple(chain))
        if sum(map(len, chains)) == len(names):
            self.axes = tuple(chains)

    def extents(self, sizes: Mapping[str, int]) -> list[int]:
        """Return the values of each axis."""
        assert self.axes is not None
        return [prod(sizes[i] for i in chain) for chain in self.axes]

    def reached(
        self, accesses: Iterable[Iterable[Factor]], sizes: Mapping[str, int]
    ) -> list[int] | None:
        """Return the values of each axis for which there must be room.

        None where an access takes more values of an index than there are, and others lie outside.
        """
        assert self.axes is not None
        found = self.extents(sizes)
        for factor in (f for access in accesses for f in access if f.reach):
            number = next(n for n, chain in enumerate(self.axes) if factor.index in chain)
            chain = self.axes[number]
            if factor.chain[-1] != chain[-1]:
                return None
            inside = prod(sizes[i] for i in chain[: chain.index(factor.index)])
            found[number] = max(found[number], factor.reach * inside)
        return found

    def pattern(self, access: Iterable[Factor], sizes: Mapping[str, int]) -> Pattern:
        """Return the lanes of an access along the axes."""
        assert self.axes is not None
        at = {
            i: (number, prod(sizes[j] for j in chain[:k]))
            for number, chain in enumerate(self.axes)
            for k, i in enumerate(chain)
        }
        found = [
            Lane(at[f.index][0], f.count, f.step * at[f.index][1])
            for f in access
            if f.index in at and f.count > 1
        ]
        return tuple(sorted(found))


def solve(
    indices: Iterable[str],
    sizes: Mapping[str, int],
    accesses: Iterable[Iterable[Factor]],
    lanes: int,
    n_orders: int = MAX_ORDERS,
) -> Layout | None:
    """Return a layout in which all `accesses` are free of conflicts, or None where there is none.

    Indices of size 1, and those with an access to other tensors only, have no stride. `n_orders`
    orders of the indices are tried for one with little padding.
    """
    names = tuple(i for i in indices if sizes[i] > 1)
    own = [[f for f in a if f.index in names] for a in accesses]
    fusion = Fusion(names, own)
    if fusion.axes is None:
        return None
    wanted = tuple(sorted({p for a in own if (p := fusion.pattern(a, sizes))}))
    extents, reached = fusion.extents(sizes), fusion.reached(own, sizes)
    if reached is None:
        return None
    strides = _solve(tuple(reached), wanted, lanes, n_orders)
    if strides is None:
        return None
    found = {}
    for chain, stride in zip(fusion.axes, strides, strict=True):
        for k, i in enumerate(chain):
            found[i] = stride * prod(sizes[j] for j in chain[:k])
    spare = sum(s * (r - e) for s, r, e in zip(strides, reached, extents, strict=True))
    return Layout({i: sizes[i] for i in names}, {i: found[i] for i in names}, spare)


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

    Strides are padded only so that all `accesses` are free of conflicts. Raises ValueError for
    accesses that fuse indices.
    """
    accesses = [tuple(a) for a in accesses]
    if any(f.outer for a in accesses for f in a):
        raise ValueError("found fused indices, expected indices alone")
    names = tuple(i for i in indices if sizes[i] > 1)
    position = {i: p for p, i in enumerate(names)}
    patterns = tuple(
        tuple(Lane(position[f.index], f.count, f.step) for f in a if f.index in position)
        for a in accesses
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
    """Tell whether an access meets no bank twice, and finds what it fuses fused.

    A layout that is given has no room for more values than there are.
    """
    mask = 1
    for factor in access:
        if factor.reach:
            return False
        if factor.index in layout.strides:
            for low, high in itertools.pairwise(factor.chain):
                if layout.stride(high) != layout.sizes[low] * layout.stride(low):
                    return False
            stride = factor.step * layout.stride(factor.index)
            mask = _spread(mask, factor.count, stride % lanes, lanes)
            if not mask:
                return False
    return True
