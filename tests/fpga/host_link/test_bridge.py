"""fpga.host_link.bridge.Bridge with the control registers and a memory, frame by frame."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import PRESETS
from einchip.fpga.host_link.bridge import Bridge
from einchip.fpga.host_link.memory import AxiMemory
from einchip.hw.control import Control
from einchip.link import (
    MAX_DATA,
    OPEN_ANSWER,
    PROTOCOL,
    Answer,
    Kind,
    Request,
    Status,
    answer_of,
    request_bytes,
)
from einchip.registers import ADDRESS, ID_VALUE
from tests.fpga.host_link.lines import frames, put, take
from tests.hw.simulator import Bench

NANO = PRESETS["nano"]
MEMORY = 512


class Device(wiring.Component):
    """A bridge, registers and memory, without a machine behind them."""

    received: Any
    sent: Any
    start: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "received": In(stream.Signature(8, always_ready=True)),
                "sent": Out(stream.Signature(8)),
                "start": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bridge = bridge = Bridge(MEMORY)
        m.submodules.control = control = Control(NANO)
        m.submodules.memory = memory = AxiMemory(MEMORY, NANO.port_bytes)
        wiring.connect(m, wiring.flipped(self.received), bridge.received)
        wiring.connect(m, bridge.sent, wiring.flipped(self.sent))
        wiring.connect(m, bridge.axil, control.s_axil)
        wiring.connect(m, bridge.memory, memory.host)
        m.d.comb += self.start.eq(control.start)
        return m


class Host:
    """Sends requests as bytes, and waits for answers."""

    def __init__(self, ctx: Any, dut: Device, into: list[int]) -> None:
        self.ctx, self.dut, self.into = ctx, dut, into

    async def send(self, wire: bytes, n_cycles: int) -> list[Answer]:
        """Send bytes, wait, and return the answers that came."""
        self.into.clear()
        await put(self.ctx, self.dut.received, wire)
        for _ in range(n_cycles):
            await self.ctx.tick()
        return [answer_of(frame) for frame in frames(self.into)]

    async def ask(self, request: Request) -> Answer:
        """Send a request and return its only answer."""
        n_cycles = 120 + 4 * max(request.length, len(request.data))
        (answer,) = await self.send(request_bytes(request), n_cycles)
        assert (answer.kind, answer.tag) == (request.kind, request.tag)
        return answer


@functools.cache
def compiled() -> Bench[Device]:
    return Bench(Device())


def bench(test: Callable[[Host], Awaitable[None]], *background: Any) -> None:
    """Run a test on a device after a reset."""
    found, dut = list[int](), compiled().dut

    async def sink(ctx: Any) -> None:
        await take(ctx, dut.sent, found)

    async def main(ctx: Any) -> None:
        await test(Host(ctx, dut, found))

    compiled().run(main, sink, *(b(dut) for b in background))


def word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def test_requests_reach_registers_and_memory() -> None:
    async def test(host: Host) -> None:
        opened = await host.ask(Request(Kind.OPEN, 1))
        assert OPEN_ANSWER.unpack(opened.data) == (PROTOCOL, MEMORY)
        answer = await host.ask(Request(Kind.READ_REGISTER, 2, ADDRESS["ID"], 4))
        assert answer == Answer(Kind.READ_REGISTER, 2, Status.OK, word(ID_VALUE))
        base = ADDRESS["BASE2"]
        write = Request(Kind.WRITE_REGISTER, 3, base, data=word(0x1234_7E7D))
        assert await host.ask(write) == Answer(Kind.WRITE_REGISTER, 3, Status.OK, b"")
        answer = await host.ask(Request(Kind.READ_REGISTER, 4, base, 4))
        assert answer.data == word(0x1234_7E7D)
        content = bytes(range(256))
        for half in (0, MAX_DATA):
            written = await host.ask(Request(Kind.WRITE_MEMORY, 5 + half // 256, half, 0, content))
            assert written.status == Status.OK
            content = content[::-1]
        read = await host.ask(Request(Kind.READ_MEMORY, 7, 200, 112))
        assert read.data == (content + content[::-1])[200:312]

    bench(test)


def test_what_cannot_be_is_refused_with_the_reason() -> None:
    async def test(host: Host) -> None:
        refused = [
            Request(Kind.READ_MEMORY, 1, 2, 4),
            Request(Kind.READ_MEMORY, 1, 0, 6),
            Request(Kind.READ_MEMORY, 1, 0, 0),
            Request(Kind.READ_MEMORY, 1, MEMORY, 4),
            Request(Kind.READ_MEMORY, 1, 0xFFFF_FFFC, 8),
            Request(Kind.READ_MEMORY, 1, 0, MAX_DATA + 4),
            Request(Kind.WRITE_MEMORY, 1, MEMORY - 4, 0, bytes(8)),
            Request(Kind.READ_REGISTER, 1, 0, 8),
            Request(Kind.READ_REGISTER, 1, 1 << 16, 4),
            Request(Kind.WRITE_REGISTER, 2, 0, 0, bytes(8)),
        ]
        await host.ask(Request(Kind.OPEN, 0))
        for request in refused:
            answer = await host.ask(request)
            assert (answer.status, answer.data) == (Status.BAD_REQUEST, b""), request
        nowhere = Request(Kind.READ_REGISTER, 3, 0x04C, 4)
        assert (await host.ask(nowhere)).status == Status.BUS_ERROR
        nowhere = Request(Kind.WRITE_REGISTER, 4, 0x04C, 0, word(1))
        assert (await host.ask(nowhere)).status == Status.BUS_ERROR
        assert (await host.ask(nowhere)).status == Status.BUS_ERROR  # asked once more
        answer = await host.ask(Request(Kind.READ_REGISTER, 5, ADDRESS["ID"], 4))
        assert answer.data == word(ID_VALUE)

    bench(test)


def test_before_it_is_opened_it_does_nothing_else() -> None:
    async def test(host: Host) -> None:
        for request in (
            Request(Kind.READ_REGISTER, 1, ADDRESS["ID"], 4),
            Request(Kind.WRITE_MEMORY, 2, 0, 0, word(5)),
            Request(Kind.WRITE_MEMORY, 2, 0, 0, word(5)),
        ):
            assert (await host.ask(request)).status == Status.NOT_OPEN
        await host.ask(Request(Kind.OPEN, 3))
        assert (await host.ask(Request(Kind.READ_MEMORY, 4, 0, 4))).data == word(0)

    bench(test)


def test_a_repeated_start_starts_once() -> None:
    """The answer may be lost: the host asks again, with the same tag."""
    starts = list[int]()

    def counter(dut: Device) -> Any:
        async def count(ctx: Any) -> None:
            while True:
                _, _, started = await ctx.tick().sample(dut.start)
                if started:
                    starts.append(1)

        return count

    async def test(host: Host) -> None:
        await host.ask(Request(Kind.OPEN, 0))
        start = Request(Kind.WRITE_REGISTER, 9, ADDRESS["CONTROL"], 0, word(1))
        for _ in range(3):
            assert (await host.ask(start)).status == Status.OK
        assert len(starts) == 1

    bench(test, counter)


def test_a_write_with_another_tag_is_another_write() -> None:
    async def test(host: Host) -> None:
        await host.ask(Request(Kind.OPEN, 0))
        for tag, value in ((1, 5), (2, 6), (2, 7)):
            await host.ask(Request(Kind.WRITE_MEMORY, tag, 8, 0, word(value)))
        assert (await host.ask(Request(Kind.READ_MEMORY, 2, 8, 4))).data == word(6)
        await host.ask(Request(Kind.WRITE_MEMORY, 2, 8, 0, word(8)))
        assert (await host.ask(Request(Kind.READ_MEMORY, 3, 8, 4))).data == word(8)

    bench(test)


@pytest.mark.parametrize("place", [1, 5, 12])
def test_a_damaged_request_is_not_carried_out_nor_answered(place: int) -> None:
    async def test(host: Host) -> None:
        await host.ask(Request(Kind.OPEN, 0))
        wire = bytearray(request_bytes(Request(Kind.WRITE_MEMORY, 1, 0, 0, word(5))))
        wire[place] ^= 2
        assert await host.send(bytes(wire), 150) == []
        assert (await host.ask(Request(Kind.READ_MEMORY, 2, 0, 4))).data == word(0)

    bench(test)
