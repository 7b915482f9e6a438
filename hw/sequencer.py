"""The sequencer: program memory to decoded instructions in the units' slots."""

from typing import Any, Final

from amaranth import Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.first_addresses import LANES, MAX_WORDS
from einchip.hw.interfaces import (
    ARRAY_ISSUE,
    TRANSFER_ISSUE,
    VECTOR_ISSUE,
    FaultSignature,
    IssueSignature,
    instruction_layout,
)
from einchip.hw.loop_stack import LoopStack
from einchip.hw.program_memory import FetchSignature, ProgramMemory, ProgramWriteSignature
from einchip.hw.register_file import RegisterFile
from einchip.hw.resolver import Resolver
from einchip.program import (
    HOST_ARGS,
    HOST_BASES,
    INSTRUCTIONS,
    REGISTER_BITS,
    TOKENS,
    WORD_BITS,
    WORD_BYTES,
    EndLoop,
    Error,
    Give,
    Halt,
    Load,
    Loop,
    SetMode,
    SetRegister,
    Store,
    Sync,
    Unit,
)

#: What the host sets before a start.
HOST: Final = data.StructLayout(
    {
        "program_address": REGISTER_BITS,
        "program_words": REGISTER_BITS,
        "bases": data.ArrayLayout(REGISTER_BITS, HOST_BASES),
        "args": data.ArrayLayout(REGISTER_BITS, HOST_ARGS),
    }
)

#: Counters of the sequencer.
EVENTS: Final = data.StructLayout({"instructions": 1, "sequencer_stall": 1})

#: What the sequencer does not execute itself.
UNIT_KINDS: Final = tuple(kind for kind in INSTRUCTIONS if kind.UNIT != Unit.SEQUENCER)
#: Those of one word; they all have the field `skip_last` at the same place.
TRANSFERS: Final = (Load, Store)

#: Units by the name of the port that instructions are handed to them on.
ISSUES: Final = {
    "load": Unit.LOAD,
    "store": Unit.STORE,
    "array": Unit.ARRAY,
    "vector": Unit.VECTOR,
}


class State(enum.Enum, shape=4):
    """What the sequencer does in a cycle; `docs/timing.md` says for how many."""

    IDLE = 0
    LAUNCH = 1  # ask the load unit for the program
    LOAD = 2  # wait for its last beat
    FETCH = 3
    DECODE = 4
    COPY = 5
    RESOLVE = 6
    STOP = 7
    SYNC = 8


