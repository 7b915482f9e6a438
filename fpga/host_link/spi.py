"""SPI, seen from the board: bytes in both directions while the host selects it, high bit first."""

from typing import Any, Final

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from einchip.link import ESCAPE, FILL, FLIP

#: Registers between a pin and what looks at it.
SYNC_CYCLES: Final = 2
#: Cycles from a falling edge of SCK to the bit that follows it, at most: up to one until the edge
#: is sampled, the other synchronising registers, the register that shifts.
OUT_CYCLES: Final = 1 + (SYNC_CYCLES - 1) + 1
#: Cycles that are left to pads, wires, and the host's set-up time.
MARGIN_CYCLES: Final = 1
#: Cycles for which SCK keeps a level, at least: the host samples at the next edge.
LEVEL_CYCLES: Final = OUT_CYCLES + MARGIN_CYCLES
#: Cycles of a period of SCK, at least.
MIN_CYCLES: Final = 2 * LEVEL_CYCLES


def max_sck_hz(clock_hz: float) -> float:
    """Return the highest frequency of SCK that a board with this clock follows."""
    return clock_hz / MIN_CYCLES


class SpiPort(wiring.Component):
    """Bytes over SPI in modes 0 and 3: both sides sample at rising edges of SCK.

    SCK is sampled with the board's clock, so it keeps each level for LEVEL_CYCLES cycles at least;
    `cs` is 1 for as long before the first edge, and 0 for as long between two transfers. The first
    byte of a transfer begins when `cs` rises: whatever was before, the sides are in step then. A
    byte in the middle of which `cs` falls counts for neither side: what came of it is dropped, and
    what was sent of it is sent again. After a reset nothing moves until `cs` is 0.

    FILL that comes is dropped. It is sent where `sent` has nothing at the beginning of a byte, so
    that a slow sender loses none; FILL in `sent` goes out as two bytes (`link.without_fill`).

    Members
    -------
    sck, copi, cs : in
        The pins, not synchronised; `cs` is 1 while the board is selected.
    cipo, driven : out
        The pin, and whether the board drives it.
    received : stream of 8 bits, out
        No back pressure: a byte stands for one cycle.
    sent : stream of 8 bits, in
        Taken when the last bit of a byte has been sampled.
    """

    sck: Signal
    copi: Signal
    cs: Signal
    cipo: Signal
    driven: Signal
    received: Any
    sent: Any

    def __init__(self) -> None:
        super().__init__(
            {
                "sck": In(1),
                "copi": In(1),
                "cs": In(1),
                "cipo": Out(1),
                "driven": Out(1),
                "received": Out(stream.Signature(8, always_ready=True)),
                "sent": In(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sck = Signal()
        copi = Signal()
        selected = Signal()
        for name, pin, seen in (
            ("sck", self.sck, sck),
            ("copi", self.copi, copi),
            ("cs", self.cs, selected),
        ):
            m.submodules[name] = FFSynchronizer(pin, seen, stages=SYNC_CYCLES)
        before = Signal()
        in_step = Signal()
        rises = Signal()
        falls = Signal()
        ends = Signal()
        count = Signal(3)
        bits = Signal(8)
        came = Signal(8)
        m.d.sync += [before.eq(sck), self.received.valid.eq(0)]
        m.d.comb += [
            rises.eq(in_step & selected & sck & ~before),
            falls.eq(in_step & selected & ~sck & before),
            ends.eq(rises & (count == 7)),
            came.eq(Cat(copi, bits[:7])),
            self.driven.eq(in_step & selected),
        ]
        out, load = self._outgoing(m, ends)
        with m.If(~selected):
            m.d.sync += [in_step.eq(1), count.eq(0)]
            m.d.comb += load.eq(1)
        with m.If(rises):
            m.d.sync += [count.eq(count + 1), bits.eq(came)]
        with m.If(ends):
            m.d.sync += [self.received.valid.eq(came != FILL), self.received.payload.eq(came)]
        with m.If(falls):
            m.d.comb += load.eq(count == 0)
            with m.If(count != 0):
                m.d.sync += out.eq(out << 1)
        m.d.comb += self.cipo.eq(out[7])
        return m

    def _outgoing(self, m: Module, ends: Signal) -> tuple[Signal, Signal]:
        """Return the bits that are to be sent, and what loads the next byte into them."""
        out = Signal(8)
        load = Signal()
        # whether `out` is of `sent`, and whether its escape is being sent or was
        full = Signal()
        escape = Signal()
        escaped = Signal()
        special = self.sent.payload == FILL
        with m.If(load):
            m.d.sync += [
                full.eq(self.sent.valid),
                escape.eq(special & ~escaped),
                out.eq(Mux(self.sent.valid, self.sent.payload, FILL)),
            ]
            with m.If(self.sent.valid & special):
                m.d.sync += out.eq(Mux(escaped, FILL ^ FLIP, ESCAPE))
        m.d.comb += self.sent.ready.eq(ends & full & ~escape)
        with m.If(ends & full):
            m.d.sync += escaped.eq(escape)
        return out, load
