"""The machine's one rounding: divide by a power of two, half to even, then saturate."""

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import REQUANTISE_LATENCY
from einchip.numeric import limits


class Requantise(wiring.Component):
    """`result` = numeric.requantise(value, dropped + shift, out_bits).

    Latency REQUANTISE_LATENCY (shift; round and saturate), one value a cycle, no back pressure.
    A shift of in_bits or more gives 0, as the definition does.

    Parameters
    ----------
    in_bits, out_bits
        Widths of the value and of the result.
    shift_bits
        Width of the shift: 0 .. 2**shift_bits - 1.
    dropped
        What is always added to the shift.

    Members
    -------
    value : signed(in_bits), in
    shift : shift_bits, in
    result : signed(out_bits), out
    """

    latency = REQUANTISE_LATENCY
    value: Signal
    shift: Signal
    result: Signal

    def __init__(self, in_bits: int, out_bits: int, shift_bits: int, dropped: int = 0) -> None:
        self._out_bits, self._dropped = out_bits, dropped
        super().__init__(
            {
                "value": In(signed(in_bits)),
                "shift": In(shift_bits),
                "result": Out(signed(out_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # cycle 1: the quotient, with the most significant bit shifted out below it; was any other?
        # is the quotient too large?
        bits, sign = self._out_bits, self.value[-1]
        shifted, rests, excesses = self._shift()
        floor = Signal(signed(bits))
        half = Signal()
        negative = Signal()
        sticky = Signal()
        large = Signal()
        m.d.sync += [
            floor.eq(shifted[1:]),
            half.eq(shifted[0]),
            negative.eq(sign),
            sticky.eq(Cat(rests).any()),
            large.eq(Cat(excesses, shifted[-1] ^ sign).any()),
        ]
        # cycle 2: a quotient at the upper limit saturates whether rounded up or not
        low, high = limits(bits)
        up = half & (sticky | floor[0])
        limit = Mux(negative, low, high)
        rounded = Mux(floor == high, high, (floor + up)[:bits].as_signed())
        m.d.sync += self.result.eq(Mux(large, limit, rounded))
        return m

    def _shift(self) -> tuple[Value, list[Value], list[Value]]:
        """Return the low bits of the quotient and half, and what tells the rest of either side.

        The largest power of two is shifted by first. Behind it only those bits matter that what is
        left of the shift can bring into the result: the others must equal the sign. So each level
        has about half as many bits as the one before. A bit of the first list is 1 where one below
        half was shifted out, one of the second where the quotient has more bits than the result.
        """
        sign, bits = self.value[-1], self._out_bits
        kept: Value = Cat(
            0, self.value, sign.replicate(max(0, self._dropped + bits - len(self.value)))
        )
        rests: list[Value] = [kept[: self._dropped].any()] if self._dropped else []
        excesses: list[Value] = []
        kept = kept[self._dropped :]
        for digit in reversed(range(len(self.shift))):
            size, moves = 1 << digit, self.shift[digit]
            width = min(len(kept), bits + size)
            rests.append(moves & kept[:size].any())
            if len(kept) > width:
                differ = kept[width:] ^ sign.replicate(len(kept) - width)
                excesses.append(~moves & differ[:size].any())
                excesses += [differ[size:].any()] if len(differ) > size else []
            moved = Cat(kept, sign.replicate(size))[size : size + width]
            kept = Mux(moves, moved, kept[:width])
        return kept, rests, excesses
