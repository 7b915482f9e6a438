"""hw.nest against Python's own loops."""

import itertools
import random
from dataclasses import dataclass
from typing import Any

import pytest
from amaranth.sim import Simulator

from einchip.hw.nest import Nest

OPERANDS = 2


@dataclass(frozen=True)
class Job:
    """A nest; `still` has a bit for each loop."""

    count: list[int]
    stride: list[list[int]]
    start: list[int]
    still: list[int]


def run(jobs: list[Job], rng: random.Random) -> list[list[tuple[int, ...]]]:
    """Step through each job; return its addresses and `last` flags."""
    n_loops = len(jobs[0].count)
    dut = Nest(n_loops, OPERANDS, 16, 24)
    found: list[list[tuple[int, ...]]] = []

    async def bench(ctx: Any) -> None:
        for job in jobs:
            ctx.set(dut.count, job.count)
            ctx.set(dut.stride, job.stride)
            ctx.set(dut.start, job.start)
            ctx.set(dut.load, 1)
            await ctx.tick()
            ctx.set(dut.load, 0)
            ctx.set(dut.still, job.still)
            ctx.set(dut.count, [0] * n_loops)
            ctx.set(dut.stride, [[0] * n_loops] * OPERANDS)
            steps: list[tuple[int, ...]] = []
            while not steps or steps[-1][-1] != (1 << n_loops) - 1:
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


def loops(job: Job) -> list[tuple[int, ...]]:
    """The definition."""
    steps = []
    for reverse in itertools.product(*(range(c) for c in reversed(job.count))):
        index = reverse[::-1]
        addresses = [
            a
            + sum(
                i * s for k, (i, s) in enumerate(zip(index, strides, strict=True)) if moves >> k & 1
            )
            for a, strides, moves in zip(
                job.start, job.stride, (~s for s in job.still), strict=True
            )
        ]
        last = sum((i == c - 1) << k for k, (i, c) in enumerate(zip(index, job.count, strict=True)))
        steps.append((*addresses, last))
    return steps


@pytest.mark.parametrize("n_loops", range(1, 8))
def test_addresses_and_flags_are_those_of_nested_loops(n_loops: int) -> None:
    rng = random.Random(n_loops)
    jobs = [
        Job(
            [rng.choice((1, 2, 2, 3, 4)) for _ in range(n_loops)],
            [[rng.randrange(1 << 20) for _ in range(n_loops)] for _ in range(OPERANDS)],
            [rng.randrange(1 << 20) for _ in range(OPERANDS)],
            [rng.getrandbits(n_loops) & rng.getrandbits(n_loops) for _ in range(OPERANDS)],
        )
        for _ in range(12)
    ]
    for job, steps in zip(jobs, run(jobs, rng), strict=True):
        assert steps == loops(job)


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