class Sequencer(wiring.Component):
    """Run a program: loops, registers, GIVE, SYNC here, everything else handed to its unit.

    An instruction of one word that acts here takes 2 cycles, one of w words for a unit w + 2 and
    one for each cycle in which the unit's slot is taken.

    Members
    -------
    start, fetch : in
        Begin at word 0 in the next cycle; with `fetch`, after the program has been fetched.
    host : HOST, in
        Stable from a start to the stop.
    stop : in
        Abandon the program.
    fetch_port : FetchSignature, out
    program : ProgramWriteSignature, in
    load, store, array, vector : IssueSignature, out
    give : TOKENS, out
        Tokens given in this cycle.
    clear : out
        All tokens become 0.
    units_idle : in
    halted : out
        HALT was reached and every unit is idle: the program's last cycle.
    fault : FaultSignature, out
    pc : REGISTER_BITS, out
        Word index of the instruction at hand.
    busy : out
        The state changed at the last clock edge.
    events : EVENTS, out
    """

    start: Signal
    fetch: Signal
    host: Any
    stop: Signal
    fetch_port: Any
    program: Any
    load: Any
    store: Any
    array: Any
    vector: Any
    give: Signal
    clear: Signal
    units_idle: Signal
    halted: Signal
    fault: Any
    pc: Signal
    busy: Signal
    events: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "start": In(1),
                "fetch": In(1),
                "host": In(HOST),
                "stop": In(1),
                "fetch_port": Out(FetchSignature(arch)),
                "program": In(ProgramWriteSignature(arch)),
                "load": Out(IssueSignature(TRANSFER_ISSUE)),
                "store": Out(IssueSignature(TRANSFER_ISSUE)),
                "array": Out(IssueSignature(ARRAY_ISSUE)),
                "vector": Out(IssueSignature(VECTOR_ISSUE)),
                "give": Out(TOKENS),
                "clear": Out(1),
                "units_idle": In(1),
                "halted": Out(1),
                "fault": Out(FaultSignature()),
                "pc": Out(REGISTER_BITS),
                "busy": Out(1),
                "events": Out(EVENTS),
            }
        )
        self._state = Signal(State)
        # Word indices reach from 0 to one past the end.
        self._pc = Signal(range(arch.program_words + 1))
        self._cursor = Signal.like(self._pc)  # next word to read
        self._after = Signal.like(self._pc)  # the word behind it
        self._following = Signal.like(self._pc)  # the cursor in the next cycle
        self._registers = RegisterFile(LANES)
        self._is_set = Signal()  # a register is set or changed in this cycle
        # of what the host set: no program, or one longer than program memory; arguments that are 0
        self._no_words = Signal()
        self._too_long = Signal()
        self._no_args = Signal(HOST_ARGS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = ProgramMemory(self._arch)
        skip_bits = instruction_layout(Load)["skip_last"].width
        m.submodules.loops = loops = LoopStack(len(self._pc), skip_bits + 1)
        m.submodules.registers = self._registers
        m.submodules.resolver = resolver = Resolver(self._arch)
        wiring.connect(m, wiring.flipped(self.program), memory.write)
        previous = Signal(State)
        m.d.sync += [
            previous.eq(self._state),
            self._cursor.eq(self._following),
            self._no_words.eq(self.host.program_words == 0),
            self._too_long.eq(self.host.program_words > self._arch.program_words),
            self._no_args.eq(Cat(arg == 0 for arg in self.host.args)),
        ]
        # so that the word at the cursor is there in the cycle after the cursor points to it
        m.d.comb += [
            self._after.eq(self._cursor + 1),
            self._following.eq(self._cursor),
            memory.address.eq(self._following),
            self.pc.eq(self._pc),
            self.busy.eq(self._state != previous),
            self._registers.number.eq(resolver.number),
        ]
        with m.Switch(self._state):
            with m.Case(State.LAUNCH):
                self._launch(m)
            with m.Case(State.LOAD), m.If(self.fetch_port.done):
                m.d.sync += self._state.eq(State.FETCH)
            with m.Case(State.FETCH):
                self._fetch(m)
            with m.Case(State.DECODE):
                self._decode(m, memory.word, loops)
            with m.Case(State.STOP):
                m.d.comb += self.halted.eq(self.units_idle)
            with m.Case(State.SYNC):
                self._sync(m)
        self._change_register(m, memory.word)
        self._assemble(m, memory.word, resolver)
        self._resolve(m, resolver)
        self._begin_and_end(m, loops)
        return m

    def _begin_and_end(self, m: Module, loops: LoopStack) -> None:
        with m.If(self.stop | self.halted):
            m.d.sync += self._state.eq(State.IDLE)
        with m.If(self.start):
            m.d.comb += [
                loops.clear.eq(1),
                self._registers.clear.eq(1),
                self._following.eq(0),
            ]
            m.d.sync += [
                self._state.eq(Mux(self.fetch, State.LAUNCH, State.FETCH)),
                self._pc.eq(0),
            ]

    def _raise(self, m: Module, code: ValueLike, address: Value | None = None) -> None:
        """Report an error, by default at the instruction at hand."""
        m.d.comb += [
            self.fault.code.eq(code),
            self.fault.address.eq(self._pc if address is None else address),
        ]

    def _launch(self, m: Module) -> None:
        port, host = self.fetch_port, self.host
        m.d.comb += [port.address.eq(host.program_address), port.words.eq(host.program_words)]
        with m.If(self._no_words | self._too_long):
            m.d.sync += self._state.eq(State.FETCH)  # which reports it
        with m.Elif(host.program_address % WORD_BYTES != 0):
            self._raise(m, Error.ALIGNMENT)
        with m.Else():
            m.d.comb += port.valid.eq(1)
            with m.If(port.ready):
                m.d.sync += self._state.eq(State.LOAD)

    def _fetch(self, m: Module) -> None:
        """Read the first word of an instruction."""
        m.d.comb += self._following.eq(self._after)
        m.d.sync += [self._pc.eq(self._cursor), self._state.eq(State.IDLE)]
        with m.If(self._too_long):
            self._raise(m, Error.FIELD)
        with m.Elif(self._cursor == self.host.program_words[: len(self._cursor)]):
            self._raise(m, Error.NO_HALT, self._cursor)
        with m.Else():
            m.d.sync += self._state.eq(State.DECODE)

    def _decode(self, m: Module, word: Value, loops: LoopStack) -> None:
        """Act on an instruction of the sequencer; let the others be completed."""
        m.d.comb += self.events.instructions.eq(1)
        with m.Switch(_opcode(word)):
            for kind, act in (
                (Loop, self._loop),
                (EndLoop, self._end_loop),
                (SetRegister, self._set_register),
            ):
                with m.Case(kind.OPCODE):
                    m.d.sync += self._state.eq(State.FETCH)
                    act(m, data.View(instruction_layout(kind), word), loops)
            with m.Case(Give.OPCODE):
                m.d.sync += self._state.eq(State.FETCH)
                m.d.comb += self.give.eq(data.View(instruction_layout(Give), word).mask)
            with m.Case(Halt.OPCODE):
                m.d.sync += self._state.eq(State.STOP)
            with m.Case(Sync.OPCODE):
                m.d.sync += self._state.eq(State.SYNC)
            with m.Case(*(kind.OPCODE for kind in TRANSFERS)):
                transfer = data.View(instruction_layout(Load), word)
                skipped = ~loops.empty & (loops.left <= transfer.skip_last)
                m.d.sync += self._state.eq(Mux(skipped, State.FETCH, State.RESOLVE))
            with m.Case(*(kind.OPCODE for kind in UNIT_KINDS if kind.WORDS > 1)):
                m.d.comb += self._following.eq(self._after)
                m.d.sync += self._state.eq(State.COPY)
            with m.Default():
                self._raise(m, Error.OPCODE)

    def _sync(self, m: Module) -> None:
        """Wait for the units, then forget all tokens."""
        m.d.comb += self.clear.eq(self.units_idle)
        with m.If(self.units_idle):
            m.d.sync += self._state.eq(State.FETCH)
        with m.Else():
            m.d.comb += self.events.sequencer_stall.eq(1)

    def _loop(self, m: Module, loop: Any, loops: LoopStack) -> None:
        args, choice = self.host.args, (loop.arg - 1)[: clog2(HOST_ARGS)]
        no_arg = self._no_args.bit_select(choice, 1)
        m.d.comb += [
            loops.push_target.eq(self._cursor),
            loops.push_count.eq(Mux(loop.arg == 0, loop.count, args[choice])),
        ]
        with m.If((loop.arg > HOST_ARGS) | Mux(loop.arg == 0, loop.count == 0, no_arg)):
            self._raise(m, Error.FIELD)
        with m.Elif(loops.full):
            self._raise(m, Error.LOOP)
        m.d.comb += loops.push.eq(~loops.full)  # after a fault, too: then it does not matter

    def _end_loop(self, m: Module, _: Any, loops: LoopStack) -> None:
        with m.If(loops.empty):
            self._raise(m, Error.LOOP)
        with m.Else():
            m.d.comb += loops.step.eq(1)
            with m.If(loops.again):
                m.d.comb += self._following.eq(loops.target)

    def _set_register(self, m: Module, instruction: Any, _: LoopStack) -> None:
        with m.If((instruction.reg == 0) | (instruction.mode > max(SetMode))):
            self._raise(m, Error.FIELD)
        with m.Else():
            m.d.sync += self._is_set.eq(1)
        # read by nobody else in this cycle
        m.d.comb += self._registers.number[0].eq(instruction.reg)

    def _change_register(self, m: Module, word: Value) -> None:
        """Do what SETR says, in the cycle after its DECODE, in which its register was read."""
        layout = instruction_layout(SetRegister)
        decoded: Any = data.View(layout, word)
        mode = Signal(layout["mode"].width)
        value = Signal(REGISTER_BITS)
        old = Signal(REGISTER_BITS)
        file = self._registers
        m.d.comb += file.write.eq(self._is_set)
        m.d.sync += [
            Cat(file.to, mode, value).eq(Cat(decoded.reg, decoded.mode, decoded.value)),
            old.eq(file.read[0]),
        ]
        with m.If(self._is_set):
            m.d.sync += self._is_set.eq(0)
            with m.Switch(mode):
                with m.Case(SetMode.SET):
                    m.d.comb += file.value.eq(value)
                with m.Case(SetMode.ADD):
                    m.d.comb += file.value.eq(old + value)
                with m.Case(SetMode.TOGGLE):
                    m.d.comb += file.value.eq(value - old)

    def _assemble(self, m: Module, word: Value, resolver: Resolver) -> None:
        """Gather the words of a unit's instruction: the first in DECODE, the others in COPY."""
        words: Any = Signal(data.ArrayLayout(WORD_BITS, MAX_WORDS), reset_less=True)
        number = Signal(range(MAX_WORDS))
        last = Signal(range(MAX_WORDS))
        unit = Signal(Unit)
        beyond = Signal()  # the word that arrives lies past the program's end
        m.d.sync += beyond.eq(self._cursor == self.host.program_words)
        m.d.comb += [
            resolver.words.eq(words),
            resolver.word.eq(word),
            resolver.arrives.eq((self._state == State.DECODE) | (self._state == State.COPY)),
            resolver.place.eq(Mux(self._state == State.DECODE, 0, number)),
            resolver.unit.eq(unit),
        ]
        with m.If(self._state == State.DECODE):
            m.d.sync += [words[0].eq(word), number.eq(1)]
            with m.Switch(_opcode(word)):
                for kind in UNIT_KINDS:
                    with m.Case(kind.OPCODE):
                        m.d.sync += [unit.eq(kind.UNIT), last.eq(kind.WORDS - 1)]
        with m.Elif(self._state == State.COPY):
            m.d.sync += [words[number].eq(word), number.eq(number + 1)]
            with m.If(beyond):
                self._raise(m, Error.NO_HALT, self.host.program_words)
            with m.Elif(number == last):
                m.d.sync += self._state.eq(State.RESOLVE)
            with m.Else():
                m.d.comb += self._following.eq(self._after)

    def _resolve(self, m: Module, resolver: Resolver) -> None:
        """Hand the instruction to its unit as soon as the unit's slot is empty.

        A faulty one may be handed over, too: the fault stops the unit before it can launch it.
        """
        m.d.comb += [
            resolver.pc.eq(self._pc),
            resolver.registers.eq(self._registers.read),
            resolver.bases.eq(self.host.bases),
        ]
        taken = Signal()
        resolving = self._state == State.RESOLVE
        payloads = {
            "load": resolver.transfer,
            "store": resolver.transfer,
            "array": resolver.array,
            "vector": resolver.vector,
        }
        for name, unit in ISSUES.items():
            port = getattr(self, name)
            chosen = resolver.unit == unit
            m.d.comb += [
                port.payload.eq(payloads[name]),
                port.valid.eq(resolving & chosen),
            ]
            with m.If(chosen):
                m.d.comb += taken.eq(~port.ready)
        with m.If(resolving & taken & ~resolver.fault.code.any()):
            m.d.comb += self.events.sequencer_stall.eq(1)
        with m.If(resolving & ~taken):
            m.d.sync += self._state.eq(State.FETCH)
        with m.If(resolving):
            self._raise(m, resolver.fault.code, resolver.fault.address)


def _opcode(word: Value) -> Value:
    return data.View(instruction_layout(Halt), word).opcode
