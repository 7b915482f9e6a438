"""Contraction trees: dynamic programming over subsets of tensors.

All trees of connected parts are searched (outer products only between whole components); for every
subset the `keep` cheapest trees are kept. A tensor with an index of its own that is summed may
first be reduced alone, by a step with the tensor `ONE`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from einchip.network import Network

#: How much more than the quick tree a kept tree may cost.
MARGIN = 1.25
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

    @property
    def pair(self) -> tuple[Node, Node]:
        """The two operands of a contraction. Raises ValueError for a leaf."""
        if self.left is None or self.right is None:
            raise ValueError(f"{self.tensor} is no contraction")
        return self.left, self.right

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

    def text(self) -> str:
        """Return the tree as nested pairs."""
        return self.tensor or "(" + " ".join(node.text() for node in self.operands) + ")"


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
    """Return the `keep` cheapest trees, cheapest first; `bound` is a quick lower bound of `cost`.

    The best tree by the bound alone says how much a tree may cost: trees that cost `MARGIN` more
    are dropped on the way.
    """
    legs = Legs(network)
    if len(legs.names) == 1:
        raw = Node(network.tensors[legs.names[0]], legs.names[0])
        one = Node((), ONE)
        out = tuple(i for i in raw.indices if i in network.output)
        return [Ranked(cost(raw, one, out), Node(out, "", raw, one))]
    quick = _Search(legs, bound, bound, 1, float("inf")).run()[0].node
    limit = sum(cost(*step.pair, step.indices) for step in quick.steps())
    return _Search(legs, cost, bound, keep, limit * MARGIN).run()


class _Search:
    """The dynamic programme: for ever larger subsets the cheapest trees."""

    def __init__(
        self, legs: Legs, cost: StepCost, bound: StepCost, keep: int, limit: float
    ) -> None:
        self.legs, self.cost, self.bound, self.keep, self.limit = legs, cost, bound, keep, limit
        self.best = {1 << k: leaf_choices(legs, k, cost) for k in range(len(legs.names))}
        self.by_size = {1: list(self.best)}
        self.open = {s: legs.open(s) for s in self.best}
        self.parts = legs.components()

    def run(self) -> list[Ranked]:
        n = len(self.legs.names)
        for size in range(2, n + 1):
            splits: dict[int, list[tuple[int, int]]] = {}
            for a, b in self._pairs(size):
                splits.setdefault(a | b, []).append((a, b))
            for s in splits:
                self.open[s] = self.legs.open(s)
            found = {s: self._cheapest(s, pairs) for s, pairs in splits.items()}
            self.best.update({s: trees for s, trees in found.items() if trees})
            self.by_size[size] = sorted(s for s in found if found[s])
        return self.best[(1 << n) - 1]

    def _cheapest(self, s: int, pairs: list[tuple[int, int]]) -> list[Ranked]:
        """Return the cheapest trees of a subset, trying splits in the order of their bounds."""
        out = self.open[s]
        ways = sorted(
            (
                (left.cost + right.cost + self.bound(left.node, right.node, out), left, right)
                for a, b in pairs
                for left, right in itertools.product(self.best[a], self.best[b])
            ),
            key=lambda w: w[0],
        )
        known: list[Ranked] = []
        for least, left, right in ways:
            limit = known[-1].cost if len(known) >= self.keep else self.limit
            if least > limit:
                break
            total = left.cost + right.cost + self.cost(left.node, right.node, out)
            if total <= self.limit:
                known.append(Ranked(total, Node(out, "", left.node, right.node)))
                known = heapq.nsmallest(self.keep, known, key=lambda r: r.cost)
        return known

    def _pairs(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield the pairs of disjoint parts that share an index, or are whole components."""
        for smaller in range(1, size // 2 + 1):
            for a in self.by_size[smaller]:
                indices = set(self.open[a])
                for b in self.by_size[size - smaller]:
                    if a & b or (smaller * 2 == size and a > b):
                        continue
                    if not indices.isdisjoint(self.open[b]) or (self._whole(a) and self._whole(b)):
                        yield a, b

    def _whole(self, subset: int) -> bool:
        """Tell whether a subset is made of whole components."""
        return all(p & subset in (0, p) for p in self.parts)


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
    return sum(step_macs(*step.pair, network) for step in node.steps())
