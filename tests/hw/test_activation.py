"""hw.activation against numeric.sigmoid and numeric.tanh, over all inputs."""

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from einchip import numeric
from einchip.arch import ACTIVATION_LATENCY
from einchip.hw.activation import Activation
from einchip.program import Act

ALL = np.arange(-(1 << 15), 1 << 15)


def stream(values: list[int], functions: list[int]) -> list[int]:
    """Return what comes out ACTIVATION_LATENCY cycles after each value, one value a cycle."""
    dut = Activation()
    results: list[int] = []

    async def bench(ctx: Any) -> None:
        for k in range(len(values) + ACTIVATION_LATENCY):
            if k < len(values):
                ctx.set(dut.value, values[k])
                ctx.set(dut.function, functions[k])
            if k >= ACTIVATION_LATENCY:
                results.append(ctx.get(dut.result))
            await ctx.tick()

    sim: Any = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return results


@pytest.mark.parametrize("function", [Act.SIGMOID, Act.TANH])
def test_all_inputs_equal_numeric(function: Act) -> None:
    expected = (numeric.tanh if function == Act.TANH else numeric.sigmoid)(ALL)
    assert stream(ALL.tolist(), [function] * len(ALL)) == expected.tolist()


def test_each_value_has_its_own_function() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(ALL[0], ALL[-1], 500, endpoint=True)
    functions = rng.choice([Act.SIGMOID, Act.TANH], 500)
    expected = np.where(functions == Act.TANH, numeric.tanh(values), numeric.sigmoid(values))
    assert stream(values.tolist(), functions.tolist()) == expected.tolist()
