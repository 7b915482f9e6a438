"""hw.nest against Python's own loops."""

import itertools
import random
from typing import Any

import pytest
from amaranth.sim import Simulator

from einchip.hw.nest import Nest

LOOPS, OPERANDS = 3, 2


def run(
    jobs: list[tuple[list[int], list[list[int]], list[int]]], rng: random.Random
) -> list[list[tuple[int, ...]]]:
    """Step through each job of (count, stride, start); return its addresses and `last` flags."""
    dut = Nest(LOOPS, OPERANDS, 16, 24)
    found: list[list[tuple[int, ...]]] = []

    async def bench(ctx: Any) -> None:
        for count, stride, start in jobs:
            ctx.set(dut.count, count)
            ctx.set(dut.stride, stride)
            ctx.set(dut.start, start)
            ctx.set(dut.load, 1)
            await ctx.tick()
            ctx.set(dut.load, 0)
            ctx.set(dut.count, [0] * LOOPS)
            ctx.set(dut.stride, [[0] * LOOPS] * OPERANDS)
            steps: list[tuple[int, ...]] = []
            while not steps or steps[-1][-1] != (1 << LOOPS) - 1:
                steps.append((*(ctx.get(a) for a in dut.address), ctx.get(dut.last)))
                while rng.random() < 0.3:
                    await ctx.tick()
                ctx.set(dut.advance, 1)
                await ctx.tick()
                ctx.set(dut.advance, 0)
            found.append(steps)

    simulator: Any = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def loops(count: list[int], stride: list[list[int]], start: list[int]) -> list[tuple[int, ...]]:
    """The definition."""
    steps = []
    for reverse in itertools.product(*(range(c) for c in reversed(count))):
        index = reverse[::-1]
        addresses = [
            a + sum(i * s for i, s in zip(index, strides, strict=True))
            for a, strides in zip(start, stride, strict=True)
        ]
        last = sum((i == c - 1) << k for k, (i, c) in enumerate(zip(index, count, strict=True)))
        steps.append((*addresses, last))
    return steps


@pytest.mark.parametrize("seed", range(3))
def test_addresses_and_flags_are_those_of_nested_loops(seed: int) -> None:
    rng = random.Random(seed)
    jobs = [
        (
            [rng.randint(1, 4) for _ in range(LOOPS)],
            [[rng.randrange(1 << 20) for _ in range(LOOPS)] for _ in range(OPERANDS)],
            [rng.randrange(1 << 20) for _ in range(OPERANDS)],
        )
        for _ in range(12)
    ]
    for job, steps in zip(jobs, run(jobs, rng), strict=True):
        assert steps == loops(*job)


def test_a_load_during_the_last_advance_starts_the_next_nest() -> None:
    dut = Nest(1, 1, 16, 24)

    async def bench(ctx: Any) -> None:
        ctx.set(dut.count, [1])
        ctx.set(dut.start, [5])
        ctx.set(dut.load, 1)
        await ctx.tick()
        ctx.set(dut.advance, 1)
        ctx.set(dut.start, [9])
        await ctx.tick()
        assert (ctx.get(dut.address[0]), ctx.get(dut.last)) == (9, 1)
        ctx.set(dut.load, 0)
        await ctx.tick()
        assert (ctx.get(dut.address[0]), ctx.get(dut.last)) == (9, 1)

    simulator: Any = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
