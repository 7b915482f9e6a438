"""The AXI4-Lite register map and the performance counters: names, addresses and meanings, once.

All registers are 32 bits wide at multiples of 4; a counter is 64 bits, low word first. Reading or
writing an address that is not here answers SLVERR. Registers of kind "rw" take writes only while
the machine is idle (a write while it runs is ignored). Those of kind "ro" ignore writes; ones
written to a register of kind "w1" act once, and it reads 0.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from einchip.program import HOST_ARGS, HOST_BASES, REGISTER_BITS, WORD_BITS, Error

ID_VALUE: Final = 0x65494E43  # "eINC"
VERSION_VALUE: Final = 0x0001_0000  # major.minor, 16 bits each
ADDRESS_BITS: Final = 9
WATCHDOG_RESET: Final = 1 << 16

Access = Literal["ro", "rw", "w1"]


class Field(NamedTuple):
    """Some bits of a register; its value may be one of an enumeration.

    A write to an `idle_only` field of a register that takes writes at any time is ignored while
    the machine runs.
    """

    name: str
    lsb: int
    width: int
    doc: str
    enum: type[Error] | None = None
    idle_only: bool = False

    @property
    def mask(self) -> int:
        """The field's bits, at their place in the register."""
        return ((1 << self.width) - 1) << self.lsb


class Register(NamedTuple):
    """One register: byte address, access kind, meaning, fields.

    Without fields it is one number of REGISTER_BITS bits. `reset` is what it reads after a reset,
    None where that is another number on each machine; a `constant` reads nothing else ever.
    """

    name: str
    address: int
    access: Access
    doc: str
    fields: tuple[Field, ...] = ()
    reset: int | None = 0
    constant: bool = False

    @property
    def mask(self) -> int:
        """The bits that there are; all others read 0."""
        return sum(f.mask for f in self.fields) if self.fields else (1 << REGISTER_BITS) - 1


class Counter(NamedTuple):
    """One performance counter; cleared by a start."""

    name: str
    doc: str


#: Of the groups marked with a unit's name, exactly one counts in every running cycle.
COUNTERS: Final[tuple[Counter, ...]] = (
    Counter("cycles", "cycles from start to stop"),
    Counter("instructions", "instructions decoded"),
    Counter("macs", "useful multiply-adds"),
    Counter("x_reads", "elements read from X"),
    Counter("x_writes", "elements written to X"),
    Counter("y_reads", "elements read from Y"),
    Counter("y_writes", "elements written to Y"),
    Counter("drained", "accumulators drained (results written by the array)"),
    Counter("activations", "activations evaluated, on the drain path and in the vector unit"),
    Counter("vector_ops", "elements that the vector unit produced (of cells, copied or filled)"),
    Counter("dma_read_beats", "beats read from memory, program included"),
    Counter("dma_write_beats", "beats written to memory"),
    Counter("array_issue", "array: a slot was issued: an iteration, or reads of held operands"),
    Counter("array_stall_port", "array: an addend or the vector unit had a read port"),
    Counter("array_stall_drain", "array: both accumulator sets were still in use"),
    Counter("array_stall_token", "array: the next instruction waited for a token"),
    Counter("array_stall_setup", "array: the next instruction's lanes were not ready"),
    Counter("array_idle", "array: no instruction"),
    Counter("vector_issue", "vector: a read or a fill was issued"),
    Counter("vector_stall_port", "vector: the drain path had the read port"),
    Counter("vector_stall_write", "vector: too many writes pending, or only writes left"),
    Counter("vector_stall_token", "vector: the next instruction waited for a token"),
    Counter("vector_stall_setup", "vector: the next instruction's lanes were not ready"),
    Counter("vector_idle", "vector: no instruction"),
    Counter("load_transfer", "load: a beat was written to a scratchpad or program memory"),
    Counter("load_stall_port", "load: a beat was there, the scratchpad's write port was not"),
    Counter("load_stall_memory", "load: waiting for the memory"),
    Counter("load_stall_token", "load: the next instruction waited for a token"),
    Counter("load_idle", "load: no instruction"),
    Counter("store_transfer", "store: a beat was read from a scratchpad"),
    Counter("store_stall_port", "store: a beat was wanted, the scratchpad's read port was taken"),
    Counter("store_stall_memory", "store: waiting for the memory"),
    Counter("store_stall_token", "store: the next instruction waited for a token"),
    Counter("store_idle", "store: no instruction"),
    Counter("sequencer_stall", "sequencer: the unit's slot was taken, or SYNC waited"),
)

