"""Oracle: the lane numbering of CONTRACT, lane = (k*B + b) * block + m, by brute force."""

import random
from typing import Any

import pytest
from amaranth.sim import Simulator

from einchip.arch import PRESETS, Architecture, clog2
from einchip.hw.lanes import LaneOffsets

Table = list[tuple[int, bool]]


def walk(
    arch: Architecture,
    n_lanes: int,
    levels: tuple[int, ...],
    jobs: list[tuple[list[int], list[int], list[int]]],
) -> list[tuple[Table, int]]:
    """Run the walker on jobs of (count, stride, span); return each table and `n_enabled`."""
    dut = LaneOffsets(arch, n_lanes, levels)
    found = []

    async def bench(ctx: Any) -> None:
        for count, stride, span in jobs:
            for f, (c, s) in enumerate(zip(count, stride, strict=True)):
                ctx.set(dut.count[f], c)
                ctx.set(dut.stride[f], s)
            ctx.set(dut.active, 1)
            for lane in range(arch.lanes):
                ctx.set(dut.lane, lane)
                if lane == 1:
                    for g, s in enumerate(span):
                        ctx.set(dut.span[g], s)
                await ctx.tick()
            ctx.set(dut.active, 0)
            table = [(ctx.get(dut.offsets[p]), bool(ctx.get(dut.enable[p]))) for p in range(lanes)]
            found.append((table, ctx.get(dut.n_enabled)))
            await ctx.tick()

    lanes = arch.lanes
    simulator: Any = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


@pytest.mark.parametrize("name", ["nano", "small"])
def test_two_factors_lie_on_consecutive_lanes(name: str) -> None:
    arch = PRESETS[name]
    jobs = [
        ([a, b], [random.Random(a * 99 + b).randrange(1 << arch.stride_bits), 12345], [])
        for a in range(1, arch.lanes + 1)
        for b in range(1, arch.lanes // a + 1)
    ]
    for ((n0, n1), (s0, s1), _), (table, used) in zip(
        jobs, walk(arch, arch.lanes, (2,), jobs), strict=True
    ):
        expected = [(i0 * s0 + i1 * s1, True) for i1 in range(n1) for i0 in range(n0)]
        assert table == expected + [(0, False)] * (arch.lanes - n0 * n1)
        assert used == n0 * n1


def contract_folds(n_lanes: int) -> list[list[int]]:
    """Every (m0, m1, b, k0, k1) that fits."""
    r = range(1, n_lanes + 1)
    return [
        [m0, m1, b, k0, k1]
        for m0 in r
        for m1 in r
        for b in r
        for k0 in r
        for k1 in r
        if m0 * m1 << clog2(b) + clog2(k0 * k1) <= n_lanes
    ]


def contract_lanes(n_lanes: int, count: list[int], stride: list[int]) -> Table:
    """The specification: where each (k, b, m) lies."""
    m0, m1, b, k0, k1 = count
    B, K = 1 << clog2(b), 1 << clog2(k0 * k1)
    table: Table = [(0, False)] * n_lanes
    for k in range(k0 * k1):
        for i in range(b):
            for j in range(m0 * m1):
                index = (j % m0, j // m0, i, k % k0, k // k0)
                offset = sum(x * s for x, s in zip(index, stride, strict=True))
                table[(k * B + i) * (n_lanes // (K * B)) + j] = (offset, True)
    return table


@pytest.mark.parametrize(("lanes", "n_lanes"), [(4, 4), (8, 8), (8, 4)])
def test_all_folds_follow_the_block_numbering(lanes: int, n_lanes: int) -> None:
    arch = PRESETS["nano"].override(lanes=lanes)
    rng = random.Random(lanes + n_lanes)
    jobs = []
    for count in contract_folds(n_lanes):
        block = n_lanes >> clog2(count[2]) + clog2(count[3] * count[4])
        stride = [rng.randrange(1 << arch.stride_bits) for _ in count]
        jobs.append((count, stride, [block - 1, (block << clog2(count[2])) - 1]))
    results = walk(arch, n_lanes, (2, 1, 2), jobs)
    for (count, stride, _), (table, used) in zip(jobs, results, strict=True):
        assert table[:n_lanes] == contract_lanes(n_lanes, count, stride), count
        assert table[n_lanes:] == [(0, False)] * (lanes - n_lanes)
        assert used == sum(e for _, e in table)


def test_result_lanes_end_after_the_last_shared_block() -> None:
    arch = PRESETS["small"]
    # nn = 2, nb = 3 (B = 4), K = 1: blocks of 2 lanes; K = 2 would halve them
    jobs = [([2, 1, 3], [5, 0, 100], [1]), ([1, 1, 3], [5, 0, 100], [0])]
    first, second = walk(arch, 8, (2, 1), jobs)
    assert [a for a, e in first[0] if e] == [0, 5, 100, 105, 200, 205]
    assert second[0] == [(0, True), (100, True), (200, True)] + [(0, False)] * 5
