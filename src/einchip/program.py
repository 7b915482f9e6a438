"""The instruction set: plain dataclasses whose field declarations state widths and meanings once.

An instruction is a whole number of 128-bit words, little endian; its fields lie one after the other
from bit 0 in the order of declaration. The encoder, the RTL's decoder (`layout`) and the tables of
`docs/isa.md` all derive from these classes.

Units run beside each other: load, store, array, vector unit. Every unit executes its own
instructions in program order; between units (also where a LOAD reads what a STORE wrote to external
memory, or a STORE writes what a LOAD read), and between an array instruction and an earlier one
whose result it reads, order is kept by *tokens*. An instruction starts once every token of its
`wait` mask is positive, taking one of each, and gives one of each token of its `signal` mask when
its last write has been granted (LOAD: its last beat; STORE: when its last response has come). From
one SYNC to the next, every token has one giving unit (GIVE apart) and one taking unit. A start
clears all tokens, and so does SYNC. An instruction of the vector unit that `overlaps` may start
while the alike one before it writes, so that it must not read what that one writes. A serial
machine (`Architecture.serial`) keeps the program's order, and knows no tokens.

A scratchpad address of an instruction is its `base` field plus the sequencer register named beside
it; register 0 always reads 0. A stride of an array or vector instruction, used or not, is below
2**S, twice the elements of the larger scratchpad (`Architecture.stride_bits`); else it is a FIELD
error. So is an instruction of a cell that the machine lacks (`Architecture.cells`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self

from einchip.arch import (
    COPY_LATENCY,
    GRU_LATENCY,
    GRU_RESET_LATENCY,
    GRU_STATE_LATENCY,
    GRU_UPDATE_LATENCY,
    GRU_UPDATE_STATE_LATENCY,
    LSTM_LATENCY,
    LSTM_STATE_LATENCY,
    PEEPHOLE_LATENCY,
    PEEPHOLE_STATE_LATENCY,
    Architecture,
)

WORD_BITS: Final = 128
WORD_BYTES: Final = WORD_BITS // 8
ADDRESS_BITS: Final = 20
TOKENS: Final = 16
TOKEN_MAX: Final = 15
REGISTERS: Final = 8
REGISTER_BITS: Final = 32
LOOP_DEPTH: Final = 4
ARRAY_LOOPS: Final = 6
HOLD_LOOPS: Final = 2
VECTOR_LOOPS: Final = 4
HOST_BASES: Final = 4
HOST_ARGS: Final = 4


class Space(IntEnum):
    """A scratchpad."""

    X = 0
    Y = 1


class Act(IntEnum):
    """An activation on the drain path."""

    NONE = 0
    SIGMOID = 1
    TANH = 2
    RELU = 3


class SetMode(IntEnum):
    """What SETR does to its register."""

    SET = 0  # r := value
    ADD = 1  # r := r + value, modulo 2**32
    TOGGLE = 2  # r := value - r, modulo 2**32: alternates between a and value - a


class Unit(IntEnum):
    """Who executes an instruction."""

    SEQUENCER = 0
    LOAD = 1
    STORE = 2
    ARRAY = 3
    VECTOR = 4


class Error(IntEnum):
    """The machine's error codes; ERROR_ADDRESS holds what the comment says."""

    NONE = 0
    OPCODE = 1  # illegal opcode: word index of the instruction
    FIELD = 2  # a field out of its range: word index of the instruction
    ADDRESS = 3  # a scratchpad address out of range: space << 31 | address
    NO_HALT = 4  # the program ran past its end: word index
    LOOP = 5  # ENDLOOP without LOOP, or nested too deep: word index
    AXI_READ = 6  # a read answered an error: low 32 bits of the burst's address
    AXI_WRITE = 7  # a write answered an error: low 32 bits of the burst's address
    TOKEN = 8  # a token counter overflowed: token number
    TIMEOUT = 9  # nothing moved for WATCHDOG cycles: word index of the sequencer
    ALIGNMENT = 10  # a transfer's address that is not a multiple of a beat: word index


