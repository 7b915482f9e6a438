"""The three networks of an LSTM layer, folded so that they share the layouts of gates and h."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from einchip.arch import Architecture
from einchip.mapper import tree
from einchip.mapper.cell import Units, lane_choices
from einchip.mapper.choose import Naming, Task, fold_tree
from einchip.mapper.lanes import Factor
from einchip.mapper.network import TREES, slicings, tree_costs
from einchip.mapper.plan import Part, Slicing, Tensor
from einchip.mapper.units import refine_layer
from einchip.network import Network

#: Slicings of x that are tried, those with the fewest slices first.
SLICES_TRIED = 24
#: Steps of the input network up to which all ways to swap X and Y are tried.
MAX_FLIPS = 4


@dataclass(frozen=True)
class LstmProblem:
    """One LSTM layer, and a linear head if `classes` is not 0.

    `inputs` contracts tensor `x` with the input weights, `hidden` contracts `h` with the hidden
    weights. Both outputs are the gates: their indices in order multiply to 4 * hidden_size, gates
    i, f, g, o slowest in the first one; those of h multiply to hidden_size.
    """

    inputs: Network
    hidden: Network
    hidden_size: int
    x: str = "x"
    h: str = "h"
    classes: int = 0


@dataclass(frozen=True)
class Parts:
    """The networks of a layer, mapped: input, hidden, head; and the vector unit's lanes.

    `spaces` says where the results, the biases and the cell states are, which may be anywhere.
    """

    inputs: Part
    hidden: Part
    head: Part | None
    units: Units
    lanes: tuple[Factor, ...]
    spaces: Mapping[str, int] = field(default_factory=dict)

    @property
    def x(self) -> Tensor:
        """The input of one time step."""
        return self.inputs.tensors["x"]

    @property
    def h(self) -> Tensor:
        """The hidden state."""
        return self.hidden.tensors["h"]

    @property
    def gates(self) -> Tensor:
        """The pre-activations of the gates."""
        return self.hidden.tensors["gates"]

    @property
    def all(self) -> list[Part]:
        """All networks that there are."""
        return [self.inputs, self.hidden, *([self.head] if self.head else [])]

    @cached_property
    def biases(self) -> dict[str, Tensor]:
        """The tensors that are added, each with the layout of what it is added to."""
        found = {"bias": self.gates}
        if self.head:
            found["head.bias"] = self.head.tensors["logits"]
        return {
            name: replace(like, name=name, is_input=True, space=self.spaces.get(name, 0))
            for name, like in found.items()
        }

    def in_spaces(self, spaces: Mapping[str, int]) -> Parts:
        """Return the same with the results and biases in these scratchpads."""
        moved = [p.with_result_in(spaces[p.result]) for p in self.all]
        head = moved[2] if self.head else None
        return Parts(moved[0], moved[1], head, self.units, self.lanes, spaces)


@dataclass(frozen=True)
class Attempt:
    """What is varied until everything fits: slices of x, the scratchpad of h, orientations."""

    slicing: Slicing = field(default_factory=Slicing)
    h_space: int = 0
    flips: Mapping[int, bool] = field(default_factory=dict)


class LayerSearch:
    """The search for one layer on one machine."""

    def __init__(self, problem: LstmProblem, arch: Architecture) -> None:
        self.problem, self.arch = problem, arch
        self.inputs, self.hidden, self.units = refine_layer(
            problem.inputs, problem.hidden, problem.h, problem.hidden_size
        )
        trees = [
            tree.search(n, *tree_costs(n, arch), keep=TREES) for n in (self.inputs, self.hidden)
        ]
        self.input_tree, self.hidden_tree = (t[0].node for t in trees)
        self.lanes = lane_choices(self.units, arch)[0]

    def attempts(self) -> Iterator[Attempt]:
        """Yield what to try, the quickest first."""
        found = slicings(self.inputs, self.input_tree, self.problem.x)
        ways = [Slicing(), *itertools.islice(found, SLICES_TRIED)]
        for slicing, space in itertools.product(ways, (0, 1)):
            yield Attempt(slicing, space)
        n_steps = sum(1 for _ in self.input_tree.steps())
        if n_steps <= MAX_FLIPS:
            flips = itertools.product((False, True), repeat=n_steps)
            for slicing, space, way in itertools.product(ways, (0, 1), flips):
                yield Attempt(slicing, space, dict(enumerate(way)))

    def parts(self, a: Attempt) -> Parts:
        """Fold all networks."""
        inputs, head = self._input(a), self._head(a)
        hidden = self._hidden(a, inputs, head)
        inputs = _with_layout(inputs, "gates_input", hidden.tensors["gates"])
        head = _with_layout(head, "h", hidden.tensors["h"]) if head else None
        return Parts(inputs, hidden, head, self.units, self.lanes)

    def _input(self, a: Attempt) -> Part:
        x = self.problem.x
        task = Task(
            self.input_tree, self.inputs.sizes, self.arch,
            Naming("gates_input", "input.", {x: "x"}), a.slicing, x, a.flips,
            {"": (self.lanes,)}, "bias",
        )  # fmt: skip
        return fold_tree(task)

    def _hidden(self, a: Attempt, inputs: Part, head: Part | None) -> Part:
        h = self.problem.h
        reads = [self.units.in_hidden(self.lanes)] + ([_reads(head, "h")] if head else [])
        writes = inputs.steps[-1].fold.z_lanes
        task = Task(
            self.hidden_tree, self.hidden.sizes, self.arch, Naming("gates", "hidden.", {h: "h"}),
            flips=_flip_of(self.hidden_tree, h, a.h_space),
            accesses={"": (self.lanes, writes), h: tuple(reads)}, addend="gates_input",
        )  # fmt: skip
        return fold_tree(task)

    def _head(self, a: Attempt) -> Part | None:
        """Return the linear head, h in the scratchpad that the attempt says."""
        if not self.problem.classes:
            return None
        indices = self.units.hidden
        weight = tree.Node(("@class", *indices), "weight")
        root = tree.Node(("@class",), "", tree.Node(indices, "h"), weight)
        sizes = {**self.units.all_sizes, "@class": self.problem.classes}
        task = Task(
            root, sizes, self.arch, Naming("logits", "head.", {"h": "h"}),
            flips={0: bool(a.h_space)}, addend="head.bias",
            accesses={"h": (self.units.in_hidden(self.lanes),)},
        )  # fmt: skip
        return fold_tree(task)


def _flip_of(root: tree.Node, leaf: str, space: int) -> dict[int, bool]:
    """Return the flip that puts a leaf into a scratchpad."""
    for k, step in enumerate(root.steps()):
        for right, operand in enumerate(step.operands):
            if operand.tensor == leaf:
                return {k: bool(right) == (space == 0)}
    return {}


def _reads(part: Part, tensor: str) -> tuple[Factor, ...]:
    """Return the lanes with which a part's only reader of a tensor reads it."""
    step = next(s for s in part.steps if tensor in (s.x, s.y))
    return step.fold.x_lanes if step.x == tensor else step.fold.y_lanes


def _with_tensor(part: Part, tensor: Tensor) -> Part:
    """Return a part in which a tensor is replaced."""
    return replace(part, tensors={**part.tensors, tensor.name: tensor})


def _with_layout(part: Part, name: str, like: Tensor) -> Part:
    """Return a part in which a tensor has the layout of another one."""
    return _with_tensor(part, replace(part.tensors[name], layout=like.layout))
