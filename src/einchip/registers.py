"""The AXI4-Lite register map and the performance counters: names, addresses and meanings, once.

All registers are 32 bits wide at multiples of 4; a counter is 64 bits, low word first. Reading or
writing an address that is not here answers SLVERR. Registers of kind "rw" take writes only while
the machine is idle (a write while it runs is ignored).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from einchip.program import HOST_ARGS, HOST_BASES

ID_VALUE: Final = 0x65494E43  # "eINC"
VERSION_VALUE: Final = 0x0001_0000  # major.minor, 16 bits each
ADDRESS_BITS: Final = 9
WATCHDOG_RESET: Final = 1 << 16


class Register(NamedTuple):
    """One register: byte address, access kind ("ro", "rw", "w1", "w1c"), meaning."""

    name: str
    address: int
    access: str
    doc: str


class Counter(NamedTuple):
    """One performance counter; cleared by a start."""

    name: str
    doc: str


#: Of the four groups marked with a unit's name, exactly one counts in every running cycle.
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
    Counter("dma_transfer", "dma: a beat moved over the memory port"),
    Counter("dma_stall_port", "dma: a beat was there, the scratchpad's write port was not"),
    Counter("dma_stall_memory", "dma: waiting for the memory, or for a store's read port"),
    Counter("dma_stall_token", "dma: the next instruction waited for a token"),
    Counter("dma_idle", "dma: no instruction"),
    Counter("sequencer_stall", "sequencer: the unit's slot was taken, or SYNC waited"),
)

CONTROL_START: Final = 1  # start the program in program memory
CONTROL_FETCH: Final = 2  # with START: first fetch PROGRAM_WORDS words from PROGRAM_ADDRESS
CONTROL_IRQ_CLEAR: Final = 4  # lower the interrupt
STATUS_RUNNING: Final = 1
STATUS_DONE: Final = 2  # stopped, by HALT or by an error
STATUS_ERROR: Final = 4

_COUNTER_BASE: Final = 0x080


def _registers() -> tuple[Register, ...]:
    names = [
        ("ID", "ro", f"{ID_VALUE:#x}"),
        ("VERSION", "ro", "major << 16 | minor"),
        ("CONFIG_HASH", "ro", "Architecture.config_hash"),
        ("CONTROL", "w1", "bit 0 START, bit 1 FETCH (with START), bit 2 IRQ_CLEAR; reads 0"),
        ("STATUS", "ro", "bit 0 RUNNING, bit 1 DONE, bit 2 ERROR; cleared by a start"),
        ("IRQ_ENABLE", "rw", "bit 0: raise irq when the machine stops"),
        ("ERROR_CODE", "ro", "program.Error; cleared by a start"),
        ("ERROR_ADDRESS", "ro", "see program.Error"),
        ("PROGRAM_ADDRESS", "rw", "external byte address of the program, a multiple of 16"),
        ("PROGRAM_WORDS", "rw", "128-bit words of the program"),
        ("WATCHDOG", "rw", f"cycles without progress before TIMEOUT; reset value {WATCHDOG_RESET}"),
        *((f"BASE{k}", "rw", "external byte address added by DMA") for k in range(HOST_BASES)),
        *((f"ARG{k}", "rw", "loop count for LOOP") for k in range(HOST_ARGS)),
    ]
    fixed = [Register(n, 4 * k, access, doc) for k, (n, access, doc) in enumerate(names)]
    counters = []
    for k, c in enumerate(COUNTERS):
        counters.append(Register(f"{c.name.upper()}_LO", _COUNTER_BASE + 8 * k, "ro", c.doc))
        counters.append(
            Register(f"{c.name.upper()}_HI", _COUNTER_BASE + 8 * k + 4, "ro", "high word")
        )
    return (*fixed, *counters)


REGISTERS: Final[tuple[Register, ...]] = _registers()
ADDRESS: Final[dict[str, int]] = {r.name: r.address for r in REGISTERS}
if max(ADDRESS.values()) >= 1 << ADDRESS_BITS:
    raise AssertionError("the register map outgrew its address bits")