def f(
    bits: int, doc: str, default: int = 0, enum: type[IntEnum] | None = None, stride: bool = False
) -> Any:
    """Declare an unsigned instruction field of `bits` bits."""
    metadata = {"bits": bits, "n": 0, "doc": doc, "enum": enum, "stride": stride}
    return field(default=default, metadata=metadata)


def words(n: int, bits: int, doc: str, default: int = 0, stride: bool = False) -> Any:
    """Declare a field that is a tuple of `n` unsigned numbers of `bits` bits, number 0 lowest."""
    metadata = {"bits": bits, "n": n, "doc": doc, "enum": None, "stride": stride}
    return field(default=(default,) * n, metadata=metadata)


def stride(doc: str) -> Any:
    """Declare a stride, which must be below 2**Architecture.stride_bits."""
    return f(ADDRESS_BITS, doc, stride=True)


def strides(n: int, doc: str) -> Any:
    """Declare a field that is a tuple of `n` strides, number 0 lowest."""
    return words(n, ADDRESS_BITS, doc, stride=True)


class Slot(NamedTuple):
    """Where one field lies: bit offset, width of one number, how many numbers (0: a scalar).

    `stride`: whether it is a step between addresses.
    """

    name: str
    offset: int
    bits: int
    n: int
    doc: str
    enum: type[IntEnum] | None
    stride: bool


@dataclass(frozen=True)
class Instruction:
    """What all instructions share; `opcode` lies in bits 0 to 7."""

    OPCODE: ClassVar[int] = 0
    UNIT: ClassVar[Unit] = Unit.SEQUENCER
    WORDS: ClassVar[int] = 1

    @classmethod
    def layout(cls) -> list[Slot]:
        """Return every field's place, the opcode left out."""
        slots, at = [], 8
        for d in fields(cls):
            m = d.metadata
            slots.append(Slot(d.name, at, **m))
            at += m["bits"] * max(1, m["n"])
        if at > cls.WORDS * WORD_BITS:
            raise AssertionError(f"{cls.__name__}: {at} bits do not fit {cls.WORDS} words")
        return slots

    def strides(self) -> tuple[int, ...]:
        """Return all its strides."""
        return tuple(n for s in self.layout() if s.stride for n in self._numbers(s))

    def _numbers(self, slot: Slot) -> tuple[int, ...]:
        """Return the numbers of a field, one or as many as it has."""
        given = getattr(self, slot.name)
        return given if slot.n else (given,)

    def encode(self) -> bytes:
        """Return the instruction's words; ProgramError when a value does not fit its field."""
        value = self.OPCODE
        for s in self.layout():
            numbers = self._numbers(s)
            if s.n and len(numbers) != s.n:
                raise ProgramError(f"{self}: {s.name} has {len(numbers)} numbers, expected {s.n}")
            for k, v in enumerate(numbers):
                if not 0 <= v < 1 << s.bits:
                    top = (1 << s.bits) - 1
                    raise ProgramError(
                        f"{type(self).__name__}: {s.name}: found {v}, expected 0 to {top}"
                    )
                value |= int(v) << (s.offset + k * s.bits)
        return value.to_bytes(self.WORDS * WORD_BYTES, "little")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the instruction of these words (unknown bits are ignored, as the RTL does)."""
        value = int.from_bytes(data[: cls.WORDS * WORD_BYTES], "little")
        given: dict[str, Any] = {}
        for s in cls.layout():
            parts = [
                value >> (s.offset + k * s.bits) & ((1 << s.bits) - 1) for k in range(max(1, s.n))
            ]
            given[s.name] = tuple(parts) if s.n else parts[0]
        return cls(**given)


@dataclass(frozen=True)
class Halt(Instruction):
    """Wait until every unit is idle, then stop."""

    OPCODE: ClassVar[int] = 1


@dataclass(frozen=True)
class Loop(Instruction):
    """Run the instructions up to the matching ENDLOOP `count` times; loops nest LOOP_DEPTH deep.

    A count of 0 is a FIELD error.
    """

    OPCODE: ClassVar[int] = 2
    count: int = f(32, "iterations, where `arg` is 0")
    arg: int = f(3, "0: `count`; 1 to 4: host register ARG0 to ARG3")


@dataclass(frozen=True)
class EndLoop(Instruction):
    """End the innermost loop's body."""

    OPCODE: ClassVar[int] = 3


