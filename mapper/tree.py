"""Contraction trees: dynamic programming over subsets of tensors.

All trees of connected parts are searched (outer products only between whole components); for every
subset the `keep` best trees are kept, or, where an objective weighs several figures, those that
fewer than `keep` others beat in all of them. A tensor with an index of its own that is summed may
first be reduced alone, by a step with the tensor `ONE`. Any set of weights may be one leaf that
costs nothing (`merge`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from einchip import roofline
from einchip.mapper.errors import MappingError, TooManyTreesError
from einchip.mapper.merge import MAX_MERGES, Merging, mergeable, merged_leaf
from einchip.mapper.node import ONE, Costs, Node, Ranked, in_order, macs, step_macs
from einchip.mapper.objective import Additive, Objective, StepCost
from einchip.network import Network, NetworkError, Subsets
from einchip.roofline import Volumes

__all__ = [
    "ONE", "Found", "Node", "Ranked", "StepCost", "explore", "in_order", "macs", "search",
    "step_macs",
]  # fmt: skip

#: How much more than the quick tree a kept tree may cost.
MARGIN = 1.25


@dataclass(frozen=True)
class Found:
    """The best trees, best first, and how they were found.

    Attributes
    ----------
    exact : whether all trees were searched, with all sets of weights that may be merged.
    large : whether only some trees were searched (`large`).
    method : how they were searched.
    """

    trees: list[Ranked]
    exact: bool = True
    large: bool = False
    method: str = "all, by dynamic programming over subsets"


def search(
    network: Network,
    cost: StepCost,
    bound: roofline.StepCost,
    keep: int = 1,
    *,
    merging: Merging | None = None,
) -> list[Ranked]:
    """Return the `keep` cheapest trees, cheapest first; `bound` is a quick lower bound of `cost`.

    Raises MappingError where there are too many trees to search.
    """
    objective = Additive("cost", "", (cost,), (bound,))
    return explore(network, objective, keep, merging=merging).trees


def explore(
    network: Network,
    objective: Objective,
    keep: int = 1,
    *,
    merging: Merging | None = None,
    max_pairs: int = roofline.MAX_PAIRS,
    given: Mapping[str, Ranked] | None = None,
) -> Found:
    """Return the `keep` best trees by an objective.

    The best tree by the objective's quick bound says how much a tree may cost: trees that cost
    `MARGIN` more are dropped on the way. The weights' limit of memory is looked at only where the
    best trees break it. `given` are trees that stand for some of the tensors. Raises MappingError
    where there are too many trees to search, or none keeps within the limit.
    """
    merging = merging or Merging()
    if len(network.tensors) == 1:
        return Found([_alone(network, objective)])
    found = Exact(network, objective, keep, merging, max_pairs, False, given).run()
    limit = merging.stored
    if limit is None or all(tree.stored <= limit for tree in found.trees):
        return found
    return Exact(network, objective, keep, merging, max_pairs, True, given).run()


def _alone(network: Network, objective: Objective) -> Ranked:
    """Return the tree of a network of one tensor: a step with the scalar 1."""
    (name,) = network.tensors
    raw, one = Node(network.tensors[name], name), Node((), ONE)
    out = tuple(i for i in raw.indices if i in network.output)
    left = Ranked(0.0, raw, objective.leaf(network.size(raw.indices)))
    costs = objective.join(left, Ranked(0.0, one, objective.leaf(0)), out)
    return Ranked(objective.value(costs), Node(out, "", raw, one), costs)


class Exact:
    """The dynamic programme: for ever larger subsets the best trees below a limit.

    `limited`: trees whose weights take more than `merging.stored` elements are left out, and of
    each subset those are kept that are better in memory, too. `given` are trees that stand for some
    of the network's tensors.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        keep: int,
        merging: Merging,
        max_pairs: int,
        limited: bool,
        given: Mapping[str, Ranked] | None = None,
    ) -> None:
        self.network, self.objective, self.keep = network, objective, keep
        self.merging, self.limited, self.max_pairs = merging, limited, max_pairs
        self.given = given or {}
        self.volumes, self.subsets = Volumes(network), Subsets(network)
        self.n_pairs = 0
        self.masks: dict[int, int] = {}
        self.merges, self.all_merges = mergeable(self.subsets, self.volumes, merging)
        try:
            self.limit = self._limit() * MARGIN
        except NetworkError as error:
            raise TooManyTreesError(str(error)) from None
        self.best = {1 << k: self._leaf(k) for k in range(len(self.subsets.names))}
        for s in self.merges:
            leaf = self._merged(s)
            if self._floor(leaf, s) <= self.limit:
                self.best.setdefault(s, []).append(leaf)
        self.ideal = {s: _ideal(trees) for s, trees in self.best.items()}

    # --- leaves ------------------------------------------------------------------------------
    def mask(self, subset: int) -> int:
        """Return the indices of a subset's result as bits."""
        if subset not in self.masks:
            self.masks[subset] = self.volumes.mask(self.subsets.open(subset))
        return self.masks[subset]

    def _raw(self, k: int) -> Ranked:
        name = self.subsets.names[k]
        if name in self.given:
            return self.given[name]
        node = Node(self.network.tensors[name], name)
        size = self.network.size(node.indices)
        stored = size if name in self.merging.constants else 0
        return Ranked(0.0, node, self.objective.leaf(size), stored)

    def _leaf(self, k: int) -> list[Ranked]:
        """Return a tensor as it is, and, where it has a summed index of its own, reduced."""
        raw = self._raw(k)
        if self.mask(1 << k) == self.volumes.mask(raw.node.indices):
            return [raw]
        needed = self.subsets.open(1 << k)
        kept = tuple(i for i in raw.node.indices if i in needed)
        one = Ranked(0.0, Node((), ONE), self.objective.leaf(0))
        return [raw, self._joined(raw, one, kept)]

    def _merged(self, s: int) -> Ranked:
        """Return the leaf that a set of weights is merged into."""
        parts = [
            part
            for k, n in enumerate(self.subsets.names)
            if s >> k & 1
            for part in (self.given[n].node.originals() if n in self.given else (n,))
        ]
        node = merged_leaf(self.network, parts, self.subsets.open(s))
        size = self.network.size(node.indices)
        return Ranked(0.0, node, self.objective.leaf(size), size)

    def _floor(self, leaf: Ranked, s: int) -> float:
        """Return a lower bound of every tree with a leaf."""
        nothing = self.objective.leaf(0)
        return self.objective.value(self.objective.least(leaf.costs, nothing, self.mask(s), 0, 0))

    # --- trees -------------------------------------------------------------------------------
    def _limit(self) -> float:
        """Return what the best tree by the quick bound costs."""
        free = () if self.limited else self.merges
        found = roofline.cheapest(
            self.network, self.volumes, self.objective.bound, free, self.max_pairs
        )
        quick = self._of_splits(found.splits, self.subsets.full)
        fits = not self.limited or quick.stored <= (self.merging.stored or 0)
        return quick.cost if fits else math.inf

    def _of_splits(self, splits: Mapping[int, tuple[int, int]], s: int) -> Ranked:
        """Return the tree that is made of these splits."""
        if s in splits:
            left, right = (self._of_splits(splits, part) for part in splits[s])
            return self._joined(left, right, self.subsets.open(s))
        return self._raw(s.bit_length() - 1) if s.bit_count() == 1 else self._merged(s)

    def _joined(self, left: Ranked, right: Ranked, out: tuple[str, ...]) -> Ranked:
        costs = self.objective.join(left, right, out)
        node = Node(out, "", left.node, right.node)
        return Ranked(self.objective.value(costs), node, costs, left.stored + right.stored)

    def run(self) -> Found:
        """Return the best trees of the whole network."""
        by_size: dict[int, list[int]] = {}
        for s in self.best:
            by_size.setdefault(s.bit_count(), []).append(s)
        given = {s for s, trees in self.best.items() if not any(trees[0].costs)}
        for size in range(2, len(self.subsets.names) + 1):
            splits: dict[int, list[tuple[int, int]]] = {}
            for a, b in self.subsets.pairs(by_size, size):
                self.n_pairs += 1
                if self.n_pairs > self.max_pairs:
                    raise TooManyTreesError(str(roofline.too_many(self.subsets)))
                if self.limited or a | b not in given:
                    splits.setdefault(a | b, []).append((a, b))
            for s, pairs in splits.items():
                trees = self._cheapest(s, pairs)
                if trees:
                    self.best[s], self.ideal[s] = trees, _ideal(trees)
            by_size[size] = sorted({*by_size.get(size, ()), *(s for s in splits if s in self.best)})
        if self.subsets.full not in self.best:
            raise MappingError(
                f"weights: found more than {self.merging.stored} elements in every contraction "
                "tree, expected at most these; use deeper scratchpads"
            )
        return Found(self.best[self.subsets.full], self.all_merges, method=self.method)

    @property
    def method(self) -> str:
        """What is said of the search."""
        some = "" if self.all_merges else f"; merges of connected weights, {MAX_MERGES} at most"
        return Found.method + some

    def _cheapest(self, s: int, pairs: Sequence[tuple[int, int]]) -> list[Ranked]:
        """Return the best trees of a subset, trying splits in the order of their bounds."""
        out = self.subsets.open(s)
        ways = sorted(
            (least, a, b) for a, b in pairs if (least := self._least(a, b, s)) <= self.limit
        )
        known = list(self.best.get(s, ()))
        single = not self.limited and len(self.objective.leaf(0)) == 1
        for least, a, b in ways:
            most = math.inf
            if single and len(known) >= self.keep:
                most = known[-1].cost
                if least >= most:
                    break
            step = least - self.ideal[a][0] - self.ideal[b][0] if single else 0.0
            found = list(self._ranked(a, b, out, step, most))
            known = self._kept([*known, *found], single) if found else known
        return known

    def _kept(self, trees: list[Ranked], single: bool) -> list[Ranked]:
        """Return the trees that fewer than `keep` others beat in every figure, best first."""
        trees.sort(key=lambda r: r.cost)
        if single:
            return trees[: self.keep]
        kept: list[tuple[Costs, Ranked]] = []
        for tree in trees:
            figures = (*tree.costs, float(tree.stored)) if self.limited else tree.costs
            beaten = sum(
                all(x <= y for x, y in zip(other, figures, strict=True)) for other, _ in kept
            )
            if beaten < self.keep:
                kept.append((figures, tree))
        return [tree for _, tree in kept]

    def _least(self, a: int, b: int, s: int) -> float:
        """Return a lower bound of the trees of a split."""
        costs = self.objective.least(
            self.ideal[a], self.ideal[b], self.mask(a), self.mask(b), self.mask(s)
        )
        return self.objective.value(costs)

    def _ranked(
        self, a: int, b: int, out: tuple[str, ...], step: float, most: float
    ) -> Iterator[Ranked]:
        """Yield the trees of a split below the limit, those that cost `most` and more left out.

        `step` is a lower bound of the step's cost.
        """
        room = self.merging.stored if self.limited else None
        for left, right in itertools.product(self.best[a], self.best[b]):
            if left.cost + right.cost + step >= most:
                continue
            tree = self._joined(left, right, out)
            if tree.cost <= self.limit and (room is None or tree.stored <= room):
                yield tree


def _ideal(trees: Sequence[Ranked]) -> Costs:
    """Return the least of every figure."""
    return tuple(min(figures) for figures in zip(*(t.costs for t in trees), strict=True))
