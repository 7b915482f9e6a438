"""The whole machine, of one multiplier: what `Top` does beside each other, one after the other."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.hw.axi import AxiLiteSignature, AxiSignature
from einchip.hw.control import Control
from einchip.hw.serial_engine import SerialEngine
from einchip.registers import ADDRESS_BITS


class SerialTop(wiring.Component):
    """einchip with one multiplier: control registers, and an engine that runs a microprogram.

    The members are those of `top.Top`.
    """

    s_axil: Any
    m_axi: Any
    irq: Signal

    def __init__(self, arch: Architecture) -> None:
        self.arch, self.engine = arch, SerialEngine(arch)
        super().__init__(
            {
                "s_axil": In(AxiLiteSignature(ADDRESS_BITS)),
                "m_axi": Out(AxiSignature(arch.port_bytes)),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control = control = Control(self.arch)
        m.submodules.engine = engine = self.engine
        wiring.connect(m, wiring.flipped(self.s_axil), control.s_axil)
        wiring.connect(m, engine.m_axi, wiring.flipped(self.m_axi))
        wiring.connect(m, engine.fault, control.faults.sequencer)
        m.d.comb += [
            self.irq.eq(control.irq),
            engine.start.eq(control.start),
            engine.fetch.eq(control.fetch),
            engine.running.eq(control.running),
            engine.stop.eq(control.stop),
            engine.host.eq(control.host),
            control.halted.eq(engine.halted),
            control.quiet.eq(engine.quiet),
            control.pc.eq(engine.pc),
            control.progress.eq(engine.progress),
            control.events.eq(engine.events),
        ]
        return m