@dataclass(frozen=True)
class SetRegister(Instruction):
    """Change sequencer register `reg` (1 to 7)."""

    OPCODE: ClassVar[int] = 4
    reg: int = f(3, "register; 0 is a FIELD error")
    mode: int = f(2, "what to do; 3 is a FIELD error", enum=SetMode)
    value: int = f(REGISTER_BITS, "operand, modulo 2**32")


@dataclass(frozen=True)
class Give(Instruction):
    """Give one of each token of `mask`: credits before a loop, for what its body gives back."""

    OPCODE: ClassVar[int] = 5
    mask: int = f(TOKENS, "mask of tokens given")


@dataclass(frozen=True)
class Sync(Instruction):
    """Wait until every unit is idle, then set all tokens to 0 and go on: the end of a phase."""

    OPCODE: ClassVar[int] = 6


@dataclass(frozen=True)
class UnitInstruction(Instruction):
    """What the instructions of load, store, array and vector unit share."""

    wait: int = f(TOKENS, "mask of tokens taken before the start")
    signal: int = f(TOKENS, "mask of tokens given at the end")


@dataclass(frozen=True)
class _Transfer(UnitInstruction):
    ext_base: int = f(2, "host register BASE0 to BASE3")
    ext_reg: int = f(3, "sequencer register added to the external address")
    ext_offset: int = f(32, "bytes added to the external address")
    space: int = f(1, "scratchpad", enum=Space)
    addr: int = f(ADDRESS_BITS, "first element in the scratchpad")
    addr_reg: int = f(3, "sequencer register added to it")
    beats: int = f(20, "beats of the memory port, at least 1")
    skip_last: int = f(2, "not executed in so many last iterations of the innermost loop")

    def skipped(self, left: int) -> bool:
        """Whether it is skipped with `left` iterations of the innermost loop left (0: no loop)."""
        return 0 < left <= self.skip_last


@dataclass(frozen=True)
class Load(_Transfer):
    """scratchpad[addr + i] := external[...] for `beats` beats of consecutive elements.

    A load that runs ahead by n iterations of a loop sets `skip_last` to n, so that nothing is read
    past the end; skipped, it neither takes nor gives tokens, and costs a FETCH and a DECODE.

    The external address (BASE + register + offset, modulo 2**32) and the scratchpad address must
    be multiples of a beat, else ALIGNMENT.
    """

    OPCODE: ClassVar[int] = 8
    UNIT: ClassVar[Unit] = Unit.LOAD


@dataclass(frozen=True)
class Store(_Transfer):
    """external[...] := scratchpad[addr + i] for `beats` beats of consecutive elements.

    Where the first element lies in the window of the scratchpad, the beats are read through the
    window's port, and never wait for the array.
    """

    OPCODE: ClassVar[int] = 9
    UNIT: ClassVar[Unit] = Unit.STORE


