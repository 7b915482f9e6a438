"""hw.cell against numeric.lstm_cell, and its schedule against LSTM_LATENCY."""

from typing import Any

import numpy as np
import pytest
from amaranth import Module
from amaranth.sim import Simulator

from einchip import numeric
from einchip.arch import LSTM_LATENCY, READ_LATENCY
from einchip.hw.cell import LstmLane, LstmSchedule
from einchip.numeric import Ints


def reads_of(data_bits: int, vectors: Ints, gaps: list[int]) -> dict[int, tuple[str, int, int]]:
    """Return by cycle the read (name, plane, element) of vectors (i, f, g, cell, o)."""
    reads, t, gap = {}, 0, iter(gaps)
    for i, f, g, cell, o in vectors.tolist():
        planes = [
            ("plane", k, int(numeric.wrap(cell >> (k * data_bits), data_bits)))
            for k in range(16 // data_bits)
        ]
        for read in (("i", 0, i), ("f", 0, f), ("g", 0, g), *planes, ("o", 0, o)):
            t += next(gap)
            reads[t] = read
            t += 1
    return reads


def run(
    data_bits: int, reads: dict[int, tuple[str, int, int]], fracs: dict[str, int]
) -> list[tuple[int, int, int]]:
    """Return (cycle, write, value) of every ready write."""
    m = Module()
    planes = 16 // data_bits
    m.submodules.schedule = schedule = LstmSchedule(planes)
    m.submodules.lane = lane = LstmLane(data_bits)
    m.d.comb += lane.strobes.eq(schedule.strobes)
    ready: list[tuple[int, int, int]] = []

    async def bench(ctx: Any) -> None:
        for name, frac in fracs.items():
            ctx.set(getattr(lane, name), frac)
        for t in range(max(reads) + LSTM_LATENCY + planes + 1):
            name, plane, _ = reads.get(t, ("", 0, 0))
            granted = {k: k == name for k in "ifgo"} | {"plane": (name == "plane") << plane}
            ctx.set(schedule.granted, granted)
            ctx.set(lane.element, reads.get(t - READ_LATENCY, ("", 0, 0))[2])
            for k in range(planes + 1):
                if ctx.get(schedule.ready[k]):
                    cell = int(numeric.wrap(ctx.get(lane.cell) >> (k * data_bits), data_bits))
                    ready.append((t, k, cell if k < planes else ctx.get(lane.hidden)))
            await ctx.tick()

    sim: Any = Simulator(m)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return ready


@pytest.mark.parametrize("data_bits", [8, 16])
@pytest.mark.parametrize("stalls", ["never", "often"])
@pytest.mark.parametrize("seed", range(3))
def test_each_write_is_exact_and_ready_on_time(data_bits: int, stalls: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    planes = 16 // data_bits
    n = 60
    low, high = numeric.limits(data_bits)
    vectors = rng.integers(low, high, (n, 5), endpoint=True)
    vectors[:, 3] = rng.integers(-(1 << 15), 1 << 15, n)
    vectors[:4, :3] = [[low, low, low], [high, high, high], [high, high, low], [0, 0, 0]]
    vectors[:4, 3] = [-(1 << 15), (1 << 15) - 1, -(1 << 15), 0]
    gaps = rng.integers(0, 4, n * 6) if stalls == "often" else np.zeros(n * 6, dtype=int)
    fracs = {f"{name}_frac": int(rng.integers(16)) for name in ("gate", "cell", "hidden")}

    reads = reads_of(data_bits, vectors, gaps.tolist())
    new, hidden = numeric.lstm_cell(
        (vectors[:, 0], vectors[:, 1], vectors[:, 2], vectors[:, 4]),
        vectors[:, 3],
        data_bits=data_bits,
        **fracs,
    )
    last = [t for t, read in reads.items() if read[0] == "o"]
    expected = []
    for t, c, h in zip(last, new, hidden, strict=True):
        for k in range(planes):
            part = int(numeric.wrap(c >> (k * data_bits), data_bits))
            expected.append((t + LSTM_LATENCY + k, k, part))
        expected.append((t + LSTM_LATENCY + planes, planes, int(h)))
    assert run(data_bits, reads, fracs) == expected
