"""Mapped phases placed: what they hand to one another, scratchpads, addresses, weights."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property, partial
from operator import attrgetter
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper import shares
from einchip.mapper.allocate import Span, allocate, peak
from einchip.mapper.errors import MappingError
from einchip.mapper.image import Region
from einchip.mapper.nets import Nets
from einchip.mapper.order import Order, improved
from einchip.mapper.phase import Phase
from einchip.mapper.phase_loop import PhaseLoop
from einchip.mapper.plan import Tensor
from einchip.mapper.ports import (
    INPUT,
    OUTPUT,
    WORKSPACE,
    Field,
    Piece,
    Ports,
    Sink,
    region,
)
from einchip.mapper.problem import ModelProblem
from einchip.mapper.programs import Programs, check_words, emitted
from einchip.mapper.timeline import WARM, pace, write_cycles
from einchip.mapper.tokens import straight
from einchip.program import Halt, Instruction, Program, Unit


class Window(Enum):
    """What is given a place in a window: all that is worth it, not what setup loads, nothing.

    APART: all but states that a cell can read beside its source, so that both have ports of their
    own. The cell is quicker then, and the array waits for the state's port.
    """

    ALL = "all"
    APART = "apart"
    RESULTS = "results"
    NONE = "none"


#: Operations of one phase, so that lifetimes of different phases are apart.
SPAN = 1 << 16
#: Cycles of a time step over those of its contractions, of a loop that is left as it is.
NEAR = 1.03
#: Vectors of a cell that is worth cutting into shares.
MIN_VECTORS = 8
#: Time steps of the sequence that decides what pays.
SEQUENCE = 32


@dataclass(frozen=True)
class Mapped:
    """A model with operations and addresses; its scales are still open."""

    phases: tuple[Phase, ...]
    bases: Mapping[str, int]
    weights: Mapping[str, tuple[Tensor, Region]]
    records: Mapping[int, int]  # bytes of a record of each host register

    def programs(self, fracs: Mapping[str, int] | None) -> Programs:
        """Return the programs of setup and run.

        Raises MappingError for scales that a shift cannot reach.
        """
        given = self._setup()
        setup = emitted(given, straight(given), self._place(fracs))
        return Programs(Program((*setup, Halt())), self.run(fracs))

    def run(self, fracs: Mapping[str, int] | None = None) -> Program:
        """Return the program of a run, whose cycles do not depend on scales.

        Raises MappingError for scales that a shift cannot reach.
        """
        return self._timed if fracs is None else self._run(self._place(fracs))

    @cached_property
    def _timed(self) -> Program:
        """The program of a run without scales, which takes the same cycles."""
        return self._run(self._unscaled)

    def _run(self, place: op.Place) -> Program:
        run: list[Instruction] = []
        for loop in self._loops:
            run += loop.instructions(place)
        return Program((*run, Halt()))

    def in_order(self, number: int, order: Order) -> Mapped:
        """Return the same with another order of a phase's loop, at the same addresses."""
        phase = self.phases[number].in_order(order)
        found = replace(self, phases=tuple(_with(self.phases, number, phase)))
        loops = [PhaseLoop(phase) if k == number else loop for k, loop in enumerate(self._loops)]
        vars(found).update({"_loops": loops, "_unscaled": self._unscaled})
        return found

    @cached_property
    def _pace(self) -> tuple[int, float]:
        """The predicted cycles of the first WARM time steps, and of each further one."""
        return pace(self.run(), self.phases[0].arch)

    @cached_property
    def step_cycles(self) -> float:
        """The predicted cycles of a time step, as `timeline.step_cycles` says."""
        return max(self._pace[1], write_cycles(self.run(), self.phases[0].arch))

    @cached_property
    def sequence_cycles(self) -> float:
        """The predicted cycles of a sequence of SEQUENCE time steps."""
        first, each = self._pace
        return first + (SEQUENCE - WARM) * each

    @cached_property
    def _unscaled(self) -> op.Place:
        """The places of all buffers, without scales."""
        return self._place(None)

    def _place(self, fracs: Mapping[str, int] | None) -> op.Place:
        registers: dict[str, int] = {}
        for loop in self._loops:
            registers |= loop.registers
        return op.Place(self.bases, registers, fracs)

    @cached_property
    def _loops(self) -> list[PhaseLoop]:
        """The programs of the phases, whose tokens are found once."""
        return [PhaseLoop(phase) for phase in self.phases]

    @property
    def reloading(self) -> list[Phase]:
        """The phases whose weights every run loads."""
        return [phase for phase in self.phases if phase.reloads]

    @property
    def is_padded(self) -> bool:
        """Whether a step takes more values of an index than there are."""
        parts = (net.part for phase in self.phases for net in phase.nets.all)
        return any(f.reach for part in parts for step in part.steps for f in step.fold.q)

    def _setup(self) -> list[op.Op]:
        """Return what brings the weights that stay, those that phases share once."""
        offsets = {name: place.offset for name, (_, place) in self.weights.items()}
        staying = (phase for phase in self.phases if not phase.reloads)
        every = [o for phase in staying for o in phase.fetches(offsets)]
        order = (Unit.LOAD, Unit.VECTOR, Unit.ARRAY)
        return sorted({o.name: o for o in every}.values(), key=lambda o: order.index(o.unit))