@dataclass(frozen=True)
class Contract(UnitInstruction):
    """One pairwise contraction: Z[b, m, n] = finish( sum_k X[b, m, k] * Y[b, k, n] ).

    The lanes of one iteration are

        m = m0 + nm0 * m1,  n = n0 + nn0 * n1,  k = k0 + nk0 * k1,  b,  h

    Rows of the array hold (k, b, m), columns (k, b, n, h); the PE (row, column) multiplies when its
    k and its b agree. With K = 2**ceil(log2(nk0*nk1)), B = 2**ceil(log2(nb)) and
    H = 2**ceil(log2(nh)), lane (k, b, m) is row (k*B + b) * (rows/(K*B)) + m, and column
    ((k*B + b) * (cols/(H*K*B)) + n) * H + h. Six temporal loops run around that, loop 0 innermost:
    first `n_hold` loops that move Y and the result only, then `n_reduce` that reduce, then the
    others. One pass through holding and reducing loops is a *tile*; q numbers the Q iterations of
    the holding loops, loop 0 fastest. An instruction *holds* if nh > 1 or n_hold > 0:

        for i5.. for i_{n_hold + n_reduce}:                           # tiles
            acc[:, :, :, :, :] = 0
            for i_{n_hold + n_reduce - 1}.. for i_{n_hold}:           # iterations
                for h:                                                # held, one a cycle
                    held[h, k, b, m] = X[x + h*xs_h + m0*xs_m0 + m1*xs_m1
                                           + k0*xs_k0 + k1*xs_k1 + b*xs_b]
                for q:                                                # issues, one a cycle
                    acc[q, h, b, m, n] += sum_k held[h, k, b, m]
                        * Y[y + n0*ys_n0 + n1*ys_n1 + k0*ys_k0 + k1*ys_k1 + b*ys_b]
            for q: for m:                                             # drained rows, one a cycle
                Z[z + m0*zs_m0 + m1*zs_m1 + n0*zs_n0 + n1*zs_n1 + b*zs_b + h*zs_h] =
                    finish(acc[q, h, b, m, n])

    where x = x_base + r[x_reg] + sum_i i * loop_x[i] over the loops that do not hold (the loop_x of
    those that do has no effect), y alike over all loops, z over those that do not reduce. `finish`
    adds, with `has_addend`, the element of space d at the same offsets from d_base (shifted left by
    d_shift), requantises by `shift` and, with SIGMOID or TANH, requantises to 16 bit (12 fractional
    bits), applies it and requantises its 15 fractional bits by `act_shift`; RELU makes what is
    negative 0 after requantising (`act_shift` has no effect). Accumulation wraps at `acc_bits`.

    What fits depends on the fold of the machine (`Architecture.fold`); n_m = nm0*nm1 and so on:

    * `op`: n_k = nb = nh = 1, n_hold = 0, n_m <= rows, n_n <= cols;
    * `hybrid`: nh = 1, n_hold = 0, K*B*n_m <= rows, K*B*n_n <= cols;
    * `flex`: K*B*n_m <= rows, H*K*B*n_n <= cols, Q <= tile_accumulators;
    * `ip`: n_m = n_n = nb = 1, n_k <= rows, nh <= cols, Q <= tile_accumulators. Lane k is row k,
      lane h column h: Y goes to all columns, products are summed over the rows.

    Else, and where a count is 0, n_hold > 2 or n_hold + n_reduce > 6, it is a FIELD error.
    """

    OPCODE: ClassVar[int] = 16
    UNIT: ClassVar[Unit] = Unit.ARRAY
    WORDS: ClassVar[int] = 8
    nm0: int = f(7, "row lanes of the first output factor of X", 1)
    nm1: int = f(7, "row lanes of the second output factor of X", 1)
    nn0: int = f(7, "column lanes of the first output factor of Y", 1)
    nn1: int = f(7, "column lanes of the second output factor of Y", 1)
    nk0: int = f(7, "lanes of the first reduced factor", 1)
    nk1: int = f(7, "lanes of the second reduced factor", 1)
    nb: int = f(7, "lanes of the factor that X, Y and Z share", 1)
    nh: int = f(7, "vectors of X that are held, one for each group of columns", 1)
    x_base: int = f(ADDRESS_BITS, "address in X")
    x_reg: int = f(3, "register added to it")
    xs_m0: int = stride("stride in X")
    xs_m1: int = stride("stride in X")
    xs_k0: int = stride("stride in X")
    xs_k1: int = stride("stride in X")
    xs_b: int = stride("stride in X")
    xs_h: int = stride("stride in X from one held vector to the next")
    y_base: int = f(ADDRESS_BITS, "address in Y")
    y_reg: int = f(3, "register added to it")
    ys_n0: int = stride("stride in Y")
    ys_n1: int = stride("stride in Y")
    ys_k0: int = stride("stride in Y")
    ys_k1: int = stride("stride in Y")
    ys_b: int = stride("stride in Y")
    z_space: int = f(1, "scratchpad of the result", enum=Space)
    z_base: int = f(ADDRESS_BITS, "address of the result")
    z_reg: int = f(3, "register added to it")
    zs_m0: int = stride("stride of the result")
    zs_m1: int = stride("stride of the result")
    zs_n0: int = stride("stride of the result")
    zs_n1: int = stride("stride of the result")
    zs_b: int = stride("stride of the result")
    zs_h: int = stride("stride of the result from one held vector to the next")
    n_hold: int = f(2, "how many of the innermost loops keep X, 0 to 2")
    n_reduce: int = f(3, "how many loops behind those reduce, 0 to 6 - n_hold")
    loop_count: tuple[int, ...] = words(ARRAY_LOOPS, 16, "iterations, at least 1", 1)
    loop_x: tuple[int, ...] = strides(ARRAY_LOOPS, "stride in X per iteration")
    loop_y: tuple[int, ...] = strides(ARRAY_LOOPS, "stride in Y per iteration")
    loop_z: tuple[int, ...] = strides(ARRAY_LOOPS, "stride of the result per iteration")
    has_addend: int = f(1, "add an element before requantising")
    d_space: int = f(1, "scratchpad of the addend", enum=Space)
    d_base: int = f(ADDRESS_BITS, "address of the addend")
    d_reg: int = f(3, "register added to it")
    d_shift: int = f(6, "left shift of the addend")
    shift: int = f(6, "right shift of the accumulator")
    act: int = f(2, "activation", enum=Act)
    act_shift: int = f(5, "right shift of the activation's result, 0 to 15")

    @property
    def n_m(self) -> int:
        """Row lanes of one block: rows drained per tile."""
        return self.nm0 * self.nm1

    @property
    def n_n(self) -> int:
        """Column lanes of one block."""
        return self.nn0 * self.nn1

    @property
    def n_k(self) -> int:
        """Lanes that are summed."""
        return self.nk0 * self.nk1

    @property
    def holds(self) -> bool:
        """Whether vectors of X are held while vectors of Y pass."""
        return self.nh > 1 or self.n_hold > 0

    @property
    def held_issues(self) -> int:
        """Q: vectors of Y that pass while X is held, each with an accumulator of its own."""
        return _product(self.loop_count[: self.n_hold])

    @property
    def first_slots(self) -> int:
        """Slots before the first issue: those that read what is held first (docs/timing.md)."""
        return self.nh if self.holds else 0

    @property
    def iteration_slots(self) -> int:
        """P: slots of an iteration, enough to pass Y and to read what the next one holds."""
        return max(self.held_issues, self.nh)

    @property
    def n_tile_loops(self) -> int:
        """How many of the innermost loops make a tile."""
        return self.n_hold + self.n_reduce

    @property
    def tile_iterations(self) -> int:
        """Iterations of one tile."""
        return _product(self.loop_count[self.n_hold : self.n_tile_loops])

    @property
    def tile_rows(self) -> int:
        """Rows drained per tile."""
        return self.held_issues * self.n_m

    @property
    def tiles(self) -> int:
        """Tiles of the instruction."""
        return _product(self.loop_count[self.n_tile_loops :])

    @property
    def operand_reads(self) -> tuple[int, int]:
        """Vectors that are read from X and from Y as operands."""
        iterations = self.tiles * self.tile_iterations
        return iterations * self.nh, iterations * self.held_issues

    @property
    def macs(self) -> int:
        """Useful multiply-adds."""
        lanes = self.n_m * self.n_n * self.n_k * self.nb * self.nh
        return self.tiles * self.tile_iterations * self.held_issues * lanes


