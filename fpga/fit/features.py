"""What a unit's LUTs and flip-flops depend on: terms of a linear model, none of them negative.

A term is a count of bits or of elements that the RTL has, so that its coefficient is a number of
cells for each. None of them falls when rows, columns, lanes, depths or windows rise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Final, NamedTuple

from einchip.arch import CELLS, Architecture
from einchip.fpga.fit.units import SERIAL, Design
from einchip.fpga.host_link.memory import row_bytes
from einchip.hw.interfaces import offset_bits
from einchip.program import REGISTER_BITS


class Term(NamedTuple):
    """A term: what it counts, and its value for a design."""

    title: str
    of: Callable[[Design], float]


def _arch(title: str, of: Callable[[Architecture], float]) -> Term:
    return Term(title, lambda design: of(design.arch))


ONE: Final = Term("1", lambda _: 1)
LANES: Final = _arch("lanes", lambda a: a.lanes)
LANE_ADDRESSES: Final = _arch("lanes x bits of an address", lambda a: a.lanes * offset_bits(a))
OPERAND_LANES: Final = _arch(
    "lanes of the array's operands and results x bits of an address",
    lambda a: (a.rows + (a.rows if a.fold == "ip" else a.cols) + a.cols) * offset_bits(a),
)
ROW: Final = _arch("bits of a row of the board's memory", lambda a: 8 * row_bytes(a.port_bytes))
ELEMENT: Final = _arch("bits of an element", lambda a: a.data_bits)
WIDE_LANES: Final = _arch("lanes x bits of an element", lambda a: a.lanes * a.data_bits)
COLUMN_SUMS: Final = _arch("columns x bits of an accumulator", lambda a: a.cols * a.acc_bits)
REGISTERS: Final = _arch(
    "PEs x bits of an accumulator, as registers", lambda a: (not a.holds) * a.n_pes * a.acc_bits
)
LUT_RAM: Final = _arch(
    "PEs (fold ip: columns) x bits of an accumulator, as LUT RAM of 16 rows",
    lambda a: (
        a.holds * (a.cols if a.fold == "ip" else a.n_pes) * a.acc_bits * ceil(a.accumulators / 16)
    ),
)
HELD: Final = _arch("PEs x bits of a held operand", lambda a: a.holds * a.n_pes * a.data_bits)
BLOCKS: Final = _arch("1 where the fold has blocks", lambda a: a.blocks)
HOLDS: Final = _arch("1 where the fold holds operands", lambda a: a.holds)
BANKS: Final = _arch("lanes x banks", lambda a: a.lanes**2)


def _cell_lanes(*cells: str) -> Term:
    """Return the term of a part that each lane has where the machine has one of these cells."""
    title = f"lanes, with {' or '.join(cells)}"
    return _arch(title, lambda a: a.lanes * any(cell in a.cells for cell in cells))


#: The parts of a lane of the vector unit: of every cell, of the second activation, of the output
#: gate, of what depends on a result, of peephole weights.
CELL_LANES: Final = (
    _cell_lanes(*CELLS),
    _cell_lanes("lstm", "peephole", "gru"),
    _cell_lanes("lstm", "peephole"),
    _cell_lanes("peephole", "gru"),
    _cell_lanes("peephole"),
)


def _scratchpad(space: int) -> Mapping[str, tuple[Term, ...]]:
    """Return the terms of a scratchpad, whose ports are built alike: read, write, a window's."""

    def of_ports(title: str, of: Callable[[Architecture], int]) -> Term:
        return _arch(f"ports x {title}", lambda a: (2 + (space in a.windows)) * of(a))

    window = _arch(
        "a window's lanes x bits of an address, an element and all banks",
        lambda a: (space in a.windows) * a.lanes * (offset_bits(a) + a.data_bits + a.lanes),
    )
    return {
        "lut": (
            of_ports("lanes x bits of an address", lambda a: a.lanes * offset_bits(a)),
            of_ports("lanes x banks x bits of an element", lambda a: a.lanes**2 * a.data_bits),
        ),
        "ff": (LANE_ADDRESSES, WIDE_LANES, BANKS, window),
    }


SUM: Final = _arch(
    "bits of a serial machine's accumulator", lambda a: max(REGISTER_BITS, a.acc_bits)
)
BEAT: Final = _arch("bits of a beat", lambda a: 8 * a.port_bytes)
#: The terms of each unit, for LUTs and for flip-flops.
TERMS: Final[Mapping[str, Mapping[str, tuple[Term, ...]]]] = {
    "control": {"lut": (ONE,), "ff": (ONE, LANES)},
    "sequencer": {"lut": (ONE,), "ff": (ONE, LANES)},
    "load": {"lut": (ONE,), "ff": (ONE, LANES)},
    "store": {"lut": (ONE, LANES), "ff": (ONE, LANES)},
    "array": {
        "lut": (ONE, OPERAND_LANES, COLUMN_SUMS, REGISTERS, LUT_RAM, BLOCKS, HOLDS),
        "ff": (ONE, OPERAND_LANES, COLUMN_SUMS, REGISTERS, HELD, BLOCKS, HOLDS),
    },
    "vector": {
        "lut": (ONE, LANES, ELEMENT, *CELL_LANES),
        "ff": (ONE, LANES, WIDE_LANES, *CELL_LANES),
    },
    "tokens": {"lut": (ONE,), "ff": (ONE,)},
    "scratchpad_x": _scratchpad(0),
    "scratchpad_y": _scratchpad(1),
    "memory": {"lut": (ONE, ROW), "ff": (ONE, ROW)},
    "link": {"lut": (ONE,), "ff": (ONE,)},
    SERIAL: {"lut": (ONE, SUM, BEAT), "ff": (ONE, SUM, BEAT)},
}