def assemble(
    nets: Sequence[Nets],
    problem: ModelProblem,
    arch: Architecture,
    window: Window = Window.ALL,
    serial: bool = False,
    reloading: Collection[int] = (),
) -> Mapped:
    """Return the model's phases, placed. Raises MappingError when it does not fit.

    `serial`: networks follow one another, and intermediates of different ones share places.
    `reloading`: phases whose weights are loaded when they begin, and share places with others.
    """

    def phases(nets: Sequence[Nets], spaces: Mapping[str, int]) -> list[Phase]:
        found = _phases(nets, spaces, problem, arch)
        return [
            replace(p, serial=serial, reloads=p.number in reloading, apart=window is Window.APART)
            for p in found
        ]

    trial = phases(nets, defaultdict(int))
    spaces = _balanced(trial, arch, window)
    return placed(phases([n.in_spaces(spaces) for n in nets], spaces), arch)


def placed(phases: Sequence[Phase], arch: Architecture) -> Mapped:
    """Return phases with addresses. Raises MappingError when they do not fit."""
    weights = _weights(phases, arch)
    offsets = {name: place.offset for name, (_, place) in weights.items()}
    phases = [replace(p, offsets=offsets) if p.reloads else p for p in phases]
    bases = allocate(*_lifetimes(phases), arch)
    records: dict[int, int] = {}
    for loop in map(PhaseLoop, phases):
        bases |= loop.aliases(bases)
        records |= loop.records
    return Mapped(tuple(phases), bases, weights, records)


def reordered(mapped: Mapped, arch: Architecture) -> Mapped:
    """Return the same with the quickest order found of every loop with a cell, where that fits."""
    for number, phase in enumerate(mapped.phases):
        if phase.cell and not phase.order:
            order = improved(phase.body, partial(_order_cycles, mapped, number))
            with contextlib.suppress(MappingError):
                mapped = placed(mapped.in_order(number, order).phases, arch)
    return mapped


def quickest(ways: Iterable[Mapped], arch: Architecture) -> Mapped:
    """Return the quickest of some placements in a sequence, each as it is quickest."""
    found: list[Mapped] = []
    for mapped in ways:
        whole = reordered(mapped, arch)
        found.append(pipelined(whole, arch))
        if _is_busy(found[-1]):
            break
        cut = in_shares(whole, arch)
        if cut is not whole:
            found.append(pipelined(cut, arch))
    if len(found) == 1:
        return found[0]
    return min(found, key=attrgetter("sequence_cycles"))


