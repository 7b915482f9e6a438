"""The boards: part, pins, clock, line, and the machine that each gets."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from amaranth import ClockDomain, Module
from amaranth.hdl import Elaboratable
from amaranth.lib import io

from einchip.arch import Architecture
from einchip.fpga.errors import TargetError as TargetError
from einchip.fpga.host_link.uart import divisor
from einchip.fpga.place import PART
from einchip.fpga.system import System
from einchip.fpga.targets.pll import Ecp5Clock


@dataclass(frozen=True)
class Target:
    """A board and what is put on it.

    Attributes
    ----------
    name, title : for the command line, and for people.
    platform : returns Amaranth's platform: part, package, pins.
    nextpnr : options that say the part.
    arch : the preset that the board gets, if not said otherwise.
    memory_bytes : on-chip memory in place of external memory.
    clock_hz : frequency of the machine, which timing must meet.
    baud : of the host link.
    """

    name: str
    title: str
    platform: Callable[[], Any]
    nextpnr: tuple[str, ...]
    arch: str
    memory_bytes: int
    clock_hz: float
    baud: int

    @property
    def cycles(self) -> int:
        """Cycles of a bit of the line."""
        return divisor(self.clock_hz, self.baud)


def _ulx3s() -> Any:
    try:
        from amaranth_boards.ulx3s import ULX3S_85F_Platform
    except ImportError as error:
        raise TargetError(
            "ulx3s: found no amaranth-boards, expected its pins; install einchip[fpga]"
        ) from error
    return ULX3S_85F_Platform()


TARGETS: Final[dict[str, Target]] = {
    t.name: t
    for t in (
        Target(
            name="ulx3s",
            title="ULX3S with LFE5U-85F",
            platform=_ulx3s,
            nextpnr=PART,
            arch="nano",
            memory_bytes=1 << 16,
            clock_hz=25e6,
            baud=1_000_000,
        ),
    )
}


def find(name: str) -> Target:
    """Return a board by its name. Raises TargetError."""
    if name in TARGETS:
        return TARGETS[name]
    near = difflib.get_close_matches(name, TARGETS, 1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(TARGETS)}"
    raise TargetError(f"target: found {name!r}, expected a board; {hint}")


class BoardTop(Elaboratable):
    """What a board's part holds: clock, system, pins, a lamp that is lit by the interrupt."""

    def __init__(self, target: Target, arch: Architecture) -> None:
        self._target, self._arch = target, arch

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        target = self._target
        oscillator, line = (
            platform.request(name, 0, dir="-") for name in (platform.default_clk, "uart")
        )
        lamp = platform.request("led", 0, dir="-")
        clock, rx = (
            io.Buffer(io.Direction.Input, oscillator),
            io.Buffer(io.Direction.Input, line.rx),
        )
        tx, light = io.Buffer(io.Direction.Output, line.tx), io.Buffer(io.Direction.Output, lamp)
        m.submodules += [clock, rx, tx, light]
        m.domains.sync = ClockDomain()
        m.submodules.clock = Ecp5Clock(
            clock.i, float(platform.default_clk_frequency), target.clock_hz
        )
        m.submodules.system = system = System(self._arch, target.memory_bytes, target.cycles)
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx), light.o.eq(system.irq)]
        return m
