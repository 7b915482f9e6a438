"""fpga.host_link.memory.AxiMemory: bursts against a bytearray, and the host's words beside them."""

import random
from typing import Any

import pytest

from einchip.fpga.host_link.memory import DECERR, READ_BEATS, AxiMemory, n_rows
from einchip.hw.axi import OKAY
from tests.fpga.host_link.lines import until
from tests.hw.simulator import Bench

N_BYTES, BEAT = 1024, 16


class Master:
    """Drives the AXI port; `slow` leaves gaps at random on all channels."""

    def __init__(self, ctx: Any, axi: Any, slow: random.Random | None, beat: int = BEAT) -> None:
        self.ctx, self.axi, self.slow, self.beat = ctx, axi, slow, beat

    async def gap(self) -> None:
        while self.slow and self.slow.random() < 0.4:
            await self.ctx.tick()

    async def offer(self, channel: str, **fields: int) -> None:
        await self.gap()
        for name, value in fields.items():
            self.ctx.set(getattr(self.axi, channel + name), value)
        self.ctx.set(getattr(self.axi, f"{channel}valid"), 1)
        await until(self.ctx, getattr(self.axi, f"{channel}ready"))
        self.ctx.set(getattr(self.axi, f"{channel}valid"), 0)

    async def write(self, address: int, content: bytes) -> int:
        size = self.beat
        beats = [content[k : k + size] for k in range(0, len(content), size)]
        await self.offer("aw", addr=address, len=len(beats) - 1)
        for k, beat in enumerate(beats):
            value = int.from_bytes(beat, "little")
            await self.offer("w", data=value, strb=(1 << size) - 1, last=k == len(beats) - 1)
        await self.gap()
        self.ctx.set(self.axi.bready, 1)
        (resp,) = await until(self.ctx, self.axi.bvalid, self.axi.bresp)
        self.ctx.set(self.axi.bready, 0)
        return resp

    async def read(self, address: int, n_beats: int) -> tuple[bytes, set[int]]:
        await self.offer("ar", addr=address, len=n_beats - 1)
        content, resps = b"", set[int]()
        for k in range(n_beats):
            await self.gap()
            self.ctx.set(self.axi.rready, 1)
            axi = self.axi
            data, resp, last = await until(self.ctx, axi.rvalid, axi.rdata, axi.rresp, axi.rlast)
            self.ctx.set(self.axi.rready, 0)
            assert last == (k == n_beats - 1)
            content += data.to_bytes(self.beat, "little")
            resps.add(resp)
        return content, resps


async def host_write(ctx: Any, host: Any, address: int, word: int) -> None:
    ctx.set(host.address, address)
    ctx.set(host.written, word)
    ctx.set(host.write, 1)
    ctx.set(host.valid, 1)
    await until(ctx, host.ready)
    ctx.set(host.valid, 0)
    ctx.set(host.write, 0)


async def host_read(ctx: Any, host: Any, address: int) -> int:
    ctx.set(host.address, address)
    ctx.set(host.valid, 1)
    await until(ctx, host.ready)
    ctx.set(host.valid, 0)
    return int(ctx.get(host.read))


@pytest.mark.parametrize("beat", [2, 4, BEAT])
@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
def test_bursts_and_words_are_those_of_an_array_of_bytes(slow: bool, beat: int) -> None:
    """The host reads and writes the upper half, while bursts are in the lower one."""
    dut, rng = AxiMemory(N_BYTES, beat), random.Random(5)
    model = bytearray(N_BYTES)

    async def host(ctx: Any) -> None:
        own = random.Random(6)
        while True:
            address = N_BYTES // 2 + 4 * own.randrange(N_BYTES // 8)
            word = own.getrandbits(32)
            await host_write(ctx, dut.host, address, word)
            model[address : address + 4] = word.to_bytes(4, "little")
            address = N_BYTES // 2 + 4 * own.randrange(N_BYTES // 8)
            assert await host_read(ctx, dut.host, address) == int.from_bytes(
                model[address : address + 4], "little"
            )

    async def bus(ctx: Any) -> None:
        master = Master(ctx, dut.axi, random.Random(7) if slow else None, beat)
        for _ in range(12):
            n_beats = rng.randint(1, 9)
            address = beat * rng.randrange(N_BYTES // 2 // beat - n_beats)
            content = rng.randbytes(beat * n_beats)
            assert await master.write(address, content) == OKAY
            model[address : address + len(content)] = content
            n_beats = rng.randint(1, 9)
            address = beat * rng.randrange(N_BYTES // 2 // beat - n_beats)
            expected = bytes(model[address : address + beat * n_beats])
            assert await master.read(address, n_beats) == (expected, {OKAY})

    Bench(dut).run(bus, host)


def test_beats_behind_the_end_answer_decerr_and_change_nothing() -> None:
    dut = AxiMemory(N_BYTES, BEAT)

    async def bus(ctx: Any) -> None:
        master = Master(ctx, dut.axi, None)
        inside, outside = bytes(range(BEAT)), bytes(BEAT)
        assert await master.write(N_BYTES - BEAT, inside + b"\xff" * BEAT) == DECERR
        assert await master.read(N_BYTES - BEAT, 2) == (inside + outside, {OKAY, DECERR})
        assert await master.read(0, 1) == (outside, {OKAY})
        assert await master.write(0, inside) == OKAY

    Bench(dut).run(bus)


def test_bursts_are_read_without_a_gap() -> None:
    """The first beat three cycles after its address; then one in every cycle."""
    dut, cycles = AxiMemory(N_BYTES, BEAT), list[int]()

    async def bus(ctx: Any) -> None:
        ctx.set(dut.axi.rready, 1)
        ctx.set(dut.axi.arvalid, 1)
        ctx.set(dut.axi.arlen, 3)
        for cycle in range(20):
            accepted = ctx.get(dut.axi.arready)
            if ctx.get(dut.axi.rvalid):
                cycles.append(cycle)
            await ctx.tick()
            if accepted and cycle:
                ctx.set(dut.axi.arvalid, 0)

    Bench(dut).run(bus)
    assert cycles == [*range(3, 11)]


def test_what_the_master_does_not_take_waits() -> None:
    dut = AxiMemory(N_BYTES, BEAT)

    async def bus(ctx: Any) -> None:
        master = Master(ctx, dut.axi, None)
        content = random.Random(8).randbytes(BEAT * 3 * READ_BEATS)
        await master.write(0, content)
        ctx.set(dut.axi.arlen, 3 * READ_BEATS - 1)
        ctx.set(dut.axi.arvalid, 1)
        await until(ctx, dut.axi.arready)
        ctx.set(dut.axi.arvalid, 0)
        for _ in range(4 * READ_BEATS):
            await ctx.tick()
        got = b""
        ctx.set(dut.axi.rready, 1)
        for _ in range(3 * READ_BEATS):
            (beat,) = await until(ctx, dut.axi.rvalid, dut.axi.rdata)
            got += beat.to_bytes(BEAT, "little")
        assert got == content

    Bench(dut).run(bus)


@pytest.mark.parametrize(("n_bytes", "port_bytes"), [(0, 16), (40, 16), (66, 2)])
def test_a_memory_of_no_whole_rows_is_refused(n_bytes: int, port_bytes: int) -> None:
    with pytest.raises(ValueError, match="expected a multiple"):
        n_rows(n_bytes, port_bytes)