def _is_busy(mapped: Mapped) -> bool:
    """Tell whether the array hardly waits."""
    bodies = [o for phase in mapped.phases for o in phase.body]
    busy = sum(o.cycles for o in bodies if o.unit is Unit.ARRAY)
    return mapped.step_cycles <= NEAR * busy


def pipelined(mapped: Mapped, arch: Architecture) -> Mapped:
    """Return the same with input parts that run a time step ahead, where that pays.

    It costs an input part more in a sequence; one of SEQUENCE time steps decides.
    """
    for number, phase in enumerate(mapped.phases):
        if not phase.can_run_ahead:
            continue
        trial = _with(mapped.phases, number, replace(phase, ahead=True, order=()))
        with contextlib.suppress(MappingError):
            found = reordered(placed(trial, arch), arch)
            check_words(found.run(), arch)
            mapped = min(mapped, found, key=attrgetter("sequence_cycles"))
    return mapped


def in_shares(mapped: Mapped, arch: Architecture) -> Mapped:
    """Return the same with hidden parts and cells in shares of the units, where that is quicker."""
    for number, phase in enumerate(mapped.phases):
        if not (phase.cell and is_large(phase)):
            continue
        tried: list[Mapped] = []
        for way in shares.ways(phase.cell):
            trial = _with(mapped.phases, number, replace(phase, shares=way, order=()))
            with contextlib.suppress(MappingError):
                found = placed(trial, arch)
                check_words(found.run(), arch)
                tried.append(found)
        if tried:
            found = reordered(min(tried, key=attrgetter("step_cycles")), arch)
            mapped = min(found, mapped, key=attrgetter("step_cycles"))
    return mapped


def is_large(phase: Phase) -> bool:
    """Tell whether a phase has a cell that keeps the vector unit for long."""
    return bool(phase.work and phase.work.n_vectors >= MIN_VECTORS)


def _order_cycles(mapped: Mapped, number: int, order: Order) -> float:
    """Return the predicted cycles of a time step with another order of one phase's loop."""
    return mapped.in_order(number, order).step_cycles


def _with(phases: Sequence[Phase], number: int, phase: Phase) -> list[Phase]:
    """Return phases with another one at a place."""
    return [*phases[:number], phase, *phases[number + 1 :]]


def _weights(phases: Sequence[Phase], arch: Architecture) -> dict[str, tuple[Tensor, Region]]:
    found: dict[str, tuple[Tensor, Region]] = {}
    at = 0
    for phase in phases:
        for name, (tensor, place) in phase.weights().items():
            if name not in found:
                found[name] = (tensor, replace(place, offset=at))
                at += place.n_bytes(arch)
    return found


# --- what phases hand to one another -----------------------------------------------------------
def _phases(
    nets: Sequence[Nets], spaces: Mapping[str, int], problem: ModelProblem, arch: Architecture
) -> list[Phase]:
    """Return the phases with what they read and write."""
    sources = _sources(nets, arch)
    n_groups = nets[-1].asked.group + 1
    found = []
    for number, own in enumerate(nets):
        group = [n for n in nets if n.asked.group == own.asked.group]
        piece = Piece(own.asked.direction, len(group))
        readers = [
            f
            for n, fields in zip(nets, sources, strict=True)
            if n.asked.group == own.asked.group + 1
            for f in fields
        ]
        sinks = tuple(Sink(f, piece) for f in readers)
        reverse = own.asked.direction > 0
        ports = Ports(sources[number], sinks, reverse=reverse)
        phase = Phase(own, ports, spaces, arch, number)
        if own.asked.group == n_groups - 1:
            ports = _end(phase, group, problem)
        found.append(replace(phase, ports=ports))
    return found


