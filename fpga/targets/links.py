"""The links of a board: which pins a host uses, and the system behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from amaranth import Module
from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal
from amaranth.lib import io

from einchip.arch import Architecture
from einchip.fpga.host_link.memory import Ports
from einchip.fpga.host_link.spi import max_sck_hz
from einchip.fpga.host_link.uart import divisor
from einchip.fpga.system import LinkedSystem, SpiSystem, System


class Link(ABC):
    """A way from a host to a board; `name` is for the command line."""

    name: ClassVar[str]

    @abstractmethod
    def system(self, arch: Architecture, memory_bytes: int, memory_ports: Ports) -> LinkedSystem:
        """Return what the board runs. Raises ValueError where the link is not possible."""

    @abstractmethod
    def connect(self, m: Module, platform: Any, system: Any) -> None:
        """Connect such a system to the pins of a platform, with buffers of the module."""

    @abstractmethod
    def address(self) -> str:
        """Return what a host opens, up to the name of its port."""

    @abstractmethod
    def __str__(self) -> str:
        """Return it for people."""


@dataclass(frozen=True)
class Uart(Link):
    """A serial line of `baud` bits per second."""

    clock_hz: float
    baud: int
    name = "uart"

    @property
    def cycles(self) -> int:
        """Cycles of a bit of the line. Raises ValueError."""
        return divisor(self.clock_hz, self.baud)

    def system(self, arch: Architecture, memory_bytes: int, memory_ports: Ports) -> System:
        """Return a system with a serial line."""
        return System(arch, memory_bytes, self.cycles, memory_ports)

    def connect(self, m: Module, platform: Any, system: Any) -> None:
        """Connect the platform's `uart`."""
        line = platform.request("uart", 0, dir="-")
        rx, tx = io.Buffer(io.Direction.Input, line.rx), io.Buffer(io.Direction.Output, line.tx)
        m.submodules += [rx, tx]
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx)]

    def address(self) -> str:
        """Return the address of a serial port."""
        return f"serial:PORT@{self.baud}"

    def __str__(self) -> str:
        return f"{self.baud:,} baud"


@dataclass(frozen=True)
class SpiPins:
    """Where SPI is on a board.

    Attributes
    ----------
    place : the connector, for people.
    cs, copi, cipo, sck : pins of `connector`, or the part's. `cs` is low while the board is
        selected.
    attrs : what constraints say of them: 3.3 V, pulled up while nobody drives them.
    connector : the platform's, by name and number.
    """

    place: str
    cs: str
    copi: str
    cipo: str
    sck: str
    attrs: Mapping[str, Any]
    connector: tuple[str, int] | None = None

    def resource(self) -> Resource:
        """Return the pins as a resource of Amaranth's."""

        def pins(kind: Any, name: str, direction: str) -> Subsignal:
            there = kind(getattr(self, name), dir=direction, conn=self.connector)
            return Subsignal(name, there)

        signals = [pins(PinsN, "cs", "i"), pins(Pins, "copi", "i"), pins(Pins, "sck", "i")]
        return Resource(SPI, 0, *signals, pins(Pins, "cipo", "o"), Attrs(**self.attrs))


#: The resource's name.
SPI: Final = "host_spi"


@dataclass(frozen=True)
class Spi(Link):
    """SPI, of which the host is the controller."""

    clock_hz: float
    pins: SpiPins
    name = "spi"

    def system(self, arch: Architecture, memory_bytes: int, memory_ports: Ports) -> SpiSystem:
        """Return a system with SPI."""
        return SpiSystem(arch, memory_bytes, memory_ports)

    def connect(self, m: Module, platform: Any, system: Any) -> None:
        """Add the pins to the platform, and connect them."""
        platform.add_resources([self.pins.resource()])
        port = platform.request(SPI, 0, dir="-")
        for name in ("cs", "copi", "sck"):
            buffer = io.Buffer(io.Direction.Input, getattr(port, name))
            m.submodules += buffer
            m.d.comb += getattr(system, name).eq(buffer.i)
        cipo = io.Buffer(io.Direction.Output, port.cipo)
        m.submodules += cipo
        m.d.comb += [cipo.o.eq(system.cipo), cipo.oe.eq(system.driven)]

    def address(self) -> str:
        """Return the address of a SPI device of Linux, at the highest clock."""
        return f"spi:/dev/spidevB.C@{int(max_sck_hz(self.clock_hz))}"

    def __str__(self) -> str:
        return "SPI"
