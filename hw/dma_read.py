"""The half of the DMA unit that reads from external memory."""

from typing import Any

from amaranth import Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import READ_BURSTS, Architecture, clog2
from einchip.hw.axi import ADDRESS_BITS, ERROR_BIT, INCR, AxiReadSignature
from einchip.hw.burst import BEATS_BITS, TransferSignature, burst_beats, bytes_of
from einchip.program import Error


class ReadEngine(wiring.Component):
    """Read a range of external memory, burst by burst, at up to one beat a cycle.

    Started in cycle u, `arvalid` is 1 in every cycle from u + 1 in which bursts are left and fewer
    than READ_BURSTS bursts miss their last beat. A beat passes from the bus to `beats` in the cycle
    in which both sides take it; there is no buffer, so requests are never held back by the sink.
    A beat with an error response is not passed on.

    Parameters
    ----------
    arch
        Gives the width of the port and the longest burst.

    Members
    -------
    transfer : TransferSignature, in
    axi : AxiReadSignature(arch.port_bytes), out
    beats : stream of 8 * port_bytes bits, out
        Here `ready` may fall, and `valid` falls with `transfer.stop`.
    """

    transfer: Any
    axi: Any
    beats: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "transfer": In(TransferSignature()),
                "axi": Out(AxiReadSignature(arch.port_bytes)),
                "beats": Out(stream.Signature(8 * arch.port_bytes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dropping = Signal()
        halt = Signal()
        m.d.comb += halt.eq(self.transfer.stop | dropping)
        m.d.sync += dropping.eq(halt & ~self.transfer.quiet)
        self._request(m, halt)
        self._receive(m, halt)
        return m

    def _request(self, m: Module, halt: Signal) -> None:
        """Send burst addresses."""
        transfer, axi = self.transfer, self.axi
        address = Signal(ADDRESS_BITS)
        left = Signal(BEATS_BITS)
        outstanding = Signal(range(READ_BURSTS + 1))
        held = Signal()  # offered in the previous cycle, so it must stay
        beats = burst_beats(address, left, self._arch)
        sent = Signal()
        m.d.comb += [
            axi.arvalid.eq(held | (left.any() & (outstanding < READ_BURSTS) & ~halt)),
            axi.araddr.eq(address),
            axi.arlen.eq(beats - 1),
            axi.arsize.eq(Const(clog2(self._arch.port_bytes))),
            axi.arburst.eq(INCR),
            sent.eq(axi.arvalid & axi.arready),
            transfer.quiet.eq(~held & (outstanding == 0)),
        ]
        finished = axi.rvalid & axi.rready & axi.rlast
        m.d.sync += [
            held.eq(axi.arvalid & ~axi.arready),
            outstanding.eq(outstanding + sent - finished),
        ]
        with m.If(sent):
            m.d.sync += [
                address.eq(address + bytes_of(beats, self._arch)),
                left.eq(left - beats),
            ]
        with m.If(transfer.start):
            m.d.sync += [address.eq(transfer.address), left.eq(transfer.beats)]
        with m.Elif(halt & ~axi.arvalid):
            m.d.sync += left.eq(0)

    def _receive(self, m: Module, halt: Signal) -> None:
        """Pass beats on."""
        transfer, axi = self.transfer, self.axi
        left = Signal(BEATS_BITS, name="receive_left")
        address = Signal(ADDRESS_BITS, name="receive_address")
        burst = Signal(ADDRESS_BITS, name="receive_burst")
        next_address = Signal(ADDRESS_BITS)
        accepted = Signal()
        failed = axi.rresp[ERROR_BIT]
        m.d.comb += [
            axi.rready.eq(self.beats.ready | halt),
            accepted.eq(axi.rvalid & axi.rready & ~halt),
            self.beats.valid.eq(axi.rvalid & ~failed & ~halt),
            self.beats.payload.eq(axi.rdata),
            transfer.done.eq(accepted & (left == 1)),
            next_address.eq(address + self._arch.port_bytes),
        ]
        with m.If(accepted & failed):
            m.d.comb += [transfer.fault.code.eq(Error.AXI_READ), transfer.fault.address.eq(burst)]
        with m.If(accepted):
            m.d.sync += [left.eq(left - 1), address.eq(next_address)]
            with m.If(axi.rlast):
                m.d.sync += burst.eq(next_address)
        with m.If(transfer.done | halt):
            m.d.sync += transfer.active.eq(0)
        with m.If(transfer.start):
            m.d.sync += [
                transfer.active.eq(1),
                left.eq(transfer.beats),
                address.eq(transfer.address),
                burst.eq(transfer.address),
            ]
