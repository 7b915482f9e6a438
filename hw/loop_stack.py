"""The sequencer's hardware loops."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.program import LOOP_DEPTH, REGISTER_BITS


class LoopStack(wiring.Component):
    """Up to LOOP_DEPTH loops, the innermost on top: where its body begins, and iterations left.

    What happens in cycle t is seen at the outputs from t + 2, and nothing may happen in t + 1.

    Parameters
    ----------
    target_bits
        Width of a word index.
    left_bits
        Width of `left`.

    Members
    -------
    push, push_target, push_count : in
        Begin a loop of `push_count` (at least 1) iterations; not while `full`.
    step : in
        An iteration of the innermost loop ends; the loop is dropped after its last one. Not while
        `empty`.
    target, again : out
        Where the innermost loop's body begins; whether another iteration follows this one.
    left : out
        Iterations left of the innermost loop, this one included. Its highest bit says that there
        are at least as many as that bit counts.
    empty, full : out
    clear : in
        No loops.
    """

    push: Signal
    push_target: Signal
    push_count: Signal
    step: Signal
    target: Signal
    again: Signal
    left: Signal
    empty: Signal
    full: Signal
    clear: Signal

    def __init__(self, target_bits: int, left_bits: int) -> None:
        self._target_bits, self._left_bits = target_bits, left_bits
        super().__init__(
            {
                "push": In(1),
                "push_target": In(target_bits),
                "push_count": In(REGISTER_BITS),
                "step": In(1),
                "target": Out(target_bits),
                "again": Out(1),
                "left": Out(left_bits),
                "empty": Out(1),
                "full": Out(1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.targets = targets = Memory(shape=self._target_bits, depth=LOOP_DEPTH, init=[])
        m.submodules.counts = counts = Memory(shape=REGISTER_BITS, depth=LOOP_DEPTH, init=[])
        target, new_target = targets.read_port(domain="comb"), targets.write_port()
        left, new_left = counts.read_port(domain="comb"), counts.write_port()
        depth = Signal(range(LOOP_DEPTH + 1))
        top = Signal(range(LOOP_DEPTH))  # depth - 1
        free = depth[: len(top)]
        count, fewer = left.data, Signal(REGISTER_BITS)  # of the innermost loop
        m.d.comb += [
            target.addr.eq(top),
            left.addr.eq(top),
            new_target.addr.eq(free),
            new_target.data.eq(self.push_target),
            new_target.en.eq(self.push),
            new_left.addr.eq(Mux(self.push, free, top)),
            new_left.data.eq(Mux(self.push, self.push_count, fewer)),
            new_left.en.eq(self.push | self.step),
            self.empty.eq(depth == 0),
            self.full.eq(depth == LOOP_DEPTH),
        ]
        m.d.sync += [
            self.target.eq(target.data),
            self.again.eq(count != 1),
            self.left.eq(Cat(count[: self._left_bits - 1], count[self._left_bits - 1 :].any())),
            fewer.eq(count - 1),
        ]
        with m.If(self.clear):
            m.d.sync += [depth.eq(0), top.eq(LOOP_DEPTH - 1)]
        with m.Elif(self.push):
            m.d.sync += [depth.eq(depth + 1), top.eq(free)]
        with m.Elif(self.step & ~self.again):
            m.d.sync += [depth.eq(top), top.eq(top - 1)]
        return m
