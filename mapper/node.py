"""Contraction trees as data: nodes, their steps, and what a tree costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from einchip.network import Network, Subsets

#: The scalar 1, by which a step with a single operand multiplies.
ONE = "@one"


@dataclass(frozen=True)
class Node:
    """A tensor (a leaf), or the contraction of two nodes.

    `parts` are the tensors of the network that a leaf was merged from, before anything runs.
    """

    indices: tuple[str, ...]
    tensor: str = ""
    left: Node | None = None
    right: Node | None = None
    parts: tuple[str, ...] = ()

    @property
    def operands(self) -> tuple[Node, ...]:
        """The two operands of a contraction, none of a leaf."""
        return (self.left, self.right) if self.left and self.right else ()

    @property
    def pair(self) -> tuple[Node, Node]:
        """The two operands of a contraction. Raises ValueError for a leaf."""
        if self.left is None or self.right is None:
            raise ValueError(f"{self.tensor} is no contraction")
        return self.left, self.right

    def leaf_nodes(self) -> Iterator[Node]:
        """Yield the leaves below, left to right."""
        if self.tensor:
            yield self
        for node in self.operands:
            yield from node.leaf_nodes()

    def leaves(self) -> Iterator[str]:
        """Yield the names of the tensors below, left to right."""
        return (leaf.tensor for leaf in self.leaf_nodes())

    def originals(self) -> Iterator[str]:
        """Yield the names of the network's tensors below, those of merged ones included."""
        for leaf in self.leaf_nodes():
            yield from leaf.parts or (leaf.tensor,)

    def steps(self) -> Iterator[Node]:
        """Yield the contractions below, operands before results."""
        for node in self.operands:
            yield from node.steps()
        if not self.tensor:
            yield self

    def text(self) -> str:
        """Return the tree as nested pairs."""
        return self.tensor or "(" + " ".join(node.text() for node in self.operands) + ")"


#: What a tree costs, one figure or several that are weighed against one another.
Costs = tuple[float, ...]


class Ranked(NamedTuple):
    """A tree: its cost by the objective, the figures it is made of, elements of its weights."""

    cost: float
    node: Node
    costs: Costs = ()
    stored: int = 0


def in_order(network: Network, first: str) -> Node:
    """Return the tree that a reader would write: `first`, then the other tensors in their order."""
    subsets = Subsets(network)
    order = [first, *(n for n in subsets.names if n != first)]
    done = 1 << subsets.names.index(order[0])
    node = Node(network.tensors[order[0]], order[0])
    for name in order[1:]:
        done |= 1 << subsets.names.index(name)
        node = Node(subsets.open(done), "", node, Node(network.tensors[name], name))
    return node


def step_macs(left: Node, right: Node, network: Network) -> int:
    """Return the multiply-adds of one contraction."""
    return network.size(dict.fromkeys(left.indices + right.indices))


def macs(node: Node, network: Network) -> int:
    """Return the multiply-adds of a whole tree."""
    return sum(step_macs(*step.pair, network) for step in node.steps())
