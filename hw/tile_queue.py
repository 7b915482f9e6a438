"""Tiles between their last issue and their drain."""

from typing import Any

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.interfaces import offset_bits
from einchip.hw.pipeline import delay

#: Instructions whose constants are kept. At most 7 are between their launch and their last write:
#: launches are lanes + 2 or more cycles apart, tile j starts at most A cycles before tile j - 2 is
#: drained, and its last row is written D = drain_latency later. So where instruction n launches and
#: n - k is not written, (k - 3) (lanes + 2) < A + D, which is at most 19 with 2 lanes.
HISTORY = 8


def tile_layout(arch: Architecture) -> data.StructLayout:
    """A tile whose last issue is over.

    Its first result's address less the instruction's, its accumulator set, whether it is the
    instruction's last, and the instruction's index.
    """
    return data.StructLayout(
        {
            "z": unsigned(offset_bits(arch)),
            "target": unsigned(1),
            "final": unsigned(1),
            "index": unsigned(clog2(HISTORY)),
        }
    )


class TileQueue(wiring.Component):
    """Hands tiles to the drain when their accumulators are ready, in order.

    A tile pushed in cycle l is at the head from l + accumulate_latency - 1 on, when those before it
    have been popped; popped then, its first row is issued in the next cycle. Two places suffice: a
    tile waits at most for one other.

    Members: `push`, `tile`; `pop`; `valid`, `head`; `following`, the index at the head in the next
    cycle.
    """

    push: Signal
    tile: Any
    pop: Signal
    valid: Signal
    head: Any
    following: Signal

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        layout = tile_layout(arch)
        super().__init__(
            {
                "push": In(1),
                "tile": In(layout),
                "pop": In(1),
                "valid": Out(1),
                "head": Out(layout),
                "following": Out(layout["index"].shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cycles = self.arch.accumulate_latency - 2
        arrived = delay(m, self.push, cycles, "push")
        arriving = delay(m, self.tile, cycles, "tile")
        waits = Signal()
        waiting = Signal.like(self.tile)
        following = Signal.like(self.head)
        m.d.comb += [following.eq(self.head), self.following.eq(following.index)]
        m.d.sync += self.head.eq(following)
        with m.If(self.pop | ~self.valid):
            m.d.comb += following.eq(Mux(waits, waiting.as_value(), arriving.as_value()))
            m.d.sync += [self.valid.eq(waits | arrived), waits.eq(waits & arrived)]
        with m.Elif(arrived):
            m.d.sync += waits.eq(1)
        with m.If(arrived):
            m.d.sync += waiting.eq(arriving)
        return m
