"""The sequencer: when it hands over what it executes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping

from einchip.program import (
    TOKENS,
    Give,
    Halt,
    Instruction,
    Program,
    Sync,
    UnitInstruction,
)
from einchip.program import Unit as UnitName
from einchip.reference import Host, MachineError, Step
from einchip.sim.record import Fetched, Record
from einchip.sim.unit import RANK_SEQUENCER, Job, Stop, Unit
from einchip.sim.walker import Walker
from einchip.sim.work import NEVER, Work


class Sequencer:
    """Walks through the program and hands instructions to the units.

    What no unit can see (FETCH, LOOP, ENDLOOP, SETR) is walked through at once; `acts_at` is the
    next cycle in which others see something, and `act` does it.

    Members
    -------
    walker : where it stands; behind the instruction that acts next.
    acts_at : cycle of the next action; NEVER while the unit's slot is taken, and in STOP and SYNC.
    halting : HALT was decoded.
    syncing : SYNC was decoded, and units were not idle since.
    pc : word index of the instruction that acts next.
    jobs : the instructions handed over so far.
    given : for each phase, how often GIVE gave each token; SYNC ends a phase.
    record : where it notes what it counts, cycle by cycle.
    """

    def __init__(
        self,
        program: Program,
        host: Host,
        prepare: Callable[[Step], Work],
        units: Mapping[UnitName, Unit],
    ) -> None:
        self.walker = Walker(program, host)
        self._prepare, self._units = prepare, units
        self._instruction: Instruction = Halt()
        self._error: MachineError | None = None
        self._job: Job | None = None  # in RESOLVE
        self._resolve_at = 0
        self._sync_at = 0
        self.acts_at, self.halting, self.syncing, self.pc = NEVER, False, False, 0
        self.jobs: list[Job] = []  # committed
        self.given: list[tuple[int, ...]] = [(0,) * TOKENS]
        self.instructions = self.stall = 0
        self.record: Record | None = None

    def timing_state(self, t: int) -> Hashable:
        """Return what the future depends on apart from registers and iterations left.

        Like no other state unless an instruction is about to act for the first time.
        """
        if self._error is not None or self._job is not None or self.halting or self.syncing:
            return object()
        return self.pc, self.acts_at - t, self.walker.at, self.walker.bodies

    def counts(self) -> list[int]:
        """Return the numbers that only add up."""
        return [self.instructions, self.stall]

    def add_counts(self, more: Iterable[int]) -> None:
        """Add to them."""
        instructions, stall = more
        self.instructions += instructions
        self.stall += stall

    def fetch(self, t: int) -> None:
        """Walk on from the FETCH in cycle t to the next action."""
        try:
            while True:
                self.acts_at = t
                self.pc, i, skipped = self.walker.take()
                self.instructions += 1
                if self.record is not None:
                    self.record.fetched.append(Fetched(t, self.pc, i, skipped))
                    self.record.add("instructions", t + 1, t + 2)
                if skipped:
                    t += 2
                    continue
                self._instruction = i
                self.acts_at = t + 1
                if isinstance(i, UnitInstruction):
                    self.acts_at += i.WORDS
                    return
                if isinstance(i, Halt | Give | Sync):
                    return
                self.walker.execute()
                t += 2
        except MachineError as error:
            self._error = error

    def act(self, c: int, stops: list[Stop]) -> tuple[Job | None, int]:
        """Act in cycle c = `acts_at`: return the job that a slot takes, and the tokens given."""
        i = self._instruction
        try:
            if self._error is not None:
                raise self._error
            if isinstance(i, UnitInstruction):
                return self._resolve(i, c), 0
        except MachineError as error:
            stops.append(Stop(c, RANK_SEQUENCER, error.code, error.address))
            self.acts_at = NEVER
            return None, 0
        if isinstance(i, Give):
            self.given[-1] = tuple(n + (i.mask >> k & 1) for k, n in enumerate(self.given[-1]))
            self.fetch(c + 1)
            return None, i.mask
        self.acts_at, self.syncing, self._sync_at = NEVER, isinstance(i, Sync), c + 1
        self.halting = not self.syncing
        return None, 0

    def end_sync(self, t: int) -> None:
        """Go on from SYNC: every unit is idle in cycle t, the first such one."""
        self.syncing = False
        self.given.append((0,) * TOKENS)
        self._stalled(self._sync_at, t)
        self.fetch(t + 1)

    def _resolve(self, i: UnitInstruction, c: int) -> Job | None:
        """Run a cycle of RESOLVE: check in the first, return the job if the slot is empty."""
        if self._job is None:
            work = self._prepare(Step(self.pc, i, self.walker.registers))
            phase = len(self.given) - 1
            self._job = Job(len(self.jobs), work, self.walker.registers, i.wait, i.signal, phase)
            self._resolve_at = c
        if self._units[i.UNIT].slot is not None:
            self.acts_at = NEVER
            return None
        job, self._job = self._job, None
        self.jobs.append(job)
        if self.record is not None:
            self.record.issued.append(c)
        self._stalled(self._resolve_at, c)
        self.fetch(c + 1)
        return job

    def _stalled(self, start: int, stop: int) -> None:
        """Count the cycles start .. stop - 1."""
        self.stall += stop - start
        if self.record is not None:
            self.record.add("sequencer_stall", start, stop)

    def look(self, c: int) -> None:
        """Wake up for the cycle after c when the slot waited for was emptied in c."""
        if self._job is not None and self._units[self._instruction.UNIT].slot is None:
            self.acts_at = c + 1
