"""The clock of a board, and the reset that holds until it is there."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Final

from amaranth import ClockDomain, ClockSignal, Const, Module, ResetSignal, Signal, Value
from amaranth.hdl import Elaboratable
from amaranth.lib import io

#: How far a clock may be from what is asked for.
TOLERANCE: Final = 1e-6
#: Seconds for which the reset holds once the clock is there. Block RAM of iCE40 reads as 0 for 3 us
#: after configuration; this is that with a margin, for all families.
RESET_SECONDS: Final = 20e-6


def near(found_hz: float, wanted_hz: float) -> bool:
    """Return whether a frequency is what is asked for."""
    return abs(found_hz - wanted_hz) <= TOLERANCE * wanted_hz


def within(value: float, limits: tuple[float, float]) -> bool:
    """Return whether a value keeps to limits, which themselves are allowed."""
    return limits[0] <= value <= limits[1]


def no_dividers(input_hz: float, output_hz: float) -> ValueError:
    """Return the error of a clock that no dividers give."""
    return ValueError(
        f"clock: found no dividers from {input_hz / 1e6:g} to {output_hz / 1e6:g} MHz, expected a "
        "ratio of small numbers; choose another clock"
    )


class Clock(Elaboratable):
    """Drives clock and reset of the domain `sync`: a frequency, a reset until it is there.

    A family derives its own from it, with `source` and arguments of the same kind.

    Parameters
    ----------
    pin
        Amaranth's port of the oscillator.
    input_hz, output_hz
        Its frequency, and that of `sync`.
    """

    def __init__(self, pin: Any, input_hz: float, output_hz: float) -> None:
        self.pin, self.input_hz, self.output_hz = pin, input_hz, output_hz

    @abstractmethod
    def source(self, m: Module) -> tuple[Value, Value]:
        """Return the clock, and whether it is there; parts are added to the module."""

    @staticmethod
    def buffered(m: Module, pin: Any) -> Signal:
        """Return what an oscillator's pin brings, behind a buffer of the module."""
        m.submodules.oscillator = buffer = io.Buffer(io.Direction.Input, pin)
        return buffer.i

    def elaborate(self, platform: object) -> Module:
        m = Module()
        out, locked = self.source(m)
        cycles = math.ceil(RESET_SECONDS * self.output_hz)
        left = Signal(range(cycles + 1), reset_less=True)
        m.domains.boot = ClockDomain("boot", reset_less=True, local=True)
        m.d.comb += [ClockSignal("sync").eq(out), ClockSignal("boot").eq(out)]
        # `left` begins at 0 when the part is configured, so the count begins with it.
        was_locked = Signal(2, reset_less=True)
        m.d.boot += was_locked.eq((was_locked << 1) | locked)
        with m.If(~was_locked[1]):
            m.d.boot += left.eq(0)
        with m.Elif(left != cycles):
            m.d.boot += left.eq(left + 1)
        m.d.comb += ResetSignal("sync").eq(left != cycles)
        return m


def check_direct(input_hz: float, output_hz: float) -> None:
    """Check that an oscillator has the frequency that is asked for. Raises ValueError."""
    if not near(input_hz, output_hz):
        raise ValueError(
            f"clock: found {output_hz / 1e6:g} MHz, expected the {input_hz / 1e6:g} of the "
            "oscillator, since no PLL is used; choose that"
        )


class Oscillator(Clock):
    """The oscillator itself. Raises ValueError as `check_direct` does."""

    def __init__(self, pin: Any, input_hz: float, output_hz: float) -> None:
        check_direct(input_hz, output_hz)
        super().__init__(pin, input_hz, output_hz)

    def source(self, m: Module) -> tuple[Value, Value]:
        return self.buffered(m, self.pin), Const(1)
