"""What the units share: an instruction slot, a setup stage, and counters of what they did."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from einchip.arch import PORT_SPACES, Architecture
from einchip.program import Error
from einchip.sim.record import Record
from einchip.sim.run import Executed
from einchip.sim.shape import Shapes, from_now
from einchip.sim.work import NEVER, Burst, TransferWork, Work


@dataclass(slots=True)
class Job:
    """One instruction on its way through a unit.

    `index` counts them in program order, `phase` the SYNCs before it.
    """

    index: int
    work: Work
    registers: tuple[int, ...]
    wait: int
    signal: int
    phase: int = 0
    launch: int = -1
    completion: int | None = None

    def executed(self, cycles: int) -> Executed:
        """Return the record of a launched instruction in a run of that many cycles."""
        w, completion = self.work, self.completion
        if completion is not None and completion >= cycles:
            completion = None
        return Executed(
            self.index, w.pc, w.instruction, self.registers, self.launch, completion, self.phase,
            w.external if isinstance(w, TransferWork) else (0, 0),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Stop:
    """An error in time; of several in one cycle the one with the least `rank` counts."""

    cycle: int
    rank: int
    code: Error
    address: int


RANK_SEQUENCER, RANK_LOAD, RANK_STORE, RANK_TOKENS = 0, 7, 8, 9
#: Of the read ports (of X, of Y, of their windows), and of the write ports.
RANKS_READ, RANKS_WRITE = (2, 5, 1, 4), (3, 6)


def read_stop(granted: int, port: int, address: int) -> Stop:
    """Return the error of a read that was granted in a cycle: it is raised one cycle later."""
    return Stop(granted + 1, RANKS_READ[port], Error.ADDRESS, PORT_SPACES[port] << 31 | address)


def write_stop(granted: int, space: int, address: int) -> Stop:
    """Return the error of a write that was granted in a cycle: it is raised one cycle later."""
    return Stop(granted + 1, RANKS_WRITE[space], Error.ADDRESS, space << 31 | address)


class Unit:
    """Slot and setup stage of a unit, and its execution.

    Time advances in *stretches* of cycles. Within one, except in its last cycle, no instruction
    moves between sequencer, slot, stage and execution, and no token changes. `advance` of the unit
    that inherits from this runs execution through a stretch, given what the clients of higher
    priority did in it; `control` then does what happens in its last cycle.

    Parameters
    ----------
    setup_cycles : cycles that generate the lane offsets.
    stops : where the unit puts its errors.

    With a `record`, it notes there what it counts, cycle by cycle.
    """

    #: As it stands in the names of counters.
    NAME: ClassVar[str]
    #: Attributes that only add up: the future does not depend on them.
    COUNTS: ClassVar[frozenset[str]] = frozenset(
        ("reads", "writes", "stall_token", "stall_setup", "idle")
    )
    #: Attributes that hold nothing between two stretches, or that the machine looks at itself.
    TRANSIENT: ClassVar[frozenset[str]] = frozenset(("inactive_from", "done", "stops", "record"))
    #: Attributes that are cycles or spans of cycles, and do not matter once they are over.
    CYCLES: ClassVar[frozenset[str]] = frozenset(("ready_at",))

    def __init__(self, setup_cycles: int, stops: list[Stop]) -> None:
        self.setup_cycles = setup_cycles
        self.slot: Job | None = None
        self.stage: Job | None = None
        self.ready_at = 0
        self.job: Job | None = None
        self.inactive_from = 0  # first cycle without execution of the stretch last run
        self.done: list[Job] = []  # completed in the last cycle of the stretch last run
        self.stops = stops
        self.record: Record | None = None
        self.reads, self.writes = [0, 0], [0, 0]  # elements of X, of Y
        self.stall_token = self.stall_setup = self.idle = 0

    @property
    def empty(self) -> bool:
        """No instruction anywhere in the unit."""
        return self.slot is None and self.stage is None and self.job is None

    def timing_state(self, t: int, shapes: Shapes) -> dict[str, Hashable]:
        """Return, between two stretches, all that the unit's future depends on, as in cycle t.

        An attribute that is in none of COUNTS, TRANSIENT and CYCLES is part of it as it is. So a
        new one that is in the wrong place makes two states differ, never look alike.
        """
        found: dict[str, Hashable] = {}
        for name, value in vars(self).items():
            if name in self.COUNTS or name in self.TRANSIENT:
                continue
            if name in self.CYCLES:
                found[name] = from_now(value, t)
            else:
                found[name] = shapes.of(value.work) if isinstance(value, Job) else value
        return found

    def counts(self) -> list[int]:
        """Return the numbers that COUNTS names."""
        values = [getattr(self, name) for name in sorted(self.COUNTS)]
        return [n for v in values for n in (v if isinstance(v, list) else [v])]

    def add_counts(self, more: Iterable[int]) -> None:
        """Add to the numbers that COUNTS names, in the order of `counts`."""
        numbers = iter(more)
        for name in sorted(self.COUNTS):
            value = getattr(self, name)
            if isinstance(value, list):
                value[:] = [n + next(numbers) for n in value]
            else:
                setattr(self, name, value + next(numbers))

    def wakes_at(self, t: int, tokens: int) -> int:
        """Return the first cycle from t on in which the unit may change what others see of it.

        That is a move to the stage, a launch, a completion. A lower bound: nothing may happen then,
        but nothing happens before.
        """
        stage = self.stage
        if stage is None:
            moves = t if self.slot is not None else NEVER
        elif t < self.ready_at:
            moves = self.ready_at
        elif stage.wait & ~tokens:
            moves = NEVER
        else:
            moves = self.frees_at(t)
        completes = self.completes_at(t)
        return moves if moves < completes else completes

    def frees_at(self, t: int) -> int:
        """Return a lower bound of the cycle in which execution can take an instruction.

        NEVER where a completion comes first.
        """
        return t if self.job is None else NEVER

    def completes_at(self, t: int) -> int:
        """Return a lower bound of the next completion's cycle."""
        raise NotImplementedError

    def control(self, c: int, tokens: int) -> int:
        """End a stretch: launch or move in its last cycle c; return the tokens taken.

        `tokens` is the mask of those that are positive in c.
        """
        stage = self.stage
        launches = self.is_ready(c, tokens) and self.takes_in(c)
        if self.inactive_from <= c:
            self.count_inactive(self.inactive_from, c, launches)
        if stage is None:
            if self.slot is not None:
                self.stage, self.slot = self.slot, None
                self.ready_at = c + 1 + self.setup_cycles
        elif launches:
            stage.launch = c
            self.stage, self.job = None, stage
            self.start(stage, c)
            return stage.wait
        return 0

    def is_ready(self, c: int, tokens: int) -> bool:
        """Tell whether an instruction is in the stage and has its lanes and tokens in cycle c."""
        stage = self.stage
        return stage is not None and c >= self.ready_at and not stage.wait & ~tokens

    def takes_in(self, c: int) -> bool:
        """Tell whether execution can take the instruction in the stage in cycle c."""
        return self.job is None and self.inactive_from <= c

    def start(self, job: Job, c: int) -> None:
        """Prepare execution of an instruction launched in c."""
        raise NotImplementedError

    def count_inactive(self, a: int, c: int, launches: bool) -> None:
        """Count the cycles a .. c, which have no execution, by cause."""
        if self.stage is None:
            self.spend("idle", a, c + 1)
            return
        if a < c:
            self.spend("stall_setup" if a < self.ready_at else "stall_token", a, c)
        ends_set_up = launches or c < self.ready_at
        self.spend("stall_setup" if ends_set_up else "stall_token", c, c + 1)

    def spend(self, state: str, start: int, stop: int) -> None:
        """Count the cycles start .. stop - 1 under a state, an attribute of COUNTS."""
        self.__dict__[state] += stop - start
        if self.record is not None:
            self.record.add(f"{self.NAME}_{state}", start, stop)

    def complete(self, job: Job, t: int) -> None:
        """Note that an instruction is complete in cycle t."""
        job.completion = t
        self.done.append(job)


