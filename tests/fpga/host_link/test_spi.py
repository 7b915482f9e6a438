"""fpga.host_link.spi against a controller that moves the pins bit by bit, and knows no FPGA."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from amaranth import ResetInserter, Signal

from einchip.fpga.host_link.spi import (
    MIN_CYCLES,
    OUT_CYCLES,
    SpiPort,
    max_sck_hz,
)
from einchip.fpga.targets import TARGETS
from einchip.host.spi_port import DEFAULT_HZ
from einchip.link import ESCAPE, FILL, FLAG, FLIP, without_fill
from tests.fpga.host_link.lines import Controller
from tests.hw.simulator import Bench

TEXT = random.Random(1).randbytes(24) + bytes((0x00, 0xFF, 0x55, 0xAA, FILL, FLAG, ESCAPE, FILL))
RESET, PORT = Signal(), SpiPort()
COMPILED = Bench(ResetInserter(RESET)(PORT))
MODES = pytest.mark.parametrize("mode", [0, 3])


def bench(
    test: Callable[[Controller], Awaitable[None]],
    sent: bytes = b"",
    slow: random.Random | None = None,
    **how: Any,
) -> bytes:
    """Run a controller against a port that has bytes to send; return what the port received.

    `slow` offers them with pauses of up to three bytes.
    """
    port, received = PORT, list[int]()

    async def listen(ctx: Any) -> None:
        while True:
            _, _, valid, byte = await ctx.tick().sample(port.received.valid, port.received.payload)
            if valid:
                received.append(byte)

    async def offer(ctx: Any) -> None:
        for byte in sent:
            for _ in range(slow.randrange(24 * MIN_CYCLES) if slow else 0):
                await ctx.tick()
            ctx.set(port.sent.payload, byte)
            ctx.set(port.sent.valid, 1)
            await ctx.tick().until(port.sent.ready)
            ctx.set(port.sent.valid, 0)

    async def main(ctx: Any) -> None:
        controller = Controller(ctx, port, **how)
        ctx.set(port.sck, controller.rests)
        ctx.set(port.cs, 0)
        await controller.wait()
        await test(controller)

    COMPILED.run(main, listen, offer)
    return bytes(received)


def plain(wire: bytes) -> bytes:
    """Return what stands on a wire, without fill and its escape."""
    kept = wire.replace(bytes((FILL,)), b"")
    return kept.replace(bytes((ESCAPE, FILL ^ FLIP)), bytes((FILL,)))


@MODES
@pytest.mark.parametrize("gaps", [None, random.Random(2)], ids=["at the limit", "with gaps"])
def test_bytes_go_both_ways_at_once(mode: int, gaps: random.Random | None) -> None:
    """The other side's bytes; those of the port are there as soon as each is taken."""

    async def test(controller: Controller) -> None:
        assert plain(await controller.transfer(TEXT + bytes((FILL,)) * 4)) == TEXT

    received = bench(test, TEXT, mode=mode, gaps=gaps)
    assert received == TEXT.replace(bytes((FILL,)), b"")


@MODES
def test_the_limit_is_what_the_registers_take(mode: int) -> None:
    """Without the margin every bit is there, a cycle before that it is not: nothing is left out."""

    def found(level: int) -> bytes:
        came = list[bytes]()

        async def test(controller: Controller) -> None:
            came.append(await controller.transfer(bytes(len(TEXT) + 2)))

        bench(test, TEXT, mode=mode, level=level)
        return plain(came[0])

    assert found(OUT_CYCLES) == TEXT
    assert found(OUT_CYCLES - 1) != TEXT


@pytest.mark.parametrize("seed", range(2))
@MODES
def test_a_transfer_that_ends_in_mid_byte_costs_that_byte_and_no_other(
    mode: int, seed: int
) -> None:
    """Whole bytes count, on both sides; what was cut is sent again. The port is a slow sender."""
    rng, whole, came = random.Random(seed), bytearray(), bytearray()

    async def test(controller: Controller) -> None:
        for _ in range(10):
            content = rng.randbytes(rng.randrange(8))
            await controller.select(True)
            came.extend([await controller.bits(byte) for byte in content])
            await controller.bits(rng.randrange(256), rng.randrange(8))
            await controller.select(False)
            whole.extend(content)
        came.extend(await controller.transfer(bytes((FILL,)) * 60))

    received = bench(test, TEXT[-16:], slow=random.Random(seed), mode=mode, gaps=rng)
    assert received == bytes(whole).replace(bytes((FILL,)), b"")
    assert plain(bytes(came)) == TEXT[-16:]


@MODES
def test_clocks_of_others_move_nothing(mode: int) -> None:
    """The board is not selected: it neither hears nor drives, and keeps what it has to send."""

    async def test(controller: Controller) -> None:
        ctx, pins = controller.ctx, controller.pins
        for _ in range(33):
            for level in (1 - controller.rests, controller.rests):
                ctx.set(pins.sck, level)
                await controller.wait()
                assert not ctx.get(pins.driven)
        assert plain(await controller.transfer(bytes(len(TEXT) + 2))) == TEXT

    assert bench(test, TEXT, mode=mode) == bytes(len(TEXT) + 2)


@MODES
def test_a_lost_edge_costs_one_transfer(mode: int) -> None:
    """A controller that moves seven bits for eight: chip select brings both in step again."""

    async def test(controller: Controller) -> None:
        await controller.select(True)
        await controller.bits(0xA5, 7)
        for byte in (0x12, 0x34, 0x56):
            await controller.bits(byte)
        await controller.select(False)
        await controller.transfer(TEXT)

    received = bench(test, mode=mode)
    assert received.endswith(TEXT.replace(bytes((FILL,)), b""))
    assert received[:3] != bytes((0xA5, 0x12, 0x34))


def test_after_a_reset_in_mid_transfer_it_waits_for_the_next_one() -> None:
    async def test(controller: Controller) -> None:
        ctx = controller.ctx
        await controller.select(True)
        await controller.bits(0xFF, 3)
        ctx.set(RESET, 1)
        await controller.wait()
        ctx.set(RESET, 0)
        for _ in range(20):
            for level in (1, 0):
                ctx.set(PORT.sck, level)
                await controller.wait()
                assert not ctx.get(PORT.driven)
        await controller.select(False)
        await controller.transfer(b"after it")

    assert bench(test) == b"after it"


def test_fill_in_what_is_sent_goes_as_the_frames_say() -> None:
    """The oracle is `einchip.link`."""
    came = list[bytes]()

    async def test(controller: Controller) -> None:
        came.append(await controller.transfer(bytes((FILL,)) * 50))

    bench(test, TEXT)
    assert came[0].strip(bytes((FILL,))) == without_fill(TEXT)


def test_every_board_follows_the_frequency_that_hosts_begin_with() -> None:
    assert max_sck_hz(24e6) == 24e6 / MIN_CYCLES == 3e6
    for target in TARGETS.values():
        assert max_sck_hz(target.clock_hz) >= DEFAULT_HZ
