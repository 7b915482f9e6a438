"""The rules of docs/timing.md, cycle by cycle and to the letter: slow, and the oracle of `sim`."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

from einchip.accesses import VECTORS
from einchip.arch import (
    READ_BURSTS,
    STORE_BEATS,
    VECTOR_WRITES,
    WRITE_BURSTS,
    Architecture,
)
from einchip.program import (
    HOST_ARGS,
    LOOP_DEPTH,
    REGISTER_BITS,
    REGISTERS,
    TOKEN_MAX,
    TOKENS,
    Contract,
    Copy,
    EndLoop,
    Error,
    Fill,
    Give,
    Gru,
    GruReset,
    GruUpdate,
    Halt,
    Instruction,
    Loop,
    Lstm,
    Peephole,
    Program,
    SetMode,
    SetRegister,
    Sync,
    Unit,
)
from einchip.program import Load as LoadInstruction
from einchip.program import Store as StoreInstruction
from einchip.reference import Host, MachineError, Step
from einchip.registers import COUNTERS
from einchip.sim.run import Run
from einchip.sim.unit import Job
from einchip.sim.work import (
    NEVER,
    Burst,
    ContractWork,
    TransferWork,
    VectorWork,
    prepare,
    program_fetch,
)

_MASK = (1 << REGISTER_BITS) - 1
UNITS = (Unit.LOAD, Unit.STORE, Unit.ARRAY, Unit.VECTOR)
TRANSFERS = (Unit.LOAD, Unit.STORE)
NAMES = "xy"
READ_PORTS = ("x read", "y read", "x window read", "y window read")
#: Which of several errors in one cycle counts.
FAULT_ORDER = (
    "sequencer", "x window read", "x read", "x write", "y window read", "y read", "y write", "load",
    "store", "tokens", "watchdog",
)  # fmt: skip
#: In what an instruction of the vector unit may differ from the one before, to overlap it.
MAY_DIFFER = {
    "wait", "signal", "overlaps", "loop_count", "loop_src", "loop_dst", "src_base", "src_reg",
    "dst_base", "dst_reg", "cell_base", "cell_reg", "aux_base", "aux_reg",
}  # fmt: skip
STORE_OFFER = 4  # cycles from a store's read grant to `wvalid`


class Cell(NamedTuple):
    """An instruction of the vector unit: its reads, latencies and activations, by isa.md.

    `reads` has a letter for each: s (source), a (aux), c (all planes of the state). `state` is the
    latency of the state's first plane, 0 where none is written.
    """

    reads: str
    state: int
    destination: int
    activations: int


CELLS: dict[type[Instruction], Cell] = {
    Lstm: Cell("cssss", 19, 22, 5),
    Peephole: Cell("casassas", 21, 23, 5),
    Gru: Cell("sasasac", 18, 20, 3),
    GruReset: Cell("sc", 0, 12, 1),
    GruUpdate: Cell("sac", 14, 16, 2),
    Copy: Cell("s", 0, 3, 0),
    Fill: Cell("", 0, 3, 0),
}
#: What an LSTM reads cycle by cycle where the state has a port of its own, by its planes.
BESIDE = {1: ("cs", "s", "s", "s"), 2: ("cs", "cs", "s", "s")}


def read_port(arch: Architecture, space: int, base: int, register: int) -> int:
    """Return 0 for X, 1 for Y, 2 and 3 where the first address lies in the last, windowed rows."""
    row = (base + register) % (1 << 32) // arch.lanes
    n_rows, n_window = (arch.x_depth, arch.x_window), (arch.y_depth, arch.y_window)
    rows, window = (n_rows, n_window)[space]
    return space + 2 * (rows - window <= row < rows)


def literal(work: VectorWork, arch: Architecture, registers: tuple[int, ...]) -> VectorWork:
    """Return the work with everything but its faults from the table."""
    i = work.instruction
    assert isinstance(i, VECTORS)
    cell, planes = CELLS[type(i)], 16 // arch.data_bits
    ports = {
        "s": read_port(arch, i.src_space, i.src_base, registers[i.src_reg]),
        "a": read_port(arch, i.aux_space, i.aux_base, registers[i.aux_reg]),
        "c": read_port(arch, i.cell_space, i.cell_base, registers[i.cell_reg]),
    }
    reads: tuple[str, ...] = tuple(cell.reads.replace("c", "c" * planes)) or ("",)
    if isinstance(i, Lstm) and ports["c"] != ports["s"]:
        reads = BESIDE[planes]
    n_states = planes if cell.state else 0
    return replace(
        work,
        operations=tuple(tuple(ports[letter] for letter in its) for its in reads),
        writes=(*[i.cell_space] * n_states, i.dst_space),
        latencies=(*(cell.state + k for k in range(n_states)), cell.destination),
        activations=cell.activations * i.n_lanes,
    )


class Control:
    """The program with its counter, registers and loop stack; knows nothing of time."""

    def __init__(self, program: Program, host: Host) -> None:
        self.code = list(program.addresses())
        self.n_words = program.n_words
        self.host = host
        self.registers: tuple[int, ...] = (0,) * REGISTERS
        self._at = 0
        self._stack: list[
            list[int]
        ] = []  # [index of the body's first instruction, iterations left]

    def fetch(self) -> tuple[int, Instruction]:
        """Return the next instruction with its word index, and step over it.

        Raises MachineError(NO_HALT) past the program's end.
        """
        if self._at == len(self.code):
            raise MachineError(Error.NO_HALT, self.n_words)
        found = self.code[self._at]
        self._at += 1
        return found

    @property
    def left(self) -> int:
        """Iterations left of the innermost loop, 0 outside of any."""
        return self._stack[-1][1] if self._stack else 0

    def execute(self, pc: int, i: Instruction) -> None:
        """Do what LOOP, ENDLOOP and SETR do. Raises MachineError: FIELD, LOOP."""
        if isinstance(i, Loop):
            self._loop(pc, i)
        elif isinstance(i, EndLoop):
            if not self._stack:
                raise MachineError(Error.LOOP, pc)
            self._stack[-1][1] -= 1
            if self._stack[-1][1]:
                self._at = self._stack[-1][0]
            else:
                self._stack.pop()
        elif isinstance(i, SetRegister):
            self._set(pc, i)

    def _loop(self, pc: int, i: Loop) -> None:
        if i.arg > HOST_ARGS:
            raise MachineError(Error.FIELD, pc)
        count = self.host.args[i.arg - 1] & _MASK if i.arg else i.count
        if count == 0:
            raise MachineError(Error.FIELD, pc)
        if len(self._stack) == LOOP_DEPTH:
            raise MachineError(Error.LOOP, pc)
        self._stack.append([self._at, count])

    def _set(self, pc: int, i: SetRegister) -> None:
        if i.reg == 0 or i.mode > max(SetMode):
            raise MachineError(Error.FIELD, pc)
        old = self.registers[i.reg]
        new = (i.value, old + i.value, i.value - old)[i.mode] & _MASK
        self.registers = (*self.registers[: i.reg], new, *self.registers[i.reg + 1 :])


@dataclass
class Front:
    """A unit's slot and setup stage."""

    slot: Job | None = None
    stage: Job | None = None
    ready_at: int = 0


