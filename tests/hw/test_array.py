"""hw.array against NumPy's outer product."""

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from einchip import numeric
from einchip.arch import PRESETS, Architecture, clog2
from einchip.hw.array import ProcessingArray


def machine(rows: int, cols: int, data_bits: int, acc_bits: int = 0) -> Architecture:
    return PRESETS["nano"].override(
        rows=rows, cols=cols, lanes=8, data_bits=data_bits, acc_bits=acc_bits
    )


def selected_row(arch: Architecture, column: int, m: int, folds: int) -> int:
    """Return row m of the block that the column belongs to, of 2**folds blocks."""
    block = column >> (clog2(arch.cols) - folds)
    return block * (arch.rows >> folds) + m


@pytest.mark.parametrize(
    "arch",
    [machine(4, 4, 8), machine(4, 8, 16), machine(8, 4, 8), machine(4, 4, 8, acc_bits=17)],
    ids=lambda a: f"{a.rows}x{a.cols}-{a.data_bits}-{a.acc_bits}",
)
def test_sums_of_outer_products_by_set_and_block(arch: Architecture) -> None:
    dut = ProcessingArray(arch)
    rng = np.random.default_rng(0)
    low, high = numeric.limits(arch.data_bits)
    state = np.zeros((2, arch.rows, arch.cols), dtype=np.int64)
    history = [state.copy()]
    known = np.zeros(2, dtype=bool)
    cycles = 300

    async def bench(ctx: Any) -> None:
        expected: list[int] | None = None
        for t in range(cycles):
            x, y = rng.integers(low, high + 1, arch.rows), rng.integers(low, high + 1, arch.cols)
            if t % 50 == 0:
                x[:], y[:] = low, low
            valid, target = int(rng.integers(0, 4) > 0), int(rng.integers(0, 2))
            first = int(not known[target] or rng.integers(0, 4) == 0)
            ctx.set(dut.x, [int(v) for v in x])
            ctx.set(dut.y, [int(v) for v in y])
            ctx.set(dut.valid, valid)
            ctx.set(dut.target, target)
            ctx.set(dut.first, first)
            # selection shows the accumulators as of two cycles ago
            folds = int(rng.integers(0, min(clog2(arch.rows), clog2(arch.cols)) + 1))
            m, read = int(rng.integers(0, arch.rows >> folds)), int(rng.integers(0, 2))
            ctx.set(dut.row_0, m)
            ctx.set(dut.row_1, m | (arch.rows - (arch.rows >> folds)))
            ctx.set(dut.read, read)
            if expected is not None:
                assert [ctx.get(c) for c in dut.column] == expected, t
            visible = history[max(0, t - 1)][read]
            expected = (
                [int(visible[selected_row(arch, c, m, folds), c]) for c in range(arch.cols)]
                if known.all() and t > 20
                else None
            )
            if valid:
                old = 0 if first else state[target]
                state[target] = numeric.wrap(old + np.outer(x, y), arch.acc_bits)
                known[target] = True
            history.append(state.copy())
            await ctx.tick()

    simulator: Any = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
