"""Contraction of a tensor network in float64, pair by pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Axes = tuple[str, ...]


def contract(operands: Sequence[tuple[Axes, NDArray[Any]]], output: Axes) -> Float:
    """Return the network's result over `output`, every other index summed.

    Indices may be in any number of operands; any number of indices is allowed. The order is
    greedy: next the connected pair whose result grows the memory least (the size heuristic of
    Gray and Kourtis, Quantum 5, 410, 2021).
    """
    shapes = tuple(tuple(np.shape(a)) for _, a in operands)
    arrays = [np.asarray(a, dtype=np.float64) for _, a in operands]
    axes = [a for a, _ in operands]
    for i, j in _order(tuple(axes), shapes, frozenset(output)):
        kept = set(output).union(*(a for k, a in enumerate(axes) if k not in (i, j)))
        pair, pair_axes = _pair(arrays[i], axes[i], arrays[j], axes[j], kept)
        for k in (j, i):
            del arrays[k], axes[k]
        arrays.append(pair)
        axes.append(pair_axes)
    last, last_axes = _summed(arrays[0], axes[0], set(output))
    return last.transpose([last_axes.index(i) for i in output])


@lru_cache(maxsize=256)
def _order(
    axes: tuple[Axes, ...], shapes: tuple[tuple[int, ...], ...], output: frozenset[str]
) -> tuple[tuple[int, int], ...]:
    """Return pairs of positions; each pair is taken out, its result put at the end."""
    sizes = {i: n for a, s in zip(axes, shapes, strict=True) for i, n in zip(a, s, strict=True)}
    terms = [frozenset(a) for a in axes]
    steps = []
    while len(terms) > 1:
        holders = Counter(i for term in terms for i in term)
        holders.update(output)
        pairs = combinations(range(len(terms)), 2)
        _, a, b = min((_growth(terms[a], terms[b], holders, sizes), a, b) for a, b in pairs)
        steps.append((a, b))
        new = _result(terms[a], terms[b], holders)
        terms = [t for k, t in enumerate(terms) if k not in (a, b)] + [new]
    return tuple(steps)


def _result(a: frozenset[str], b: frozenset[str], holders: Counter[str]) -> frozenset[str]:
    """Return the indices that others hold too."""
    return frozenset(i for i in a | b if holders[i] > (i in a) + (i in b))


def _growth(
    a: frozenset[str], b: frozenset[str], holders: Counter[str], sizes: dict[str, int]
) -> tuple[bool, int]:
    """Return whether the two are unconnected, and the elements that their result has more."""
    new = _size(_result(a, b, holders), sizes)
    return not a & b, new - _size(a, sizes) - _size(b, sizes)


def _size(axes: Iterable[str], sizes: dict[str, int]) -> int:
    return prod(sizes[i] for i in axes)


def _summed(array: Float, axes: Axes, kept: set[str]) -> tuple[Float, Axes]:
    """Sum over the axes that nobody else holds."""
    drop = tuple(k for k, i in enumerate(axes) if i not in kept)
    return array.sum(axis=drop) if drop else array, tuple(i for i in axes if i in kept)


def _pair(a: Float, a_axes: Axes, b: Float, b_axes: Axes, kept: set[str]) -> tuple[Float, Axes]:
    """Contract two arrays as ``C[batch, m, n] = sum_k A[batch, m, k] B[batch, k, n]``."""
    a, a_axes = _summed(a, a_axes, kept | set(b_axes))
    b, b_axes = _summed(b, b_axes, kept | set(a_axes))
    both = [i for i in a_axes if i in b_axes]
    batch, inner = [i for i in both if i in kept], [i for i in both if i not in kept]
    m, n = [i for i in a_axes if i not in both], [i for i in b_axes if i not in both]
    sizes = dict(zip(a_axes, a.shape, strict=True)) | dict(zip(b_axes, b.shape, strict=True))

    def grouped(array: Float, axes: Axes, *groups: list[str]) -> Float:
        order = [axes.index(i) for group in groups for i in group]
        return array.transpose(order).reshape([prod(sizes[i] for i in g) for g in groups])

    product = grouped(a, a_axes, batch, m, inner) @ grouped(b, b_axes, batch, inner, n)
    axes = (*batch, *m, *n)
    return product.reshape([sizes[i] for i in axes]), axes
