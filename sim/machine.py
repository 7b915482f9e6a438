"""The whole machine: units, tokens, time."""

from __future__ import annotations

from dataclasses import replace

from einchip import program as isa
from einchip.arch import PORT_SPACES, WINDOW_PORTS, Architecture
from einchip.program import TOKEN_MAX, TOKENS, Error, Program
from einchip.reference import Host, Memory, Step
from einchip.registers import COUNTERS
from einchip.sim import serial, values
from einchip.sim.array import Array
from einchip.sim.fast_forward import FastForward
from einchip.sim.load import LoadUnit
from einchip.sim.ports import Span, Spans
from einchip.sim.races import check_races as raise_for_races
from einchip.sim.record import Record
from einchip.sim.run import Run, SimulationError
from einchip.sim.sequencer import Sequencer
from einchip.sim.store import StoreUnit
from einchip.sim.unit import RANK_TOKENS, Job, Stop, Unit
from einchip.sim.vector import Vector
from einchip.sim.walker import registers_of
from einchip.sim.work import NEVER, Work, check_banks, prepare, program_fetch

DEFAULT_LATENCY = 8
#: Works that are kept for when the same registers come again.
MOST_WORKS = 1024


def simulate(
    program: Program,
    arch: Architecture,
    *,
    memory: Memory | None = None,
    host: Host | None = None,
    external_bytes: int | None = None,
    latency: int = DEFAULT_LATENCY,
    fetch: bool = True,
    program_address: int = 0,
    check_banks: bool = True,
    check_races: bool = False,
    timeline: bool = True,
    record: Record | None = None,
) -> Run:
    """Run `program` as the machine does, cycle for cycle and counter for counter.

    Nothing in the machine depends on values, so time and values are found apart: first the cycles,
    by the rules of docs/timing.md, then, with a memory, the values, by `reference` in the program's
    order. An error of the machine is no exception: it is `Run.error`, and `memory` then holds what
    the instructions left that were complete.

    Parameters
    ----------
    program
        What the machine runs.
    arch
        The machine.
    memory
        Changed in place. Without one only cycles and counters are found.
    host
        External bases and loop counts.
    external_bytes
        Size of external memory where there is no `memory`; by default it is large enough.
    latency
        Cycles of the external memory, from an address to its first beat and from a last beat to its
        response; at least 1.
    fetch
        Whether the run begins with fetching the program.
    program_address
        External byte from which it is fetched, a multiple of a word. Only bursts and beats matter:
        the program need not lie in `memory`.
    check_banks
        Check every instruction's lanes for bank conflicts.
    check_races
        Check, after a run without error, that time orders what meets in a scratchpad: see `races`.
    timeline
        Give `Run.timeline` and `Run.given`. Without them, what loops repeat is not gone through
        again (`fast_forward`): the same cycles and counters, in the time of a few iterations.
    record
        Filled with what is counted in which cycle; then nothing is skipped.

    Raises
    ------
    SimulationError
        Two lanes of an access lie in one bank; there is a race.
    """
    host = host or Host()
    size = len(memory.external) if memory is not None else external_bytes
    if arch.serial:
        run = _simulate_serial(program, arch, host, size, latency, fetch, program_address, record)
    else:
        machine = _Machine(
            program, arch, NEVER if size is None else size, host, latency, check_banks
        )
        whole = timeline or check_races or memory is not None or record is not None
        machine.note_in(record)
        run = machine.run(fetch, program_address, whole)
    if check_races and run.error is None:
        raise_for_races(run, arch)
    if memory is not None:
        values.execute(run.timeline, arch, memory, host)
    return run if timeline else replace(run, timeline=[], given=())


def _simulate_serial(
    program: Program,
    arch: Architecture,
    host: Host,
    size: int | None,
    latency: int,
    fetch: bool,
    program_address: int,
    record: Record | None,
) -> Run:
    """Run a program on a serial machine. Raises SimulationError: nothing is recorded there."""
    if record is not None:
        raise SimulationError(
            f"{arch.name}: found a serial machine, expected one whose units run beside each other, "
            "since only of these is recorded what happens in which cycle; choose another --arch"
        )
    return serial.simulate(
        program, arch, host, NEVER if size is None else size, latency, fetch, program_address
    )


