"""The performance counters."""

from typing import Any, Final

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.vector_kinds import MOST_ACTIVATIONS
from einchip.registers import COUNTERS

COUNTER_BITS: Final = 64


def increments(arch: Architecture) -> data.StructLayout:
    """Return by how much each counter rises in a cycle.

    The most are the MACs of an iteration, or the activations of a vector and a drained row.
    """
    most = max(arch.rows * arch.cols, MOST_ACTIVATIONS * arch.lanes + arch.cols)
    return data.StructLayout({c.name: clog2(most + 1) for c in COUNTERS})


class Counters(wiring.Component):
    """One counter of COUNTER_BITS bits for each of `registers.COUNTERS`.

    What is to be counted in cycle t (where `running` is 1) stands in `values` from t + 2.

    Members
    -------
    events : increments(arch), in
    running : in
    clear : in
        Every counter becomes 0 in the cycle after the next, and what is counted in this cycle is
        lost.
    values : COUNTER_BITS for each counter, in the order of `registers.COUNTERS`, out
    """

    events: Any
    running: Signal
    clear: Signal
    values: Any

    def __init__(self, arch: Architecture) -> None:
        super().__init__(
            {
                "events": In(increments(arch)),
                "running": In(1),
                "clear": In(1),
                "values": Out(data.ArrayLayout(COUNTER_BITS, len(COUNTERS))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rise, cleared = Signal.like(self.events), Signal()
        m.d.sync += cleared.eq(self.clear)
        with m.If(self.running & ~self.clear):
            m.d.sync += rise.eq(self.events)
        with m.Else():
            m.d.sync += rise.eq(0)
        for number, counter in enumerate(COUNTERS):
            value = self.values[number]
            with m.If(cleared):
                m.d.sync += value.eq(0)
            with m.Else():
                m.d.sync += value.eq(value + rise[counter.name])
        return m
