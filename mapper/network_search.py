"""Ways to map a network: trees, slices of the streamed tensor, and which operands are in X."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from einchip.arch import Architecture
from einchip.mapper import tree
from einchip.mapper.errors import MappingError, nearest
from einchip.mapper.network_place import PlacedNetwork
from einchip.mapper.objectives import tree_costs
from einchip.mapper.plan import Slicing
from einchip.network import Network

__all__ = [
    "TREES", "Attempt", "attempts", "first_fit", "quickest_slices", "quickest_stream", "slicings",
    "tree_costs",
]  # fmt: skip

#: Trees that are folded, best first, before a smaller memory footprint is looked for.
TREES = 4
#: Steps up to which all ways to swap X and Y are tried when memory is short.
MAX_FLIPS = 6
#: Slices into which a streamed tensor is cut at most, and ways to slice that are tried at most.
MAX_SLICES, MAX_SLICINGS = 64, 48
#: Ways to slice intermediates and to swap X and Y that are tried together.
MAX_SWAPPED = 256
#: Ways to slice behind the first that fits that are compared with it.
MAX_COMPARED = 16
#: Of the best ways to slice, so many are tried with X and Y swapped.
MAX_FLIPPED = 2
#: Cycles that a load is taken to lose by a row that is drained into its scratchpad.
DRAINED_ROW = 1 / 32


@dataclass(frozen=True)
class Attempt:
    """One way to map a network: a tree, slices, and which operands are in X.

    Slices are of the steps that follow `leaf`, the streamed tensor if not given.
    """

    node: tree.Node
    slicing: Slicing = field(default_factory=Slicing)
    flips: Mapping[int, bool] = field(default_factory=dict)
    leaf: str = ""


def slicings(network: Network, node: tree.Node, streamed: str) -> Iterator[Slicing]:
    """Yield the ways to slice a streamed tensor, few and long slices first."""
    spine = _spine(node, streamed)
    found = _slicings(spine, network.sizes, (0,), network.tensors[streamed])
    yield from sorted(found, key=_rank)


def inner_slicings(node: tree.Node, sizes: Mapping[str, int]) -> Iterator[tuple[str, Slicing]]:
    """Yield the ways to slice intermediates alone, each with a leaf below the first sliced step.

    Few and long slices come first. No leaf is sliced.
    """
    found: dict[tuple[int, Slicing], tuple[str, Slicing]] = {}
    for leaf in node.leaf_nodes():
        spine = _spine(node, leaf.tensor)
        for slicing in _slicings(spine, sizes, range(len(spine)), sizes):
            if slicing.n_steps > 1 and (slicing.first or slicing.index not in leaf.indices):
                key = id(spine[slicing.first]), replace(slicing, first=0)
                found.setdefault(key, (leaf.tensor, slicing))
    yield from sorted(found.values(), key=lambda way: _rank(way[1]))


def _rank(slicing: Slicing) -> tuple[int, int, str, int]:
    """Return what few and long slices have less of."""
    return slicing.count, -slicing.n_steps, slicing.index, slicing.first


def _spine(node: tree.Node, leaf: str) -> list[tree.Node]:
    """Return the steps that follow a leaf."""
    return [s for s in node.steps() if leaf in s.leaves()]


def _slicings(
    spine: Sequence[tree.Node],
    sizes: Mapping[str, int],
    firsts: Iterable[int],
    indices: Iterable[str],
) -> Iterator[Slicing]:
    """Yield the ways to slice the steps that follow a leaf over some indices, from some on."""
    for index, first in itertools.product(indices, firsts):
        depth = first
        while depth < len(spine) and index in spine[depth].indices:
            depth += 1
        size = sizes[index]
        for count in (c for c in range(2, min(size, MAX_SLICES) + 1) if size % c == 0):
            yield from (Slicing(index, count, n, first) for n in range(1, depth - first + 1))


def attempts(
    network: Network,
    searches: Iterable[Sequence[tree.Ranked]],
    streamed: str,
    resident: Collection[str],
) -> Iterator[Attempt]:
    """Yield ways to map with the trees of each search: the quickest, then less memory."""
    for trees in searches:
        yield from _attempts(network, trees, streamed, resident)


def _attempts(
    network: Network, trees: Sequence[tree.Ranked], streamed: str, resident: Collection[str]
) -> Iterator[Attempt]:
    for ranked in trees:
        yield Attempt(ranked.node)
    if streamed not in resident:
        for slicing in slicings(network, trees[0].node, streamed):
            yield Attempt(trees[0].node, slicing)
    n_steps = sum(1 for _ in trees[0].node.steps())
    swaps: list[dict[int, bool]] = []
    if n_steps <= MAX_FLIPS:
        every = itertools.product((False, True), repeat=n_steps)
        swaps = [dict(enumerate(flips)) for flips in every]
    for flips in swaps:
        yield Attempt(trees[0].node, Slicing(), flips)
    inner = list(inner_slicings(trees[0].node, network.sizes))
    for leaf, slicing in inner:
        yield Attempt(trees[0].node, slicing, leaf=leaf)
    ways = itertools.product(inner, swaps)
    for (leaf, slicing), flips in itertools.islice(ways, MAX_SWAPPED):
        yield Attempt(trees[0].node, slicing, flips, leaf)


def first_fit(
    tries: Iterator[Attempt],
    build: Callable[[Attempt, int], PlacedNetwork],
    excess: Callable[[Attempt], int],
) -> tuple[Attempt, PlacedNetwork]:
    """Return the first attempt that can be built, and what it is.

    Each is built with its result beside the streamed tensor's scratchpad (1), then in the same (0),
    since what is written there holds up the loads. `excess` says by how many elements an attempt
    does not fit at least; where this is known, it is not built, but to say what is missing.

    Raises the MappingError of the attempt that misses by least if none can.
    """
    failures: list[MappingError] = []

    def built(attempt: Attempt) -> PlacedNetwork | None:
        for space in (1, 0):
            try:
                return build(attempt, space)
            except MappingError as error:
                failures.append(error)
        return None

    too_large: list[tuple[int, Attempt]] = []
    for attempt in tries:
        if missing := excess(attempt):
            too_large.append((missing, attempt))
        elif found := built(attempt):
            return attempt, found
    for missing, attempt in sorted(too_large, key=lambda t: t[0]):
        if failures and 0 < nearest(failures).excess <= missing:
            break
        built(attempt)
    raise nearest(failures)


def quickest_slices(
    first: tuple[Attempt, PlacedNetwork],
    rest: Iterator[Attempt],
    build: Callable[[Attempt, int], PlacedNetwork],
    arch: Architecture,
) -> tuple[Attempt, PlacedNetwork]:
    """Return, of slices that fit, those that take the fewest predicted cycles.

    `first` is what fits first, `rest` are the attempts behind it, of which `MAX_COMPARED` are made.
    """
    best, least = first, first[1].cycles(arch)
    for attempt in itertools.islice((a for a in rest if a.slicing.count > 1), MAX_COMPARED):
        with contextlib.suppress(MappingError):
            made = build(attempt, 1)
            if (cycles := made.cycles(arch)) < least:
                best, least = (attempt, made), cycles
    return best


def quickest_stream(
    whole: tuple[Attempt, PlacedNetwork],
    ways: Iterable[Attempt],
    build: Callable[[Attempt, int], PlacedNetwork],
    streamed: str,
    arch: Architecture,
) -> tuple[Attempt, PlacedNetwork]:
    """Return what is `whole`, or the sliced mapping that takes the fewest estimated cycles.

    A slice is contracted while the next one is loaded, so a long load hides behind the steps. Of
    the best ways to slice, all ways to swap X and Y in the sliced steps are tried.
    """

    def tried(attempts: Iterable[Attempt]) -> list[tuple[float, Attempt, PlacedNetwork]]:
        found = []
        for attempt in attempts:
            with contextlib.suppress(MappingError):
                made = build(attempt, 0)
                found.append((estimate(made, streamed, arch), attempt, made))
        return sorted(found, key=lambda f: f[0])

    sliced = tried(ways)
    flipped = [
        replace(attempt, flips=dict(zip(spine, flips, strict=True)))
        for _, attempt, _ in sliced[:MAX_FLIPPED]
        for spine in [sliced_steps(attempt, streamed)]
        for flips in itertools.product((False, True), repeat=len(spine))
        if len(spine) <= MAX_FLIPS
    ]
    best = (estimate(whole[1], streamed, arch), *whole)
    return min([best, *sliced, *tried(flipped)], key=lambda f: f[0])[1:]


def sliced_steps(attempt: Attempt, streamed: str) -> list[int]:
    """Return the numbers of the steps that run slice by slice."""
    steps = enumerate(attempt.node.steps())
    first, n_steps = attempt.slicing.first, attempt.slicing.n_steps
    leaf = attempt.leaf or streamed
    return [k for k, s in steps if leaf in s.leaves()][first : first + n_steps]


def estimate(mapped: PlacedNetwork, streamed: str, arch: Architecture) -> float:
    """Return predicted cycles, and what loads lose by rows that are drained where they write.

    What a row costs depends on where in a load it falls; `DRAINED_ROW` is little, so that it
    decides between mappings of nearly equal predictions.
    """
    part = mapped.part
    space = part.tensors[streamed].space
    rows = 0.0
    for step in part.steps:
        result = part.tensors[step.name]
        if step.executions > 1 and result.space == space:
            pieces = step.executions if result.sliced else 1
            rows += pieces * result.layout.elements / prod(f.count for f in step.fold.z_lanes)
    return mapped.cycles(arch) + DRAINED_ROW * rows
