"""Block RAM and SPRAM: the memories of each unit, and how many blocks of a family they take.

What is written here is what Yosys' `memory_libmap` does with these memories; small ones go into LUT
RAM, where the family has some. What is read in the cycle of its address is no block RAM anywhere.
Memories of one port (`hw.serial_memory.SINGLE_PORT`) are SPRAM, where the family has some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from einchip.arch import Architecture
from einchip.fpga.fit.units import SERIAL, Design
from einchip.fpga.host_link.framing import PLACE_BITS
from einchip.fpga.host_link.memory import n_rows, row_bytes
from einchip.fpga.products import activations
from einchip.fpga.targets.families import ECP5, GOWIN, ICE40, NEXUS, Family
from einchip.hw.activation import SEGMENT_LAYOUT
from einchip.hw.counters import COUNTER_BITS
from einchip.hw.microcode import LAYOUT, NAMED_BITS
from einchip.hw.microprogram import microprogram
from einchip.hw.program_memory import beats_per_word
from einchip.hw.serial_memory import n_cells
from einchip.numeric import SEGMENTS
from einchip.program import REGISTER_BITS, WORD_BITS, Space
from einchip.registers import COUNTERS


@dataclass(frozen=True)
class Ram:
    """Memories of one shape, each with one read and one write port.

    Attributes
    ----------
    n : how many.
    rows, bits : words of each, and bits of a word.
    parts : parts of a word that are written each on its own.
    is_block : it is block RAM however small it is.
    single_port : it has but one port, that reads and writes, where the family has SPRAM.
    fixed : it is never written; what is beyond a block's rows then lies beside the first ones.
    """

    n: int
    rows: int
    bits: int
    parts: int = 1
    is_block: bool = False
    single_port: bool = False
    fixed: bool = False


@dataclass(frozen=True)
class Shape:
    """A shape of a block: rows of so many bits.

    `byte` is the number of bits that an enable of a write is for; 0 where a row has but one.
    """

    rows: int
    bits: int
    byte: int = 0


@dataclass(frozen=True)
class Blocks:
    """The block RAM of a family, or its SPRAM.

    Attributes
    ----------
    shapes : those that a block can have.
    lut_ram : whether small memories go into LUT RAM of 16 x 4 bits.
    """

    shapes: tuple[Shape, ...]
    lut_ram: bool

    def of(self, ram: Ram) -> int:
        """Return the blocks that memories take."""
        blocks = min(_blocks(ram, shape) for shape in self.shapes)
        cells = -(-ram.rows // _LUT_RAM_ROWS) * -(-ram.bits // _LUT_RAM_BITS)
        if self.lut_ram and not ram.is_block and cells * _LUT_RAM_COST < blocks * _BLOCK_COST:
            return 0
        return ram.n * blocks


#: A cell of LUT RAM, and what one and a block cost, by Yosys' libraries of these families.
_LUT_RAM_ROWS, _LUT_RAM_BITS = 16, 4
_LUT_RAM_COST, _BLOCK_COST = 4, 128


def _blocks(ram: Ram, shape: Shape) -> int:
    """Return the blocks of a shape that one memory takes."""
    part, high = ram.bits // ram.parts, -(-ram.rows // shape.rows)
    if ram.fixed:
        return -(-high * ram.bits // shape.bits)
    if ram.parts == 1:
        columns = -(-ram.bits // shape.bits)
    elif shape.byte:
        columns = -(-ram.parts * -(-part // shape.byte) // (shape.bits // shape.byte))
    else:
        columns = ram.parts * -(-part // shape.bits)
    return columns * high


#: 16 Kbit, and 2 more with 9 bits a byte: of ECP5, of CrossLink-NX, of GW2A.
_OF_18_KBIT: Final = Blocks(
    shapes=(
        *(Shape(1 << (14 - k), 1 << k) for k in range(3)),
        *(Shape(1 << (11 - k), 9 << k, 9) for k in range(3)),
    ),
    lut_ram=True,
)
#: 4 Kbit.
_OF_4_KBIT: Final = Blocks(
    shapes=(*(Shape(1 << (11 - k), 2 << k) for k in range(3)), Shape(256, 16, 1)), lut_ram=False
)
#: Block RAM by a family's name.
BLOCKS: Final[Mapping[str, Blocks]] = {
    **{family.title: _OF_18_KBIT for family in (ECP5, NEXUS, GOWIN)},
    ICE40.title: _OF_4_KBIT,
}
#: SPRAM of the families that have some, by name.
SPRAMS: Final[Mapping[str, Blocks]] = {
    ICE40.title: Blocks((Shape(1 << 14, 16, 4),), lut_ram=False),
}


def single_port_words(n: int) -> Ram:
    """Return a machine's own memory of one port: words of 16 bits, of which bytes are written."""
    return Ram(1, n, 16, 2, single_port=True)


def rams(unit: str, design: Design) -> list[Ram]:
    """Return the memories of a unit that are block RAM if they are large enough, or SPRAM."""
    arch = design.arch
    if unit in ("scratchpad_x", "scratchpad_y"):
        space = Space.X if unit == "scratchpad_x" else Space.Y
        rows = (arch.depth(space), arch.window(space))
        return [Ram(arch.lanes, n, arch.data_bits) for n in rows if n]
    if unit == "control":
        return [Ram(1, len(COUNTERS), COUNTER_BITS, is_block=True)]
    if unit == "sequencer":
        return [Ram(1, arch.program_words, WORD_BITS, beats_per_word(arch))]
    if tables := activations(arch).get(unit):
        return [Ram(tables, SEGMENTS, SEGMENT_LAYOUT.size)]
    if unit == "memory":
        n_bytes = row_bytes(arch.port_bytes)
        n = n_rows(design.memory_bytes, arch.port_bytes)
        return [Ram(1, n, 8 * n_bytes, n_bytes, single_port=True)]
    if unit == "link":
        return [Ram(1, 1 << PLACE_BITS, 8)]
    if unit == SERIAL:
        return _of_serial(arch)
    return []


@cache
def _of_serial(arch: Architecture) -> list[Ram]:
    """Return the memories of a serial machine; its registers have two read ports."""
    return [
        Ram(1, len(COUNTERS), COUNTER_BITS, is_block=True),
        Ram(1, len(microprogram(arch).words), LAYOUT.size, fixed=True),
        Ram(2, (1 << NAMED_BITS) + SEGMENTS, REGISTER_BITS),
        single_port_words(n_cells(arch)),
    ]


def block_rams(unit: str, design: Design, family: Family) -> int:
    """Return the blocks of a family that a unit's memories take."""
    has_spram = family.title in SPRAMS
    found = (ram for ram in rams(unit, design) if not (ram.single_port and has_spram))
    return sum(BLOCKS[family.title].of(ram) for ram in found)


def sprams(unit: str, design: Design, family: Family) -> int:
    """Return the SPRAMs of a family that a unit's memories take."""
    if family.title not in SPRAMS:
        return 0
    return sum(SPRAMS[family.title].of(ram) for ram in rams(unit, design) if ram.single_port)