class _Machine:
    """One run."""

    def __init__(
        self,
        program: Program,
        arch: Architecture,
        external_bytes: int,
        host: Host,
        latency: int,
        banks: bool,
    ) -> None:
        self.arch, self.host, self.banks = arch, host, banks
        self.program = program
        self.external_bytes = external_bytes
        self.stops: list[Stop] = []
        self.load = LoadUnit(arch, self.stops, latency)
        self.store = StoreUnit(arch, self.stops, latency)
        self.array = Array(arch, self.stops)
        self.vector = Vector(arch, self.stops)
        self.by_name: dict[isa.Unit, Unit] = {
            isa.Unit.LOAD: self.load,
            isa.Unit.STORE: self.store,
            isa.Unit.ARRAY: self.array,
            isa.Unit.VECTOR: self.vector,
        }
        self.units = tuple(self.by_name.values())
        self.sequencer = Sequencer(program, host, self.prepare, self.by_name)
        self.loops = FastForward(self.sequencer, self.units, self.load, self.prepare)
        self.tokens = [0] * TOKENS
        self.positive = 0  # mask
        self.record: Record | None = None
        self._works: dict[tuple[int, ...], Work] = {}
        self._reads_register: dict[int, tuple[int, ...]] = {}

    def note_in(self, record: Record | None) -> None:
        """Let all parts note what they count."""
        self.record = self.sequencer.record = record
        for unit in self.units:
            unit.record = record

    def prepare(self, step: Step) -> Work:
        """Return the work of an instruction; the same one for the same registers that it reads."""
        used = self._reads_register.get(step.pc)
        if used is None:
            used = self._reads_register[step.pc] = registers_of(step.instruction)
        key = (step.pc, *(step.registers[k] for k in used))
        work = self._works.get(key)
        if work is None:
            work = prepare(step, self.arch, self.host, self.external_bytes)
            if self.banks:
                check_banks(work, self.arch)
            if len(self._works) >= MOST_WORKS:
                self._works.clear()
            self._works[key] = work
        return work

    def run(self, fetch: bool, program_address: int, whole: bool) -> Run:
        """Run to the end, stretch by stretch; unless `whole`, without what loops repeat."""
        n_words, t = self.program.n_words, 0
        if n_words > self.arch.program_words:
            return self.result(0, (Error.FIELD, 0))
        if fetch and n_words:
            if program_address % isa.WORD_BYTES:
                return self.result(0, (Error.ALIGNMENT, 0))
            self.load.start_fetch(program_fetch(n_words, program_address, self.arch), 0)
            for unit in self.units:
                unit.spend("idle", 0, 1)
            t = 1
        else:
            self.sequencer.fetch(0)
        while True:
            if not whole and not self.stops:
                self.loops.look(t, self.tokens)
            waiting = self.sequencer.halting or self.sequencer.syncing
            idle = waiting and all(u.empty for u in self.units)
            last = t if idle else self.stretch(t)
            if last < NEVER:
                self.advance(t, last + 1)
                self.control(last)
            due = [s for s in self.stops if s.cycle <= last]
            if due:
                stop = min(due)
                return self.result(stop.cycle + 1, (stop.code, stop.address))
            if idle and self.sequencer.halting:
                return self.result(t + 1, None)
            if idle:
                self.tokens, self.positive = [0] * TOKENS, 0
                self.note_tokens(t + 1)
                self.sequencer.end_sync(t)
            if last == NEVER:
                return self.result(t, (Error.TIMEOUT, self.sequencer.pc))
            t = last + 1

    def stretch(self, t: int) -> int:
        """Return the last cycle of the stretch that begins in cycle t.

        NEVER if nothing can move.
        """
        last = self.sequencer.acts_at
        for unit in self.units:
            wakes = unit.wakes_at(t, self.positive)
            if wakes < last:
                last = wakes
        if self.vector.job is not None:
            last = min(last, t + self.array.lookahead() - 1)
        return last

    def advance(self, t: int, end: int) -> None:
        """Run execution of all units through the cycles t .. end - 1, highest priority first."""
        load, store, array, vector = self.load, self.store, self.array, self.vector
        vector.advance(t, end, array.addends, array.drained)
        for spans in array.read_spans:
            spans.clear()
        array.log_reads = store.in_flight > 0
        array.advance(t, end, vector.read_spans)
        written: list[Span] = []
        if load.work is not None:
            written = array.drained[load.work.space].within(t, end)
            written += vector.write_spans[load.work.space].within(t, end)
        load.advance(t, end, sorted(written))
        taken = [Spans() for _ in PORT_SPACES]
        if store.in_flight:
            operands = (*array.read_spans, *(Spans() for _ in WINDOW_PORTS))
            clients = zip(array.addends, vector.read_spans, operands, strict=True)
            for port, its in enumerate(clients):
                taken[port] = Spans(sorted(span for spans in its for span in spans.within(t, end)))
        store.advance(t, end, taken)

    def control(self, c: int) -> None:
        """Do what happens in a stretch's last cycle: commits, moves, launches, tokens."""
        committed, given = None, []
        if self.sequencer.acts_at == c:
            committed, mask = self.sequencer.act(c, self.stops)
            given.append(mask)
        taken = [unit.control(c, self.positive) for unit in self.units]
        for unit in self.units:
            if unit.done:
                given += [job.signal for job in unit.done]
                unit.done.clear()
        if self.load.fetched:
            self.load.fetched = False
            self.sequencer.fetch(c + 1)
        self.sequencer.look(c)
        if committed is not None:
            self.commit(committed)
        if any(given) or any(taken):
            self.count_tokens(c, given, taken)

    def commit(self, job: Job) -> None:
        """Put a job into its unit's slot."""
        self.by_name[job.work.instruction.UNIT].slot = job

    def count_tokens(self, c: int, given: list[int], taken: list[int]) -> None:
        """Change the token counters at the end of cycle c."""
        for masks, n in ((given, 1), (taken, -1)):
            for mask in masks:
                while mask:
                    low = mask & -mask
                    self.tokens[low.bit_length() - 1] += n
                    mask ^= low
        self.note_tokens(c + 1)
        self.positive = 0
        for k, n in enumerate(self.tokens):
            if n > 0:
                self.positive |= 1 << k
            if n > TOKEN_MAX:
                self.stops.append(Stop(c + 1, RANK_TOKENS, Error.TOKEN, k))

    def note_tokens(self, t: int) -> None:
        """Note how many tokens there are from cycle t on."""
        if self.record is not None:
            self.record.tokens.append((t, tuple(self.tokens)))

    def result(self, cycles: int, error: tuple[Error, int] | None) -> Run:
        """Return what was counted, `cycles` of which were gone through."""
        cycles += self.loops.skipped
        load, store, array, vector = self.load, self.store, self.array, self.vector
        n = {
            "cycles": cycles,
            "instructions": self.sequencer.instructions,
            "sequencer_stall": self.sequencer.stall,
            "macs": array.macs,
            "drained": array.rows,
            "activations": array.activations + vector.activations,
            "vector_ops": vector.operations,
            "dma_read_beats": load.transferred,
            "dma_write_beats": store.transferred,
            "array_issue": array.issue,
            "array_stall_port": array.stall_port,
            "array_stall_drain": array.stall_drain,
            "vector_issue": vector.issue,
            "vector_stall_port": vector.stall_port,
            "vector_stall_write": vector.stall_write,
        }
        for space, letter in enumerate("xy"):
            n[f"{letter}_reads"] = sum(u.reads[space] for u in self.units)
            n[f"{letter}_writes"] = sum(u.writes[space] for u in self.units)
        for name, unit in (("array", array), ("vector", vector)):
            n[f"{name}_stall_token"] = unit.stall_token
            n[f"{name}_stall_setup"] = unit.stall_setup
            n[f"{name}_idle"] = unit.idle
        for name, port in (("load", load), ("store", store)):
            n[f"{name}_transfer"] = port.transferred
            n[f"{name}_stall_port"] = port.stall_port
            n[f"{name}_stall_memory"] = port.stall_memory
            n[f"{name}_stall_token"] = port.stall_token
            n[f"{name}_idle"] = port.idle
        jobs = [j for j in self.sequencer.jobs if 0 <= j.launch < cycles]
        timeline = [j.executed(cycles) for j in sorted(jobs, key=lambda j: (j.launch, j.index))]
        counters = {c.name: n[c.name] for c in COUNTERS}
        return Run(cycles, counters, error, timeline, tuple(self.sequencer.given))
