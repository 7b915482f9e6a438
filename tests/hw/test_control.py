"""hw.control.Control against einchip.registers, over its AXI4-Lite port."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from amaranth.sim import Simulator

from einchip.arch import PRESETS
from einchip.hw.axi import OKAY, SLVERR
from einchip.hw.control import FAULTS, Control
from einchip.hw.counters import READ_CYCLES, Counters, rises
from einchip.program import HOST_ARGS, HOST_BASES, Error
from einchip.registers import (
    ADDRESS,
    ADDRESS_BITS,
    CONTROL_FETCH,
    CONTROL_IRQ_CLEAR,
    CONTROL_START,
    COUNTERS,
    ID_VALUE,
    REGISTERS,
    STATUS_DONE,
    STATUS_ERROR,
    STATUS_RUNNING,
    VERSION_VALUE,
    WATCHDOG_RESET,
)
from tests.hw.host import HostPort
from tests.hw.simulator import Bench

NANO = PRESETS["nano"]
RESET = {
    "ID": ID_VALUE,
    "VERSION": VERSION_VALUE,
    "CONFIG_HASH": NANO.config_hash,
    "WATCHDOG": WATCHDOG_RESET,
}
WRITABLE = [r.name for r in REGISTERS if r.access == "rw"]


def bench(
    test: Callable[[Any, Control, HostPort], Awaitable[None]], gaps: random.Random | None = None
) -> None:
    """Run a test on a machine that makes progress and is quiet, until it says otherwise."""
    dut = Control(NANO)

    async def run(ctx: Any) -> None:
        ctx.set(dut.progress, 1)
        ctx.set(dut.quiet, 1)
        await test(ctx, dut, HostPort(ctx, dut.s_axil, gaps))

    sim: Any = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(run)
    sim.run()


async def halt(ctx: Any, dut: Control) -> None:
    ctx.set(dut.halted, 1)
    await ctx.tick()
    ctx.set(dut.halted, 0)


def test_every_address_answers_as_the_register_map_says() -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        for address in range(1 << ADDRESS_BITS):
            value, response = await host.read(address)
            known = next((r for r in REGISTERS if r.address == address), None)
            assert response == (OKAY if known else SLVERR)
            assert value == (RESET.get(known.name, 0) if known else 0)

    bench(test)


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_host_registers_keep_what_was_written(seed: int | None) -> None:
    rng = random.Random(seed)
    values = {name: rng.getrandbits(32) for name in WRITABLE} | {"IRQ_ENABLE": 1}

    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        for name, value in values.items():
            await host.set(name, value)
        assert {name: await host.get(name) for name in values} == values
        assert ctx.get(dut.host.program_address) == values["PROGRAM_ADDRESS"]
        assert ctx.get(dut.host.program_words) == values["PROGRAM_WORDS"]
        for k in range(HOST_BASES):
            assert ctx.get(dut.host.bases[k]) == values[f"BASE{k}"]
        for k in range(HOST_ARGS):
            assert ctx.get(dut.host.args[k]) == values[f"ARG{k}"]

    bench(test, rng if seed else None)


def test_byte_strobes_choose_what_is_written() -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        await host.set("BASE1", 0x11223344)
        await host.write(ADDRESS["BASE1"], 0xAABBCCDD, strobes=0b0101)
        assert await host.get("BASE1") == 0x11BB33DD
        await host.write(ADDRESS["CONTROL"], CONTROL_START, strobes=0b1110)
        assert await host.get("STATUS") == 0

    bench(test)


def test_read_only_and_unknown_registers_ignore_writes() -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        for register in REGISTERS:
            if register.access == "ro":
                assert await host.write(register.address, 0xFFFFFFFF) == OKAY
                assert await host.get(register.name) == RESET.get(register.name, 0)
        for address in (0x7C, 1, ADDRESS["BASE0"] + 2, (1 << ADDRESS_BITS) - 4):
            assert await host.write(address, 0xFFFFFFFF) == SLVERR
        assert await host.get("ID") == ID_VALUE
        assert await host.get("BASE0") == 0

    bench(test)


def test_a_running_machine_ignores_starts_and_host_registers() -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        ctx.set(dut.events.cycles, 1)
        await host.set("ARG0", 7)
        await host.set("CONTROL", CONTROL_START)
        assert await host.get("STATUS") == STATUS_RUNNING
        for name in WRITABLE:
            await host.set(name, 0xFFFFFFFF)
        assert await host.get("ARG0") == 7
        assert await host.get("WATCHDOG") == WATCHDOG_RESET
        before = await host.counter("cycles")
        await host.set("CONTROL", CONTROL_START | CONTROL_FETCH)
        assert await host.counter("cycles") > before
        await halt(ctx, dut)
        assert await host.get("STATUS") == STATUS_DONE
        await host.set("ARG0", 8)
        assert await host.get("ARG0") == 8

    bench(test)


@pytest.mark.parametrize("control", [CONTROL_START, CONTROL_START | CONTROL_FETCH])
def test_a_start_is_one_cycle_before_running(control: int) -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        seen = []
        ctx.set(dut.s_axil.awaddr, ADDRESS["CONTROL"])
        ctx.set(dut.s_axil.wdata, control)
        ctx.set(dut.s_axil.wstrb, 15)
        for cycle in range(8):
            ctx.set(dut.s_axil.awvalid, cycle == 0)
            ctx.set(dut.s_axil.wvalid, cycle == 1)
            seen.append((ctx.get(dut.start), ctx.get(dut.fetch), ctx.get(dut.running)))
            await ctx.tick()
        at = [s for s, _, _ in seen].index(1)
        assert seen[at] == (1, int(bool(control & CONTROL_FETCH)), 0)
        assert seen[at + 1 :] == [(0, 0, 1)] * (7 - at)

    bench(test)


def test_counters_sum_their_events_while_running_and_a_start_clears_them() -> None:
    rng = random.Random(3)
    steps = [{name: rng.randint(0, most) for name, most in rises(NANO).items()} for _ in range(200)]

    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        async def count(steps: list[dict[str, int]]) -> None:
            for step in steps:
                for name, value in step.items():
                    ctx.set(dut.events[name], value)
                ctx.set(dut.halted, step is steps[-1])
                await ctx.tick()
            ctx.set(dut.halted, 0)
            ctx.set(dut.events, {})

        await count(steps)  # not running: counts nothing
        for _ in range(2):
            await host.set("CONTROL", CONTROL_START)
            await count(steps)
            totals = {c.name: await host.counter(c.name) for c in COUNTERS}
            assert totals == {c.name: sum(s[c.name] for s in steps) for c in COUNTERS}

    bench(test)


async def read(ctx: Any, dut: Counters, number: int) -> None:
    """Read a counter; it takes two cycles, and READ_CYCLES from its first until `value` stands."""
    ctx.set(dut.select, number)
    ctx.set(dut.read, 1)
    await ctx.tick()
    ctx.set(dut.read, 0)
    await ctx.tick()


def test_a_counter_carries_into_its_high_word() -> None:
    dut = Counters(NANO)

    async def test(ctx: Any) -> None:
        number = [c.name for c in COUNTERS].index("macs")

        await ctx.tick().repeat(2 * len(COUNTERS))  # all have been visited
        most, wrap = rises(NANO)["macs"], 1 << 12
        ctx.set(dut.whole.data[number], (1 << 32) - wrap)  # its sum is 0, the count's low bits too
        ctx.set(dut.events["macs"], most)
        ctx.set(dut.running, 1)
        await ctx.tick().repeat(wrap // most + 1)
        ctx.set(dut.running, 0)
        await ctx.tick()
        await read(ctx, dut, number)
        await ctx.tick().repeat(READ_CYCLES - 2)
        assert int(ctx.get(dut.value)) == (1 << 32) + most

    Bench(dut).run(test)


def test_counters_count_the_most_that_a_cycle_can_have_while_they_are_read() -> None:
    dut, cycles = Counters(NANO), 4 * 2 * len(COUNTERS)
    most = rises(NANO)

    async def test(ctx: Any) -> None:
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        ctx.set(dut.running, 1)
        for name, rise in most.items():
            ctx.set(dut.events[name], rise)
        for _ in range(cycles // 2):
            await read(ctx, dut, 0)  # every other cycle: the others wait as long as they can
        ctx.set(dut.running, 0)
        for number, (name, rise) in enumerate(most.items()):
            await read(ctx, dut, number)
            await ctx.tick().repeat(READ_CYCLES)
            assert int(ctx.get(dut.value)) == cycles * rise, name

    Bench(dut).run(test)


@pytest.mark.parametrize("enable", [0, 1])
def test_a_stop_raises_the_enabled_interrupt_until_it_is_cleared(enable: int) -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        await host.set("IRQ_ENABLE", enable)
        await host.set("CONTROL", CONTROL_START)
        assert not ctx.get(dut.irq)
        await halt(ctx, dut)
        assert ctx.get(dut.irq) == enable
        assert await host.get("STATUS") == STATUS_DONE
        await host.set("CONTROL", CONTROL_IRQ_CLEAR)
        assert not ctx.get(dut.irq)
        assert await host.get("STATUS") == STATUS_DONE

    bench(test)


def test_of_several_faults_in_a_cycle_the_first_source_wins() -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        for first in range(len(FAULTS)):
            await host.set("CONTROL", CONTROL_START)
            assert await host.get("ERROR_CODE") == Error.NONE
            for number, name in enumerate(FAULTS):
                fault = getattr(dut.faults, name)
                ctx.set(fault.code, number + 1 if number >= first else 0)
                ctx.set(fault.address, 0x80000000 + number)
            await ctx.tick()
            for name in FAULTS:
                ctx.set(getattr(dut.faults, name).code, 0)
            assert ctx.get(dut.stop)
            await ctx.tick()
            assert not ctx.get(dut.running)
            assert await host.get("STATUS") == STATUS_DONE | STATUS_ERROR
            assert await host.get("ERROR_CODE") == first + 1
            assert await host.get("ERROR_ADDRESS") == 0x80000000 + first

    bench(test)


def test_only_the_first_fault_counts_and_the_stop_waits_for_the_bus() -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        await host.set("CONTROL", CONTROL_START)
        ctx.set(dut.quiet, 0)
        for name, code in (("load", Error.AXI_READ), ("sequencer", Error.OPCODE)):
            fault = getattr(dut.faults, name)
            ctx.set(fault.code, code)
            await ctx.tick()
            ctx.set(fault.code, 0)
        ctx.set(dut.halted, 1)
        for _ in range(10):
            await ctx.tick()
            assert ctx.get(dut.running)
        ctx.set(dut.quiet, 1)
        await ctx.tick()
        assert not ctx.get(dut.running)
        assert await host.get("ERROR_CODE") == Error.AXI_READ

    bench(test)


def test_a_fault_in_the_last_cycle_counts() -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        await host.set("CONTROL", CONTROL_START)
        ctx.set(dut.faults.x_write.code, Error.ADDRESS)
        await halt(ctx, dut)
        ctx.set(dut.faults.x_write.code, 0)
        assert await host.get("ERROR_CODE") == Error.ADDRESS
        assert await host.get("STATUS") == STATUS_DONE | STATUS_ERROR

    bench(test)


@pytest.mark.parametrize("limit", [0, 1, 30])
def test_the_watchdog_stops_a_machine_whose_bus_is_dead(limit: int) -> None:
    async def test(ctx: Any, dut: Control, host: HostPort) -> None:
        await host.set("WATCHDOG", limit)
        ctx.set(dut.pc, 77)
        ctx.set(dut.quiet, 0)
        await host.set("CONTROL", CONTROL_START)
        for _ in range(100):
            await ctx.tick()
            assert ctx.get(dut.running)
            assert not ctx.get(dut.stop)
        ctx.set(dut.progress, 0)
        cycles = []
        for signal, value in ((dut.stop, 1), (dut.running, 0)):
            cycles.append(0)
            while ctx.get(signal) != value:
                await ctx.tick()
                cycles[-1] += 1
        # one cycle more each: progress is registered, and the limit is of whole idle cycles
        assert cycles == [limit + 2, limit + 1]
        assert await host.get("ERROR_CODE") == Error.TIMEOUT
        assert await host.get("ERROR_ADDRESS") == 77

    bench(test)
