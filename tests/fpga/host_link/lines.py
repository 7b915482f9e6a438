"""Testbenches of Amaranth's simulator for a serial line, for SPI, and for streams of bytes."""

import random
from collections.abc import Iterable
from typing import Any

from einchip.fpga.host_link.spi import LEVEL_CYCLES
from einchip.link import FLAG


async def send(ctx: Any, rx: Any, content: Iterable[int], cycles: float, idle: int = 0) -> None:
    """Put bytes on a line, `cycles` cycles a bit (not a whole number: a clock that is off)."""
    due, now = 0.0, 0
    for byte in content:
        for bit in (0, *(byte >> k & 1 for k in range(8)), 1):
            ctx.set(rx, bit)
            due += cycles
            while now < round(due):
                await ctx.tick()
                now += 1
        for _ in range(idle):
            await ctx.tick()
        due, now = due + idle, now + idle


async def read_line(ctx: Any, tx: Any, cycles: int, into: list[int]) -> None:
    """Read bytes off a line for ever; a wrong stop bit raises AssertionError."""
    while True:
        while ctx.get(tx):
            await ctx.tick()
        bits = []
        for wait in (cycles // 2, *[cycles] * 9):
            for _ in range(wait):
                await ctx.tick()
            bits.append(ctx.get(tx))
        assert bits[0] == 0
        assert bits[9] == 1, "no stop bit"
        into.append(sum(bit << k for k, bit in enumerate(bits[1:9])))


class Controller:
    """Moves bytes over SPI in mode 0 or 3, `level` cycles from edge to edge.

    `pins` has those of a board: sck, copi, cs, cipo, driven. It samples CIPO in the cycle before it
    raises SCK, as late as a real one may; `gaps` lengthen levels at random.
    """

    def __init__(
        self,
        ctx: Any,
        pins: Any,
        mode: int = 0,
        level: int = LEVEL_CYCLES,
        gaps: random.Random | None = None,
    ) -> None:
        self.ctx, self.pins, self.rests = ctx, pins, mode // 3
        self.level, self.gaps = level, gaps

    async def wait(self) -> None:
        """Keep the pins for one level."""
        n = self.level + (self.gaps.randrange(5) if self.gaps else 0)
        for _ in range(n):
            await self.ctx.tick()

    async def select(self, on: bool) -> None:
        """Raise or lower chip select."""
        self.ctx.set(self.pins.cs, on)
        await self.wait()

    async def bit(self, out: int) -> int:
        """Move one bit."""
        if self.rests:
            self.ctx.set(self.pins.sck, 0)
        self.ctx.set(self.pins.copi, out)
        if self.rests:
            await self.wait()
        found = int(self.ctx.get(self.pins.cipo))
        assert self.ctx.get(self.pins.driven)
        self.ctx.set(self.pins.sck, 1)
        await self.wait()
        if not self.rests:
            self.ctx.set(self.pins.sck, 0)
            await self.wait()
        return found

    async def bits(self, byte: int, n: int = 8) -> int:
        """Move the first bits of a byte; return those that came, low ones last."""
        found = 0
        for k in range(n):
            found = found << 1 | await self.bit(byte >> 7 - k & 1)
        return found

    async def transfer(self, content: Iterable[int]) -> bytes:
        """Move bytes while the board is selected."""
        await self.select(True)
        found = bytes([await self.bits(byte) for byte in content])
        await self.select(False)
        return found


async def put(ctx: Any, port: Any, content: Iterable[int], every: int = 1) -> None:
    """Give bytes to a stream without back pressure, one in `every` cycles."""
    for byte in content:
        ctx.set(port.payload, byte)
        ctx.set(port.valid, 1)
        await ctx.tick()
        ctx.set(port.valid, 0)
        for _ in range(every - 1):
            await ctx.tick()


async def take(ctx: Any, port: Any, into: list[int], gaps: random.Random | None = None) -> None:
    """Take bytes of a stream for ever, with gaps at random."""
    while True:
        ctx.set(port.ready, gaps is None or gaps.random() < 0.5)
        _, _, moved, byte = await ctx.tick().sample(port.valid & port.ready, port.payload)
        if moved:
            into.append(byte)


def frames(content: Iterable[int]) -> list[bytes]:
    """Return what stands between flags."""
    return [part for part in bytes(content).split(bytes((FLAG,))) if part]


async def until(ctx: Any, condition: Any, *values: Any) -> list[int]:
    """Return some values as they are at the first clock edge at which a condition is 1."""
    while True:
        _, _, *found, done = await ctx.tick().sample(*values, condition)
        if done:
            return [int(v) for v in found]
