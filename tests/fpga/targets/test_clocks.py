"""fpga.targets.families: dividers, by recomputing the frequency; the reset that holds."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from amaranth import ClockDomain, Module, ResetSignal, Signal, Value
from amaranth.sim import Simulator

from einchip.fpga.targets.families import ecp5, gowin, ice40
from einchip.fpga.targets.families.clock import RESET_SECONDS, Clock, check_direct

MHZ = 1e6
INPUTS = pytest.mark.parametrize("input_mhz", [12, 25, 27, 48, 100])
OUTPUTS = pytest.mark.parametrize("output_mhz", [12.5, 18, 20.25, 24, 37.5, 50, 62.5, 100, 133])


class Found(NamedTuple):
    """What dividers give, in Hz: detector, oscillator, output."""

    detector: float
    vco: float
    output: float


def given(family: ModuleType, input_hz: float, output_hz: float) -> Found:
    """Return what a family's dividers give. Raises ValueError where there are none."""
    if family is ice40:
        d = ice40.ice40_dividers(input_hz, output_hz)
        vco = input_hz * d.feedback / d.reference
        assert 1 <= d.reference <= 16
        assert 1 <= d.feedback <= 128
        assert 1 <= d.power <= 6
        return Found(input_hz / d.reference, vco, vco / 2**d.power)
    dividers = ecp5.ecp5_dividers if family is ecp5 else gowin.gowin_dividers
    e: Any = dividers(input_hz, output_hz)
    assert 1 <= min(e.reference, e.feedback) <= max(e.reference, e.feedback) <= family.MAX_DIVIDER
    if family is gowin:
        assert e.output in gowin.OUTPUT_DIVIDERS
    else:
        assert 1 <= e.output <= ecp5.MAX_DIVIDER
    output = input_hz * e.feedback / e.reference
    return Found(input_hz / e.reference, output * e.output, output)


def possible(family: ModuleType, input_hz: float, output_hz: float) -> bool:
    """Return whether any dividers give a frequency within the limits, by brute force."""
    powers = [2**k for k in range(1, 7)]
    ranges: dict[ModuleType, tuple[int, int, list[int]]] = {
        ecp5: (128, 128, list(range(1, 129))),
        gowin: (64, 64, list(gowin.OUTPUT_DIVIDERS)),
        ice40: (16, 128, powers),
    }
    references, feedbacks, outputs = ranges[family]
    for a in range(1, references + 1):
        if not family.DETECTOR_HZ[0] <= input_hz / a <= family.DETECTOR_HZ[1]:
            continue
        for b in range(1, feedbacks + 1):
            for c in outputs:
                product = input_hz / a * b
                found, vco = (product / c, product) if family is ice40 else (product, product * c)
                if math.isclose(found, output_hz, rel_tol=1e-6) and (
                    family.VCO_HZ[0] <= vco <= family.VCO_HZ[1]
                ):
                    return True
    return False


@pytest.mark.parametrize("family", [ecp5, gowin, ice40], ids=lambda f: f.__name__.split(".")[-1])
@INPUTS
@OUTPUTS
def test_dividers_keep_to_the_limits_of_the_part(
    family: ModuleType, input_mhz: float, output_mhz: float
) -> None:
    input_hz, output_hz = input_mhz * MHZ, output_mhz * MHZ
    low, high = getattr(family, "OUTPUT_HZ", (0, math.inf))
    try:
        found = given(family, input_hz, output_hz)
    except ValueError:
        assert not (low <= output_hz <= high and possible(family, input_hz, output_hz))
        return
    assert found.output == pytest.approx(output_hz)
    assert low <= output_hz <= high
    assert family.DETECTOR_HZ[0] <= found.detector <= family.DETECTOR_HZ[1]
    assert family.VCO_HZ[0] <= found.vco <= family.VCO_HZ[1]


@pytest.mark.parametrize(
    "dividers", [ecp5.ecp5_dividers, ice40.ice40_dividers, gowin.gowin_dividers]
)
def test_a_clock_without_dividers_is_refused(dividers: Callable[[float, float], object]) -> None:
    with pytest.raises(ValueError, match=r"found no dividers from 25 to 40\.123 MHz"):
        dividers(25e6, 40.123e6)


@pytest.mark.parametrize(
    ("input_mhz", "output_mhz", "filter_range"), [(12, 18, 1), (25, 50, 2), (48, 24, 4)]
)
def test_the_loop_filter_of_ice40_follows_its_phase_detector(
    input_mhz: float, output_mhz: float, filter_range: int
) -> None:
    """The oracle is icepll: below 17, 26, 44, 66 and 101 MHz."""
    d = ice40.ice40_dividers(input_mhz * MHZ, output_mhz * MHZ)
    assert d.filter_range == filter_range


def test_the_oscillator_gives_its_own_frequency_only() -> None:
    check_direct(12e6, 12e6)
    with pytest.raises(ValueError, match="found 24 MHz, expected the 12 of the oscillator"):
        check_direct(12e6, 24e6)


class Given(Clock):
    """A clock that is there while `locked`."""

    def __init__(self, clk: Signal, locked: Signal, hz: float) -> None:
        super().__init__(None, hz, hz)
        self.clk, self.locked = clk, locked

    def source(self, m: Module) -> tuple[Value, Value]:
        return self.clk, self.locked


def test_the_reset_holds_until_the_clock_is_there_for_long_enough() -> None:
    """The oracle counts the cycles of 20 us at 1 MHz, and two of the synchroniser."""
    clk, locked, reset = Signal(), Signal(), Signal()
    m = Module()
    m.domains.sync = ClockDomain()
    m.submodules.clock = Given(clk, locked, 1e6)
    m.d.comb += reset.eq(ResetSignal("sync"))
    held = list[int]()

    async def bench(ctx: Any) -> None:
        async def cycles(n: int) -> list[int]:
            seen = []
            for _ in range(n):
                ctx.set(clk, 1)
                await ctx.delay(5e-7)
                seen.append(ctx.get(reset))
                ctx.set(clk, 0)
                await ctx.delay(5e-7)
            return seen

        assert all(await cycles(50))
        ctx.set(locked, 1)
        held.append(sum(await cycles(50)))
        ctx.set(locked, 0)
        assert all((await cycles(50))[3:])
        ctx.set(locked, 1)
        held.append(sum(await cycles(50)))

    sim: Any = Simulator(m)
    sim.add_testbench(bench)
    sim.run()
    assert held == [round(RESET_SECONDS * 1e6) + 1] * 2
