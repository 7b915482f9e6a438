"""A cocotb bench: a board's system, whose serial line is a pseudo-terminal of this computer.

The folder that `BOARD` names holds `port`, the terminal's name, once the board is there. A file
`command` in it is carried out and removed:

    reset           reset the system
    pull            close the terminal, as when a cable is pulled
    plug            open another one; `port` has its name
    errors SEED N   from now on one byte in N is dropped or changed, in either direction; 0: none
    stop            end
"""

import os
import pty
import random
import tty
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

FOLDER = Path(os.environ["BOARD"])
#: Cycles of a bit.
CYCLES = int(os.environ["CYCLES"])
CLOCK_NS = 10
#: Bits of time between two looks at the terminal and at commands.
LOOK_BITS = 40


def bits(n: float) -> Timer:
    """Wait for so many bits of time."""
    return Timer(round(n * CYCLES * CLOCK_NS), "ns")


class Board:
    """The system, its line and its terminal."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.ends = (-1, -1)
        self.rng, self.one_in = random.Random(), 0
        self.plug()

    def plug(self) -> None:
        """Open a terminal."""
        self.ends = pty.openpty()
        tty.setraw(self.ends[1])
        os.set_blocking(self.ends[0], False)
        (FOLDER / "new").write_text(os.ttyname(self.ends[1]))
        (FOLDER / "new").rename(FOLDER / "port")

    def pull(self) -> None:
        """Close it; whoever has it open is told."""
        (FOLDER / "port").unlink()
        for end in self.ends:
            os.close(end)
        self.ends = (-1, -1)

    def damaged(self, byte: int) -> bytes:
        """Return a byte as it arrives."""
        if not self.one_in or self.rng.randrange(self.one_in):
            return bytes((byte,))
        return b"" if self.rng.random() < 0.5 else bytes((byte ^ 1 << self.rng.randrange(8),))

    def read(self) -> bytes:
        """Return what the host has sent."""
        try:
            return os.read(self.ends[0], 4096) if self.ends[0] >= 0 else b""
        except BlockingIOError:
            return b""

    async def to_board(self) -> None:
        """Put what the host sends onto the line."""
        dut = self.dut
        while True:
            for byte in b"".join(self.damaged(b) for b in self.read()):
                for bit in (0, *(byte >> k & 1 for k in range(8)), 1):
                    dut.rx.value = bit
                    await bits(1)
            await bits(LOOK_BITS)

    async def to_host(self) -> None:
        """Give the host what is on the line."""
        dut = self.dut
        while True:
            await FallingEdge(dut.tx)
            await bits(0.5)
            byte = 0
            for k in range(8):
                await bits(1)
                byte |= int(dut.tx.value) << k
            await bits(1)
            if int(dut.tx.value) and self.ends[0] >= 0:
                os.write(self.ends[0], self.damaged(byte))

    async def commands(self) -> None:
        """Carry out commands, until `stop`."""
        command = FOLDER / "command"
        while True:
            await bits(LOOK_BITS)
            if not command.exists():
                continue
            name, *numbers = command.read_text().split()
            command.unlink()
            if name == "stop":
                return
            if name == "reset":
                await self.reset()
            elif name == "pull":
                self.pull()
            elif name == "plug":
                self.plug()
            else:
                seed, self.one_in = map(int, numbers)
                self.rng.seed(seed)

    async def reset(self) -> None:
        """Hold the reset for some cycles."""
        self.dut.rst.value = 1
        await bits(1)
        self.dut.rst.value = 0


@cocotb.test()
async def board(dut: Any) -> None:
    """Run until it is told to stop."""
    dut.rx.value = 1
    Clock(dut.clk, CLOCK_NS, "ns").start()
    there = Board(dut)
    await there.reset()
    cocotb.start_soon(there.to_board())
    cocotb.start_soon(there.to_host())
    await there.commands()
