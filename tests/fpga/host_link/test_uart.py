"""fpga.host_link.uart against a line that is driven and read bit by bit."""

import random
from typing import Any

import pytest

from einchip.fpga.host_link.uart import MIN_DIVISOR, Receiver, Transmitter, divisor
from tests.fpga.host_link.lines import put, read_line, send
from tests.hw.simulator import Bench

TEXT = random.Random(1).randbytes(12) + bytes((0x00, 0xFF, 0x55, 0xAA))


def received(cycles: int, sender: Any) -> list[int]:
    """Return what a receiver makes of a testbench's line."""
    dut, found = Receiver(cycles), list[int]()

    async def listen(ctx: Any) -> None:
        while True:
            if ctx.get(dut.bytes.valid):
                found.append(ctx.get(dut.bytes.payload))
            await ctx.tick()

    async def drive(ctx: Any) -> None:
        await sender(ctx, dut.rx)
        for _ in range(12 * cycles):
            await ctx.tick()

    Bench(dut).run(drive, listen)
    return found


@pytest.mark.parametrize("cycles", [MIN_DIVISOR, 5, 16])
@pytest.mark.parametrize("idle", [0, 3])
def test_bytes_are_received(cycles: int, idle: int) -> None:
    async def sender(ctx: Any, rx: Any) -> None:
        await send(ctx, rx, TEXT, cycles, idle)

    assert received(cycles, sender) == [*TEXT]


@pytest.mark.parametrize("error", [-0.03, 0.03])
def test_a_clock_that_is_off_does_no_harm(error: float) -> None:
    async def sender(ctx: Any, rx: Any) -> None:
        await send(ctx, rx, TEXT, 16 * (1 + error), idle=1)

    assert received(16, sender) == [*TEXT]


def test_a_byte_without_a_stop_bit_is_dropped_and_the_next_one_is_not() -> None:
    async def sender(ctx: Any, rx: Any) -> None:
        ctx.set(rx, 0)
        for _ in range(8 * 14):
            await ctx.tick()
        ctx.set(rx, 1)
        for _ in range(8):
            await ctx.tick()
        await send(ctx, rx, TEXT, 8)

    assert received(8, sender) == [*TEXT]


def test_a_glitch_is_no_byte() -> None:
    async def sender(ctx: Any, rx: Any) -> None:
        ctx.set(rx, 0)
        await ctx.tick()
        ctx.set(rx, 1)
        for _ in range(8):
            await ctx.tick()
        await send(ctx, rx, TEXT, 8)

    assert received(8, sender) == [*TEXT]


@pytest.mark.parametrize("cycles", [MIN_DIVISOR, 9])
@pytest.mark.parametrize("every", [1, 120])
def test_bytes_are_sent(cycles: int, every: int) -> None:
    dut, found = Transmitter(cycles), list[int]()

    async def listen(ctx: Any) -> None:
        await read_line(ctx, dut.tx, cycles, found)

    async def drive(ctx: Any) -> None:
        for byte in TEXT:
            while not ctx.get(dut.bytes.ready):
                await ctx.tick()
            await put(ctx, dut.bytes, [byte], every)
        for _ in range(12 * cycles):
            await ctx.tick()

    Bench(dut).run(drive, listen)
    assert found == [*TEXT]


def test_the_divisor_is_the_nearest_and_what_is_too_far_off_is_refused() -> None:
    assert divisor(25e6, 1e6) == 25
    assert divisor(48e6, 115200) == 417
    for clock, baud in ((25e6, 12e6), (10e6, 2.35e6)):
        with pytest.raises(ValueError, match="choose another baud rate"):
            divisor(clock, baud)
