"""Contraction trees: dynamic programming over subsets of tensors.

All trees of connected parts are searched (outer products only between whole components); for every
subset the `keep` cheapest trees are kept. A tensor with an index of its own that is summed may
first be reduced alone, by a step with the tensor `ONE`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from einchip import roofline
from einchip.mapper.errors import MappingError
from einchip.network import Network, NetworkError, Subsets
from einchip.roofline import Volumes

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


#: Cost of contracting two nodes into a third.
StepCost = Callable[[Node, Node, tuple[str, ...]], float]


def search(
    network: Network, cost: StepCost, bound: roofline.StepCost, keep: int = 1
) -> list[Ranked]:
    """Return the `keep` cheapest trees, cheapest first; `bound` is a quick lower bound of `cost`.

    The best tree by the bound alone says how much a tree may cost: trees that cost `MARGIN` more
    are dropped on the way. Raises MappingError where there are too many trees to search.
    """
    subsets = Subsets(network)
    if len(subsets.names) == 1:
        raw = Node(network.tensors[subsets.names[0]], subsets.names[0])
        one = Node((), ONE)
        out = tuple(i for i in raw.indices if i in network.output)
        return [Ranked(cost(raw, one, out), Node(out, "", raw, one))]
    volumes = Volumes(network)
    try:
        quick = _tree(network, subsets, roofline.cheapest(network, volumes, bound).splits)
        limit = sum(cost(*step.pair, step.indices) for step in quick.steps())
        return _Search(network, cost, volumes, bound, keep, limit * MARGIN).run()
    except NetworkError as error:
        raise MappingError(str(error)) from None


def _tree(network: Network, subsets: Subsets, splits: Mapping[int, tuple[int, int]]) -> Node:
    """Return the tree that is made of these splits."""

    def node(subset: int) -> Node:
        if subset in splits:
            left, right = (node(part) for part in splits[subset])
            return Node(subsets.open(subset), "", left, right)
        name = subsets.names[subset.bit_length() - 1]
        return Node(network.tensors[name], name)

    return node(subsets.full)


class _Search:
    """The dynamic programme: for ever larger subsets the cheapest trees below a limit."""

    def __init__(
        self,
        network: Network,
        cost: StepCost,
        volumes: Volumes,
        bound: roofline.StepCost,
        keep: int,
        limit: float,
    ) -> None:
        self.network, self.cost, self.bound = network, cost, bound
        self.keep, self.limit, self.volumes = keep, limit, volumes
        self.subsets = Subsets(network)
        self.best = {1 << k: self._leaf(k) for k in range(len(self.subsets.names))}
        self.masks = {s: volumes.mask(self.subsets.open(s)) for s in self.best}

    def _leaf(self, k: int) -> list[Ranked]:
        """Return a tensor as it is, and, where it has a summed index of its own, reduced."""
        name = self.subsets.names[k]
        raw = Node(self.network.tensors[name], name)
        needed = self.subsets.open(1 << k)
        private = [i for i in raw.indices if i not in needed and self.network.sizes[i] > 1]
        if not private:
            return [Ranked(0.0, raw)]
        kept = tuple(i for i in raw.indices if i in needed)
        one = Node((), ONE)
        return [Ranked(0.0, raw), Ranked(self.cost(raw, one, kept), Node(kept, "", raw, one))]

    def run(self) -> list[Ranked]:
        """Return the cheapest trees of the whole network."""
        by_size = {1: list(self.best)}
        n_pairs = 0
        for size in range(2, len(self.subsets.names) + 1):
            splits: dict[int, list[tuple[int, int]]] = {}
            for a, b in self.subsets.pairs(by_size, size):
                splits.setdefault(a | b, []).append((a, b))
                n_pairs += 1
                if n_pairs > roofline.MAX_PAIRS:
                    raise roofline.too_many(self.subsets)
            found = {s: self._cheapest(s, pairs) for s, pairs in splits.items()}
            self.best.update({s: trees for s, trees in found.items() if trees})
            by_size[size] = sorted(s for s in found if found[s])
        return self.best[self.subsets.full]

    def _cheapest(self, s: int, pairs: list[tuple[int, int]]) -> list[Ranked]:
        """Return the cheapest trees of a subset, trying splits in the order of their bounds."""
        out = self.subsets.open(s)
        self.masks[s] = self.volumes.mask(out)
        ways = sorted(
            (least, a, b) for a, b in pairs if (least := self._least(a, b, s)) <= self.limit
        )
        known: list[Ranked] = []
        for least, a, b in ways:
            if least > (known[-1].cost if len(known) >= self.keep else self.limit):
                break
            known = heapq.nsmallest(
                self.keep, [*known, *self._ranked(a, b, out)], key=lambda r: r.cost
            )
        return known

    def _least(self, a: int, b: int, s: int) -> float:
        """Return a lower bound of the trees of a split."""
        step = self.bound(self.masks[a], self.masks[b], self.masks[s])
        return self.best[a][0].cost + self.best[b][0].cost + step

    def _ranked(self, a: int, b: int, out: tuple[str, ...]) -> Iterator[Ranked]:
        """Yield the trees of a split below the limit; a step's cost depends on indices only."""
        costs: dict[tuple[tuple[str, ...], tuple[str, ...]], float] = {}
        for left, right in itertools.product(self.best[a], self.best[b]):
            key = (left.node.indices, right.node.indices)
            if key not in costs:
                costs[key] = self.cost(left.node, right.node, out)
            total = left.cost + right.cost + costs[key]
            if total <= self.limit:
                yield Ranked(total, Node(out, "", left.node, right.node))


def in_order(network: Network, first: str) -> Node:
    """Return the tree that a reader would write: `first`, then the other tensors in their order."""
    subsets = Subsets(network)
    order = [first, *(n for n in subsets.names if n != first)]
    done = 1 << subsets.names.index(order[0])
    node = Node(network.tensors[order[0]], order[0])
    for name in order[1:]:
        done |= 1 << subsets.names.index(name)
        node = Node(subsets.open(done), "", node, Node(network.tensors[name], name))
    return node


def step_macs(left: Node, right: Node, network: Network) -> int:
    """Return the multiply-adds of one contraction."""
    return network.size(dict.fromkeys(left.indices + right.indices))


def macs(node: Node, network: Network) -> int:
    """Return the multiply-adds of a whole tree."""
    return sum(step_macs(*step.pair, network) for step in node.steps())
