"""What the parts of a serial machine's microprogram share: registers, fields, arithmetic."""

from collections.abc import Callable
from typing import Final

from einchip import numeric
from einchip.accesses import VECTORS
from einchip.arch import Architecture
from einchip.hw.microcode import (
    INDEX,
    Access,
    Alu,
    Assembler,
    Do,
    Op,
    Source,
    When,
)
from einchip.program import (
    BY_OPCODE,
    HOST_ARGS,
    HOST_BASES,
    LOOP_DEPTH,
    REGISTERS,
    WORD_BITS,
    Act,
    Instruction,
    is_built,
)
from einchip.serial import LEVELS

#: Bits of a word of the local memory.
CELL_BITS: Final = 16
#: Of a word of a program.
CELLS: Final = WORD_BITS // CELL_BITS
#: What the host sets, by its number in the index: bases, arguments, and these.
PROGRAM_ADDRESS: Final = HOST_BASES + HOST_ARGS
PROGRAM_WORDS: Final = PROGRAM_ADDRESS + 1
#: The bit of an address that says the scratchpad.
Y: Final = "=0x80000000"
#: Opcodes have that many bits, but for those that are illegal.
OPCODE_BITS: Final = 5
#: The segments of the sigmoid lie behind the named registers: its value less a half below, by how
#: much it rises above.
HALF: Final = 1 << (numeric.ACT_OUT_FRAC - 1)
ROW_BITS: Final = 16

Given = Callable[[int], None]


def move(a: str, b: str = "=0", source: Source = Source.REGISTER, do: Do = Do.NONE) -> Op:
    """Let a register be the second operand."""
    return Op(a=a, b=b, source=source, write=True, do=do)


def add(a: str, b: str) -> Op:
    """Add a register to one."""
    return Op(a=a, b=b, alu=Alu.ADD, write=True)


def subtract(a: str, b: str = "=0", source: Source = Source.REGISTER) -> Op:
    """Subtract the second operand from a register."""
    return Op(a=a, b=b, source=source, alu=Alu.SUB, write=True)


def to(do: Do, b: str = "=0", source: Source = Source.REGISTER) -> Op:
    """Do something with the second operand."""
    return Op(b=b, source=source, do=do)


def less(a: str, b: str, target: str) -> Op:
    """Jump where a register is less than another one."""
    return Op(a=a, b=b, alu=Alu.SUB, when=When.LESS, target=target)


def equal(a: str, b: str, target: str) -> Op:
    """Jump where two registers are equal."""
    return Op(a=a, b=b, alu=Alu.SUB, when=When.ZERO, target=target)


