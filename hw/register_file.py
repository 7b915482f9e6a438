"""The sequencer's registers, in a small memory."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import clog2
from einchip.program import REGISTER_BITS, REGISTERS


class RegisterFile(wiring.Component):
    """REGISTERS registers with one write port and any number of read ports, all cleared at once.

    The registers lie in LUT RAM, a copy for each read port, which takes a quarter of what
    flip-flops with multiplexers would. Memory cannot be cleared: which registers were written since
    `clear` is kept beside it, and the others read 0.

    Parameters
    ----------
    n_reads
        Read ports.

    Members
    -------
    clear : in
        All registers are 0 from the next cycle on; wins over a write.
    write, to, value : in
        Register `to` is `value` from the next cycle on.
    number : n_reads * log2(REGISTERS), in
    read : n_reads * REGISTER_BITS, out
        The registers of these numbers, as they are in this cycle.
    """

    clear: Signal
    write: Signal
    to: Signal
    value: Signal
    number: Any
    read: Any

    def __init__(self, n_reads: int) -> None:
        super().__init__(
            {
                "clear": In(1),
                "write": In(1),
                "to": In(range(REGISTERS)),
                "value": In(REGISTER_BITS),
                "number": In(data.ArrayLayout(clog2(REGISTERS), n_reads)),
                "read": Out(data.ArrayLayout(REGISTER_BITS, n_reads)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory: Any = Memory(shape=REGISTER_BITS, depth=REGISTERS, init=[])
        m.submodules.memory = memory
        write = memory.write_port()
        written = Signal(REGISTERS)
        m.d.comb += [
            write.en.eq(self.write),
            write.addr.eq(self.to),
            write.data.eq(self.value),
        ]
        with m.If(self.write):
            m.d.sync += written.bit_select(self.to, 1).eq(1)
        with m.If(self.clear):
            m.d.sync += written.eq(0)
        for number, value in zip(self.number, self.read, strict=True):
            port = memory.read_port(domain="comb")
            m.d.comb += [
                port.addr.eq(number),
                value.eq(Mux(written.bit_select(number, 1), port.data, 0)),
            ]
        return m
