"""Folds and layouts of a whole tree at once.

Dynamic programming over the tree: for every step and every pattern in which it can write its
result, the cheapest way to get there. A producer's fold and its consumer's fold fit together if the
tensor between them has a layout that is free of conflicts for both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.lanes import ALL_GROUPS, Candidate, Factor, Fold, Shape, candidates
from einchip.mapper.layout import Layout, conflict_free, restrict, solve
from einchip.mapper.plan import Part, Slicing, Step, Tensor
from einchip.mapper.tree import ONE, Node

#: Cycles that a padded row of banks counts for, so that compact layouts win among equals.
PADDING_WEIGHT = 0.1

Lanes = tuple[Factor, ...]


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
    which the result is a part: its layout is that tensor's. `modes` are the groups of indices that
    may be on lanes together, one of them in each step.
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
    modes: tuple[str, ...] = (ALL_GROUPS,)

    def folds(self, shape: Shape, addend: bool) -> list[Candidate]:
        """Return the folds that a step may have, each mode's best first."""
        return [c for g in self.modes for c in candidates(shape, self.arch, addend, groups=g)]


class _Entry(NamedTuple):
    """One way to compute a step: estimated cycles up to here, and what was chosen."""

    total: float
    cycles: int
    fold: Fold
    flip: bool
    layouts: tuple[Layout, Layout]  # of the left and the right operand
    below: tuple[_Entry | None, ...]