class Read(NamedTuple):
    """One read of a vector; "state" stands for the reads of all planes of the state.

    "src" and "aux" lie at the source's offsets plus `gate` gate strides from src_base and aux_base,
    "packed" at (v*n + gate)*lanes + l from aux_base, n the number of packed reads of a vector.
    """

    source: Literal["src", "aux", "packed", "state"]
    gate: int = 0


@dataclass(frozen=True)
class _Vector(UnitInstruction):
    UNIT: ClassVar[Unit] = Unit.VECTOR
    WORDS: ClassVar[int] = 4
    #: The reads of one vector, in order.
    READS: ClassVar[tuple[Read, ...]] = ()
    #: Whether plane k of the state is read beside read k of the source, in one cycle, where they
    #: have ports of their own; the planes are the first reads then.
    STATE_BESIDE: ClassVar[bool] = False
    #: Whether a vector's writes are the planes of the state, then the destination; else only that.
    WRITES_STATE: ClassVar[bool] = False
    #: The cell that the instruction is for: one of `arch.CELLS`, "" where it is for none.
    CELL: ClassVar[str] = ""
    #: Activations of one lane.
    ACTIVATIONS: ClassVar[int] = 0
    #: Cycles from a vector's last micro-operation to its destination's write being ready.
    LATENCY: ClassVar[int] = COPY_LATENCY
    #: Likewise to the write of the state's first plane; each other plane is a cycle later.
    STATE_LATENCY: ClassVar[int] = 0
    nl0: int = f(7, "lanes of the first factor", 1)
    nl1: int = f(7, "lanes of the second factor; nl0 * nl1 is at most the machine's lanes", 1)
    loop_count: tuple[int, ...] = words(VECTOR_LOOPS, 16, "iterations, at least 1", 1)
    loop_src: tuple[int, ...] = strides(VECTOR_LOOPS, "stride of the source")
    loop_dst: tuple[int, ...] = strides(VECTOR_LOOPS, "stride of the destination")
    src_space: int = f(1, "scratchpad of the source", enum=Space)
    src_base: int = f(ADDRESS_BITS, "address of the source")
    src_reg: int = f(3, "register added to it")
    src_l0: int = stride("lane stride of the source")
    src_l1: int = stride("lane stride of the source")
    dst_space: int = f(1, "scratchpad of the destination", enum=Space)
    dst_base: int = f(ADDRESS_BITS, "address of the destination")
    dst_reg: int = f(3, "register added to it")
    dst_l0: int = stride("lane stride of the destination")
    dst_l1: int = stride("lane stride of the destination")
    gate_stride: int = stride("cells: stride between the gates in the source")
    cell_space: int = f(1, "cells: scratchpad of the state", enum=Space)
    cell_base: int = f(ADDRESS_BITS, "cells: address of the state, a multiple of the lanes")
    cell_reg: int = f(3, "cells: register added to it")
    gate_frac: int = f(4, "cells: fractional bits of the source")
    cell_frac: int = f(4, "cells: fractional bits of the state")
    hidden_frac: int = f(4, "cells: fractional bits of the destination")
    value: int = f(16, "FILL: the element, its low data_bits bits")
    aux_space: int = f(1, "cells with a second source: its scratchpad", enum=Space)
    aux_base: int = f(ADDRESS_BITS, "cells with a second source: its address")
    aux_reg: int = f(3, "cells with a second source: register added to it")
    aux_frac: int = f(4, "cells with a second source: its fractional bits")
    overlaps: int = f(1, "1: may start while the alike one before it writes (timing.md)")

    #: Fields in which alike instructions may differ.
    OWN: ClassVar[frozenset[str]] = frozenset(
        (
            "wait", "signal", "overlaps", "loop_count", "loop_src", "loop_dst", "src_base",
            "src_reg", "dst_base", "dst_reg", "cell_base", "cell_reg", "aux_base", "aux_reg",
        )
    )  # fmt: skip

    @property
    def likeness(self) -> tuple[Hashable, ...]:
        """What alike instructions share: their class, and all fields but those of OWN."""
        rest = (getattr(self, s.name) for s in self.layout() if s.name not in self.OWN)
        return (type(self), *rest)

    @property
    def n_lanes(self) -> int:
        """Lanes of one vector."""
        return self.nl0 * self.nl1

    @property
    def vectors(self) -> int:
        """Vectors of the instruction."""
        return _product(self.loop_count)

    @classmethod
    def latencies(cls, planes: int) -> tuple[int, ...]:
        """Return the cycles from a vector's last micro-operation to each of its writes."""
        state = range(cls.STATE_LATENCY, cls.STATE_LATENCY + planes * cls.WRITES_STATE)
        return (*state, cls.LATENCY)


