"""The local memory of a serial machine: both scratchpads and the program, one access a cycle."""

from enum import Enum
from typing import Any, Final

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.hw.micro_writer import CELL_BITS, CELLS

#: Attribute of a memory whose two ports have one address and, by logic between their enables, are
#: never enabled in one cycle. Its contents are undefined after power-up, its output after a write.
SINGLE_PORT: Final = "single_port"


class Part(Enum):
    """What lies in the local memory."""

    X = "x"
    Y = "y"
    PROGRAM = "program"


def parts(arch: Architecture) -> dict[Part, range]:
    """Return which cells of CELL_BITS bits each part has.

    Each has a power of two of them, and lies at a multiple of that: its first cell's number and a
    place in it share no bits.
    """
    elements = CELL_BITS // arch.data_bits
    sizes = {Part.X: arch.capacity(0) // elements, Part.Y: arch.capacity(1) // elements}
    sizes[Part.PROGRAM] = arch.program_words * CELLS
    found, at = dict[Part, range](), 0
    for part in sorted(sizes, key=lambda p: -sizes[p]):
        found[part] = range(at, at + sizes[part])
        at += sizes[part]
    return found


def n_cells(arch: Architecture) -> int:
    """Return how many cells there are."""
    return sum(len(cells) for cells in parts(arch).values())


class LocalMemory(wiring.Component):
    """`n_cells(arch)` cells of CELL_BITS bits, of which one is read or written in a cycle.

    Members
    -------
    address : in
        Of the cell.
    read : in
        `data` is the cell's in the next cycle, and until something is read or written.
    write : CELL_BITS / 8, in
        The bytes that become those of `written` at the end of the cycle; then nothing is read.
    written, data : CELL_BITS, in and out

    `cells` is the memory, for benches to look into.
    """

    address: Signal
    read: Signal
    write: Signal
    written: Signal
    data: Signal

    def __init__(self, arch: Architecture) -> None:
        depth = n_cells(arch)
        self.cells: Any = Memory(shape=CELL_BITS, depth=depth, init=[], attrs={SINGLE_PORT: "1"})
        super().__init__(
            {
                "address": In(range(depth)),
                "read": In(1),
                "write": In(CELL_BITS // 8),
                "written": In(CELL_BITS),
                "data": Out(CELL_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.cells = self.cells
        read, write = self.cells.read_port(), self.cells.write_port(granularity=8)
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.read & ~self.write.any()),
            write.addr.eq(self.address),
            write.data.eq(self.written),
            write.en.eq(self.write),
            self.data.eq(read.data),
        ]
        return m
