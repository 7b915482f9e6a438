"""Weights that are contracted with one another once, before anything runs.

A part of a tree that is made of weights only has the same result in every execution. It is computed
in float64 when the program is made, and stored in place of the weights that it is made of: its
steps cost nothing, its elements take room in a scratchpad.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip.arch import Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.node import Node
from einchip.network import Network, Subsets
from einchip.numeric import Ints
from einchip.roofline import Volumes

Float = NDArray[np.float64]
#: Weights up to which every set of them may be merged.
MAX_CONSTANTS = 12
#: Sets of weights that may be merged, at most.
MAX_MERGES = 1 << MAX_CONSTANTS
#: Integers up to this are exact in float64.
EXACT = 1 << 53


@dataclass(frozen=True)
class Merging:
    """Which tensors may be merged, and into how much.

    Attributes
    ----------
    constants : the weights.
    largest : most elements of one merged tensor: it lies in one scratchpad.
    stored : most elements of all weights of a tree together; None for no limit.
    """

    constants: frozenset[str] = frozenset()
    largest: int = 0
    stored: int | None = None

    @classmethod
    def on(cls, arch: Architecture, constants: Collection[str]) -> Merging:
        """Return the limits of a machine: one scratchpad for a tensor, both for all weights."""
        sizes = [arch.capacity(space) for space in (0, 1)]
        return cls(frozenset(constants), max(sizes), sum(sizes))

    def sets(self, network: Network) -> list[int]:
        """Return the sets of weights that may be merged, as bits (`Subsets`)."""
        return mergeable(Subsets(network), Volumes(network), self)[0]


@dataclass(frozen=True)
class Merged:
    """A weight that is merged from others: `network` is the contraction that it is."""

    name: str
    network: Network

    @property
    def parts(self) -> tuple[str, ...]:
        """The tensors that it is made of."""
        return tuple(self.network.tensors)

    @property
    def indices(self) -> tuple[str, ...]:
        """Its indices, in the order of the array's axes."""
        return self.network.output

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return self.network.size(self.indices)

    def array(self, arrays: Mapping[str, Float]) -> Float:
        """Return its values, by `numpy.einsum` in float64, from those of its parts."""
        return self.network.contract({n: arrays[n] for n in self.parts})

    def integers(self, arrays: Mapping[str, ArrayLike], bits: int) -> Ints:
        """Return its values from parts of integers, exactly.

        Raises MappingError for values that `bits` bits do not hold.
        """
        sizes = {n: np.abs(np.asarray(arrays[n], dtype=np.float64)) for n in self.parts}
        most = float(np.max(self.array(sizes), initial=0.0))
        if most >= EXACT:
            raise MappingError(
                f"{self.name}: found sums up to {most:.3g}, expected below 2**53; scale the "
                "weights, or map with merge=False"
            )
        parts = {n: np.asarray(arrays[n], dtype=np.float64) for n in self.parts}
        values = self.array(parts).astype(np.int64)
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        if low < -(1 << bits - 1) or high >= 1 << bits - 1:
            raise MappingError(
                f"{self.name}: found values from {low} to {high}, expected {bits} bits; scale the "
                "weights, or map with merge=False"
            )
        return values


def mergeable(subsets: Subsets, volumes: Volumes, merging: Merging) -> tuple[list[int], bool]:
    """Return the sets of weights (`Subsets`) that are worth a leaf, and whether these are all.

    A set's contraction must fit one scratchpad; a set of one is a weight with a summed index of its
    own. Every set of up to `MAX_CONSTANTS` weights, of more those sets that hang together.
    """
    bits = [1 << k for k, n in enumerate(subsets.names) if n in merging.constants]
    few = len(bits) <= MAX_CONSTANTS
    sets = _every(bits) if few else _connected(subsets, bits)

    def fits(s: int) -> bool:
        out = volumes.mask(subsets.open(s))
        return volumes.of(out) <= merging.largest and (
            s.bit_count() > 1 or out != volumes.mask(_indices(subsets, s))
        )

    return [s for s in sets if fits(s)], few


def _indices(subsets: Subsets, s: int) -> list[str]:
    """Return all indices of a set."""
    return [i for i, holders in subsets.holders.items() if holders & s]


def _every(bits: Sequence[int]) -> Iterator[int]:
    for size in range(1, len(bits) + 1):
        yield from map(sum, itertools.combinations(bits, size))


def _connected(subsets: Subsets, bits: Sequence[int]) -> Iterator[int]:
    """Yield sets that hang together, small ones first, at most `MAX_MERGES`."""
    known, layer = 0, sorted(bits)
    while layer and known < MAX_MERGES:
        layer = layer[: MAX_MERGES - known]
        known += len(layer)
        yield from layer
        near = {s | b for s in layer for b in bits if not s & b and subsets.neighbours(s) & b}
        layer = sorted(near)


def merged_leaf(network: Network, parts: Iterable[str], indices: tuple[str, ...]) -> Node:
    """Return the leaf that some weights are merged into."""
    parts = tuple(parts)
    name = "*".join(parts) + ("*" if len(parts) == 1 else "")
    while name in network.tensors:
        name += "'"
    return Node(indices, name, parts=parts)


def merged_of(network: Network, node: Node) -> tuple[Merged, ...]:
    """Return the merged weights of a tree."""
    found = []
    for leaf in node.leaf_nodes():
        if leaf.parts:
            tensors = {n: network.tensors[n] for n in leaf.parts}
            sizes = {i: network.sizes[i] for t in tensors.values() for i in t}
            found.append(Merged(leaf.tensor, Network(tensors, sizes, leaf.indices)))
    return tuple(found)


def merged_arrays(merged: Iterable[Merged], arrays: Mapping[str, Float]) -> dict[str, Float]:
    """Return the arrays that are stored: merged ones in place of those they are made of."""
    found = dict(arrays)
    for m in merged:
        found[m.name] = m.array(arrays)
        for part in m.parts:
            del found[part]
    return found


def merged_network(network: Network, merged: Iterable[Merged], stored: Collection[str]) -> Network:
    """Return the network of merged weights and those of the network's tensors that are stored."""
    tensors = {n: t for n, t in network.tensors.items() if n in stored}
    tensors |= {m.name: m.indices for m in merged}
    used = {i for t in tensors.values() for i in t}
    sizes = {i: n for i, n in network.sizes.items() if i in used}
    return Network(tensors, sizes, network.output)
