"""Which tensors and steps of a tree exist in slices."""

from __future__ import annotations

from einchip.mapper.plan import Slicing
from einchip.mapper.tree import Node


class Sliced:
    """A tree of which the steps that follow a leaf are sliced, as a `Slicing` says."""

    def __init__(self, root: Node, slicing: Slicing, leaf: str) -> None:
        self.root, self.slicing = root, slicing
        #: The sliced steps from below, in front of them the operand of the first.
        self.spine = self._spine(root, leaf) if slicing.count > 1 else []

    def _spine(self, node: Node, leaf: str) -> list[Node]:
        found = [node]
        while below := [o for o in found[-1].operands if leaf in o.leaves()]:
            found.append(below[0])
        first, n_steps = self.slicing.first, self.slicing.n_steps
        return found[::-1][first : first + n_steps + 1]

    def has_step(self, node: Node) -> bool:
        """Tell whether a step runs slice by slice."""
        return any(node is s for s in self.spine[1:])

    def has_tensor(self, node: Node) -> bool:
        """Tell whether only slices of a tensor exist; the last sliced step's result is whole.

        So is the first one's operand, unless it is the streamed tensor and has the index.
        """
        if self.spine and node is self.spine[0]:
            return bool(node.tensor) and self.slicing.index in node.indices
        return any(node is s for s in self.spine[1:-1])
