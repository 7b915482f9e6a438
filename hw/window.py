"""The window of scratchpad Y: its last rows, kept twice, so that STOREs wait for nobody."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import READ_LATENCY, Architecture, clog2
from einchip.hw.interfaces import FaultSignature, WindowSignature, elements
from einchip.hw.pipeline import delay, multiplex
from einchip.program import Error, Space


class Window(wiring.Component):
    """A copy of the last `y_window` rows of Y that is written with the banks and read by STOREs.

    Latency: a beat's data stand READ_LATENCY cycles after its grant (address; bank; selection of
    the beat), as those of the scratchpad's own port. One beat a cycle, always ready but when
    stopped. A beat beyond the end of Y has undefined data; its fault stands in the cycle after the
    grant.

    Parameters
    ----------
    arch
        A machine with a window: lanes banks of y_window rows.

    Members
    -------
    read : WindowSignature, in
    write_enable, write_row, write_data : in
        What the banks of Y are written with in this cycle, bank by bank; rows are those of Y.
    stop : in
        Nothing is granted.
    fault : FaultSignature, out
    count : range(port_elements + 1), out
        Elements read by this cycle's grant.
    """

    read: Any
    write_enable: Signal
    write_row: Any
    write_data: Any
    stop: Signal
    fault: Any
    count: Signal

    def __init__(self, arch: Architecture) -> None:
        if READ_LATENCY != 3:
            raise AssertionError("the window's pipeline has another depth than einchip.arch")
        self.arch = arch
        row = unsigned(clog2(arch.y_depth))
        super().__init__(
            {
                "read": In(WindowSignature(arch)),
                "write_enable": In(arch.lanes),
                "write_row": In(data.ArrayLayout(row, arch.lanes)),
                "write_data": In(elements(arch)),
                "stop": In(1),
                "fault": Out(FaultSignature()),
                "count": Out(range(arch.port_elements + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch = self.arch
        granted = Signal()
        m.d.comb += [
            self.read.ready.eq(~self.stop),
            granted.eq(self.read.valid & self.read.ready),
            self.count.eq(Mux(granted, arch.port_elements, 0)),
        ]
        # the cycle after the grant: the banks are read
        address = Signal.like(self.read.address, reset_less=True)
        m.d.sync += address.eq(self.read.address)
        asked = delay(m, granted, 1, "asked")
        low, rows = clog2(arch.lanes), clog2(arch.y_window)
        outputs = [
            self._bank(m, bank, asked, address[low : low + rows]) for bank in range(arch.lanes)
        ]
        with m.If(asked & address[arch.address_bits(Space.Y) :].any()):
            m.d.comb += [
                self.fault.code.eq(Error.ADDRESS),
                self.fault.address.eq(Const(Space.Y << 31, 32) | address),
            ]
        # the cycle after that: the beat is selected
        n = arch.port_elements
        beats = [Cat(outputs[k : k + n]) for k in range(0, arch.lanes, n)]
        select = delay(m, address[clog2(n) : low], 1, "beat")
        m.d.sync += self.read.data.eq(multiplex(beats, select))
        return m

    def _bank(self, m: Module, bank: int, asked: Signal, row: Any) -> Any:
        """Keep the copy of a bank's last rows; return what is read from it, a cycle later."""
        copy = Memory(shape=self.arch.data_bits, depth=self.arch.y_window, init=[])
        m.submodules[f"bank_{bank}"] = copy
        write, read = copy.write_port(), copy.read_port()
        bits, written = clog2(self.arch.y_window), self.write_row[bank]
        m.d.comb += [
            write.en.eq(self.write_enable[bank] & written[bits:].all()),
            write.addr.eq(written[:bits]),
            write.data.eq(self.write_data[bank]),
            read.en.eq(asked),
            read.addr.eq(row),
        ]
        return read.data
