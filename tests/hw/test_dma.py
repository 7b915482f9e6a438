"""hw.load and hw.store against einchip.reference (what they move) and docs/timing.md (when)."""

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

from einchip import reference
from einchip.arch import (
    PRESETS,
    READ_BURSTS,
    READ_LATENCY,
    STORE_BEATS,
    WRITE_BURSTS,
    Architecture,
)
from einchip.hw.axi import AxiSignature
from einchip.hw.load import LoadUnit
from einchip.hw.store import StoreUnit
from einchip.program import TOKENS, Error, Halt, Load, Program, Store
from tests.hw.axi_memory import AxiMemory
from tests.hw.simulator import bench_of

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


class Both(wiring.Component):
    """Load and store unit at one memory port."""

    axi: Any

    def __init__(self, arch: Architecture) -> None:
        self.load, self.store = LoadUnit(arch), StoreUnit(arch)
        super().__init__({"axi": Out(AxiSignature(arch.port_bytes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.load, m.submodules.store = self.load, self.store
        units: tuple[Any, ...] = (self.load, self.store)
        for unit in units:
            for name, member in unit.axi.signature.members.items():
                ours, theirs = getattr(self.axi, name), getattr(unit.axi, name)
                m.d.comb += ours.eq(theirs) if member.flow == Out else theirs.eq(ours)
        return m

    def of(self, kind: type[Transfer]) -> LoadUnit | StoreUnit:
        return self.load if kind is Load else self.store


@dataclass
class Ran:
    """What a bench saw; tokens of the store unit come TOKENS bits higher."""

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
    """Scratchpads at the units' ports; `free(cycle)` says in which cycles the ports are."""

    dut: Both
    arch: Architecture
    memory: reference.Memory
    free: Callable[[int], bool]

    async def run(self, ctx: Any) -> None:
        reads = [self.dut.store.read_x, self.dut.store.read_y]
        writes = [self.dut.load.write_x, self.dut.load.write_y]
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

    A fault stops both units in the next cycle, as in the machine.
    """
    machine = bench_of(Both, arch)
    dut = machine.dut
    units: tuple[Any, ...] = (dut.load, dut.store)
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

    def issue(kind: type[Transfer]) -> Callable[[Any], Any]:
        async def bench(ctx: Any) -> None:
            port = dut.of(kind).issue
            for t in (t for t in transfers if isinstance(t, kind)):
                ctx.set(port.payload.raw.as_value(), int.from_bytes(t.encode(), "little"))
                ctx.set(port.payload.ext, t.ext_offset)
                ctx.set(port.payload.addr, t.addr)
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)

        return bench

    async def watch(ctx: Any) -> None:
        names = ("fault.code", "fault.address", "idle", "quiet", "tokens.give", "events")
        outputs = [operator.attrgetter(name)(u) for u in units for name in names]
        for cycle in range(cycles):
            for unit in units:
                ctx.set(unit.stop, stop(cycle) or bool(ran.faults))
                ctx.set(unit.tokens.positive, positive(cycle))
            _, _, *seen = await ctx.tick().sample(*outputs)
            events: dict[str, int] = {}
            for k, unit in enumerate(units):
                code, address, _, _, give, counted = seen[6 * k : 6 * k + 6]
                events |= {name: counted[name] for name, _ in unit.events.shape()}
                if give:
                    ran.given.append((cycle, give << TOKENS * k))
                if code:
                    ran.faults.append((cycle, code, address))
            ran.events.append(events)
            ran.idle, ran.quiet = bool(seen[2] and seen[8]), bool(seen[3] and seen[9])
            ended = len(ran.given) == len(transfers) or ctx.get(dut.load.stop)
            if ran.idle and ran.quiet and ended:
                break

    pads = Pads(dut, arch, memory, free)
    machine.run(watch, bus.run, pads.run, issue(Load), issue(Store))
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
@pytest.mark.parametrize("kinds", [(Load,), (Store,), (Load, Store)])
def test_transfers_leave_what_the_reference_leaves(
    name: str, seed: int | None, kinds: tuple[type[Transfer], ...]
) -> None:
    """Loads fill beats from 200 on of the scratchpads, stores read those below."""
    arch = MACHINES[name]
    page = 4096 // arch.port_bytes
    memory = filled(arch, 8 * 4096)
    transfers = [
        transfer(Load, arch, page - 3, 207, 11),
        transfer(Store, arch, 4 * page - 5, 9, 83),
        transfer(Load, arch, 5, 204, 1),
        transfer(Load, arch, page + 1, 220, 30),
        transfer(Store, arch, 5 * page + 1, 22, 64),
        transfer(Store, arch, 6 * page - 100, 5, 1),
        transfer(Store, arch, 6 * page - 90, 8, 1),
        transfer(Load, arch, 9, 251, 2),
        transfer(Store, arch, 6 * page, 30, 70),
    ]
    transfers = [t for t in transfers if isinstance(t, kinds)]
    rng = random.Random(seed)

    def free(cycle: int) -> bool:
        return seed is None or rng.random() < 0.6

    ran = run(arch, transfers, memory, seed=seed, free=free)
    assert len(ran.given) == len(transfers)
    assert same(ran.memory, expected(arch, transfers, memory))
    for kind, shift in ((Load, 0), (Store, TOKENS)):
        given = [g >> shift for _, g in ran.given if bool(g >> TOKENS) == (kind is Store)]
        assert given == [t.signal for t in transfers if isinstance(t, kind)]
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
    assert ran.count("load_transfer") == beats
    assert ran.count("load_stall_memory") == last[-1] - LAUNCH - beats
    assert ran.count("load_idle") == LAUNCH + 2  # up to the launch, and one after the end
    assert ran.count("store_idle") == len(ran.events)


@pytest.mark.parametrize("latency", [1, 8])
@pytest.mark.parametrize("beats", [1, 64, 70])
def test_store_takes_the_cycles_of_the_rules(latency: int, beats: int) -> None:
    ran = run(NANO, [transfer(Store, NANO, 0, 0, beats)], filled(NANO, 4096), latency=latency)
    check_store(ran, [beats], NANO, latency)


@pytest.mark.parametrize("name", ["nano", "short bursts", "single beats"])
@pytest.mark.parametrize("latency", [1, 8, 40])
def test_stores_follow_each_other_as_the_rules_say(name: str, latency: int) -> None:
    arch, lengths = MACHINES[name], [70, 1, 1, 1, 1, 1, 30, 2]
    stores = [transfer(Store, arch, 64 * k, k, n) for k, n in enumerate(lengths)]
    ran = run(arch, stores, filled(arch, 8192), latency=latency)
    check_store(ran, lengths, arch, latency)


def check_store(ran: Ran, lengths: list[int], arch: Architecture, latency: int) -> None:
    """Assert the cycles of stores that are handed over as fast as can be, each from a page."""
    sent: list[int] = []  # of each burst: address, last read, response
    read: list[int] = []
    answered: list[int] = []
    done: list[int] = []
    free = LAUNCH
    for beats in lengths:
        for length in splits(0, beats, arch):
            room = answered[-WRITE_BURSTS] + 1 if len(sent) >= WRITE_BURSTS else 0
            sent.append(max(free + 1, room))
            free = sent[-1]
            begin = max(sent[-1] + 1, read[-1] + 1 if read else 0)
            read.append(begin + length - 1)
            answered.append(read[-1] + READ_LATENCY + 1 + latency)
        done.append(answered[-1])
        free += 1  # the next launch
    assert [b.cycle for b in ran.bus.bursts] == sent
    assert [c for c, _ in ran.given] == done
    assert ran.count("store_transfer") == sum(lengths)
    assert ran.count("store_stall_port") == 0
    assert ran.count("store_stall_memory") == done[-1] - LAUNCH - sum(lengths)


def test_at_most_store_beats_are_between_port_and_bus() -> None:
    dut = StoreUnit(NANO)
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
    assert ran.count("load_stall_port") == len(blocked)
    assert ran.given == [(LAUNCH + 1 + 8 + 9 + len(blocked), 2)]


def test_a_store_waits_for_the_read_port() -> None:
    blocked = range(LAUNCH + 5, LAUNCH + 11)
    ran = run(
        NANO, [transfer(Store, NANO, 0, 0, 10)], filled(NANO, 4096), free=lambda t: t not in blocked
    )
    assert ran.count("store_stall_port") == len(blocked)
    assert [c for c, _ in ran.given] == [LAUNCH + 1 + 10 + len(blocked) + READ_LATENCY + 1 + 8]


@pytest.mark.parametrize("latency", [1, 8, 40])
def test_loads_follow_each_other_while_beats_are_to_come(latency: int) -> None:
    """Handed over as fast as can be, they launch every two cycles while READ_BURSTS are not out."""
    loads = [transfer(Load, NANO, 64 * k, k, 20) for k in range(READ_BURSTS)]
    ran = run(NANO, loads, filled(NANO, 4096), latency=latency)
    assert [b.cycle for b in ran.bus.bursts] == [LAUNCH + 1 + 2 * k for k in range(READ_BURSTS)]
    first = LAUNCH + 1 + latency
    assert [c for c, _ in ran.given] == [first + 20 * (k + 1) - 1 for k in range(READ_BURSTS)]
    assert ran.count("load_stall_memory") == latency


def test_a_launch_waits_for_its_tokens_and_takes_them() -> None:
    load = Load(wait=0x0102, signal=4, beats=2)
    ran = run(NANO, [load], filled(NANO, 4096), positive=lambda t: 0x0103 if t >= 20 else 0x0100)
    assert ran.count("load_stall_token") == 20 - LAUNCH
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


@pytest.mark.parametrize("seed", [None, 3, 4])
def test_a_failed_write_drops_the_bursts_behind_it(seed: int | None) -> None:
    """Three bursts are under way behind the one that fails; the read that runs is dropped too."""
    memory, arch = filled(NANO, 8192), MACHINES["short bursts"]
    transfers = [transfer(Store, arch, 0, 0, 80), transfer(Load, arch, 1024, 1001, 900)]
    ran = run(arch, transfers, memory, seed=seed, faults=(range(40, 41),), latency=30)
    assert [(c, a) for _, c, a in ran.faults] == [(Error.AXI_WRITE, 32)]
    assert ran.quiet
    assert ran.idle
    assert ran.given == []
    done = expected(arch, transfers, memory)
    for now, old, new in zip(*(contents(m) for m in (ran.memory, memory, done)), strict=True):
        assert np.logical_or(now == old, now == new).all()
    assert (contents(ran.memory)[2][64 * 4 :] == contents(memory)[2][64 * 4 :]).all()


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
