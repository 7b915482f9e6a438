"""The half of the DMA unit that writes to external memory."""

from typing import Any

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import READ_LATENCY, STORE_BEATS, Architecture, clog2
from einchip.hw.axi import ADDRESS_BITS, ERROR_BIT, INCR, AxiWriteSignature
from einchip.hw.burst import BEATS_BITS, TransferSignature, burst_beats, bytes_of
from einchip.program import Error


class WriteEngine(wiring.Component):
    """Write a range of external memory, one burst after the other.

    Started in cycle u, `awvalid` is 1 from u + 1 (later bursts: from the cycle after the response
    of the one before) until accepted in a; from a + 1 beats are requested from the source, granted
    in t they are offered from t + READ_LATENCY + 1, and after the last one's acceptance the
    response is awaited. At most STORE_BEATS beats are between grant and acceptance.

    Once stopped, a burst whose address is out is filled up with beats that write nothing.

    Parameters
    ----------
    arch
        Gives the width of the port and the longest burst.

    Members
    -------
    transfer : TransferSignature, in
    axi : AxiWriteSignature(arch.port_bytes), out
    read_valid, read_ready : out, in
        The next beat is wanted; it is granted.
    read_data : 8 * port_bytes, in
        A beat, READ_LATENCY cycles after its grant.
    """

    transfer: Any
    axi: Any
    read_valid: Signal
    read_ready: Signal
    read_data: Signal

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "transfer": In(TransferSignature()),
                "axi": Out(AxiWriteSignature(arch.port_bytes)),
                "read_valid": Out(1),
                "read_ready": In(1),
                "read_data": In(8 * arch.port_bytes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dropping, halt = Signal(), Signal()
        m.d.comb += halt.eq(self.transfer.stop | dropping)
        m.d.sync += dropping.eq(halt & ~self.transfer.quiet)
        with m.If(self.transfer.start):
            m.d.sync += self.transfer.active.eq(1)
        with m.Elif(self.transfer.done | halt):
            m.d.sync += self.transfer.active.eq(0)
        to_read, to_send = (Signal(range(self._arch.burst_beats + 1)) for _ in range(2))
        self._beats(m, halt, to_read, to_send)
        self._bursts(m, halt, to_read, to_send)  # after it: sets the counts that beats run down
        return m

    def _bursts(self, m: Module, halt: Signal, to_read: Signal, to_send: Signal) -> None:
        """Send each burst's address, wait for its beats and its response."""
        transfer, axi = self.transfer, self.axi
        address, burst = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        left = Signal(BEATS_BITS)
        held = Signal()  # offered in the previous cycle, so it must stay
        beats = burst_beats(address, left, self._arch)
        m.d.comb += [
            axi.awaddr.eq(address),
            axi.awlen.eq(beats - 1),
            axi.awsize.eq(Const(clog2(self._arch.port_bytes))),
            axi.awburst.eq(INCR),
        ]
        m.d.sync += held.eq(axi.awvalid & ~axi.awready)
        with m.FSM(name="burst"):
            with m.State("IDLE"):
                m.d.comb += transfer.quiet.eq(1)
                with m.If(transfer.start):
                    m.d.sync += [address.eq(transfer.address), left.eq(transfer.beats)]
                    m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.d.comb += axi.awvalid.eq(held | ~halt)
                with m.If(axi.awvalid & axi.awready):
                    m.d.sync += [
                        to_read.eq(beats),
                        to_send.eq(beats),
                        burst.eq(address),
                        address.eq(address + bytes_of(beats, self._arch)),
                        left.eq(left - beats),
                    ]
                    m.next = "DATA"
                with m.Elif(~axi.awvalid):
                    m.next = "IDLE"
            with m.State("DATA"), m.If(axi.wvalid & axi.wready & axi.wlast):
                m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += axi.bready.eq(1)
                with m.If(axi.bvalid):
                    m.next = "ADDRESS"
                    with m.If(halt | (left == 0)):
                        m.next = "IDLE"
                    m.d.comb += transfer.done.eq((left == 0) & ~halt)
                    with m.If(axi.bresp[ERROR_BIT] & ~halt):
                        m.d.comb += [
                            transfer.fault.code.eq(Error.AXI_WRITE),
                            transfer.fault.address.eq(burst),
                        ]

    def _beats(self, m: Module, halt: Signal, to_read: Signal, to_send: Signal) -> None:
        """Fetch the beats of a burst ahead into a buffer and send them."""
        axi = self.axi
        buffer: Any = Memory(shape=8 * self._arch.port_bytes, depth=STORE_BEATS, init=[])
        m.submodules.buffer = buffer
        write, read = buffer.write_port(), buffer.read_port(domain="comb")
        in_flight = Signal(range(STORE_BEATS + 1))  # granted and not yet accepted
        coming = Signal(READ_LATENCY)  # granted one, two, .. cycles ago
        filled, sent = (Signal(clog2(STORE_BEATS) + 1) for _ in range(2))
        granted, accepted = Signal(), Signal()
        # A beat that was offered and not taken keeps its data and strobes, whatever happens.
        held, held_real = Signal(), Signal()
        real = Signal()
        m.d.comb += [
            self.read_valid.eq(to_read.any() & (in_flight < STORE_BEATS) & ~halt),
            granted.eq(self.read_valid & self.read_ready),
            write.addr.eq(filled),
            write.data.eq(self.read_data),
            write.en.eq(coming[-1]),
            read.addr.eq(sent),
            real.eq(Mux(held, held_real, ~halt)),
            axi.wvalid.eq(to_send.any() & ((filled != sent) | ~real)),
            axi.wdata.eq(Mux(real, read.data, 0)),
            axi.wstrb.eq(real.replicate(self._arch.port_bytes)),
            axi.wlast.eq(to_send == 1),
            accepted.eq(axi.wvalid & axi.wready),
        ]
        m.d.sync += [
            to_read.eq(Mux(halt, 0, to_read - granted)),
            to_send.eq(to_send - accepted),
            in_flight.eq(in_flight + granted - accepted),
            coming.eq((coming << 1) | granted),
            filled.eq(filled + coming[-1]),
            sent.eq(sent + accepted),
            held.eq(axi.wvalid & ~axi.wready),
            held_real.eq(real),
        ]
        with m.If(self.transfer.start):
            m.d.sync += [x.eq(0) for x in (to_read, in_flight, coming, filled, sent)]
