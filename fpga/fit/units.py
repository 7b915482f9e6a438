"""The units of a board's system: what is synthesised alone, and what their sizes depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.fpga.clock import UNITS as MACHINE_UNITS
from einchip.fpga.host_link.bridge import Bridge
from einchip.fpga.host_link.memory import AxiMemory, Ports
from einchip.fpga.host_link.uart import Receiver, Transmitter, line
from einchip.fpga.system import System
from einchip.hw.scratchpad import Scratchpad
from einchip.hw.serial import SerialTop
from einchip.hw.tokens import Tokens
from einchip.program import Space

#: Cycles of a bit of the line in what is synthesised: a divider of 8 bits, as those of the boards.
LINE_CYCLES: Final = 217
#: The name of all units together.
SYSTEM: Final = "system"


@dataclass(frozen=True)
class Design:
    """A machine, and the memory in place of external memory that a board has, in bytes."""

    arch: Architecture
    memory_bytes: int


class HostLink(wiring.Component):
    """The board's side of the link: line, frames, requests; the members are those of `Bridge`."""

    rx: Signal
    tx: Signal
    axil: Any
    memory: Any

    def __init__(self, memory_bytes: int) -> None:
        self._bridge = bridge = Bridge(memory_bytes)
        super().__init__(
            {
                "rx": line(In),
                "tx": line(Out),
                "axil": bridge.signature.members["axil"],
                "memory": bridge.signature.members["memory"],
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bridge = bridge = self._bridge
        m.submodules.receiver = receiver = Receiver(LINE_CYCLES)
        m.submodules.transmitter = transmitter = Transmitter(LINE_CYCLES)
        wiring.connect(m, receiver.bytes, bridge.received)
        wiring.connect(m, bridge.sent, transmitter.bytes)
        wiring.connect(m, bridge.axil, wiring.flipped(self.axil))
        wiring.connect(m, bridge.memory, wiring.flipped(self.memory))
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        return m


def component(unit: str, design: Design, memory_ports: Ports) -> wiring.Component:
    """Return a unit of a design, or the `SYSTEM`, with so many ports of the board's memory."""
    if unit == SYSTEM:
        return System(design.arch, design.memory_bytes, LINE_CYCLES, memory_ports)
    return UNITS[unit](design, memory_ports)


Make = Callable[[Design, Ports], wiring.Component]


def units_of(arch: Architecture) -> tuple[str, ...]:
    """Return the units of a machine's system."""
    if arch.serial:
        return (SERIAL, *EVERYWHERE)
    return tuple(unit for unit in UNITS if unit != SERIAL)


def _of_machine(make: Callable[[Architecture], wiring.Component]) -> Make:
    return lambda design, _: make(design.arch)


def _scratchpad(space: Space, design: Design, _: Ports) -> wiring.Component:
    return Scratchpad(design.arch, space)


#: A serial machine, which is one unit, and those of every board's system.
SERIAL: Final = "serial"
EVERYWHERE: Final = ("memory", "link")
#: How each unit is made. The sum of those of `units_of` is what a board's system takes.
UNITS: Final[Mapping[str, Make]] = {
    **{
        name: _of_machine(make)
        for name, make in MACHINE_UNITS.items()
        if name not in ("machine", "scratchpad")
    },
    "tokens": lambda *_: Tokens(),
    "scratchpad_x": partial(_scratchpad, Space.X),
    "scratchpad_y": partial(_scratchpad, Space.Y),
    "memory": lambda design, ports: AxiMemory(design.memory_bytes, design.arch.port_bytes, ports),
    "link": lambda design, _: HostLink(design.memory_bytes),
    SERIAL: lambda design, _: SerialTop(design.arch),
}
