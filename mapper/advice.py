"""Whether a compressed matrix is worth its compression on a machine, for so many inputs at once.

Four ways to apply it are compared: contract the input with its tensors, merged or not; multiply by
the dense matrix, kept on the chip or brought in from external memory; rebuild the dense matrix from
its tensors in every execution, then multiply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from einchip import energy
from einchip.arch import Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.large import BUDGET, best_trees
from einchip.mapper.merge import Merging
from einchip.mapper.node import Ranked, macs
from einchip.mapper.objectives import TABLE, cost_of, objective_of
from einchip.mapper.problem import BATCH
from einchip.network import Network
from einchip.registers import COUNTERS

#: The dense matrix.
DENSE: Final = "@dense"
#: The ways, in the order in which ties are decided.
COMPRESSED, MERGED, KEPT, STREAMED, REBUILT = (
    "compressed", "merged", "dense, kept", "dense, streamed", "rebuilt each execution",
)  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One way to apply the matrix.

    Attributes
    ----------
    cost : by the objective: the steps, and in energy also the load of weights that do not stay.
    load_cycles : of the memory port, for weights that do not stay; they may overlap the steps.
    weights : elements of weights on the chip.
    fits : whether all weights (and a rebuilt matrix) have room, each in one scratchpad; inputs and
        intermediates may come in slices.
    """

    name: str
    cost: float
    cycles: float
    load_cycles: float
    macs: int
    weights: int
    fits: bool
    tree: str

    def to_json(self) -> dict[str, Any]:
        """Return the way as plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Advice:
    """The ways to apply one matrix, and the one to take."""

    batch: int
    objective: str
    unit: str
    ways: tuple[Way, ...]

    @property
    def best(self) -> Way:
        """The cheapest way that fits; of all, if none does."""
        usable = [w for w in self.ways if w.fits] or list(self.ways)
        return min(usable, key=self.cost)

    def cost(self, way: Way) -> float:
        """Return what a way costs; loads may overlap the steps, and cost cycles only."""
        return max(way.cost, way.load_cycles) if self.objective == "cycles" else way.cost

    def __getitem__(self, name: str) -> Way | None:
        return next((w for w in self.ways if w.name == name), None)

    @property
    def sentence(self) -> str:
        """What to do, in one sentence."""
        best, own = self.best, self[COMPRESSED]
        assert own is not None
        many = "1 input" if self.batch == 1 else f"{self.batch:,} inputs"
        figures = f"{self.cost(best):,.0f} {self.unit}"
        against = f"{self.cost(own):,.0f} on its best contraction tree"
        where = {
            COMPRESSED: "keep the tensors as they are",
            MERGED: "keep it compressed, with some tensors merged beforehand",
            KEPT: "do not compress this: keep the dense matrix on the chip",
            STREAMED: "do not compress this for speed: bring the dense matrix in each time",
            REBUILT: "rebuild the matrix from its tensors first, in every execution",
        }[best.name]
        if best.name != COMPRESSED:
            return f"{many}: {where}: {figures} instead of {against}"
        others = [w for w in self.ways if w.name in (KEPT, STREAMED) and w.fits]
        dense = min(map(self.cost, others), default=None)
        told = "the dense matrix does not fit" if dense is None else f"dense {dense:,.0f}"
        return f"{many}: {where}: {figures}; {told}"

    def to_json(self) -> dict[str, Any]:
        """Return the advice as plain data."""
        return {
            "batch": self.batch,
            "objective": self.objective,
            "unit": self.unit,
            "advice": self.sentence,
            "best": self.best.name,
            "ways": [way.to_json() for way in self.ways],
        }


def batched(network: Network, streamed: str, batch: int) -> Network:
    """Return a network applied to `batch` inputs at once."""
    if batch == 1:
        return network
    tensors = {n: (BATCH, *t) if n == streamed else t for n, t in network.tensors.items()}
    return Network(tensors, {**network.sizes, BATCH: batch}, (BATCH, *network.output))


def advise(
    network: Network,
    arch: Architecture,
    streamed: str,
    batch: int = 1,
    objective: str = "cycles",
    table: energy.Table | None = None,
    budget: float = BUDGET,
) -> Advice:
    """Compare the ways to apply a matrix to its input, the tensor `streamed`, `batch` at a time.

    Costs are those of the array's steps, as the tree search takes them. Raises MappingError for an
    index that the input and the result share (the matrix is then no matrix), and ValueError for a
    batch below 1.
    """
    if batch < 1:
        raise ValueError(f"batch: found {batch}, expected at least 1")
    ins = network.tensors[streamed]
    shared = set(ins) & set(network.output)
    if shared:
        raise MappingError(
            f"{streamed}: found index {min(shared)} in the result, too, expected a matrix; "
            "give the batch as --batch"
        )
    return _Comparison(network, arch, streamed, batch, objective, table, budget).advice()


@dataclass(frozen=True)
class _Comparison:
    network: Network
    arch: Architecture
    streamed: str
    batch: int
    objective: str
    table: energy.Table | None
    budget: float

    def advice(self) -> Advice:
        ways = [self._way(COMPRESSED, self._whole, Merging())]
        weights = [n for n in self.network.tensors if n != self.streamed]
        try:
            merged = self._way(MERGED, self._whole, Merging.on(self.arch, weights))
            ways += [merged] if "*" in merged.tree else []
        except MappingError:
            pass
        kept = self._dense(KEPT)
        ways.append(kept)
        if not kept.fits:
            ways.append(self._dense(STREAMED))
        if len(weights) > 1:
            ways.append(self._rebuilt(kept))
        unit = objective_of(self.objective, self._whole, self.arch, self.table).unit
        return Advice(self.batch, self.objective, unit, tuple(ways))

    @property
    def _whole(self) -> Network:
        return batched(self.network, self.streamed, self.batch)

    @property
    def _matrix(self) -> tuple[str, ...]:
        return (*self.network.output, *self.network.tensors[self.streamed])

    def _way(self, name: str, network: Network, merging: Merging) -> Way:
        """Return the best tree of a network as a way, all weights kept."""
        objective = objective_of(self.objective, network, self.arch, self.table)
        found = best_trees(network, objective, 1, merging, self.budget)
        return self._of(name, network, found.trees[0])

    def _of(self, name: str, network: Network, found: Ranked, load: float = 0) -> Way:
        cycles = cost_of(found.node, network, objective_of("cycles", network, self.arch)).cost
        leaves = [leaf for leaf in found.node.leaf_nodes() if leaf.tensor != self.streamed]
        sizes = [network.size(leaf.indices) for leaf in leaves]
        return Way(
            name, found.cost, cycles, load, macs(found.node, network), sum(sizes),
            self._fits(sizes), found.node.text(),
        )  # fmt: skip

    def _fits(self, sizes: list[int]) -> bool:
        """Tell whether weights of these sizes have room."""
        room = [self.arch.capacity(space) for space in (0, 1)]
        return max(sizes, default=0) <= max(room) and sum(sizes) <= sum(room)

    def _dense(self, name: str) -> Way:
        """Return the multiplication by the dense matrix, kept or brought in."""
        plain = Network(
            {self.streamed: self.network.tensors[self.streamed], DENSE: self._matrix},
            self.network.sizes,
            self.network.output,
        )
        way = self._way(name, batched(plain, self.streamed, self.batch), Merging())
        if name == KEPT:
            return way
        elements = plain.size(self._matrix)
        beats = -(-elements * self.arch.element_bytes // self.arch.port_bytes)
        cost = self._with_load(way, beats, elements)
        values = {**vars(way), "cost": cost, "weights": 0, "fits": True, "load_cycles": beats}
        return Way(**{**values, "name": STREAMED})

    def _with_load(self, way: Way, beats: int, elements: int) -> float:
        """Return what a way costs whose dense matrix is brought in, never whole on the chip."""
        if self.objective == "memory":
            return way.cost - elements
        if self.objective not in ("energy", "edp"):
            return way.cost
        none = {c.name: 0 for c in COUNTERS} | {"dma_read_beats": beats}
        load = energy.energy(none, self.arch, self.table or energy.load(TABLE)).total_pj
        if self.objective == "energy":
            return way.cost + load
        return (way.cost / way.cycles + load) * max(way.cycles, beats)

    def _rebuilt(self, dense: Way) -> Way:
        """Return the contraction of the tensors into the matrix, and the multiplication by it."""
        tensors = {n: t for n, t in self.network.tensors.items() if n != self.streamed}
        network = Network(tensors, self.network.sizes, self._matrix)
        built = self._way(REBUILT, network, Merging())
        fits = self._fits([built.weights, dense.weights])
        costs: Mapping[str, float] = {
            "cost": self._together(built, dense),
            "cycles": built.cycles + dense.cycles,
        }
        return Way(
            REBUILT, costs["cost"], costs["cycles"], 0, built.macs + dense.macs, built.weights,
            built.fits and fits, f"({self.streamed} {built.tree})",
        )  # fmt: skip

    def _together(self, first: Way, second: Way) -> float:
        """Return what two ways cost, one after the other."""
        if self.objective == "memory":
            return max(first.cost, first.weights + second.cost)
        if self.objective == "edp":
            cycles = first.cycles + second.cycles
            return cycles * (first.cost / first.cycles + second.cost / second.cycles)
        return first.cost + second.cost
