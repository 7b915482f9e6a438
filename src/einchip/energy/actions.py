"""What is charged and what is not: every counter, every instruction.

A new counter or instruction that is in none of these tables is an error, never free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from einchip.accesses import VECTORS
from einchip.energy.table import EnergyError
from einchip.program import (
    Contract,
    Copy,
    EndLoop,
    Fill,
    Give,
    Gru,
    GruReset,
    GruUpdate,
    Halt,
    Instruction,
    Load,
    Loop,
    Lstm,
    Peephole,
    Program,
    SetRegister,
    Store,
    Sync,
    Vector,
)
from einchip.registers import COUNTERS

NOT_MODELLED: Final = (
    "clock tree, multiplications by PEs without useful work, pipeline registers, accumulators and "
    "held operands, crossbars, address generators, the sequencer's own logic, writes into program "
    "memory, the DMA's and the port's own logic"
)


class Update(NamedTuple):
    """What an element of a cell costs beside its activations."""

    multiplications: int
    additions: int


#: Additions: roundings of gates' parts and of products, sums, the rounding of the result.
CELLS: Final[dict[type[Instruction], Update]] = {
    Lstm: Update(3, 4 + 1 + 1),
    Peephole: Update(6, 7 + 4 + 1),
    Gru: Update(3, 7 + 5 + 1),
    GruReset: Update(1, 1 + 0 + 1),
    GruUpdate: Update(2, 2 + 2 + 1),
}
#: Instructions that cost nothing beside what the counters tell, and what that is.
BY_COUNTERS: Final[dict[type[Instruction], str]] = {
    Load: "by counters: beats read, elements written",
    Store: "by counters: elements read, beats written",
    Contract: "by counters: multiply-adds, elements, results drained, activations",
    Copy: "by counters: elements read and written",
    Fill: "by counters: elements written",
    **dict.fromkeys(
        (Halt, Loop, EndLoop, SetRegister, Give, Sync),
        "nothing: the sequencer's own logic is not modelled",
    ),
}
_OF_CYCLES: Final = "a part of `cycles` by cause; a stall is no action"
#: Counters that are not charged, and why.
NOT_CHARGED: Final[dict[str, str]] = {
    "array_issue": "a part of `cycles`; what an issue does is in `macs` and the reads",
    "array_stall_port": _OF_CYCLES,
    "array_stall_drain": _OF_CYCLES,
    "array_stall_token": _OF_CYCLES,
    "array_stall_setup": _OF_CYCLES,
    "array_idle": _OF_CYCLES,
    "vector_issue": "a part of `cycles`; what an issue does is in `vector_ops` and the reads",
    "vector_stall_port": _OF_CYCLES,
    "vector_stall_write": _OF_CYCLES,
    "vector_stall_token": _OF_CYCLES,
    "vector_stall_setup": _OF_CYCLES,
    "vector_idle": _OF_CYCLES,
    "load_transfer": "a part of `cycles`; its beats are in `dma_read_beats`",
    "load_stall_port": _OF_CYCLES,
    "load_stall_memory": _OF_CYCLES,
    "load_stall_token": _OF_CYCLES,
    "load_idle": _OF_CYCLES,
    "store_transfer": "a part of `cycles`; its beats are in `dma_write_beats`",
    "store_stall_port": _OF_CYCLES,
    "store_stall_memory": _OF_CYCLES,
    "store_stall_token": _OF_CYCLES,
    "store_idle": _OF_CYCLES,
    "sequencer_stall": _OF_CYCLES,
}
#: Counters that are charged, and as what.
CHARGED: Final[dict[str, str]] = {
    "cycles": "leakage, by a table that has it",
    "instructions": "sequencer: words read from program memory",
    "macs": "array: multiply-adds",
    "x_reads": "scratchpad X",
    "x_writes": "scratchpad X",
    "y_reads": "scratchpad Y",
    "y_writes": "scratchpad Y",
    "drained": "drain: additions",
    "activations": "activations; an upper bound of `vector`",
    "vector_ops": "vector: operations of cells, an upper bound",
    "dma_read_beats": "external memory",
    "dma_write_beats": "external memory",
}


def check_counters(counters: Mapping[str, int]) -> None:
    """Check that they are those of a run, all modelled. Raises EnergyError."""
    for name in counters:
        if name not in CHARGED and name not in NOT_CHARGED:
            raise EnergyError(f"{name}: not modelled; charge it, or say in NOT_CHARGED why not")
    for counter in COUNTERS:
        if counter.name not in counters:
            raise EnergyError(f"{counter.name}: missing, expected every counter of a run")


def cells_of(program: Program | None) -> list[type[Vector]]:
    """Return the kinds of cells of a program. Raises EnergyError for what has no cost."""
    if program is None:
        return [kind for kind in VECTORS if kind in CELLS]
    found = dict.fromkeys(type(i) for i in program.instructions)
    for kind in found:
        if kind not in CELLS and kind not in BY_COUNTERS:
            raise EnergyError(f"{kind.__name__}: not modelled; add its operations to CELLS")
    return [kind for kind in VECTORS if kind in found and kind in CELLS]
