"""Frames of `einchip.link` out of bytes and into bytes."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.link import CRC_BYTES, ESCAPE, FLAG, FLIP, MAX_FRAME

#: Width of a place in a frame.
PLACE_BITS = (MAX_FRAME - 1).bit_length()


class FrameReceiver(wiring.Component):
    """Keep one frame whose CRC is right until it is taken; bytes that come meanwhile are lost.

    Members
    -------
    bytes : stream of 8 bits, in
        No back pressure.
    held : out
        A frame is there.
    length : out
        Its bytes without the CRC.
    take : in
        Drop the frame; what comes behind the next FLAG is the next one.
    place : in
    byte : out
        Byte `place` of the frame, a cycle later.
    """

    bytes: Any
    held: Signal
    length: Signal
    take: Signal
    place: Signal
    byte: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "bytes": In(stream.Signature(8, always_ready=True)),
                "held": Out(1),
                "length": Out(PLACE_BITS + 1),
                "take": In(1),
                "place": In(PLACE_BITS),
                "byte": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = catalog.CRC32_ISO_HDLC(8).create()
        m.submodules.frame = frame = Memory(shape=8, depth=1 << PLACE_BITS, init=[])
        write, read = frame.write_port(), frame.read_port()
        count = Signal(PLACE_BITS + 1)
        inside = Signal()
        escaped = Signal()
        plain = Signal(8)
        special = (self.bytes.payload == FLAG) | (self.bytes.payload == ESCAPE)
        takes = self.bytes.valid & inside & ~special & ~self.held
        m.d.comb += [
            plain.eq(Mux(escaped, self.bytes.payload ^ FLIP, self.bytes.payload)),
            write.addr.eq(count),
            write.data.eq(plain),
            write.en.eq(takes),
            crc.data.eq(plain),
            crc.valid.eq(takes),
            read.addr.eq(self.place),
            self.byte.eq(read.data),
            self.length.eq(count - CRC_BYTES),
        ]
        with m.If(takes):
            m.d.sync += [count.eq(count + 1), escaped.eq(0)]
            with m.If(count == MAX_FRAME):
                m.d.sync += inside.eq(0)
        with m.If(self.bytes.valid & ~self.held):
            with m.If(self.bytes.payload == ESCAPE):
                m.d.sync += escaped.eq(1)
            with m.If(self.bytes.payload == FLAG):
                with m.If(inside & ~escaped & crc.match_detected & (count > CRC_BYTES)):
                    m.d.sync += [self.held.eq(1), inside.eq(0)]
                with m.Else():
                    m.d.sync += inside.eq(1)
                    self._restart(m, crc, count, escaped)
        with m.If(self.take):
            m.d.sync += self.held.eq(0)
            self._restart(m, crc, count, escaped)
        return m

    @staticmethod
    def _restart(m: Module, crc: Any, count: Signal, escaped: Signal) -> None:
        m.d.comb += crc.start.eq(1)
        m.d.sync += [count.eq(0), escaped.eq(0)]


class FrameSender(wiring.Component):
    """Send frames: FLAG, the content and its CRC with escapes, FLAG.

    Members
    -------
    content : stream of {byte: 8, last: 1}, in
    bytes : stream of 8 bits, out
    """

    content: Any
    bytes: Any

    def __init__(self) -> None:
        layout = data.StructLayout({"byte": 8, "last": 1})
        super().__init__(
            {"content": In(stream.Signature(layout)), "bytes": Out(stream.Signature(8))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = catalog.CRC32_ISO_HDLC(8).create()
        byte = Signal(8)
        escaped = Signal()
        place = Signal(range(CRC_BYTES))
        in_crc = Signal()
        moved = Signal()
        special = (byte == FLAG) | (byte == ESCAPE)
        moves = self.bytes.valid & self.bytes.ready
        m.d.comb += [
            byte.eq(Mux(in_crc, crc.crc.word_select(place, 8), self.content.payload.byte)),
            crc.data.eq(self.content.payload.byte),
            crc.valid.eq(moved & ~in_crc),
            self.content.ready.eq(moved & ~in_crc),
        ]
        with m.FSM():
            with m.State("BEGIN"):
                m.d.comb += [
                    crc.start.eq(1),
                    self.bytes.payload.eq(FLAG),
                    self.bytes.valid.eq(self.content.valid),
                ]
                with m.If(moves):
                    m.next = "BODY"
            with m.State("BODY"):
                m.d.comb += [
                    self.bytes.valid.eq(in_crc | self.content.valid),
                    self.bytes.payload.eq(Mux(escaped, byte ^ FLIP, Mux(special, ESCAPE, byte))),
                    moved.eq(moves & (escaped | ~special)),
                ]
                with m.If(moves):
                    m.d.sync += escaped.eq(special & ~escaped)
                with m.If(moved & ~in_crc & self.content.payload.last):
                    m.d.sync += in_crc.eq(1)
                with m.If(moved & in_crc):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == CRC_BYTES - 1):
                        m.d.sync += in_crc.eq(0)
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.bytes.payload.eq(FLAG), self.bytes.valid.eq(1)]
                with m.If(moves):
                    m.next = "BEGIN"
        return m
