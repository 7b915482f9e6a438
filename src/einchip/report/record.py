"""What every unit did in every cycle of a run, by cause and by instruction.

The simulator goes through time in stretches and counts; here the same machine is stopped at the end
of every stretch, and what the counters of `registers.COUNTERS` grew by belongs to that stretch. In
the first `detail` cycles every stretch is one cycle long, so that the order of states is known;
behind them stretches end at the borders of the bins at the latest.

To whom a cycle belongs: one of execution to the instruction that is executed (of load and store the
oldest one that is not complete), one of waiting to the next instruction that launches.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from einchip.arch import Architecture
from einchip.program import Program, Unit
from einchip.reference import Host
from einchip.registers import COUNTERS
from einchip.sim import Executed, Run
from einchip.sim.machine import _Machine  # its loop over stretches has no public name
from einchip.sim.work import NEVER

#: The units, by their prefix in the names of counters.
UNITS: Final = {
    "array": Unit.ARRAY, "vector": Unit.VECTOR, "load": Unit.LOAD, "store": Unit.STORE,
}  # fmt: skip
#: Counters named after a unit that do not count its cycles.
_NO_STATES: Final = ("vector_ops",)
#: Each unit's states, in the order of the register map: exactly one holds in every cycle.
STATES: Final[dict[str, tuple[str, ...]]] = {
    u: tuple(
        c.name.removeprefix(f"{u}_")
        for c in COUNTERS
        if c.name.startswith(f"{u}_") and c.name not in _NO_STATES
    )
    for u in UNITS
}
#: States in which a unit does its work.
WORK: Final = ("issue", "transfer")
#: States without an instruction in execution.
WAITING: Final = ("stall_token", "stall_setup", "idle")
_PC_NONE: Final = -1


class Segment(NamedTuple):
    """Cycles `start` .. `start + cycles - 1` of a unit, all in one state.

    `pc` is the word of the instruction that they belong to, -1 for none (the program's fetch, the
    time behind the last instruction).
    """

    start: int
    cycles: int
    state: str
    pc: int


class Wait(NamedTuple):
    """A unit's wait for tokens before an instruction, and who gave the last one missing.

    `giver` is the word of the instruction that completed in the cycle before; -1: the sequencer.
    """

    unit: str
    pc: int
    giver: int
    cycles: int


@dataclass(frozen=True)
class Record:
    """A run, cycle for cycle.

    Attributes
    ----------
    run : what the simulator gives back, its timeline included.
    detail : cycles that `segments` cover; all of a unit's segments together are that long.
    segments : by unit, in order of time.
    by_pc : cycles of the whole run by unit, state and word of the instruction.
    bin_cycles : length of a bin; the last one may be shorter.
    bins : by unit and state, cycles in each bin.
    issues : by word of the instruction, slots that the array issued in each bin.
    waits : the waits for tokens of the whole run, added up.
    """

    run: Run
    detail: int
    segments: Mapping[str, tuple[Segment, ...]]
    by_pc: Mapping[tuple[str, str, int], int]
    bin_cycles: int
    bins: Mapping[tuple[str, str], tuple[int, ...]]
    issues: Mapping[int, tuple[int, ...]]
    waits: tuple[Wait, ...]

    def totals(self, unit: str) -> dict[str, int]:
        """Return a unit's cycles by state; they add up to the run's cycles."""
        found = dict.fromkeys(STATES[unit], 0)
        for (u, state, _), n in self.by_pc.items():
            if u == unit:
                found[state] += n
        return found


def record(
    program: Program,
    arch: Architecture,
    host: Host,
    external_bytes: int,
    latency: int,
    *,
    cycles: int,
    detail: int,
    n_bins: int,
) -> Record:
    """Run a program of so many `cycles` (as `sim.simulate` counts them), and note what it does.

    Raises ValueError where the run takes another number of cycles.
    """
    machine = _Recorder(program, arch, external_bytes, host, latency)
    machine.detail, machine.bin_cycles = detail, max(1, -(-cycles // n_bins))
    run = machine.run(True, 0, True)
    if run.cycles != cycles:
        raise ValueError(f"cycles: found {run.cycles}, expected {cycles}")
    return _Summary(run, machine).record()


class _Piece(NamedTuple):
    """Cycles of one state in a stretch."""

    start: int
    cycles: int
    state: str


@dataclass
class _Notes:
    """What is noted of one unit: pieces in order of time, and the counts so far."""

    pieces: list[_Piece] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class _Recorder(_Machine):
    """The simulator's machine; notes what its counters grow by in each stretch."""

    detail = 0
    bin_cycles = 1

    def __init__(
        self,
        program: Program,
        arch: Architecture,
        external_bytes: int,
        host: Host,
        latency: int,
    ) -> None:
        super().__init__(program, arch, external_bytes, host, latency, False)
        self.notes = {u: _Notes(counts=dict.fromkeys(STATES[u], 0)) for u in UNITS}
        self.noted = 0  # cycles

    def stretch(self, t: int) -> int:
        if self.noted < t:  # cycle 0 of a fetch, which is no stretch
            self._note(t)
        last = super().stretch(t)
        if last == NEVER:
            return last
        end = t if t < self.detail else (t // self.bin_cycles + 1) * self.bin_cycles - 1
        return min(last, end)

    def control(self, c: int) -> None:
        super().control(c)
        self._note(c + 1)

    def _note(self, end: int) -> None:
        """Note what was counted from the cycle that follows the last note to `end` - 1."""
        for name, notes in self.notes.items():
            unit = self.by_name[UNITS[name]]
            for state, old in notes.counts.items():
                new = getattr(unit, "transferred" if state == "transfer" else state)
                if new > old:
                    notes.pieces.append(_Piece(self.noted, new - old, state))
                    notes.counts[state] = new
        self.noted = end


class _Summary:
    """Adds up what a recorder noted."""

    def __init__(self, run: Run, machine: _Recorder) -> None:
        self.run, self.machine = run, machine
        self.jobs: dict[str, list[Executed]] = {u: [] for u in UNITS}
        names = {unit: name for name, unit in UNITS.items()}
        for job in run.timeline:
            self.jobs[names[job.unit]].append(job)

    def record(self) -> Record:
        """Return the record."""
        cycles, width = self.run.cycles, self.machine.bin_cycles
        detail = min(self.machine.detail, cycles)
        n_bins = -(-cycles // width)
        by_pc = Counter[tuple[str, str, int]]()
        bins: dict[tuple[str, str], list[int]] = {
            (u, s): [0] * n_bins for u in UNITS for s in STATES[u]
        }
        issues: dict[int, list[int]] = defaultdict(lambda: [0] * n_bins)
        segments: dict[str, tuple[Segment, ...]] = {}
        for name in UNITS:
            owned = list(self._owned(name))
            for s in owned:
                by_pc[name, s.state, s.pc] += s.cycles
                bins[name, s.state][s.start // width] += s.cycles
                if name == "array" and s.state == "issue":
                    issues[s.pc][s.start // width] += s.cycles
            segments[name] = tuple(_joined(s for s in owned if s.start < detail))
        return Record(
            self.run, detail, segments, by_pc, width,
            {key: tuple(values) for key, values in bins.items()},
            {pc: tuple(values) for pc, values in issues.items()},
            tuple(self._waits()),
        )  # fmt: skip

    def _owned(self, name: str) -> Iterator[Segment]:
        """Yield a unit's pieces with the instructions that they belong to."""
        jobs = self.jobs[name]
        launches = [j.launch for j in jobs]
        in_order = name in ("load", "store")
        done = [j.completion if j.completion is not None else NEVER for j in jobs]
        for start, cycles, state in self.machine.notes[name].pieces:
            if state in WAITING:
                number = bisect_left(launches, start)  # launches in this piece or later
            elif in_order:
                number = bisect_left(done, start)
                number = number if number < len(jobs) and launches[number] < start else len(jobs)
            else:
                number = bisect_right(launches, start - 1) - 1
            pc = jobs[number].pc if 0 <= number < len(jobs) else _PC_NONE
            yield Segment(start, cycles, state, pc)

    def _waits(self) -> Iterator[Wait]:
        """Yield the waits for tokens by unit, instruction and giver, a unit's longest first."""
        givers: dict[int, list[Executed]] = defaultdict(list)
        for job in self.run.timeline:
            if job.completion is not None and job.instruction.signal:
                givers[job.completion].append(job)
        for name, jobs in self.jobs.items():
            found = Counter[tuple[int, int]]()
            launches = [j.launch for j in jobs]
            for start, cycles, state in self.machine.notes[name].pieces:
                if state == "stall_token":
                    found[_given(jobs, bisect_left(launches, start), givers)] += cycles
            for (pc, giver), cycles in found.most_common():
                yield Wait(name, pc, giver, cycles)


def _given(
    jobs: Sequence[Executed], number: int, givers: Mapping[int, Sequence[Executed]]
) -> tuple[int, int]:
    """Return the words of a job that waited, and of who gave it the last token that it missed.

    A token is positive from the cycle behind the giver's completion on, and the job launches then.
    """
    if number == len(jobs):
        return _PC_NONE, _PC_NONE
    job = jobs[number]
    by = [
        g.pc for g in givers.get(job.launch - 1, ()) if g.instruction.signal & job.instruction.wait
    ]
    return job.pc, by[0] if by else _PC_NONE


def _joined(segments: Iterator[Segment]) -> Iterator[Segment]:
    """Yield neighbours of one state and one instruction as one."""
    last: Segment | None = None
    for s in segments:
        if (
            last
            and last.state == s.state
            and last.pc == s.pc
            and last.start + last.cycles == s.start
        ):
            last = last._replace(cycles=last.cycles + s.cycles)
            continue
        if last:
            yield last
        last = s
    if last:
        yield last
