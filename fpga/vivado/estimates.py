"""What a machine would take of a board's part, by Yosys alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from einchip.arch import Architecture
from einchip.fpga.synth import Resources, synthesise
from einchip.fpga.vivado.boards import Board
from einchip.hw.machine import machine

#: What every figure here is.
MARK: Final = "estimate, Yosys, not placed"


@dataclass(frozen=True)
class Estimate:
    """Figures of a machine, mapped to cells of Xilinx 7, for a board."""

    machine: str
    board: Board
    resources: Resources

    def __str__(self) -> str:
        """Return one line that says what kind of figures these are."""
        r, b = self.resources, self.board
        cells = "" if b.design != "zynqmp" else f" (mapped to Xilinx 7, {b.part} has other cells)"
        return (
            f"{self.machine} on {b.title}: {r.lut:,} of {b.luts:,} LUTs, {r.dsp:,} of {b.dsps:,} "
            f"DSP blocks, {r.ff:,} flip-flops, {r.block_ram:,} block RAMs of 18 or 36 Kib{cells}; "
            f"{MARK} (Yosys {r.yosys})"
        )


def estimate(arch: Architecture, board: Board, folder: Path) -> Estimate:
    """Return what Yosys makes of a machine, without wrapper and block design; `nano`: 2 minutes.

    Files are written into `folder`. Raises SynthesisError when Yosys is missing or fails.
    """
    return Estimate(arch.name, board, synthesise(machine(arch), "xilinx", folder))
