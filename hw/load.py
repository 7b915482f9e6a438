"""The load unit: LOAD and the fetch of a program."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import READ_BURSTS, Architecture, clog2
from einchip.hw.axi import ADDRESS_BITS, ERROR_BIT, INCR, AxiReadSignature
from einchip.hw.burst import BurstAddresses
from einchip.hw.interfaces import (
    TRANSFER_ISSUE,
    FaultSignature,
    IssueSignature,
    TokenSignature,
    WriteSignature,
    offset_bits,
)
from einchip.hw.program_memory import FetchSignature, ProgramWriteSignature, beats_per_word
from einchip.hw.unit import FrontEnd
from einchip.program import TOKENS, Error

#: Counters of this unit; `load_transfer` .. `load_idle`: exactly one counts in each cycle.
EVENTS = data.StructLayout(
    {
        "load_transfer": 1,
        "load_stall_port": 1,
        "load_stall_memory": 1,
        "load_stall_token": 1,
        "load_idle": 1,
        "dma_read_beats": 1,
    }
)


def _burst_layout(arch: Architecture) -> data.StructLayout:
    """What is kept of a burst under way: where its beats go, what its end means."""
    return data.StructLayout(
        {
            "address": ADDRESS_BITS,
            "element": offset_bits(arch),
            "space": 1,
            "fetching": 1,
            "last": 1,
            "signal": TOKENS,
        }
    )


class LoadUnit(wiring.Component):
    """Read from external memory into the scratchpads, at up to one beat a cycle.

    A beat carries arch.port_elements elements, for lanes 0 and up. Beats pass from the bus to the
    scratchpad's write port (program memory) in one cycle, without a buffer. The next instruction
    launches as soon as no address is left. A beat with an error response is not written.

    Once stopped, no burst begins and bursts under way are finished with their data dropped. What
    was offered on the bus stays offered. Until all is `quiet` nothing is launched, stopped or not.

    Members
    -------
    issue : IssueSignature(TRANSFER_ISSUE), in
    tokens : TokenSignature, out
    fetch : FetchSignature, in
    program : ProgramWriteSignature, out
    axi : AxiReadSignature(port_bytes), out
    write_x, write_y : WriteSignature, out
    stop : in
    idle : out
        No instruction in the slot, the setup stage or execution.
    quiet : out
        Nothing is open on the bus.
    fault : FaultSignature, out
        An error response, with the address of its burst.
    events : EVENTS, out
    """

    issue: Any
    tokens: Any
    fetch: Any
    program: Any
    axi: Any
    write_x: Any
    write_y: Any
    stop: Signal
    idle: Signal
    quiet: Signal
    fault: Any
    events: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "issue": In(IssueSignature(TRANSFER_ISSUE)),
                "tokens": Out(TokenSignature(TOKENS)),
                "fetch": In(FetchSignature(arch)),
                "program": Out(ProgramWriteSignature(arch)),
                "axi": Out(AxiReadSignature(arch.port_bytes)),
                "write_x": Out(WriteSignature(arch)),
                "write_y": Out(WriteSignature(arch)),
                "stop": In(1),
                "idle": Out(1),
                "quiet": Out(1),
                "fault": Out(FaultSignature()),
                "events": Out(EVENTS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.front = front = FrontEnd(TRANSFER_ISSUE, 0)
        m.submodules.addresses = addresses = BurstAddresses(self._arch, READ_BURSTS)
        wiring.connect(m, wiring.flipped(self.issue), front.issue)
        m.d.comb += [
            front.positive.eq(self.tokens.positive),
            self.tokens.take.eq(front.take),
            front.stop.eq(self.stop),
            addresses.stop.eq(self.stop),
            self.quiet.eq(addresses.quiet),
            self.idle.eq(front.idle & ~addresses.active),
        ]
        self._offer_addresses(m, addresses)
        sending = self._launch(m, front, addresses)
        burst = self._keep_bursts(m, addresses, sending)
        self._receive(m, addresses, burst)
        self._count(m, front, addresses.active)
        return m

    def _offer_addresses(self, m: Module, addresses: BurstAddresses) -> None:
        axi = self.axi
        m.d.comb += [
            axi.arvalid.eq(addresses.address.valid),
            addresses.address.ready.eq(axi.arready),
            axi.araddr.eq(addresses.address.payload),
            axi.arlen.eq(addresses.burst_beats - 1),
            axi.arsize.eq(Const(clog2(self._arch.port_bytes))),
            axi.arburst.eq(INCR),
        ]

    def _launch(self, m: Module, front: FrontEnd, addresses: BurstAddresses) -> Any:
        """Start a fetch or an instruction; return what the burst offered next will be."""
        desc, fetch = front.desc, Signal()
        sending: Any = Signal(_burst_layout(self._arch))
        running = Signal.like(sending)  # but for the fields that differ from burst to burst
        m.d.comb += [
            front.can_take.eq(addresses.free),
            self.fetch.ready.eq(addresses.free),
            fetch.eq(self.fetch.valid & addresses.free),
            addresses.start.eq(fetch | front.launch),
            addresses.at.eq(Mux(self.fetch.valid, self.fetch.address, desc.ext)),
            addresses.beats.eq(
                Mux(self.fetch.valid, self.fetch.words * beats_per_word(self._arch), desc.raw.beats)
            ),
            sending.eq(running),
            sending.address.eq(addresses.address.payload),
            sending.last.eq(addresses.last),
        ]
        with m.If(addresses.sent):
            beats = Cat(Const(0, clog2(self._arch.port_elements)), addresses.burst_beats)
            m.d.sync += running.element.eq(running.element + beats)
        with m.If(addresses.start):
            m.d.sync += [
                running.element.eq(desc.addr),
                running.space.eq(desc.raw.space),
                running.fetching.eq(fetch),
                running.signal.eq(desc.raw.signal),
            ]
        return sending

    def _keep_bursts(self, m: Module, addresses: BurstAddresses, sending: Any) -> Any:
        """Keep what was sent; return the burst whose beats come."""
        layout = _burst_layout(self._arch)
        bursts: Any = Memory(shape=layout, depth=READ_BURSTS, init=[])
        m.submodules.bursts = bursts
        write, read = bursts.write_port(), bursts.read_port(domain="comb")
        number = Signal(range(READ_BURSTS))
        m.d.comb += [
            write.addr.eq(addresses.number),
            write.data.eq(sending),
            write.en.eq(addresses.sent),
            read.addr.eq(number),
        ]
        with m.If(addresses.ended):
            m.d.sync += number.eq(number + 1)
        return read.data

    def _receive(self, m: Module, addresses: BurstAddresses, burst: Any) -> None:
        """Write the beats that come, and give the tokens after the last one."""
        axi, halt = self.axi, addresses.halt
        moved = Signal(range(self._arch.burst_beats))  # beats of this burst
        valid = Signal()
        accepted = Signal()
        done = Signal(name="done")
        ready = burst.fetching | Mux(burst.space, self.write_y.ready, self.write_x.ready)
        m.d.comb += [
            axi.rready.eq(halt | ready),
            accepted.eq(axi.rvalid & axi.rready),
            addresses.ended.eq(accepted & axi.rlast),
            valid.eq(axi.rvalid & ~axi.rresp[ERROR_BIT] & ~halt),
            done.eq(addresses.ended & burst.last & ~halt),
            self.fetch.done.eq(done & burst.fetching),
        ]
        with m.If(addresses.ended):
            m.d.sync += moved.eq(0)
        with m.Elif(accepted):
            m.d.sync += moved.eq(moved + 1)
        with m.If(accepted & axi.rresp[ERROR_BIT] & ~halt):
            m.d.comb += [self.fault.code.eq(Error.AXI_READ), self.fault.address.eq(burst.address)]
        with m.If(done & ~burst.fetching):
            m.d.comb += self.tokens.give.eq(burst.signal)
        for number, port in enumerate((self.write_x, self.write_y)):
            m.d.comb += port.valid.eq(valid & ~burst.fetching & (burst.space == number))
            address_lanes(m, port, burst.element, moved, self._arch)
            for lane in range(self._arch.port_elements):
                element = axi.rdata.word_select(lane, self._arch.data_bits)
                m.d.comb += port.data[lane].eq(element.as_signed())
        self._write_program(m, valid & burst.fetching)

    def _write_program(self, m: Module, valid: Any) -> None:
        """Write the beats of a fetch into program memory."""
        index = Signal.like(self.program.index)
        m.d.comb += [
            self.program.valid.eq(valid),
            self.program.data.eq(self.axi.rdata),
            self.program.index.eq(index),
        ]
        with m.If(self.fetch.valid & self.fetch.ready):
            m.d.sync += index.eq(0)
        with m.Elif(self.program.valid):
            m.d.sync += index.eq(index + 1)

    def _count(self, m: Module, front: FrontEnd, active: Signal) -> None:
        events, axi = self.events, self.axi
        m.d.comb += events.dma_read_beats.eq(axi.rvalid & axi.rready)
        with m.If(active):
            with m.If(axi.rvalid):
                m.d.comb += [
                    events.load_transfer.eq(axi.rready),
                    events.load_stall_port.eq(~axi.rready),
                ]
            with m.Else():
                m.d.comb += events.load_stall_memory.eq(1)
        with m.Elif(front.missing_token):
            m.d.comb += events.load_stall_token.eq(1)
        with m.Else():
            m.d.comb += events.load_idle.eq(1)


def address_lanes(m: Module, port: Any, base: Any, beat: Signal, arch: Architecture) -> None:
    """Let lane p of a request take element base + beat * port_elements + p."""
    bits = clog2(arch.port_elements)
    m.d.comb += [port.base.eq(base), port.enable.eq((1 << arch.port_elements) - 1)]
    m.d.comb += [
        port.offsets[lane].eq(Cat(Const(lane % arch.port_elements, bits), beat))
        for lane in range(arch.lanes)
    ]