@dataclass(frozen=True)
class Lstm(_Vector):
    """The pointwise part of an LSTM (`numeric.lstm_cell`), vector by vector.

        for i3.. for i0:                                  # vector v = 0, 1, ..
            for lane l = l0 + nl0 * l1:
                gate q in i, f, g, o:  src[s + l0*src_l0 + l1*src_l1 + q*gate_stride]
                cell: plane p of lane l is cell[cell_base + (v*planes + p)*lanes + l], low first
                dst[d + l0*dst_l0 + l1*dst_l1] = h;  cell = c'

    with s = src_base + r[src_reg] + sum_i i * loop_src[i] and d alike; planes = 16 / data_bits.
    Reads of one vector in order: the cell's planes, i, f, g, o; where the cell's read port is
    another one than the source's, each plane is read beside a gate, from i on, and takes no cycle
    of its own. Writes: the cell's planes, then h.
    """

    OPCODE: ClassVar[int] = 24
    CELL: ClassVar[str] = "lstm"
    READS: ClassVar[tuple[Read, ...]] = (
        Read("state"), Read("src", 0), Read("src", 1), Read("src", 2), Read("src", 3),
    )  # fmt: skip
    STATE_BESIDE: ClassVar[bool] = True
    WRITES_STATE: ClassVar[bool] = True
    ACTIVATIONS: ClassVar[int] = 5
    LATENCY: ClassVar[int] = LSTM_LATENCY
    STATE_LATENCY: ClassVar[int] = LSTM_STATE_LATENCY


