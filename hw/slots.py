"""The slots of an array instruction: what is read and multiplied in each."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.interfaces import ARRAY_ISSUE, offset_bits
from einchip.hw.nest import Nest
from einchip.program import ARRAY_LOOPS, HOLD_LOOPS

LOOP_BITS = 16


def slot_layout(arch: Architecture) -> data.StructLayout:
    """A slot.

    * x, y, z: addresses of what it reads, and of its tile's first result less the instruction's;
    * reads_x, reads_y: what it reads; one that reads Y is an issue;
    * first: its tile's first iteration; begins: an iteration's first issue;
    * tile_ends, ends: a tile's last issue, the instruction's last slot.

    Where the fold holds row operands, moreover

    * holds: whether the instruction holds;
    * h: which of the held vectors of X it reads;
    * q (where a tile may use several accumulators): which of the vectors of Y that pass.
    """
    address = unsigned(offset_bits(arch))
    flags = ("reads_x", "reads_y", "first", "begins", "tile_ends", "ends")
    members: dict[str, Any] = {**dict.fromkeys("xyz", address), **dict.fromkeys(flags, unsigned(1))}
    if arch.holds:
        members |= {"holds": unsigned(1), "h": unsigned(clog2(arch.cols))}
    if arch.tile_accumulators > 1:
        members |= {"q": unsigned(clog2(arch.tile_accumulators))}
    return data.StructLayout(members)


class Slots(wiring.Component):
    """Steps through the slots of instructions by the rules of docs/timing.md, section "Array".

    `load` in cycle t, the first slot of `desc` stands from t + 1; `advance` in t, the next one
    stands from t + 1. `load` wins, and may come in several cycles: the last one counts. What stands
    after the last slot has no meaning.

    An instruction that does not hold reads X and Y in every slot. Where the fold holds row
    operands, X has a nest of its own, h innermost and without the loops that hold: an iteration of
    the array passes Y, and reads what the next one multiplies by. The first such "iteration" passes
    nothing, the last one reads nothing.

    Members
    -------
    load, desc, advance : in
    slot : slot_layout, out
    """

    load: Signal
    desc: Any
    advance: Signal
    slot: Any

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        super().__init__(
            {
                "load": In(1),
                "desc": In(ARRAY_ISSUE),
                "advance": In(1),
                "slot": Out(slot_layout(arch)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slot, first = self.slot, Signal()
        tile = Signal(ARRAY_LOOPS)  # the loops of a tile
        nest = self._pass(m, tile)
        passed = self._hold(m, nest) if self.arch.holds else Const(1)
        m.d.comb += [
            slot.first.eq(first),
            slot.tile_ends.eq(slot.reads_y & (nest.last | ~tile).all()),
            slot.ends.eq(slot.reads_y & nest.last.all()),
        ]
        with m.If(self.load):
            m.d.sync += first.eq(1)
        with m.Elif(self.advance & slot.reads_y & passed):
            m.d.sync += first.eq(slot.tile_ends)
        return m

    def _pass(self, m: Module, tile: Signal) -> Nest:
        """Step through Y and the results; where the fold does not hold, through X as well."""
        raw, slot = self.desc.raw, self.slot
        tile_loops = raw.n_reduce + (raw.n_hold if self.arch.holds else 0)
        in_tile = Cat(tile_loops > i for i in range(ARRAY_LOOPS))
        with m.If(self.load):
            m.d.sync += tile.eq(in_tile)
        n_operands = 2 if self.arch.holds else 3
        m.submodules.nest = nest = Nest(ARRAY_LOOPS, n_operands, LOOP_BITS, offset_bits(self.arch))
        m.d.comb += [
            nest.load.eq(self.load),
            nest.advance.eq(self.advance & slot.reads_y),
            nest.count.eq(raw.loop_count),
            nest.stride.eq(Cat(raw.loop_y, raw.loop_z, raw.loop_x)[: len(Value.cast(nest.stride))]),
            nest.still[1].eq(tile),
            nest.start[0].eq(self.desc.y),
            slot.y.eq(nest.address[0]),
            slot.z.eq(nest.address[1]),
        ]
        if not self.arch.holds:
            m.d.comb += [
                nest.start[2].eq(self.desc.x),
                slot.x.eq(nest.address[2]),
                Cat(slot.reads_x, slot.reads_y, slot.begins).eq(~0),
            ]
        return nest

    def _hold(self, m: Module, nest: Nest) -> Value:
        """Decide what the slots read; return whether Y has passed with this one."""
        slot, raw = self.slot, self.desc.raw
        reads = self._read_held(m)
        loops = Signal(HOLD_LOOPS)  # those that hold
        x_left = Signal()
        y_left = Signal()
        begins = Signal()
        holds = Signal()
        passed = (nest.last[:HOLD_LOOPS] | ~loops).all()
        over = (~x_left | reads.last[0]) & (~y_left | passed)  # the iteration
        all_read = Signal()
        m.d.comb += Cat(slot.reads_x, slot.reads_y, slot.begins, slot.holds).eq(
            Cat(x_left, y_left, begins, holds)
        )
        with m.If(self.load):
            holding = (raw.nh != 1) | (raw.n_hold != 0)
            m.d.sync += [
                Cat(holds, y_left).eq(Cat(holding, ~holding)),
                Cat(x_left, begins, all_read).eq(0b011),
                loops.eq(Cat(raw.n_hold > i for i in range(HOLD_LOOPS))),
            ]
        with m.Elif(self.advance):
            last_x = x_left & reads.last.all()
            m.d.sync += [
                all_read.eq(all_read | last_x),
                x_left.eq(Mux(over, ~(all_read | last_x), x_left & ~reads.last[0])),
                y_left.eq(over | (y_left & ~passed)),
                begins.eq(over | (begins & ~y_left)),
            ]
        if self.arch.tile_accumulators > 1:
            q = Signal(slot.q.shape())
            m.d.comb += slot.q.eq(q)
            with m.If(self.load):
                m.d.sync += q.eq(0)
            with m.Elif(self.advance):
                m.d.sync += q.eq(Mux(over | ~y_left, 0, q + 1))
        return passed

    def _read_held(self, m: Module) -> Nest:
        """Step through the vectors of X, h = 0, 1, .. of each iteration."""
        slot, raw, h = self.slot, self.desc.raw, Signal(self.slot.h.shape())
        m.submodules.reads = reads = Nest(ARRAY_LOOPS + 1, 1, LOOP_BITS, offset_bits(self.arch))
        counts = [
            Mux(raw.n_hold > i, 1, count) if i < HOLD_LOOPS else count
            for i, count in enumerate(raw.loop_count)
        ]
        m.d.comb += [
            reads.load.eq(self.load),
            reads.advance.eq(self.advance & slot.reads_x),
            *(own.eq(count) for own, count in zip(reads.count, [raw.nh, *counts], strict=True)),
            reads.stride.eq(Cat(raw.xs_h, raw.loop_x)),
            reads.start[0].eq(self.desc.x),
            slot.x.eq(reads.address[0]),
            slot.h.eq(h),
        ]
        with m.If(self.load):
            m.d.sync += h.eq(0)
        with m.Elif(reads.advance):
            m.d.sync += h.eq(Mux(reads.last[0], 0, h + 1))
        return reads
