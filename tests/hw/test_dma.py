"""hw.dma.Dma against einchip.reference (what it moves) and docs/timing.md (when)."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

from einchip import reference
from einchip.arch import PRESETS, READ_BURSTS, READ_LATENCY, STORE_BEATS, Architecture
from einchip.hw.dma import EVENTS, Dma
from einchip.program import Error, Halt, Load, Program, Store
from tests.hw.axi_memory import AxiMemory

NANO = PRESETS["nano"]
MACHINES = {
    "nano": NANO,
    "16 bit": NANO.override(data_bits=16),
    "short bursts": NANO.override(burst_beats=4),
    "single beats": NANO.override(burst_beats=1),
    "base": PRESETS["base"].override(x_depth=256, y_depth=256),
}
#: A transfer offered in cycle 0 is in the slot from 1, in the setup stage from 2 and ready there.
LAUNCH = 2

Transfer = Load | Store


@dataclass
class Ran:
    """What a bench saw."""

    memory: reference.Memory
    bus: AxiMemory
    given: list[tuple[int, int]] = field(default_factory=list)  # cycle, tokens
    faults: list[tuple[int, int, int]] = field(default_factory=list)  # cycle, code, address
    events: list[dict[str, int]] = field(default_factory=list)  # of each cycle
    quiet: bool = False
    idle: bool = False

    def count(self, name: str) -> int:
        return sum(e[name] for e in self.events)


def filled(arch: Architecture, external_bytes: int, seed: int = 1) -> reference.Memory:
    """Return a memory full of random bytes."""
    rng = np.random.default_rng(seed)
    memory = reference.Memory.empty(arch, external_bytes)
    half = 1 << (arch.data_bits - 1)
    for space in (0, 1):
        memory.space(space)[:] = rng.integers(-half, half, arch.capacity(space))
    memory.external[:] = rng.bytes(external_bytes)
    return memory


@dataclass
class Pads:
    """Scratchpads at the DMA unit's ports; `free(cycle)` says in which cycles the ports are."""

    dut: Dma
    arch: Architecture
    memory: reference.Memory
    free: Callable[[int], bool]

    async def run(self, ctx: Any) -> None:
        reads, writes = (
            [getattr(self.dut, f"{kind}_{s}") for s in "xy"] for kind in ("read", "write")
        )
        coming: dict[int, tuple[int, list[int]]] = {}
        cycle = 0
        while True:
            free = self.free(cycle)
            for port in (*reads, *writes):
                ctx.set(port.ready, free)
            for space, port in enumerate(reads):
                at = coming.get(cycle - READ_LATENCY, (2, []))
                lanes = at[1] if at[0] == space else [-1] * self.arch.lanes
                for lane in range(self.arch.lanes):
                    ctx.set(port.data[lane], lanes[lane])
            ports = [p for port in (*reads, *writes) for p in (port.valid, port.base, port.enable)]
            data = [port.data for port in writes]
            offsets = [port.offsets for port in (*reads, *writes)]
            _, _, *seen = await ctx.tick().sample(*ports, *data, *offsets)
            for k in range(4):
                valid, base, enable = seen[3 * k : 3 * k + 3]
                if not valid or not free:
                    continue
                where = [base + seen[14 + k][lane] for lane in range(self.arch.lanes)]
                pad = self.memory.space(k % 2)
                if k < 2:
                    lanes = [int(pad[a]) if enable >> p & 1 else 0 for p, a in enumerate(where)]
                    coming[cycle] = (k, lanes)
                    continue
                for lane, a in enumerate(where):
                    if enable >> lane & 1:
                        pad[a] = seen[12 + k - 2][lane]
            cycle += 1


def run(
    arch: Architecture,
    transfers: list[Transfer],
    memory: reference.Memory,
    *,
    cycles: int = 10_000,
    latency: int = 8,
    seed: int | None = None,
    free: Callable[[int], bool] = lambda cycle: True,
    positive: Callable[[int], int] = lambda cycle: 0xFFFF,
    stop: Callable[[int], bool] = lambda cycle: False,
    faults: tuple[range, ...] = (),
    awake_from: int = 0,
) -> Ran:
    """Offer transfers until all have given their token; the addresses are their base fields.

    A fault stops the unit in the next cycle, as in the machine.
    """
    dut = Dma(arch)
    memory = memory.copy()
    bus = AxiMemory(
        dut.axi,
        arch.port_bytes,
        memory.external,
        latency=latency,
        seed=seed,
        faults=faults,
        awake_from=awake_from,
    )
    ran = Ran(memory, bus)

    async def issue(ctx: Any) -> None:
        for t in transfers:
            payload = dut.issue.payload
            ctx.set(payload.raw.as_value(), int.from_bytes(t.encode(), "little"))
            ctx.set(payload.ext, t.ext_offset)
            ctx.set(payload.addr, t.addr)
            ctx.set(dut.issue.valid, 1)
            await ctx.tick().until(dut.issue.ready)
            ctx.set(dut.issue.valid, 0)

    async def watch(ctx: Any) -> None:
        for cycle in range(cycles):
            ctx.set(dut.stop, stop(cycle) or bool(ran.faults))
            ctx.set(dut.tokens.positive, positive(cycle))
            _, _, give, code, address, events, idle, quiet = await ctx.tick().sample(
                dut.tokens.give, dut.fault.code, dut.fault.address, dut.events, dut.idle, dut.quiet
            )
            ran.events.append({name: events[name] for name, _ in EVENTS})
            if give:
                ran.given.append((cycle, give))
            if code:
                ran.faults.append((cycle, code, address))
            ran.idle, ran.quiet = bool(idle), bool(quiet)
            if idle and quiet and (len(ran.given) == len(transfers) or ctx.get(dut.stop)):
                break

    sim: Any = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bus.run, background=True)
    sim.add_testbench(Pads(dut, arch, memory, free).run, background=True)
    sim.add_testbench(issue, background=True)
    sim.add_testbench(watch)
    sim.run()
    return ran