@dataclass(frozen=True)
class Peephole(_Vector):
    """The pointwise part of an LSTM with peepholes (`numeric.peephole_cell`), vector by vector.

    As LSTM; and the peephole weight q (0, 1, 2 for i, f, o) of lane l of vector v is
    aux[aux_base + (v*3 + q)*lanes + l], aux_base a multiple of the lanes.

    Reads of one vector in order: the state's planes, p_i, i, p_f, f, g, p_o, o. Writes: the state's
    planes, then h.
    """

    OPCODE: ClassVar[int] = 27
    CELL: ClassVar[str] = "peephole"
    READS: ClassVar[tuple[Read, ...]] = (
        Read("state"), Read("packed", 0), Read("src", 0), Read("packed", 1), Read("src", 1),
        Read("src", 2), Read("packed", 2), Read("src", 3),
    )  # fmt: skip
    WRITES_STATE: ClassVar[bool] = True
    ACTIVATIONS: ClassVar[int] = 5
    LATENCY: ClassVar[int] = PEEPHOLE_LATENCY
    STATE_LATENCY: ClassVar[int] = PEEPHOLE_STATE_LATENCY


@dataclass(frozen=True)
class Gru(_Vector):
    """The pointwise part of a GRU, reset after its matrix (`numeric.gru_cell`), vector by vector.

        for i3.. for i0:                                  # vector v = 0, 1, ..
            for lane l = l0 + nl0 * l1:
                gate q in r, z, n:  src[s + l0*src_l0 + l1*src_l1 + q*gate_stride], the part of the
                                    recurrent matrix, and aux at the same offsets from aux_base
                state: as the cell of LSTM
                dst[d + l0*dst_l0 + l1*dst_l1] = h';  state = h'

    Reads of one vector in order: r, r of aux, n, n of aux, z, z of aux, the state's planes. Writes:
    the state's planes, then h'.
    """

    OPCODE: ClassVar[int] = 28
    CELL: ClassVar[str] = "gru"
    READS: ClassVar[tuple[Read, ...]] = (
        Read("src", 0), Read("aux", 0), Read("src", 2), Read("aux", 2), Read("src", 1),
        Read("aux", 1), Read("state"),
    )  # fmt: skip
    WRITES_STATE: ClassVar[bool] = True
    ACTIVATIONS: ClassVar[int] = 3
    LATENCY: ClassVar[int] = GRU_LATENCY
    STATE_LATENCY: ClassVar[int] = GRU_STATE_LATENCY


@dataclass(frozen=True)
class GruReset(_Vector):
    """dst[...] := sigmoid(src[...]) * state (`numeric.gru_reset`): a GRU that resets before.

    The state lies as the cell of LSTM and is not changed. Reads of one vector in order: src, the
    state's planes. One write.
    """

    OPCODE: ClassVar[int] = 29
    CELL: ClassVar[str] = "gru_before"
    READS: ClassVar[tuple[Read, ...]] = (Read("src"), Read("state"))
    ACTIVATIONS: ClassVar[int] = 1
    LATENCY: ClassVar[int] = GRU_RESET_LATENCY


