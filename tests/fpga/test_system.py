"""fpga.system: requests over the pins of each link reach registers and memory; no machine in it."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import PRESETS, Architecture
from einchip.fpga import system
from einchip.fpga.host_link.memory import Ports
from einchip.fpga.host_link.uart import MIN_DIVISOR
from einchip.hw.axi import AxiLiteSignature, AxiSignature
from einchip.hw.control import Control
from einchip.link import (
    ESCAPE,
    FILL,
    FLIP,
    OPEN_ANSWER,
    PROTOCOL,
    Kind,
    Request,
    answer_of,
    request_bytes,
    without_fill,
)
from einchip.registers import ADDRESS, ADDRESS_BITS, ID_VALUE
from tests.fpga.host_link.lines import Controller, frames, read_line, send
from tests.hw.simulator import Bench

NANO, MEMORY = PRESETS["nano"], 512
#: Bytes of the longest answer here, with time for it.
ANSWER_BYTES = 40
Move = Callable[[bytes], Awaitable[bytes]]


class Registers(wiring.Component):
    """In place of a machine: its registers."""

    m_axi: Any
    s_axil: Any
    irq: Signal

    def __init__(self, arch: Architecture) -> None:
        ports = {"m_axi": Out(AxiSignature(arch.port_bytes)), "irq": Out(1)}
        super().__init__(ports | {"s_axil": In(AxiLiteSignature(ADDRESS_BITS))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control = control = Control(NANO)
        wiring.connect(m, wiring.flipped(self.s_axil), control.s_axil)
        return m


def over_spi(dut: Any, ctx: Any, came: list[int]) -> Move:
    """Return what sends bytes and returns those that come."""
    controller = Controller(ctx, dut)

    async def move(wire: bytes) -> bytes:
        found = await controller.transfer(without_fill(wire) + bytes((FILL,)) * ANSWER_BYTES)
        found = found.replace(bytes((FILL,)), b"")
        return found.replace(bytes((ESCAPE, FILL ^ FLIP)), bytes((FILL,)))

    return move


def over_uart(dut: Any, ctx: Any, came: list[int]) -> Move:
    """Return what sends bytes and returns those that come."""

    async def move(wire: bytes) -> bytes:
        came.clear()
        await send(ctx, dut.rx, wire, MIN_DIVISOR)
        for _ in range(10 * MIN_DIVISOR * ANSWER_BYTES):
            await ctx.tick()
        return bytes(came)

    return move


@pytest.mark.parametrize(("link", "ports"), [("uart", 2), ("spi", 2), ("spi", 1)])
def test_requests_over_the_pins_reach_registers_and_memory(
    link: str, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "machine", Registers)
    dut: Any
    if link == "spi":
        dut = system.SpiSystem(NANO, MEMORY, ports)
    else:
        dut = system.System(NANO, MEMORY, MIN_DIVISOR, ports)
    came, data = list[int](), bytes((FILL, 0x7E, 0x7D, 0xFF)) * 4

    async def listen(ctx: Any) -> None:
        if link == "uart":
            await read_line(ctx, dut.tx, MIN_DIVISOR, came)

    async def test(ctx: Any) -> None:
        move = (over_spi if link == "spi" else over_uart)(dut, ctx, came)

        async def ask(request: Request) -> bytes:
            (frame,) = frames(await move(request_bytes(request)))
            answer = answer_of(frame)
            assert (answer.kind, answer.tag, answer.status) == (request.kind, request.tag, 0)
            return answer.data

        assert await ask(Request(Kind.OPEN, 1)) == OPEN_ANSWER.pack(PROTOCOL, MEMORY)
        await ask(Request(Kind.WRITE_MEMORY, 2, 8, data=data))
        assert await ask(Request(Kind.READ_MEMORY, 3, 8, len(data))) == data
        found = await ask(Request(Kind.READ_REGISTER, 4, ADDRESS["ID"], 4))
        assert found == ID_VALUE.to_bytes(4, "little")

    Bench(dut).run(test, listen)
