"""Folds and layouts of a whole tree at once.

Dynamic programming over the tree: for every step and every pattern in which it can write its
result, the cheapest way to get there. A producer's fold and its consumer's fold fit together if the
tensor between them has a layout that is free of conflicts for both, and fuses what either fuses.

First the best few folds of each step are tried. If the tree that they make takes longer than the
sum of what its steps take at least, the search is repeated with all folds that could close the gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.lanes import ALL_GROUPS, Candidate, Fold, Found, Shape, candidates
from einchip.mapper.lanes import Lanes as Lanes
from einchip.mapper.layout import MAX_ORDERS, Layout, conflict_free, restrict, solve
from einchip.mapper.plan import Part, Searched, Slicing, Step, Tensor
from einchip.mapper.sliced import Sliced
from einchip.mapper.tree import ONE, Node

#: Cycles that a padded row of banks counts for, so that compact layouts win among equals.
PADDING_WEIGHT = 0.1
#: Price of a step by its operands in X and Y, its shape, cycles and fold.
Price = Callable[[Node, Node, Shape, int, Fold], float]
#: Orders of a tensor's indices that are tried while folds are not chosen yet.
FEW_ORDERS = 4
#: Folds of a step that are tried first, and where the first ones leave a gap.
FIRST_FOLDS, MORE_FOLDS = 48, 512


@dataclass(frozen=True)
class Naming:
    """Names of a part's tensors: of the result, of some inputs, a prefix for all others.

    `steps` is the prefix of intermediates, where it is not `prefix`.
    """

    result: str
    prefix: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    steps: str = ""

    def of(self, tensor: str) -> str:
        """Return the name of an input."""
        return self.inputs.get(tensor, self.prefix + tensor)


@dataclass(frozen=True)
class Task:
    """A tree to fold.

    `flips` says for some steps (numbered operands before results) whether the right operand is in
    X. `accesses` are those of tensors by others, under "" those of the result; `addend` names a
    tensor with the result's layout that the last step adds. `fixed` are layouts that are given, of
    leaves and under "" of the result. `frame` are the indices, with their sizes, of the tensor of
    which the result is a part: its layout is that tensor's. `price` is what an execution of a step
    counts for, its cycles if not given. `modes` are the groups of indices that may be on lanes
    together (`lanes.ALL_GROUPS`), one of them in each step. Without `drains` other work hides the
    last drain of each step. `data` are the leaves that are no weights: what is made of others,
    and is in Y, is padded with zeros where that fills the array better; not of the last step.
    """

    root: Node
    sizes: Mapping[str, int]
    arch: Architecture
    naming: Naming
    slicing: Slicing = field(default_factory=Slicing)
    streamed: str = ""
    flips: Mapping[int, bool] = field(default_factory=dict)
    accesses: Mapping[str, tuple[Lanes, ...]] = field(default_factory=dict)
    addend: str = ""
    fixed: Mapping[str, Layout] = field(default_factory=dict)
    frame: Mapping[str, int] = field(default_factory=dict)
    price: Price | None = None
    modes: tuple[str, ...] = (ALL_GROUPS,)
    drains: bool = True
    data: frozenset[str] | None = None

    def folds(
        self, shape: Shape, addend: bool, slack: int | None, keep: int, pads: bool = False
    ) -> Found:
        """Return the folds that a step may have, each mode's best first, and what is left out."""
        found = [
            candidates(shape, self.arch, addend, slack, keep, g, self.drains, pads)
            for g in self.modes
        ]
        return Found([c for f in found for c in f.candidates], min(f.cut for f in found))


def is_constant(node: Node, data: frozenset[str] | None) -> bool:
    """Tell whether a tensor is made of weights alone, where `data` says which leaves are none."""
    return data is not None and not data & {*node.leaves()}


class _Entry(NamedTuple):
    """One way to compute a step: estimated cycles up to here, and what was chosen."""

    total: float
    chosen: Candidate
    flip: bool
    below: tuple[_Entry | None, ...]

    @property
    def fold(self) -> Fold:
        """The fold of the step itself."""
        return self.chosen.fold


@dataclass
class _Tally:
    """What a search looked at, and what its steps take at least."""

    folds: int = 0
    patterns: int = 0
    least: int = 0
    #: Of every step with folds left out: by how much the cheapest of them exceeds the least.
    cuts: list[int] = field(default_factory=list)


