"""The machine's one rounding: divide by a power of two, half to even, then saturate."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import REQUANTISE_LATENCY
from einchip.hw.pipeline import thermometer
from einchip.numeric import limits


class Requantise(wiring.Component):
    """`result` = numeric.requantise(value, shift, out_bits).

    Latency REQUANTISE_LATENCY (shift; round and saturate), one value a cycle, no back pressure.
    A shift of in_bits or more gives 0, as the definition does.

    Parameters
    ----------
    in_bits, out_bits
        Widths of the value and of the result.
    shift_bits
        Width of the shift: 0 .. 2**shift_bits - 1.

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

    def __init__(self, in_bits: int, out_bits: int, shift_bits: int) -> None:
        self._in_bits, self._out_bits, self._shift_bits = in_bits, out_bits, shift_bits
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
        with_half = Signal(signed(self._in_bits + 1))
        sticky = Signal()
        below = self.value.as_unsigned() & thermometer(self.shift)[2 : len(self.value) + 2]
        m.d.sync += [
            with_half.eq(Cat(0, self.value).as_signed() >> self.shift),
            sticky.eq(below.any()),
        ]
        # cycle 2: a quotient at the upper limit saturates whether rounded up or not, and one below
        # the lower limit does too, so only the low bits are added to
        low, high = limits(self._out_bits)
        floor = with_half[1:].as_signed()
        up = with_half[0] & (sticky | with_half[1])
        m.d.sync += self.result.eq(Mux(floor >= high, high, Mux(floor < low, low, floor + up)))
        return m
