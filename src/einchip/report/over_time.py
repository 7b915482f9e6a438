"""Time: every cycle of a run by unit, shares over time, what the scratchpads hold when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from einchip.accesses import accesses
from einchip.compiler.plan import Buffer
from einchip.program import Unit
from einchip.report.data import (
    BufferFigures,
    Life,
    MemoryFigures,
    Scratchpad,
    Segment,
    Timeline,
    Utilisation,
)
from einchip.report.program import Code
from einchip.report.record import UNITS, WORK, Record
from einchip.report.steps import Steps
from einchip.sim import Executed

#: Most pieces of the timeline, and most rectangles of the memory map, that are drawn.
MAX_SEGMENTS: Final = 6000
MAX_LIVES: Final = 3000
#: What a CONTRACT reads slot by slot; an addend is read while rows drain.
OPERANDS: Final = ("X operand", "Y operand")
#: Time steps in front of the one that is shown as the steady state.
WARM: Final = 2
Space = Literal["X", "Y"]
Kind = Literal["constant", "input", "intermediate", "state or output"]


def space_name(space: int) -> Space:
    """Return the name of a scratchpad."""
    return "Y" if space else "X"


def timeline(steps: Steps) -> Timeline:
    """Return the states of all units in the first cycles of the run that is drawn."""
    n_steps, made = steps.runs.drawn
    end = _drawn_cycles(made)
    found = []
    for unit in UNITS:
        for s in made.segments[unit]:
            if s.start < end:
                line = steps.code.lines.get(s.pc)
                found.append(
                    Segment(
                        unit=unit,
                        start=s.start,
                        cycles=min(s.cycles, end - s.start),
                        state=s.state,
                        operation=line.operation.name if line else "",
                    )
                )
    run_cycles = made.run.cycles
    rule = f"all {run_cycles:,} cycles of a run of {n_steps:,} time steps"
    if end < run_cycles:
        rule = f"the first {end:,} of {run_cycles:,} cycles of a run of {n_steps:,} time steps"
    first, last = steady_step(steps.code, made, end)
    return Timeline(
        n_steps=n_steps, run_cycles=run_cycles, cycles=end, rule=rule, step_start=first,
        step_end=last, segments=tuple(found),
    )  # fmt: skip


def _drawn_cycles(made: Record) -> int:
    """Return up to which cycle the order of states is known and not too long to draw."""
    starts = sorted(s.start for own in made.segments.values() for s in own)
    return made.detail if len(starts) <= MAX_SEGMENTS else starts[MAX_SEGMENTS]


def steady_step(code: Code, made: Record, end: int) -> tuple[int | None, int | None]:
    """Return the cycles of a time step of the first loop in the steady state, before `end`.

    From the launch of the array's first instruction in the loop to its next launch.
    """
    first = next(
        (
            pc
            for pc, line in code.lines.items()
            if line.operation.part == "time step" and line.instruction.UNIT is Unit.ARRAY
        ),
        None,
    )
    launches = [job.launch for job in made.run.timeline if job.pc == first and job.launch <= end]
    if len(launches) < 2:
        return None, None
    number = min(WARM, len(launches) - 2)
    return launches[number], launches[number + 1]


def utilisation(steps: Steps) -> Utilisation:
    """Return the share of each bin in which units work, and what part of the multipliers does.

    The MACs of an instruction count as evenly spread over its slots.
    """
    _, made = steps.runs.drawn
    width, cycles = made.bin_cycles, made.run.cycles
    sizes = [min(width, cycles - k * width) for k in range(-(-cycles // width))]
    units = {
        unit: tuple(
            round(sum(made.bins[unit, s][k] for s in WORK if (unit, s) in made.bins) / n, 6)
            for k, n in enumerate(sizes)
        )
        for unit in UNITS
    }
    macs = [0.0] * len(sizes)
    for pc, issues in made.issues.items():
        launched = sum(job.pc == pc for job in made.run.timeline)
        each = steps.actions[pc]["macs"] * launched / sum(issues)
        for k, n in enumerate(issues):
            macs[k] += each * n
    possible = steps.arch.n_pes
    return Utilisation(
        bin_cycles=width,
        units=units,
        multipliers=tuple(round(m / (n * possible), 6) for m, n in zip(macs, sizes, strict=True)),
    )


# --- scratchpads -------------------------------------------------------------------------------
class _Copy(NamedTuple):
    """One copy of a buffer."""

    buffer: Buffer
    number: int


@dataclass
class _Value:
    """Cycles in which a copy of a buffer holds one value; `read`: it was read already."""

    start: int
    end: int
    read: bool = False


@dataclass
class _Lives:
    """Finds out when buffers hold values, instruction by instruction in the order of launches."""

    code: Code
    values: dict[_Copy, list[_Value]] = field(default_factory=dict)

    def execute(self, job: Executed, following: int) -> None:
        """Note the reads of an instruction, then its writes; the unit's next launch is known.

        The array launches its next instruction when all slots of this one have issued, so that its
        operands are read by then, and writes nothing before the first rows are through the drain.
        """
        line, arch = self.code.lines[job.pc], self.code.arch
        names = (*line.operation.reads, *line.operation.writes)
        start, end = job.launch, (job.launch if job.completion is None else job.completion) + 1
        first, read = start, end
        if job.unit is Unit.ARRAY:
            first = start + 1 + arch.accumulate_latency + arch.drain_latency
            read = min(end, following + 1)
        found = [
            (a.write, copy, read if a.what in OPERANDS else end)
            for a in accesses(job.instruction, job.registers, arch)
            if (copy := self._copy(a.space, a.base, names)) and not copy.buffer.constant
        ]
        for write, copy, last in sorted(found, key=lambda item: item[0]):
            if write:
                self._write(copy, first, end)
            else:
                self._read(copy, start, last)

    def _copy(self, space: int, address: int, names: Iterable[str]) -> _Copy | None:
        """Return the buffer at an address; of several that share the place, one of these names."""
        found = [
            b
            for b in self.code.plan.buffers
            if b.space == space and b.base <= address < b.base + b.elements * b.copies
        ]
        named = [b for b in found if any(_is_of(name, b.name) for name in names)]
        for b in named or found:
            return _Copy(b, (address - b.base) // b.elements)
        return None

    def _read(self, copy: _Copy, start: int, end: int) -> None:
        values = self.values.setdefault(copy, [_Value(start, end)])
        values[-1].end = max(values[-1].end, end)
        values[-1].read = True

    def _write(self, copy: _Copy, start: int, end: int) -> None:
        values = self.values.setdefault(copy, [])
        if values and not values[-1].read:
            values[-1].end = max(values[-1].end, end)
            return
        if values:
            values[-1].end = min(values[-1].end, max(start, values[-1].start + 1))
        values.append(_Value(start, end))


def _is_of(name: str, buffer: str) -> bool:
    """Tell whether a name is a buffer's, or that of a copy, slice or share of it."""
    return name == buffer or (name.startswith(buffer) and name[len(buffer)] in ".@/")