def expected(
    arch: Architecture, transfers: list[Transfer], memory: reference.Memory
) -> reference.Memory:
    memory = memory.copy()
    reference.run(Program((*transfers, Halt())), arch, memory)
    return memory


def contents(memory: reference.Memory) -> list[Any]:
    return [memory.x, memory.y, np.frombuffer(memory.external, np.uint8)]


def same(a: reference.Memory, b: reference.Memory) -> bool:
    return all((one == other).all() for one, other in zip(contents(a), contents(b), strict=True))


def transfer(kind: type[Transfer], arch: Architecture, at: int, to: int, beats: int) -> Transfer:
    """Move `beats` beats at beat `at` of external memory and at beat `to` of X or Y."""
    return kind(
        signal=1 << (to % 16),
        ext_offset=at * arch.port_bytes,
        space=to % 2,
        addr=to * arch.port_elements,
        beats=beats,
    )


def splits(at: int, beats: int, arch: Architecture) -> list[int]:
    """Return the beats of each burst of a transfer that begins at beat `at`."""
    page = 4096 // arch.port_bytes
    result = []
    while beats:
        result.append(min(beats, arch.burst_beats, page - at % page))
        at, beats = at + result[-1], beats - result[-1]
    return result


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_transfers_leave_what_the_reference_leaves(name: str, seed: int | None) -> None:
    arch = MACHINES[name]
    page = 4096 // arch.port_bytes
    memory = filled(arch, 4 * 4096)
    transfers = [
        transfer(Load, arch, page - 3, 7, 11),
        transfer(Store, arch, 2 * page - 5, 9, 83),
        transfer(Load, arch, 5, 4, 1),
        transfer(Load, arch, page + 1, 20, 70),
        transfer(Store, arch, 1, 21, 64),
        transfer(Store, arch, 100, 4, 1),
    ]
    rng = random.Random(seed)

    def free(cycle: int) -> bool:
        return seed is None or rng.random() < 0.6

    ran = run(arch, transfers, memory, seed=seed, free=free)
    assert len(ran.given) == len(transfers)
    assert same(ran.memory, expected(arch, transfers, memory))
    assert [g for _, g in ran.given] == [t.signal for t in transfers]
    assert not ran.faults


@given(st.integers(0, 2500), st.integers(1, 300), st.sampled_from([Load, Store]), st.data())
def test_bursts_follow_the_splitting_rule(
    at: int, beats: int, kind: type[Transfer], data: st.DataObject
) -> None:
    arch = MACHINES[data.draw(st.sampled_from(["nano", "16 bit", "short bursts"]))]
    ran = run(arch, [transfer(kind, arch, at, 0, beats)], filled(arch, 16384), latency=1)
    assert [b.beats for b in ran.bus.bursts] == splits(at, beats, arch)
    assert ran.count("dma_read_beats") + ran.count("dma_write_beats") == beats


@pytest.mark.parametrize("latency", [1, 8, 40])
@pytest.mark.parametrize("beats", [1, 64, 65, 300])
def test_load_takes_the_cycles_of_the_rules(latency: int, beats: int) -> None:
    ran = run(NANO, [transfer(Load, NANO, 0, 0, beats)], filled(NANO, 4096), latency=latency)
    accepted: list[int] = []  # of each burst's address
    last: list[int] = []  # of each burst's last beat
    for k, length in enumerate(splits(0, beats, NANO)):
        room = last[k - READ_BURSTS] + 1 if k >= READ_BURSTS else 0
        accepted.append(max(accepted[-1] + 1 if accepted else LAUNCH + 1, room))
        first = max(accepted[-1] + latency, last[-1] + 1 if last else 0)
        last.append(first + length - 1)
    assert [b.cycle for b in ran.bus.bursts] == accepted
    assert ran.given == [(last[-1], 1)]
    assert ran.count("dma_transfer") == beats
    assert ran.count("dma_stall_memory") == last[-1] - LAUNCH - beats
    assert ran.count("dma_idle") == LAUNCH + 2  # up to the launch, and one after the end


