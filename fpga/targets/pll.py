"""The clock of a board: a PLL from its oscillator, and the reset that holds until it is there."""

from __future__ import annotations

from typing import Final, NamedTuple

from amaranth import ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.hdl import Elaboratable

#: Frequencies of ECP5's PLL in Hz: of its oscillator, and at its phase detector (FPGA-DS-02012).
VCO_HZ: Final = (400e6, 800e6)
DETECTOR_HZ: Final = (10e6, 400e6)
#: Greatest divider of a PLL of ECP5.
MAX_DIVIDER: Final = 128
#: How far a clock may be from what is asked for.
TOLERANCE: Final = 1e-6
#: Cycles for which the reset holds once the PLL has locked.
RESET_CYCLES: Final = 16


class Ecp5Dividers(NamedTuple):
    """Of an EHXPLLL whose feedback is its output: output = input * feedback / reference."""

    reference: int
    feedback: int
    output: int


def ecp5_dividers(input_hz: float, output_hz: float) -> Ecp5Dividers:
    """Return the dividers that give a frequency, the fastest phase detector first.

    Raises ValueError where no dividers do.
    """
    for reference in range(1, MAX_DIVIDER + 1):
        feedback = round(output_hz * reference / input_hz)
        detector = input_hz / reference
        found = detector * feedback
        near = abs(found - output_hz) <= TOLERANCE * output_hz
        if not (near and 1 <= feedback <= MAX_DIVIDER and _in(detector, DETECTOR_HZ)):
            continue
        for output in range(1, MAX_DIVIDER + 1):
            if _in(found * output, VCO_HZ):
                return Ecp5Dividers(reference, feedback, output)
    raise ValueError(
        f"clock: found no dividers from {input_hz / 1e6:g} to {output_hz / 1e6:g} MHz, expected a "
        "ratio of small numbers; choose another clock"
    )


def _in(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


class Ecp5Clock(Elaboratable):
    """Drives clock and reset of the domain `sync`: a frequency, a reset until the PLL has locked.

    Parameters
    ----------
    clock
        The oscillator's pin.
    input_hz, output_hz
        Its frequency, and that of `sync`.
    """

    def __init__(self, clock: Signal, input_hz: float, output_hz: float) -> None:
        self._clock, self._dividers = clock, ecp5_dividers(input_hz, output_hz)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        out, locked, left = Signal(), Signal(), Signal(range(RESET_CYCLES + 1), reset_less=True)
        d = self._dividers
        zeros = ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PHASEDIR", "PHASESTEP")
        m.submodules.pll = Instance(
            "EHXPLLL",
            p_CLKI_DIV=d.reference,
            p_CLKFB_DIV=d.feedback,
            p_CLKOP_DIV=d.output,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=d.output // 2,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=self._clock,
            i_CLKFB=out,
            i_PHASELOADREG=Const(0),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            **{f"i_{name}": Const(0) for name in zeros},
            o_CLKOP=out,
            o_LOCK=locked,
        )
        m.domains.boot = ClockDomain("boot", reset_less=True, local=True)
        m.d.comb += [ClockSignal("sync").eq(out), ClockSignal("boot").eq(out)]
        # `left` begins at 0 when the part is configured, so the count begins with it.
        was_locked = Signal(2, reset_less=True)
        m.d.boot += was_locked.eq((was_locked << 1) | locked)
        with m.If(~was_locked[1]):
            m.d.boot += left.eq(0)
        with m.Elif(left != RESET_CYCLES):
            m.d.boot += left.eq(left + 1)
        m.d.comb += ResetSignal("sync").eq(left != RESET_CYCLES)
        return m
