"""Networks: from a tensor network to a program that loads, contracts and stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import ArrayLike

from einchip import check
from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper import report, tree
from einchip.mapper.choose import Naming, Task, fold_tree
from einchip.mapper.errors import MappingError
from einchip.mapper.image import Region, image
from einchip.mapper.network_place import PlacedNetwork, external_regions, place_network
from einchip.mapper.network_search import (
    TREES,
    Attempt,
    attempts,
    first_fit,
    quickest_stream,
    slicings,
    tree_costs,
)
from einchip.mapper.plan import Part
from einchip.mapper.programs import Programs, check_words
from einchip.mapper.timeline import predict
from einchip.network import Network, NetworkError
from einchip.numeric import Ints
from einchip.program import Program
from einchip.reference import Host
from einchip.roofline import roofline

#: Slicing is tried where the load of the streamed tensor is more than this part of the cycles.
LOAD_SHARE = 1 / 16
RESULT = "result"


@dataclass(frozen=True)
class NetworkMapping:
    """How a network runs on a machine.

    Attributes
    ----------
    optimal : whether nothing cheaper exists in the space that was `searched`.
    macs_naive : multiply-adds when the tensors are taken in their order, the streamed one first.
    bound : the roofline's cycles; None for a network of parts that share no index.
    """

    network: Network
    arch: Architecture
    mapped: PlacedNetwork
    regions: Mapping[str, Region]
    macs_naive: int
    optimal: bool
    bound: int | None

    searched = (
        "all contraction trees of connected parts x either operand in X x lanes of up to two "
        "factors for m, n, k and one for b; layouts by greedy strides"
    )

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

    def emit(self, fracs: Mapping[str, int] | None = None) -> Programs:
        """Return the programs with these fractional bits for every name (None: all 0).

        Raises MappingError for scales that a shift cannot reach.
        """
        return self.mapped.programs(fracs)

    def to_json(self) -> dict[str, Any]:
        """Return the mapping as plain data."""
        return {
            "arch": self.arch.name,
            "tree": self.part.tree,
            "macs": self.macs,
            "macs_naive": self.macs_naive,
            "cycles": self.cycles,
            "array_cycles": self.part.cycles,
            "bound_cycles": self.bound,
            "optimal": self.optimal,
            "searched": self.searched,
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
        """Return the external memory with the inputs, one array of integers per tensor."""
        return image(self.mapping.regions, arrays, self.external_bytes, self.mapping.arch)

    def unpack(self, external: bytes | bytearray) -> Ints:
        """Return the result from external memory, axes in the order of the network's output."""
        region = self.mapping.regions[RESULT]
        found = region.unpack(external, self.mapping.arch)
        order = [region.indices.index(i) for i in self.mapping.network.output]
        return found.transpose(order)


def map_network(
    network: Network, arch: Architecture, *, resident: Collection[str] = (), streamed: str = ""
) -> NetworkMapping:
    """Search the quickest mapping of a network.

    `resident` tensors are loaded by a program of their own and stay; `streamed` (the largest
    tensor, if not given) may be brought in slice by slice where it does not fit.

    Raises MappingError when nothing fits: what is too small, and the least change that helps.
    """
    streamed = streamed or max(network.tensors, key=lambda n: network.size(network.tensors[n]))
    trees = tree.search(network, *tree_costs(network, arch), keep=TREES)

    def build(attempt: Attempt, space: int) -> PlacedNetwork:
        task = Task(
            attempt.node, network.sizes, arch, Naming(RESULT), attempt.slicing, streamed,
            attempt.flips,
        )  # fmt: skip
        part = fold_tree(task)
        part = part.with_result_in(part.tensors[streamed].space ^ space)
        mapped = place_network(part, external_regions(part, network.sizes, arch), resident, arch)
        check_words(mapped.programs(None).run, arch)
        return mapped

    mapped = first_fit(attempts(network, trees, streamed, resident), build)
    if streamed not in resident and mapped.part.slicing.count == 1:
        load = op.beats(mapped.part.tensors[streamed].layout.extent, arch)
        if load > LOAD_SHARE * mapped.cycles(arch):
            node = trees[0].node
            ways = (Attempt(node, s) for s in slicings(network, node, streamed))
            mapped = quickest_stream(mapped, ways, build, streamed, arch)
    return NetworkMapping(
        network, arch, mapped, external_regions(mapped.part, network.sizes, arch),
        tree.macs(tree.in_order(network, streamed), network),
        mapped.part.cycles <= trees[0].cost, bound_of(network, arch, streamed),
    )  # fmt: skip


def bound_of(network: Network, arch: Architecture, streamed: str) -> int | None:
    """Return the roofline's cycles, None for a network that does not hang together."""
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
) -> CompiledNetwork:
    """Return a program that loads the tensors, contracts them and stores the result.

    `fracs` gives the fractional bits of every tensor, step and the result; without it all are
    integers (shift 0). Raises MappingError when nothing fits, or when the program would break a
    rule of `check` (an accumulator too narrow for the sum).
    """
    mapping = map_network(network, arch, resident=resident, streamed=streamed)
    programs = mapping.emit(fracs)
    compiled = CompiledNetwork(mapping, programs.setup, programs.run)
    for program in (programs.setup, programs.run):
        for violation in check.verify(program, arch, compiled.host):
            raise MappingError(f"program: {violation}; change the scales or the architecture")
    return compiled