@pytest.mark.parametrize("latency", [1, 8])
@pytest.mark.parametrize("beats", [1, 64, 70])
def test_store_takes_the_cycles_of_the_rules(latency: int, beats: int) -> None:
    ran = run(NANO, [transfer(Store, NANO, 0, 0, beats)], filled(NANO, 4096), latency=latency)
    at = LAUNCH + 1
    for length in splits(0, beats, NANO):
        assert at in [b.cycle for b in ran.bus.bursts]
        last_beat = at + 1 + READ_LATENCY + 1 + length - 1
        at = last_beat + latency + 1
    assert ran.given == [(at - 1, 1)]
    assert ran.count("dma_transfer") == beats
    assert ran.count("dma_stall_memory") == at - 1 - LAUNCH - beats


def test_at_most_store_beats_are_between_port_and_bus() -> None:
    dut = Dma(NANO)
    granted = 0

    async def bench(ctx: Any) -> None:
        nonlocal granted
        store = int.from_bytes(Store(beats=40).encode(), "little")
        ctx.set(dut.issue.payload.raw.as_value(), store)
        ctx.set(dut.issue.valid, 1)
        ctx.set(dut.axi.awready, 1)
        ctx.set(dut.read_x.ready, 1)
        for _ in range(60):
            _, _, valid = await ctx.tick().sample(dut.read_x.valid)
            ctx.set(dut.issue.valid, 0)
            granted += valid

    sim: Any = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    assert granted == STORE_BEATS


def test_a_beat_waits_for_the_write_port() -> None:
    blocked = range(LAUNCH + 11, LAUNCH + 16)
    ran = run(
        NANO, [transfer(Load, NANO, 0, 1, 10)], filled(NANO, 4096), free=lambda t: t not in blocked
    )
    assert ran.count("dma_stall_port") == len(blocked)
    assert ran.given == [(LAUNCH + 1 + 8 + 9 + len(blocked), 2)]


def test_a_launch_waits_for_its_tokens_and_takes_them() -> None:
    load = Load(wait=0x0102, signal=4, beats=2)
    ran = run(NANO, [load], filled(NANO, 4096), positive=lambda t: 0x0103 if t >= 20 else 0x0100)
    assert ran.count("dma_stall_token") == 20 - LAUNCH
    assert ran.given == [(20 + 1 + 8 + 1, 4)]


@pytest.mark.parametrize("seed", [None, 3])
def test_a_failed_read_reports_its_burst_and_is_not_written(seed: int | None) -> None:
    memory = filled(NANO, 4096)
    bad = 64 * 4 + 40  # in the second burst
    ran = run(
        NANO,
        [transfer(Load, NANO, 0, 0, 128)],
        memory,
        seed=seed,
        faults=(range(bad, bad + 1),),
        cycles=1000,
    )
    assert [(c, a) for _, c, a in ran.faults] == [(Error.AXI_READ, 64 * 4)]
    assert (ran.memory.x[bad : bad + 4] == memory.x[bad : bad + 4]).all()


def test_a_failed_write_reports_its_burst() -> None:
    ran = run(
        NANO,
        [transfer(Store, NANO, 0, 0, 128)],
        filled(NANO, 4096),
        faults=(range(300, 301),),
    )
    assert [(c, a) for _, c, a in ran.faults] == [(Error.AXI_WRITE, 64 * 4)]


@pytest.mark.parametrize("kind", [Load, Store])
@pytest.mark.parametrize("at", [LAUNCH, LAUNCH + 1, LAUNCH + 2, LAUNCH + 9])
def test_an_address_that_was_offered_stays_until_the_bus_takes_it(
    kind: type[Transfer], at: int
) -> None:
    memory = filled(NANO, 4096)
    ran = run(
        NANO, [transfer(kind, NANO, 0, 0, 200)], memory, stop=lambda t: t >= at, awake_from=30
    )
    offered = at > LAUNCH + 1
    assert [b.cycle for b in ran.bus.bursts] == [30] * offered
    assert ran.quiet
    assert same(ran.memory, memory)


@given(
    st.sampled_from(["nano", "short bursts"]),
    st.sampled_from([Load, Store]),
    st.integers(0, 120),
    st.one_of(st.none(), st.integers(0, 99)),
    st.integers(1, 12),
)
def test_a_stop_ends_bursts_legally_and_writes_nothing_more(
    name: str, kind: type[Transfer], at: int, seed: int | None, latency: int
) -> None:
    arch = MACHINES[name]
    memory = filled(arch, 8192)
    ran = run(
        arch,
        [transfer(kind, arch, 3, 2, 200)],
        memory,
        cycles=2000,
        latency=latency,
        seed=seed,
        stop=lambda t: t >= at,
    )
    assert ran.quiet
    assert ran.idle
    if seed is None:
        assert all(b.cycle < at for b in ran.bus.bursts)
    done = expected(arch, [transfer(kind, arch, 3, 2, 200)], memory)
    for now, old, new in zip(*(contents(m) for m in (ran.memory, memory, done)), strict=True):
        assert np.logical_or(now == old, now == new).all()