class _Folder:
    """The dynamic programme over one tree.

    `slack` are the cycles by which a step may exceed its least (None: `lanes.USUAL_SLACK`).
    """

    def __init__(self, task: Task, slack: int | None, keep: int) -> None:
        self.task, self.slack, self.keep = task, slack, keep
        self.steps = list(task.root.steps())
        self.order = {id(step): k for k, step in enumerate(self.steps)}
        self.sliced = Sliced(task.root, task.slicing, task.streamed)
        self.known: dict[tuple[int, Lanes, Lanes], float | None] = {}
        self.tally = _Tally()
        #: Indices of which some tensors hold fewer values: nothing may lie outside them.
        self.cut = {i for i, n in task.frame.items() if task.sizes.get(i, 1) != n}
        self.cut |= {task.slicing.index} if task.slicing.count > 1 else set()

    def sizes(self, local: bool) -> Mapping[str, int]:
        """Return the index sizes of a slice or of the whole."""
        s = self.task.slicing
        if not local or s.count == 1:
            return self.task.sizes
        return {**self.task.sizes, s.index: self.task.sizes[s.index] // s.count}

    def layout(
        self, node: Node, accesses: Iterable[Lanes], n_orders: int = MAX_ORDERS
    ) -> Layout | None:
        """Return a layout in which all accesses are free of conflicts, or None."""
        task, lanes, root = self.task, self.task.arch.lanes, node is self.task.root
        given = task.fixed.get(node.tensor) if node.tensor or root else None
        if given is not None:
            return given if all(conflict_free(given, a, lanes) for a in accesses) else None
        if root and task.frame:
            whole = solve(task.frame, task.frame, accesses, lanes, n_orders)
            return restrict(whole, node.indices, task.sizes) if whole else None
        sizes = self.sizes(self.sliced.has_tensor(node))
        return solve(node.indices, sizes, accesses, lanes, n_orders)

    def padding_cost(self, layout: Layout) -> float:
        padded = layout.extent - layout.elements
        return PADDING_WEIGHT * padded / self.task.arch.lanes

    def operand(
        self, node: Node, read: Lanes, entries: Mapping[int, list[_Entry]]
    ) -> tuple[float, _Entry | None] | None:
        """Return the cheapest way to have an operand that can be read with these lanes."""
        if node.tensor:
            leaf = self.between(node, (), read)
            return None if leaf is None else (leaf, None)
        best: tuple[float, _Entry | None] | None = None
        for entry in entries[id(node)]:
            if best and entry.total >= best[0]:
                break
            found = self.between(node, entry.fold.z_lanes, read)
            if found is not None and (best is None or entry.total + found < best[0]):
                best = (entry.total + found, entry)
        return best

    def accesses(self, node: Node, write: Lanes, read: Lanes) -> list[Lanes]:
        """Return all accesses of an operand: a leaf is not written, and may be read by others."""
        return [write, read, *(self.task.accesses.get(node.tensor, ()) if node.tensor else ())]

    def between(self, node: Node, write: Lanes, read: Lanes) -> float | None:
        """Return what padding a tensor with these accesses costs, None where no layout serves."""
        key = (id(node), write, read)
        if key not in self.known:
            layout = self.layout(node, self.accesses(node, write, read), FEW_ORDERS)
            self.known[key] = self.padding_cost(layout) if layout else None
        return self.known[key]

    def run(self) -> tuple[_Entry, Layout]:
        """Return the best entry of the last step, and the layout of its result."""
        entries: dict[int, list[_Entry]] = {}
        for step in self.steps:
            entries[id(step)] = self._entries(step, entries)
        for entry in entries[id(self.task.root)]:
            accesses = (entry.fold.z_lanes, *self.task.accesses.get("", ()))
            layout = self.layout(self.task.root, accesses)
            if layout:
                return entry, layout
        raise MappingError(
            f"{self.task.naming.result}: no layout is free of bank conflicts for its writes and "
            "reads; change the sizes of the output modes"
        )

    def _entries(self, step: Node, entries: Mapping[int, list[_Entry]]) -> list[_Entry]:
        """Return the best entry for each pattern of writing the result, cheapest first."""
        best = dict[Lanes, _Entry]()
        executions = self.task.slicing.count if self.sliced.has_step(step) else 1
        left, right = step.operands
        for flip, price, candidate in self._folds(step, executions):
            fold = candidate.fold
            x_lanes, y_lanes = fold.x_lanes, fold.y_lanes
            first = self.operand(left, y_lanes if flip else x_lanes, entries)
            second = self.operand(right, x_lanes if flip else y_lanes, entries) if first else None
            if first is None or second is None:
                continue
            total = price * executions + first[0] + second[0]
            key = tuple(sorted(fold.z_lanes))
            if key not in best or total < best[key].total:
                best[key] = _Entry(total, candidate, flip, (first[1], second[1]))
        self.tally.patterns += len(best)
        return sorted(best.values(), key=lambda e: e.total)

    def _reads_window(self, sizes: Mapping[str, int]) -> bool:
        """Tell whether windows have room for the addend, of the result's size, and the result."""
        arch, elements = self.task.arch, prod(sizes[i] for i in self.task.root.indices)
        return sum(arch.window(s) * arch.lanes // elements for s in arch.windows) >= 2

    def _folds(self, step: Node, executions: int) -> list[tuple[bool, float, Candidate]]:
        """Return the folds to try: whether the right operand is in X, what it counts for, fold."""
        task, extents = self.task, self.sizes(self.sliced.has_step(step))
        addend = bool(task.addend) and step is task.root and not self._reads_window(extents)
        left, right = step.operands
        found: list[tuple[bool, float, Candidate]] = []
        least, cuts = [], []
        for flip in (False, True):
            if task.flips.get(self.order[id(step)], flip) != flip:
                continue
            x, y = (right, left) if flip else (left, right)
            shape = Shape.of(x.indices, y.indices, step.indices, extents)
            slack = None if self.slack is None else self.slack // executions
            pads = step is not task.root and is_constant(y, task.data)
            folds, cut = task.folds(shape, addend, slack, self.keep, pads)
            found += [
                (flip, task.price(x, y, shape, c.cycles, c.fold) if task.price else c.cycles, c)
                for c in folds
                if self._allowed(c.fold)
            ]
            least.append(min(cut, *(c.cycles for c in folds)))
            cuts.append(cut)
        self.tally.folds += len(found)
        self.tally.least += min(least) * executions
        self.tally.cuts.append((min(cuts) - min(least)) * executions)
        return found

    def _allowed(self, fold: Fold) -> bool:
        """Tell whether no index lies outside one of which some tensors hold fewer values."""
        return not any(i in f.chain[:-1] for f in fold.factors for i in self.cut)


def _cycles(entry: _Entry, folder: _Folder, node: Node) -> int:
    """Return the cycles of all executions of a step and those below it."""
    executions = folder.task.slicing.count if folder.sliced.has_step(node) else 1
    below = zip(entry.below, node.operands, strict=True)
    return entry.chosen.cycles * executions + sum(_cycles(e, folder, o) for e, o in below if e)


class _Answer(NamedTuple):
    """The best way to fold a tree, and what was searched for it."""

    folder: _Folder
    entry: _Entry
    layout: Layout
    searched: Searched


def _search(task: Task) -> _Answer:
    """Search with few folds; if that leaves a gap, with all that could close it."""
    slack: int | None = None
    answer: _Answer | None = None
    for keep in (FIRST_FOLDS, MORE_FOLDS):
        folder = _Folder(task, slack, keep)
        entry, layout = folder.run()
        tally = folder.tally
        gap = _cycles(entry, folder, task.root) - tally.least
        complete = all(cut >= gap for cut in tally.cuts)
        free = sum(k not in task.flips for k in range(len(folder.steps)))
        searched = Searched(1 << free, tally.folds, tally.patterns, len(folder.known), complete)
        if answer is None or entry.total < answer.entry.total:
            answer = _Answer(folder, entry, layout, searched)
        answer = answer._replace(searched=searched)
        if complete:
            break
        slack = gap
    assert answer is not None
    return answer


def fold_tree(task: Task) -> Part:
    """Return the cheapest part for a tree, its result in X.

    Raises MappingError where the result's accesses cannot all be free of conflicts.
    """
    folder, entry, layout, searched = _search(task)
    tensors: dict[str, Tensor] = {}
    steps: list[Step] = []
    _collect(folder, task.root, entry, tensors, steps)
    result = task.naming.result
    tensors[result] = Tensor(result, task.root.indices, layout, 0, False)
    return Part(tensors, tuple(steps), result, task.root.text(), task.slicing, searched)


def _collect(
    folder: _Folder, node: Node, entry: _Entry, tensors: dict[str, Tensor], steps: list[Step]
) -> str:
    """Append a step and those below it; return its name."""
    task, names = folder.task, []
    for right, (operand, below) in enumerate(zip(node.operands, entry.below, strict=True)):
        space = int(right != entry.flip)
        if below is None:
            name = f"{ONE}{space}" if operand.tensor == ONE else task.naming.of(operand.tensor)
        else:
            name = _collect(folder, operand, below, tensors, steps)
        read = entry.fold.x_lanes if space == 0 else entry.fold.y_lanes
        write = below.fold.z_lanes if below else ()
        layout = folder.layout(operand, folder.accesses(operand, write, read))
        assert layout is not None
        sliced = folder.sliced.has_tensor(operand)
        slots = task.slicing.slots(below is None) if sliced else 1
        tensors[name] = Tensor(name, operand.indices, layout, space, below is None, sliced, slots)
        names.append(name)
    number = folder.order[id(node)] + 1
    root = node is task.root
    name = task.naming.result if root else f"{task.naming.steps or task.naming.prefix}t{number}"
    sliced_step = folder.sliced.has_step(node)
    used = dict.fromkeys(i for o in node.operands for i in o.indices)
    cycles = entry.chosen.cycles + entry.chosen.hidden
    extents = folder.sizes(sliced_step)
    x, y = names[::-1] if entry.flip else names
    step = Step(name, names[0], names[1], x, y, entry.fold, {i: extents[i] for i in used}, cycles)
    steps.append(
        replace(
            step,
            executions=task.slicing.count if sliced_step else 1,
            addend=task.addend if root else "",
        )
    )
    return name