def _sources(nets: Sequence[Nets], arch: Architecture) -> list[tuple[Field, ...]]:
    """Return the fields of every phase's input; the records of each base hold all of them."""
    at = {INPUT: 0, WORKSPACE: 0}
    regions: list[list[tuple[Tensor, Region, int]]] = []
    for own in nets:
        base = WORKSPACE if own.asked.group else INPUT
        regions.append([])
        for tensor in own.inputs:
            place = _input_region(own, tensor, at[base])
            regions[-1].append((tensor, place, base))
            at[base] += place.n_bytes(arch)
    return [tuple(Field(t, r, b, at[b]) for t, r, b in found) for found in regions]


def _input_region(nets: Nets, tensor: Tensor, offset: int) -> Region:
    found = region(offset, tensor)
    s = nets.first.part.slicing
    if not tensor.sliced:
        return found
    sizes = {**found.sizes, s.index: found.sizes[s.index] * s.count}
    return replace(found, sizes=sizes, sliced=(s.index, s.count))


def _end(phase: Phase, group: Sequence[Nets], problem: ModelProblem) -> Ports:
    """Return the ports of a phase of the last group: its sinks, or the answer behind its loop."""
    arch, own = phase.arch, phase.nets
    if problem.output == "sequence":
        made = [replace(phase, nets=n).produced for n in group]
        sizes = [region(0, t).n_bytes(arch) for t in made]
        d = own.asked.direction
        place = region(sum(sizes[:d]), made[d])
        sink = Sink(Field(made[d], place, OUTPUT, sum(sizes)), None)
        return replace(phase.ports, sinks=(sink,))
    if own is not group[-1]:
        return phase.ports
    states = tuple(n.cell.h for n in group if n.cell)
    answers = (
        [own.behind[-1].result]
        if own.behind
        else [replace(h, name=f"{h.name}.out") for h in states]
    )
    finals, at = [], 0
    for t in answers:
        finals.append(Field(t, region(at, t), OUTPUT, 0))
        at += finals[-1].region.n_bytes(arch)
    return replace(phase.ports, finals=tuple(finals), states=states)


# --- scratchpads -------------------------------------------------------------------------------
class _Free(NamedTuple):
    """A buffer that may be in any scratchpad."""

    name: str
    size: int
    phase: int
    kept: bool
    reads: Mapping[Unit, int]

    @property
    def worth(self) -> float:
        """Cycles of reads that a place in a window takes from the array's port, per element."""
        return sum(self.reads.values()) / self.size

    def disturbed(self, accesses: Mapping[Unit, int]) -> tuple[int, int]:
        """Return how bad a place beside these is: accesses of other units, less its own ones."""
        own = sum(n for unit, n in accesses.items() if unit in self.reads)
        return sum(accesses.values()) - own, -own


