"""Networks: from a tensor network to a program that loads, contracts and stores."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from numpy.typing import ArrayLike

from einchip import check, energy
from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper import report, tree
from einchip.mapper.certificate import Certificate, count_trees
from einchip.mapper.errors import MappingError
from einchip.mapper.image import Region, image
from einchip.mapper.large import BUDGET, Progress
from einchip.mapper.merge import (
    Float,
    Merged,
    Merging,
    merged_arrays,
    merged_network,
    merged_of,
)
from einchip.mapper.network_build import RESULT, Aim, Builder, Searches
from einchip.mapper.network_place import PlacedNetwork, external_regions
from einchip.mapper.network_search import (
    MAX_SLICINGS,
    Attempt,
    attempts,
    first_fit,
    quickest_slices,
    quickest_stream,
    slicings,
)
from einchip.mapper.objectives import realised, scores
from einchip.mapper.plan import Part
from einchip.mapper.programs import Programs
from einchip.mapper.timeline import predict
from einchip.network import Network, NetworkError
from einchip.numeric import Ints
from einchip.program import Program
from einchip.reference import Host
from einchip.roofline import roofline

#: Slicing is tried where the load of the streamed tensor is more than this part of the cycles.
LOAD_SHARE = 1 / 16
#: Relative room for the rounding of sums.
ROUNDING = 1e-9


@dataclass(frozen=True)
class NetworkMapping:
    """How a network runs on a machine.

    Attributes
    ----------
    network : what was asked, its weights as they are.
    merged : the weights that are stored in place of those that they are made of.
    root : the contraction tree, merged weights as leaves.
    objective : what was minimised (`objectives.OBJECTIVES`).
    optimal : whether nothing better exists in the space that was `searched`.
    exact, large, method : how the trees were searched (`tree.Found`).
    n_slicings : ways to slice that were tried.
    macs_naive : multiply-adds when the tensors are taken in their order, the streamed one first.
    bound : the roofline's cycles with the weights as they are; None where it is not known, which
        is so for a network of parts that share no index, or of too many trees.
    merging : which weights might be merged, and the limits.
    """

    network: Network
    arch: Architecture
    mapped: PlacedNetwork
    regions: Mapping[str, Region]
    macs_naive: int
    optimal: bool
    bound: int | None
    merging: Merging = field(default_factory=Merging)
    merged: tuple[Merged, ...] = ()
    root: tree.Node = field(default_factory=lambda: tree.Node(()))
    objective: str = "cycles"
    table: energy.Table | None = None
    exact: bool = True
    large: bool = False
    method: str = ""
    n_slicings: int = 0

    @cached_property
    def certificate(self) -> Certificate:
        """What was searched, with the counts, and whether the mapping is proved optimal in it."""
        return Certificate(
            objective=self.objective,
            optimal=self.optimal,
            trees=count_trees(self.network, self.merging) if self.exact else None,
            merges=sum(s.bit_count() > 1 for s in self.merging.sets(self.network)),
            placements=1 << len(self.part.steps),
            folds=tuple(report.n_folds(self.part, s, self.arch) for s in self.part.steps),
            slicings=self.n_slicings,
            method=self.method,
        )

    @property
    def searched(self) -> str:
        """The certificate as text."""
        return self.certificate.text()

    @cached_property
    def scores(self) -> Mapping[str, float]:
        """What the tree costs by every objective."""
        return scores(self.root, self.network, self.arch, self.table)

    @property
    def part(self) -> Part:
        """The tensors and steps."""
        return self.mapped.part

    @property
    def steps(self) -> list[report.Contraction]:
        """The contractions, for a calibrator."""
        return report.contractions(self.part)

    @property
    def macs(self) -> int:
        """Multiply-adds in the chosen order."""
        return sum(s.macs for s in self.part.steps)

    @property
    def cycles(self) -> int:
        """Predicted cycles of a run, loads and the store included, fetch left out."""
        return predict(self.emit().run, self.arch)

    @property
    def stored_network(self) -> Network:
        """The network that runs: merged weights in place of those that they are made of."""
        tensors = {t.name for t in self.part.tensors.values() if t.is_input}
        return merged_network(self.network, self.merged, tensors)

    def stored(self, arrays: Mapping[str, Float]) -> dict[str, Float]:
        """Return the arrays that are stored, in float64, from those of the network."""
        return merged_arrays(self.merged, arrays)

    def emit(self, fracs: Mapping[str, int] | None = None) -> Programs:
        """Return the programs with these fractional bits for every name (None: all 0).

        A merged weight that is not named has those of all its parts together. Raises MappingError
        for scales that a shift cannot reach.
        """
        if fracs is not None:
            sums = {
                m.name: sum(fracs[p] for p in m.parts)
                for m in self.merged
                if m.name not in fracs and all(p in fracs for p in m.parts)
            }
            fracs = {**fracs, **sums}
        return self.mapped.programs(fracs)

    def to_json(self) -> dict[str, Any]:
        """Return the mapping as plain data."""
        return {
            "arch": self.arch.name,
            "tree": self.part.tree,
            "merged": {
                m.name: {"of": list(m.parts), "indices": list(m.indices), "elements": m.elements}
                for m in self.merged
            },
            "macs": self.macs,
            "macs_naive": self.macs_naive,
            "cycles": self.cycles,
            "array_cycles": self.part.cycles,
            "bound_cycles": self.bound,
            "objective": self.objective,
            "scores": dict(self.scores),
            "optimal": self.optimal,
            "searched": self.searched,
            "certificate": self.certificate.to_json(),
            "padding": self.part.padding,
            "steps": report.describe(self.part, self.arch),
            "tensors": report.layouts(self.part),
        }

    def explain(self) -> str:
        """Return the loop nests as text."""
        return report.explain(self.part, self.arch)


@dataclass(frozen=True)
class CompiledNetwork:
    """A program, and how its external memory is laid out; `setup` loads the resident tensors."""

    mapping: NetworkMapping
    setup: Program
    program: Program
    host: Host = field(default_factory=Host)

    @property
    def external_bytes(self) -> int:
        """Size of the external memory."""
        arch = self.mapping.arch
        return max(r.offset + r.n_bytes(arch) for r in self.mapping.regions.values())

    def pack(self, arrays: Mapping[str, ArrayLike]) -> bytes:
        """Return the external memory with the inputs, one array of integers per tensor.

        Merged weights are computed from the network's tensors, or given under their own names.
        Raises MappingError for one whose integers the data width does not hold.
        """
        merged = self.mapping.merged
        parts = {p for m in merged if m.name not in arrays for p in m.parts}
        own = {n: a for n, a in arrays.items() if n not in parts}
        bits = self.mapping.arch.data_bits
        own |= {m.name: m.integers(arrays, bits) for m in merged if m.name not in arrays}
        return image(self.mapping.regions, own, self.external_bytes, self.mapping.arch)

    def unpack(self, external: bytes | bytearray) -> Ints:
        """Return the result from external memory, axes in the order of the network's output."""
        region = self.mapping.regions[RESULT]
        found = region.unpack(external, self.mapping.arch)
        order = [region.indices.index(i) for i in self.mapping.network.output]
        return found.transpose(order)


