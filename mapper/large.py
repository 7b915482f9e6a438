"""Networks with too many trees to search them all: good trees, made better part by part.

Seeds are cotengra's trees (Gray, Kourtis, "Hyper-optimized tensor network contraction", Quantum 5,
410, 2021) where it is installed, and greedy ones. Then parts of up to `PART` nodes of the tree are
taken at random, and each is replaced by the best tree of its nodes, found by the exact search.
"""

from __future__ import annotations

import importlib
import itertools
import math
import random
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from einchip import roofline
from einchip.mapper.errors import MappingError, TooManyTreesError
from einchip.mapper.merge import Merging, merged_leaf
from einchip.mapper.node import ONE, Node, Ranked
from einchip.mapper.objective import Objective
from einchip.mapper.tree import Found, explore
from einchip.network import Network, Subsets
from einchip.roofline import Volumes

#: Tensors up to which all trees are searched whatever it takes.
EXACT: Final = 12
#: Pairs of subsets that an exact search of more tensors may look at.
PAIRS: Final = 150_000
#: Seconds for networks whose trees are not all searched.
BUDGET: Final = 10.0
#: Nodes of a part that is searched anew.
PART: Final = 8
#: Parts in a row without a better tree, for each step of the tree, after which none is expected.
PATIENCE: Final = 6
#: Greedy trees with random choices.
GREEDY: Final = 16
SEED: Final = 0


class Report(NamedTuple):
    """How far a search is."""

    seconds: float
    n_parts: int
    cost: float
    unit: str

    def text(self) -> str:
        """Return one line."""
        return (
            f"contraction trees: {self.seconds:.0f} s, {self.n_parts} parts searched, best "
            f"{self.cost:,.0f} {self.unit}"
        )


Progress = Callable[[Report], None]


def best_trees(
    network: Network,
    objective: Objective,
    keep: int,
    merging: Merging,
    budget: float = BUDGET,
    progress: Progress | None = None,
) -> Found:
    """Return the best trees of all, or, where they are too many, good ones within the budget.

    Raises MappingError where no tree's weights keep within the limits of memory.
    """
    few = len(network.tensors) <= EXACT
    try:
        pairs = roofline.MAX_PAIRS if few else PAIRS
        return explore(network, objective, keep, merging=merging, max_pairs=pairs)
    except TooManyTreesError:
        return search(network, objective, merging, budget, progress)


def search(
    network: Network,
    objective: Objective,
    merging: Merging,
    budget: float = BUDGET,
    progress: Progress | None = None,
) -> Found:
    """Return one good tree, found within about `budget` seconds.

    Raises MappingError where its weights take more memory than there is.
    """
    start = time.monotonic()
    improver = Improver(network, objective, merging)
    found, names = [], []
    for name, node in seeds(network, objective.bound):
        found.append(improver.ranked(improver.premerged(node)))
        names.append(name)
    best, tried = min(found, key=improver.rank), 0
    for better in improver.better(best):
        best = better
        tried += 1
        seconds = time.monotonic() - start
        if progress is not None:
            progress(Report(seconds, tried, best.cost, objective.unit))
        if seconds > budget:
            break
    if merging.stored is not None and best.stored > merging.stored:
        raise MappingError(
            f"weights: found {best.stored} elements, expected at most {merging.stored}; use deeper "
            "scratchpads"
        )
    by = ", ".join(f"{names.count(n)} {n}" for n in dict.fromkeys(names))
    without = "" if cotengra() else " (without cotengra: pip install 'einchip[cotengra]')"
    method = f"from {by} trees{without}, {tried} parts of up to {PART} nodes searched anew"
    return Found([best], False, True, method)


# --- seeds -----------------------------------------------------------------------------------
def cotengra() -> Any:
    """Return the library, None where it is not installed."""
    try:
        return importlib.import_module("cotengra")
    except ImportError:
        return None


def seeds(network: Network, bound: roofline.StepCost) -> Iterator[tuple[str, Node]]:
    """Yield trees to begin with, each with who made it."""
    with warnings.catch_warnings():  # cotengra warns of partitioners that are not installed
        warnings.simplefilter("ignore")
        paths = list(_paths(network))
    for path in paths:
        yield "cotengra", of_path(network, path)
    rng = random.Random(SEED)
    for number in range(GREEDY):
        yield "greedy", _greedy(network, bound, rng, 0.0 if number == 0 else 0.3)


def _paths(network: Network) -> Iterator[Sequence[Sequence[int]]]:
    """Yield cotengra's paths, none where it is not installed."""
    library = cotengra()
    if library is None:
        return
    terms = tuple(network.tensors.values())
    sizes = {i: network.sizes[i] for t in terms for i in t}
    wide = library.RandomGreedyOptimizer(max_repeats=128, seed=SEED)
    for optimizer in ("greedy", wide, "auto-hq"):
        yield library.array_contract_path(terms, network.output, sizes, optimize=optimizer)


def of_path(network: Network, path: Sequence[Sequence[int]]) -> Node:
    """Return the tree of a path: positions that are taken off a list, results put at its end."""
    subsets = Subsets(network)
    left = [(1 << k, Node(network.tensors[name], name)) for k, name in enumerate(subsets.names)]

    def joined(pair: tuple[int, Node], other: tuple[int, Node]) -> tuple[int, Node]:
        s = pair[0] | other[0]
        return s, Node(subsets.open(s), "", pair[1], other[1])

    while len(left) > 1:
        places = path[0] if path else range(len(left))
        path = path[1:]
        taken = [left[p] for p in places]
        left = [t for p, t in enumerate(left) if p not in set(places)]
        whole = taken[0]
        for other in taken[1:]:
            whole = joined(whole, other)
        left.append(whole)
    return left[0][1]


