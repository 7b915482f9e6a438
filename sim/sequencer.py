"""The sequencer: what it executes (registers, loops) and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from einchip.program import (
    HOST_ARGS,
    LOOP_DEPTH,
    REGISTER_BITS,
    REGISTERS,
    TOKENS,
    EndLoop,
    Error,
    Give,
    Halt,
    Instruction,
    Load,
    Loop,
    Program,
    SetMode,
    SetRegister,
    Store,
    Sync,
    UnitInstruction,
)
from einchip.program import Unit as UnitName
from einchip.reference import Host, MachineError, Step
from einchip.sim.unit import RANK_SEQUENCER, Job, Stop, Unit
from einchip.sim.work import NEVER, Work

_MASK = (1 << REGISTER_BITS) - 1


class Sequencer:
    """Walks through the program and hands instructions to the units.

    What no unit can see (FETCH, LOOP, ENDLOOP, SETR) is walked through at once; `acts_at` is the
    next cycle in which others see something, and `act` does it.

    Members
    -------
    acts_at : cycle of the next action; NEVER while the unit's slot is taken, and in STOP and SYNC.
    halting : HALT was decoded.
    syncing : SYNC was decoded, and units were not idle since.
    pc : word index of the instruction that acts next.
    jobs : the instructions handed over so far.
    given : for each phase, how often GIVE gave each token; SYNC ends a phase.
    """

    def __init__(
        self,
        program: Program,
        host: Host,
        prepare: Callable[[Step], Work],
        units: Mapping[UnitName, Unit],
    ) -> None:
        self._code = list(program.addresses())
        self._n_words = program.n_words
        self._host, self._prepare, self._units = host, prepare, units
        self._registers: tuple[int, ...] = (0,) * REGISTERS
        self._at = 0
        self._loops: list[
            list[int]
        ] = []  # [index of the body's first instruction, iterations left]
        self._instruction: Instruction = Halt()
        self._error: MachineError | None = None
        self._job: Job | None = None  # in RESOLVE
        self._resolve_at = 0
        self._sync_at = 0
        self.acts_at, self.halting, self.syncing, self.pc = NEVER, False, False, 0
        self.jobs: list[Job] = []  # committed
        self.given: list[tuple[int, ...]] = [(0,) * TOKENS]
        self.instructions = self.stall = 0

    def fetch(self, t: int) -> None:
        """Walk on from the FETCH in cycle t to the next action."""
        try:
            while True:
                if self._at == len(self._code):
                    self.acts_at = t
                    raise MachineError(Error.NO_HALT, self._n_words)
                self.pc, i = self._code[self._at]
                self._at += 1
                self.instructions += 1
                left = self._loops[-1][1] if self._loops else 0
                if isinstance(i, Load | Store) and i.skipped(left):
                    t += 2
                    continue
                self._instruction = i
                self.acts_at = t + 1
                if isinstance(i, UnitInstruction):
                    self.acts_at += i.WORDS
                    return
                if isinstance(i, Halt | Give | Sync):
                    return
                self._execute(i)
                t += 2
        except MachineError as error:
            self._error = error

    def _execute(self, i: Instruction) -> None:
        """Do what LOOP, ENDLOOP and SETR do. Raises MachineError: FIELD, LOOP."""
        if isinstance(i, Loop):
            self._loop(i)
        elif isinstance(i, EndLoop):
            if not self._loops:
                raise MachineError(Error.LOOP, self.pc)
            self._loops[-1][1] -= 1
            if self._loops[-1][1]:
                self._at = self._loops[-1][0]
            else:
                self._loops.pop()
        elif isinstance(i, SetRegister):
            self._set(i)

    def _loop(self, i: Loop) -> None:
        if i.arg > HOST_ARGS:
            raise MachineError(Error.FIELD, self.pc)
        count = self._host.args[i.arg - 1] & _MASK if i.arg else i.count
        if count == 0:
            raise MachineError(Error.FIELD, self.pc)
        if len(self._loops) == LOOP_DEPTH:
            raise MachineError(Error.LOOP, self.pc)
        self._loops.append([self._at, count])

    def _set(self, i: SetRegister) -> None:
        if i.reg == 0 or i.mode > max(SetMode):
            raise MachineError(Error.FIELD, self.pc)
        old = self._registers[i.reg]
        new = (i.value, old + i.value, i.value - old)[i.mode] & _MASK
        self._registers = (*self._registers[: i.reg], new, *self._registers[i.reg + 1 :])

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
        self.stall += t - self._sync_at
        self.fetch(t + 1)

    def _resolve(self, i: UnitInstruction, c: int) -> Job | None:
        """Run a cycle of RESOLVE: check in the first, return the job if the slot is empty."""
        if self._job is None:
            work = self._prepare(Step(self.pc, i, self._registers))
            phase = len(self.given) - 1
            self._job = Job(len(self.jobs), work, self._registers, i.wait, i.signal, phase)
            self._resolve_at = c
        if self._units[i.UNIT].slot is not None:
            self.acts_at = NEVER
            return None
        job, self._job = self._job, None
        self.jobs.append(job)
        self.stall += c - self._resolve_at
        self.fetch(c + 1)
        return job

    def look(self, c: int) -> None:
        """Wake up for the cycle after c when the slot waited for was emptied in c."""
        if self._job is not None and self._units[self._instruction.UNIT].slot is None:
            self.acts_at = c + 1
