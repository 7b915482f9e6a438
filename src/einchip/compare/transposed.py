"""Folds of a tree on a machine without free layouts: fixed orders in memory, copies in between.

What a machine that multiplies matrices has:

* A tensor lies without padding in a fixed order of its indices. The result of a step lies as its
  two operands give it: shared indices, then what is left of the rows' operand in its order, then
  what is left of the columns' operand in its order, the lanes that are written at once last.
* An access is a *run* of neighbouring elements: the lanes are the fastest indices, each but the
  slowest of them taken whole.
* Where a step's lanes are no run in its operand, the operand is copied first (COPY on the vector
  unit), its lanes to the end, its other indices in their order.

Granted: weights and the network's input lie as the first step that reads them wants them, in any
layout; the network's result stays as the last step writes it; copies may pad the pitches of what
they write, so that they move as many elements per cycle as banks allow; which operand is on the
rows, and which fold each step has, are chosen for the least cycles with all copies counted: by
dynamic programming that keeps the `KEPT_ENTRIES` best layouts of each result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.mapper.choose import Task
from einchip.mapper.errors import MappingError
from einchip.mapper.lanes import Candidate, Factor, Fold, Shape, group_options
from einchip.mapper.layout import Layout, conflict_free, pitched, row_major, solve
from einchip.mapper.network_place import axes
from einchip.mapper.plan import Part, Step, Tensor
from einchip.mapper.schedule import HANDOVER
from einchip.mapper.tree import ONE, Node
from einchip.mapper.vector import copy_sweeps, cycles
from einchip.program import Copy

Lanes = tuple[Factor, ...]
Order = tuple[str, ...]
#: Folds of a step that are tried, of which a quarter at most fuse the same (no) indices, however
#: slow: few of them are runs. Ways to compute a step, and to have an operand, that are kept.
KEPT_FOLDS, KEPT_ENTRIES, KEPT_WAYS = 192, 12, 4
#: Cycles by which folds may exceed the least.
ANY_SLACK = 1 << 40
#: What a copy's name ends in.
COPIED = ".copy"


class _Entry(NamedTuple):
    """One way to compute a step: cycles up to here, and how its result lies."""

    total: int
    chosen: Candidate
    flip: bool
    layout: Layout
    ways: tuple[_Way, ...]  # to have the left and the right operand


class _Way(NamedTuple):
    """One way to have an operand: `copied` where it was copied into `layout`."""

    total: int
    layout: Layout
    order: Order  # of the operand's indices, the fastest last
    below: _Entry | None = None
    copied: bool = False


def order_of(layout: Layout) -> Order:
    """Return the indices by stride, the fastest last."""
    return tuple(sorted(layout.strides, key=lambda i: -layout.strides[i]))


def is_run(layout: Layout, lanes: Iterable[Factor]) -> bool:
    """Tell whether lanes are neighbouring elements."""
    held = [(f.step * layout.stride(f.index), f.count) for f in lanes if f.index in layout.strides]
    expected = 1
    for stride, count in sorted(held):
        if stride != expected:
            return False
        expected = stride * count
    return True


def lanes_last(indices: Iterable[str], lanes: Lanes, sizes: Mapping[str, int]) -> Order:
    """Return indices in their order, but those on lanes last, the whole ones fastest."""
    counts = {f.index: f.count for f in lanes}
    names = [i for i in indices if sizes[i] > 1]
    laned = sorted((i for i in names if i in counts), key=lambda i: counts[i] == sizes[i])
    return (*(i for i in names if i not in counts), *laned)


def copy_cycles(source: Layout, target: Layout, arch: Architecture) -> int:
    """Return the cycles of a COPY from its launch to its last write, waiting included."""
    names = tuple(source.sizes)
    found = copy_sweeps(axes(source, names), axes(target, names), arch)
    return cycles(Copy, sum(s.vectors for s in found), arch) + 2 * HANDOVER


def copy_layout(source: Layout, lanes: Lanes, arch: Architecture) -> Layout | None:
    """Return how a tensor is copied so that lanes are a run: the quickest copy found, or None."""
    order = lanes_last(order_of(source), lanes, source.sizes)
    sizes = tuple(source.sizes[i] for i in order)
    best: tuple[int, Layout] | None = None
    for option in sorted(group_options(sizes, arch.lanes), key=lambda o: (o.steps, o.tails)):
        moved = tuple(Factor(order[p], c) for p, c in option.factors)
        if best and option.steps >= best[0]:
            break
        if not conflict_free(source, moved, arch.lanes):
            continue
        layout = pitched(order, source.sizes, [lanes, moved], arch.lanes)
        if layout is not None and is_run(layout, lanes):
            best = (option.steps, layout)
    return best[1] if best else None


class _Folder:
    """The dynamic programme over one tree."""

    def __init__(self, task: Task, steady: bool) -> None:
        self.task, self.steady = task, steady
        self.steps = list(task.root.steps())
        self.had: dict[tuple[int, Lanes], list[_Way]] = {}
        self.copies: dict[tuple[Order, tuple[int, ...], Lanes], tuple[int, Layout] | None] = {}

    def run(self) -> _Entry:
        """Return the cheapest entry of the last step."""
        entries: dict[int, list[_Entry]] = {}
        for step in self.steps:
            entries[id(step)] = self.entries(step, entries)
        return entries[id(self.task.root)][0]

    def entries(self, step: Node, known: Mapping[int, list[_Entry]]) -> list[_Entry]:
        """Return the best entry for each layout of the result, cheapest first."""
        task, best, paid = self.task, dict[Order, _Entry](), self.paid(step)
        number = self.steps.index(step)
        for flip in (False, True):
            if task.flips.get(number, flip) != flip:
                continue
            x, y = step.pair[::-1] if flip else step.pair
            shape = Shape.of(x.indices, y.indices, step.indices, task.sizes)
            for candidate in task.folds(shape, False, ANY_SLACK, KEPT_FOLDS).candidates:
                fold = candidate.fold
                pairs = itertools.product(
                    self.ways(x, fold.x_lanes, known), self.ways(y, fold.y_lanes, known)
                )
                for in_x, in_y in pairs:
                    layout = self.result(step, fold, in_x.order, in_y.order)
                    total = paid * candidate.cycles + in_x.total + in_y.total
                    order = order_of(layout)
                    if order in best and best[order].total <= total:
                        continue
                    if is_run(layout, fold.z_lanes):
                        ways = (in_y, in_x) if flip else (in_x, in_y)
                        best[order] = _Entry(total, candidate, flip, layout, ways)
        if not best:
            raise MappingError(f"{step.text()}: no fold reads and writes runs; allow other lanes")
        return sorted(best.values(), key=lambda e: e.total)[:KEPT_ENTRIES]

    def paid(self, node: Node) -> bool:
        """Tell whether the cycles of a step, or of a copy of its result, count."""
        return not self.steady or self.task.streamed in node.leaves()

    def result(self, step: Node, fold: Fold, x: Order, y: Order) -> Layout:
        """Return how a step's result lies."""
        kept, sizes = set(step.indices), self.task.sizes
        rows = lanes_last([i for i in x if i in kept and i not in y], fold.h, sizes)
        shared = [i for i in x if i in kept and i in y]
        cols = lanes_last([i for i in y if i in kept and i not in x], fold.n, sizes)
        lanes = {f.index for f in fold.b + fold.h + fold.n}
        order = (
            *(i for i in (*shared, *rows, *cols) if i not in lanes),
            *(i for i in (*shared, *rows, *cols) if i in lanes),
        )
        return row_major(order, self.task.sizes)

    def ways(self, node: Node, lanes: Lanes, known: Mapping[int, list[_Entry]]) -> list[_Way]:
        """Return the cheapest ways to have an operand, one for each order in memory."""
        key = (id(node), lanes)
        if key not in self.had:
            self.had[key] = self._ways(node, lanes, known)
        return self.had[key]

    def _ways(self, node: Node, lanes: Lanes, known: Mapping[int, list[_Entry]]) -> list[_Way]:
        sizes = self.task.sizes
        if node.tensor:
            layout = solve(node.indices, sizes, [lanes], self.task.arch.lanes)
            order = lanes_last(node.indices, lanes, sizes)
            return [] if layout is None else [_Way(0, layout, order)]
        best: dict[Order, _Way] = {}
        for entry in known[id(node)]:
            way = self.way(entry, lanes, self.paid(node))
            if way and (way.order not in best or way.total < best[way.order].total):
                best[way.order] = way
        return sorted(best.values(), key=lambda w: w.total)[:KEPT_WAYS]

    def way(self, entry: _Entry, lanes: Lanes, paid: bool) -> _Way | None:
        """Return an intermediate as it is, or copied, for nothing unless it is paid."""
        if is_run(entry.layout, lanes):
            return _Way(entry.total, entry.layout, order_of(entry.layout), entry)
        source = entry.layout
        key = (order_of(source), tuple(source.sizes[i] for i in order_of(source)), lanes)
        if key not in self.copies:
            layout = copy_layout(source, lanes, self.task.arch)
            cost = copy_cycles(source, layout, self.task.arch) if layout else 0
            self.copies[key] = (cost, layout) if layout else None
        found = self.copies[key]
        if found is None:
            return None
        return _Way(entry.total + paid * found[0], found[1], order_of(found[1]), entry, True)


