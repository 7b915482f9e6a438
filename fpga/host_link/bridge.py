"""The device's side of `einchip.link`: requests become accesses to registers and memory."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from einchip.fpga.host_link.framing import PLACE_BITS, FrameReceiver, FrameSender
from einchip.fpga.host_link.memory import HostMemorySignature
from einchip.hw.axi import ADDRESS_BITS as MEMORY_BITS
from einchip.hw.axi import OKAY, AxiLiteSignature
from einchip.link import (
    ANSWER,
    MAX_DATA,
    OPEN_ANSWER,
    PROTOCOL,
    REPLY,
    REQUEST,
    WORD_BYTES,
    Kind,
    Status,
)
from einchip.registers import ADDRESS_BITS

#: The fields of a request, as `link.REQUEST` has them.
_HEAD = data.StructLayout({"kind": 8, "tag": 8, "length": 16, "address": 32})
if _HEAD.size != 8 * REQUEST.size:
    raise AssertionError("the request's fields are not those of einchip.link")
WORD_BITS = 8 * WORD_BYTES


class Bridge(wiring.Component):
    """Carry out requests, one at a time, and answer each.

    Parameters
    ----------
    memory_bytes
        What `memory` has; accesses behind it are BAD_REQUEST.

    Members
    -------
    received, sent : streams of 8 bits, in and out
        The line's bytes; `received` has no back pressure.
    axil : AxiLiteSignature(registers.ADDRESS_BITS), out
        The machine's registers.
    memory : HostMemorySignature, out
        Its external memory.
    """

    received: Any
    sent: Any
    axil: Any
    memory: Any

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        super().__init__(
            {
                "received": In(stream.Signature(8, always_ready=True)),
                "sent": Out(stream.Signature(8)),
                "axil": Out(AxiLiteSignature(ADDRESS_BITS)),
                "memory": Out(HostMemorySignature()),
            }
        )
        self._receiver, self._sender = FrameReceiver(), FrameSender()
        self._head: Any = Signal(_HEAD)
        self._status = Signal(8)
        #: The place of the next byte of the frame; bytes of data that are still to be moved.
        self._place = Signal(PLACE_BITS)
        self._left = Signal(PLACE_BITS + 1)
        #: A word on its way, and how many bytes of something were moved.
        self._word = Signal(WORD_BITS)
        self._count = Signal(range(REQUEST.size + 1))
        self._at = Signal(MEMORY_BITS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver, m.submodules.sender = self._receiver, self._sender
        receiver, head = self._receiver, self._head
        wiring.connect(m, wiring.flipped(self.received), receiver.bytes)
        wiring.connect(m, self._sender.bytes, wiring.flipped(self.sent))
        opened = Signal()
        known = Signal()
        last_tag = Signal(8)
        m.d.comb += receiver.place.eq(self._place)
        writes = (head.kind == Kind.WRITE_REGISTER) | (head.kind == Kind.WRITE_MEMORY)
        repeated = known & writes & (head.tag == last_tag)
        with m.FSM(name="state"):
            with m.State("IDLE"):
                m.d.sync += [self._place.eq(0), self._count.eq(0)]
                with m.If(receiver.held):
                    m.d.sync += self._place.eq(1)
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.sync += [
                    head.eq(Cat(head.as_value()[8:], receiver.byte)),
                    self._count.eq(self._count + 1),
                    self._place.eq(self._place + 1),
                ]
                with m.If(self._count == REQUEST.size - 1):
                    m.d.sync += [self._count.eq(0), self._place.eq(REQUEST.size)]
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [self._left.eq(head.length), self._at.eq(head.address)]
                m.next = "REPLY"
                with m.If(repeated & opened):
                    m.d.sync += self._left.eq(0)  # carried out, and its status is known
                with m.Else():
                    m.d.sync += [self._status.eq(Status.OK), known.eq(writes)]
                    m.d.sync += last_tag.eq(head.tag)
                    with m.If(~opened & (head.kind != Kind.OPEN)):
                        self._refuse(m, Status.NOT_OPEN)
                    with m.Elif(~self._is_sound()):
                        self._refuse(m, Status.BAD_REQUEST)
                    with m.Elif(head.kind == Kind.OPEN):
                        m.d.sync += [opened.eq(1), self._left.eq(OPEN_ANSWER.size)]
                    with m.Elif(writes):
                        m.next = "GATHER"
                    with m.Elif(head.kind == Kind.READ_REGISTER):
                        m.next = "READ_REGISTER"
            self._write(m)
            self._read(m)
        return m

    def _refuse(self, m: Module, status: Status) -> None:
        m.d.sync += [self._status.eq(status), self._left.eq(0)]

    def _is_sound(self) -> Any:
        """Return whether a request is one that can be carried out."""
        head, receiver = self._head, self._receiver
        n_data = receiver.length - REQUEST.size
        whole = ((head.length | head.address) & (WORD_BYTES - 1)) == 0
        one = (head.length == WORD_BYTES) & (head.address < 1 << ADDRESS_BITS)
        few = (head.length != 0) & (head.length <= MAX_DATA)
        inside = few & (head.address + head.length <= self._memory_bytes)
        expected = [
            (Kind.OPEN, (head.length == 0) & (n_data == 0)),
            (Kind.READ_REGISTER, one & (n_data == 0)),
            (Kind.WRITE_REGISTER, one & (n_data == head.length)),
            (Kind.READ_MEMORY, inside & (n_data == 0)),
            (Kind.WRITE_MEMORY, inside & (n_data == head.length)),
        ]
        sound = Cat((head.kind == kind) & right for kind, right in expected).any()
        return whole & sound & (receiver.length >= REQUEST.size)

    def _write(self, m: Module) -> None:
        """Move data from the frame to a register or to memory, word by word."""
        head, axil, memory = self._head, self.axil, self.memory
        with m.State("GATHER"):  # byte `count` - 1 stands at the frame's port
            m.d.sync += [self._place.eq(self._place + 1), self._count.eq(self._count + 1)]
            with m.If(self._count != 0):
                m.d.sync += self._word.eq(Cat(self._word[8:], self._receiver.byte))
            with m.If(self._count == WORD_BYTES):
                m.d.sync += [self._place.eq(self._place), self._count.eq(0)]
                m.next = "WRITE_MEMORY"
                with m.If(head.kind == Kind.WRITE_REGISTER):
                    m.d.sync += [axil.awvalid.eq(1), axil.wvalid.eq(1)]
                    m.next = "WRITE_REGISTER"
        m.d.comb += [
            axil.awaddr.eq(self._at),
            axil.wdata.eq(self._word),
            axil.wstrb.eq(~0),
            memory.address.eq(self._at),
            memory.written.eq(self._word),
        ]
        with m.State("WRITE_REGISTER"):
            m.d.comb += axil.bready.eq(1)
            with m.If(axil.awready):
                m.d.sync += axil.awvalid.eq(0)
            with m.If(axil.wready):
                m.d.sync += axil.wvalid.eq(0)
            with m.If(axil.bvalid):
                with m.If(axil.bresp != OKAY):
                    m.d.sync += self._status.eq(Status.BUS_ERROR)
                m.d.sync += self._left.eq(0)
                m.next = "REPLY"
        with m.State("WRITE_MEMORY"):
            m.d.comb += [memory.valid.eq(1), memory.write.eq(1)]
            with m.If(memory.ready):
                m.d.sync += [
                    self._at.eq(self._at + WORD_BYTES),
                    self._left.eq(self._left - WORD_BYTES),
                ]
                m.next = "GATHER"
                with m.If(self._left == WORD_BYTES):
                    m.next = "REPLY"

    def _read(self, m: Module) -> None:
        """Read a register, then send the answer, words of memory while they are sent."""
        head, axil, memory, out = self._head, self.axil, self.memory, self._sender.content
        answer = Signal(8 * REPLY.size)
        opened = Mux(self._left == OPEN_ANSWER.size, PROTOCOL, self._memory_bytes)
        m.d.comb += [
            axil.araddr.eq(self._at),
            answer.eq(Cat(head.kind | ANSWER, head.tag, self._status)),
        ]
        with m.State("READ_REGISTER"):
            m.d.sync += axil.arvalid.eq(1)
            m.next = "REGISTER"
        with m.State("REGISTER"):
            m.d.comb += axil.rready.eq(1)
            with m.If(axil.arready):
                m.d.sync += axil.arvalid.eq(0)
            with m.If(axil.rvalid):
                m.d.sync += self._word.eq(axil.rdata)
                with m.If(axil.rresp != OKAY):
                    self._refuse(m, Status.BUS_ERROR)
                m.next = "REPLY"
        with m.State("REPLY"):
            m.d.comb += [
                out.valid.eq(1),
                out.payload.byte.eq(answer.word_select(self._count, 8)),
                out.payload.last.eq((self._count == REPLY.size - 1) & (self._left == 0)),
            ]
            with m.If(out.ready):
                m.d.sync += self._count.eq(self._count + 1)
                with m.If(self._count == REPLY.size - 1):
                    m.d.sync += self._count.eq(0)
                    m.next = "FETCH"
                    with m.If(self._left == 0):
                        m.d.comb += self._receiver.take.eq(1)
                        m.next = "IDLE"
                    with m.Elif(head.kind == Kind.READ_REGISTER):
                        m.next = "SEND"
        with m.State("FETCH"):
            with m.If(head.kind == Kind.OPEN):
                m.d.sync += self._word.eq(opened)
                m.next = "SEND"
            with m.Else():
                m.d.comb += memory.valid.eq(1)
                with m.If(memory.ready):
                    m.d.sync += self._at.eq(self._at + WORD_BYTES)
                    m.next = "TAKE"
        with m.State("TAKE"):
            m.d.sync += self._word.eq(memory.read)
            m.next = "SEND"
        with m.State("SEND"):
            m.d.comb += [
                out.valid.eq(1),
                out.payload.byte.eq(self._word[:8]),
                out.payload.last.eq(self._left == 1),
            ]
            with m.If(out.ready):
                m.d.sync += [
                    self._word.eq(self._word[8:]),
                    self._left.eq(self._left - 1),
                    self._count.eq(self._count + 1),
                ]
                with m.If(self._count == WORD_BYTES - 1):
                    m.d.sync += self._count.eq(0)
                    m.next = "FETCH"
                with m.If(self._left == 1):
                    m.d.sync += self._count.eq(0)
                    m.d.comb += self._receiver.take.eq(1)
                    m.next = "IDLE"