class Slot(NamedTuple):
    """A slot of a CONTRACT: the numbers of the vectors of X and Y that it reads, if any.

    `tile` is that of an issue; `first` and `last` say which of its tile it is.
    """

    x: int | None
    y: int | None
    tile: int | None
    first: bool
    last: bool


def slots(i: Contract) -> Iterator[Slot]:
    """Yield the slots of a CONTRACT in order."""
    passing = math.prod(i.loop_count[: i.n_hold])
    each = math.prod(i.loop_count[i.n_hold : i.n_hold + i.n_reduce])
    n = math.prod(i.loop_count[i.n_hold :])
    if i.nh == 1 and i.n_hold == 0:
        for k in range(n):
            yield Slot(k, k, k // each, k % each == 0, k % each == each - 1)
        return
    for h in range(i.nh):
        yield Slot(h, None, None, False, False)
    for k in range(n):
        for p in range(max(passing, i.nh) if k < n - 1 else passing):
            x = (k + 1) * i.nh + p if p < i.nh and k < n - 1 else None
            if p < passing:
                first = k % each == 0 and p == 0
                last = k % each == each - 1 and p == passing - 1
                yield Slot(x, k * passing + p, k // each, first, last)
            else:
                yield Slot(x, None, None, False, False)


@dataclass
class ArrayState:
    """Execution of the array and its drain; `slots` are those not issued."""

    work: ContractWork | None = None
    slots: deque[Slot] = field(default_factory=deque)
    ends: tuple[int, int] = (-(1 << 60), -(1 << 60))  # f(j-2), f(j-1)
    rows: dict[int, tuple[ContractWork, int]] = field(default_factory=dict)
    writes: dict[int, tuple[ContractWork, int]] = field(default_factory=dict)


@dataclass
class VectorState:
    """Execution of the vector unit: `works` not complete, the last of which issues."""

    works: list[VectorWork] = field(default_factory=list)
    operation: int = 0
    pending: int = 0
    granted: int = 0
    writes: deque[tuple[int, int]] = field(default_factory=deque)  # ready, space

    @property
    def last(self) -> VectorWork | None:
        return self.works[-1] if self.works else None

    @property
    def issued(self) -> bool:
        work = self.works[-1]
        return self.operation == work.vectors * len(work.operations)


@dataclass
class Sent:
    """A burst whose address was accepted in cycle `at`."""

    at: int
    burst: Burst
    owner: TransferWork | None  # None: the program fetch
    before: int  # beats of the owner's bursts before it
    last: bool  # of its owner
    moved: int = 0  # beats accepted (written: read from the scratchpad)
    response_at: int = 0


@dataclass
class PortState:
    """Execution of the load or the store unit and the memory behind it."""

    owner: TransferWork | None = None  # of the addresses left
    left: deque[Burst] = field(default_factory=deque)
    beats: int = 0  # of the owner's bursts with an address
    not_before: int = 0  # loads: first cycle of the next beat
    sent: deque[Sent] = field(default_factory=deque)  # missing their last beat or response
    held: deque[tuple[int, Sent]] = field(default_factory=deque)  # stores: cycles of offers

    @property
    def active(self) -> bool:
        return bool(self.left or self.sent)


class Stepped:
    """One run of one machine."""

    def __init__(
        self, program: Program, arch: Architecture, host: Host, latency: int, external_bytes: int
    ) -> None:
        self.arch, self.host, self.latency = arch, host, latency
        self.external_bytes = external_bytes
        self.control = Control(program, host)
        self.counters: Counter[str] = Counter()
        self.tokens = [0] * TOKENS
        self.gives: list[int] = []
        self.given: list[tuple[int, ...]] = [(0,) * TOKENS]  # for each phase
        self.idle = False  # at the start of the cycle
        self.takes: list[int] = []
        self.faults: list[tuple[int, int, Error, int]] = []
        self.fronts = {u: Front() for u in UNITS}
        self.array, self.vector = ArrayState(), VectorState()
        self.load, self.store = PortState(), PortState()
        self.state, self.pc, self.copies = "FETCH", 0, 0
        self.current: Instruction = Halt()
        self.resolved: Job | None = None
        self.slot_taken: dict[Unit, bool] = {}
        self.n_resolved = 0
        self.timeline: list[Job] = []
        self.executing: dict[int, Job] = {}  # by the identity of its work

    # --- the run -----------------------------------------------------------------------------
    def run(self, fetch: bool, program_address: int) -> Run:
        """Run to the end."""
        if self.control.n_words > self.arch.program_words:
            return self.result(0, (Error.FIELD, 0))
        if fetch and self.control.n_words:
            self.state = "LOAD"
        t = 0
        while True:
            self.idle = self.all_idle()
            stopping = self.state == "STOP" and self.idle
            stuck = not self.idle and self.stuck(t)
            self.cycle(t)
            if t == 0 and self.state == "LOAD":
                self.start_fetch(program_address)
            if stuck:
                self.note(t, "watchdog", Error.TIMEOUT, self.pc)
            due = [f for f in self.faults if f[0] <= t]
            if due:
                _, _, code, address = min(due)
                return self.result(t + 1, (code, address))
            if stopping:
                return self.result(t + 1, None)
            t += 1

    def result(self, cycles: int, error: tuple[Error, int] | None) -> Run:
        self.counters["cycles"] = cycles
        counters = {c.name: self.counters[c.name] for c in COUNTERS}
        return Run(
            cycles,
            counters,
            error,
            sorted((j.executed(cycles) for j in self.timeline), key=lambda e: (e.launch, e.index)),
            tuple(self.given),
        )

    def cycle(self, t: int) -> None:
        """Run one cycle."""
        self.slot_taken = {u: f.slot is not None for u, f in self.fronts.items()}
        busy = {
            Unit.LOAD: self.load.active,
            Unit.STORE: self.store.active,
            Unit.ARRAY: self.array.work is not None,
            Unit.VECTOR: bool(self.vector.works),
        }
        free = {u: not b for u, b in busy.items()}
        free[Unit.VECTOR] = self.vector_takes()
        reads, writes = self.drain_step(t)
        if busy[Unit.VECTOR]:
            self.vector_step(t, reads, writes)
        last = False
        if busy[Unit.ARRAY]:
            last = self.array_step(t, reads)
        free |= {Unit.LOAD: not self.load.left, Unit.STORE: not self.store.left}
        if busy[Unit.LOAD]:
            self.load_step(t, writes)
        if busy[Unit.STORE]:
            self.store_step(t, reads)
        free[Unit.ARRAY] = free[Unit.ARRAY] or last
        for u in UNITS:
            self.front_step(t, u, busy[u], free[u])
        self.sequencer_step(t)
        self.token_step(t)

    def count(self, name: str, n: int = 1) -> None:
        self.counters[name] += n

    def fault(self, t: int, port: str, address: int) -> None:
        """Raise an ADDRESS error one cycle after the grant in t."""
        space = int(not port.startswith("x"))
        self.note(t + 1, port, Error.ADDRESS, space << 31 | address)

    def note(self, t: int, source: str, code: Error, address: int) -> None:
        self.faults.append((t, FAULT_ORDER.index(source), code, address))

    def all_idle(self) -> bool:
        fronts = any(f.slot or f.stage for f in self.fronts.values())
        array = self.array.work or self.array.rows or self.array.writes
        ports = self.load.active or self.store.active
        return not (fronts or array or self.vector.works or ports)

    def stuck(self, t: int) -> bool:
        """Tell whether nothing can ever move again."""
        array = self.array.work or self.array.rows or self.array.writes
        if array or self.vector.works or self.load.active or self.store.active:
            return False
        if self.state not in ("RESOLVE", "STOP", "SYNC"):
            return False
        if self.state == "RESOLVE" and not self.fronts[self.current.UNIT].slot:
            return False
        for f in self.fronts.values():
            if f.slot and not f.stage:
                return False
            if f.stage and (t < f.ready_at or self.tokens_there(f.stage)):
                return False
        return True

    # --- tokens and fronts -------------------------------------------------------------------
    def tokens_there(self, job: Job) -> bool:
        return all(n > 0 for k, n in enumerate(self.tokens) if job.wait >> k & 1)

    def token_step(self, t: int) -> None:
        for masks, sign in ((self.gives, 1), (self.takes, -1)):
            for mask in masks:
                for k in range(TOKENS):
                    self.tokens[k] += sign * (mask >> k & 1)
        self.gives, self.takes = [], []
        for k, n in enumerate(self.tokens):
            if n > TOKEN_MAX:
                self.note(t + 1, "tokens", Error.TOKEN, k)
                return

    def front_step(self, t: int, u: Unit, busy: bool, free: bool) -> None:
        front, name = self.fronts[u], u.name.lower()
        slot, stage = front.slot, front.stage
        ready = stage is not None and t >= front.ready_at
        there = stage is not None and self.tokens_there(stage)
        if not busy:
            if u in TRANSFERS:
                self.count(f"{name}_stall_token" if stage and not there else f"{name}_idle")
            elif stage is None:
                self.count(f"{name}_idle")
            elif ready and not there:
                self.count(f"{name}_stall_token")
            else:
                self.count(f"{name}_stall_setup")
        if stage is not None and ready and there and free:
            self.launch(t, stage)
            front.stage = None
        if slot is not None and stage is None:
            front.slot, front.stage = None, slot
            front.ready_at = t + 1 + (0 if u in TRANSFERS else self.arch.setup_cycles)

    def launch(self, t: int, job: Job) -> None:
        self.takes.append(job.wait)
        self.timeline.append(job)
        job.launch = t
        work = job.work
        self.executing[id(work)] = job
        if isinstance(work, ContractWork):
            assert isinstance(work.instruction, Contract)
            self.array.work, self.array.slots = work, deque(slots(work.instruction))
        elif isinstance(work, VectorWork):
            self.vector.works.append(work)
            self.vector.operation = 0
        elif isinstance(work, TransferWork):
            storing = isinstance(work.instruction, StoreInstruction)
            port = self.store if storing else self.load
            port.owner, port.beats = work, 0
            port.left.extend(work.bursts)

    def complete(self, t: int, work: object) -> None:
        job = self.executing.pop(id(work))
        self.gives.append(job.signal)
        job.completion = t

    # --- array -------------------------------------------------------------------------------
    def drain_step(self, t: int) -> tuple[list[bool], list[bool]]:
        """Issue a row and grant a row's write; return the spaces read and written."""
        reads, writes = [False] * len(READ_PORTS), [False, False]
        if t in self.array.rows:
            work, row = self.array.rows.pop(t)
            if work.addend_port is not None:
                reads[work.addend_port] = True
                self.count(f"{NAMES[work.addend_port % 2]}_reads", work.row_lanes)
                if row == work.addend_fault.access:
                    self.fault(t, READ_PORTS[work.addend_port], work.addend_fault.address)
            self.array.writes[t + self.arch.drain_latency] = work, row
            self.count("drained", work.row_lanes)
            self.count("activations", work.row_lanes * work.activates)
        if t in self.array.writes:
            work, row = self.array.writes.pop(t)
            writes[work.z_space] = True
            self.count(f"{NAMES[work.z_space]}_writes", work.row_lanes)
            if row == work.z_fault.access:
                self.fault(t, f"{NAMES[work.z_space]} write", work.z_fault.address)
            if row == work.tiles * work.rows - 1:
                self.complete(t, work)
        return reads, writes

    def array_step(self, t: int, reads: list[bool]) -> bool:
        """Run one active cycle; return whether the last slot was issued."""
        a = self.array
        work, latency = a.work, self.arch.accumulate_latency
        assert work is not None
        slot = a.slots[0]
        if slot.first and t + latency < a.ends[0]:
            self.count("array_stall_drain")
            return False
        if (slot.x is not None and reads[0]) or (slot.y is not None and reads[1]):
            self.count("array_stall_port")
            return False
        a.slots.popleft()
        self.count("array_issue")
        self.slot_reads(t, work, slot, reads)
        if slot.last and slot.tile is not None:
            start = max(t + latency, a.ends[1])
            for row in range(work.rows):
                a.rows[start + row] = work, slot.tile * work.rows + row
            a.ends = a.ends[1], start + work.rows
        if a.slots:
            return False
        a.work = None
        return True

    def slot_reads(self, t: int, work: ContractWork, slot: Slot, reads: list[bool]) -> None:
        """Read what a slot reads, and multiply."""
        i = work.instruction
        assert isinstance(i, Contract)
        if slot.tile is not None:
            self.count("macs", i.n_m * i.n_n * i.n_k * i.nb * i.nh)
        lanes, faults = (work.x_lanes, work.y_lanes), (work.x_fault, work.y_fault)
        for space, access in enumerate((slot.x, slot.y)):
            if access is not None:
                reads[space] = True
                self.count(f"{NAMES[space]}_reads", lanes[space])
                if access == faults[space].access:
                    self.fault(t, READ_PORTS[space], faults[space].address)

    # --- vector unit -------------------------------------------------------------------------
    def vector_step(self, t: int, reads: list[bool], writes: list[bool]) -> None:
        """Run one active cycle."""
        v = self.vector
        pending, issues, writer = v.pending, v.works[-1], v.works[0]
        if v.writes and v.writes[0][0] <= t and not writes[v.writes[0][1]]:
            _, space = v.writes.popleft()
            writes[space] = True
            self.count(f"{NAMES[space]}_writes", writer.lanes)
            if v.granted == writer.write_fault.access:
                self.fault(t, f"{NAMES[space]} write", writer.write_fault.address)
            v.granted += 1
            v.pending -= 1
        self.vector_operation(t, issues, pending, reads)
        if v.granted == writer.vectors * len(writer.writes):
            self.complete(t, writer)
            v.works.pop(0)
            v.granted = 0

    def vector_takes(self) -> bool:
        """Tell whether the vector unit can take what is in its setup stage in this cycle."""
        v, stage = self.vector, self.fronts[Unit.VECTOR].stage
        if not v.works:
            return True
        if len(v.works) > 1 or not v.issued or stage is None:
            return False
        before, after = v.works[0], stage.work
        assert isinstance(after, VectorWork)
        i, j = before.instruction, after.instruction
        assert isinstance(j, VECTORS)
        same = {f.name: getattr(i, f.name) for f in fields(j) if f.name not in MAY_DIFFER}
        return (
            j.overlaps == 1
            and type(i) is type(j)
            and before.operations == after.operations
            and all(getattr(j, name) == value for name, value in same.items())
        )

    def vector_operation(self, t: int, work: VectorWork, pending: int, reads: list[bool]) -> None:
        v = self.vector
        vector, k = divmod(v.operation, len(work.operations))
        if vector == work.vectors or (k == 0 and pending + len(work.writes) > VECTOR_WRITES):
            self.count("vector_stall_write")
            return
        if any(reads[port] for port in work.operations[k]):
            self.count("vector_stall_port")
            return
        self.count("vector_issue")
        for port, fault in zip(work.operations[k], work.read_faults[k], strict=True):
            reads[port] = True
            self.count(f"{NAMES[port % 2]}_reads", work.lanes)
            if vector == fault.access:
                self.fault(t, READ_PORTS[port], fault.address)
        if k == 0:
            v.pending += len(work.writes)
        if k == len(work.operations) - 1:
            self.count("vector_ops", work.lanes)
            self.count("activations", work.activations)
            for latency, target in zip(work.latencies, work.writes, strict=True):
                v.writes.append((t + latency, target))
        v.operation += 1

    # --- load and store unit -----------------------------------------------------------------
    def start_fetch(self, address: int) -> None:
        self.load.left.extend(program_fetch(self.control.n_words, address, self.arch))

    def issue_address(self, t: int, port: PortState, room: bool) -> None:
        """Offer the next address, which the memory takes at once."""
        if not port.left or not room:
            return
        burst = port.left.popleft()
        port.sent.append(Sent(t, burst, port.owner, port.beats, not port.left))
        port.beats += burst.beats

    def load_step(self, t: int, writes: list[bool]) -> None:
        """Run one active cycle."""
        d = self.load
        room = len(d.sent) < READ_BURSTS
        first = d.sent[0] if d.sent else None
        if first and t >= max(first.at + self.latency, d.not_before):
            if first.owner is None or not writes[first.owner.space]:
                self.accept_beat(t, first)
            else:
                self.count("load_stall_port")
        else:
            self.count("load_stall_memory")
        self.issue_address(t, d, room)

    def accept_beat(self, t: int, sent: Sent) -> None:
        self.count("load_transfer")
        self.count("dma_read_beats")
        if sent.owner is not None:
            self.count(f"{NAMES[sent.owner.space]}_writes", self.arch.port_elements)
            if sent.before + sent.moved == sent.owner.fault.access:
                self.fault(t, f"{NAMES[sent.owner.space]} write", sent.owner.fault.address)
            if sent.before + sent.moved == sent.owner.bus_fault:
                self.note(t, "load", Error.AXI_READ, sent.burst.address)
        sent.moved += 1
        self.load.not_before = t + 1
        if sent.moved < sent.burst.beats:
            return
        self.load.sent.popleft()
        if not sent.last:
            return
        if sent.owner is not None:
            self.complete(t, sent.owner)
        else:
            self.state = "LOADED"

    def store_step(self, t: int, reads: list[bool]) -> None:
        """Run one active cycle."""
        d = self.store
        room, held = len(d.sent) < WRITE_BURSTS, len(d.held)
        wanted = [s for s in d.sent if s.at < t and s.moved < s.burst.beats]
        if not wanted or held >= STORE_BEATS:
            self.count("store_stall_memory")
        elif reads[self.owner(wanted[0]).port]:
            self.count("store_stall_port")
        else:
            self.read_beat(t, wanted[0])
        if d.sent and d.sent[0].response_at == t:
            self.respond(t, d.sent.popleft())
        if d.held and d.held[0][0] <= t:
            self.offer_beat(t, d.held.popleft()[1])
        self.issue_address(t, d, room)

    def owner(self, sent: Sent) -> TransferWork:
        assert sent.owner is not None
        return sent.owner

    def read_beat(self, t: int, sent: Sent) -> None:
        work = self.owner(sent)
        self.count("store_transfer")
        self.count(f"{NAMES[work.space]}_reads", self.arch.port_elements)
        if sent.before + sent.moved == work.fault.access:
            self.fault(t, READ_PORTS[work.port], work.fault.address)
        sent.moved += 1
        self.store.held.append((t + STORE_OFFER, sent))

    def offer_beat(self, t: int, sent: Sent) -> None:
        self.count("dma_write_beats")
        more = any(s is sent for _, s in self.store.held)
        if sent.moved == sent.burst.beats and not more:
            sent.response_at = max(t + 1, t + self.latency)

    def respond(self, t: int, sent: Sent) -> None:
        work = self.owner(sent)
        if work.bus_fault < sent.before + sent.moved:
            self.note(t, "store", Error.AXI_WRITE, sent.burst.address)
        if sent.last:
            self.complete(t, work)

    # --- sequencer ---------------------------------------------------------------------------
    def sequencer_step(self, t: int) -> None:
        try:
            if self.state == "FETCH":
                self.pc, self.current = self.control.fetch()
                self.state = "DECODE"
            elif self.state == "DECODE":
                self.decode()
            elif self.state == "COPY":
                self.copies -= 1
                if not self.copies:
                    self.state = "RESOLVE"
            elif self.state == "SYNC":
                self.sync()
            elif self.state == "RESOLVE":
                self.resolve()
            elif self.state == "LOADED":
                self.state = "FETCH"
        except MachineError as e:
            self.note(t, "sequencer", e.code, e.address)

    def decode(self) -> None:
        self.count("instructions")
        i = self.current
        if isinstance(i, Halt):
            self.state = "STOP"
        elif isinstance(i, Sync):
            self.state = "SYNC"
        elif isinstance(i, LoadInstruction | StoreInstruction) and i.skipped(self.control.left):
            self.state = "FETCH"
        elif i.UNIT is not Unit.SEQUENCER:
            self.copies = i.WORDS - 1
            self.state = "COPY" if self.copies else "RESOLVE"
        else:
            if isinstance(i, Give):
                self.gives.append(i.mask)
                self.given[-1] = tuple(n + (i.mask >> k & 1) for k, n in enumerate(self.given[-1]))
            self.control.execute(self.pc, i)
            self.state = "FETCH"

    def sync(self) -> None:
        if not self.idle:
            self.count("sequencer_stall")
            return
        self.tokens = [0] * TOKENS
        self.given.append((0,) * TOKENS)
        self.state = "FETCH"

    def resolve(self) -> None:
        i = self.current
        if self.resolved is None:
            step = Step(self.pc, i, self.control.registers)
            work = prepare(step, self.arch, self.host, self.external_bytes)
            if isinstance(work, VectorWork):
                work = literal(work, self.arch, step.registers)
            elif isinstance(work, ContractWork) and isinstance(i, Contract) and i.has_addend:
                port = read_port(self.arch, i.d_space, i.d_base, step.registers[i.d_reg])
                work = replace(work, addend_port=port)
            elif isinstance(work, TransferWork) and isinstance(i, StoreInstruction):
                port = read_port(self.arch, i.space, i.addr, step.registers[i.addr_reg])
                work = replace(work, port=port)
            self.resolved = Job(
                self.n_resolved,
                work,
                step.registers,
                work.instruction.wait,
                work.instruction.signal,
                len(self.given) - 1,
            )
            self.n_resolved += 1
        if self.slot_taken[i.UNIT]:
            self.count("sequencer_stall")
            return
        self.fronts[i.UNIT].slot, self.resolved = self.resolved, None
        self.state = "FETCH"


def simulate(
    program: Program,
    arch: Architecture,
    *,
    host: Host | None = None,
    latency: int = 8,
    fetch: bool = True,
    program_address: int = 0,
    external_bytes: int = NEVER,
) -> Run:
    """Run `program` cycle by cycle; the counterpart of `einchip.sim.simulate` without values."""
    machine = Stepped(program, arch, host or Host(), latency, external_bytes)
    return machine.run(fetch, program_address)