def fold_with_copies(task: Task, steady: bool = False) -> tuple[int, Part]:
    """Return the estimated cycles of a tree with fixed layouts, and the part, its result in X.

    `steady`: steps on weights alone, and copies of what they make, cost nothing.
    Raises MappingError where no fold of a step can be read and written in runs.
    """
    entry = _Folder(task, steady).run()
    tensors: dict[str, Tensor] = {}
    steps: list[Step] = []
    copies: dict[str, str] = {}
    _collect(task, task.root, entry, (tensors, steps, copies))
    result = task.naming.result
    tensors[result] = Tensor(result, task.root.indices, entry.layout, 0, False)
    part = Part(tensors, tuple(steps), result, task.root.text(), copies=copies)
    return entry.total, part


Collected = tuple[dict[str, Tensor], list[Step], dict[str, str]]


def _collect(task: Task, node: Node, entry: _Entry, found: Collected) -> str:
    """Append a step, those below it and its copies; return its name."""
    steps = found[1]
    names = [
        _operand(task, operand, way, int(right != entry.flip), found)
        for right, (operand, way) in enumerate(zip(node.pair, entry.ways, strict=True))
    ]
    root = node is task.root
    name = task.naming.result if root else f"{task.naming.prefix}t{len(steps) + 1}"
    x, y = names[::-1] if entry.flip else names
    used = dict.fromkeys(i for o in node.pair for i in o.indices)
    extents = {i: task.sizes[i] for i in used}
    cycles_, fold, hidden = entry.chosen
    steps.append(Step(name, names[0], names[1], x, y, fold, extents, cycles_ + hidden))
    return name


def _operand(task: Task, node: Node, way: _Way, space: int, found: Collected) -> str:
    """Append an operand, and what it is copied from; return the name of what is read."""
    tensors, _, copies = found
    if way.below is None:
        name = f"{ONE}{space}" if node.tensor == ONE else task.naming.of(node.tensor)
        tensors[name] = Tensor(name, node.indices, way.layout, space, True)
        return name
    name = _collect(task, node, way.below, found)
    tensors[name] = Tensor(name, node.indices, way.below.layout, space, False)
    if way.copied:
        copies[name + COPIED] = name
        name += COPIED
        tensors[name] = Tensor(name, node.indices, way.layout, space, False)
    return name
