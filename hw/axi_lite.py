"""An AXI4-Lite slave in front of plain registers."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.hw.axi import OKAY, SLVERR, AxiLiteSignature


class AxiLiteSlave(wiring.Component):
    """Turn AXI4-Lite transactions into strobes; one write and one read at a time.

    No output towards the bus depends on its inputs in the same cycle. A write whose address and
    data are both taken by cycle t is `write` in t + 1 and answered from t + 2. Of a read taken in
    t, `read_address` stands from t + 1, where `read` is 1, and `read_data` is sampled in
    t + 1 + read_cycles.

    Parameters
    ----------
    address_bits
        Width of a byte address.
    read_cycles
        What it takes to read, at least 1.

    Members
    -------
    axil : AxiLiteSignature(address_bits), in
    write, write_address, write_data, write_strobe : out
        Write the bytes of `write_data` that `write_strobe` has set, in this cycle.
    write_known : in
        Whether there is a register at `write_address`; if not, the answer is SLVERR.
    read, read_address : out
    read_data, read_known : in
        The register's value; whether there is a register.
    """

    axil: Any
    write: Signal
    write_address: Signal
    write_data: Signal
    write_strobe: Signal
    write_known: Signal
    read: Signal
    read_address: Signal
    read_data: Signal
    read_known: Signal

    def __init__(self, address_bits: int, read_cycles: int) -> None:
        self._read_cycles = read_cycles
        super().__init__(
            {
                "axil": In(AxiLiteSignature(address_bits)),
                "write": Out(1),
                "write_address": Out(address_bits),
                "write_data": Out(32),
                "write_strobe": Out(4),
                "write_known": In(1),
                "read": Out(1),
                "read_address": Out(address_bits),
                "read_data": In(32),
                "read_known": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m: Module) -> None:
        bus = self.axil
        has_address = Signal()
        has_data = Signal()
        m.d.comb += [
            bus.awready.eq(~has_address),
            bus.wready.eq(~has_data),
            self.write.eq(has_address & has_data & ~bus.bvalid),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), self.write_address.eq(bus.awaddr)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [
                has_data.eq(1),
                self.write_data.eq(bus.wdata),
                self.write_strobe.eq(bus.wstrb),
            ]
        with m.If(self.write):
            m.d.sync += [
                has_address.eq(0),
                has_data.eq(0),
                bus.bvalid.eq(1),
                bus.bresp.eq(Mux(self.write_known, OKAY, SLVERR)),
            ]
        with m.Elif(bus.bready):
            m.d.sync += bus.bvalid.eq(0)

    def _read(self, m: Module) -> None:
        bus = self.axil
        age = Signal(1 + self._read_cycles)  # the read was taken one, two, .. cycles ago
        m.d.comb += [bus.arready.eq(~age.any() & ~bus.rvalid), self.read.eq(age[0])]
        m.d.sync += age.eq(Cat(bus.arvalid & bus.arready, age[:-1]))
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += self.read_address.eq(bus.araddr)
        with m.If(age[-1]):
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rdata.eq(Mux(self.read_known, self.read_data, 0)),
                bus.rresp.eq(Mux(self.read_known, OKAY, SLVERR)),
            ]
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
