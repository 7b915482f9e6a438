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
from einchip.mapper.lanes import ALL_GROUPS, Shape, best_cycles
from einchip.mapper.network_place import PlacedNetwork
from einchip.mapper.plan import Slicing
from einchip.network import Network
from einchip.roofline import StepCost, Volumes, step_cycles

#: Trees that are folded, best first, before a smaller memory footprint is looked for.
TREES = 4
#: Steps up to which all ways to swap X and Y are tried when memory is short.
MAX_FLIPS = 6
#: Slices into which a streamed tensor is cut at most, and ways to slice that are tried at most.
MAX_SLICES, MAX_SLICINGS = 64, 48
#: Of the best ways to slice, so many are tried with X and Y swapped.
MAX_FLIPPED = 2
#: Cycles that a load is taken to lose by a row that is drained into its scratchpad.
DRAINED_ROW = 1 / 32


def tree_costs(
    network: Network, arch: Architecture, modes: Sequence[str] = (ALL_GROUPS,)
) -> tuple[tree.StepCost, StepCost]:
    """Return the cycles of a step with its best fold in either orientation, and a lower bound.

    `modes` are the groups of indices that may be on lanes together, one of them in each step.
    """
    sizes = network.sizes

    def cost(a: tree.Node, b: tree.Node, out: tuple[str, ...]) -> float:
        ways = ((a.indices, b.indices), (b.indices, a.indices))
        shapes = [Shape.of(x, y, out, sizes) for x, y in ways]
        return float(min(best_cycles(s, arch, groups=g) for s in shapes for g in modes))

    return cost, step_cycles(Volumes(network), arch)


@dataclass(frozen=True)
class Attempt:
    """One way to map a network: a tree, slices, and which operands are in X."""

    node: tree.Node
    slicing: Slicing = field(default_factory=Slicing)
    flips: Mapping[int, bool] = field(default_factory=dict)


def slicings(network: Network, node: tree.Node, streamed: str) -> Iterator[Slicing]:
    """Yield the ways to slice a streamed tensor, few and long slices first."""
    spine = [s for s in node.steps() if streamed in s.leaves()]
    found = []
    for index in network.tensors[streamed]:
        depth = 0
        while depth < len(spine) and index in spine[depth].indices:
            depth += 1
        size = network.sizes[index]
        for count in (c for c in range(2, min(size, MAX_SLICES) + 1) if size % c == 0):
            found += [Slicing(index, count, n) for n in range(1, depth + 1)]
    yield from sorted(found, key=lambda s: (s.count, -s.n_steps, s.index))


def attempts(
    network: Network, trees: Sequence[tree.Ranked], streamed: str, resident: Collection[str]
) -> Iterator[Attempt]:
    """Yield ways to map, the quickest first, then those that need less memory."""
    for ranked in trees:
        yield Attempt(ranked.node)
    if streamed not in resident:
        for slicing in slicings(network, trees[0].node, streamed):
            yield Attempt(trees[0].node, slicing)
    n_steps = sum(1 for _ in trees[0].node.steps())
    if n_steps <= MAX_FLIPS:
        for flips in itertools.product((False, True), repeat=n_steps):
            yield Attempt(trees[0].node, Slicing(), dict(enumerate(flips)))


def first_fit(
    tries: Iterator[Attempt], build: Callable[[Attempt, int], PlacedNetwork]
) -> PlacedNetwork:
    """Return the first attempt that can be built.

    Each is built with its result beside the streamed tensor's scratchpad (1), then in the same (0),
    since what is written there holds up the loads.

    Raises the MappingError of the attempt that misses by least if none can.
    """
    failures: list[MappingError] = []
    for attempt in tries:
        for space in (1, 0):
            try:
                return build(attempt, space)
            except MappingError as error:
                failures.append(error)
    raise nearest(failures)


def quickest_stream(
    mapped: PlacedNetwork,
    ways: Iterator[Attempt],
    build: Callable[[Attempt, int], PlacedNetwork],
    streamed: str,
    arch: Architecture,
) -> PlacedNetwork:
    """Return `mapped`, or the sliced mapping that takes the fewest estimated cycles.

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

    sliced = tried(itertools.islice(ways, MAX_SLICINGS))
    flipped = [
        replace(attempt, flips=dict(zip(spine, flips, strict=True)))
        for _, attempt, _ in sliced[:MAX_FLIPPED]
        for spine in [sliced_steps(attempt, streamed)]
        for flips in itertools.product((False, True), repeat=len(spine))
        if len(spine) <= MAX_FLIPS
    ]
    best = (estimate(mapped, streamed, arch), Attempt(tree.Node(())), mapped)
    return min([best, *sliced, *tried(flipped)], key=lambda f: f[0])[2]


def sliced_steps(attempt: Attempt, streamed: str) -> list[int]:
    """Return the numbers of the steps that run slice by slice."""
    steps = enumerate(attempt.node.steps())
    return [k for k, s in steps if streamed in s.leaves()][: attempt.slicing.n_steps]


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
