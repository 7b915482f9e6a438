"""Networks: from a tensor network to a program that loads, contracts and stores."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from numpy.typing import ArrayLike

from einchip import check
from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper import report, tree
from einchip.mapper.allocate import allocate
from einchip.mapper.choose import Naming, Task, fold_tree
from einchip.mapper.errors import MappingError, nearest
from einchip.mapper.image import Region, image
from einchip.mapper.lanes import Shape, best_cycles
from einchip.mapper.plan import Part, Slicing, Tensor
from einchip.mapper.schedule import schedule
from einchip.mapper.timeline import predict
from einchip.mapper.tokens import straight
from einchip.network import Network, NetworkError
from einchip.numeric import Ints
from einchip.program import Halt, Instruction, Program, UnitInstruction
from einchip.reference import Host
from einchip.roofline import StepCost, Volumes, roofline, step_cycles

#: Trees that are folded, best first, before a smaller memory footprint is looked for.
TREES = 4
#: Steps up to which all ways to swap X and Y are tried when memory is short.
MAX_FLIPS = 6
#: Slices into which a streamed tensor is cut at most, and ways to slice that are tried at most.
MAX_SLICES, MAX_SLICINGS = 64, 48
#: Of the best ways to slice, so many are tried with X and Y swapped.
MAX_FLIPPED = 2
#: Cycles that a load is taken to lose by a row that is drained into its scratchpad.
DRAINED_ROW = 1 / 32
#: Slicing is tried where the load of the streamed tensor is more than this part of the cycles.
LOAD_SHARE = 1 / 16
RESULT = "result"


def tree_costs(network: Network, arch: Architecture) -> tuple[tree.StepCost, StepCost]:
    """Return the cycles of a step with its best fold in either orientation, and a lower bound."""
    sizes = network.sizes

    def cost(a: tree.Node, b: tree.Node, out: tuple[str, ...]) -> float:
        ways = ((a.indices, b.indices), (b.indices, a.indices))
        return float(min(best_cycles(Shape.of(x, y, out, sizes), arch) for x, y in ways))

    return cost, step_cycles(Volumes(network), arch)


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
        for count in (c for c in range(2, min(size, MAX_SLICES) + 1) if size % c == 0):
            found += [Slicing(index, count, n) for n in range(1, depth + 1)]
    yield from sorted(found, key=lambda s: (s.count, -s.n_steps, s.index))


def attempts(
    network: Network, trees: Sequence[tree.Ranked], streamed: str, resident: Collection[str]
) -> Iterator[Attempt]:
    """Yield ways to map, the quickest first, then those that need less memory."""
    for ranked in trees:
        yield Attempt(ranked.node)
    if streamed not in resident:
        for slicing in slicings(network, trees[0].node, streamed):
            yield Attempt(trees[0].node, slicing)
    n_steps = sum(1 for _ in trees[0].node.steps())
    if n_steps <= MAX_FLIPS:
        for flips in itertools.product((False, True), repeat=n_steps):
            yield Attempt(trees[0].node, Slicing(), dict(enumerate(flips)))


def first_fit(tries: Iterator[Attempt], build: Callable[[Attempt, int], Mapped]) -> Mapped:
    """Return the first attempt that can be built.

    Each is built with its result beside the streamed tensor's scratchpad (1), then in the same (0),
    since what is written there holds up the loads.

    Raises the MappingError of the attempt that misses by least if none can.
    """
    failures: list[MappingError] = []
    for attempt in tries:
        for space in (1, 0):
            try:
                return build(attempt, space)
            except MappingError as error:
                failures.append(error)
    raise nearest(failures)


def quickest_stream(
    mapped: Mapped,
    ways: Iterator[Attempt],
    build: Callable[[Attempt, int], Mapped],
    streamed: str,
    arch: Architecture,
) -> Mapped:
    """Return `mapped`, or the sliced mapping that takes the fewest estimated cycles.

    A slice is contracted while the next one is loaded, so a long load hides behind the steps. Of
    the best ways to slice, all ways to swap X and Y in the sliced steps are tried.
    """

    def tried(attempts: Iterable[Attempt]) -> list[tuple[float, Attempt, Mapped]]:
        found = []
        for attempt in attempts:
            with contextlib.suppress(MappingError):
                made = build(attempt, 0)
                found.append((estimate(made, streamed, arch), attempt, made))
        return sorted(found, key=lambda f: f[0])

    sliced = tried(itertools.islice(ways, MAX_SLICINGS))
    flipped = [
        replace(attempt, flips=dict(zip(spine, flips, strict=True)))
        for _, attempt, _ in sliced[:MAX_FLIPPED]
        for spine in [sliced_steps(attempt, streamed)]
        for flips in itertools.product((False, True), repeat=len(spine))
        if len(spine) <= MAX_FLIPS
    ]
    best = (estimate(mapped, streamed, arch), Attempt(tree.Node(())), mapped)
    return min([best, *sliced, *tried(flipped)], key=lambda f: f[0])[2]


def sliced_steps(attempt: Attempt, streamed: str) -> list[int]:
    """Return the numbers of the steps that run slice by slice."""
    steps = enumerate(attempt.node.steps())
    return [k for k, s in steps if streamed in s.leaves()][: attempt.slicing.n_steps]


def estimate(mapped: Mapped, streamed: str, arch: Architecture) -> float:
    """Return predicted cycles, and what loads lose by rows that are drained where they write.

    What a row costs depends on where in a load it falls; `DRAINED_ROW` is little, so that it
    decides between mappings of nearly equal predictions.
    """
    part = mapped.part
    space = part.tensors[streamed].space
    rows = 0.0
    for step in part.steps:
        result = part.tensors[step.name]
        if step.executions > 1 and result.space == space:
            pieces = step.executions if result.sliced else 1
            rows += pieces * result.layout.elements / prod(f.count for f in step.fold.z_lanes)
    return mapped.cycles(arch) + DRAINED_ROW * rows


@dataclass(frozen=True)
class Programs:
    """`setup` loads what stays; `run` does the work, as often as wanted."""

    setup: Program
    run: Program


@dataclass(frozen=True)
class Mapped:
    """A part with its buffers placed and its operations in order; `setup` loads the residents."""

    part: Part
    setup: tuple[op.Op, ...]
    operations: tuple[op.Op, ...]
    bases: Mapping[str, int]

    def programs(self, fracs: Mapping[str, int] | None) -> tuple[Program, Program]:
        """Return the programs of setup and run, with their tokens."""
        place = op.Place(self.bases, {}, fracs)
        setup = [i for o in self.setup for i in o.build(place)]
        masks = straight(self.operations)
        run: list[Instruction] = []
        for o, wait, signal in zip(self.operations, masks.wait, masks.signal, strict=True):
            run += with_tokens(o.build(place), wait, signal)
        return Program((*setup, Halt())), Program((*run, Halt()))

    def cycles(self, arch: Architecture) -> int:
        """Return the predicted cycles of a run."""
        return predict(self.programs(None)[1], arch)


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


def input_ops(
    part: Part, regions: Mapping[str, Region], arch: Architecture
) -> dict[tuple[str, int], op.Op]:
    """Return what brings each input, or slice of one, into its scratchpad."""
    found: dict[tuple[str, int], op.Op] = {}
    for t in part.tensors.values():
        if t.name.startswith(tree.ONE):
            found[t.name, 0] = op.fill(t.name, t.space, 1, arch, 1)
        elif t.is_input:
            for piece in range(part.slicing.count if t.sliced else 1):
                found[t.name, piece] = load_op(t, piece, regions[t.name], arch)
    return found


def with_inputs(
    executions: Sequence[op.Execution], part: Part, inputs: Mapping[tuple[str, int], op.Op]
) -> list[op.Op]:
    """Return all executions, each after the loads of what it is the first to read."""
    left, found = dict(inputs), list[op.Op]()
    for step, piece, execution in executions:
        for tensor in (part.tensors[step.x], part.tensors[step.y]):
            load = left.pop((tensor.name, piece if tensor.sliced else 0), None)
            found += [load] if load else []
        found.append(execution)
    return found


def place_network(
    part: Part, regions: Mapping[str, Region], resident: Collection[str], arch: Architecture
) -> Mapped:
    """Order and place a whole program. Raises MappingError when it does not fit."""
    inputs = input_ops(part, regions, arch)
    setup = [o for (name, _), o in inputs.items() if name in resident]
    loaded = {key: o for key, o in inputs.items() if key[0] not in resident}
    result = part.tensors[part.result]
    target = op.External(0, regions[result.name].offset)
    last = op.store(result.name, result.space, result.layout.extent, arch, target)
    ordered = schedule([*with_inputs(op.executions(part, arch), part, loaded), last])
    names = {t.name for t in part.tensors.values() if t.is_input and not t.sliced}
    buffers = [
        replace(b, permanent=b.permanent and (b.name not in names or b.name in resident))
        for b in op.part_buffers(part, arch)
    ]
    lifetimes = {
        name: (0 if name in names else first, last)
        for name, (first, last) in op.touched(ordered).items()
    }
    bases = allocate(buffers, lifetimes, arch)
    return Mapped(part, tuple(setup), tuple(ordered), bases)


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
    mapped: Mapped
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
        return Programs(*self.mapped.programs(fracs))

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

    def build(attempt: Attempt, space: int) -> Mapped:
        task = Task(
            attempt.node, network.sizes, arch, Naming(RESULT), attempt.slicing, streamed,
            attempt.flips,
        )  # fmt: skip
        part = fold_tree(task)
        part = part.with_result_in(part.tensors[streamed].space ^ space)
        mapped = place_network(part, external_regions(part, network.sizes, arch), resident, arch)
        check_words(mapped.programs(None)[1], arch)
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


def check_words(program: Program, arch: Architecture) -> None:
    """Raise MappingError for a program that is larger than program memory."""
    words = program.n_words
    if words > arch.program_words:
        raise MappingError(
            f"program: found {words} words, expected at most {arch.program_words}; "
            f"set program_words to {1 << (words - 1).bit_length()}",
            words - arch.program_words,
        )


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