class _Folder:
    """The dynamic programme over one tree."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.steps = list(task.root.steps())
        self.order = {id(step): k for k, step in enumerate(self.steps)}
        self.sliced = self._spine()
        self.known: dict[tuple[int, Lanes, Lanes], tuple[float, Layout] | None] = {}

    def _spine(self) -> list[Node]:
        """Return the sliced nodes: the streamed tensor, and the steps upward from it."""
        task, spine = self.task, []
        if task.slicing.count > 1:
            node = task.root
            while True:
                spine.append(node)
                node = next((o for o in node.operands if task.streamed in o.leaves()), node)
                if node is spine[-1]:
                    break
        return spine[::-1][: task.slicing.n_steps + 1]

    def is_sliced_tensor(self, node: Node) -> bool:
        """Tell whether only slices of a tensor exist; the last sliced step's result is whole."""
        return any(node is s for s in self.sliced[:-1])

    def is_sliced_step(self, node: Node) -> bool:
        return any(node is s for s in self.sliced[1:])

    def sizes(self, local: bool) -> Mapping[str, int]:
        """Return the index sizes of a slice or of the whole."""
        s = self.task.slicing
        if not local or s.count == 1:
            return self.task.sizes
        return {**self.task.sizes, s.index: self.task.sizes[s.index] // s.count}

    def layout(self, node: Node, accesses: Iterable[Lanes]) -> Layout | None:
        """Return a layout in which all accesses are free of conflicts, or None."""
        task, lanes, root = self.task, self.task.arch.lanes, node is self.task.root
        given = task.fixed.get(node.tensor) if node.tensor or root else None
        if given is not None:
            return given if all(conflict_free(given, a, lanes) for a in accesses) else None
        if root and task.frame:
            whole = solve(task.frame, task.frame, accesses, lanes)
            return restrict(whole, node.indices, task.sizes) if whole else None
        sizes = self.sizes(self.is_sliced_tensor(node))
        return solve(node.indices, sizes, accesses, lanes)

    def padding_cost(self, layout: Layout) -> float:
        padded = layout.extent - layout.elements
        return PADDING_WEIGHT * padded / self.task.arch.lanes

    def operand(
        self, node: Node, read: Lanes, entries: Mapping[int, list[_Entry]]
    ) -> tuple[float, Layout, _Entry | None] | None:
        """Return the cheapest way to have an operand that can be read with these lanes."""
        if node.tensor:
            layout = self.layout(node, [read, *self.task.accesses.get(node.tensor, ())])
            return (self.padding_cost(layout), layout, None) if layout else None
        best: tuple[float, Layout, _Entry | None] | None = None
        for entry in entries[id(node)]:
            if best and entry.total >= best[0]:
                break
            found = self.between(node, entry.fold.z_lanes, read)
            if found and (best is None or entry.total + found[0] < best[0]):
                best = (entry.total + found[0], found[1], entry)
        return best

    def between(self, node: Node, write: Lanes, read: Lanes) -> tuple[float, Layout] | None:
        key = (id(node), write, read)
        if key not in self.known:
            layout = self.layout(node, [write, read])
            self.known[key] = (self.padding_cost(layout), layout) if layout else None
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
        task, best = self.task, dict[Lanes, _Entry]()
        extents = self.sizes(self.is_sliced_step(step))
        executions = task.slicing.count if self.is_sliced_step(step) else 1
        addend = bool(task.addend) and step is task.root
        left, right = step.operands
        for flip in (False, True):
            if task.flips.get(self.order[id(step)], flip) != flip:
                continue
            x, y = (right, left) if flip else (left, right)
            shape = Shape.of(x.indices, y.indices, step.indices, extents)
            for cycles, fold in task.folds(shape, addend):
                ways = [
                    self.operand(o, fold.x_lanes if o is x else fold.y_lanes, entries)
                    for o in (left, right)
                ]
                if ways[0] is None or ways[1] is None:
                    continue
                total = cycles * executions + ways[0][0] + ways[1][0]
                key = fold.z_lanes
                if key not in best or total < best[key].total:
                    layouts, below = (ways[0][1], ways[1][1]), (ways[0][2], ways[1][2])
                    best[key] = _Entry(total, cycles, fold, flip, layouts, below)
        return sorted(best.values(), key=lambda e: e.total)


def fold_tree(task: Task) -> Part:
    """Return the cheapest part for a tree, its result in X.

    Raises MappingError where the result's accesses cannot all be free of conflicts.
    """
    folder = _Folder(task)
    entry, layout = folder.run()
    tensors: dict[str, Tensor] = {}
    steps: list[Step] = []
    _collect(folder, task.root, entry, tensors, steps)
    result = task.naming.result
    tensors[result] = Tensor(result, task.root.indices, layout, 0, False)
    return Part(tensors, tuple(steps), result, task.root.text(), task.slicing)


def _collect(
    folder: _Folder, node: Node, entry: _Entry, tensors: dict[str, Tensor], steps: list[Step]
) -> str:
    """Append a step and those below it; return its name."""
    task, names = folder.task, []
    for right, (operand, below, layout) in enumerate(
        zip(node.operands, entry.below, entry.layouts, strict=True)
    ):
        space = int(right != entry.flip)
        if below is None:
            name = f"{ONE}{space}" if operand.tensor == ONE else task.naming.of(operand.tensor)
        else:
            name = _collect(folder, operand, below, tensors, steps)
        sliced = folder.is_sliced_tensor(operand)
        slots = task.slicing.slots(below is None) if sliced else 1
        tensors[name] = Tensor(name, operand.indices, layout, space, below is None, sliced, slots)
        names.append(name)
    number = folder.order[id(node)] + 1
    root = node is task.root
    name = task.naming.result if root else f"{task.naming.steps or task.naming.prefix}t{number}"
    sliced_step = folder.is_sliced_step(node)
    used = dict.fromkeys(i for o in node.operands for i in o.indices)
    extents = folder.sizes(sliced_step)
    x, y = names[::-1] if entry.flip else names
    step = Step(
        name, names[0], names[1], x, y, entry.fold, {i: extents[i] for i in used}, entry.cycles
    )
    steps.append(
        replace(
            step,
            executions=task.slicing.count if sliced_step else 1,
            addend=task.addend if root else "",
        )
    )
    return name
