"""The boards: part, pins, clock, line, and the machine that each gets."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from amaranth import ClockDomain, Module
from amaranth.hdl import Elaboratable
from amaranth.lib import io

from einchip.arch import Architecture
from einchip.fpga.errors import TargetError as TargetError
from einchip.fpga.host_link.uart import divisor
from einchip.fpga.system import System
from einchip.fpga.targets.families import (
    GW2A_18,
    LFE5U_25F,
    LFE5U_85F,
    LIFCL_40,
    UP5K,
    Family,
    Part,
)
from einchip.fpga.targets.families.clock import Clock
from einchip.fpga.targets.platforms import ColorlightI5Platform, CrossLinkNXEvaluationPlatform


@dataclass(frozen=True)
class Target:
    """A board and what is put on it.

    Attributes
    ----------
    name, title : for the command line, and for people.
    platform : returns Amaranth's platform: pins and their oscillator. Raises ImportError.
    part : what nextpnr and the packer make a bitstream for.
    arch : the preset that the board gets, if not said otherwise.
    memory_bytes : on-chip memory in place of external memory.
    clock_hz : frequency of the machine, which timing must meet.
    baud : of the host link.
    direct : whether the machine runs from the oscillator, without a PLL.
    note : what users of the board must know, for the page.
    """

    name: str
    title: str
    platform: Callable[[], Any]
    part: Part
    arch: str
    memory_bytes: int
    clock_hz: float
    baud: int
    direct: bool = False
    note: str = ""

    @property
    def family(self) -> Family:
        """The part's family."""
        return self.part.family

    @property
    def cycles(self) -> int:
        """Cycles of a bit of the line."""
        return divisor(self.clock_hz, self.baud)

    def clock(self, pin: Any, input_hz: float) -> Clock:
        """Return the component that makes the clock from an oscillator.

        Raises ValueError where that is not possible.
        """
        if self.direct:
            return self.family.oscillator(pin, input_hz, self.clock_hz)
        if self.family.clock is None:
            raise ValueError(
                f"{self.name}: clock: found no PLL for {self.family.title}, expected a board that "
                "runs from its oscillator (`direct`)"
            )
        return self.family.clock(pin, input_hz, self.clock_hz)


def _of_amaranth_boards(module: str, name: str) -> Callable[[], Any]:
    """Return what makes a platform of amaranth-boards, which need not be installed."""
    return lambda: getattr(importlib.import_module(f"amaranth_boards.{module}"), name)()


TARGETS: Final[dict[str, Target]] = {
    t.name: t
    for t in (
        Target(
            name="ulx3s",
            title="ULX3S with LFE5U-85F",
            platform=_of_amaranth_boards("ulx3s", "ULX3S_85F_Platform"),
            part=LFE5U_85F,
            arch="nano",
            memory_bytes=1 << 16,
            clock_hz=25e6,
            baud=1_000_000,
        ),
        Target(
            name="colorlight-i5",
            title="Colorlight i5 with LFE5U-25F, on its extension board",
            platform=ColorlightI5Platform,
            part=LFE5U_25F,
            arch="pico",
            memory_bytes=1 << 15,
            clock_hz=25e6,
            baud=115_200,
            note="the extension board's USB is a serial port. OrangeCrab has this part, too, but "
            "its USB goes to the part itself, so that a line would need an adapter.",
        ),
        Target(
            name="icebreaker",
            title="iCEBreaker with iCE40UP5K",
            platform=_of_amaranth_boards("icebreaker", "ICEBreakerPlatform"),
            part=UP5K,
            arch="pico",
            memory_bytes=1 << 12,
            clock_hz=18e6,
            baud=1_000_000,
            note="none of the presets fits; `einchip build` says by how much.",
        ),
        Target(
            name="tang-primer-20k",
            title="Tang Primer 20K with GW2A-LV18, on its dock",
            platform=_of_amaranth_boards("tang_primer_20k", "TangPrimer20kDockPlatform"),
            part=GW2A_18,
            arch="pico",
            memory_bytes=1 << 15,
            clock_hz=27e6,
            baud=115_200,
        ),
        Target(
            name="lifcl40-evn",
            title="CrossLink-NX evaluation board with LIFCL-40",
            platform=CrossLinkNXEvaluationPlatform,
            part=LIFCL_40,
            arch="pico",
            memory_bytes=1 << 16,
            clock_hz=12e6,
            baud=1_000_000,
            direct=True,
            note="runs from the oscillator of 12 MHz (jumper JP2), since the part's PLLs take 18 "
            "MHz at least, and its own oscillator is too far off for a serial line. The serial "
            "port of the USB needs 0 ohm at R15 and R17 instead of R18 and R19.",
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


def platform_of(target: Target) -> Any:
    """Return Amaranth's platform of a board. Raises TargetError."""
    try:
        return target.platform()
    except ImportError as error:
        raise TargetError(
            f"{target.name}: found no amaranth-boards, expected its pins; install einchip[fpga]"
        ) from error


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
        rx = io.Buffer(io.Direction.Input, line.rx)
        tx, light = io.Buffer(io.Direction.Output, line.tx), io.Buffer(io.Direction.Output, lamp)
        m.submodules += [rx, tx, light]
        m.domains.sync = ClockDomain()
        m.submodules.clock = target.clock(oscillator, float(platform.default_clk_frequency))
        m.submodules.system = system = System(self._arch, target.memory_bytes, target.cycles)
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx), light.o.eq(system.irq)]
        return m
