"""hw.array_unit between two scratchpads, against reference.run_contract and docs/timing.md."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from einchip.arch import PRESETS, Architecture
from einchip.hw.tile_queue import HISTORY
from einchip.program import Contract
from einchip.reference import Memory, run_contract
from tests.hw.array_bench import (
    NO_REGISTERS,
    Cycle,
    Machine,
    Rules,
    Run,
    Schedule,
    Shape,
    contract,
    load,
    memory,
    offer,
    run,
    sample,
    shape,
)


def machine(rows: int, cols: int, lanes: int, data_bits: int = 8, **fields: Any) -> Architecture:
    return PRESETS["nano"].override(
        rows=rows, cols=cols, lanes=lanes, data_bits=data_bits, x_depth=128, y_depth=256, **fields
    )


SQUARE_4 = machine(4, 4, 4)
SQUARE_8 = machine(8, 8, 8)
MACHINES = [
    SQUARE_4,
    SQUARE_8,
    machine(4, 4, 4, data_bits=16),
    machine(8, 8, 8, data_bits=16),
    machine(4, 8, 8, y_window=64),
    machine(8, 4, 8, x_window=64, y_window=128),
    machine(4, 4, 8),
]
OUTER_4 = machine(4, 4, 4, fold="op")
FLEX_4 = machine(4, 4, 4, fold="flex")
INNER_4 = machine(4, 4, 4, fold="ip")
FOLDS = [
    OUTER_4,
    machine(8, 4, 8, fold="op"),
    FLEX_4,
    machine(4, 8, 8, fold="flex", accumulators=8, data_bits=16),
    machine(8, 4, 8, fold="flex", accumulators=4),
    machine(4, 4, 8, fold="flex", accumulators=2),
    INNER_4,
    machine(8, 4, 8, fold="ip", accumulators=4),
    machine(4, 8, 8, fold="ip", accumulators=2, data_bits=16),
]


def name(arch: Architecture) -> str:
    return f"{arch.fold}-{arch.rows}x{arch.cols}x{arch.lanes}-{arch.data_bits}-{arch.accumulators}"


def never(t: int) -> int:
    return 0


def always(t: int) -> int:
    return 0xFFFF


def random_schedule(rng: np.random.Generator, values: list[int]) -> Schedule:
    """Return a schedule that draws one of `values` in each cycle."""
    table = rng.choice(values, 997)
    return lambda t: int(table[t % len(table)])


def expected_memory(arch: Architecture, contracts: list[Contract], before: Memory) -> Memory:
    after = before.copy()
    for i in contracts:
        run_contract(i, NO_REGISTERS, arch, after)
    return after


def check(
    arch: Architecture,
    contracts: list[Contract],
    before: Memory,
    positive: Schedule = always,
    vector: Schedule = never,
    pause: Schedule = never,
) -> Run:
    """Run CONTRACTs; memory must be the reference's, every cycle the rules'."""
    got = run(arch, contracts, before, positive, vector, pause)
    rules = Rules(arch, contracts, positive, vector, pause).run()
    for t, (ours, theirs) in enumerate(zip(got.cycles, rules, strict=False)):
        assert ours == theirs, f"cycle {t}"
    assert len(got.cycles) == len(rules)
    after = expected_memory(arch, contracts, before)
    np.testing.assert_array_equal(got.memory.x, after.x)
    np.testing.assert_array_equal(got.memory.y, after.y)
    return got


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("arch", MACHINES + FOLDS, ids=name)
def test_random_contracts_back_to_back(arch: Architecture, seed: int) -> None:
    rng = np.random.default_rng(seed)
    contracts = [contract(rng, arch) for _ in range(8)]
    got = check(arch, contracts, memory(arch, rng))
    assert sum(c.macs for c in got.cycles) == sum(i.macs for i in contracts)


@pytest.mark.parametrize("arch", [*MACHINES[:2], *FOLDS], ids=name)
def test_random_contracts_with_vector_reads_missing_tokens_and_late_issue(
    arch: Architecture,
) -> None:
    rng = np.random.default_rng(100)
    contracts = [contract(rng, arch, wait=int(rng.integers(0, 16))) for _ in range(8)]
    check(
        arch,
        contracts,
        memory(arch, rng),
        positive=random_schedule(rng, [0, 7, 13, 15, 15, 15]),
        vector=random_schedule(rng, [0, 0, 0, 1, 2, 3]),
        pause=random_schedule(rng, [0, 1, 1, 1]),
    )


@pytest.mark.parametrize("arch", [SQUARE_4, SQUARE_8, FLEX_4], ids=name)
def test_every_fold(arch: Architecture) -> None:
    rng = np.random.default_rng(7)
    log = arch.rows.bit_length()
    folds = [(k, b) for k in range(log) for b in range(log - k)]
    small = [
        replace(s, loops=(2, 1, 3, 1, 1, 1), n_reduce=1)
        for s in (shape(rng, arch, fold) for fold in folds)
    ]
    check(arch, [contract(rng, arch, s) for s in small], memory(arch, rng))


def one_row(rng: np.random.Generator, arch: Architecture, **fixed: Any) -> Contract:
    """Return a CONTRACT of one iteration and one row: the shortest there is."""
    nn = 1 if arch.fold == "ip" else int(rng.integers(1, arch.cols + 1))
    return contract(rng, arch, Shape((1, 1), (nn, 1), (1, 1), 1, (1,) * 6, 0), **fixed)


def long_and_short(rng: np.random.Generator, arch: Architecture, n: int) -> list[Contract]:
    """Return CONTRACTs of one row, and some that drain longer than they compute."""
    long = Shape((2, 2), (1, 1), (1, 1), 1, (1, 3, 1, 1, 1, 1), 1)
    if arch.fold == "ip":
        long = Shape((1, 1), (1, 1), (2, 2), 1, (arch.tile_accumulators, 1, 3, 1, 1, 1), 1, 2, 1)
    return [
        contract(rng, arch, long) if rng.random() < 0.3 else one_row(rng, arch) for _ in range(n)
    ]


@pytest.mark.parametrize("arch", [SQUARE_4, OUTER_4, FLEX_4, INNER_4], ids=name)
def test_short_contracts_queue_behind_long_drains(arch: Architecture) -> None:
    rng = np.random.default_rng(1)
    check(arch, long_and_short(rng, arch, 30), memory(arch, rng))


@pytest.mark.parametrize("n_m", [1, 3, 4])
@pytest.mark.parametrize("iterations", [1, 2, 4, 5])
def test_one_contract_takes_the_documented_cycles(n_m: int, iterations: int) -> None:
    arch, tiles = SQUARE_4, 6
    rng = np.random.default_rng(1)
    form = Shape((1, n_m), (2, 2), (1, 1), 1, (iterations, 2, 3, 1, 1, 1), 1)
    got = check(arch, [contract(rng, arch, form, has_addend=0)], memory(arch, rng)).cycles
    launch = [c.activity for c in got].index("issue") - 1
    last_write = max(t for t, c in enumerate(got) if c.writes)
    if iterations >= n_m:
        cycles = tiles * iterations + arch.accumulate_latency + n_m - 1 + arch.drain_latency
        assert last_write - launch == cycles
    else:
        assert sum(c.activity == "stall_drain" for c in got) > 0


@pytest.mark.parametrize("arch", [FLEX_4, INNER_4], ids=name)
@pytest.mark.parametrize(("passing", "nh"), [((2, 2), 1), ((1, 1), 3), ((1, 2), 4), ((4, 2), 2)])
def test_one_contract_that_holds_takes_the_documented_slots(
    arch: Architecture, passing: tuple[int, int], nh: int
) -> None:
    rng = np.random.default_rng(2)
    form = Shape((1, 1), (1, 1), (1, 1), 1, (*passing, 5, 3, 1, 1), 1, nh, 2)
    contracts = [contract(rng, arch, form, has_addend=0) for _ in range(2)]
    activity = [c.activity for c in check(arch, contracts, memory(arch, rng)).cycles]
    q, n = passing[0] * passing[1], 5 * 3
    slots = 2 * (nh + (n - 1) * max(q, nh) + q)
    start = activity.index("issue")
    assert activity[start : start + slots + 1] == ["issue"] * slots + ["idle"]


def test_independent_contracts_follow_without_a_bubble() -> None:
    arch = SQUARE_8
    rng = np.random.default_rng(5)
    form = Shape((2, 2), (2, 2), (2, 1), 1, (8, 4, 1, 1, 1, 1), 1)
    contracts = [contract(rng, arch, form, has_addend=0) for _ in range(3)]
    activity = [c.activity for c in check(arch, contracts, memory(arch, rng)).cycles]
    start = activity.index("issue")
    assert activity[start : start + 96] == ["issue"] * 96


def test_tokens_are_given_with_the_last_write() -> None:
    arch = SQUARE_4
    rng = np.random.default_rng(9)
    contracts = [one_row(rng, arch, signal=0x8001), one_row(rng, arch, signal=0x0002)]
    got = check(arch, contracts, memory(arch, rng)).cycles
    assert [c.give for c in got if c.give] == [0x8001, 0x0002]
    assert [c.writes != 0 for c in got] == [c.give != 0 for c in got]
    assert [c.idle for c in got][-2:] == [False, True]


def test_a_stop_drops_everything_and_the_next_run_is_as_after_reset() -> None:
    arch = SQUARE_4
    rng = np.random.default_rng(11)
    contracts = [contract(rng, arch) for _ in range(3)]
    before = memory(arch, rng)
    dut = Machine(arch)
    runs: list[list[Cycle]] = []

    async def bench(ctx: Any) -> None:
        load(ctx, dut, before)
        ctx.set(dut.unit.tokens.positive, 0xFFFF)
        for stop_at in (25, 43, 60, 10_000):
            waiting, cycles = list(contracts), []
            while len(cycles) < stop_at and (waiting or not cycles[-1].idle):
                offered = waiting[0] if waiting else None
                offer(ctx, dut, offered)
                cycles.append(sample(ctx, dut))
                if offered and ctx.get(dut.unit.issue.ready):
                    waiting.pop(0)
                await ctx.tick()
            runs.append(cycles)
            offer(ctx, dut, None)
            ctx.set(dut.unit.stop, 1)
            stopped = sample(ctx, dut)
            assert stopped.writes == stopped.give == stopped.take == stopped.reads == 0
            await ctx.tick()
            assert sample(ctx, dut).idle
            ctx.set(dut.unit.stop, 0)
            await ctx.tick().repeat(arch.drain_latency)
            quiet = sample(ctx, dut)
            assert (quiet.activity, quiet.writes, quiet.idle) == ("idle", 0, True)

    simulator: Any = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    rules = Rules(arch, contracts, always, never, never).run()
    for cycles in runs:
        assert cycles == rules[: len(cycles)]
    assert len(runs[-1]) == len(rules)


@pytest.mark.parametrize("arch", [SQUARE_4, machine(4, 4, 8), OUTER_4, FLEX_4, INNER_4], ids=name)
def test_fewer_instructions_are_in_flight_than_constants_are_kept(arch: Architecture) -> None:
    rng = np.random.default_rng(13)
    most = 0
    for _ in range(40):
        contracts = long_and_short(rng, arch, 40)
        tagged = [replace(i, wait=1, signal=2) for i in contracts]
        in_flight = 0
        vector = random_schedule(rng, [0, 0, 0, 3])
        for c in Rules(arch, tagged, always, vector, never).run():
            most = max(most, in_flight)
            in_flight += (c.take != 0) - (c.give != 0)
    assert 4 <= most <= 7 < HISTORY