@dataclass(frozen=True)
class GruUpdate(_Vector):
    """The end of a GRU that resets before (`numeric.gru_update`), vector by vector.

    z is read from src, n from aux at the same offsets from aux_base; state and h' as in GRU.
    Reads of one vector in order: z, n, the state's planes. Writes: the state's planes, then h'.
    """

    OPCODE: ClassVar[int] = 30
    CELL: ClassVar[str] = "gru_before"
    READS: ClassVar[tuple[Read, ...]] = (Read("src"), Read("aux"), Read("state"))
    WRITES_STATE: ClassVar[bool] = True
    ACTIVATIONS: ClassVar[int] = 2
    LATENCY: ClassVar[int] = GRU_UPDATE_LATENCY
    STATE_LATENCY: ClassVar[int] = GRU_UPDATE_STATE_LATENCY


@dataclass(frozen=True)
class Copy(_Vector):
    """dst[...] := src[...], vector by vector: an explicit change of layout or scratchpad."""

    OPCODE: ClassVar[int] = 25
    READS: ClassVar[tuple[Read, ...]] = (Read("src"),)


@dataclass(frozen=True)
class Fill(_Vector):
    """dst[...] := value, vector by vector."""

    OPCODE: ClassVar[int] = 26


INSTRUCTIONS: Final[tuple[type[Instruction], ...]] = (
    Halt, Loop, EndLoop, SetRegister, Give, Sync, Load, Store, Contract, Lstm, Copy, Fill,
    Peephole, Gru, GruReset, GruUpdate,
)  # fmt: skip
BY_OPCODE: Final[dict[int, type[Instruction]]] = {c.OPCODE: c for c in INSTRUCTIONS}
#: Instructions of the vector unit that keep a state in planes.
Cell = Lstm | Peephole | Gru | GruReset | GruUpdate
#: All instructions of the vector unit.
Vector = Cell | Copy | Fill


def is_built(kind: type[Instruction], arch: Architecture) -> bool:
    """Return whether a machine executes a class of instructions: all but those of lacking cells."""
    return not issubclass(kind, _Vector) or not kind.CELL or kind.CELL in arch.cells


class ProgramError(ValueError):
    """A program that the machine cannot run; one line."""


@dataclass(frozen=True)
class Program:
    """Instructions in order; `encode` and `decode` are exact inverses."""

    instructions: tuple[Instruction, ...]

    def encode(self) -> bytes:
        """Return the binary that the machine fetches."""
        return b"".join(i.encode() for i in self.instructions)

    @classmethod
    def decode(cls, data: bytes, source: str = "program") -> Program:
        """Read a binary. Raises ProgramError on an unknown opcode or a cut instruction."""
        found: list[Instruction] = []
        at = 0
        while at < len(data):
            kind = BY_OPCODE.get(data[at])
            if kind is None:
                raise ProgramError(
                    f"{source}: word {at // WORD_BYTES}: opcode: found {data[at]}, expected one of "
                    f"{', '.join(map(str, BY_OPCODE))}"
                )
            size = kind.WORDS * WORD_BYTES
            if at + size > len(data):
                raise ProgramError(
                    f"{source}: word {at // WORD_BYTES}: {kind.__name__}: found {len(data) - at} "
                    f"bytes, expected {size}; the file is cut short"
                )
            found.append(kind.decode(data[at : at + size]))
            at += size
        return cls(tuple(found))

    @property
    def n_words(self) -> int:
        """128-bit words of the binary."""
        return sum(i.WORDS for i in self.instructions)

    def addresses(self) -> Iterator[tuple[int, Instruction]]:
        """Yield every instruction with the index of its first word."""
        at = 0
        for i in self.instructions:
            yield at, i
            at += i.WORDS


def _product(numbers: tuple[int, ...]) -> int:
    result = 1
    for n in numbers:
        result *= n
    return result
