"""A temporal loop nest that steps addresses by additions only."""

from typing import Any

from amaranth import Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.hw.pipeline import one_hot
from einchip.program import ADDRESS_BITS


class Nest(wiring.Component):
    """An odometer of `n_loops` loops, loop 0 innermost, with one address per operand.

    address[o] = start[o] + sum_i i_i * stride[o][i], for the loop indices i_i, 0 <= i_i < count[i].
    Every loop keeps the address at which its present iteration began; where loop i advances, it and
    all loops inside it begin at that address plus its stride.

    Timing: `load` in cycle t, the first iteration stands from t + 1; `advance` in t, the next one
    stands from t + 1. `load` wins over `advance`. Advancing the last iteration changes nothing.

    Parameters
    ----------
    count_bits, address_bits
        Widths of a loop count, and of an address.
    n_operands
        Addresses stepped side by side.

    Members
    -------
    load, advance : in
    count : n_loops * count_bits, in
        Iterations, at least 1; read at `load`, like the next two.
    stride : n_operands * n_loops * 20, in
    start : n_operands * address_bits, in
    address : n_operands * address_bits, out
    last : n_loops, out
        Which loops are in their last iteration.
    """

    load: Signal
    advance: Signal
    count: Any
    stride: Any
    start: Any
    address: Any
    last: Signal

    def __init__(self, n_loops: int, n_operands: int, count_bits: int, address_bits: int) -> None:
        self.n_loops, self.n_operands = n_loops, n_operands
        strides = data.ArrayLayout(unsigned(ADDRESS_BITS), n_loops)
        addresses = data.ArrayLayout(unsigned(address_bits), n_operands)
        super().__init__(
            {
                "load": In(1),
                "advance": In(1),
                "count": In(data.ArrayLayout(unsigned(count_bits), n_loops)),
                "stride": In(data.ArrayLayout(strides, n_operands)),
                "start": In(addresses),
                "address": Out(addresses),
                "last": Out(n_loops),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = self._count(m)
        for o in range(self.n_operands):
            self._address(m, step, o)
        return m

    def _count(self, m: Module) -> Signal:
        """Count every loop down; return which one steps when the nest advances.

        Everything waits for that, so it is kept in registers, like `last`, and likewise which loops
        have two iterations left.
        """
        count = Signal.like(self.count, reset_less=True)
        left = Signal.like(self.count, reset_less=True)
        step = Signal(self.n_loops)
        single = Signal(self.n_loops)
        double = Signal(self.n_loops)
        two_left = Signal(self.n_loops)
        ones, twos = Cat(c == 1 for c in self.count), Cat(c == 2 for c in self.count)
        last = Signal(self.n_loops)  # in the next iteration
        m.d.comb += last.eq(self.last)
        for i in range(self.n_loops):
            with m.If(step[i]):
                m.d.comb += last[i].eq(two_left[i])
            with m.If(step[i + 1 :].any()):
                m.d.comb += last[i].eq(single[i])
        with m.If(self.advance):
            m.d.sync += [self.last.eq(last), step.eq(_steps(last))]
            for i in range(self.n_loops):
                with m.If(step[i]):
                    m.d.sync += [left[i].eq(left[i] - 1), two_left[i].eq(left[i] == 3)]
                with m.If(step[i + 1 :].any()):
                    m.d.sync += [left[i].eq(count[i]), two_left[i].eq(double[i])]
        with m.If(self.load):
            m.d.sync += [
                count.eq(self.count),
                left.eq(self.count),
                Cat(single, self.last).eq(ones.replicate(2)),
                Cat(double, two_left).eq(twos.replicate(2)),
                step.eq(_steps(ones)),
            ]
        return step

    def _address(self, m: Module, step: Signal, operand: int) -> None:
        """Step one operand's address."""
        stride = Signal.like(self.stride[operand], name=f"stride_{operand}", reset_less=True)
        base = [
            Signal.like(self.start[operand], name=f"base_{operand}_{i}", reset_less=True)
            for i in range(self.n_loops)
        ]
        following = Signal.like(base[0], name=f"following_{operand}")
        m.d.comb += [
            following.eq(
                one_hot(zip(step, base, strict=True)) + one_hot(zip(step, stride, strict=True))
            ),
            self.address[operand].eq(base[0]),
        ]
        for i in range(self.n_loops):
            with m.If(self.advance & step[i:].any()):
                m.d.sync += base[i].eq(following)
            with m.If(self.load):
                m.d.sync += base[i].eq(self.start[operand])
        with m.If(self.load):
            m.d.sync += stride.eq(self.stride[operand])


def _steps(last: Value) -> Value:
    """Return which loop steps: the innermost that is not in its last iteration."""
    return Cat(~last[i] & last[:i].all() for i in range(len(last)))
