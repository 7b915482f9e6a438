"""The drain's parts, hw.tile_queue and hw.finish; the whole is tested with the array unit.

Oracles: the recurrence e(j) = max(l(j) + A, f(j - 1)) of docs/timing.md; reference.finish.
"""

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from einchip import numeric
from einchip.arch import (
    ACTIVATION_LATENCY,
    PRESETS,
    REQUANTISE_LATENCY,
)
from einchip.hw.finish import Finish
from einchip.hw.tile_queue import TileQueue
from einchip.program import Act, Contract
from einchip.reference import finish

FOLDS = ("ip", "op", "hybrid", "flex")


@pytest.mark.parametrize("seed", range(len(FOLDS)))
def test_tiles_leave_the_queue_when_their_sums_are_ready_and_the_drain_is_free(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arch = PRESETS["nano"].override(fold=FOLDS[seed])
    latency = arch.accumulate_latency
    ends, rows, pushed = [-99, -99], [0, 0], []  # f(j), n_m(j); l(j)
    t = 0
    while len(pushed) < 60:
        t += int(rng.choice([1, 1, 1, 2, 3, 9]))
        t = max(t, ends[-2] - latency)
        pushed.append(t)
        rows.append(int(rng.choice([1, 1, 2, 4, 8])))
        ends.append(max(t + latency, ends[-1]) + rows[-1])
    starts = [f - n for f, n in zip(ends[2:], rows[2:], strict=True)]
    dut = TileQueue(arch)
    popped: list[int] = []

    async def bench(ctx: Any) -> None:
        left = 0  # rows of the tile under way, this cycle's included
        for t in range(ends[-1] + 5):
            ctx.set(dut.push, t in pushed)
            ctx.set(dut.tile.z, pushed.index(t) if t in pushed else 0)
            ctx.set(dut.tile.index, pushed.index(t) % 8 if t in pushed else 0)
            pop = ctx.get(dut.valid) and left <= 1
            ctx.set(dut.pop, pop)
            left = max(0, left - 1)
            if pop:
                assert ctx.get(dut.head.z) == len(popped)
                left = rows[2 + len(popped)]
                popped.append(t + 1)
            following = ctx.get(dut.following)
            await ctx.tick()
            assert ctx.get(dut.head.index) == following

    simulator: Any = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert popped == starts


@pytest.mark.parametrize("data_bits", [8, 16])
def test_finish_is_the_references(data_bits: int) -> None:
    arch = PRESETS["nano"].override(data_bits=data_bits)
    rng = np.random.default_rng(data_bits)
    n = 400
    low, high = numeric.limits(arch.acc_bits)
    values = rng.integers(low, high + 1, n) >> rng.integers(0, arch.acc_bits, n)
    values[:2] = low, high
    cases = [
        Contract(shift=int(s), act=int(a), act_shift=int(b))
        for s, a, b in zip(
            rng.integers(0, 64, n) >> rng.integers(0, 3, n),
            rng.integers(0, len(Act), n),
            rng.integers(0, 16, n),
            strict=True,
        )
    ]
    idle = Contract()
    dut = Finish(arch)
    second, third = REQUANTISE_LATENCY, REQUANTISE_LATENCY + ACTIVATION_LATENCY
    latency = third + REQUANTISE_LATENCY
    results: list[int] = []

    async def bench(ctx: Any) -> None:
        def at(k: int) -> Contract:
            return cases[k] if 0 <= k < n else idle

        for t in range(n + latency):
            ctx.set(dut.value, int(values[t]) if t < n else 0)
            ctx.set(dut.shift, at(t).shift)
            ctx.set(dut.function, at(t - second).act)
            ctx.set(dut.act, at(t - third).act)
            ctx.set(dut.act_shift, at(t - third).act_shift)
            if t >= latency:
                results.append(ctx.get(dut.result))
            await ctx.tick()

    simulator: Any = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert results == [int(finish(i, v, None, arch)) for i, v in zip(cases, values, strict=True)]