class TransferUnit(Unit):
    """What load and store unit share: bursts, in order, of one instruction behind the other.

    Parameters
    ----------
    latency : cycles from an address to its first beat, from a last beat to its response.
    most : bursts that may be in flight.

    Members
    -------
    transferred : beats that passed the scratchpads' ports.
    """

    COUNTS = Unit.COUNTS | {"transferred", "stall_port", "stall_memory"}
    TRANSIENT = Unit.TRANSIENT | {"_bursts", "_owner", "_addressed"}  # see `timing_state`
    CYCLES = Unit.CYCLES | {"_next_address"}

    def __init__(self, arch: Architecture, stops: list[Stop], latency: int, most: int) -> None:
        super().__init__(0, stops)
        self.latency = max(1, latency)
        self.port_elements = arch.port_elements
        self._most = most
        self._bursts: deque[Burst] = deque()  # whose addresses wait for one in flight to end
        self._owner: Job | None = None  # of these bursts; None: the program fetch
        self._addressed = 0  # its beats with an address
        self._next_address = 0  # first cycle in which the next address can be accepted
        self.transferred = self.stall_port = self.stall_memory = 0

    @property
    def in_flight(self) -> int:
        """Bursts with an address whose last beat (response) is still to come."""
        raise NotImplementedError

    def take_off(self, job: Job | None, burst: Burst, at: int, moved: int, last: bool) -> None:
        """Put a burst in flight: address in `at`, behind `moved` beats of its job, or its last."""
        raise NotImplementedError

    def next_end(self, t: int) -> int:
        """Return a lower bound of the cycle in which the first burst in flight ends."""
        raise NotImplementedError

    def next_last(self, t: int) -> int:
        """Return a lower bound of the cycle in which the next last burst of a job ends."""
        raise NotImplementedError

    @property
    def empty(self) -> bool:
        return super().empty and not self.in_flight

    def timing_state(self, t: int, shapes: Shapes) -> dict[str, Hashable]:
        found = super().timing_state(t, shapes)
        left = tuple(b.beats for b in self._bursts)
        found["waiting"] = left and (self._owner and shapes.of(self._owner.work), left)
        found["flights"] = self.flights_state(t, shapes)
        return found

    def flights_state(self, t: int, shapes: Shapes) -> Hashable:
        """Return what the future depends on of the bursts in flight, as in cycle t."""
        raise NotImplementedError

    def transfer(self, job: Job) -> TransferWork:
        """Return what a job has to do."""
        if not isinstance(job.work, TransferWork):
            raise TypeError(f"load and store unit cannot execute {job.work}")
        return job.work

    def start(self, job: Job, c: int) -> None:
        self.job = None  # the next one may launch before this one is complete
        self.begin(job, self.transfer(job).bursts, c)

    def begin(self, job: Job | None, bursts: tuple[Burst, ...], c: int) -> None:
        """Issue the addresses of a job launched in cycle c, or of the program fetch."""
        self._owner, self._addressed = job, 0
        self._bursts.extend(bursts)
        for _ in range(min(len(bursts), self._most - self.in_flight)):
            self.issue_after(c)

    def issue_after(self, t: int) -> None:
        """Let the next address, if any is left, be accepted after cycle t."""
        if not self._bursts:
            return
        at = max(t + 1, self._next_address)
        burst = self._bursts.popleft()
        self.take_off(self._owner, burst, at, self._addressed, not self._bursts)
        self._addressed += burst.beats
        self._next_address = at + 1

    def frees_at(self, t: int) -> int:
        if self._bursts:
            return self.next_end(t) + 2
        return max(t, self._next_address)

    def takes_in(self, c: int) -> bool:
        return not self._bursts and c >= self._next_address

    def completes_at(self, t: int) -> int:
        return self.next_last(t) if self.in_flight else NEVER

    def count_inactive(self, a: int, c: int, launches: bool) -> None:
        if self.stage is None:
            self.spend("idle", a, c + 1)
            return
        self.spend("stall_token", a, c + 1 - launches)
        if launches:
            self.spend("idle", c, c + 1)

    def note_bus_fault(self, t: int, rank: int, code: Error, burst: Burst) -> None:
        """Note that the memory answers an error in cycle t."""
        self.stops.append(Stop(t, rank, code, burst.address & 0xFFFF_FFFF))
