"""Networks: from a tensor network to a program that loads, contracts and stores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from numpy.typing import ArrayLike

from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper import tree
from einchip.mapper.allocate import allocate
from einchip.mapper.choose import Naming, Task, fold_tree
from einchip.mapper.errors import MappingError
from einchip.mapper.image import Region, image
from einchip.mapper.lanes import Shape, best_cycles
from einchip.mapper.plan import Part, Slicing, Tensor
from einchip.mapper.schedule import schedule
from einchip.mapper.tokens import straight
from einchip.network import Network
from einchip.numeric import Ints
from einchip.program import Halt, Instruction, Program, UnitInstruction
from einchip.reference import Host

#: Trees that are folded, best first, before a smaller memory footprint is looked for.
TREES = 4
#: Steps up to which all ways to swap X and Y are tried when memory is short.
MAX_FLIPS = 6
RESULT = "result"


def tree_costs(network: Network, arch: Architecture) -> tuple[tree.StepCost, tree.StepCost]:
    """Return the cycles of a step with its best fold in either orientation, and a lower bound."""
    sizes = network.sizes

    def cost(a: tree.Node, b: tree.Node, out: tuple[str, ...]) -> float:
        ways = ((a.indices, b.indices), (b.indices, a.indices))
        return float(min(best_cycles(Shape.of(x, y, out, sizes), arch) for x, y in ways))

    def bound(a: tree.Node, b: tree.Node, out: tuple[str, ...]) -> float:
        volumes = (network.size(a.indices), network.size(b.indices), network.size(out))
        macs = network.size({*a.indices, *b.indices})
        return max(macs / arch.n_pes, *(v / arch.lanes for v in volumes))

    return cost, bound


@dataclass(frozen=True)
class Attempt:
    """One way to map a network: a tree, slices, and which operands are in X."""

    node: tree.Node
    slicing: Slicing = field(default_factory=Slicing)
    flips: Mapping[int, bool] = field(default_factory=dict)


def slicings(network: Network, node: tree.Node, streamed: str) -> Iterator[Slicing]:
    """Yield the ways to slice a streamed tensor, few and long slices first."""
    spine = [s for s in node.steps() if streamed in s.leaves()]
    found = []
    for index in network.tensors[streamed]:
        depth = 0
        while depth < len(spine) and index in spine[depth].indices:
            depth += 1
        size = network.sizes[index]
        for count in (c for c in range(2, size + 1) if size % c == 0):
            found += [Slicing(index, count, n) for n in range(1, depth + 1)]
    yield from sorted(found, key=lambda s: (s.count, -s.n_steps, s.index))


def attempts(
    network: Network, trees: Sequence[tree.Ranked], streamed: str
) -> Iterator[Attempt]:
    """Yield ways to map, the quickest first, then those that need less memory."""
    for ranked in trees:
        yield Attempt(ranked.node)
    for slicing in slicings(network, trees[0].node, streamed):
        yield Attempt(trees[0].node, slicing)
    n_steps = sum(1 for _ in trees[0].node.steps())
    if n_steps <= MAX_FLIPS:
        for flips in itertools.product((False, True), repeat=n_steps):
            yield Attempt(trees[0].node, Slicing(), dict(enumerate(flips)))


def first_fit(
    tries: Iterator[Attempt], build: Callable[[Attempt, int], Mapped]
) -> tuple[Mapped, bool]:
    """Return the first attempt that can be built, and whether it was the very first.

    The result goes to X, or to Y. Raises the first attempt's MappingError if none can.
    """
    failure: MappingError | None = None
    for attempt in tries:
        for space in (0, 1):
            try:
                return build(attempt, space), failure is None
            except MappingError as error:
                failure = failure or error
    assert failure is not None
    raise failure


@dataclass(frozen=True)
class Mapped:
    """A part with its buffers placed and its operations in order."""

    part: Part
    operations: tuple[op.Op, ...]
    bases: Mapping[str, int]
    registers: Mapping[str, int] = field(default_factory=dict)

    def instructions(
        self, fracs: Mapping[str, int] | None, arch: Architecture
    ) -> list[Instruction]:
        """Return the program's unit instructions with their tokens."""
        place = op.Place(self.bases, self.registers, fracs)
        masks = straight(self.operations)
        found: list[Instruction] = []
        for o, wait, signal in zip(self.operations, masks.wait, masks.signal, strict=True):
            found += with_tokens(o.build(place), wait, signal)
        return found


def with_tokens(made: list[UnitInstruction], wait: int, signal: int) -> list[Instruction]:
    """Return an operation's instructions: the first one waits, the last one signals."""
    made[0] = replace(made[0], wait=wait)
    made[-1] = replace(made[-1], signal=signal)
    return list(made)


