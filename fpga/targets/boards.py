"""The boards: part, pins, clock, line, and the machine that each gets."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from amaranth import ClockDomain, Module
from amaranth.hdl import Elaboratable
from amaranth.lib import io

from einchip.arch import Architecture
from einchip.fpga.errors import TargetError as TargetError
from einchip.fpga.system import LinkedSystem
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
from einchip.fpga.targets.links import Link, Spi, SpiPins, Uart
from einchip.fpga.targets.platforms import ColorlightI5Platform, CrossLinkNXEvaluationPlatform
from einchip.mistakes import did_you_mean


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
    baud : of the host link over the serial port.
    spi : pins of the host link over SPI; None: the board offers none.
    direct : whether the machine runs from the oscillator, without a PLL.
    note : what users of the board must know, for the page.
    link : the name of the link that is built, one of `links`.
    """

    name: str
    title: str
    platform: Callable[[], Any]
    part: Part
    arch: str
    memory_bytes: int
    clock_hz: float
    baud: int
    spi: SpiPins | None = None
    direct: bool = False
    note: str = ""
    link: str = Uart.name

    @property
    def family(self) -> Family:
        """The part's family."""
        return self.part.family

    @property
    def links(self) -> dict[str, Link]:
        """The links that the board offers, by name."""
        offered: list[Link] = [Uart(self.clock_hz, self.baud)]
        if self.spi is not None:
            offered.append(Spi(self.clock_hz, self.spi))
        return {link.name: link for link in offered}

    @property
    def build_name(self) -> str:
        """The name under which builds are kept: the board's, and its link unless it is serial."""
        return self.name if self.link == Uart.name else f"{self.name}-{self.link}"

    def with_link(self, name: str) -> Target:
        """Return the board with another link. Raises TargetError."""
        if name not in self.links:
            raise TargetError(
                f"{self.name}: link: found {name!r}, expected {' or '.join(self.links)}, which the "
                "board offers; choose another link or board"
            )
        return replace(self, link=name)

    def system(self, arch: Architecture) -> LinkedSystem:
        """Return what the board runs, without clock and pins. Raises ValueError."""
        link, family = self.links[self.link], self.family
        return link.system(arch, self.memory_bytes, family.memory_ports)

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


#: Attributes of pins of 3.3 V that are pulled up, as the parts of each vendor have them.
_LATTICE: Final = {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}
_GOWIN: Final = {"IO_TYPE": "LVCMOS33", "PULL_MODE": "UP"}
_ICE40: Final = {"IO_STANDARD": "SB_LVCMOS", "PULLUP": 1}


def _pmod(place: str, number: int, attrs: Mapping[str, Any]) -> SpiPins:
    """Return SPI on the upper row of a Pmod connector, as Digilent's standard (type 2) has it."""
    return SpiPins(place, "1", "2", "3", "4", attrs, ("pmod", number))


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
            clock_hz=37.5e6,
            baud=1_500_000,
            spi=SpiPins("header J1 (0+ is GP0)", "0+", "1+", "2+", "3+", _LATTICE, ("gpio", 0)),
            note="`small` takes 46,738 of the LUTs and 128 of the DSP blocks, but nextpnr finds no "
            "routes for it: two in a hundred of its wires are taken twice when they become no "
            "fewer.",
        ),
        Target(
            name="colorlight-i5",
            title="Colorlight i5 with LFE5U-25F, on its extension board",
            platform=ColorlightI5Platform,
            part=LFE5U_25F,
            arch="pico",
            memory_bytes=1 << 15,
            clock_hz=37.5e6,
            baud=115_200,
            spi=SpiPins("Pmod P3", "C17", "B18", "B20", "F20", _LATTICE),
            note="the extension board's USB is a serial port. OrangeCrab has this part, too, but "
            "its USB goes to the part itself, so that a line would need an adapter.",
        ),
        Target(
            name="icebreaker",
            title="iCEBreaker with iCE40UP5K",
            platform=_of_amaranth_boards("icebreaker", "ICEBreakerPlatform"),
            part=UP5K,
            arch="femto",
            memory_bytes=1 << 16,
            clock_hz=16.5e6,
            baud=500_000,
            spi=_pmod("Pmod 1A", 0, _ICE40),
            note="with another cell instead of LSTM (`--set cells=gru`), the microprogram takes as "
            "many blocks; with all of them, more than there are.",
        ),
        Target(
            name="tang-primer-20k",
            title="Tang Primer 20K with GW2A-LV18, on its dock",
            platform=_of_amaranth_boards("tang_primer_20k", "TangPrimer20kDockPlatform"),
            part=GW2A_18,
            arch="femto",
            memory_bytes=1 << 15,
            clock_hz=54e6,
            baud=115_200,
            spi=_pmod("third Pmod from the left", 2, _GOWIN),
            note="`pico` has no room: carries and small memories take places with a register, too; "
            "with its registers, even with LSTM alone (`--set cells=lstm`), it fills 15,133 of the "
            "15,552, more than nextpnr finds a placement for.",
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
            spi=SpiPins(
                "Raspberry Pi header", "24", "19", "21", "23", _LATTICE, ("raspberry_pi", 0)
            ),
            direct=True,
            note="runs from the oscillator of 12 MHz (jumper JP2), since the part's PLLs take 18 "
            "MHz at least, and its own oscillator is too far off for a serial line. The serial "
            "port of the USB needs 0 ohm at R15 and R17 instead of R18 and R19. `nano` takes 72 % "
            "of the LUTs; after 21 minutes router1 of nextpnr had still 70,000 of its routes left.",
        ),
    )
}


def find(name: str) -> Target:
    """Return a board by its name. Raises TargetError."""
    if name in TARGETS:
        return TARGETS[name]
    hint = did_you_mean(name, TARGETS) or f"; choose one of {', '.join(TARGETS)}"
    raise TargetError(f"target: found {name!r}, expected a board{hint}")


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
        oscillator = platform.request(platform.default_clk, 0, dir="-")
        system = target.system(self._arch)
        target.links[target.link].connect(m, platform, system)
        lamp = io.Buffer(io.Direction.Output, platform.request("led", 0, dir="-"))
        m.submodules += lamp
        m.domains.sync = ClockDomain()
        m.submodules.clock = target.clock(oscillator, float(platform.default_clk_frequency))
        m.submodules.system = system
        m.d.comb += lamp.o.eq(system.irq)
        return m
