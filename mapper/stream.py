"""Streams: one network, its weights on the chip, executed for one input after the other.

The steps that follow the input form a chain, and each is the input of the next: one after the
other they would wait for each other's drain. A stream is a software pipeline instead: in iteration
t of the program's loop, step j works on execution t - stage(j), later stages first, so that between
a step and the one that reads its result other work fills the array.

    lag 0   same iteration, the step before comes directly before: the drain is waited for
    lag 1   one iteration later; the reader comes before the writer, one buffer serves both
    lag 2   two iterations later: a whole iteration lies between, and the buffer is doubled

Where the vector unit copies a result into another layout (`Part.copies`), the copy is one more link
of the chain between the step and its reader, and the same lags are chosen for it.

The first iterations compute with what they find, the last ones with records behind the input; what
they store lies in front of the first answer. So the program has a constant size for any number of
executions, and nothing in it is conditional.

A store reads what the array wrote through the port that the array needs, unless it lies in a
window. A result that fits no window is made in *pieces*, runs of its outermost index, some in
either window: while one is stored, the array makes the next.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from einchip import check
from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper import timeline, tree
from einchip.mapper.allocate import allocate
from einchip.mapper.choose import Naming, Task, fold_tree
from einchip.mapper.cost import latency
from einchip.mapper.errors import MappingError, nearest
from einchip.mapper.image import Region, image
from einchip.mapper.lanes import ALL_GROUPS, steady_cycles
from einchip.mapper.merge import Merged, Merging, merged_of
from einchip.mapper.network_place import relayout
from einchip.mapper.network_search import TREES
from einchip.mapper.objectives import orientations
from einchip.mapper.plan import Part, Slicing, Step
from einchip.mapper.ports import INPUT, MODULUS, OUTPUT, RECORD_REGISTERS, WEIGHTS
from einchip.mapper.programs import Programs, check_words, emitted
from einchip.mapper.shares import divides, share_name
from einchip.mapper.tokens import Plan, copy_name, ordered, straight
from einchip.network import Network
from einchip.numeric import Ints
from einchip.program import (
    Contract,
    EndLoop,
    Give,
    Halt,
    Instruction,
    Loop,
    Program,
    SetMode,
    SetRegister,
)
from einchip.program import Sync as SyncInstruction
from einchip.reference import Host
from einchip.roofline import Volumes, step_cycles

#: The LOOP's field for host register ARG0: the number of iterations.
ITERATIONS_ARGUMENT = 1
#: Registers that toggle between the two copies of the input, and of all other doubled buffers: of
#: this iteration, and of the next (which is also the one before).
INPUT_TOGGLES, OTHER_TOGGLES = (2, 3), (6, 7)
#: Steps in the chain up to which every combination of lags is tried; longer ones get equal lags.
MAX_COMBINED = 4
#: Iterations until a predicted pipeline is steady, and those over which it is then measured.
WARM_UP, MEASURED = 4, 4
#: Fewest trees' worth of placements that are tried for the operands of the chain.
MAX_FLIPS = 6


@dataclass(frozen=True)
class Schedule:
    """Which iteration each link of the chain works for: `lags[j]` between links j and j + 1.

    `doubled_input`, `doubled_result`: the next input is loaded (the last result is stored) while
    this one is used; else they wait for each other.
    """

    lags: tuple[int, ...]
    doubled_input: bool = True
    doubled_result: bool = True

    @property
    def stages(self) -> tuple[int, ...]:
        """By how many iterations each link comes after the first one, for one execution."""
        return (0, *itertools.accumulate(self.lags))

    @property
    def lag(self) -> int:
        """By how many iterations the store comes after the first step."""
        return self.stages[-1] + self.doubled_result

    @property
    def order(self) -> list[int]:
        """The links of the chain in the order of an iteration: later stages first."""
        return sorted(range(len(self.stages)), key=lambda j: (-self.stages[j], j))


@dataclass(frozen=True)
class Pieces:
    """A result in `n` equal runs of its outermost index; each in a scratchpad, in turn."""

    index: str
    n: int
    spaces: tuple[int, ...]

    def space(self, piece: int) -> int:
        """Return the scratchpad of a piece."""
        return self.spaces[piece % len(self.spaces)]


@dataclass(frozen=True)
class Stream:
    """A stream of executions, placed.

    Executions differ in the input `streamed` and the result only. External memory: weights at
    BASE0, a record for each input at BASE1 (`lag` more behind the last), a record for each result
    at BASE2 (`lag` more in front of the first, where BASE2 points behind them). `root` is the tree,
    merged weights as leaves. `pieces` of the result, which is not doubled then; None: it is whole.
    """

    network: Network
    arch: Architecture
    root: tree.Node
    part: Part
    streamed: str
    schedule: Schedule
    merged: tuple[Merged, ...]
    bases: Mapping[str, int]
    pieces: Pieces | None = None

    @property
    def lag(self) -> int:
        """Iterations beyond the number of executions."""
        return self.schedule.lag

    # --- what runs -------------------------------------------------------------------------
    @property
    def chain(self) -> list[Step]:
        """The steps that depend on the input, in order."""
        return chain_of(self.part, self.streamed)

    @property
    def links(self) -> list[str]:
        """The buffers that the chain writes, in order: results, each before its copy."""
        return links_of(self.part, self.streamed)

    def link(self, name: str) -> op.Op:
        """Return the operation that writes a buffer: the contraction or the copy."""
        part = self.part
        if name in part.copies:
            return relayout(part.tensors[part.copies[name]], part.tensors[name], self.arch)
        step = next(s for s in part.steps if s.name == name)
        return op.contract(part, step, 0, None, self.arch)

    @cached_property
    def setup(self) -> list[op.Op]:
        """What runs once: weights are loaded, and what depends on weights only is contracted."""
        part, arch = self.part, self.arch
        found = [
            op.fill(t.name, t.space, 1, arch, 1)
            if t.name.startswith(tree.ONE)
            else op.load(
                t.name, t.space, t.layout.extent, arch,
                op.External(WEIGHTS, self.regions[t.name].offset),
            )
            for t in part.tensors.values()
            if t.is_input and t.name != self.streamed
        ]  # fmt: skip
        chain = set(self.links)
        return found + [self.link(name) for name in written(part) if name not in chain]

    @cached_property
    def body(self) -> list[op.Op]:
        """One iteration: the next input is loaded, the last result stored, all steps run."""
        part, arch, links = self.part, self.arch, self.links
        x, result = part.tensors[self.streamed], part.tensors[part.result]
        source = op.External(INPUT, 0, RECORD_REGISTERS[INPUT])
        target = op.External(OUTPUT, 0, RECORD_REGISTERS[OUTPUT])
        ahead = f"{x.name}.next" if self.schedule.doubled_input else x.name
        load = op.load(
            ahead, x.space, x.layout.extent, arch, source, int(self.schedule.doubled_input)
        )
        if self.pieces:
            return [load, *(o for j in self.schedule.order for o in self._in_pieces(links[j]))]
        behind = f"{result.name}.last" if self.schedule.doubled_result else result.name
        store = op.store(behind, result.space, result.layout.extent, arch, target)
        steps = [self.link(links[j]) for j in self.schedule.order]
        if self.schedule.doubled_result:
            return [load, store, *steps]
        return [load, *steps, store]

    def _in_pieces(self, name: str) -> Iterator[op.Op]:
        """Yield the operation that writes a buffer; of the result each piece, and its store."""
        part, pieces = self.part, self.pieces
        if name != part.result or pieces is None:
            yield self.link(name)
            return
        step = next(s for s in part.steps if s.name == name)
        size = self.piece_elements
        for k in range(pieces.n):
            own, space = share_name(name, k), pieces.space(k)
            whole = op.contract(
                part.with_result_in(space), step, 0, None, self.arch,
                portion=op.Portion(pieces.index, k, pieces.n),
            )  # fmt: skip
            yield whole.into(name, own, -k * size)
            offset = k * size * self.arch.element_bytes
            target = op.External(OUTPUT, offset, RECORD_REGISTERS[OUTPUT])
            yield op.store(own, space, size, self.arch, target)

    @property
    def piece_elements(self) -> int:
        """Elements of a piece of the result, all of it where it is whole."""
        layout = self.part.tensors[self.part.result].layout
        if self.pieces is None:
            return layout.extent
        index = self.pieces.index
        return layout.sizes[index] // self.pieces.n * layout.stride(index)

    @property
    def before(self) -> list[op.Op]:
        """What runs before the loop: the first input is loaded."""
        if not self.schedule.doubled_input:
            return []
        x = self.part.tensors[self.streamed]
        source = op.External(INPUT, -self.record(self.streamed) % MODULUS, RECORD_REGISTERS[INPUT])
        return [op.load(copy_name(x.name, 0), x.space, x.layout.extent, self.arch, source)]

    @property
    def doubled(self) -> dict[str, tuple[str, int]]:
        """The names that stand for one of two copies of a buffer, as `tokens.Toggles`."""
        found: dict[str, tuple[str, int]] = {}
        if self.schedule.doubled_input:
            found |= {
                self.streamed: (self.streamed, 0),
                f"{self.streamed}.next": (self.streamed, 1),
            }
        result = self.part.result
        if self.schedule.doubled_result:
            found |= {result: (result, 0), f"{result}.last": (result, 1)}
        for lag, name in zip(self.schedule.lags, self.links, strict=False):
            if lag == 2:
                found[name] = (name, 0)
        return found

    @cached_property
    def tokens(self) -> Plan:
        """The tokens of the loop and of what comes before it."""
        return ordered(self.before, self.body, [], self.doubled)

    def programs(self, fracs: Mapping[str, int] | None = None) -> Programs:
        """Return the programs of setup and run. Raises MappingError for scales out of reach."""
        place = op.Place(self._names(), self._registers(), fracs)
        setup = emitted(self.setup, straight(self.setup), place)
        return Programs(Program((*setup, Halt())), Program(tuple(self._run(place))))

    def _run(self, place: op.Place) -> Iterator[Instruction]:
        plan, doubled = self.tokens, bool(self.doubled)
        credits = [Give(mask) for mask in plan.credits]
        lag = self.lag
        yield SetRegister(RECORD_REGISTERS[INPUT], SetMode.SET, self._first_record % MODULUS)
        yield SetRegister(
            RECORD_REGISTERS[OUTPUT], SetMode.SET, -lag * self.record(self.part.result) % MODULUS
        )
        yield from [] if plan.settled else credits
        yield from emitted(self.before, plan.before, place)
        for (now, other), distance in self._toggles():
            yield SetRegister(now, SetMode.SET, 0)
            yield SetRegister(other, SetMode.SET, distance)
        yield from [SyncInstruction(), *credits] if plan.settled else []
        yield Loop(arg=ITERATIONS_ARGUMENT)
        yield from emitted(self.body, plan.body, place)
        yield SetRegister(RECORD_REGISTERS[INPUT], SetMode.ADD, self.record(self.streamed))
        yield SetRegister(RECORD_REGISTERS[OUTPUT], SetMode.ADD, self.record(self.part.result))
        if doubled:
            for registers, distance in self._toggles():
                for register in registers:
                    yield SetRegister(register, SetMode.TOGGLE, distance)
        yield from [SyncInstruction()] if plan.synced else []
        yield EndLoop()
        yield Halt()

    @property
    def _first_record(self) -> int:
        """The input record, in bytes, that the first iteration's load begins at."""
        return self.record(self.streamed) if self.schedule.doubled_input else 0

    def _toggles(self) -> list[tuple[tuple[int, int], int]]:
        """Return the pairs of registers that alternate, each with the distance of the copies."""
        found = []
        if self.schedule.doubled_input:
            found.append((INPUT_TOGGLES, self.buffers[self.streamed].elements))
        others = {b for b, _ in self.doubled.values()} - {self.streamed}
        if others:
            found.append((OTHER_TOGGLES, max(self.buffers[n].elements for n in others)))
        return found

    def _registers(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, (buffer, phase) in self.doubled.items():
            pair = INPUT_TOGGLES if buffer == self.streamed else OTHER_TOGGLES
            found[name] = pair[phase]
        return found

    def _names(self) -> dict[str, int]:
        """Return the addresses of buffers under all their names."""
        found = dict(self.bases)
        for name, (buffer, _) in self.doubled.items():
            found[name] = self.bases[buffer]
        if self.schedule.doubled_input:
            found[copy_name(self.streamed, 0)] = self.bases[self.streamed]
        return found

    # --- scratchpads -----------------------------------------------------------------------
    @cached_property
    def buffers(self) -> dict[str, op.Buffer]:
        """All buffers; doubled ones of a group have the size of the largest."""
        return stream_buffers(self)

    # --- external memory -------------------------------------------------------------------
    @cached_property
    def regions(self) -> dict[str, Region]:
        """Weights at BASE0 one behind the other; records of input and result at their bases."""
        found: dict[str, Region] = {}
        at = 0
        for t in self.part.tensors.values():
            if t.name == self.part.result or (t.is_input and not t.name.startswith(tree.ONE)):
                sizes = {i: self.network.sizes[i] for i in t.indices}
                own = t.name in (self.streamed, self.part.result)
                found[t.name] = Region(0 if own else at, t.indices, sizes, t.layout)
                at += 0 if own else found[t.name].n_bytes(self.arch)
        return found

    def record(self, name: str) -> int:
        """Return the bytes of a record of the input or of the result."""
        return self.regions[name].n_bytes(self.arch)

    def host(self, n: int) -> Host:
        """Return the host's registers for `n` executions in the memory that `pack` makes."""
        weights, inputs = self._weights_bytes, (n + self.lag) * self.record(self.streamed)
        answers = weights + inputs + self.lag * self.record(self.part.result)
        return Host(bases=(0, weights, answers, 0), args=(n + self.lag, 1, 1, 1))

    def external_bytes(self, n: int) -> int:
        """Return the size of the external memory for `n` executions."""
        return self.host(n).bases[OUTPUT] + n * self.record(self.part.result)

    @property
    def _weights_bytes(self) -> int:
        own = (self.streamed, self.part.result)
        ends = [r.offset + r.n_bytes(self.arch) for k, r in self.regions.items() if k not in own]
        return -(-max(ends, default=0) // 4096) * 4096

    def pack(self, weights: Mapping[str, ArrayLike], inputs: ArrayLike) -> bytes:
        """Return the external memory: arrays of integers, `inputs` with one axis more in front.

        Merged weights are computed from the network's tensors, or given under their own names.
        """
        given = np.asarray(inputs)
        bits = self.arch.data_bits
        found = {n: a for n, a in weights.items() if n in self.regions}
        found |= {m.name: m.integers(weights, bits) for m in self.merged if m.name not in weights}
        n = len(given)
        out = bytearray(self.external_bytes(n))
        packed = image(self.regions, found, self._weights_bytes, self.arch)
        out[: len(packed)] = packed
        at, size = self.host(n).bases[INPUT], self.record(self.streamed)
        for k, values in enumerate(given):
            data = self.regions[self.streamed].pack(values, self.arch)
            out[at + k * size : at + (k + 1) * size] = data
        return bytes(out)

    def unpack(self, external: bytes | bytearray, n: int) -> Ints:
        """Return the results of `n` executions, axes after the first as the network's output."""
        at, size = self.host(n).bases[OUTPUT], self.record(self.part.result)
        region = self.regions[self.part.result]
        order = [region.indices.index(i) for i in self.network.output]
        found = [
            region.unpack(external[at + k * size : at + (k + 1) * size], self.arch)
            for k in range(n)
        ]
        return np.stack([f.transpose(order) for f in found])

    # --- figures ---------------------------------------------------------------------------
    @property
    def macs(self) -> int:
        """Multiply-adds of one execution."""
        return sum(s.macs for s in self.chain)

    @cached_property
    def predicted(self) -> float:
        """Predicted cycles of one execution in the steady state.

        Those of the program (`timeline`), which leaves out read ports for which stores wait: the
        array and a store that does not read through a window take turns.
        """
        run = self.programs().run
        period = timeline.step_cycles(run, self.arch, WARM_UP, MEASURED)
        return max(period, self.storing)

    @cached_property
    def storing(self) -> int:
        """Reads of the result's scratchpad in one execution: by the array, and beats of the store.

        0 where the store has a port of its own; of pieces in both scratchpads the greater number.
        """
        name, pieces = self.part.result, self.pieces
        stored = [(name, self.part.tensors[name].space)]
        if pieces:
            stored = [(share_name(name, k), pieces.space(k)) for k in range(pieces.n)]
        run = self.programs().run
        beats, contracts = Counter[int](), [i for i in run.instructions if isinstance(i, Contract)]
        for buffer, space in stored:
            if not self.arch.in_window(space, self.bases[buffer]):
                beats[space] += op.beats(self.piece_elements, self.arch)
        return max(
            (sum(i.operand_reads[space] for i in contracts) + n for space, n in beats.items()),
            default=0,
        )


def chain_of(part: Part, streamed: str) -> list[Step]:
    """Return the steps that depend on a tensor, each after the one that it needs."""
    live, found = {streamed}, []
    for step in part.steps:
        if live & {part.copies.get(n, n) for n in (step.x, step.y)}:
            live.add(step.name)
            found.append(step)
    return found


def written(part: Part) -> list[str]:
    """Return the results of all steps in order, each before its copy."""
    found = []
    for step in part.steps:
        found += [step.name, *(copy for copy, name in part.copies.items() if name == step.name)]
    return found


def links_of(part: Part, streamed: str) -> list[str]:
    """Return the results of the steps that depend on a tensor, each before its copy."""
    names = {s.name for s in chain_of(part, streamed)}
    return [name for name in written(part) if part.copies.get(name, name) in names]


def stream_buffers(stream: Stream) -> dict[str, op.Buffer]:
    """Return the buffers of a stream: weights and what depends on them only stay."""
    part, arch = stream.part, stream.arch
    doubled = {buffer for buffer, _ in stream.doubled.values()}
    sizes = {t.name: op.whole_vectors(t.layout.extent, arch) for t in part.tensors.values()}
    largest = max((sizes[n] for n in doubled - {stream.streamed}), default=0)
    reads = op.reading(stream.body)
    reads[part.result] += reads.pop(f"{part.result}.last", 0)
    found: dict[str, op.Buffer] = {}
    if stream.pieces:
        for k in range(stream.pieces.n):
            name, space = share_name(part.result, k), stream.pieces.space(k)
            found[name] = op.Buffer(name, space, stream.piece_elements, reads=reads[name])
    for t in part.tensors.values():
        if t.name == part.result and stream.pieces:
            continue
        size = sizes[t.name]
        if t.name in doubled and t.name != stream.streamed:
            size = largest
        found[t.name] = op.Buffer(
            t.name, t.space, size, toggled=t.name in doubled, reads=reads[t.name]
        )
    return found


def _lifetimes(stream: Stream) -> dict[str, tuple[int, int]]:
    """Return when intermediates with lag 0 must hold their data, within an iteration.

    Not of copies and what they copy: the vector unit is not in the array's order.
    """
    lags = dict(zip(stream.links, stream.schedule.lags, strict=False))
    spans, copies = op.touched(stream.body), stream.part.copies
    copied = {*copies, *copies.values()}
    return {n: spans[n] for n, lag in lags.items() if lag == 0 and n not in copied}


class Way(NamedTuple):
    """A network with its tree folded, and the weights that are merged for it."""

    network: Network
    arch: Architecture
    streamed: str
    root: tree.Node
    part: Part
    merged: tuple[Merged, ...]
    pieces: Pieces | None = None


def placed(way: Way, schedule: Schedule) -> Stream:
    """Return a stream with its addresses. Raises MappingError when it does not fit."""
    network, arch, streamed, root, part, merged, pieces = way
    made = Stream(network, arch, root, part, streamed, schedule, merged, {}, pieces)
    spans = _lifetimes(made)
    buffers = [replace(b, permanent=b.name not in spans) for b in made.buffers.values()]
    made = replace(made, bases=allocate(buffers, spans, arch))
    check_words(made.programs().run, arch)
    return made


def schedules(n_links: int) -> list[Schedule]:
    """Return schedules with equal lags, those that need least memory last."""
    ways = ((1, True, True), (2, True, True), (0, True, True), (1, True, False), (1, False, False))
    made = [Schedule((lag,) * (n_links - 1), x, z) for lag, x, z in ways]
    return list(dict.fromkeys(made))


def single(n_links: int) -> list[Schedule]:
    """Return schedules with equal lags, the result not doubled."""
    return [Schedule((lag,) * (n_links - 1), True, False) for lag in (1, 2)]


def finer(schedule: Schedule) -> Iterator[Schedule]:
    """Yield all other schedules with the same doubled ends, for chains that are not too long."""
    if len(schedule.lags) < MAX_COMBINED:
        for lags in itertools.product((1, 2, 0), repeat=len(schedule.lags)):
            yield replace(schedule, lags=lags)


def ways(network: Network, arch: Architecture, streamed: str, drains: bool) -> Iterator[Way]:
    """Yield folded trees: the quickest in the steady state first, their chains in both ways.

    First with all merges of weights, then with half the room for weights, then with none. `drains`
    as of a `Task`.
    """
    merging = Merging.on(arch, [n for n in network.tensors if n != streamed])
    limits = (merging, replace(merging, stored=(merging.stored or 0) // 2), Merging())
    for limit in limits:
        with contextlib.suppress(MappingError):
            for ranked in stream_trees(network, arch, streamed, limit, drains):
                yield from folded(network, arch, streamed, ranked.node, drains)


def stream_trees(
    network: Network,
    arch: Architecture,
    streamed: str,
    merging: Merging,
    drains: bool = False,
    modes: tuple[str, ...] = (ALL_GROUPS,),
) -> list[tree.Ranked]:
    """Return the trees that hold the array shortest in the steady state.

    Steps on weights alone run once and cost nothing. `drains` and `modes` as of a `Task`; weights
    are padded only where drains are hidden. Raises MappingError for too many trees.
    """
    data = _padded_beside(streamed, drains)

    def cost(a: tree.Node, b: tree.Node, out: tuple[str, ...]) -> float:
        if streamed not in {*a.leaves(), *b.leaves()}:
            return 0.0
        shapes = orientations(a, b, out, network, data)
        return float(min(steady_cycles(s, arch, g, drains, p) for s, p in shapes for g in modes))

    bound = step_cycles(Volumes(network), arch)
    return tree.search(network, cost, bound, keep=TREES, merging=merging)


def _padded_beside(streamed: str, drains: bool) -> frozenset[str] | None:
    """Return `Task.data`: padded vectors drain late, which is a gain only where that is hidden."""
    return None if drains else frozenset({streamed})


def folded(
    network: Network,
    arch: Architecture,
    streamed: str,
    node: tree.Node,
    drains: bool,
    modes: tuple[str, ...] = (ALL_GROUPS,),
) -> Iterator[Way]:
    """Yield a tree folded, as it is cheapest and with its operands in X and Y by each choice.

    `drains` and `modes` as of a `Task`.
    """
    n_steps = sum(1 for _ in node.steps())
    flips: list[dict[int, bool]] = [{}]
    if n_steps <= MAX_FLIPS:
        flips += [dict(enumerate(f)) for f in itertools.product((False, True), repeat=n_steps)]
    for way in flips:
        task = Task(
            node, network.sizes, arch, Naming("result"), Slicing(), streamed, way,
            modes=modes, drains=drains, data=_padded_beside(streamed, drains),
        )  # fmt: skip
        with contextlib.suppress(MappingError):
            yield way_of(network, arch, streamed, node, fold_tree(task))


def way_of(network: Network, arch: Architecture, streamed: str, node: tree.Node, part: Part) -> Way:
    """Return a folded tree with its result where stores disturb least."""
    space = max(arch.windows, default=part.tensors[streamed].space ^ 1)
    part = part.with_result_in(space)
    return Way(network, arch, streamed, node, part, merged_of(network, node))


def in_pieces(way: Way) -> Iterator[Way]:
    """Yield a folded tree with its result in pieces in both windows, the fewest first.

    Where the outermost index of its layout cuts into whole rows of banks, and the last step takes
    no slot more.
    """
    part, arch = way.part, way.arch
    layout = part.tensors[part.result].layout
    if len(arch.windows) < 2 or part.result in part.copies or not layout.sizes:
        return
    step = next(s for s in part.steps if s.name == part.result)
    index = max(layout.sizes, key=layout.stride)
    rest = layout.extent - (layout.sizes[index] - 1) * layout.stride(index)
    if rest > layout.stride(index):
        return
    room = max(arch.window(s) for s in arch.windows) * arch.lanes
    for n in range(2, MAX_PIECES + 1):
        size = layout.sizes[index] // n * layout.stride(index)
        if size <= room and size % arch.lanes == 0 and divides(step, index, n):
            yield way._replace(pieces=Pieces(index, n, arch.windows))


#: Pieces of a result at most.
MAX_PIECES = 8
#: Folded trees of each kind that are looked at, and how near the least possible ends the search.
PARTS, NEAR = 12, 1.005


def map_stream(network: Network, arch: Architecture, streamed: str) -> Stream:
    """Search the stream with the fewest predicted cycles per execution in the steady state.

    All tensors but `streamed` are weights, and stay on the chip. Raises MappingError when nothing
    fits.
    """
    return best_stream(lambda drains: ways(network, arch, streamed, drains))


def best_stream(tried: Callable[[bool], Iterable[Way]]) -> Stream:
    """Return the quickest stream of the first `PARTS` folded trees of each of two kinds.

    `tried` returns trees whose last drains are hidden by other work, or, given True, those that are
    quickest if they are not: where there is little other work. Raises MappingError when nothing
    fits.
    """
    failures: list[MappingError] = []
    best: Stream | None = None
    found: Way | None = None
    lowest = math.inf
    for way in (w for drains in (False, True) for w in itertools.islice(tried(drains), PARTS)):
        least = least_cycles(way.part, way.streamed, way.arch)
        lowest = min(lowest, least)
        if best is not None and best.predicted <= lowest * NEAR:
            break
        if best is not None and best.predicted <= least * NEAR:
            continue
        made = _quickest(best, way, schedules(len(links_of(way.part, way.streamed))), failures)
        if made is not best:
            best, found = made, way
    if best is None or found is None:
        raise nearest(failures) if failures else MappingError("stream: no fold was found")
    if best.predicted > least_cycles(best.part, best.streamed, best.arch) * NEAR:
        best = _quickest(best, found, finer(best.schedule), failures) or best
        for way in in_pieces(found) if best.storing else ():
            best = _quickest(best, way, single(len(links_of(way.part, way.streamed))), failures)
            assert best
    for program in (best.programs().setup, best.programs().run):
        for violation in check.verify(program, best.arch, best.host(1)):
            raise MappingError(f"program: {violation}; change the scales or the architecture")
    return best


def least_cycles(part: Part, streamed: str, arch: Architecture) -> int:
    """Return cycles that no schedule of a part can go below: those of the array, of the loads."""
    array = sum(steady_step_cycles(step, arch) for step in chain_of(part, streamed))
    moved = (part.tensors[n].layout.extent for n in (streamed, part.result))
    return max(array, *(op.beats(n, arch) for n in moved))


def steady_step_cycles(step: Step, arch: Architecture) -> int:
    """Return the cycles for which a step holds the array, its last drain left out."""
    return step.cycles - latency(step.fold.tile_rows, arch)


def _quickest(
    best: Stream | None, way: Way, tried: Iterable[Schedule], failures: list[MappingError]
) -> Stream | None:
    """Return `best`, or a schedule of a folded tree that is predicted to be quicker."""
    least = least_cycles(way.part, way.streamed, way.arch)
    for schedule in tried:
        try:
            made = placed(way, schedule)
        except MappingError as error:
            failures.append(error)
            continue
        if best is None or made.predicted < best.predicted:
            best = made
        if best.predicted <= least * NEAR:
            break
    return best
