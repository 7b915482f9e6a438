"""What the search decides: tensors with layouts and scratchpads, steps with folds, slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

from einchip.mapper.lanes import Fold
from einchip.mapper.layout import Layout


@dataclass(frozen=True)
class Slicing:
    """Of the steps that follow the streamed tensor, some run slice by slice over one index.

    While slice c is in one step, slice c + 1 is in the step before and slice c + 2 is loaded, so
    slices of the intermediates, and of the streamed tensor if it has the index, are all that must
    fit. `n_steps` steps behind the first `first` ones are sliced; what these read is whole, but for
    the streamed tensor, and so is the result of the last one.
    """

    index: str = ""
    count: int = 1
    n_steps: int = 0
    first: int = 0

    def slots(self, streamed: bool) -> int:
        """Return how many slices are in a scratchpad at a time.

        Of the streamed tensor as many as divide the slices, so that in a loop every slice always
        finds the same place.
        """
        return next(n for n in range(2, self.count + 1) if not streamed or self.count % n == 0)


@dataclass(frozen=True)
class Tensor:
    """A tensor in a scratchpad. `sliced`: only slices of it exist, in `slots` buffers."""

    name: str
    indices: tuple[str, ...]
    layout: Layout
    space: int
    is_input: bool
    sliced: bool = False
    slots: int = 1

    def buffer(self, piece: int) -> str:
        """Return the name of the buffer that holds a slice (or the whole tensor)."""
        return f"{self.name}.{piece % self.slots}" if self.sliced else self.name


@dataclass(frozen=True)
class Step:
    """One pairwise contraction: result[z] = sum of x * y.

    `left` and `right` are the operands in the order of the tree, `x` and `y` the same two by
    scratchpad. `extents` are the index sizes of one execution.
    """

    name: str
    left: str
    right: str
    x: str
    y: str
    fold: Fold
    extents: Mapping[str, int]
    cycles: int
    executions: int = 1
    addend: str = ""

    @property
    def macs(self) -> int:
        """Multiply-adds of all executions."""
        return self.executions * prod(self.extents.values())


@dataclass(frozen=True)
class Searched:
    """What the search for folds and layouts looked at.

    Attributes
    ----------
    placements : ways to choose which operand of each step is in X.
    folds : folds of all steps, in either orientation.
    patterns : ways of writing results, each with fused indices of its own.
    layouts : pairs of a write and a read for which a layout was looked for.
    complete : whether no fold that was left out for its cycles, or for their number, could have
        made the tree quicker. (Of the ways to choose indices for the same lanes at most
        `lanes.ALTERNATIVES` are folds.)
    """

    placements: int = 1
    folds: int = 0
    patterns: int = 0
    layouts: int = 0
    complete: bool = False


@dataclass(frozen=True)
class Part:
    """A mapped network: its tensors, and its steps with operands before results.

    `copies` are tensors that the vector unit copies from others, in another layout.
    """

    tensors: Mapping[str, Tensor]
    steps: tuple[Step, ...]
    result: str
    tree: str
    slicing: Slicing = field(default_factory=Slicing)
    searched: Searched = field(default_factory=Searched)
    copies: Mapping[str, str] = field(default_factory=dict)

    def with_result_in(self, space: int) -> Part:
        """Return the same part with its result in a scratchpad."""
        result = replace(self.tensors[self.result], space=space)
        return replace(self, tensors={**self.tensors, self.result: result})

    @property
    def cycles(self) -> int:
        """Estimated cycles of all steps."""
        return sum(s.cycles * s.executions for s in self.steps)

    @property
    def padding(self) -> int:
        """Elements of padding in all layouts."""
        return sum(t.layout.extent - t.layout.elements for t in self.tensors.values())
