"""The least that a way to map a network takes of the scratchpads, known before it is folded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import prod

from einchip.arch import Architecture
from einchip.mapper.node import ONE, Node
from einchip.mapper.ops import whole_vectors
from einchip.mapper.sliced import Sliced


class Room:
    """What the tensors of a tree take at least, each in the scratchpad that it must be in.

    `flips` says for some steps, numbered as `Node.steps` has them, whether the right operand is in
    X; tensors of other steps may be anywhere. `resident` are the inputs that are never dropped.
    """

    def __init__(
        self,
        sliced: Sliced,
        flips: Mapping[int, bool],
        sizes: Mapping[str, int],
        resident: Collection[str],
        arch: Architecture,
    ) -> None:
        self._sliced, self._sizes, self._arch = sliced, sizes, arch
        self._steps = list(sliced.root.steps())
        self._consumers = {id(o): step for step in self._steps for o in step.operands}
        self._spaces: dict[int, int] = {}
        for k, flip in flips.items():
            for right, operand in enumerate(self._steps[k].operands):
                self._spaces[id(operand)] = int(right != flip)
        operands = [o for step in self._steps for o in step.operands if o.tensor != ONE]
        self._inputs = [o for o in operands if o.tensor]
        self._kept = [o for o in operands if sliced.has_tensor(o) or o.tensor in resident]

    @property
    def excess(self) -> int:
        """By how many elements the scratchpads are too small at least, whatever the layouts are."""
        return max(self._first(), *(self._missing(s, self._behind(s)) for s in self._steps))

    def _first(self) -> int:
        """Return what is missing in the first step, whichever it is; all inputs are loaded then."""
        able = (s for s in self._steps if all(o.tensor for o in s.operands))
        return min(self._missing(s, self._inputs) for s in able)

    def _behind(self, step: Node) -> Iterator[Node]:
        """Yield the inputs of the steps behind one, which are loaded before the first step."""
        while behind := self._consumers.get(id(step)):
            step = behind
            yield from (o for o in step.operands if o.tensor and o.tensor != ONE)

    def _missing(self, step: Node, others: Iterable[Node]) -> int:
        """Return by how many elements the scratchpads are too small in a step, with other inputs.

        Its operands are in different ones, and what is never dropped is there, too.
        """
        one, other = (self._elements(o) for o in step.operands)
        pair = {id(o) for o in step.operands}
        live = {id(n): n for n in (*self._kept, step, *others) if id(n) not in pair}
        sizes = {key: self._elements(node) for key, node in live.items()}
        total = one + other + sum(sizes.values())
        space = self._spaces.get(id(step.left))
        in_x = {(one, other)[space]} if space is not None else {one, other}
        for key, elements in sizes.items():
            space = self._spaces.get(key)
            ways = (0, elements) if space is None else (elements * (1 - space),)
            in_x = {x + way for x in in_x for way in ways}
        room = [self._arch.capacity(space) for space in (0, 1)]
        return min(max(0, x - room[0]) + max(0, total - x - room[1]) for x in in_x)

    def _elements(self, node: Node) -> int:
        """Return the elements of a tensor, or of as many slices of it as are there at a time."""
        if node.tensor == ONE:
            return 0
        slicing, elements = self._sliced.slicing, prod(self._sizes[i] for i in node.indices)
        if not self._sliced.has_tensor(node):
            return whole_vectors(elements, self._arch)
        n_slots = min(slicing.slots(bool(node.tensor)), slicing.count)
        return n_slots * whole_vectors(elements // slicing.count, self._arch)
