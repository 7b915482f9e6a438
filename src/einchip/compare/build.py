"""A baseline as programs: a tree or several, folds and layouts restricted, placed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.compare.transposed import fold_with_copies
from einchip.mapper import MappingError, tree
from einchip.mapper.choose import Naming, Task, fold_tree
from einchip.mapper.errors import nearest
from einchip.mapper.network_build import RESULT
from einchip.mapper.network_place import PlacedNetwork, external_regions, place_network
from einchip.mapper.network_search import attempts
from einchip.mapper.plan import Part, Slicing
from einchip.mapper.programs import check_words
from einchip.mapper.stream import Stream, Way, best_stream, folded, way_of
from einchip.network import Network

#: The dense matrix, and its output index.
MATRIX, OUTPUT = "W", "O"
#: Outputs of a slice, and slices of one program, at most.
MAX_ROWS, MAX_PIECES = 64, 8


@dataclass(frozen=True)
class Built:
    """A mapped network as one execution: the input is loaded, contracted, the result stored.

    `node` is its tree.
    """

    node: tree.Node
    part: Part
    cold: PlacedNetwork


@dataclass(frozen=True)
class Dense(Built):
    """A dense product, as one execution and as one of many, whose input is there (`standing`).

    `times`: how often the programs run for one execution, each for a part of the outputs.
    """

    standing: PlacedNetwork
    times: int


Failed = Callable[[MappingError], None]


class Problem(NamedTuple):
    """A network with its trees, on a machine, folds of some modes, layouts free or with copies."""

    network: Network
    arch: Architecture
    trees: Sequence[tree.Ranked]
    modes: tuple[str, ...]
    streamed: str
    copies: bool = False


def cold(problem: Problem) -> Built:
    """Map one execution, all tensors but the streamed one resident.

    Without copies the first tree that fits is taken, with them the one that is quickest with its
    copies. Raises MappingError.
    """
    failures: list[MappingError] = []
    for node, part in (_copied if problem.copies else _free)(problem, failures.append):
        try:
            network, arch, streamed = problem.network, problem.arch, problem.streamed
            return Built(node, *placed(part, network, arch, streamed, _weights(part, streamed)))
        except MappingError as error:
            failures.append(error)
    raise nearest(failures)


def stream(problem: Problem) -> Stream:
    """Map a stream of executions: of all trees the quickest. Raises MappingError."""
    failures: list[MappingError] = []
    try:
        return best_stream(lambda drains: _ways(problem, failures.append, drains))
    except MappingError as error:
        raise nearest([error, *failures]) from None


def _ways(problem: Problem, failed: Failed, drains: bool) -> Iterator[Way]:
    """Yield folded trees; with copies only those of hidden drains: copies take longer than they."""
    network, arch, trees, modes, streamed, copies = problem
    if copies:
        for node, part in () if drains else _copied(problem, failed, True):
            yield way_of(network, arch, streamed, node, part)
        return
    for ranked in trees:
        yield from folded(network, arch, streamed, ranked.node, drains, modes)


def placed(
    part: Part, network: Network, arch: Architecture, streamed: str, kept: Sequence[str]
) -> tuple[Part, PlacedNetwork]:
    """Place a part with `kept` resident.

    Its result is beside the scratchpad of `streamed`, else in the same. Raises MappingError.
    """
    failures = []
    for space in (1, 0):
        moved = part.with_result_in(part.tensors[streamed].space ^ space)
        try:
            found = place_network(moved, external_regions(moved, network.sizes, arch), kept, arch)
            check_words(found.programs(None).run, arch)
        except MappingError as error:
            failures.append(error)
        else:
            return moved, found
    raise nearest(failures)


def _weights(part: Part, streamed: str) -> list[str]:
    return [t.name for t in part.tensors.values() if t.is_input and t.name != streamed]


def _tasks(problem: Problem, trees: Sequence[tree.Ranked], drains: bool = True) -> Iterator[Task]:
    """Yield the trees, then ways to swap the scratchpads of the first one; nothing in slices."""
    network, arch, _, modes, streamed, _ = problem
    for attempt in attempts(network, [trees], streamed, tuple(network.tensors)):
        if attempt.slicing.count == 1:
            yield Task(
                attempt.node, network.sizes, arch, Naming(RESULT), streamed=streamed,
                flips=attempt.flips, modes=modes, drains=drains,
            )  # fmt: skip


def _free(problem: Problem, failed: Failed) -> Iterator[tuple[tree.Node, Part]]:
    for task in _tasks(problem, problem.trees):
        try:
            yield task.root, fold_tree(task)
        except MappingError as error:
            failed(error)


def _copied(
    problem: Problem, failed: Failed, steady: bool = False
) -> Iterator[tuple[tree.Node, Part]]:
    """Yield the trees by their cycles with copies, then ways to swap their scratchpads.

    With `steady` they are of many executions: other ones hide the last drain of each step.
    """
    found: list[tuple[int, int, Task, Part]] = []
    for task in itertools.islice(_tasks(problem, problem.trees, not steady), len(problem.trees)):
        try:
            total, part = fold_with_copies(task, steady)
            found.append((total, len(found), task, part))
        except MappingError as error:
            failed(error)
    found.sort(key=lambda f: f[:2])
    yield from ((task.root, part) for _, _, task, part in found)
    if found:
        best = [tree.Ranked(found[0][0], found[0][2].root)]
        for task in itertools.islice(_tasks(problem, best, not steady), 1, None):
            try:
                yield task.root, fold_with_copies(task, steady)[1]
            except MappingError as error:
                failed(error)


def dense(n_inputs: int, n_outputs: int, batch: int, arch: Architecture, resident: bool) -> Dense:
    """Map a dense matrix, its weights resident or streamed in slices of outputs.

    A program handles a part of the outputs that is small enough, `times` times the same; the input
    stays. Raises MappingError where not even two slices fit.
    """
    failures: list[MappingError] = []
    most = max(1, min(n_outputs // 2, MAX_ROWS))
    for rows in (r for r in range(most, 0, -1) if n_outputs % r == 0):
        left = n_outputs // rows
        pieces = max(p for p in range(1, min(left, MAX_PIECES) + 1) if left % p == 0)
        outputs = n_outputs if resident else rows * pieces
        network = dense_network(n_inputs, outputs, batch)
        slicing = Slicing() if resident or pieces == 1 else Slicing(OUTPUT, pieces, 1)
        node = dense_tree(network)
        for flip in (False, True):
            task = Task(node, network.sizes, arch, Naming(RESULT), slicing, MATRIX, {0: flip})
            try:
                kept = (MATRIX,) if resident else ()
                part, once = placed(fold_tree(task), network, arch, "x", kept)
                regions = external_regions(part, network.sizes, arch)
                standing = place_network(part, regions, (*kept, "x"), arch)
                return Dense(node, part, once, standing, n_outputs // outputs)
            except MappingError as error:
                failures.append(error)
        if resident:
            break
    raise nearest(failures)


def dense_network(n_inputs: int, n_outputs: int, batch: int) -> Network:
    """Return x[n, i] W[o, i]; the input index in two factors, so that each counts to 2^16."""
    fast = max(c for c in range(1, 257) if n_inputs % c == 0)
    sizes = {"n": batch, OUTPUT: n_outputs, "i": n_inputs // fast, "j": fast}
    return Network({"x": ("n", "i", "j"), MATRIX: (OUTPUT, "i", "j")}, sizes, ("n", OUTPUT))


def dense_tree(network: Network) -> tree.Node:
    """Return the one step of a dense product."""
    x, matrix = (tree.Node(network.tensors[name], name) for name in ("x", MATRIX))
    return tree.Node(network.output, "", x, matrix)
