"""hw.array and hw.inner_array against NumPy's products, whatever is held, spread and selected."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from amaranth.sim import Simulator

from einchip import numeric
from einchip.arch import PRESETS, Architecture, clog2
from einchip.hw.array import ProcessingArray
from einchip.hw.inner_array import InnerArray

Ints = npt.NDArray[np.int64]


def machine(rows: int, cols: int, data_bits: int, **fields: Any) -> Architecture:
    return PRESETS["nano"].override(rows=rows, cols=cols, lanes=8, data_bits=data_bits, **fields)


MACHINES = [
    machine(4, 4, 8),
    machine(4, 8, 16),
    machine(8, 4, 8),
    machine(4, 4, 8, acc_bits=17),
    machine(4, 8, 8, fold="op"),
    machine(4, 8, 8, fold="flex"),
    machine(8, 4, 16, fold="flex", accumulators=4, acc_bits=33),
    machine(4, 4, 8, fold="flex", accumulators=2),
    machine(8, 4, 8, fold="ip"),
    machine(4, 8, 16, fold="ip", accumulators=2, acc_bits=33),
]


@dataclass
class Model:
    """Operands that elements hold, and sums: (accumulator, row, column), one row with fold `ip`."""

    arch: Architecture
    sums: Ints = field(init=False)
    shadow: Ints = field(init=False)
    held: Ints = field(init=False)

    def __post_init__(self) -> None:
        self.shadow = self.held = np.zeros((self.arch.rows, self.arch.cols), dtype=np.int64)
        n_rows = 1 if self.arch.fold == "ip" else self.arch.rows
        self.sums = np.zeros((self.arch.accumulators, n_rows, self.arch.cols), dtype=np.int64)

    def step(self, x: Ints, y: Ints, work: dict[str, int]) -> None:
        columns = np.arange(self.arch.cols)
        arrived = np.broadcast_to(x[:, None], self.shadow.shape)
        if not self.arch.holds:
            self.held = arrived
        elif work["take"]:
            direct = columns == 0 if self.arch.fold == "ip" else columns >= 0
            self.held = np.where(direct & work["direct"], arrived, self.shadow)
        if self.arch.holds:
            self.shadow = np.where(work["shadow"] >> columns & 1, arrived, self.shadow)
        if self.arch.fold == "ip":
            products = (self.held * y[:, None]).sum(axis=0, keepdims=True)
        else:
            products = self.held * y[columns >> work.get("spread", 0)]
        if work["valid"]:
            total = products + (0 if work["first"] else self.sums[work["address"]])
            self.sums = self.sums.copy()
            self.sums[work["address"]] = numeric.wrap(total, self.arch.acc_bits)


def draw_work(rng: np.random.Generator, arch: Architecture, known: set[int]) -> dict[str, int]:
    """Draw what to do; accumulators that are not known are written first."""
    address, valid = int(rng.integers(0, arch.accumulators)), int(rng.integers(0, 4) > 0)
    first = int(address not in known or rng.integers(0, 4) == 0)
    known |= {address} if valid else set()
    work = {"valid": valid, "first": first, "address": address}
    if arch.holds:
        masks = [0, (1 << arch.cols) - 1, int(rng.integers(0, 1 << arch.cols))]
        work |= {"shadow": int(rng.choice(masks)), "direct": int(rng.integers(0, 2))}
        work["take"] = int(rng.integers(0, 2))
    if arch.fold == "flex":
        work["spread"] = int(rng.integers(0, clog2(arch.cols) + 1))
    return work


def draw_selection(
    rng: np.random.Generator, arch: Architecture
) -> tuple[dict[str, int], list[int]]:
    """Draw an accumulator and row m of each block; return also the row that each column selects."""
    selection, rows = {"address": int(rng.integers(0, arch.accumulators))}, [0] * arch.cols
    if arch.fold == "ip":
        return selection, rows
    most = min(clog2(arch.rows), clog2(arch.cols)) if arch.blocks else 0
    folds = int(rng.integers(0, most + 1))  # of 2**folds blocks
    m = int(rng.integers(0, arch.rows >> folds))
    selection["row_0"] = m
    if arch.blocks:
        selection["row_1"] = m | (arch.rows - (arch.rows >> folds))
    blocks = [c >> (clog2(arch.cols) - folds) for c in range(arch.cols)]
    return selection, [block * (arch.rows >> folds) + m for block in blocks]


@pytest.mark.parametrize(
    "arch", MACHINES, ids=lambda a: f"{a.fold}-{a.rows}x{a.cols}-{a.data_bits}-{a.acc_bits}"
)
def test_sums_of_products_by_accumulator_and_block(arch: Architecture) -> None:
    dut = InnerArray(arch) if arch.fold == "ip" else ProcessingArray(arch)
    rng = np.random.default_rng(0)
    low, high = numeric.limits(arch.data_bits)
    model, known = Model(arch), set[int]()
    history = [model.sums]

    async def bench(ctx: Any) -> None:
        expected: list[int] | None = None
        for t in range(400):
            x, y = (rng.integers(low, high + 1, len(v)) for v in (dut.x, dut.y))
            if t % 50 == 0:
                x[:], y[:] = low, low
            selection, rows = draw_selection(rng, arch)
            # selection shows the accumulators as of `depth` cycles ago
            visible = history[max(0, t + 1 - dut.depth)][selection["address"]]
            everything = len(known) == arch.accumulators and t > 200
            work = draw_work(rng, arch, known)
            ctx.set(dut.x, [int(v) for v in x])
            ctx.set(dut.y, [int(v) for v in y])
            ctx.set(dut.work, work)
            ctx.set(dut.select, selection)
            if expected is not None:
                assert [ctx.get(c) for c in dut.column] == expected, t
            expected = [int(visible[r, c]) for c, r in enumerate(rows)] if everything else None
            model.step(x, y, work)
            history.append(model.sums)
            await ctx.tick()
        assert expected is not None

    simulator: Any = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
