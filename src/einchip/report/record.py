"""What every unit did in every cycle of a run, by cause and by instruction.

The simulator records what its counters count when (`sim.Record`), so each unit's state in every
cycle is known; its timeline tells to whom a cycle belongs: one of execution to the instruction that
is executed (of load and store the oldest one that is not complete), one of waiting to the next
instruction that launches.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einchip import sim
from einchip.arch import Architecture
from einchip.program import Program, Unit
from einchip.reference import Host
from einchip.sim import Executed, Run, states

#: The units, by their prefix in the names of counters.
UNITS: Final = {
    "array": Unit.ARRAY, "vector": Unit.VECTOR, "load": Unit.LOAD, "store": Unit.STORE,
}  # fmt: skip
#: Each unit's states, in the order of the register map: exactly one holds in every cycle.
STATES: Final[dict[str, tuple[str, ...]]] = {
    u: tuple(s.removeprefix(f"{u}_") for s in states.STATES[u]) for u in UNITS
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
    detail: int,
    n_bins: int,
) -> Record:
    """Run a program, and note what it does; `detail` and `n_bins` are the most wanted.

    Raises ValueError where the machine stops with an error.
    """
    noted = sim.Record()
    run = sim.simulate(
        program, arch, host=host, external_bytes=external_bytes, latency=latency,
        check_banks=False, record=noted,
    )  # fmt: skip
    if run.error is not None:
        raise ValueError(f"the machine stopped with {run.error[0].name}")
    rises = states.state_rises(noted, run.cycles)
    units = []
    for name, unit in UNITS.items():
        state = np.argmax([rises[s] for s in states.STATES[name]], axis=0)
        units.append(_UnitRun(name, state, [job for job in run.timeline if job.unit is unit]))
    return _record(run, units, min(detail, run.cycles), -(-run.cycles // n_bins))


@dataclass(frozen=True)
class _UnitRun:
    """A unit's run: its state in each cycle, as its place in STATES, and what it executed."""

    name: str
    state: NDArray[np.intp]
    jobs: Sequence[Executed]

    def holds(self, *names: str) -> NDArray[np.bool_]:
        """Return in which cycles one of these states holds: (cycles,)."""
        return np.isin(self.state, [k for k, s in enumerate(STATES[self.name]) if s in names])

    @cached_property
    def words(self) -> NDArray[np.int64]:
        """The word of the instruction that each cycle belongs to: (cycles,)."""
        return np.array([*(job.pc for job in self.jobs), _PC_NONE])[self.owners]

    @cached_property
    def owners(self) -> NDArray[np.intp]:
        """The number of the job that each cycle belongs to, the last or -1 for none: (cycles,)."""
        cycles, n = np.arange(len(self.state)), len(self.jobs)
        following = np.searchsorted([job.launch for job in self.jobs], cycles)
        executed = following - 1
        if self.name in ("load", "store"):
            oldest = np.searchsorted(_completions(self.jobs), cycles)
            executed = np.where(oldest < following, oldest, n)
        return np.where(self.holds(*WAITING), following, executed)

    def segments(self) -> Iterator[Segment]:
        """Yield the whole run, in order of time."""
        changes = (np.diff(self.state) != 0) | (np.diff(self.words) != 0)
        starts = np.flatnonzero(np.concatenate(([True], changes)))
        lengths = np.diff(starts, append=len(self.state))
        columns = (starts, lengths, self.state[starts], self.words[starts])
        for start, cycles, state, pc in zip(*(c.tolist() for c in columns), strict=True):
            yield Segment(start, cycles, STATES[self.name][state], pc)

    def waits(self, givers: Mapping[int, Sequence[Executed]]) -> Iterator[Wait]:
        """Yield the waits for tokens by instruction and giver, the longest first."""
        found = Counter[tuple[int, int]]()
        waited = np.bincount(self.owners[self.holds("stall_token")], minlength=len(self.jobs))
        for job, cycles in zip(self.jobs, waited.tolist(), strict=True):
            if cycles:
                found[job.pc, _giver(job, givers)] += cycles
        for (pc, giver), cycles in found.most_common():
            yield Wait(self.name, pc, giver, cycles)


def _record(run: Run, units: Sequence[_UnitRun], detail: int, width: int) -> Record:
    """Add up what the units did; bins are `width` cycles long."""
    by_pc = Counter[tuple[str, str, int]]()
    bins: dict[tuple[str, str], tuple[int, ...]] = {}
    segments: dict[str, tuple[Segment, ...]] = {}
    issues: dict[int, tuple[int, ...]] = {}
    for unit in units:
        found = list(unit.segments())
        for s in found:
            by_pc[unit.name, s.state, s.pc] += s.cycles
        segments[unit.name] = tuple(
            s._replace(cycles=min(s.cycles, detail - s.start)) for s in found if s.start < detail
        )
        for state in STATES[unit.name]:
            bins[unit.name, state] = _binned(unit.holds(state), width)
        if unit.name == "array":
            pcs = dict.fromkeys(s.pc for s in found if s.state == "issue")
            issued = unit.holds("issue")
            issues = {pc: _binned(issued & (unit.words == pc), width) for pc in pcs}
    givers: dict[int, list[Executed]] = defaultdict(list)
    for job, completion in zip(run.timeline, _completions(run.timeline), strict=True):
        givers[completion].append(job)
    waits = tuple(w for unit in units for w in unit.waits(givers))
    return Record(run, detail, segments, by_pc, width, bins, issues, waits)


def _binned(holds: NDArray[np.bool_], width: int) -> tuple[int, ...]:
    """Return in how many cycles of each bin something holds."""
    return tuple(np.add.reduceat(holds, np.arange(0, len(holds), width), dtype=int).tolist())


def _completions(jobs: Sequence[Executed]) -> list[int]:
    """Return when jobs completed, as all do in a run without an error."""
    return [job.completion for job in jobs if job.completion is not None]


def _giver(job: Executed, givers: Mapping[int, Sequence[Executed]]) -> int:
    """Return the word of who gave a job the last token that it missed.

    A token is positive from the cycle behind the giver's completion on, and the job launches then.
    """
    by = (
        g.pc for g in givers.get(job.launch - 1, ()) if g.instruction.signal & job.instruction.wait
    )
    return next(by, _PC_NONE)
