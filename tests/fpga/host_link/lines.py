"""Testbenches of Amaranth's simulator for a serial line and for streams of bytes."""

import random
from collections.abc import Iterable
from typing import Any

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
