"""fpga.host_link.memory.AxiMemory: bursts against a bytearray, and the host's words beside them."""

import random
from collections import Counter
from typing import Any

import pytest

from einchip.fpga.host_link.memory import DECERR, LATENCY, READ_BEATS, AxiMemory, Ports, n_rows
from einchip.hw.axi import OKAY
from tests.fpga.host_link.lines import until
from tests.hw.simulator import Bench

N_BYTES, BEAT = 1024, 16
PORTS = pytest.mark.parametrize("ports", LATENCY, ids="{} ports".format)


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

    async def write(self, address: int, content: bytes, strobes: int = -1) -> int:
        """Write a burst; `strobes` has a bit for each of its bytes."""
        size = self.beat
        beats = [content[k : k + size] for k in range(0, len(content), size)]
        await self.offer("aw", addr=address, len=len(beats) - 1)
        for k, beat in enumerate(beats):
            value = int.from_bytes(beat, "little")
            strb = strobes >> k * size & (1 << size) - 1
            await self.offer("w", data=value, strb=strb, last=k == len(beats) - 1)
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


@PORTS
@pytest.mark.parametrize("beat", [1, 2, 4, BEAT])
@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
def test_bursts_and_words_are_those_of_an_array_of_bytes(
    slow: bool, beat: int, ports: Ports
) -> None:
    """The host reads and writes the upper half, while bursts are in the lower one."""
    dut, rng = AxiMemory(N_BYTES, beat, ports), random.Random(5)
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
            content, strobes = rng.randbytes(beat * n_beats), rng.getrandbits(beat * n_beats)
            assert await master.write(address, content, strobes) == OKAY
            for k, byte in enumerate(content):
                if strobes >> k & 1:
                    model[address + k] = byte
            n_beats = rng.randint(1, 9)
            address = beat * rng.randrange(N_BYTES // 2 // beat - n_beats)
            expected = bytes(model[address : address + beat * n_beats])
            assert await master.read(address, n_beats) == (expected, {OKAY})

    Bench(dut).run(bus, host)


@PORTS
@pytest.mark.parametrize("n_bytes", [N_BYTES, 3 << 11], ids="{} bytes".format)
def test_beats_behind_the_end_answer_decerr_and_change_nothing(n_bytes: int, ports: Ports) -> None:
    dut = AxiMemory(n_bytes, BEAT, ports)

    async def bus(ctx: Any) -> None:
        master = Master(ctx, dut.axi, None)
        inside, outside = bytes(range(BEAT)), bytes(BEAT)
        assert await master.write(n_bytes - BEAT, inside + b"\xff" * BEAT) == DECERR
        assert await master.read(n_bytes - BEAT, 2) == (inside + outside, {OKAY, DECERR})
        assert await master.read(0, 1) == (outside, {OKAY})
        assert await master.write(0, inside) == OKAY

    Bench(dut).run(bus)


@PORTS
@pytest.mark.parametrize("n_bytes", [N_BYTES, 1 << 13], ids="{} bytes".format)
def test_bursts_behind_the_end_answer_decerr_and_change_nothing(n_bytes: int, ports: Ports) -> None:
    dut = AxiMemory(n_bytes, BEAT, ports)

    async def bus(ctx: Any) -> None:
        master = Master(ctx, dut.axi, None)
        inside, zeros = bytes(range(2 * BEAT)), bytes(2 * BEAT)
        assert await master.write(0, inside) == OKAY
        for address in (n_bytes, 2 * n_bytes, 1 << 16, 1 << 31):
            assert await master.write(address, zeros) == DECERR
            assert await master.read(address, 2) == (zeros, {DECERR})
        assert await master.read(0, 2) == (inside, {OKAY})

    Bench(dut).run(bus)


@PORTS
@pytest.mark.parametrize("beat", [2, BEAT])
@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
def test_bursts_both_ways_and_the_host_meet(slow: bool, beat: int, ports: Ports) -> None:
    """A third of the memory is written, one is read, and one is the host's, all at once."""
    dut, third = AxiMemory(3 * N_BYTES, beat, ports), N_BYTES
    model, done = bytearray(random.Random(1).randbytes(3 * third)), Counter[str]()

    async def fill(ctx: Any, master: Master) -> None:
        for address in range(0, 3 * third, 8 * beat):
            assert await master.write(address, bytes(model[address : address + 8 * beat])) == OKAY
        done["filled"] = 1

    def place(rng: random.Random, size: int) -> int:
        return size * rng.randrange(third // size)

    async def write(ctx: Any) -> None:
        rng = random.Random(2)
        master = Master(ctx, dut.axi, random.Random(3) if slow else None, beat)
        await fill(ctx, master)
        while min(done[name] for name in ("written", "read", "by the host")) < 20:
            n_bytes = beat * rng.choice([1, 2, 4, 8])
            address, content = place(rng, n_bytes), rng.randbytes(n_bytes)
            assert await master.write(address, content) == OKAY
            model[address : address + n_bytes] = content
            done["written"] += 1
            while rng.random() < 0.5:
                await ctx.tick()
        done["ended"] = 1
        while done["ended"] == 1:
            await ctx.tick()
        for address in range(0, 2 * third, 8 * beat):
            content = bytes(model[address : address + 8 * beat])
            assert await master.read(address, 8) == (content, {OKAY})

    async def read(ctx: Any) -> None:
        rng = random.Random(4)
        master = Master(ctx, dut.axi, random.Random(5) if slow else None, beat)
        while not done["filled"]:
            await ctx.tick()
        while not done["ended"]:
            n_beats = rng.choice([1, 2, 4, 8])
            address = third + place(rng, beat * n_beats)
            content = bytes(model[address : address + beat * n_beats])
            assert await master.read(address, n_beats) == (content, {OKAY})
            done["read"] += 1
        done["ended"] = 2

    async def host(ctx: Any) -> None:
        rng = random.Random(6)
        while not done["filled"]:
            await ctx.tick()
        while True:
            address, word = 2 * third + place(rng, 4), rng.randbytes(4)
            if rng.random() < 0.5:
                await host_write(ctx, dut.host, address, int.from_bytes(word, "little"))
                model[address : address + 4] = word
            else:
                found = await host_read(ctx, dut.host, address)
                assert found.to_bytes(4, "little") == model[address : address + 4]
            done["by the host"] += 1

    Bench(dut).run(write, read, host)


def test_with_one_port_what_writes_is_first_and_a_beat_that_waits_stays() -> None:
    dut = AxiMemory(N_BYTES, 4, ports=1)
    axi, word = dut.axi, 0x1234ABCD

    async def bus(ctx: Any) -> None:
        await host_write(ctx, dut.host, 8, word)
        ctx.set(axi.araddr, 8)
        ctx.set(axi.arvalid, 1)
        ctx.set(axi.awvalid, 1)
        assert (ctx.get(axi.awready), ctx.get(axi.arready)) == (1, 0)
        await ctx.tick()
        ctx.set(axi.awvalid, 0)
        ctx.set(axi.wdata, 5)
        ctx.set(axi.wlast, 1)
        ctx.set(axi.wvalid, 1)
        assert (ctx.get(axi.wready), ctx.get(axi.arready)) == (1, 0)
        await ctx.tick()
        ctx.set(axi.wvalid, 0)
        await until(ctx, axi.arready)
        ctx.set(axi.arvalid, 0)
        await until(ctx, axi.rvalid)
        for name in ("awvalid", "bready"):
            ctx.set(getattr(axi, name), 1)
        ctx.set(dut.host.valid, 1)
        for write in (0, 1, 0, 1):
            ctx.set(dut.host.write, write)
            await ctx.tick()
            assert (ctx.get(axi.rvalid), ctx.get(axi.rdata)) == (1, word)
            assert (ctx.get(axi.awready), ctx.get(dut.host.ready)) == (0, 0)
        ctx.set(axi.rready, 1)
        assert (ctx.get(axi.awready), ctx.get(dut.host.ready)) == (1, 1)

    Bench(dut).run(bus)


@PORTS
def test_bursts_are_read_without_a_gap(ports: Ports) -> None:
    """The first beat so many cycles after its address; then one in every cycle."""
    dut, cycles = AxiMemory(N_BYTES, BEAT, ports), list[int]()

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
    assert cycles == [*range(LATENCY[ports], LATENCY[ports] + 8)]


@PORTS
def test_what_the_master_does_not_take_waits(ports: Ports) -> None:
    dut = AxiMemory(N_BYTES, BEAT, ports)

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
