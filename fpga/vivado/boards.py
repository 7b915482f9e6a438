"""The boards, and whether a machine suits one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from einchip.arch import Architecture
from einchip.fpga.errors import TargetError
from einchip.fpga.products import products
from einchip.mistakes import did_you_mean
from einchip.program import WORD_BITS

#: The narrowest data of an AXI port that SmartConnect takes (PG247: 32 to 1024 bits).
MIN_PORT_BYTES: Final = 4
#: Clocks that the clock generators of all boards can make.
MIN_MHZ: Final = 10.0
MAX_MHZ: Final = 250.0
#: Bits of a block of block RAM, parity included.
BLOCK_RAM_BITS: Final = 36 * 1024


class VivadoError(TargetError):
    """A project that cannot be written; the message is one line: what was found, what to do."""


@dataclass(frozen=True)
class Board:
    """A board and what its block design decides.

    Attributes
    ----------
    name, title : in commands and file names; in texts.
    part : Vivado's name of the FPGA.
    arch : the preset that the board gets, if not said otherwise.
    board_part : pattern of Vivado's name of the board, whose files set the processor up; empty
        where there is no processor.
    design : the block design, `scripts/design_DESIGN.tcl`.
    default_mhz : clock if none is asked for; no place and route has shown that it is reached.
    luts, block_rams, dsps : of the part: lookup tables, blocks of 36 Kib, multipliers.
    control_base : where the host sees the registers.
    memory_base, memory_bytes : what the machine sees of external memory.
    memory_on_chip : whether that memory is block RAM of the part.
    """

    name: str
    title: str
    part: str
    arch: str
    board_part: str
    design: Literal["zynq7", "zynqmp", "jtag"]
    default_mhz: float
    luts: int
    block_rams: int
    dsps: int
    control_base: int
    memory_base: int
    memory_bytes: int
    memory_on_chip: bool = False


BOARDS: Final[dict[str, Board]] = {
    board.name: board
    for board in (
        Board(
            name="pynq-z2",
            title="PYNQ-Z2",
            part="xc7z020clg400-1",
            arch="nano",
            board_part="tul.com.tw:pynq-z2:part0:*",
            design="zynq7",
            default_mhz=50.0,
            luts=53_200,
            block_rams=140,
            dsps=220,
            control_base=0x4000_0000,
            memory_base=0,
            memory_bytes=512 << 20,
        ),
        Board(
            name="arty-a7-100",
            title="Arty A7-100",
            part="xc7a100tcsg324-1",
            arch="nano",
            board_part="",
            design="jtag",
            default_mhz=50.0,
            luts=63_400,
            block_rams=135,
            dsps=240,
            control_base=0x4000_0000,
            memory_base=0,
            memory_bytes=256 << 10,
            memory_on_chip=True,
        ),
        Board(
            name="kv260",
            title="KV260",
            part="xck26-sfvc784-2LV-c",
            arch="small",
            board_part="xilinx.com:kv260_som:part0:*",
            design="zynqmp",
            default_mhz=100.0,
            luts=117_120,
            block_rams=144,
            dsps=1248,
            control_base=0xA000_0000,
            memory_base=0,
            memory_bytes=2 << 30,
        ),
        Board(
            name="zcu104",
            title="ZCU104",
            part="xczu7ev-ffvc1156-2-e",
            arch="small",
            board_part="xilinx.com:zcu104:part0:*",
            design="zynqmp",
            default_mhz=100.0,
            luts=230_400,
            block_rams=312,
            dsps=1728,
            control_base=0xA000_0000,
            memory_base=0,
            memory_bytes=2 << 30,
        ),
    )
}


def find(name: str) -> Board:
    """Return the board of that name. Raises VivadoError."""
    if name in BOARDS:
        return BOARDS[name]
    expected = f"expected one of {', '.join(BOARDS)}"
    raise VivadoError(f"target: found {name!r}, {expected}{did_you_mean(name, BOARDS)}")


def multipliers(arch: Architecture) -> int:
    """Return the multipliers of a machine, each of which takes a DSP block."""
    return sum(n for its in products(arch).values() for n in its.values())


def memory_bits(arch: Architecture) -> int:
    """Return the bits of scratchpads, their windows and program memory."""
    rows = sum(arch.depth(space) + arch.window(space) for space in (0, 1))
    return rows * arch.lanes * arch.data_bits + arch.program_words * WORD_BITS


def memory_room(board: Board) -> int:
    """Return the bits of block RAM that a machine may take, external memory taken off."""
    beside = 8 * board.memory_bytes if board.memory_on_chip else 0
    return board.block_rams * BLOCK_RAM_BITS - beside


def check(arch: Architecture, board: Board, frequency_mhz: float) -> None:
    """Raise VivadoError when a board cannot hold a machine, or not make its clock.

    Every multiplier must have a DSP block, and every bit of memory block RAM; what passes may still
    be too large, or too slow.
    """
    if not MIN_MHZ <= frequency_mhz <= MAX_MHZ:
        raise VivadoError(
            f"clock: found {frequency_mhz:g} MHz, expected {MIN_MHZ:g} to {MAX_MHZ:g}"
        )
    if arch.port_bytes < MIN_PORT_BYTES:
        raise VivadoError(
            f"{board.name}: found a memory port of {arch.port_bytes} bytes in {arch.name}, "
            f"expected at least {MIN_PORT_BYTES}, which AXI SmartConnect takes; use another machine"
        )
    if (n := multipliers(arch)) > board.dsps:
        raise VivadoError(
            f"{board.name}: found {n} multipliers in {arch.name}, expected at most the "
            f"{board.dsps} DSP blocks of {board.part}; use fewer rows, cols or lanes"
        )
    n, room = memory_bits(arch), memory_room(board)
    if n > room:
        raise VivadoError(
            f"{board.name}: found {n >> 10} Kib of memory in {arch.name}, expected at most "
            f"{room >> 10} Kib of block RAM of {board.part}; lower x_depth, y_depth or windows"
        )
