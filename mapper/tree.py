"""Contraction trees: dynamic programming over subsets of tensors.

All trees of connected parts are searched (outer products only between whole components); for every
subset the `keep` cheapest trees are kept. A tensor with an index of its own that is summed may first
be reduced alone, by a step with the tensor `ONE`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from einchip.network import Network

#: The scalar 1, by which a step with a single operand multiplies.
ONE = "@one"


@dataclass(frozen=True)
class Node:
    """A tensor of the network (a leaf), or the contraction of two nodes."""

    indices: tuple[str, ...]
    tensor: str = ""
    left: Node | None = None
    right: Node | None = None

    @property
    def operands(self) -> tuple[Node, ...]:
        """The two operands of a contraction, none of a leaf."""
        return (self.left, self.right) if self.left and self.right else ()

    def leaves(self) -> Iterator[str]:
        """Yield the tensors below, left to right."""
        if self.tensor:
            yield self.tensor
        for node in self.operands:
            yield from node.leaves()

    def steps(self) -> Iterator[Node]:
        """Yield the contractions below, operands before results."""
        for node in self.operands:
            yield from node.steps()
        if not self.tensor:
            yield self

    def text(self, names: Mapping[str, str] | None = None) -> str:
        """Return the tree as nested pairs."""
        if self.tensor:
            return (names or {}).get(self.tensor, self.tensor)
        return "(" + " ".join(node.text(names) for node in self.operands) + ")"


class Ranked(NamedTuple):
    """A tree and its cost."""

    cost: float
    node: Node


#: Cost of contracting two nodes into a third; the second form is a quick lower bound.
StepCost = Callable[[Node, Node, tuple[str, ...]], float]


class Legs:
    """Open indices of subsets of a network's tensors."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.names = tuple(network.tensors)
        self.bits = {
            i: sum(1 << k for k, n in enumerate(self.names) if i in network.tensors[n])
            for i in network.sizes
        }

    def open(self, subset: int) -> tuple[str, ...]:
        """Return the indices of the contraction of a subset: those still needed outside."""
        return tuple(
            i
            for i, holders in self.bits.items()
            if holders & subset and (holders & ~subset or i in self.network.output)
        )

    def components(self) -> list[int]:
        """Return the connected parts of the network as subsets."""
        parts: list[int] = []
        for k in range(len(self.names)):
            merged = 1 << k
            for holders in self.bits.values():
                if holders >> k & 1:
                    merged |= holders
            apart = [p for p in parts if not p & merged]
            for p in parts:
                if p & merged:
                    merged |= p
            parts = [*apart, merged]
        return parts


def leaf_choices(legs: Legs, k: int, cost: StepCost) -> list[Ranked]:
    """Return a tensor as it is, and, where it has a summed index of its own, reduced."""
    name = legs.names[k]
    raw = Node(legs.network.tensors[name], name)
    needed = legs.open(1 << k)
    private = [i for i in raw.indices if i not in needed and legs.network.sizes[i] > 1]
    if not private:
        return [Ranked(0.0, raw)]
    kept = tuple(i for i in raw.indices if i in needed)
    one = Node((), ONE)
    return [Ranked(0.0, raw), Ranked(cost(raw, one, kept), Node(kept, "", raw, one))]


def search(network: Network, cost: StepCost, bound: StepCost, keep: int = 1) -> list[Ranked]:
    """Return the `keep` cheapest trees, cheapest first."""
    legs = Legs(network)
    n = len(legs.names)
    if n == 1:
        raw = Node(network.tensors[legs.names[0]], legs.names[0])
        one = Node((), ONE)
        out = tuple(i for i in raw.indices if i in network.output)
        return [Ranked(cost(raw, one, out), Node(out, "", raw, one))]
    best: dict[int, list[Ranked]] = {1 << k: leaf_choices(legs, k, cost) for k in range(n)}
    by_size: dict[int, list[int]] = {1: list(best)}
    for size in range(2, n + 1):
        found = _level(legs, best, by_size, size, (cost, bound), keep)
        best.update(found)
        by_size[size] = sorted(found)
    return best[(1 << n) - 1]


def _level(
    legs: Legs,
    best: Mapping[int, list[Ranked]],
    by_size: Mapping[int, list[int]],
    size: int,
    costs: tuple[StepCost, StepCost],
    keep: int,
) -> dict[int, list[Ranked]]:
    """Return the best trees of all subsets of `size` tensors."""
    found: dict[int, list[Ranked]] = {}
    for a, b in _pairs(legs, best, by_size, size):
        s = a | b
        out = legs.open(s)
        known = found.setdefault(s, [])
        for left, right in itertools.product(best[a], best[b]):
            base = left.cost + right.cost
            limit = known[keep - 1].cost if len(known) >= keep else float("inf")
            if base + costs[1](left.node, right.node, out) >= limit:
                continue
            total = base + costs[0](left.node, right.node, out)
            if total < limit:
                known.append(Ranked(total, Node(out, "", left.node, right.node)))
                known[:] = heapq.nsmallest(keep, known, key=lambda r: r.cost)
    return found


def _pairs(
    legs: Legs, best: Mapping[int, list[Ranked]], by_size: Mapping[int, list[int]], size: int
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of disjoint parts that share an index, or are whole components."""
    parts = legs.components()

    def whole(subset: int) -> bool:
        return all(p & subset in (0, p) for p in parts)

    shared = {s: sum(1 << k for k, i in enumerate(legs.bits) if i in legs.open(s)) for s in best}
    for smaller in range(1, size // 2 + 1):
        for a in by_size[smaller]:
            for b in by_size[size - smaller]:
                if a & b or (smaller * 2 == size and a > b):
                    continue
                if shared[a] & shared[b] or (whole(a) and whole(b)):
                    yield a, b


def in_order(network: Network, first: str) -> Node:
    """Return the tree that a reader would write: `first`, then the other tensors in their order."""
    legs = Legs(network)
    order = [first, *(n for n in legs.names if n != first)]
    done = 1 << legs.names.index(order[0])
    node = Node(network.tensors[order[0]], order[0])
    for name in order[1:]:
        done |= 1 << legs.names.index(name)
        node = Node(legs.open(done), "", node, Node(network.tensors[name], name))
    return node


def step_macs(left: Node, right: Node, network: Network) -> int:
    """Return the multiply-adds of one contraction."""
    return network.size(dict.fromkeys(left.indices + right.indices))


def macs(node: Node, network: Network) -> int:
    """Return the multiply-adds of a whole tree."""
    return sum(step_macs(*step.operands, network) for step in node.steps())
