"""One start of the RTL as jobs of the native harness: what goes in before it, what comes out.

Jobs after the first only reset the machine, so that its memories keep what the job before left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from einchip.arch import Architecture
from einchip.program import WORD_BYTES, Halt, Load, Program, Space, Store
from einchip.reference import Memory, from_bytes, to_bytes
from einchip.registers import ADDRESS, CONTROL_FETCH, CONTROL_START
from einchip.verify import jobs
from einchip.verify.jobs import Job, Operation
from einchip.verify.machine import (
    DEFAULT_MAX_CYCLES,
    PAGE_BYTES,
    RUN_REGISTERS,
    RtlError,
    RtlRun,
    whole_pages,
)
from einchip.verify.native import Harness


@dataclass(frozen=True)
class RtlStart:
    """One start of a machine.

    Attributes
    ----------
    arch : the machine.
    host : the registers that are written before it, by name.
    fetch : fetch the program from memory, else run `program`.
    program : the words in program memory before it.
    latency : of the memory, in cycles.
    max_cycles : most cycles that it may take.
    """

    arch: Architecture
    host: Mapping[str, int]
    fetch: bool
    program: bytes
    latency: int
    max_cycles: int

    def run(self, harness: Harness, memory: Memory) -> RtlRun:
        """Run it, and change `memory` as the machine does.

        Raises RtlError where the machine does not stop, or where reads and writes of external
        memory overlap, whose order is open; HarnessError where it breaks a rule of its interfaces.
        """
        before = [self._fill(memory)] if memory.x.any() or memory.y.any() else []
        if self.program and not self.fetch:
            before += self._put_program()
        todo = [*before, self._main(memory), self._empty()]
        results = harness.run([replace(job, fresh=k == 0) for k, job in enumerate(todo)])
        for outcome in (o for result in results for o in result.outcomes):
            if outcome.status is not jobs.Status.OK:
                raise RtlError(f"found no stop within {self.max_cycles:,} cycles")
        main, emptied = results[-2:]
        if main.hazards:
            raise RtlError(
                f"found {main.hazards} reads and writes of external memory that overlap while open"
            )
        memory.external[:] = main.outcomes[-1].data
        for space, outcome in zip(Space, emptied.outcomes[-len(Space) :], strict=True):
            memory.space(space)[:] = from_bytes(outcome.data, self.arch)
        values = [o.value for o in main.outcomes[-1 - len(RUN_REGISTERS) : -1]]
        return RtlRun.of(values)

    def _main(self, memory: Memory) -> Job:
        """The start itself; what is behind the end of external memory answers errors."""
        n_bytes = len(memory.external)
        used = bytes(memory.external).rstrip(b"\0")
        control = CONTROL_START | (CONTROL_FETCH if self.fetch else 0)
        reads = [jobs.ReadRegister(ADDRESS[name]) for name in RUN_REGISTERS]
        operations = [
            jobs.Load(0, used),
            *self._started(self.host, control, self.max_cycles),
            *reads,
            jobs.Dump(0, n_bytes),
        ]
        return Job(n_bytes, operations, latency_cycles=self.latency)

    def _fill(self, memory: Memory) -> Job:
        """Load both scratchpads."""
        contents = [to_bytes(memory.space(s), self.arch) for s in Space]
        loads = [jobs.Load(at, c) for at, c in zip(self._copies, contents, strict=True)]
        return self._moved(Load, loads, [])

    def _empty(self) -> Job:
        """Store both scratchpads, and get what they hold."""
        sizes = [self.arch.capacity(s) * self.arch.element_bytes for s in Space]
        dumps = [jobs.Dump(at, n) for at, n in zip(self._copies, sizes, strict=True)]
        return self._moved(Store, [], dumps)

    @property
    def _copies(self) -> tuple[int, int]:
        """Where the scratchpads' copies lie in the memory of a job of their own."""
        return 0, whole_pages(self.arch.capacity(Space.X) * self.arch.element_bytes)

    def _moved(
        self, kind: type[Load | Store], before: Sequence[Operation], after: Sequence[Operation]
    ) -> Job:
        """Run a program that moves both scratchpads whole."""
        moves = [
            kind(space=s, ext_offset=at, beats=self.arch.capacity(s) // self.arch.port_elements)
            for s, at in zip(Space, self._copies, strict=True)
        ]
        code = self._copies[1] + whole_pages(self.arch.capacity(Space.Y) * self.arch.element_bytes)
        operations = [*before, *self._fetched(Program((*moves, Halt())).encode(), code), *after]
        return Job(code + PAGE_BYTES, operations)

    def _put_program(self) -> Iterator[Job]:
        """Put the program into program memory without running it.

        All of it is fetched behind a HALT; then its first word, alone: a fetch is over, without a
        start, at a word that memory refuses.
        """
        rest = Halt().encode() + self.program[WORD_BYTES:]
        yield Job(whole_pages(len(rest)), self._fetched(rest))
        first = self.program[:WORD_BYTES] + bytes(WORD_BYTES)
        yield Job(PAGE_BYTES, self._fetched(first), faults=[(WORD_BYTES, len(first))])

    def _fetched(self, words: bytes, at: int = 0) -> list[Operation]:
        """Put a program into external memory and start it."""
        values = {"PROGRAM_ADDRESS": at, "PROGRAM_WORDS": len(words) // WORD_BYTES}
        return [jobs.Load(at, words), *self._started(values, CONTROL_START | CONTROL_FETCH)]

    def _started(
        self, values: Mapping[str, int], control: int, most: int = DEFAULT_MAX_CYCLES
    ) -> list[Operation]:
        """Write registers, start and wait for the stop."""
        written = {**values, "IRQ_ENABLE": 1, "CONTROL": control}
        writes = [jobs.WriteRegister(ADDRESS[name], value) for name, value in written.items()]
        return [*writes, jobs.WaitIrq(most)]
