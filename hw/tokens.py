"""The token counters that keep order between the units."""

from typing import Any

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.hw.interfaces import FaultSignature, TokenSignature
from einchip.program import TOKEN_MAX, TOKENS, Error

#: Units that take and give tokens.
UNITS = ("load", "store", "array", "vector")


class Tokens(wiring.Component):
    """TOKENS counters from 0 to TOKEN_MAX.

    What is given and taken in a cycle is summed and counts from the next cycle: a token given in t
    is positive from t + 1, and one given and taken in the same cycle keeps its count. A count that
    would pass TOKEN_MAX is a fault in that cycle, with the lowest such token's number as its
    address. A count that two units take at once stays at 0.

    Members
    -------
    load, store, array, vector : TokenSignature, in
        The units.
    give : TOKENS, in
        What the sequencer gives.
    clear : in
        Every count becomes 0.
    fault : FaultSignature, out
    """

    load: Any
    store: Any
    array: Any
    vector: Any
    give: Signal
    clear: Signal
    fault: Any

    def __init__(self) -> None:
        units = {name: In(TokenSignature(TOKENS)) for name in UNITS}
        super().__init__(
            {**units, "give": In(TOKENS), "clear": In(1), "fault": Out(FaultSignature())}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        positive = Signal(TOKENS)
        overflow = Signal(TOKENS)
        for number in range(TOKENS):
            self._count(m, number, positive, overflow)
        for name in UNITS:
            m.d.comb += getattr(self, name).positive.eq(positive)
        for number in reversed(range(TOKENS)):
            with m.If(overflow[number]):
                m.d.comb += [self.fault.code.eq(Error.TOKEN), self.fault.address.eq(number)]
        return m

    def _count(self, m: Module, number: int, positive: Signal, overflow: Signal) -> None:
        count = Signal(range(TOKEN_MAX + 1), name=f"count_{number}")
        units = [getattr(self, name) for name in UNITS]
        given = sum((u.give[number] for u in units), self.give[number])
        taken = sum(u.take[number] for u in units)
        total = Signal(signed(len(count) + 2), name=f"total_{number}")
        m.d.comb += [
            positive[number].eq(count.any()),
            total.eq(count + given - taken),
            overflow[number].eq(total > TOKEN_MAX),
        ]
        with m.If(total < 0):
            m.d.sync += count.eq(0)
        with m.Else():
            m.d.sync += count.eq(total)
        with m.If(self.clear):
            m.d.sync += count.eq(0)
