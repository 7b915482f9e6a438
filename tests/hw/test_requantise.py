"""hw.requantise against numeric.requantise."""

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from einchip import numeric
from einchip.arch import REQUANTISE_LATENCY
from einchip.hw.requantise import Requantise


def stream(
    in_bits: int, out_bits: int, shift_bits: int, values: list[int], shifts: list[int]
) -> list[int]:
    """Return what comes out REQUANTISE_LATENCY cycles after each value, one value a cycle."""
    dut = Requantise(in_bits, out_bits, shift_bits)
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
    ("in_bits", "out_bits", "shift_bits"),
    [(32, 8, 6), (32, 16, 6), (48, 16, 6), (62, 8, 6), (17, 8, 5), (20, 16, 4), (16, 16, 4)],
)
def test_every_cycle_equals_numeric(in_bits: int, out_bits: int, shift_bits: int) -> None:
    rng = np.random.default_rng(in_bits + out_bits)
    low, high = numeric.limits(in_bits)
    pairs = [(v, s) for s in range(1 << shift_bits) for v in corners(in_bits, s)]
    drawn = rng.integers(low, high, 500, endpoint=True) >> rng.integers(0, in_bits, 500)
    pairs += [(int(v), int(rng.integers(1 << shift_bits))) for v in drawn]
    values, shifts = (list(column) for column in zip(*pairs, strict=True))
    expected = numeric.requantise(values, shifts, out_bits)
    assert stream(in_bits, out_bits, shift_bits, values, shifts) == expected.tolist()
