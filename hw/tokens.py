"""The token counters that keep order between the units."""

from collections.abc import Sequence
from typing import Any, Final

from amaranth import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.hw.interfaces import FaultSignature, TokenSignature
from einchip.program import TOKEN_MAX, TOKENS, Error

#: Units that take and give tokens.
UNITS = ("load", "store", "array", "vector")
#: Counts, each less 1, up to when one above TOKEN_MAX stands: their signs alone say, and at once,
#: which tokens are positive.
LESS_1: Final = Shape.cast(range(-1, TOKEN_MAX + len(UNITS) + 1))


class Tokens(wiring.Component):
    """TOKENS counters from 0 to TOKEN_MAX.

    What is given and taken in a cycle is summed and counts from the next cycle: a token given in t
    is positive from t + 1, and one given and taken in the same cycle keeps its count. A count above
    TOKEN_MAX is a fault as long as it stands, with the lowest such token's number as its address.
    A count that two units take at once stays at 0.

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
        counts = [self._count(m, number) for number in range(TOKENS)]
        for name in UNITS:
            m.d.comb += getattr(self, name).positive.eq(Cat(count >= 0 for count in counts))
        for number, count in reversed(list(enumerate(counts))):
            with m.If(count >= TOKEN_MAX):
                m.d.comb += [self.fault.code.eq(Error.TOKEN), self.fault.address.eq(number)]
        return m

    def _count(self, m: Module, number: int) -> Signal:
        """Return a token's count less 1."""
        count = Signal(LESS_1, init=-1, name=f"less_1_{number}")
        units = [getattr(self, name) for name in UNITS]
        given = _ones([self.give[number], *(u.give[number] for u in units)])
        taken = _ones([u.take[number] for u in units if u is not self.array])
        # count + given - taken, where -n is ~n + 1: three numbers make two, which are added
        sums, carries = zip(
            *(_add(count[k], _bit(given, k), ~_bit(taken, k)) for k in range(len(count))),
            strict=True,
        )
        # The array takes late in the cycle, when its last slot has its read ports: that it does not
        # is the 1 of ~n + 1.
        total = Signal(LESS_1, name=f"total_{number}")
        m.d.comb += total.eq(Cat(sums) + Cat(~self.array.take[number], carries))
        m.d.sync += count.eq(Mux(self.clear | (total < 0), -1, total))
        return count


def _bit(value: Value, k: int) -> Value:
    """Return a bit of an unsigned number, 0 beyond its width."""
    return value[k] if k < len(value) else Const(0, 1)


def _add(a: Value, b: Value, c: Value) -> tuple[Value, Value]:
    """Return sum and carry of three bits."""
    return a ^ b ^ c, (a & b) | (c & (a | b))


def _ones(bits: Sequence[Value]) -> Value:
    """Return how many of three or five bits are 1, by gates: a carry chain would be larger."""
    low, carry = _add(*bits[:3])
    if len(bits) == 3:
        return Cat(low, carry)
    low, second = _add(low, *bits[3:])
    return Cat(low, carry ^ second, carry & second)
