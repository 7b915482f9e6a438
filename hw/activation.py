"""Sigmoid and tanh by one interpolated table."""

import itertools
from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import ACTIVATION_LATENCY
from einchip.hw.pipeline import delay, delays
from einchip.numeric import (
    ACT_OUT_FRAC,
    INTERPOLATION_BITS,
    SEGMENTS,
    WIDE_BITS,
    sigmoid_table,
)
from einchip.program import Act

_HALF = 1 << (ACT_OUT_FRAC - 1)  # sigmoid(0), the table's least value
_TABLE = sigmoid_table()
_RISES = [after - before for before, after in itertools.pairwise(_TABLE)]
#: A row of the table.
SEGMENT_LAYOUT = data.StructLayout(
    {
        "start": unsigned((max(_TABLE) - _HALF).bit_length()),  # above sigmoid(0)
        "rise": unsigned(max(_RISES).bit_length()),
    }
)
_MAGNITUDE_BITS = WIDE_BITS - 1


class Activation(wiring.Component):
    """`result` = numeric.sigmoid(value) or numeric.tanh(value), as `function` says.

    Latency ACTIVATION_LATENCY (table address, table, interpolation, sign), one value a cycle, no
    back pressure. Each value has its own function. The table's address register is the memory's
    own, and a register takes what the memory reads, which comes late.

    Members
    -------
    value : signed(16), in
        12 fractional bits.
    function : 2, in
        Act.TANH, else sigmoid.
    result : signed(16), out
        15 fractional bits.
    """

    latency = ACTIVATION_LATENCY
    value: Signal
    function: Signal
    result: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "value": In(signed(WIDE_BITS)),
                "function": In(2),
                "result": Out(signed(WIDE_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.table = table = Memory(
            shape=SEGMENT_LAYOUT,
            depth=SEGMENTS,
            init=[
                {"start": start - _HALF, "rise": rise}
                for start, rise in zip(_TABLE, _RISES, strict=False)
            ],
        )
        segment = table.read_port()
        # cycle 1: the table holds sigmoid of positive numbers, and tanh(x) = 2 sigmoid(2x) - 1
        magnitude = self._magnitude(m)
        kinds = self._delayed(m)
        is_tanh, negative = kinds[2]
        m.d.comb += segment.addr.eq(magnitude[INTERPOLATION_BITS:])
        # cycle 2: the segment
        rest = delay(m, magnitude[:INTERPOLATION_BITS], 2, "rest")
        read: Any = delay(m, segment.data, 1, "segment")
        # cycle 3: how far into it; it is added to the start, or taken away
        start = Signal(signed(WIDE_BITS))
        interpolated = Signal(len(read.rise) + INTERPOLATION_BITS, reset_less=True)
        middle = Mux(is_tanh, 0, _HALF)
        m.d.sync += [
            start.eq(Mux(negative, middle - read.start, middle + read.start)),
            interpolated.eq(read.rise * rest),
        ]
        # cycle 4: half to even; of a negative number -(q + up) = ~q + ~up, as one addition
        is_tanh, negative = kinds[3]
        quotient = interpolated[INTERPOLATION_BITS:]
        remainder = interpolated[:INTERPOLATION_BITS]
        up = remainder[-1] & (remainder[:-1].any() | quotient[0])
        signed_quotient = Cat(quotient, 0).as_signed() ^ negative.replicate(len(start)).as_signed()
        height = Signal(signed(WIDE_BITS))
        m.d.comb += height.eq(start + signed_quotient + (up ^ negative))
        m.d.sync += self.result.eq(Mux(is_tanh, Cat(0, height[:-1]), height))
        return m

    def _magnitude(self, m: Module) -> Signal:
        """Return |value|, doubled for tanh and clipped to the table."""
        size = Signal(WIDE_BITS)
        doubled = Signal(WIDE_BITS + 1)
        magnitude = Signal(_MAGNITUDE_BITS)
        m.d.comb += [
            size.eq(abs(self.value)),
            doubled.eq(Mux(self.function == Act.TANH, Cat(0, size), size)),
        ]
        m.d.comb += magnitude.eq(
            Mux(doubled[_MAGNITUDE_BITS:].any(), (1 << _MAGNITUDE_BITS) - 1, doubled)
        )
        return magnitude

    def _delayed(self, m: Module) -> list[Value]:
        """Return whether the value is for tanh, whether it is negative; each cycle later, too."""
        kind = Cat(self.function == Act.TANH, self.value[-1])
        return delays(m, kind, ACTIVATION_LATENCY - 1, "kind")
