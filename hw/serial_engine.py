"""What executes the microprogram of a serial machine."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.axi import ERROR_BIT, INCR, AxiSignature
from einchip.hw.counters import increments
from einchip.hw.interfaces import FaultSignature
from einchip.hw.micro_writer import CELL_BITS, PROGRAM_WORDS
from einchip.hw.microcode import (
    BUS,
    INDEXED,
    LAYOUT,
    NAMED_BITS,
    PLACE_BITS,
    REPEATED,
    Access,
    Alu,
    Do,
    Phase,
    Source,
    When,
)
from einchip.hw.microprogram import activation_rows, microprogram
from einchip.hw.sequencer import HOST
from einchip.hw.serial_memory import LocalMemory, Part, parts
from einchip.numeric import INTERPOLATION_BITS, SEGMENTS, WIDE_BITS
from einchip.program import REGISTER_BITS, Error

#: Accesses by what they do.
ELEMENT_READS: Final = (Access.READ_FIRST, Access.READ, Access.MULTIPLY)
ELEMENT_WRITES: Final = (Access.WRITE, Access.WRITE_RESULT, Access.WRITE_FILLED)
WORDS: Final = (Access.READ_WORD, Access.WRITE_WORD)
PROGRAM: Final = (Access.READ_PROGRAM, Access.WRITE_PROGRAM)


class _Stage(NamedTuple):
    """What is executed: a micro-operation; whether there is one, and whether it ends here."""

    op: Any
    valid: Value
    ends: Value


class SerialEngine(wiring.Component):
    """A multiplier, an accumulator, an adder for everything else, and what tells them what to do.

    A micro-operation passes three stages: it is fetched, its registers are read, it is executed.
    One that waits, for the bus or for its shifts, holds up those behind it.

    Members
    -------
    start, fetch : in
        The next cycle is the first of a run; whether the program is fetched first.
    running, stop : in
        Of `RunState`.
    host : HOST, in
    halted, quiet, pc, fault : out
        For `RunState`.
    progress : out
        Not waiting for the bus.
    events : increments(arch), out
    m_axi : AxiSignature(arch.port_bytes), out
    """

    start: Signal
    fetch: Signal
    running: Signal
    stop: Signal
    host: Any
    halted: Signal
    quiet: Signal
    pc: Signal
    fault: Any
    progress: Signal
    events: Any
    m_axi: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        self._program = microprogram(arch)
        self.memory = LocalMemory(arch)
        self.acc_bits = max(REGISTER_BITS, arch.acc_bits)
        super().__init__(
            {
                "start": In(1),
                "fetch": In(1),
                "running": In(1),
                "stop": In(1),
                "host": In(HOST),
                "halted": Out(1),
                "quiet": Out(1),
                "pc": Out(REGISTER_BITS),
                "fault": Out(FaultSignature()),
                "progress": Out(1),
                "events": Out(increments(arch)),
                "m_axi": Out(AxiSignature(arch.port_bytes)),
            }
        )
        self._a, self._second, self._result = (
            Signal(REGISTER_BITS, name=n) for n in ("a", "second", "result")
        )
        self._less = Signal()  # a borrow of SUB
        self._negative = Signal()  # the last LOOKUP was of a negative number
        self._index = Signal(NAMED_BITS + 1)
        self._count = Signal(6)  # shifts, or bits to take, that are left
        self._sum = Signal(signed(self.acc_bits))
        self._guard, self._sticky = Signal(), Signal()  # the last bit shifted out; any before it
        self._rounded = Signal(signed(WIDE_BITS))  # the accumulator, as an operation wants it
        self._factor, self._other = Signal(signed(WIDE_BITS)), Signal(signed(WIDE_BITS))
        self._beat = Signal(8 * arch.port_bytes)
        self._bad, self._bus_error = Signal(), Signal()
        self._phase = Signal(Phase)
        self._dead = Signal()  # a run has stopped that left something open on the bus

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = self.memory
        again, flush = Signal(), Signal()
        valid, ends = Signal(), Signal()
        op: Any = Signal(LAYOUT)
        stage = _Stage(op, valid, ends)
        acts = Signal()  # it ends, and what it does counts
        m.d.comb += acts.eq(valid & ends & ~self.stop & ~self._dead)
        self._fetch_and_read(m, stage, flush)
        self._operands(m, op)
        self._jump_conditions(m, op)
        waits = self._bus(m, stage, again)
        more = op.do.matches(*REPEATED) & (self._count > 1)
        halts = op.do == Do.HALT
        m.d.comb += [
            ends.eq(~(valid & (more | waits | halts))),
            flush.eq((~self.running | self.stop | self._dead) & self.quiet),
            self.halted.eq(valid & halts),
            self.progress.eq(~(valid & waits)),
        ]
        m.d.sync += [
            again.eq(valid & ~ends & ~flush),
            self._dead.eq((self._dead | self.stop) & ~flush),
        ]
        bit = self._memory(m, stage, acts, memory)
        self._accumulate(m, stage, again, bit)
        self._state(m, op, acts)
        self._count_events(m, stage, acts, waits)
        return m

    # --- fetch, read -----------------------------------------------------------------------
    def _fetch_and_read(self, m: Module, stage: _Stage, flush: Signal) -> None:
        """Bring one micro-operation after the other to the stage, the first one after a flush."""
        words = self._program.words
        m.submodules.micro = micro = Memory(shape=LAYOUT.size, depth=len(words), init=words)
        named = [
            *self._program.registers,
            *[0] * ((1 << NAMED_BITS) - len(self._program.registers)),
        ]
        m.submodules.registers = registers = Memory(
            shape=REGISTER_BITS, depth=len(named) + SEGMENTS, init=[*named, *activation_rows()]
        )
        fetched, port_a, port_b = micro.read_port(), registers.read_port(), registers.read_port()
        op, ends = stage.op, stage.ends
        moves = ends | flush
        place = Signal(PLACE_BITS)
        coming = Signal()
        self._taken, self._target = Signal(), Signal(PLACE_BITS)
        self._link = Signal(PLACE_BITS)
        read: Any = data.View(LAYOUT, fetched.data)
        addresses = [Mux(n == INDEXED, self._index, n) for n in (read.a, read.b)]
        written = Signal(NAMED_BITS + 1)
        m.d.comb += [
            fetched.addr.eq(place),
            *(p.en.eq(moves) for p in (fetched, port_a, port_b)),
            port_a.addr.eq(addresses[0]),
            port_b.addr.eq(addresses[1]),
            self._a.eq(port_a.data),
        ]
        self._b = port_b.data
        with m.If(moves):
            m.d.sync += [
                coming.eq(~flush),
                stage.valid.eq(coming & ~flush),
                op.eq(read),
                written.eq(addresses[0]),
                place.eq(Mux(self._taken, self._target, place + 1)),
            ]
        self._round(m, read.source, moves)
        with m.If(flush):  # what is not executed does not jump
            m.d.sync += [place.eq(self._program.places["start"]), op.when.eq(When.NEVER)]
        with m.If(stage.valid & ends & (op.when == When.CALL)):
            m.d.sync += self._link.eq(place + 1)
        write = registers.write_port()
        m.d.comb += [
            write.addr.eq(written),
            write.data.eq(self._result),
            write.en.eq(stage.valid & ends & op.write),
        ]
        with m.If(ends & coming & (read.do == Do.TAKE)):
            m.d.sync += self._count.eq(read.b)
        with m.Elif(stage.valid & (op.do == Do.COUNT)):
            m.d.sync += self._count.eq(self._result)
        with m.Elif(stage.valid & op.do.matches(*REPEATED) & (self._count != 0)):
            m.d.sync += self._count.eq(self._count - 1)

    # --- operands and result ---------------------------------------------------------------
    def _operands(self, m: Module, op: Any) -> None:
        a, second = self._a, self._second
        hosts = [
            *(self.host.bases[k] for k in range(len(self.host.bases))),
            *(self.host.args[k] for k in range(len(self.host.args))),
            self.host.program_address,
            self.host.program_words,
        ]
        if len(hosts) != PROGRAM_WORDS + 1:
            raise AssertionError("the host's registers are not numbered as the microprogram has it")
        # known a cycle before it is used, since the index is known two before
        chosen = Signal(REGISTER_BITS)
        with m.Switch(self._index[: clog2(len(hosts))]):
            for k, value in enumerate(hosts):
                with m.Case(k):
                    m.d.sync += chosen.eq(value)
        with m.Switch(op.source):
            with m.Case(Source.REGISTER):
                m.d.comb += second.eq(self._b)
            with m.Case(Source.SUM):
                m.d.comb += second.eq(self._sum)
            with m.Case(Source.ELEMENT):
                m.d.comb += second.eq(self._other)
            with m.Case(Source.HOST):
                m.d.comb += second.eq(chosen)
            with m.Default():
                m.d.comb += second.eq(self._rounded)
        minus = (
            (op.alu == Alu.SUB)
            | ((op.alu == Alu.MAGNITUDE) & second[-1])
            | ((op.alu == Alu.SIGNED) & self._negative)
        )
        subtracts = Signal()
        total = Signal(REGISTER_BITS + 1)
        m.d.comb += [
            subtracts.eq(minus),
            total.eq(
                Mux(op.alu == Alu.PASS, 0, a)
                + (second ^ subtracts.replicate(REGISTER_BITS))
                + subtracts
            ),
            self._less.eq(~total[-1]),
            self._result.eq(Mux(op.alu == Alu.AND, a & second, total)),
        ]

    def _round(self, m: Module, source: Value, moves: Value) -> None:
        """Round the accumulator half to even, and saturate it, as the next operation wants it.

        That one takes it from a register: the way from here through the adder would be the longest.
        """
        total = self._sum
        rounded = Signal(WIDE_BITS)
        up = self._guard & (self._sticky | total[0])
        m.d.comb += rounded.eq(total[:WIDE_BITS] + up)
        narrow = self._saturated(m, rounded, "narrow", self._arch.data_bits)
        wide = self._saturated(m, rounded, "wide", WIDE_BITS)
        lowest = (source == Source.SYMMETRIC) & (wide == 1 << (WIDE_BITS - 1))
        is_wide = source.matches(Source.WIDE, Source.SYMMETRIC)
        with m.If(moves):
            with m.If((source == Source.POSITIVE) & total[-1]):
                m.d.sync += self._rounded.eq(0)
            with m.Else():
                m.d.sync += self._rounded.eq(Mux(is_wide, wide | lowest, narrow.as_signed()))

    def _saturated(self, m: Module, rounded: Value, name: str, bits: int) -> Value:
        """Return the rounded accumulator saturated to some bits."""
        total = self._sum
        negative, upper = total[-1], total[bits - 1 :]
        fits = (upper == 0) | upper.all()
        # where it fits, rounding can still take it one above the greatest
        over = ~negative & (rounded[bits - 1] | ~fits)
        found = Signal(bits, name=name)
        with m.If(over):
            m.d.comb += found.eq((1 << (bits - 1)) - 1)
        with m.Elif(~fits):
            m.d.comb += found.eq(1 << (bits - 1))
        with m.Else():
            m.d.comb += found.eq(rounded)
        return found

    def _jump_conditions(self, m: Module, op: Any) -> None:
        zero = Signal()
        m.d.comb += [zero.eq(self._result == 0), self._target.eq(op.target)]
        conditions: dict[When, Value] = {
            When.ALWAYS: Const(1),
            When.ZERO: zero,
            When.NONZERO: ~zero,
            When.LESS: self._less,
            When.NEGATIVE: self._result[-1],
            When.BAD: self._bad,
            When.BUS_ERROR: self._bus_error,
            When.FETCH: self._fetches(m),
            When.CALL: Const(1),
            When.RETURN: Const(1),
            When.REGISTER: Const(1),
        }
        self._zero = zero
        with m.Switch(op.when):
            for when, condition in conditions.items():
                with m.Case(when):
                    m.d.comb += self._taken.eq(condition)
                    if when == When.RETURN:
                        m.d.comb += self._target.eq(self._link)
                    if when == When.REGISTER:
                        m.d.comb += self._target.eq(self._a)

    def _fetches(self, m: Module) -> Value:
        asked = Signal()
        with m.If(self.start):
            m.d.sync += asked.eq(self.fetch)
        return asked

    # --- the bus ---------------------------------------------------------------------------
    def _bus(self, m: Module, stage: _Stage, again: Signal) -> Value:
        """Drive the bus; return whether the operation waits for it."""
        bus, op, valid = self.m_axi, stage.op, stage.valid
        address, left = Signal(len(bus.araddr)), Signal(len(bus.arlen))
        opened, dropped = Signal(), Signal()
        beat_bytes = self._arch.port_bytes
        # once offered, an address stays until it is taken
        may_start = valid & (again | ~(self.stop | self._dead))
        starts = op.do.matches(Do.READ_BURST, Do.WRITE_BURST)
        for channel, do in (("ar", Do.READ_BURST), ("aw", Do.WRITE_BURST)):
            m.d.comb += [
                getattr(bus, f"{channel}addr").eq(address),
                getattr(bus, f"{channel}len").eq(self._result),
                getattr(bus, f"{channel}size").eq(clog2(beat_bytes)),
                getattr(bus, f"{channel}burst").eq(INCR),
                getattr(bus, f"{channel}valid").eq(may_start & (op.do == do)),
            ]
        m.d.comb += [
            bus.rready.eq(valid & (op.do == Do.BEAT_IN)),
            bus.wvalid.eq(valid & (op.do == Do.BEAT_OUT)),
            bus.bready.eq(valid & (op.do == Do.RESPONSE)),
            bus.wdata.eq(self._beat),
            bus.wstrb.eq((~dropped).replicate(beat_bytes)),
            bus.wlast.eq(left == 0),
            self.quiet.eq(~opened & ~(valid & again & starts)),
        ]
        with m.If(stage.ends):
            m.d.sync += dropped.eq(self.stop | self._dead)
        began = (bus.arvalid & bus.arready) | (bus.awvalid & bus.awready)
        read, wrote = bus.rvalid & bus.rready, bus.wvalid & bus.wready
        answered = bus.bvalid & bus.bready
        with m.If(valid & (op.do == Do.ADDRESS)):
            m.d.sync += address.eq(self._result)
        with m.If(began):
            m.d.sync += [opened.eq(1), left.eq(self._result), self._bus_error.eq(0)]
        with m.If(wrote):
            m.d.sync += left.eq(left - 1)
        with m.If((read & bus.rlast) | answered):
            m.d.sync += opened.eq(0)
        with m.If((read & bus.rresp[ERROR_BIT]) | (answered & bus.bresp[ERROR_BIT])):
            m.d.sync += self._bus_error.eq(1)
        with m.If(read):
            m.d.sync += self._beat.eq(bus.rdata)
        self._read_beat, self._wrote_beat = read, wrote
        return op.do.matches(*BUS) & ~(began | read | wrote | answered)

    # --- the local memory ------------------------------------------------------------------
    def _memory(self, m: Module, stage: _Stage, acts: Signal, memory: LocalMemory) -> Value:
        """Access the local memory; return the next bit of the instruction that is read."""
        arch, op, a = self._arch, stage.op, self._a
        places = parts(arch)
        per_cell = clog2(CELL_BITS // arch.data_bits)
        access = op.access
        accesses = acts & (access != Access.NONE)
        of_elements = access.matches(Access.CHECK, *ELEMENT_READS, *ELEMENT_WRITES, *WORDS)
        outside = Signal()
        limits = [a[arch.address_bits(s) : -1].any() for s in (0, 1)]
        m.d.comb += outside.eq(of_elements & Mux(a[-1], limits[1], limits[0]))
        with m.If(accesses & outside & ~self._bus_error):
            m.d.comb += self.fault.code.eq(Error.ADDRESS)
        with m.Elif(acts & (op.do == Do.FAIL)):
            m.d.comb += self.fault.code.eq(op.b)
        m.d.comb += self.fault.address.eq(a)
        # cells of instructions, the next one below
        seeks = acts & (op.do == Do.SEEK)
        takes = stage.valid & (op.do == Do.TAKE)
        below = Signal(range(len(places[Part.PROGRAM])))
        taken = Signal(range(CELL_BITS))
        refills = takes & (taken == CELL_BITS - 1)
        in_program = refills | seeks | (accesses & access.matches(*PROGRAM))
        offset = Mux(refills, below, a[: len(below)])
        with m.If(in_program):
            m.d.comb += memory.address.eq(places[Part.PROGRAM].start | offset)
        for part, space in ((Part.X, ~a[-1]), (Part.Y, a[-1])):
            with m.If(~in_program & space):
                bits = clog2(len(places[part]))
                m.d.comb += memory.address.eq(places[part].start | a[per_cell : per_cell + bits])
        reads = access.matches(*ELEMENT_READS, Access.READ_WORD, Access.READ_PROGRAM)
        may_write = accesses & ~outside & ~self._bus_error
        m.d.comb += memory.read.eq(refills | seeks | (accesses & reads & ~outside))
        with m.If(access.matches(Access.WRITE_WORD, Access.WRITE_PROGRAM)):
            m.d.comb += [
                memory.written.eq(self._beat),
                memory.write.eq(may_write.replicate(len(memory.write))),
            ]
        with m.Else():
            writes = may_write & access.matches(*ELEMENT_WRITES)
            ones = Const(-1, len(memory.write))
            m.d.comb += [
                memory.written.eq(self._result[: arch.data_bits].replicate(1 << per_cell)),
                memory.write.eq(Mux(writes, 1 << a[:per_cell] if per_cell else ones, 0)),
            ]
        self._arrive(m, access, accesses, a[:per_cell], memory)
        # bits of instructions, from the cell that was read in the cycle before, or what is left
        fresh = Signal()
        rest = Signal(CELL_BITS)
        current = Mux(fresh, memory.data, rest)
        m.d.sync += fresh.eq(refills | seeks)
        with m.If(takes):
            m.d.sync += [rest.eq(current << 1), taken.eq(taken + 1)]
        with m.Elif(fresh):
            m.d.sync += rest.eq(current)
        with m.If(seeks):
            m.d.sync += [taken.eq(0), below.eq(self._result)]
        with m.If(refills):
            m.d.sync += below.eq(below - 1)
        return current[-1]

    def _arrive(
        self, m: Module, access: Value, accesses: Value, place: Value, memory: LocalMemory
    ) -> None:
        """Take what is read, a cycle later, and multiply it, one more cycle later."""
        arch = self._arch
        arriving = Signal(Access)
        part = Signal.like(place) if len(place) else Const(0, 1)
        m.d.sync += arriving.eq(Mux(accesses, access, Access.NONE))
        if len(place):
            m.d.sync += part.eq(place)
        element = memory.data.word_select(part, arch.data_bits).as_signed()
        with m.If(arriving == Access.READ_FIRST):
            m.d.sync += self._factor.eq(element)
        with m.If(arriving.matches(Access.READ, Access.MULTIPLY)):
            m.d.sync += self._other.eq(element)
        with m.If(arriving == Access.READ_PROGRAM):
            m.d.sync += self._other.eq(memory.data)
        with m.If(arriving == Access.READ_WORD):
            m.d.sync += self._beat.eq(Cat(self._beat[CELL_BITS:], memory.data))
        if len(self._beat) > CELL_BITS:
            with m.If(accesses & access.matches(Access.WRITE_WORD, Access.WRITE_PROGRAM)):
                m.d.sync += self._beat.eq(self._beat[CELL_BITS:])
        self._multiplies = Signal()
        m.d.sync += self._multiplies.eq(arriving == Access.MULTIPLY)

    # --- the accumulator -------------------------------------------------------------------
    def _accumulate(self, m: Module, stage: _Stage, again: Signal, bit: Value) -> None:
        op, total = stage.op, self._sum
        product = Signal(signed(2 * WIDE_BITS))
        adds, begins = Signal(), Signal()
        does = stage.valid & stage.ends
        m.d.sync += [
            adds.eq(self._multiplies | (does & (op.do == Do.MULTIPLY_ADD))),
            begins.eq(does & (op.do == Do.MULTIPLY)),
            product.eq(self._factor * self._other),
        ]
        shifts = stage.valid & (self._count != 0)
        with m.If(adds | begins):
            m.d.sync += total.eq(Mux(begins, 0, total) + product)
        with m.Elif(stage.valid & (op.do == Do.TAKE)):
            m.d.sync += total.eq(Cat(bit, Mux(again, total[:-1], 0)).as_signed())
        with m.Elif(shifts & (op.do == Do.SHIFT_LEFT)):
            m.d.sync += total.eq(Cat(Const(0, 1), total[:-1]).as_signed())
        with m.Elif(shifts & (op.do == Do.SHIFT_RIGHT)):
            m.d.sync += [
                total.eq(total >> 1),
                self._guard.eq(total[0]),
                self._sticky.eq(self._sticky | self._guard),
            ]
        with m.Elif(stage.valid & (op.do == Do.CLEAR)):
            m.d.sync += total.eq(0)
        with m.Elif(stage.valid & (op.do == Do.WRAP)):
            m.d.sync += total.eq(total[: self._arch.acc_bits].as_signed())
        with m.If(begins | (stage.valid & (op.do == Do.CLEAR))):
            m.d.sync += [self._guard.eq(0), self._sticky.eq(0)]
        result = self._result
        with m.If(does & op.do.matches(Do.FIRST)):
            m.d.sync += self._factor.eq(result)
        with m.If(does & op.do.matches(Do.LOOKUP)):
            m.d.sync += self._factor.eq(result[:INTERPOLATION_BITS])
        with m.If(does & (op.do == Do.SECOND)):
            m.d.sync += self._other.eq(result)
        with m.If(does & (op.do == Do.SECOND_HIGH)):
            m.d.sync += self._other.eq(result[WIDE_BITS:])

    # --- small state -----------------------------------------------------------------------
    def _state(self, m: Module, op: Any, acts: Signal) -> None:
        result, zero = self._result, self._zero
        with m.If(acts), m.Switch(op.do):
            with m.Case(Do.INDEX):
                m.d.sync += self._index.eq(result)
            with m.Case(Do.LOOKUP):
                segment = result[INTERPOLATION_BITS : WIDE_BITS - 1]
                m.d.sync += [
                    self._index.eq(Cat(segment, Const(1 << (NAMED_BITS - len(segment)), 2))),
                    self._negative.eq(self._second[-1]),
                ]
            with m.Case(Do.DECODE):
                m.d.sync += [self.pc.eq(self._a), self._bad.eq(0)]
            with m.Case(Do.PHASE):
                m.d.sync += self._phase.eq(op.b)
            with m.Case(Do.NOT_ZERO):
                m.d.sync += self._bad.eq(self._bad | zero)
            with m.Case(Do.ONLY_ZERO):
                m.d.sync += self._bad.eq(self._bad | ~zero)
            with m.Case(Do.STRIDE):
                large = result[self._arch.stride_bits :].any()
                m.d.sync += self._bad.eq(self._bad | large)
        with m.If(self.start):
            m.d.sync += self._phase.eq(Phase.SEQUENCER)

    # --- counters --------------------------------------------------------------------------
    def _count_events(self, m: Module, stage: _Stage, acts: Signal, waits: Value) -> None:
        """Say what each counter of `registers.COUNTERS` counts in this cycle."""
        op, phase = stage.op, self._phase
        access = op.access
        waiting = stage.valid & waits
        is_y = self._a[-1]

        def does(accesses: Iterable[Access]) -> Value:
            return acts & access.matches(*accesses)

        per_word = CELL_BITS // self._arch.data_bits
        reads = Mux(does([Access.READ_WORD]), per_word, does(ELEMENT_READS))
        writes = Mux(does([Access.WRITE_WORD]), per_word, does(ELEMENT_WRITES))
        results = does([Access.WRITE_RESULT, Access.WRITE_FILLED])
        multiplies = does([Access.MULTIPLY])
        in_array, in_vector = phase == Phase.ARRAY, phase == Phase.VECTOR
        issues = in_vector & does([Access.READ, Access.WRITE_FILLED])
        loads, stores = phase == Phase.LOAD, phase == Phase.STORE
        counted: dict[str, Value] = {
            "cycles": Const(1),
            "instructions": acts & (op.do == Do.DECODE),
            "sequencer_stall": in_array | in_vector | loads | stores,
            "macs": multiplies,
            "x_reads": Mux(is_y, 0, reads),
            "y_reads": Mux(is_y, reads, 0),
            "x_writes": Mux(is_y, 0, writes),
            "y_writes": Mux(is_y, writes, 0),
            "drained": in_array & results,
            "activations": acts & (op.do == Do.LOOKUP),
            "vector_ops": in_vector & results,
            "dma_read_beats": self._read_beat,
            "dma_write_beats": self._wrote_beat,
            "array_issue": multiplies,
            "array_stall_port": in_array & ~multiplies,
            "array_stall_setup": phase == Phase.ARRAY_SETUP,
            "array_idle": ~phase.matches(Phase.ARRAY, Phase.ARRAY_SETUP),
            "vector_issue": issues,
            "vector_stall_port": in_vector & ~issues,
            "vector_stall_setup": phase == Phase.VECTOR_SETUP,
            "vector_idle": ~phase.matches(Phase.VECTOR, Phase.VECTOR_SETUP),
            "load_transfer": self._read_beat,
            "load_stall_port": loads & ~self._read_beat & ~waiting,
            "load_stall_memory": loads & waiting,
            "load_idle": ~loads,
            "store_transfer": self._wrote_beat,
            "store_stall_port": stores & ~self._wrote_beat & ~waiting,
            "store_stall_memory": stores & waiting,
            "store_idle": ~stores,
        }
        m.d.comb += [self.events[name].eq(value) for name, value in counted.items()]
