"""The objectives by name, for a network on a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Final

from einchip import energy
from einchip.arch import Architecture
from einchip.mapper.choose import FIRST_FOLDS, Price, is_constant
from einchip.mapper.cost import latency
from einchip.mapper.lanes import (
    ALL_GROUPS,
    Fold,
    Shape,
    best_cycles,
    candidates,
    steady_cycles,
)
from einchip.mapper.merge import merged_of
from einchip.mapper.node import Node, Ranked, step_macs
from einchip.mapper.objective import Additive, Objective, PeakMemory, StepCost
from einchip.mapper.plan import Part
from einchip.mapper.prices import Prices, counts, part_energy
from einchip.network import Network
from einchip.roofline import StepCost as Bound
from einchip.roofline import Volumes, step_cycles

#: What a mapping may be searched for.
OBJECTIVES: Final = ("cycles", "energy", "edp", "macs", "memory")
#: The energy table where none is named.
TABLE: Final = "horowitz45"


def objective_of(
    name: str, network: Network, arch: Architecture, table: energy.Table | None = None
) -> Objective:
    """Return an objective; `table` prices energy. Raises ValueError for a name there is not."""
    table = table or energy.load(TABLE)
    if name == "cycles":
        return least_cycles(network, arch)
    if name == "macs":
        return Additive("macs", "multiply-adds", *_macs(network))
    if name == "memory":
        return PeakMemory(network.size, Volumes(network))
    if name not in OBJECTIVES:
        raise ValueError(f"objective: found {name!r}, expected one of {', '.join(OBJECTIVES)}")
    picojoules = _Energy(network, arch, Prices.of(arch, table))
    if name == "energy":
        return Additive("energy", "pJ", (picojoules.cost,), (picojoules.bound,))
    cycles, quick = tree_costs(network, arch)
    costs, bounds = (cycles, picojoules.cost), (quick, picojoules.bound)
    return Additive("edp", "pJ x cycles", costs, bounds)


def least_cycles(network: Network, arch: Architecture, drains: bool = True) -> Objective:
    """Return the objective of cycles, `drains` as of `tree_costs`."""
    cycles, quick = tree_costs(network, arch, drains=drains)
    return Additive("cycles", "cycles", (cycles,), (quick,))


def scores(
    node: Node, network: Network, arch: Architecture, table: energy.Table | None = None
) -> Mapping[str, float]:
    """Return what a tree costs by every objective."""
    found = {}
    for name in OBJECTIVES:
        found[name] = cost_of(node, network, objective_of(name, network, arch, table)).cost
    return found


def fold_price(
    name: str,
    node: Node,
    network: Network,
    arch: Architecture,
    table: energy.Table | None = None,
) -> Price | None:
    """Return what folds of a tree's steps are chosen by; None where it is their cycles.

    A product of energy and cycles grows by either times the other of the whole tree.
    """
    if name not in ("energy", "edp"):
        return None
    picojoules = _Energy(network, arch, Prices.of(arch, table or energy.load(TABLE)))
    if name == "energy":
        return picojoules.price
    whole = cost_of(node, network, objective_of("edp", network, arch, table)).costs

    def price(x: Node, y: Node, shape: Shape, cycles: int, fold: Fold) -> float:
        return cycles + picojoules.price(x, y, shape, cycles, fold) * whole[0] / whole[1]

    return price


def realised(
    part: Part,
    node: Node,
    network: Network,
    arch: Architecture,
    name: str,
    table: energy.Table | None = None,
) -> float:
    """Return what a mapped tree costs by an objective, with the folds that it was given."""
    if name == "cycles":
        return part.cycles
    if name in ("energy", "edp"):
        picojoules = part_energy(part, Prices.of(arch, table or energy.load(TABLE)))
        return picojoules * (part.cycles if name == "edp" else 1)
    return cost_of(node, network, objective_of(name, network, arch, table)).cost


def cost_of(node: Node, network: Network, objective: Objective) -> Ranked:
    """Return a tree with its costs by an objective."""
    if node.tensor:
        merged = {m.name: m.elements for m in merged_of(network, node)}
        size = merged.get(node.tensor, prod(network.sizes[i] for i in node.indices))
        one = not node.indices and node.tensor not in network.tensors and not node.parts
        return Ranked(0.0, node, objective.leaf(0 if one else size))
    left, right = (cost_of(o, network, objective) for o in node.operands)
    costs = objective.join(left, right, node.indices)
    return Ranked(objective.value(costs), node, costs)


def tree_costs(
    network: Network,
    arch: Architecture,
    modes: Sequence[str] = (ALL_GROUPS,),
    drains: bool = True,
    data: frozenset[str] | None = None,
) -> tuple[StepCost, Bound]:
    """Return the cycles of a step with its best fold in either orientation, and a lower bound.

    `modes` are the groups of indices that may be on lanes together, one of them in each step.
    Without `drains` other work hides a step's last drain; `data` as of a `choose.Task`. No step
    takes fewer cycles than one of scalars, nor than its roofline and the drain of a row that
    counts.
    """
    roof = step_cycles(Volumes(network), arch)
    cycles, drain = (best_cycles, latency(1, arch)) if drains else (steady_cycles, 0)
    least = cycles(Shape.of((), (), (), {}), arch)

    def cost(a: Node, b: Node, out: tuple[str, ...]) -> float:
        shapes = orientations(a, b, out, network, data)
        return float(min(cycles(s, arch, groups=g, pads=p) for s, p in shapes for g in modes))

    def bound(a: int, b: int, c: int) -> float:
        return max(least, roof(a, b, c) + drain)

    return cost, bound


def orientations(
    a: Node, b: Node, out: tuple[str, ...], network: Network, data: frozenset[str] | None
) -> list[tuple[Shape, bool]]:
    """Return a step's shapes with either operand in X, and whether Y may be padded.

    `data` as of a `choose.Task`.
    """
    last = len({*a.originals(), *b.originals()}) == len(network.tensors)
    return [
        (
            Shape.of(x.indices, y.indices, out, network.sizes),
            not last and is_constant(y, data),
        )
        for x, y in ((a, b), (b, a))
    ]


def _macs(network: Network) -> tuple[tuple[StepCost], tuple[Bound]]:
    volume = Volumes(network).of

    def cost(a: Node, b: Node, _: tuple[str, ...]) -> float:
        return float(step_macs(a, b, network))

    def bound(a: int, b: int, _: int) -> float:
        return float(volume(a | b))

    return (cost,), (bound,)


class _Energy:
    """Energy of a step with the fold and orientation that take least, of the folds tried first.

    A result's write is charged where it is read: only then is it known in which scratchpad it is.
    What any scratchpad charges is in the step that computes it.
    """

    def __init__(self, network: Network, arch: Architecture, prices: Prices) -> None:
        self.network, self.arch, self.prices = network, arch, prices
        self.volume = Volumes(network).of

    def cost(self, a: Node, b: Node, out: tuple[str, ...]) -> float:
        """Return pJ of contracting two nodes."""
        return min(self._way(x, y, out) for x, y in ((a, b), (b, a)))

    def _way(self, x: Node, y: Node, out: tuple[str, ...]) -> float:
        shape = Shape.of(x.indices, y.indices, out, self.network.sizes)
        folds = candidates(shape, self.arch, keep=FIRST_FOLDS).candidates
        return min(self.price(x, y, shape, c.cycles, c.fold) for c in folds)

    def price(self, x: Node, y: Node, shape: Shape, cycles: int, fold: Fold) -> float:
        """Return pJ of a step with a fold, X and Y given."""
        found, least = counts(shape, fold), min(self.prices.writes)
        written = sum(
            self.network.size(o.indices) * (self.prices.writes[space] - least)
            for space, o in enumerate((x, y))
            if not o.tensor
        )
        return found.pj(self.prices, cycles) + found.drained * least + written

    def bound(self, a: int, b: int, c: int) -> float:
        """Return pJ that no step of these sets of indices is below."""
        p, volume = self.prices, self.volume
        return (
            volume(a | b) * p.macs
            + (volume(a) + volume(b)) * min(p.reads)
            + volume(c) * (p.drained + min(p.writes))
        )
