"""hw.requantise against numeric.requantise."""

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from einchip import numeric
from einchip.arch import REQUANTISE_LATENCY
from einchip.hw.requantise import Requantise


def stream(dut: Requantise, values: list[int], shifts: list[int]) -> list[int]:
    """Return what comes out REQUANTISE_LATENCY cycles after each value, one value a cycle."""
    results: list[int] = []

    async def bench(ctx: Any) -> None:
        for k in range(len(values) + REQUANTISE_LATENCY):
            if k < len(values):
                ctx.set(dut.value, values[k])
                ctx.set(dut.shift, shifts[k])
            if k >= REQUANTISE_LATENCY:
                results.append(ctx.get(dut.result))
            await ctx.tick()

    sim: Any = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return results


def corners(in_bits: int, shift: int) -> list[int]:
    """Return the values at which rounding or saturation could go wrong."""
    low, high = numeric.limits(in_bits)
    unit = 1 << shift
    near = {low, high, 0, -1, 1}
    for k in (-130, -129, -128, -127, -3, -2, -1, 0, 1, 2, 3, 126, 127, 128):
        near |= {k * unit + unit // 2 + d for d in (-1, 0, 1)}
    return sorted(v for v in near if low <= v <= high)


@pytest.mark.parametrize(
    ("in_bits", "out_bits", "shift_bits", "dropped"),
    [
        (32, 8, 6, 0),
        (32, 16, 6, 0),
        (48, 16, 6, 0),
        (62, 8, 6, 0),
        (17, 8, 5, 0),
        (20, 16, 4, 0),
        (16, 16, 4, 0),
        (47, 16, 4, 15),
        (12, 8, 3, 7),
    ],
)
def test_every_cycle_equals_numeric(
    in_bits: int, out_bits: int, shift_bits: int, dropped: int
) -> None:
    rng = np.random.default_rng(in_bits + out_bits)
    low, high = numeric.limits(in_bits)
    shifts = range(1 << shift_bits)
    pairs = [(v, s) for s in shifts for v in corners(in_bits, dropped + s)]
    drawn = rng.integers(low, high, 500, endpoint=True) >> rng.integers(0, in_bits, 500)
    pairs += [(int(v), int(rng.integers(1 << shift_bits))) for v in drawn]
    values, by = (list(column) for column in zip(*pairs, strict=True))
    expected = numeric.requantise(values, np.add(by, dropped), out_bits)
    dut = Requantise(in_bits, out_bits, shift_bits, dropped)
    assert stream(dut, values, by) == expected.tolist()
