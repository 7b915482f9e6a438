"""How load and store unit cut ranges of external memory into bursts, and offer their addresses."""

from typing import Any, Final

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.axi import ADDRESS_BITS, BOUNDARY_BYTES
from einchip.hw.interfaces import instruction_layout
from einchip.program import Load

#: Width of a transfer's number of beats.
BEATS_BITS: Final = instruction_layout(Load)["beats"].width


def longest_burst(place: Value, arch: Architecture) -> Value:
    """Return the beats of the longest burst that begins `place` beats behind a 4 KiB boundary.

    The lesser of arch.burst_beats and the beats to the next boundary.
    """
    bits = clog2(arch.burst_beats)
    near = place[bits:].all() & place[:bits].any()
    return Mux(near, (-place[:bits])[:bits], arch.burst_beats)


def bytes_of(beats: Value, arch: Architecture) -> Value:
    """Return how many bytes that many beats carry."""
    return Cat(Const(0, clog2(arch.port_bytes)), beats)


class BurstAddresses(wiring.Component):
    """Offer the addresses of a range's bursts, some of them ahead of the bursts' ends.

    Started in cycle u, `address.valid` is 1 in every cycle from u + 1 in which bursts are left and
    fewer than `most` accepted ones have not ended. The next range may start while bursts of earlier
    ones are to end.

    Parameters
    ----------
    arch
        Gives the width of the port and the longest burst.
    most
        Bursts that may be under way, a power of two.

    What depends on the number of beats left is kept in registers beside it.

    Members
    -------
    start, at, beats : in
        A range of `beats` (at least 1) beats at byte address `at` starts; only while `free`.
    stop : in
        No burst begins any more; what was offered stays offered. Until all bursts that were
        accepted have ended this holds, even if `stop` falls.
    ended : in
        A burst has its last beat (its response) in this cycle.
    address : stream of ADDRESS_BITS bits, out
        The burst's first byte.
    burst_beats, last : out
        The beats of the burst that `address` offers; it is the last one of its range.
    sent : out
        Its address is accepted in this cycle.
    number : out
        Number, modulo `most`, of the burst that `address` offers.
    free : out
        A range may start: no address is left.
    active : out
        Addresses are left, or bursts under way.
    quiet : out
        Nothing is offered, no burst is under way.
    halt : out
        `stop`, or what it has left behind.
    """

    start: Signal
    at: Signal
    beats: Signal
    stop: Signal
    ended: Signal
    address: Any
    burst_beats: Signal
    last: Signal
    sent: Signal
    number: Signal
    free: Signal
    active: Signal
    quiet: Signal
    halt: Signal

    def __init__(self, arch: Architecture, most: int) -> None:
        self._arch = arch
        self._most = most
        super().__init__(
            {
                "start": In(1),
                "at": In(ADDRESS_BITS),
                "beats": In(BEATS_BITS),
                "stop": In(1),
                "ended": In(1),
                "address": Out(stream.Signature(ADDRESS_BITS)),
                "burst_beats": Out(range(arch.burst_beats + 1)),
                "last": Out(1),
                "sent": Out(1),
                "number": Out(range(most)),
                "free": Out(1),
                "active": Out(1),
                "quiet": Out(1),
                "halt": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        address, halt = self.address, self.halt
        # beats that no accepted burst has, and whether there are any
        left = Signal(BEATS_BITS)
        some = Signal()
        under_way = Signal(range(self._most + 1))
        held = Signal()  # offered in the previous cycle, so it must stay
        dropping = Signal()
        m.d.comb += [
            halt.eq(self.stop | dropping),
            address.valid.eq(held | (some & (under_way < self._most) & ~halt)),
            self.sent.eq(address.valid & address.ready),
            self.free.eq(~some & ~halt),
            self.active.eq(some | under_way.any()),
            self.quiet.eq(~held & ~under_way.any()),
        ]
        m.d.sync += [
            dropping.eq(halt & ~self.quiet),
            held.eq(address.valid & ~address.ready),
            under_way.eq(under_way + self.sent - self.ended),
        ]
        with m.If(self.sent):
            m.d.sync += [
                address.payload.eq(address.payload + bytes_of(self.burst_beats, self._arch)),
                some.eq(~self.last),
                self.number.eq(self.number + 1),
            ]
            self._keep(m, left, address.payload, left - self.burst_beats, self.burst_beats)
        with m.If(self.start):
            m.d.sync += [address.payload.eq(self.at), some.eq(1)]
            self._keep(m, left, self.at, self.beats, Const(0))
        with m.Elif(halt & ~address.valid):
            m.d.sync += some.eq(0)
        return m

    def _keep(self, m: Module, left: Signal, address: Value, beats: Value, after: Value) -> None:
        """Keep what follows when `beats` are left, from `after` beats behind an address on."""
        first = address[clog2(self._arch.port_bytes) : clog2(BOUNDARY_BYTES)]
        longest = longest_burst((first + after)[: len(first)], self._arch)
        is_last = Value.cast(beats)[:BEATS_BITS] <= longest
        m.d.sync += [
            left.eq(beats),
            self.last.eq(is_last),
            self.burst_beats.eq(Mux(is_last, Value.cast(beats)[: len(longest)], longest)),
        ]
