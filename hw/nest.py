"""A temporal loop nest that steps addresses by additions only."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.hw.pipeline import one_hot
from einchip.program import ADDRESS_BITS


class Nest(wiring.Component):
    """An odometer of `n_loops` loops, loop 0 innermost, with one address per operand.

    address[o] = start[o] + sum_i i_i * stride[o][i], for the loop indices i_i, 0 <= i_i < count[i].

    Where loop s advances, all addresses go on from where its present iteration began, by its
    strides; the loops inside it begin anew there. Where an iteration began, and how many are left,
    is written to a small memory for loop s alone, so that no loop needs registers and multiplexers
    of its own. A loop that has not advanced since it began anew (`kept` is 0) began where the loop
    did that made it do so, which is the innermost one around it that has advanced; if none has, at
    the start.

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
    still : n_operands * n_loops, in
        Loops that do not move an address, whatever their strides; stands from the cycle after
        `load`.
    address : n_operands * address_bits, out
    last : n_loops, out
        Which loops are in their last iteration.
    """

    load: Signal
    advance: Signal
    count: Any
    stride: Any
    start: Any
    still: Any
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
                "still": In(data.ArrayLayout(n_loops, n_operands)),
                "address": Out(addresses),
                "last": Out(n_loops),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = Signal(self.n_loops)  # which loop advances next, none after the last iteration
        kept = Signal(self.n_loops)
        # row i is of loop i, the last one has the start
        layout = data.StructLayout(
            {"began": self.address.shape(), "left": self.count.shape().elem_shape, "two_left": 1}
        )
        memory: Any = Memory(shape=layout, depth=self.n_loops + 1, init=[])
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port(domain="comb")
        around = Cat(step[: i + 1].any() for i in range(self.n_loops))
        m.d.comb += [
            write.en.eq(self.load | self.advance),
            write.addr.eq(Mux(self.load, self.n_loops, _index(step))),
            read.addr.eq(_index(_innermost(Cat(kept & around, 1)))),
        ]
        self._count(m, step, kept, read.data, write.data)
        self._address(m, step, read.data, write.data)
        return m

    def _count(self, m: Module, step: Signal, kept: Signal, old: Any, new: Any) -> None:
        """Step the loops: what advances next, what is in its last iteration, what is left.

        Everything waits for `step`, so it is kept in registers, like `last`, and likewise which
        loops have two iterations left.
        """
        count = Signal.like(self.count, reset_less=True)
        single = Signal(self.n_loops)
        double = Signal(self.n_loops)
        ones, twos = Cat(c == 1 for c in self.count), Cat(c == 2 for c in self.count)
        is_kept = (step & kept).any()
        left = Mux(is_kept, old.left, one_hot(zip(step, count, strict=True)))
        two_left = Mux(is_kept, old.two_left, (step & double).any())
        m.d.comb += [new.left.eq(left - 1), new.two_left.eq(left == 3)]
        last = Signal(self.n_loops)  # in the next iteration
        for i in range(self.n_loops):
            anew = step[i + 1 :].any()
            m.d.comb += last[i].eq(Mux(step[i], two_left, Mux(anew, single[i], self.last[i])))
            with m.If(self.advance & step[i:].any()):
                m.d.sync += kept[i].eq(step[i])
        with m.If(self.advance):
            m.d.sync += [self.last.eq(last), step.eq(_steps(last))]
        with m.If(self.load):
            m.d.sync += [
                count.eq(self.count),
                Cat(single, self.last).eq(ones.replicate(2)),
                double.eq(twos),
                step.eq(_steps(ones)),
                kept.eq(0),
            ]

    def _address(self, m: Module, step: Signal, old: Any, new: Any) -> None:
        """Step the addresses."""
        stride = Signal.like(self.stride, reset_less=True)
        for o in range(self.n_operands):
            moved = step & ~self.still[o]
            stepped = old.began[o] + one_hot(zip(moved, stride[o], strict=True))
            m.d.comb += new.began[o].eq(Mux(self.load, self.start[o], stepped))
        with m.If(self.load | (self.advance & step.any())):
            m.d.sync += self.address.eq(new.began)
        with m.If(self.load):
            m.d.sync += stride.eq(self.stride)


def _steps(last: Value) -> Value:
    """Return which loop steps: the innermost that is not in its last iteration."""
    return _innermost(~last)


def _innermost(loops: Value) -> Value:
    """Return the innermost of some loops, one bit each."""
    return Cat(loops[i] & ~loops[:i].any() for i in range(len(loops)))


def _index(one_hot: Value) -> Value:
    """Return the number of the bit that is 1, 0 if none is."""
    bits = range((len(one_hot) - 1).bit_length())
    return Cat(Cat(one_hot[i] for i in range(len(one_hot)) if i >> k & 1).any() for k in bits)
