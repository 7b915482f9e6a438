"""Micro-operations of a serial machine: their fields, and an assembler that knows their timing.

One micro-operation is executed a cycle, unless it waits. It is fetched, then its registers are
read, then it acts: so a register that it writes can be read by the one after the next, and two more
are executed behind a jump. `Assembler` puts in operations that do nothing where results are not
there yet, and `Assembler.finish` checks every path through the program.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from amaranth.lib import data

#: Registers that have names, at most; the last number stands for the one that is indexed.
NAMED_BITS: Final = 8
INDEXED: Final = (1 << NAMED_BITS) - 1
#: Micro-operations, at most.
PLACE_BITS: Final = 11
#: Micro-operations that are executed behind a jump.
SLOTS: Final = 2


class Source(IntEnum):
    """The second operand."""

    REGISTER = 0  # register b
    SUM = 1  # the accumulator's low bits
    ELEMENT = 2  # the second factor
    RESULT = 3  # the accumulator, rounded, saturated to an element
    POSITIVE = 4  # the same, 0 where it is negative
    WIDE = 5  # the accumulator, rounded, saturated to 16 bits
    SYMMETRIC = 6  # the same, but never -32768
    HOST = 7  # the host's register whose number stands in the index


class Alu(IntEnum):
    """The result, of register a and the second operand."""

    PASS = 0  # the second operand
    ADD = 1
    SUB = 2
    AND = 3
    MAGNITUDE = 4  # a + |second|
    SIGNED = 5  # a + second, or a - second where the last LOOKUP was of a negative one


class Access(IntEnum):
    """What is done to the local memory; register a is the address.

    An element's address has its scratchpad in its highest bit.
    """

    NONE = 0
    CHECK = 1  # whether the address is in the scratchpad
    READ_FIRST = 2  # an element becomes the first factor
    READ = 3  # an element becomes the second factor
    MULTIPLY = 4  # the same, and the product of both is added to the accumulator
    READ_WORD = 5  # a word of a scratchpad goes into the beat
    WRITE = 6  # an element of a state := result
    WRITE_RESULT = 7  # an element that the instruction is about := result
    WRITE_FILLED = 8  # the same, of FILL
    WRITE_WORD = 9  # a word of a scratchpad := the beat's lowest word
    READ_PROGRAM = 10  # 16 bits of a program, as they are, become the second factor
    WRITE_PROGRAM = 11  # 16 bits of a program := the beat's lowest word


class Do(IntEnum):
    """What is done beside that."""

    NONE = 0
    SEEK = 1  # read an instruction down from the 16 bits at a, the highest first; result: below a
    TAKE = 2  # accumulator := the next n bits of the instruction
    COUNT = 3  # shifts of the next SHIFT_*: result
    SHIFT_LEFT = 4
    SHIFT_RIGHT = 5
    CLEAR = 6  # accumulator := 0
    WRAP = 7  # accumulator := its `acc_bits` low bits
    MULTIPLY = 8  # accumulator := product of both factors
    MULTIPLY_ADD = 9  # accumulator += product of both factors
    FIRST = 10  # first factor := result
    SECOND = 11  # second factor := result
    SECOND_HIGH = 12  # second factor := upper half of the result
    LOOKUP = 13  # index := the sigmoid's segment, first factor := place in it, of the result
    INDEX = 14  # index := result
    DECODE = 15  # an instruction begins, in word a; no check has failed
    PHASE = 16  # n: what is being executed (`Phase`)
    FAIL = 17  # n: an error; its address is a
    HALT = 18  # the program is at its end
    ADDRESS = 19  # address of the next burst := result
    READ_BURST = 20  # ask for result + 1 beats, once the bus takes it
    WRITE_BURST = 21  # offer as many
    BEAT_IN = 22  # take a beat, once it is there
    BEAT_OUT = 23  # give a beat, once the bus takes it
    RESPONSE = 24  # take the response, once it is there
    NOT_ZERO = 25  # a check: fails if the result is 0
    ONLY_ZERO = 26  # a check: fails unless the result is 0
    STRIDE = 27  # a check: fails if the result is no stride of the machine


class When(IntEnum):
    """When to jump."""

    NEVER = 0
    ALWAYS = 1
    ZERO = 2  # the result is 0
    NONZERO = 3
    LESS = 4  # a is less than the second operand, as unsigned numbers, after SUB
    NEGATIVE = 5  # the result is negative
    BAD = 6  # a check failed
    BUS_ERROR = 7  # in the burst
    FETCH = 8  # the host asked for the program to be fetched
    CALL = 9  # always; RETURN comes back
    RETURN = 10
    REGISTER = 11  # to the place in register a


class Phase(IntEnum):
    """What the machine is busy with, for the counters."""

    SEQUENCER = 0
    LOAD = 1
    STORE = 2
    ARRAY = 3
    VECTOR = 4
    ARRAY_SETUP = 5
    VECTOR_SETUP = 6


#: The bits of a micro-operation. `b` holds n, too: no operation needs both.
LAYOUT: Final = data.StructLayout(
    {
        "a": NAMED_BITS,
        "b": NAMED_BITS,
        "source": 3,
        "alu": 3,
        "write": 1,
        "access": 4,
        "do": 5,
        "when": 4,
        "target": PLACE_BITS,
    }
)
#: Operations that take several cycles, and those that wait for the bus.
REPEATED: Final = (Do.TAKE, Do.SHIFT_LEFT, Do.SHIFT_RIGHT)
BUS: Final = (Do.READ_BURST, Do.WRITE_BURST, Do.BEAT_IN, Do.BEAT_OUT, Do.RESPONSE)
#: Those that use the result.
_RESULTS: Final = (
    Do.SEEK, Do.COUNT, Do.FIRST, Do.SECOND, Do.SECOND_HIGH, Do.LOOKUP, Do.INDEX, Do.ADDRESS,
    Do.READ_BURST, Do.WRITE_BURST, Do.NOT_ZERO, Do.ONLY_ZERO, Do.STRIDE,
)  # fmt: skip
_IMMEDIATE: Final = (Do.TAKE, Do.PHASE, Do.FAIL)
_ROUNDED: Final = (Source.RESULT, Source.POSITIVE, Source.WIDE, Source.SYMMETRIC)
_WRITES: Final = (Access.WRITE, Access.WRITE_RESULT, Access.WRITE_FILLED)
_BY_RESULT: Final = (When.ZERO, When.NONZERO, When.LESS, When.NEGATIVE)

INDEX: Final = "[]"
"""The register whose number stands in the index."""


class Timed(NamedTuple):
    """Something that an operation changes, and after how many operations that can be used."""

    what: str
    after: int


@dataclass(frozen=True)
class Op:
    """One micro-operation. Registers go by name; INDEX stands for the indexed one.

    A name "=5" is a register that holds 5, "@label" one that holds a place in the program; behind
    a "#" such a name may have what tells it from others.
    `reaches`: where a jump to a register may lead.
    """

    a: str = "=0"
    b: str = "=0"
    n: int = 0
    source: Source = Source.REGISTER
    alu: Alu = Alu.PASS
    write: bool = False
    access: Access = Access.NONE
    do: Do = Do.NONE
    when: When = When.NEVER
    target: str = ""
    reaches: tuple[str, ...] = ()

    @property
    def uses_result(self) -> bool:
        """Whether anything depends on the result."""
        return (
            self.write or self.do in _RESULTS or self.access in _WRITES or self.when in _BY_RESULT
        )

    @property
    def registers(self) -> Iterator[str]:
        """The registers that it reads."""
        addresses = self.access or self.do in (Do.SEEK, Do.DECODE, Do.FAIL)
        calculates = self.alu != Alu.PASS and self.uses_result
        if addresses or calculates or self.when == When.REGISTER:
            yield self.a
        if self.source == Source.REGISTER and self.uses_result:
            yield self.b

    def changes(self) -> Iterator[Timed]:
        """Yield what it changes; the accumulator's rounded values follow it by one."""
        for changed in self._changes():
            yield changed
            if changed.what == "accumulator":
                yield Timed("rounded", changed.after + 1)

    def _changes(self) -> Iterator[Timed]:
        if self.write:
            yield Timed(f"register {self.a}", 2)
        changed: Mapping[Do, Sequence[Timed]] = {
            Do.INDEX: [Timed("index", 2)],
            Do.LOOKUP: [Timed("index", 2), Timed("first", 1)],
            Do.FIRST: [Timed("first", 1)],
            Do.SECOND: [Timed("second", 1)],
            Do.SECOND_HIGH: [Timed("second", 1)],
            Do.MULTIPLY: [Timed("accumulator", 2)],
            Do.MULTIPLY_ADD: [Timed("accumulator", 2)],
            Do.BEAT_IN: [Timed("beat", 1)],
            **{do: [Timed("accumulator", 1)] for do in (*REPEATED, Do.CLEAR, Do.WRAP)},
        }
        yield from changed.get(self.do, ())
        read: Mapping[Access, Sequence[Timed]] = {
            Access.READ_FIRST: [Timed("first", 2)],
            Access.READ: [Timed("second", 2)],
            Access.READ_PROGRAM: [Timed("second", 2)],
            Access.MULTIPLY: [Timed("second", 2), Timed("accumulator", 4)],
            Access.READ_WORD: [Timed("beat", 2)],
            Access.WRITE_WORD: [Timed("beat", 1)],
            Access.WRITE_PROGRAM: [Timed("beat", 1)],
        }
        yield from read.get(self.access, ())

    def needs(self) -> Iterator[str]:
        """Yield what it depends on."""
        for name in self.registers:
            yield f"register {name}"
            if name == INDEX:
                yield "index"
        if self.write and self.a == INDEX:
            yield "index"
        if self.source == Source.HOST:
            yield "index"
        if self.uses_result and self.source == Source.SUM:
            yield "accumulator"
        if self.uses_result and self.source in _ROUNDED:
            yield "rounded"
        if self.uses_result and self.source == Source.ELEMENT:
            yield "second"
        if self.do in (Do.MULTIPLY, Do.MULTIPLY_ADD):
            yield from ("first", "second")
        if self.do in (Do.MULTIPLY_ADD, Do.SHIFT_LEFT, Do.SHIFT_RIGHT, Do.WRAP):
            yield "accumulator"
        if self.do == Do.BEAT_OUT or self.access in (Access.WRITE_WORD, Access.WRITE_PROGRAM):
            yield "beat"

    def waits(self, before: "Op", distance: int) -> bool:
        """Return whether it comes too early, so many operations after another one."""
        for changed in before.changes():
            if distance < changed.after and changed.what in self.needs():
                return True
            for own in self.changes():
                if changed.what == own.what and distance + own.after <= changed.after:
                    return True
        return False