def memory(steps: Steps, drawn: Timeline) -> MemoryFigures:
    """Return the buffers, and what they hold while the timeline goes on."""
    plan, arch = steps.code.plan, steps.arch
    _, made = steps.runs.drawn
    lives = sorted(_lives(steps, made, drawn.cycles), key=lambda v: (v.start, v.space, v.base))
    rule = f"values of the cycles 0 to {drawn.cycles:,}, from the first write to the last read"
    if len(lives) > MAX_LIVES:
        rule = f"the first {MAX_LIVES:,} of {len(lives):,} values of the timeline"
        lives = lives[:MAX_LIVES]
    pads = tuple(
        Scratchpad(
            space=space_name(space),
            capacity=arch.capacity(space),
            placed=max(
                (b.base + b.elements * b.copies for b in plan.buffers if b.space == space),
                default=0,
            ),
            peak=_peak([v for v in lives if v.space == space_name(space)]),
        )
        for space in (0, 1)
    )
    buffers = tuple(
        BufferFigures(**b.model_dump(exclude={"space"}), space=space_name(b.space))
        for b in sorted(plan.buffers, key=lambda b: (b.space, b.base))
    )
    return MemoryFigures(scratchpads=pads, buffers=buffers, lives=tuple(lives), rule=rule)


def _lives(steps: Steps, made: Record, end: int) -> Iterator[Life]:
    found = _Lives(steps.code)
    following = dict[Unit, int]()
    jobs = []
    for job in reversed(made.run.timeline):
        jobs.append((job, following.get(job.unit, made.run.cycles)))
        following[job.unit] = job.launch
    for job, after in reversed(jobs):
        if job.launch < end:
            found.execute(job, after)
    kinds = _kinds(steps.code)
    for b in steps.code.plan.buffers:
        if b.constant:
            yield _life(b, 0, "constant", _Value(0, end), end)
    for copy, values in found.values.items():
        kind = kinds.get(copy.buffer.name, "state or output")
        for value in values:
            if value.start < end:
                yield _life(copy.buffer, copy.number, kind, value, end)


def _life(b: Buffer, copy: int, kind: Kind, value: _Value, end: int) -> Life:
    return Life(
        buffer=b.name, kind=kind, space=space_name(b.space), base=b.base + copy * b.elements,
        elements=b.elements, start=value.start, end=min(value.end, end),
    )  # fmt: skip


def _kinds(code: Code) -> dict[str, Kind]:
    """Return which buffers are inputs, and which are between two steps of the array."""
    units: dict[str, set[Unit]] = {}
    for line in code.lines.values():
        for name in (*line.operation.reads, *line.operation.writes):
            for b in code.plan.buffers:
                if _is_of(name, b.name):
                    units.setdefault(b.name, set()).add(line.instruction.UNIT)
    found: dict[str, Kind] = {}
    for name, touching in units.items():
        if Unit.LOAD in touching:
            found[name] = "input"
        elif touching == {Unit.ARRAY}:
            found[name] = "intermediate"
    return found


def _peak(lives: Iterable[Life]) -> int:
    """Return the most elements that hold a value at one time."""
    changes = sorted(c for v in lives for c in ((v.start, v.elements), (v.end, -v.elements)))
    now = most = 0
    for _, n in changes:
        now += n
        most = max(most, now)
    return most