def map_network(
    network: Network,
    arch: Architecture,
    *,
    resident: Collection[str] = (),
    streamed: str = "",
    merge: bool = True,
    objective: str = "cycles",
    table: energy.Table | None = None,
    budget: float = BUDGET,
    progress: Progress | None = None,
) -> NetworkMapping:
    """Search the best mapping of a network: the quickest, or by another of `OBJECTIVES`.

    `resident` tensors are loaded by a program of their own and stay: they are weights, which may be
    merged with one another beforehand where that is quicker (unless `merge` is false). `streamed`
    (the largest tensor, if not given) may be brought in slice by slice where it does not fit.
    `table` prices energy (`horowitz45`, if not given). Where there are too many trees to search
    all, `budget` seconds are spent on those that are near good ones (`large`), and `progress` is
    told of it.

    Raises MappingError when nothing fits: what is too small, and the least change that helps.
    ValueError for an objective that there is not.
    """
    aim = Aim(objective, table, budget, progress)
    found = _map(network, arch, resident, streamed, merge, aim)
    if not found.merged or objective != "cycles" or found.large:
        return found
    try:
        plain = _map(network, arch, resident, streamed, False, aim)
    except MappingError:
        return found
    return min((found, replace(plain, merging=found.merging)), key=lambda m: m.cycles)


def _map(
    network: Network,
    arch: Architecture,
    resident: Collection[str],
    streamed: str,
    merge: bool,
    aim: Aim,
) -> NetworkMapping:
    """Return the best mapping; the sum of steps, not the whole program, chooses the tree."""
    streamed = streamed or max(network.tensors, key=lambda n: network.size(network.tensors[n]))
    constants = [n for n in resident if n != streamed] if merge else []
    searches = Searches(network, arch, Merging.on(arch, constants), aim)

    build = Builder(network, arch, resident, streamed, searches)
    tries = attempts(network, searches, streamed, resident)
    found, n_slicings = first_fit(tries, build.placed, build.excess), 0
    if found[0].slicing.count > 1:
        found = quickest_slices(found, tries, build.placed, arch)
    if streamed not in resident and found[1].part.slicing.count == 1:
        load = op.beats(found[1].part.tensors[streamed].layout.extent, arch)
        if load > LOAD_SHARE * found[1].cycles(arch):
            node = found[0].node
            ways = (Attempt(node, s) for s in slicings(network, node, streamed))
            few = list(itertools.islice(ways, MAX_SLICINGS))
            n_slicings = len(few)
            found = quickest_stream(found, few, build.placed, streamed, arch)
    attempt, mapped = found
    best = searches.found
    reached = realised(mapped.part, attempt.node, network, arch, aim.objective, aim.table)
    return NetworkMapping(
        network, arch, mapped, external_regions(mapped.part, network.sizes, arch),
        tree.macs(tree.in_order(network, streamed), network),
        best.exact and reached <= best.trees[0].cost * (1 + ROUNDING),
        None if best.large else bound_of(network, arch, streamed),
        searches.merging, merged_of(network, attempt.node), attempt.node, aim.objective, aim.table,
        best.exact, best.large, best.method, n_slicings,
    )  # fmt: skip


def bound_of(network: Network, arch: Architecture, streamed: str) -> int | None:
    """Return the roofline's cycles, None where it is not known."""
    try:
        return roofline(network, arch, streamed).cycles
    except NetworkError:
        return None


def compile_network(
    network: Network,
    arch: Architecture,
    fracs: Mapping[str, int] | None = None,
    *,
    resident: Collection[str] = (),
    streamed: str = "",
    merge: bool = True,
) -> CompiledNetwork:
    """Return a program that loads the tensors, contracts them and stores the result.

    `fracs` gives the fractional bits of every tensor, step and the result; without it all are
    integers (shift 0). Raises MappingError when nothing fits, or when the program would break a
    rule of `check` (an accumulator too narrow for the sum).
    """
    mapping = map_network(network, arch, resident=resident, streamed=streamed, merge=merge)
    programs = mapping.emit(fracs)
    compiled = CompiledNetwork(mapping, programs.setup, programs.run)
    for program in (programs.setup, programs.run):
        for violation in check.verify(program, arch, compiled.host):
            raise MappingError(f"program: {violation}; change the scales or the architecture")
    return compiled