class MicrocodeError(AssertionError):
    """A microprogram that cannot be built: a defect of this package."""


@dataclass(frozen=True)
class Microprogram:
    """What the machine's memories begin with.

    `words` are the micro-operations, `registers` the named registers, `places` the labels.
    """

    words: tuple[int, ...]
    registers: tuple[int, ...]
    places: Mapping[str, int]
    ops: tuple[Op, ...]


@dataclass
class Assembler:
    """Puts a microprogram together, one operation after the other."""

    ops: list[Op] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    _registers: dict[str, int] = field(default_factory=dict)

    def registers(self, *names: str) -> int:
        """Give the next registers to these names, and return the first one's number."""
        first = len(self._registers)
        for name in names:
            self._registers[name] = len(self._registers)
        return first

    def label(self, name: str) -> None:
        """Name the place of the next operation."""
        if name in self.places:
            raise MicrocodeError(f"two places are named {name}")
        self.places[name] = len(self.ops)

    def op(self, op: Op) -> None:
        """Add an operation, behind as many that do nothing as it must wait for."""
        while any(op.waits(before, k + 1) for k, before in enumerate(self.ops[:-5:-1])):
            self.ops.append(Op())
        self.ops.append(op)

    def nothing(self, n: int = 1) -> None:
        """Add operations that do nothing."""
        self.ops += [Op()] * n

    def jump(self, op: Op, *slots: Op) -> None:
        """Add a jump, and what is executed behind it."""
        self.op(op)
        filled = (*slots, *[Op()] * (SLOTS - len(slots)))
        for number, slot in enumerate(filled):
            self.ops.append(slot)
            late = [k for k, o in enumerate(self.ops[-2:-5:-1]) if slot.waits(o, k + 1)]
            if late or number >= SLOTS:
                raise MicrocodeError(f"operation {number} behind {op} is too early: {slot}")

    def goto(self, target: str, *slots: Op) -> None:
        """Jump."""
        self.jump(Op(when=When.ALWAYS, target=target), *slots)

    def goto_register(self, name: str, reaches: Sequence[str], *slots: Op) -> None:
        """Jump to the place in a register, one of those that are given."""
        self.jump(Op(a=name, when=When.REGISTER, reaches=tuple(reaches)), *slots)

    # --- the end ---------------------------------------------------------------------------
    def finish(self) -> Microprogram:
        """Return the program.

        Raises MicrocodeError where an operation comes too early, or there is no room.
        """
        self._check()
        words = tuple(self._encoded(op) for op in self.ops)
        if len(words) > 1 << PLACE_BITS or len(self._registers) > INDEXED:
            raise MicrocodeError(
                f"{len(words)} operations and {len(self._registers)} registers have no room"
            )
        values = tuple(self._initial(name) for name in self._registers)
        return Microprogram(words, values, dict(self.places), tuple(self.ops))

    def _register(self, name: str) -> int:
        if name == INDEX:
            return INDEXED
        return self._registers.setdefault(name, len(self._registers))

    def _initial(self, name: str) -> int:
        name = name.split("#")[0]
        if name.startswith("@"):
            return self.places[name[1:]]
        return int(name[1:], 0) % (1 << 32) if name.startswith("=") else 0

    def _encoded(self, op: Op) -> int:
        fields = {
            "a": self._register(op.a),
            "b": self._register(op.b),
            "source": op.source,
            "alu": op.alu,
            "write": int(op.write),
            "access": op.access,
            "do": op.do,
            "when": op.when,
            "target": self.places[op.target] if op.target else 0,
        }
        if op.do in _IMMEDIATE:
            if op.source == Source.REGISTER and op.uses_result:
                raise MicrocodeError(f"b is taken by a number: {op}")
            fields["b"] = op.n
        if op.write and op.a.startswith(("=", "@")):
            raise MicrocodeError(f"a constant is written: {op}")
        return sum(int(value) << LAYOUT[name].offset for name, value in fields.items())

    def _check(self) -> None:
        """Check what comes after each operation, on every path."""
        returns = [k + 1 + SLOTS for k, op in enumerate(self.ops) if op.when == When.CALL]
        for start, op in enumerate(self.ops):
            furthest = max((c.after for c in op.changes()), default=0)
            reached = {start}
            for distance in range(1, furthest + 1):
                reached = {n for k in reached for n in self._behind(k, returns)}
                for k in reached:
                    if self.ops[k].waits(op, distance):
                        raise MicrocodeError(f"{k} too early behind {start}: {self.ops[k]}, {op}")

    def _behind(self, place: int, returns: Iterable[int]) -> Iterator[int]:
        """Yield the places that follow an operation."""
        jump = self.ops[place - SLOTS] if place >= SLOTS else Op()
        if jump.when == When.RETURN:
            yield from returns
            return
        if jump.when == When.REGISTER:
            yield from (self.places[name] for name in jump.reaches)
            return
        if jump.when != When.NEVER:
            yield self.places[jump.target]
        if jump.when not in (When.ALWAYS, When.CALL) and place + 1 < len(self.ops):
            yield place + 1
