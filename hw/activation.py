"""Sigmoid and tanh by one interpolated table."""

import itertools

from amaranth import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import ACTIVATION_LATENCY
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
_SEGMENT = data.StructLayout(
    {
        "start": unsigned((max(_TABLE) - _HALF).bit_length()),  # above sigmoid(0)
        "rise": unsigned(max(_RISES).bit_length()),
    }
)
_MAGNITUDE_BITS = WIDE_BITS - 1


class Activation(wiring.Component):
    """`result` = numeric.sigmoid(value) or numeric.tanh(value), as `function` says.

    Latency ACTIVATION_LATENCY (table address, table, interpolation, sign), one value a cycle, no
    back pressure. Each value has its own function.

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
            shape=_SEGMENT,
            depth=SEGMENTS,
            init=[
                {"start": start - _HALF, "rise": rise}
                for start, rise in zip(_TABLE, _RISES, strict=False)
            ],
        )
        segment = table.read_port()
        # cycle 1: the table holds sigmoid of positive numbers, and tanh(x) = 2 sigmoid(2x) - 1
        magnitude = self._magnitude(m)
        is_tanh, negative = self._delayed(m)
        # cycle 2: the segment
        rest = Signal(INTERPOLATION_BITS)
        m.d.comb += segment.addr.eq(magnitude[INTERPOLATION_BITS:])
        m.d.sync += rest.eq(magnitude[:INTERPOLATION_BITS])
        # cycle 3: how far into it
        start = Signal.like(segment.data.start)
        product = Signal(len(segment.data.rise) + INTERPOLATION_BITS)
        m.d.sync += [start.eq(segment.data.start), product.eq(segment.data.rise * rest)]
        # cycle 4: half to even, then the sign
        quotient, remainder = product[INTERPOLATION_BITS:], product[:INTERPOLATION_BITS]
        up = remainder[-1] & (remainder[:-1].any() | quotient[0])
        height = Signal(_SEGMENT["start"].width + 1)  # sigmoid's, above sigmoid(0)
        m.d.comb += height.eq(start + quotient + up)
        scaled = Mux(is_tanh, Cat(0, height), height)
        signed_height = Mux(negative, -scaled, scaled)
        m.d.sync += self.result.eq(Mux(is_tanh, 0, _HALF) + signed_height)
        return m

    def _magnitude(self, m: Module) -> Signal:
        """Return |value|, doubled for tanh and clipped to the table, one cycle later."""
        size = Signal(WIDE_BITS)
        doubled = Signal(WIDE_BITS + 1)
        magnitude = Signal(_MAGNITUDE_BITS)
        m.d.comb += [
            size.eq(abs(self.value)),
            doubled.eq(Mux(self.function == Act.TANH, Cat(0, size), size)),
        ]
        m.d.sync += magnitude.eq(
            Mux(doubled[_MAGNITUDE_BITS:].any(), (1 << _MAGNITUDE_BITS) - 1, doubled)
        )
        return magnitude

    def _delayed(self, m: Module) -> tuple[Value, Value]:
        """Return whether the value is for tanh, and whether it is negative, three cycles later."""
        stages = [Signal(2, name=f"kind_{k}") for k in range(ACTIVATION_LATENCY - 1)]
        m.d.sync += stages[0].eq(Cat(self.function == Act.TANH, self.value[-1]))
        for before, after in itertools.pairwise(stages):
            m.d.sync += after.eq(before)
        return stages[-1][0], stages[-1][1]