_START = Field("START", 0, 1, "start the program in program memory", idle_only=True)
_FETCH = Field("FETCH", 1, 1, "with START: first fetch the program", idle_only=True)
_IRQ_CLEAR = Field("IRQ_CLEAR", 2, 1, "lower the interrupt")
_RUNNING = Field("RUNNING", 0, 1, "from a start to the stop")
_DONE = Field("DONE", 1, 1, "stopped, by HALT or by an error; cleared by a start")
_ERROR = Field("ERROR", 2, 1, "stops or stopped by an error; cleared by a start")

CONTROL_START: Final[int] = _START.mask
CONTROL_FETCH: Final[int] = _FETCH.mask
CONTROL_IRQ_CLEAR: Final[int] = _IRQ_CLEAR.mask
STATUS_RUNNING: Final[int] = _RUNNING.mask
STATUS_DONE: Final[int] = _DONE.mask
STATUS_ERROR: Final[int] = _ERROR.mask

COUNTER_BASE: Final = 0x080


def _host_registers() -> list[Register]:
    found: list[Register] = []

    def add(
        name: str,
        access: Access,
        doc: str,
        *fields: Field,
        reset: int | None = 0,
        constant: bool = False,
    ) -> None:
        found.append(Register(name, 4 * len(found), access, doc, fields, reset, constant))

    minor, major = Field("MINOR", 0, 16, "minor version"), Field("MAJOR", 16, 16, "major version")
    enable = Field("ENABLE", 0, 1, "raise irq when the machine stops")
    code = Field("CODE", 0, 4, "number of the error", Error)
    add("ID", "ro", "the letters eINC", reset=ID_VALUE, constant=True)
    add("VERSION", "ro", "major and minor", minor, major, reset=VERSION_VALUE, constant=True)
    add("CONFIG_HASH", "ro", "Architecture.config_hash of the machine", reset=None, constant=True)
    add("CONTROL", "w1", "commands of the host", _START, _FETCH, _IRQ_CLEAR)
    add("STATUS", "ro", "state of the machine", _RUNNING, _DONE, _ERROR)
    add("IRQ_ENABLE", "rw", "enables of the interrupt", enable)
    add("ERROR_CODE", "ro", "the first error; cleared by a start", code)
    add("ERROR_ADDRESS", "ro", "where the error was, as its code says; cleared by a start")
    add("PROGRAM_ADDRESS", "rw", "external byte address of the program, a multiple of 16")
    add("PROGRAM_WORDS", "rw", f"{WORD_BITS}-bit words of the program")
    add("WATCHDOG", "rw", "cycles without progress before TIMEOUT", reset=WATCHDOG_RESET)
    for k in range(HOST_BASES):
        add(f"BASE{k}", "rw", "external byte address that transfers add")
    for k in range(HOST_ARGS):
        add(f"ARG{k}", "rw", "loop count for LOOP")
    return found


def _counter_words() -> Iterator[Register]:
    for k, c in enumerate(COUNTERS):
        yield Register(f"{c.name.upper()}_LO", COUNTER_BASE + 8 * k, "ro", c.doc)
        yield Register(f"{c.name.upper()}_HI", COUNTER_BASE + 8 * k + 4, "ro", "high word")


HOST_REGISTERS: Final[tuple[Register, ...]] = tuple(_host_registers())
REGISTERS: Final[tuple[Register, ...]] = (*HOST_REGISTERS, *_counter_words())
ADDRESS: Final[dict[str, int]] = {r.name: r.address for r in REGISTERS}
if len(set(ADDRESS.values())) < len(REGISTERS):
    raise AssertionError("two registers have one name or one address")
if max(ADDRESS.values()) >= 1 << ADDRESS_BITS:
    raise AssertionError("the register map outgrew its address bits")


def error_meanings() -> dict[Error, str]:
    """Return what each error means and what ERROR_ADDRESS then holds: the comments of its class."""
    source, found = inspect.getsource(Error), {}
    for e in Error:
        comment = re.search(rf"^    {e.name} = \d+  # (.*)$", source, re.MULTILINE)
        found[e] = comment.group(1) if comment else "no error"
    return found