class Writer:
    """Writes a part of the microprogram of one machine."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.m = Assembler()
        self.built = [k for k in BY_OPCODE.values() if is_built(k, arch)]
        of_levels = range(LEVELS)
        #: The first registers of those that are indexed.
        self.tables = {
            name: self.m.registers(*names)
            for name, names in (
                ("r", [f"r{k}" for k in range(REGISTERS)]),
                ("loop", [f"loop{k}" for k in range(2 * LOOP_DEPTH)]),
                ("opcode", [f"@{self._entry(k)}#{k}" for k in range(1 << OPCODE_BITS)]),
                ("next", [f"next{k}" for k in of_levels]),
                ("zs", [f"zs{k}" for k in of_levels]),
                ("after", [*(f"@level {k}" for k in of_levels), "@done"]),
                ("finish", [f"@finish {act.name}" for act in Act]),
            )
        }
        self.failing: list[tuple[str, str]] = []
        self._names = 0

    def name(self) -> str:
        """Return a label that nothing else has."""
        self._names += 1
        return f"place {self._names}"

    @property
    def no_loop(self) -> int:
        """What "loops" is outside of loops: two less than the first pair of registers."""
        return self.tables["loop"] - 2

    @property
    def leaves(self) -> list[str]:
        """The places that may be behind "leaf": what is done at the nest's innermost level."""
        kinds = [k.__name__ for k in self.built if issubclass(k, VECTORS)]
        return ["initial sum", "initial addend", "sum", "product", *(f"one {k}" for k in kinds)]

    @property
    def levels(self) -> list[str]:
        """The places that may come behind the end of a level."""
        return [*(f"level {k}" for k in range(1, LEVELS)), "drain", "vector", "done"]

    def _entry(self, opcode: int) -> str:
        kind = BY_OPCODE.get(opcode)
        if kind is None:
            return "opcode"
        return kind.__name__ if kind in self.built else "field"

    def _index(self, table: str, number: str, less: int = 0) -> None:
        """Let the index be that of an entry of `tables`, `less` below the number in a register."""
        first = self.tables[table] - less
        self.m.op(Op(a=number, b=f"={first}", alu=Alu.ADD, do=Do.INDEX))

    # --- fields ----------------------------------------------------------------------------
    def _fields(self, kind: type[Instruction], given: dict[str, Given]) -> None:
        """Take the fields of an instruction, the last one first.

        `given` has what is done with one, whose value is the accumulator then, and with which
        number of its name. Of others only strides are looked at.
        """
        m = self.m
        numbers = [
            (s, k) for s in kind.layout() for k in range(max(1, s.n)) if s.name in given or s.stride
        ]
        top = max(s.offset + (k + 1) * s.bits for s, k in numbers)
        first = -(-top // CELL_BITS)
        m.op(move("u", "cell"))
        m.op(add("u", f"={first - 1}"))
        m.op(Op(a="u", b="=1", alu=Alu.SUB, do=Do.SEEK))
        at = first * CELL_BITS
        for slot, k in reversed(numbers):
            low = slot.offset + k * slot.bits
            self._skip(at - low - slot.bits)
            m.op(Op(do=Do.TAKE, n=slot.bits))
            at = low
            if slot.name in given:
                given[slot.name](k)
            if slot.stride:
                m.op(Op(source=Source.SUM, do=Do.STRIDE))

    def _skip(self, bits: int) -> None:
        while bits > 0:
            n = min(bits, (1 << 6) - 1)
            self.m.op(Op(do=Do.TAKE, n=n))
            bits -= n

    def _keep(self, name: str, check: Do = Do.NONE) -> Given:
        """Return what keeps a field in a register, with a check."""
        return lambda _: self.m.op(Op(a=name, source=Source.SUM, write=True, do=check))

    def _keep_space(self, name: str) -> Given:
        """Return what keeps a field as the bit of an address that says the scratchpad."""

        def keep(_: int) -> None:
            self.m.op(move(name))
            self.m.op(subtract(name, source=Source.SUM))
            self.m.op(Op(a=name, b=Y, alu=Alu.AND, write=True))

        return keep

    def _address(self, stream: str, pointer: str, given: dict[str, Given]) -> None:
        """Let a pointer be base + register of a stream."""
        m = self.m

        def base(_: int) -> None:
            m.op(move(pointer, source=Source.SUM))
            m.op(add(pointer, INDEX))

        base_name, register_name = (
            (f"{stream}_base", f"{stream}_reg") if stream else ("addr", "addr_reg")
        )
        given[register_name] = lambda _: m.op(to(Do.INDEX, source=Source.SUM))
        given[base_name] = base

    def _first(self, pointer: str, space: str) -> None:
        """Check a first address, and put the bit of its scratchpad into it."""
        m, outside = self.m, self.name()
        m.jump(
            Op(a=pointer, b=Y, alu=Alu.AND, when=When.NONZERO, target=outside),
            add(pointer, space),
        )
        m.op(Op(a=pointer, access=Access.CHECK))
        self.failing.append((outside, pointer))

    def _room(self, kind: type[Instruction]) -> None:
        """Check that an instruction is not cut by the program's end."""
        m = self.m
        m.op(move("t", "words"))
        m.op(subtract("t", "pc"))
        m.jump(less("t", f"={kind.WORDS}", "no halt"))
        m.op(move("n words", f"={kind.WORDS}"))
        m.op(move("n cells", f"={kind.WORDS * CELLS}"))

    def _ends(self) -> None:
        """Let every level be followed by the one around it."""
        for k in range(LEVELS - 1):
            self.m.op(move(f"next{k}", f"@level {k + 1}"))
        self.m.op(move(f"next{LEVELS - 1}", "@done"))

    def _keep_level(self, name: str, check: Do = Do.NONE, first: int = 0) -> Given:
        """Return what keeps the numbers of a field in registers of levels from `first` on."""
        return lambda k: self.m.op(
            Op(a=f"{name}{first + k}", source=Source.SUM, write=True, do=check)
        )

    # --- arithmetic ------------------------------------------------------------------------
    def _call(self, routine: str, *slots: Op) -> None:
        self.m.jump(Op(when=When.CALL, target=routine), *slots)

    def _product(self, first: str, second: str, right: str, add: bool = False) -> None:
        """Let the accumulator be, or be raised by, a product, and shift it right."""
        m = self.m
        m.op(to(Do.FIRST, first))
        m.op(to(Do.SECOND, second))
        m.op(Op(do=Do.MULTIPLY_ADD if add else Do.MULTIPLY))
        self._shift(Do.SHIFT_RIGHT, right)

    def _shift(self, do: Do, count: str) -> None:
        self.m.op(to(Do.COUNT, count))
        self.m.op(Op(do=do))