def _greedy(network: Network, bound: roofline.StepCost, rng: random.Random, noise: float) -> Node:
    """Return the tree that takes the pair next whose result is smallest beside what it reads."""
    subsets, volumes = Subsets(network), Volumes(network)
    parts = {1 << k: Node(network.tensors[n], n) for k, n in enumerate(subsets.names)}
    masks = {s: volumes.mask(node.indices) for s, node in parts.items()}

    def score(pair: tuple[int, int]) -> float:
        a, b = pair
        s = a | b
        if s not in masks:
            masks[s] = volumes.mask(subsets.open(s))
        grown = volumes.of(masks[s]) - volumes.of(masks[a]) - volumes.of(masks[b])
        step = bound(masks[a], masks[b], masks[s])
        return math.copysign(math.log1p(abs(grown)), grown) - noise * (
            math.log(rng.random()) + math.log1p(step) * rng.random()
        )

    while len(parts) > 1:
        pairs = list(itertools.combinations(parts, 2))
        a, b = min([p for p in pairs if masks[p[0]] & masks[p[1]]] or pairs, key=score)
        node = Node(subsets.open(a | b), "", parts.pop(a), parts.pop(b))
        parts[a | b] = node
    return next(iter(parts.values()))


# --- improvement -----------------------------------------------------------------------------
@dataclass
class Improver:
    """Makes trees of one network better, part by part."""

    network: Network
    objective: Objective
    merging: Merging

    def __post_init__(self) -> None:
        self.rng = random.Random(SEED)

    def rank(self, tree: Ranked) -> tuple[bool, float]:
        """Return what is compared: a tree whose weights fit is better than one that does not."""
        limit = self.merging.stored
        return limit is not None and tree.stored > limit, tree.cost

    def is_constant(self, node: Node) -> bool:
        """Tell whether a tree is made of weights only."""
        return all(name in self.merging.constants for name in node.originals())

    def premerged(self, node: Node) -> Node:
        """Return a tree whose parts of weights are merged as far as they fit."""
        if not node.operands:
            return node
        size = self.network.size(node.indices)
        if self.is_constant(node) and size <= self.merging.largest:
            return merged_leaf(self.network, node.originals(), node.indices)
        left, right = (self.premerged(o) for o in node.operands)
        return Node(node.indices, "", left, right)

    def ranked(self, node: Node) -> Ranked:
        """Return a tree with what it costs."""
        if node.tensor == ONE:
            return Ranked(0.0, node, self.objective.leaf(0))
        if node.tensor:
            size = self.network.size(node.indices)
            stored = size if self.is_constant(node) else 0
            return Ranked(0.0, node, self.objective.leaf(size), stored)
        left, right = (self.ranked(o) for o in node.operands)
        costs = self.objective.join(left, right, node.indices)
        stored = left.stored + right.stored
        return Ranked(self.objective.value(costs), node, costs, stored)

    def better(self, tree: Ranked) -> Iterator[Ranked]:
        """Yield the best tree so far after each part, until none has been better for long."""
        idle = 0
        while True:
            inner = [s for s in tree.node.steps() if not _reduces(s)]
            if idle > PATIENCE * len(inner):
                return
            part = self.rng.choice(inner)
            changed = self.ranked(_replaced(tree.node, part, self.improved(part, tree)))
            idle = 0 if self.rank(changed) < self.rank(tree) else idle + 1
            tree = min(tree, changed, key=self.rank)
            yield tree

    def improved(self, root: Node, tree: Ranked) -> Node:
        """Return the best tree over the nodes at the rim of a random part below `root`."""
        rim = self._rim(root)
        given = {f"@{k}": self.ranked(node) for k, node in enumerate(rim)}
        constants = frozenset(n for n, r in given.items() if self.is_constant(r.node))
        small = Network(
            {n: r.node.indices for n, r in given.items()}, self.network.sizes, root.indices
        )
        inside = sum(r.stored for r in given.values())
        limit = self.merging.stored
        room = None if limit is None else max(limit - tree.stored + inside, 0)
        merging = replace(self.merging, constants=constants, stored=room)
        try:
            found = explore(small, self.objective, merging=merging, given=given)
        except MappingError:
            return root
        return found.trees[0].node

    def _rim(self, root: Node) -> list[Node]:
        """Return up to `PART` nodes that together make a tree's part below `root`."""
        rim = list(root.operands)
        while len(rim) < PART:
            inner = [k for k, node in enumerate(rim) if node.operands and not _reduces(node)]
            if not inner:
                break
            rim += rim.pop(self.rng.choice(inner)).operands
        return [node.operands[0] if _reduces(node) else node for node in rim]


def _reduces(node: Node) -> bool:
    """Tell whether a step only sums indices of one tensor."""
    return any(o.tensor == ONE for o in node.operands)


def _replaced(tree: Node, old: Node, new: Node) -> Node:
    """Return a tree with one of its nodes replaced."""
    if tree is old:
        return new
    if not tree.operands:
        return tree
    left, right = tree.pair
    changed = _replaced(left, old, new), _replaced(right, old, new)
    same = changed[0] is left and changed[1] is right
    return tree if same else Node(tree.indices, "", *changed)
