"""Boards that amaranth-boards does not have: parts and the pins that are used here."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from amaranth.build import Attrs, Clock, Connector, Pins, PinsN, Resource, Subsignal
from amaranth.vendor import LatticePlatform

# The stubs of Amaranth give what a platform must state the type of `...`.
_Platform: Any = LatticePlatform
_LVCMOS33: Final = Attrs(IO_TYPE="LVCMOS33")


def _uart(rx: str, tx: str) -> Resource:
    """Return the resource of a serial line, as UARTResource of amaranth-boards."""
    return Resource(
        "uart",
        0,
        Subsignal("rx", Pins(rx, dir="i")),
        Subsignal("tx", Pins(tx, dir="o")),
        _LVCMOS33,
    )


class ColorlightI5Platform(_Platform):
    """Colorlight i5 (7.0) on its extension board, whose debugger is a serial port, too.

    Pins: https://github.com/wuxx/Colorlight-FPGA-Projects.
    """

    device = "LFE5U-25F"
    package = "BG381"
    speed = "6"
    default_clk = "clk25"
    resources: ClassVar = [
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), _LVCMOS33),
        Resource("led", 0, PinsN("U16", dir="o"), _LVCMOS33),
        _uart(rx="H18", tx="J17"),
    ]
    connectors: ClassVar[list[Connector]] = []


class CrossLinkNXEvaluationPlatform(_Platform):
    """Lattice's evaluation board LIFCL-40-EVN (FPGA-EB-02028).

    The oscillator of 12 MHz needs jumper JP2; the serial port of its USB needs 0 ohm at R15 and R17
    instead of R18 and R19.
    """

    device = "LIFCL-40"
    package = "BG400"
    speed = "9"
    grade = "C"
    default_clk = "clk12"
    resources: ClassVar = [
        Resource("clk12", 0, Pins("L13", dir="i"), Clock(12e6), _LVCMOS33),
        Resource("led", 0, PinsN("E17", dir="o"), _LVCMOS33),
        _uart(rx="F16", tx="F18"),
    ]
    connectors: ClassVar = [
        # SPI0 of the Raspberry Pi's header: MOSI, MISO, SCLK, CE0
        Connector("raspberry_pi", 0, {"19": "N4", "21": "K6", "23": "N7", "24": "P6"}),
    ]