def _balanced(phases: Sequence[Phase], arch: Architecture, use: Window) -> dict[str, int]:
    """Return the scratchpads of results, biases, states and staging.

    A window for those that are worth most there while it has room. Of two the one that other units
    use less, so that the vector unit has the ports of one scratchpad, that of h, while the array
    adds and drains the input part of the next step in the other one. X, which the array reads less
    often, for others that are read; else where most room is. What a cell reads in one cycle where
    the ports differ is kept apart (`_read_beside`), where there is room.
    """
    free = []
    for phase in phases:
        reads = {
            unit: op.reading(o for o in phase.body if o.unit is unit)
            for unit in (Unit.ARRAY, Unit.VECTOR, Unit.STORE)
        }
        sizes = {t.name: t.layout.extent for t in phase.nets.free_results} | phase.extra_buffers
        free += [
            _Free(
                n,
                op.whole_vectors(size, arch),
                phase.number,
                n in phase.kept,
                {u: r[n] for u, r in reads.items() if r[n]},
            )
            for n, size in sizes.items()
        ]
    names = {f.name for f in free}
    kept = {b.name: b for p in phases for b in p.buffers() if b.permanent and b.name not in names}
    room = []
    for phase in phases:
        own = [b for b in phase.buffers() if b.name not in names and b.name not in kept]
        fixed = [*own, *kept.values()]
        live = phase.lifetimes() if phase.serial else {}
        room.append([arch.capacity(s) - _most(fixed, live, s) for s in (0, 1)])
    left = [[arch.window(s) * arch.lanes for s in (0, 1)] for _ in phases]
    used = [_used_by_vectors(phase, names) for phase in phases]
    spaces: dict[str, int] = {}
    beside = _read_beside(phases)
    for f in sorted(free, key=lambda f: (-f.worth, -f.size)):
        touched = range(len(room)) if f.kept else [f.phase]
        inside = use in (Window.ALL, Window.APART) or (use is Window.RESULTS and not f.kept)
        fitting = [s for s in (1, 0) if all(f.size <= min(left[p][s], room[p][s]) for p in touched)]
        if inside and f.worth and fitting and f.name not in beside:
            space = min(fitting, key=lambda s: max(f.disturbed(used[p][s]) for p in touched))
            spaces[f.name] = space
            for p in touched:
                left[p][space] -= f.size
                room[p][space] -= f.size
                used[p][space].update(f.reads)
    windowed = {*spaces}
    for f in sorted(free, key=lambda f: (f.name in beside, -f.size)):
        if f.name not in spaces:
            rooms = room if f.kept else [room[f.phase]]
            least = [min(r[space] for r in rooms) for space in (0, 1)]
            prefers_x = bool(arch.windows) and use in (Window.ALL, Window.RESULTS)
            in_x = prefers_x and f.worth and f.size <= least[0]
            spaces[f.name] = 0 if in_x else int(least[1] > least[0])
            if f.name in beside:
                source = beside[f.name]
                wanted = spaces[source] ^ (source not in windowed)
                spaces[f.name] = wanted if f.size <= least[wanted] else 1 - wanted
            for r in rooms:
                r[spaces[f.name]] -= f.size
    return spaces


def _read_beside(phases: Sequence[Phase]) -> dict[str, str]:
    """Return the states that are kept apart from their cells' sources, each with that source."""
    work = [phase.work for phase in phases if phase.work and phase.apart]
    parts = [p for w in work for p in w.pointwise() if p.kind.STATE_BESIDE]
    return {p.cell.name: p.source.name for p in parts}


def _used_by_vectors(phase: Phase, free: Collection[str]) -> tuple[Counter[Unit], Counter[Unit]]:
    """Return by scratchpad what the vector unit writes in a loop, `free` buffers left out."""
    spaces = {b.name: b.space for b in phase.buffers() if b.name not in free}
    found = Counter[Unit](), Counter[Unit]()
    for o in phase.body:
        for name in o.writes & spaces.keys() if o.unit is Unit.VECTOR else ():
            found[spaces[name]][Unit.VECTOR] += 1
    return found


def _most(buffers: Iterable[op.Buffer], live: Mapping[str, tuple[int, int]], space: int) -> int:
    """Return the most elements of a scratchpad at one time; who is not `live` is so for ever."""
    return peak(Span(b, *live.get(b.name, (0, SPAN))) for b in buffers if b.space == space)


def _lifetimes(
    phases: Sequence[Phase],
) -> tuple[list[op.Buffer], dict[str, tuple[int, int]]]:
    """Return all buffers, and when they must hold their data: phases follow one another."""
    buffers: dict[str, op.Buffer] = {}
    spans: dict[str, tuple[int, int]] = {}
    reads = sum((op.reading(phase.body) for phase in phases), Counter[str]())
    reads.subtract({name: reads[name] for name in _read_beside(phases)})  # in no window
    for phase in phases:
        start = phase.number * SPAN
        inside = phase.lifetimes()
        for b in phase.buffers():
            buffers[b.name] = replace(b, reads=reads[b.name])
            first, last = inside.get(b.name, (0, SPAN - 2))
            spans[b.name] = (start + first, start + last)
        for state in phase.ports.states:
            spans[state.name] = (spans[state.name][0], start + SPAN - 2)
    return list(buffers.values()), spans
