"""Lane offsets: the address offset of every lane of an access, from (count, stride) factors."""

from functools import reduce
from operator import and_
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.interfaces import offset_bits, offsets
from einchip.hw.pipeline import one_hot
from einchip.program import ADDRESS_BITS

#: Width of the lane counts in instructions.
COUNT_BITS = 7


class LaneOffsets(wiring.Component):
    """Generates the offsets of all lanes, one lane a cycle, without multipliers.

    Lane p has the offset sum_f i_f * stride[f], where the indices i_f count like an odometer,
    factor 0 fastest, as p rises. Factors are grouped in levels. The factors of level 0 run over
    consecutive lanes; those of level g > 0 advance only where p is a multiple of `span[g - 1]` + 1,
    a power of two. Lanes between the end of a level's factors and the start of its next span, and
    lanes beyond all factors, are not enabled; their offset is 0.

    Examples: levels (2,) are two factors on consecutive lanes (the vector unit); levels (2, 1, 2)
    with the factors m0, m1, b, k0, k1 put lane (k, b, m) of a CONTRACT at (k*B + b) * block + m,
    where span[0] = block - 1 and span[1] = B * block - 1.

    Timing: the odometer handles lane p in the cycle with `active` = 1 and `lane` = p; p must run
    through 0, 1, .. arch.lanes - 1. The table is complete in the cycle after the last, and stays
    until the next lane 0. `count` and `stride` must hold from lane 0 on, `span` from lane 1 on,
    which leaves a cycle to compute it.

    Parameters
    ----------
    n_lanes
        Lanes that may be enabled: a power of two, at most arch.lanes.
    levels
        How many factors each level has.

    Members
    -------
    active, lane : in
        The setup strobes of FrontEnd.
    count, stride : 7 and 20 bits per factor, in
    span : log2(n_lanes) bits per level but the last, in
        Lanes of a span, less one.
    offsets, enable : arch.lanes lanes, out
        The table.
    n_enabled : range(n_lanes + 1), out
        How many lanes are enabled.
    """

    active: Signal
    lane: Signal
    count: Any
    stride: Any
    span: Any
    offsets: Any
    enable: Signal
    n_enabled: Signal

    def __init__(self, arch: Architecture, n_lanes: int, levels: tuple[int, ...] = (2,)) -> None:
        self.arch, self.n_lanes, self.levels = arch, n_lanes, levels
        n = sum(levels)
        members = {
            "active": In(1),
            "lane": In(range(arch.lanes)),
            "count": In(data.ArrayLayout(unsigned(COUNT_BITS), n)),
            "stride": In(data.ArrayLayout(unsigned(ADDRESS_BITS), n)),
            "offsets": Out(offsets(arch)),
            "enable": Out(arch.lanes),
            "n_enabled": Out(range(n_lanes + 1)),
        }
        if len(levels) > 1:
            span = data.ArrayLayout(unsigned(clog2(n_lanes)), len(levels) - 1)
            members["span"] = In(span)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = offset_bits(self.arch)
        table = Signal(self.n_lanes * width, reset_less=True)
        enable = Signal(self.n_lanes)
        offset, used = self._odometer(m)
        m.d.comb += [self.offsets.as_value().eq(table), self.enable.eq(enable)]
        with m.If(self.active & (self.lane < self.n_lanes)):
            m.d.sync += [
                table.eq(Cat(table[width:], offset)),
                enable.eq(Cat(enable[1:], used)),
                self.n_enabled.eq(Mux(self.lane == 0, 0, self.n_enabled) + used),
            ]
        return m

    def _odometer(self, m: Module) -> tuple[Value, Value]:
        """Return the offset of `lane` and whether it is used; `_step` moves the state to it."""
        offset = Signal(offset_bits(self.arch))
        used = Signal()
        n = sum(self.levels)
        base = [Signal(offset.shape(), name=f"base_{f}", reset_less=True) for f in range(n)]
        left = [Signal(COUNT_BITS, name=f"left_{f}", reset_less=True) for f in range(n)]
        alive = Signal(len(self.levels))
        last = Signal(n)  # left == 1
        step, exhausted = self._step(list(last), alive)

        m.d.comb += offset.eq(
            one_hot(zip(step, base, strict=True))
            + one_hot((s, self.stride[f]) for f, s in enumerate(step))
        )
        alive_next = Signal(len(self.levels))
        first = [sum(self.levels[:g]) for g in range(len(self.levels) + 1)]
        for g in range(len(self.levels)):
            revived = Cat(step[first[g + 1] :]).any()
            m.d.comb += alive_next[g].eq((alive[g] & ~exhausted[g]) | revived)
        m.d.comb += used.eq((self.lane == 0) | alive_next.all())

        with m.If(self.active):
            m.d.sync += alive.eq(alive_next)
            for f in range(n):
                with m.If(Cat(step[f:]).any()):
                    m.d.sync += base[f].eq(offset)
                with m.If(step[f]):
                    m.d.sync += [left[f].eq(left[f] - 1), last[f].eq(left[f] == 2)]
                with m.If(Cat(step[f + 1 :]).any()):
                    m.d.sync += [left[f].eq(self.count[f]), last[f].eq(self.count[f] == 1)]
            with m.If(self.lane == 0):
                m.d.sync += alive.eq(~0)
                m.d.sync += [base[f].eq(0) for f in range(n)]
                m.d.sync += [left[f].eq(self.count[f]) for f in range(n)]
                m.d.sync += last.eq(Cat(count == 1 for count in self.count))
        return Mux(self.lane == 0, 0, offset), used

    def _step(self, last: list[Value], alive: Value) -> tuple[list[Value], list[Value]]:
        """Return, for the move to `lane`, which factor advances and which level is exhausted."""
        step: list[Value] = []
        exhausted: list[Value] = []
        for g, size in enumerate(self.levels):
            turn = self._starts(g) & ~self._starts(g + 1)
            mine = last[len(step) : len(step) + size]
            exhausted.append(turn & reduce(and_, mine))
            for k in range(size):
                step.append(reduce(and_, [turn & alive[g] & ~mine[k], *mine[:k]]))
        return step, exhausted

    def _starts(self, level: int) -> Value:
        """Return whether `lane` is where this level advances, or one above it."""
        if level == 0:
            return Const(1)
        if level == len(self.levels):
            return Const(0)
        return (self.lane & self.span[level - 1]) == 0
