"""The store unit: STORE."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import READ_LATENCY, STORE_BEATS, WRITE_BURSTS, Architecture, clog2
from einchip.hw.axi import ADDRESS_BITS, ERROR_BIT, INCR, AxiWriteSignature
from einchip.hw.burst import BurstAddresses
from einchip.hw.interfaces import (
    TRANSFER_ISSUE,
    FaultSignature,
    IssueSignature,
    ReadSignature,
    TokenSignature,
    chosen_port,
    offset_bits,
    read_ports,
)
from einchip.hw.load import address_lanes
from einchip.hw.pipeline import delay, one_hot
from einchip.hw.unit import FrontEnd
from einchip.program import TOKENS, Error

#: Counters of this unit; `store_transfer` .. `store_idle`: exactly one counts in each cycle.
EVENTS = data.StructLayout(
    {
        "store_transfer": 1,
        "store_stall_port": 1,
        "store_stall_memory": 1,
        "store_stall_token": 1,
        "store_idle": 1,
        "dma_write_beats": 1,
    }
)


class _Bursts(wiring.Component):
    """The bursts under way, in a ring of WRITE_BURSTS, and who is at which of them.

    Members
    -------
    write : in
        What is kept of the burst number `number`, where `sent`.
    reading, sending, answering : layout, out
        The burst whose beats are read, offered, whose response comes.
    may_read, may_send : out
        There is such a burst.
    read, send, answer : in
        That burst is done with it: go on to the next.
    clear : in
        All are at burst `number`.
    """

    write: Any
    sent: Signal
    number: Signal
    reading: Any
    sending: Any
    answering: Any
    may_read: Signal
    may_send: Signal
    read: Signal
    send: Signal
    answer: Signal
    clear: Signal

    def __init__(self, layout: data.StructLayout) -> None:
        self._layout = layout
        super().__init__(
            {
                "write": In(layout),
                "sent": In(1),
                "number": In(range(WRITE_BURSTS)),
                "reading": Out(layout),
                "sending": Out(layout),
                "answering": Out(layout),
                "may_read": Out(1),
                "may_send": Out(1),
                "read": In(1),
                "send": In(1),
                "answer": In(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory: Any = Memory(shape=self._layout, depth=WRITE_BURSTS, init=[])
        m.submodules.memory = memory
        write = memory.write_port()
        m.d.comb += [write.addr.eq(self.number), write.data.eq(self.write), write.en.eq(self.sent)]
        for burst, step, left in (
            (self.reading, self.read, self.may_read),
            (self.sending, self.send, self.may_send),
            (self.answering, self.answer, None),
        ):
            port = memory.read_port(domain="comb")
            number = Signal(range(WRITE_BURSTS))
            waiting = Signal(range(WRITE_BURSTS + 1))
            m.d.comb += [port.addr.eq(number), burst.eq(port.data)]
            m.d.sync += [number.eq(number + step), waiting.eq(waiting + self.sent - step)]
            if left is not None:
                m.d.comb += left.eq(waiting.any())
            with m.If(self.clear):
                m.d.sync += [number.eq(self.number), waiting.eq(0)]
        return m


class StoreUnit(wiring.Component):
    """Write from the scratchpads to external memory, at up to one beat a cycle.

    A beat carries the arch.port_elements elements of lanes 0 and up; it takes READ_LATENCY + 1
    cycles from the read port to the bus, through a buffer of STORE_BEATS beats. Bursts are offered
    and their beats sent while responses to earlier ones are to come; the next instruction launches
    as soon as no address is left.

    Once stopped, no burst begins, and bursts under way are filled up with beats that write nothing:
    their strobes are 0. What was offered on the bus stays offered. Until all is `quiet` nothing is
    launched, stopped or not.

    Members
    -------
    issue : IssueSignature(TRANSFER_ISSUE), in
    tokens : TokenSignature, out
    axi : AxiWriteSignature(port_bytes), out
    read_x, read_y, read_x_window, read_y_window : ReadSignature, out
        Of the windows that there are.
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
    axi: Any
    read_x: Any
    read_y: Any
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
                "axi": Out(AxiWriteSignature(arch.port_bytes)),
                "stop": In(1),
                "idle": Out(1),
                "quiet": Out(1),
                "fault": Out(FaultSignature()),
                "events": Out(EVENTS),
            }
            | {f"read_{port}": Out(ReadSignature(arch)) for port in read_ports(arch)}
        )
        self._reads: list[Any] = [getattr(self, f"read_{port}") for port in read_ports(arch)]
        self._layout = data.StructLayout(
            {
                "address": ADDRESS_BITS,
                "element": offset_bits(arch),
                "port": len(self._reads),
                "last_beat": range(arch.burst_beats),  # its number
                "last": 1,
                "signal": TOKENS,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.front = front = FrontEnd(TRANSFER_ISSUE, 0)
        m.submodules.addresses = addresses = BurstAddresses(self._arch, WRITE_BURSTS)
        m.submodules.bursts = bursts = _Bursts(self._layout)
        wiring.connect(m, wiring.flipped(self.issue), front.issue)
        m.d.comb += [
            front.positive.eq(self.tokens.positive),
            self.tokens.take.eq(front.take),
            front.stop.eq(self.stop),
            addresses.stop.eq(self.stop),
            self.quiet.eq(addresses.quiet),
            self.idle.eq(front.idle & ~addresses.active),
            bursts.clear.eq(addresses.halt & addresses.quiet),
        ]
        self._offer_addresses(m, addresses)
        self._launch(m, front, addresses, bursts)
        room = Signal()
        granted = self._read(m, bursts, room, addresses.halt)
        self._send(m, bursts, granted, room, addresses.halt)
        self._answer(m, bursts, addresses)
        self._count(m, front, addresses.active, granted)
        return m

    def _offer_addresses(self, m: Module, addresses: BurstAddresses) -> None:
        axi = self.axi
        m.d.comb += [
            axi.awvalid.eq(addresses.address.valid),
            addresses.address.ready.eq(axi.awready),
            axi.awaddr.eq(addresses.address.payload),
            axi.awlen.eq(addresses.burst_beats - 1),
            axi.awsize.eq(Const(clog2(self._arch.port_bytes))),
            axi.awburst.eq(INCR),
        ]

    def _launch(
        self, m: Module, front: FrontEnd, addresses: BurstAddresses, bursts: _Bursts
    ) -> None:
        """Start an instruction; keep the bursts that are sent."""
        desc = front.desc
        running: Any = Signal(self._layout)  # but for the fields that differ from burst to burst
        m.d.comb += [
            front.can_take.eq(addresses.free),
            addresses.start.eq(front.launch),
            addresses.at.eq(desc.ext),
            addresses.beats.eq(desc.raw.beats),
            bursts.sent.eq(addresses.sent),
            bursts.number.eq(addresses.number),
            bursts.write.eq(running),
            bursts.write.address.eq(addresses.address.payload),
            bursts.write.last_beat.eq(addresses.burst_beats - 1),
            bursts.write.last.eq(addresses.last),
        ]
        with m.If(addresses.sent):
            beats = Cat(Const(0, clog2(self._arch.port_elements)), addresses.burst_beats)
            m.d.sync += running.element.eq(running.element + beats)
        with m.If(front.launch):
            m.d.sync += [
                running.element.eq(desc.addr),
                running.port.eq(chosen_port(self._arch, desc.raw.space, desc.addr)),
                running.signal.eq(desc.raw.signal),
            ]

    def _read(self, m: Module, bursts: _Bursts, room: Signal, halt: Signal) -> Signal:
        """Request beats from the scratchpads while there is room; return whether one is granted."""
        burst = bursts.reading
        moved = Signal(range(self._arch.burst_beats))  # beats of this burst
        wanted = Signal()
        granted = Signal()
        ready = Cat(port.ready for port in self._reads)
        m.d.comb += [
            wanted.eq(bursts.may_read & room & ~halt),
            granted.eq(wanted & (burst.port & ready).any()),
            bursts.read.eq(granted & (moved == burst.last_beat)),
            self.events.store_stall_port.eq(wanted & ~granted),
        ]
        for port, here in zip(self._reads, burst.port, strict=True):
            m.d.comb += port.valid.eq(wanted & here)
            address_lanes(m, port, burst.element, moved, self._arch)
        with m.If(bursts.read | halt):
            m.d.sync += moved.eq(0)
        with m.Elif(granted):
            m.d.sync += moved.eq(moved + 1)
        return granted

    def _arriving(self, m: Module, bursts: _Bursts, granted: Signal, halt: Signal) -> Any:
        """Return whether a beat comes from the scratchpads, and the beat."""
        # granted one, two, .. cycles ago
        coming = Signal(READ_LATENCY)
        m.d.sync += coming.eq(Mux(halt, 0, (coming << 1) | granted))
        port = delay(m, bursts.reading.port, READ_LATENCY, "port")
        bits = 8 * self._arch.port_bytes  # in the lowest lanes
        beats = [read.data.as_value()[:bits] for read in self._reads]
        return coming[-1], one_hot(zip(port, beats, strict=True))

    def _send(
        self, m: Module, bursts: _Bursts, granted: Signal, room: Signal, halt: Signal
    ) -> None:
        """Buffer the beats that come and offer them; those of a stopped burst write nothing."""
        axi = self.axi
        buffer: Any = Memory(shape=8 * self._arch.port_bytes, depth=STORE_BEATS, init=[])
        m.submodules.buffer = buffer
        write, read = buffer.write_port(), buffer.read_port(domain="comb")
        in_flight = Signal(range(STORE_BEATS + 1))  # granted and not yet accepted
        filled = Signal(clog2(STORE_BEATS) + 1)
        sent = Signal.like(filled)
        moved = Signal(range(self._arch.burst_beats), name="moved_to_bus")  # of this burst
        arrived, beat = self._arriving(m, bursts, granted, halt)
        # A beat that was offered and not taken keeps its data and strobes, whatever happens.
        held = Signal()
        held_real = Signal()
        real = Signal()
        accepted = Signal()
        m.d.comb += [
            room.eq(in_flight < STORE_BEATS),
            write.addr.eq(filled),
            write.data.eq(beat),
            write.en.eq(arrived),
            read.addr.eq(sent),
            real.eq(Mux(held, held_real, ~halt)),
            axi.wvalid.eq(bursts.may_send & ((filled != sent) | ~real)),
            axi.wdata.eq(Mux(real, read.data, 0)),
            axi.wstrb.eq(real.replicate(self._arch.port_bytes)),
            axi.wlast.eq(moved == bursts.sending.last_beat),
            accepted.eq(axi.wvalid & axi.wready),
            bursts.send.eq(accepted & axi.wlast),
            self.events.dma_write_beats.eq(accepted),
        ]
        m.d.sync += [
            in_flight.eq(in_flight + granted - accepted),
            filled.eq(filled + arrived),
            sent.eq(sent + accepted),
            moved.eq(Mux(bursts.send, 0, moved + accepted)),
            held.eq(axi.wvalid & ~axi.wready),
            held_real.eq(real),
        ]
        with m.If(bursts.clear):
            m.d.sync += [x.eq(0) for x in (in_flight, filled, sent)]

    def _answer(self, m: Module, bursts: _Bursts, addresses: BurstAddresses) -> None:
        """Take the responses; give the tokens with the last one."""
        axi, burst, halt = self.axi, bursts.answering, addresses.halt
        m.d.comb += [
            axi.bready.eq(~addresses.quiet),
            addresses.ended.eq(axi.bvalid & axi.bready),
            bursts.answer.eq(addresses.ended),
        ]
        with m.If(addresses.ended & ~halt):
            with m.If(burst.last):
                m.d.comb += self.tokens.give.eq(burst.signal)
            with m.If(axi.bresp[ERROR_BIT]):
                m.d.comb += [
                    self.fault.code.eq(Error.AXI_WRITE),
                    self.fault.address.eq(burst.address),
                ]

    def _count(self, m: Module, front: FrontEnd, active: Signal, granted: Signal) -> None:
        events = self.events
        with m.If(active):
            m.d.comb += [
                events.store_transfer.eq(granted),
                events.store_stall_memory.eq(~granted & ~events.store_stall_port),
            ]
        with m.Elif(front.missing_token):
            m.d.comb += events.store_stall_token.eq(1)
        with m.Else():
            m.d.comb += events.store_idle.eq(1)
