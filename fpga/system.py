"""What a board runs: the machine, on-chip memory in place of external memory, the host link."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.fpga.host_link.bridge import Bridge
from einchip.fpga.host_link.memory import AxiMemory
from einchip.fpga.host_link.uart import Receiver, Transmitter, line
from einchip.hw.top import Top


class System(wiring.Component):
    """A machine that a host reaches over a serial line (`einchip.link`).

    Parameters
    ----------
    arch
        The machine.
    memory_bytes
        External memory, whole beats of the machine's port.
    cycles
        Cycles of a bit of the line (`host_link.uart.divisor`).

    Members
    -------
    rx, tx : in, out
        The line, seen from the board.
    irq : out
        The machine's interrupt.
    """

    rx: Signal
    tx: Signal
    irq: Signal

    def __init__(self, arch: Architecture, memory_bytes: int, cycles: int) -> None:
        self.arch, self.memory_bytes = arch, memory_bytes
        self._parts: dict[str, Any] = {
            "machine": Top(arch),
            "memory": AxiMemory(memory_bytes, arch.port_bytes),
            "bridge": Bridge(memory_bytes),
            "receiver": Receiver(cycles),
            "transmitter": Transmitter(cycles),
        }
        super().__init__({"rx": line(In), "tx": line(Out), "irq": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for name, part in self._parts.items():
            m.submodules[name] = part
        machine, memory, bridge = (self._parts[n] for n in ("machine", "memory", "bridge"))
        receiver, transmitter = self._parts["receiver"], self._parts["transmitter"]
        wiring.connect(m, machine.m_axi, memory.axi)
        wiring.connect(m, bridge.axil, machine.s_axil)
        wiring.connect(m, bridge.memory, memory.host)
        wiring.connect(m, receiver.bytes, bridge.received)
        wiring.connect(m, bridge.sent, transmitter.bytes)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            self.irq.eq(machine.irq),
        ]
        return m
