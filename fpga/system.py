"""What a board runs: the machine, on-chip memory in place of external memory, the host link."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.fpga.host_link.bridge import Bridge
from einchip.fpga.host_link.memory import AxiMemory, Ports
from einchip.fpga.host_link.spi import SpiPort
from einchip.fpga.host_link.uart import Receiver, Transmitter, line
from einchip.hw.machine import machine


class LinkedSystem(wiring.Component):
    """A machine that a host reaches over a link (`einchip.link`), whatever that is.

    Parameters
    ----------
    arch
        The machine.
    memory_bytes
        External memory, whole beats of the machine's port.
    pins
        Members of the link, seen from the board.
    ends
        The parts that move its bytes, by name.
    memory_ports
        Of the external memory.

    Members
    -------
    irq : out
        The machine's interrupt.
    """

    irq: Signal

    def __init__(
        self,
        arch: Architecture,
        memory_bytes: int,
        pins: Mapping[str, Any],
        ends: Mapping[str, Any],
        memory_ports: Ports = 2,
    ) -> None:
        self.arch, self.memory_bytes = arch, memory_bytes
        self._parts: dict[str, Any] = {
            "machine": machine(arch),
            "memory": AxiMemory(memory_bytes, arch.port_bytes, memory_ports),
            "bridge": Bridge(memory_bytes),
            **ends,
        }
        super().__init__({**pins, "irq": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, part in self._parts.items():
            m.submodules[name] = part
        device, memory, bridge = (self._parts[n] for n in ("machine", "memory", "bridge"))
        wiring.connect(m, device.m_axi, memory.axi)
        wiring.connect(m, bridge.axil, device.s_axil)
        wiring.connect(m, bridge.memory, memory.host)
        self._join(m, bridge)
        m.d.comb += self.irq.eq(device.irq)
        return m

    @abstractmethod
    def _join(self, m: Module, bridge: Bridge) -> None:
        """Connect pins, ends, and the bridge's bytes."""


class System(LinkedSystem):
    """A machine that a host reaches over a serial line.

    Parameters
    ----------
    arch, memory_bytes, memory_ports
        As for `LinkedSystem`.
    cycles
        Cycles of a bit of the line (`host_link.uart.divisor`).

    Members
    -------
    rx, tx : in, out
        The line.
    """

    rx: Signal
    tx: Signal

    def __init__(
        self, arch: Architecture, memory_bytes: int, cycles: int, memory_ports: Ports = 2
    ) -> None:
        self._receiver, self._transmitter = Receiver(cycles), Transmitter(cycles)
        super().__init__(
            arch,
            memory_bytes,
            pins={"rx": line(In), "tx": line(Out)},
            ends={"receiver": self._receiver, "transmitter": self._transmitter},
            memory_ports=memory_ports,
        )

    def _join(self, m: Module, bridge: Bridge) -> None:
        wiring.connect(m, self._receiver.bytes, bridge.received)
        wiring.connect(m, bridge.sent, self._transmitter.bytes)
        m.d.comb += [self._receiver.rx.eq(self.rx), self.tx.eq(self._transmitter.tx)]


class SpiSystem(LinkedSystem):
    """A machine that a host reaches over SPI.

    Parameters
    ----------
    arch, memory_bytes, memory_ports
        As for `LinkedSystem`.

    Members
    -------
    sck, copi, cs, cipo, driven : as of `host_link.spi.SpiPort`
    """

    sck: Signal
    copi: Signal
    cs: Signal
    cipo: Signal
    driven: Signal

    def __init__(self, arch: Architecture, memory_bytes: int, memory_ports: Ports = 2) -> None:
        self._port = SpiPort()
        pins = {name: In(1) for name in ("sck", "copi", "cs")}
        pins |= {name: Out(1) for name in ("cipo", "driven")}
        super().__init__(arch, memory_bytes, pins, {"spi": self._port}, memory_ports)

    def _join(self, m: Module, bridge: Bridge) -> None:
        port = self._port
        wiring.connect(m, port.received, bridge.received)
        wiring.connect(m, bridge.sent, port.sent)
        m.d.comb += [
            port.sck.eq(self.sck),
            port.copi.eq(self.copi),
            port.cs.eq(self.cs),
            self.cipo.eq(port.cipo),
            self.driven.eq(port.driven),
        ]