def external_regions(part: Part, sizes: Mapping[str, int], arch: Architecture) -> dict[str, Region]:
    """Return the places in external memory of all inputs, then of the result."""
    regions: dict[str, Region] = {}
    at = 0
    result = part.tensors[part.result]
    for t in [t for t in part.tensors.values() if t.is_input] + [result]:
        if t.name.startswith(tree.ONE):
            continue
        whole = {i: sizes[i] for i in t.indices}
        sliced = (part.slicing.index, part.slicing.count) if t.sliced else ("", 1)
        regions[t.name] = Region(at, t.indices, whole, t.layout, sliced)
        at += regions[t.name].n_bytes(arch)
    return regions


def load_op(tensor: Tensor, piece: int, region: Region, arch: Architecture) -> op.Op:
    """Return the LOAD of an input, or of one slice of it."""
    n_bytes = region.slice_elements(arch) * arch.element_bytes
    source = op.External(0, region.offset + piece * n_bytes)
    return op.load(tensor.buffer(piece), tensor.space, tensor.layout.extent, arch, source)


def with_inputs(
    executions: Sequence[op.Execution],
    part: Part,
    regions: Mapping[str, Region],
    arch: Architecture,
) -> list[op.Op]:
    """Return all executions, each after the loads of what it is the first to read."""
    found: list[op.Op] = []
    present: set[tuple[str, int]] = set()
    for step, piece, execution in executions:
        for tensor in (part.tensors[step.x], part.tensors[step.y]):
            key = (tensor.name, piece if tensor.sliced else 0)
            if not tensor.is_input or key in present:
                continue
            present.add(key)
            if tensor.name.startswith(tree.ONE):
                found.append(op.fill(tensor.name, tensor.space, 1, arch, 1))
            else:
                found.append(load_op(tensor, key[1], regions[tensor.name], arch))
        found.append(execution)
    return found


def place_network(
    part: Part, regions: Mapping[str, Region], arch: Architecture
) -> Mapped:
    """Order and place a whole program. Raises MappingError when it does not fit."""
    work = with_inputs(op.executions(part, arch), part, regions, arch)
    result = part.tensors[part.result]
    target = op.External(0, regions[result.name].offset)
    last = op.store(result.name, result.space, result.layout.extent, arch, target)
    ordered = schedule([*work, last])
    buffers = [replace(b, permanent=b.permanent and "." in b.name) for b in op.part_buffers(part, arch)]
    inputs = {t.name for t in part.tensors.values() if t.is_input}
    lifetimes = {
        name: (0 if name in inputs else first, last)
        for name, (first, last) in op.touched(ordered).items()
    }
    return Mapped(part, tuple(ordered), allocate(buffers, lifetimes, arch))


@dataclass(frozen=True)
class NetworkMapping:
    """How a network runs on a machine.

    Attributes
    ----------
    searched : which space was searched.
    optimal : whether nothing cheaper exists in that space.
    """

    network: Network
    arch: Architecture
    mapped: Mapped
    regions: Mapping[str, Region]
    macs_naive: int
    tree_cost: float
    optimal: bool
    searched: str


@dataclass(frozen=True)
class CompiledNetwork:
    """A program, and how its external memory is laid out."""

    mapping: NetworkMapping
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
    """Search the quickest mapping of a network. Raises MappingError when nothing fits."""
    streamed = streamed or max(network.tensors, key=lambda n: network.size(network.tensors[n]))
    trees = tree.search(network, *tree_costs(network, arch), keep=TREES)

    def build(attempt: Attempt, space: int) -> Mapped:
        task = Task(
            attempt.node, network.sizes, arch, Naming(RESULT), attempt.slicing, streamed, attempt.flips
        )
        part = fold_tree(task, space)
        return place_network(part, external_regions(part, network.sizes, arch), arch)

    mapped, first = first_fit(attempts(network, trees, streamed), build)
    regions = external_regions(mapped.part, network.sizes, arch)
    naive = tree.macs(tree.in_order(network, streamed), network)
    return NetworkMapping(network, arch, mapped, regions, naive, trees[0].cost, first, "")


def compile_network(
    network: Network,
    arch: Architecture,
    fracs: Mapping[str, int] | None = None,
    *,
    resident: Collection[str] = (),
    streamed: str = "",
) -> CompiledNetwork:
    """Return a program that loads all tensors, contracts them and stores the result.

    `fracs` gives the fractional bits of every tensor, step and the result; without it all results
    are integers (shift 0). Raises MappingError when nothing fits.
    """
    mapping = map_network(network, arch, resident=resident, streamed=streamed)
    program = Program((*mapping.mapped.instructions(fracs, arch), Halt()))
    return CompiledNetwork(mapping, program)
