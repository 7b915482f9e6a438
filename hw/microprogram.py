"""The microprogram of a serial machine: how it executes every instruction (docs/serial.md).

Fields are taken from an instruction bit by bit, the last one first, in the order in which
`program.Instruction.layout` has them. All loops of CONTRACT and of the vector unit's instructions
run in one nest of `LEVELS` levels, level 0 innermost: `c` counts the iterations left of a level,
`x`, `y`, `z` are its addresses, which the level below starts with.
"""

from itertools import pairwise

from einchip import numeric
from einchip.arch import Architecture
from einchip.hw.micro_nest import Nesting
from einchip.hw.micro_sequencer import Sequencing
from einchip.hw.micro_vector import Vectors
from einchip.hw.micro_writer import HALF, ROW_BITS
from einchip.hw.microcode import Microprogram


def activation_rows() -> list[int]:
    """Return the segments of the sigmoid as registers hold them."""
    table = numeric.sigmoid_table()
    return [(low - HALF) | (high - low) << ROW_BITS for low, high in pairwise(table)]


def microprogram(arch: Architecture) -> Microprogram:
    """Return the microprogram of a serial machine."""
    return _Writer(arch).write()


class _Writer(Sequencing, Nesting, Vectors):
    """Writes the microprogram of one machine."""

    def write(self) -> Microprogram:
        m = self.m
        self._start()
        self._next()
        self._sequencer()
        self._transfers()
        self._nest()
        self._contract()
        self._activations()
        self._vectors()
        self._fail()
        return m.finish()
