"""What a tree is searched for: each objective gives the costs of leaves and of steps.

A tree's costs are one figure, or several where trees must be weighed against one another: then all
trees of a subset are kept that no other one beats in every figure, which makes the search exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import prod

from einchip.mapper.node import Costs, Node, Ranked
from einchip.roofline import StepCost as Bound
from einchip.roofline import Volumes

#: Cost of contracting two nodes into a third.
StepCost = Callable[[Node, Node, tuple[str, ...]], float]


class Objective(ABC):
    """Costs of trees.

    Attributes
    ----------
    name, unit : what is minimised.
    bound : a lower bound of one step of the figure that a first, quick tree is searched for.
    """

    name: str
    unit: str
    bound: Bound

    @abstractmethod
    def leaf(self, elements: int) -> Costs:
        """Return the costs of a tensor that is there."""

    @abstractmethod
    def join(self, left: Ranked, right: Ranked, out: tuple[str, ...]) -> Costs:
        """Return the costs of a tree of two trees."""

    @abstractmethod
    def least(self, left: Costs, right: Costs, a: int, b: int, c: int) -> Costs:
        """Return costs that no tree of two trees is below; masks of A, B and C (`Volumes`)."""

    def value(self, costs: Costs) -> float:
        """Return the one figure that is minimised; no part of a tree costs more than the tree."""
        return prod(costs)


class Additive(Objective):
    """Costs that add up over the steps; of several the product is minimised."""

    def __init__(
        self, name: str, unit: str, costs: tuple[StepCost, ...], bounds: tuple[Bound, ...]
    ) -> None:
        self.name, self.unit, self.bound = name, unit, bounds[0]
        self._costs, self._bounds = costs, bounds
        self._known: dict[tuple[object, ...], Costs] = {}

    def leaf(self, elements: int) -> Costs:
        return (0.0,) * len(self._costs)

    def step(self, left: Node, right: Node, out: tuple[str, ...]) -> Costs:
        """Return the costs of one step: they depend on indices, and on what is a result."""
        key = (left.indices, right.indices, out, not left.tensor, not right.tensor)
        if key not in self._known:
            self._known[key] = tuple(cost(left, right, out) for cost in self._costs)
        return self._known[key]

    def join(self, left: Ranked, right: Ranked, out: tuple[str, ...]) -> Costs:
        step = self.step(left.node, right.node, out)
        return tuple(x + y + z for x, y, z in zip(left.costs, right.costs, step, strict=True))

    def least(self, left: Costs, right: Costs, a: int, b: int, c: int) -> Costs:
        return tuple(
            x + y + bound(a, b, c) for x, y, bound in zip(left, right, self._bounds, strict=True)
        )


class PeakMemory(Objective):
    """The most elements that live at a time: all tensors of the network, and intermediates.

    Inputs and weights (merged ones in place of their parts) lie in the scratchpads all the time.
    An intermediate lives from the step that computes it to the one that reads it; of two operands
    the one is computed first with which fewer elements live. The costs are the elements of the
    leaves, the peak of the intermediates, and the elements of the result.
    """

    name, unit = "memory", "elements"

    def __init__(self, sizes: Callable[[tuple[str, ...]], int], volumes: Volumes) -> None:
        self._sizes, self._volume = sizes, volumes.of

        def traffic(a: int, b: int, c: int) -> float:
            return float(self._volume(a) + self._volume(b) + self._volume(c))

        self.bound = traffic

    def leaf(self, elements: int) -> Costs:
        return (float(elements), 0.0, 0.0)

    def join(self, left: Ranked, right: Ranked, out: tuple[str, ...]) -> Costs:
        return self._joined(left.costs, right.costs, float(self._sizes(out)))

    def least(self, left: Costs, right: Costs, a: int, b: int, c: int) -> Costs:
        return self._joined(left, right, float(self._volume(c)))

    def value(self, costs: Costs) -> float:
        return costs[0] + costs[1]

    @staticmethod
    def _joined(left: Costs, right: Costs, out: float) -> Costs:
        (m, p, h), (n, q, g) = left, right
        inside = min(max(p, h + q), max(q, g + p))
        return (m + n, max(inside, h + g + out), out)
