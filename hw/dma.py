"""The DMA unit: LOAD, STORE and the fetch of a program."""

from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.hw.axi import AxiSignature
from einchip.hw.dma_read import ReadEngine
from einchip.hw.dma_write import WriteEngine
from einchip.hw.interfaces import (
    DMA_ISSUE,
    FaultSignature,
    IssueSignature,
    ReadSignature,
    TokenSignature,
    WriteSignature,
    offset_bits,
)
from einchip.hw.program_memory import FetchSignature, ProgramWriteSignature, beats_per_word
from einchip.hw.unit import FrontEnd
from einchip.program import TOKENS, Store

#: Counters of this unit; `dma_transfer` .. `dma_idle`: exactly one counts in each cycle.
EVENTS = data.StructLayout(
    {
        "dma_transfer": 1,
        "dma_stall_port": 1,
        "dma_stall_memory": 1,
        "dma_stall_token": 1,
        "dma_idle": 1,
        "dma_read_beats": 1,
        "dma_write_beats": 1,
    }
)


class Dma(wiring.Component):
    """Move data between external memory and the scratchpads, one instruction at a time.

    A beat carries arch.port_elements elements, for lanes 0 and up. Beats of a LOAD pass from the
    bus to the scratchpad's write port in one cycle, without a buffer; those of a STORE take
    READ_LATENCY + 1 cycles from the read port to the bus, through a buffer of STORE_BEATS beats.

    Once stopped, no burst begins and bursts under way are finished with their data dropped: no
    write is requested, and the strobes on the bus are 0. What was offered on the bus stays offered,
    so the bus sees no broken rule. Until all is `quiet` nothing is launched, stopped or not.

    Members
    -------
    issue : IssueSignature(DMA_ISSUE), in
    tokens : TokenSignature, out
    fetch : FetchSignature, in
    program : ProgramWriteSignature, out
    axi : AxiSignature(port_bytes), out
    read_x, read_y : ReadSignature, out
    write_x, write_y : WriteSignature, out
    stop : in
    idle : out
        No instruction in the slot, the setup stage or execution.
    quiet : out
        Nothing is open on the bus.
    fault : FaultSignature, out
    events : EVENTS, out
    """

    issue: Any
    tokens: Any
    fetch: Any
    program: Any
    axi: Any
    read_x: Any
    read_y: Any
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
                "issue": In(IssueSignature(DMA_ISSUE)),
                "tokens": Out(TokenSignature(TOKENS)),
                "fetch": In(FetchSignature(arch)),
                "program": Out(ProgramWriteSignature(arch)),
                "axi": Out(AxiSignature(arch.port_bytes)),
                "read_x": Out(ReadSignature(arch)),
                "read_y": Out(ReadSignature(arch)),
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
        m.submodules.front = front = FrontEnd(DMA_ISSUE, 0)
        m.submodules.reader = reader = ReadEngine(self._arch)
        m.submodules.writer = writer = WriteEngine(self._arch)
        wiring.connect(m, wiring.flipped(self.issue), front.issue)
        active = Signal()
        m.d.comb += [
            active.eq(reader.transfer.active | writer.transfer.active),
            self.quiet.eq(reader.transfer.quiet & writer.transfer.quiet),
            self.idle.eq(front.idle & ~active),
            self.fault.code.eq(reader.transfer.fault.code | writer.transfer.fault.code),
            self.fault.address.eq(
                Mux(
                    reader.transfer.fault.code.any(),
                    reader.transfer.fault.address,
                    writer.transfer.fault.address,
                )
            ),
        ]
        self._connect_axi(m, reader, writer)
        self._launch(m, front, reader, writer, active)
        self._count(m, front, active)
        return m

    def _connect_axi(self, m: Module, reader: ReadEngine, writer: WriteEngine) -> None:
        """Give each engine its channels."""
        for engine in (reader.axi, writer.axi):
            for name, member in engine.signature.members.items():
                ours, theirs = getattr(self.axi, name), getattr(engine, name)
                m.d.comb += ours.eq(theirs) if member.flow == Out else theirs.eq(ours)

    def _launch(
        self, m: Module, front: FrontEnd, reader: ReadEngine, writer: WriteEngine, active: Signal
    ) -> None:
        """Start a fetch or an instruction, and give the instruction's tokens at its end."""
        desc, read, write = front.desc, reader.transfer, writer.transfer
        storing = desc.raw.opcode == Store.OPCODE
        fetching, fetch = Signal(), Signal()
        signal = Signal(TOKENS)
        free = ~active & self.quiet
        m.d.comb += [
            front.positive.eq(self.tokens.positive),
            self.tokens.take.eq(front.take),
            front.can_take.eq(free),
            front.stop.eq(self.stop),
            self.fetch.ready.eq(free),
            fetch.eq(self.fetch.valid & free),
            read.start.eq(fetch | (front.launch & ~storing)),
            write.start.eq(front.launch & storing),
            read.address.eq(Mux(fetch, self.fetch.address, desc.ext)),
            write.address.eq(desc.ext),
            read.beats.eq(
                Mux(fetch, self.fetch.words * beats_per_word(self._arch), desc.raw.beats)
            ),
            write.beats.eq(desc.raw.beats),
            read.stop.eq(self.stop),
            write.stop.eq(self.stop),
            self.fetch.done.eq(read.done & fetching),
        ]
        with m.If(read.start | write.start):
            m.d.sync += [fetching.eq(fetch), signal.eq(desc.raw.signal)]
        with m.If((read.done & ~fetching) | write.done):
            m.d.comb += self.tokens.give.eq(signal)
        self._connect_scratchpads(m, front, reader.beats, writer, fetching)
        self._connect_program(m, reader.beats, fetch, fetching)

    def _connect_scratchpads(
        self, m: Module, front: FrontEnd, beat: Any, writer: WriteEngine, fetching: Signal
    ) -> None:
        """Request the reads and writes of the instruction that runs, the next one at `address`."""
        space = Signal()
        address = Signal(offset_bits(self._arch))
        written, read = Signal(), Signal()
        with m.If(front.launch):
            m.d.sync += [space.eq(front.desc.raw.space), address.eq(front.desc.addr)]
        with m.Elif(written | read):
            m.d.sync += address.eq(address + self._arch.port_elements)
        for number, port in enumerate((self.write_x, self.write_y)):
            m.d.comb += port.valid.eq(beat.valid & ~fetching & (space == number))
            self._address_lanes(m, port, address)
            for lane in range(self._arch.port_elements):
                element = beat.payload.word_select(lane, self._arch.data_bits)
                m.d.comb += port.data[lane].eq(element.as_signed())
        ports = (self.read_x, self.read_y)
        for number, port in enumerate(ports):
            m.d.comb += port.valid.eq(writer.read_valid & (space == number))
            self._address_lanes(m, port, address)
        m.d.comb += [
            beat.ready.eq(fetching | Mux(space, self.write_y.ready, self.write_x.ready)),
            written.eq(beat.valid & beat.ready),
            writer.read_ready.eq(Mux(space, self.read_y.ready, self.read_x.ready)),
            read.eq(writer.read_valid & writer.read_ready),
            writer.read_data.eq(Mux(space, *(self._beat(p) for p in reversed(ports)))),
        ]

    def _address_lanes(self, m: Module, port: Any, address: Signal) -> None:
        """Let lane p of a request take element address + p of a beat."""
        m.d.comb += [port.base.eq(address), port.enable.eq((1 << self._arch.port_elements) - 1)]
        m.d.comb += [port.offsets[lane].eq(lane) for lane in range(self._arch.lanes)]

    def _beat(self, port: Any) -> Value:
        """Return the beat that the lowest lanes of a read port hold."""
        return port.data.as_value()[: 8 * self._arch.port_bytes]

    def _connect_program(self, m: Module, beat: Any, fetch: Signal, fetching: Signal) -> None:
        """Write the beats of a fetch into program memory."""
        m.d.comb += [
            self.program.valid.eq(beat.valid & fetching),
            self.program.data.eq(beat.payload),
        ]
        index = Signal.like(self.program.index)
        m.d.comb += self.program.index.eq(index)
        with m.If(fetch):
            m.d.sync += index.eq(0)
        with m.Elif(self.program.valid):
            m.d.sync += index.eq(index + 1)

    def _count(self, m: Module, front: FrontEnd, active: Signal) -> None:
        events, axi = self.events, self.axi
        m.d.comb += [
            events.dma_read_beats.eq(axi.rvalid & axi.rready),
            events.dma_write_beats.eq(axi.wvalid & axi.wready),
        ]
        with m.If(active):
            with m.If(events.dma_read_beats | events.dma_write_beats):
                m.d.comb += events.dma_transfer.eq(1)
            with m.Elif(axi.rvalid):
                m.d.comb += events.dma_stall_port.eq(1)
            with m.Else():
                m.d.comb += events.dma_stall_memory.eq(1)
        with m.Elif(front.missing_token):
            m.d.comb += events.dma_stall_token.eq(1)
        with m.Else():
            m.d.comb += events.dma_idle.eq(1)
