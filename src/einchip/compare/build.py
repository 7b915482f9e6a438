"""A baseline as programs: a tree or several, folds and layouts restricted, placed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from einchip.arch import Architecture
from einchip.compare.transposed import fold_with_copies
from einchip.mapper import MappingError, tree
from einchip.mapper.choose import Naming, Task, fold_tree
from einchip.mapper.errors import nearest
from einchip.mapper.network import RESULT
from einchip.mapper.network_place import PlacedNetwork, external_regions, place_network
from einchip.mapper.network_search import attempts
from einchip.mapper.plan import Part, Slicing
from einchip.mapper.programs import check_words
from einchip.network import Network

#: The constant 1 of steps with one operand, which is filled once.
ONES = tuple(f"{tree.ONE}{space}" for space in (0, 1))
#: The dense matrix, and its output index.
MATRIX, OUTPUT = "W", "O"
#: Outputs of a slice, and slices of one program, at most.
MAX_ROWS, MAX_PIECES = 64, 8


@dataclass(frozen=True)
class Built:
    """A mapped network, placed twice.

    Attributes
    ----------
    node : its tree.
    cold : one execution: the input is loaded, then contracted, and the result stored.
    standing : one execution of many: the input is there.
    times : how often the program runs for one execution (parts of a dense matrix).
    """

    node: tree.Node
    part: Part
    cold: PlacedNetwork
    standing: PlacedNetwork
    times: int = 1


def placed(
    part: Part, network: Network, arch: Architecture, streamed: str, kept: Sequence[str]
) -> tuple[Part, PlacedNetwork, PlacedNetwork]:
    """Place a part with `kept` resident, and with `streamed` resident too.

    Its result is beside the scratchpad of `streamed`, else in the same. Raises MappingError.
    """
    failures = []
    for space in (1, 0):
        moved = part.with_result_in(part.tensors[streamed].space ^ space)
        regions = external_regions(moved, network.sizes, arch)
        try:
            cold, standing = (
                place_network(moved, regions, (*kept, *ONES, *more), arch)
                for more in ((), (streamed,))
            )
            check_words(cold.programs(None).run, arch)
        except MappingError as error:
            failures.append(error)
        else:
            return moved, cold, standing
    raise nearest(failures)


def build(
    network: Network,
    arch: Architecture,
    trees: Sequence[tree.Ranked],
    modes: Sequence[str],
    streamed: str,
    copies: bool = False,
) -> Built:
    """Map one of some trees with folds of these modes, all tensors but `streamed` resident.

    Without `copies` layouts are free and the first tree that fits is taken. With them they are
    fixed, and the tree that is quickest with its copies is taken. Raises MappingError.
    """
    weights = [name for name in network.tensors if name != streamed]
    failures: list[MappingError] = []
    folded = _copied if copies else _free
    for node, part in folded(network, arch, trees, tuple(modes), streamed, failures.append):
        try:
            return Built(node, *placed(part, network, arch, streamed, weights))
        except MappingError as error:
            failures.append(error)
    raise nearest(failures)


Failed = Callable[[MappingError], None]


def _tasks(
    network: Network,
    arch: Architecture,
    trees: Sequence[tree.Ranked],
    modes: tuple[str, ...],
    streamed: str,
) -> Iterator[Task]:
    """Yield the trees, then ways to swap the scratchpads of the first one."""
    for attempt in attempts(network, trees, streamed, tuple(network.tensors)):
        yield Task(
            attempt.node, network.sizes, arch, Naming(RESULT), Slicing(), streamed, attempt.flips,
            modes=modes,
        )  # fmt: skip


def _free(
    network: Network,
    arch: Architecture,
    trees: Sequence[tree.Ranked],
    modes: tuple[str, ...],
    streamed: str,
    failed: Failed,
) -> Iterator[tuple[tree.Node, Part]]:
    for task in _tasks(network, arch, trees, modes, streamed):
        try:
            yield task.root, fold_tree(task)
        except MappingError as error:
            failed(error)


def _copied(
    network: Network,
    arch: Architecture,
    trees: Sequence[tree.Ranked],
    modes: tuple[str, ...],
    streamed: str,
    failed: Failed,
) -> Iterator[tuple[tree.Node, Part]]:
    """Yield the trees by their cycles with copies, then ways to swap their scratchpads."""
    found: list[tuple[int, int, Task, Part]] = []
    for task in itertools.islice(_tasks(network, arch, trees, modes, streamed), len(trees)):
        try:
            total, part = fold_with_copies(task)
            found.append((total, len(found), task, part))
        except MappingError as error:
            failed(error)
    found.sort(key=lambda f: f[:2])
    yield from ((task.root, part) for _, _, task, part in found)
    if found:
        best = [tree.Ranked(found[0][0], found[0][2].root)]
        for task in itertools.islice(_tasks(network, arch, best, modes, streamed), 1, None):
            try:
                yield task.root, fold_with_copies(task)[1]
            except MappingError as error:
                failed(error)


def dense(n_inputs: int, n_outputs: int, batch: int, arch: Architecture, resident: bool) -> Built:
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
        node = tree.Node(network.output, "", *(tree.Node(network.tensors[n], n) for n in "xW"))
        for flip in (False, True):
            task = Task(node, network.sizes, arch, Naming(RESULT), slicing, MATRIX, {0: flip})
            try:
                part = fold_tree(task)
                kept = (MATRIX,) if resident else ()
                return Built(node, *_dense_placed(part, network, arch, kept), n_outputs // outputs)
            except MappingError as error:
                failures.append(error)
        if resident:
            break
    raise nearest(failures)


def _dense_placed(
    part: Part, network: Network, arch: Architecture, kept: Sequence[str]
) -> tuple[Part, PlacedNetwork, PlacedNetwork]:
    """Place a dense product: with its input loaded, and with its input there."""
    return placed(part, network, arch, "x", kept)


def dense_network(n_inputs: int, n_outputs: int, batch: int) -> Network:
    """Return x[n, i] W[o, i]; the input index in two factors, so that each counts to 2^16."""
    fast = max(c for c in range(1, 257) if n_inputs % c == 0)
    sizes = {"n": batch, OUTPUT: n_outputs, "i": n_inputs // fast, "j": fast}
    return Network({"x": ("n", "i", "j"), MATRIX: (OUTPUT, "i", "j")}, sizes, ("n", OUTPUT))
