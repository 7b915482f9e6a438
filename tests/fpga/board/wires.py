"""What is between a pseudo-terminal of this computer and the pins of a simulated board."""

import abc
import os
import pty
import random
import tty
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, Timer

from einchip.fpga.host_link.spi import LEVEL_CYCLES

CLOCK_NS = 10
#: Cycles of a bit of a serial line: that of 24 MHz and 3 Mbaud.
UART_CYCLES = 8
#: Cycles between two looks at the terminal and at commands.
LOOK_CYCLES = 320
#: A wire without a board.
NOBODY = 0xFF


def cycles(n: float) -> Timer:
    """Wait for so many cycles."""
    return Timer(round(n * CLOCK_NS), "ns")


class Wires(abc.ABC):
    """Wires that damage one byte in `one_in`, if that is not 0.

    The folder's file `link` has the terminal's name.
    """

    link: str

    def __init__(self, dut: Any, folder: Path) -> None:
        self.dut, self.folder = dut, folder
        self.ends = (-1, -1)
        self.rng, self.one_in = random.Random(), 0
        self.rest()
        self.open_terminal()

    @abc.abstractmethod
    def rest(self) -> None:
        """Give the board's pins the levels that they have while nothing moves."""

    @abc.abstractmethod
    def start(self) -> None:
        """Move bytes from now on."""

    @abc.abstractmethod
    def pull(self) -> None:
        """Take the cable away."""

    @abc.abstractmethod
    def plug(self) -> None:
        """Put it back."""

    def open_terminal(self) -> None:
        """Open a terminal."""
        self.ends = pty.openpty()
        tty.setraw(self.ends[1])
        os.set_blocking(self.ends[0], False)
        (self.folder / "new").write_text(os.ttyname(self.ends[1]))
        (self.folder / "new").rename(self.folder / self.link)

    def read(self, n_bytes: int = 4096) -> bytes:
        """Return what the host has sent."""
        try:
            return os.read(self.ends[0], n_bytes) if self.ends[0] >= 0 else b""
        except BlockingIOError:
            return b""

    def damages(self) -> bool:
        """Return whether the next byte is a damaged one."""
        return bool(self.one_in) and not self.rng.randrange(self.one_in)

    def changed(self, byte: int) -> int:
        """Return a byte of which one bit is another."""
        return byte ^ 1 << self.rng.randrange(8)


class UartWires(Wires):
    """A serial line; damaged bytes are dropped or changed. A pulled cable closes the terminal."""

    link = "uart"

    def rest(self) -> None:
        self.dut.rx.value = 1

    def start(self) -> None:
        cocotb.start_soon(self.to_board())
        cocotb.start_soon(self.to_host())

    def plug(self) -> None:
        self.open_terminal()

    def pull(self) -> None:
        (self.folder / self.link).unlink()
        for end in self.ends:
            os.close(end)
        self.ends = (-1, -1)

    def arrives(self, byte: int) -> bytes:
        """Return a byte as it arrives."""
        if not self.damages():
            return bytes((byte,))
        return b"" if self.rng.random() < 0.5 else bytes((self.changed(byte),))

    async def to_board(self) -> None:
        """Put what the host sends onto the line."""
        while True:
            for byte in b"".join(self.arrives(b) for b in self.read()):
                for bit in (0, *(byte >> k & 1 for k in range(8)), 1):
                    self.dut.rx.value = bit
                    await cycles(UART_CYCLES)
            await cycles(LOOK_CYCLES)

    async def to_host(self) -> None:
        """Give the host what is on the line."""
        dut = self.dut
        while True:
            await FallingEdge(dut.tx)
            await cycles(UART_CYCLES / 2)
            byte = 0
            for k in range(8):
                await cycles(UART_CYCLES)
                byte |= int(dut.tx.value) << k
            await cycles(UART_CYCLES)
            if int(dut.tx.value) and self.ends[0] >= 0:
                os.write(self.ends[0], self.arrives(byte))


class SpiWires(Wires):
    """SPI in mode 0 at the highest frequency; the terminal stands for the kernel's transfers.

    The host sends the number of bytes (2, little endian) and the bytes, and gets as many. Of a
    damaged byte a bit is another, either way; or all of its clocks, or one, are lost; or chip
    select is lost for a moment.
    """

    link = "spi"

    def rest(self) -> None:
        self.plugged = True
        self.dut.sck.value = self.dut.copi.value = self.dut.cs.value = 0

    def start(self) -> None:
        cocotb.start_soon(self.transfers())

    def plug(self) -> None:
        self.plugged = True

    def pull(self) -> None:
        self.plugged = False

    async def transfers(self) -> None:
        """Carry out transfers."""
        await Timer(3, "ns")  # edges of SCK are none of the clock
        while True:
            head = self.read(2)
            if not head:
                await cycles(LOOK_CYCLES)
                continue
            n_bytes = int.from_bytes(head + self.some(2 - len(head)), "little")
            os.write(self.ends[0], await self.transfer(self.some(n_bytes)))

    def some(self, n_bytes: int) -> bytes:
        """Return so many bytes, which the host is about to send."""
        found = b""
        while len(found) < n_bytes:
            found += self.read(n_bytes - len(found))
        return found

    async def transfer(self, content: bytes) -> bytes:
        """Move bytes while the board is selected."""
        if not self.plugged:
            return bytes((NOBODY,)) * len(content)
        await self.select(1)
        found = bytes([await self.byte(byte) for byte in content])
        await self.select(0)
        return found

    async def select(self, level: int) -> None:
        self.dut.cs.value = level
        await cycles(LEVEL_CYCLES)

    async def byte(self, byte: int) -> int:
        """Move a byte, damaged or not."""
        damage = self.rng.randrange(5) if self.damages() else -1
        if damage == 0:
            return NOBODY
        if damage == 1:
            return await self.bits(self.changed(byte), 8)
        if damage == 2:
            return self.changed(await self.bits(byte, 8))
        first = await self.bits(byte, 4)
        if damage == 3:
            return first << 4 | await self.bits(byte << 4, 3)
        if damage == 4:
            await self.select(0)
            await self.select(1)
        return first << 4 | await self.bits(byte << 4, 4)

    async def bits(self, byte: int, n: int) -> int:
        """Move the first bits of a byte, high ones first."""
        dut, found = self.dut, 0
        for k in range(n):
            dut.copi.value = byte >> 7 - k & 1
            await cycles(LEVEL_CYCLES)
            found = found << 1 | int(dut.cipo.value)
            dut.sck.value = 1
            await cycles(LEVEL_CYCLES)
            dut.sck.value = 0
        return found


WIRES: tuple[type[Wires], ...] = (UartWires, SpiWires)
