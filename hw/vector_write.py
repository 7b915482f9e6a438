"""The vector unit's writes: a queue for what is ready, and where it goes."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import VECTOR_WRITES, Architecture
from einchip.hw.interfaces import VECTOR_ISSUE, elements, offset_bits
from einchip.hw.nest import Nest
from einchip.hw.vector_kinds import KINDS, is_any
from einchip.program import VECTOR_LOOPS, Space


class WriteQueue(wiring.Component):
    """VECTOR_WRITES vectors of elements, first in, first out, that pass through when it is empty.

    What arrives in cycle t is at the output from t on, until it is taken; `valid` does not depend
    on `take`. Nothing may arrive while the queue is full.

    Members
    -------
    arrives, arriving : in
        A vector joins the queue.
    valid, head : out
        The first vector.
    take : in
        `head` leaves the queue.
    stop : in
        Empties the queue.
    """

    arrives: Signal
    arriving: Any
    valid: Signal
    head: Any
    take: Signal
    stop: Signal

    def __init__(self, arch: Architecture) -> None:
        self._layout = elements(arch)
        super().__init__(
            {
                "arrives": In(1),
                "arriving": In(self._layout),
                "valid": Out(1),
                "head": Out(self._layout),
                "take": In(1),
                "stop": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._layout, depth=VECTOR_WRITES, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        level = Signal(range(VECTOR_WRITES + 1))
        empty = level == 0
        leaves = self.take & ~empty
        joins = self.arrives & ~(empty & self.take)
        m.d.comb += [
            self.valid.eq(self.arrives | ~empty),
            self.head.eq(Mux(empty, self.arriving, read.data)),
            write.en.eq(joins),
            write.data.eq(self.arriving),
        ]
        m.d.sync += [
            write.addr.eq(write.addr + joins),
            read.addr.eq(read.addr + leaves),
            level.eq(level + joins - leaves),
        ]
        with m.If(self.stop):
            m.d.sync += [write.addr.eq(0), read.addr.eq(0), level.eq(0)]
        return m


class VectorWrite(wiring.Component):
    """Write what is ready, in order, one vector of elements a cycle.

    A vector of a class with WRITES_STATE has the planes of its state written, then the
    destination; the others have one write.

    Members
    -------
    load, first : in
        Prepare the instruction `first` (a VECTOR_ISSUE).
    desc : VECTOR_ISSUE, in
        The same instruction, from the cycle after `load` to its end, or one that is alike.
    kinds : len(KINDS), in
        Its decoded opcode, likewise.
    ready : in
        The next write's data are there.
    stop : in
        Nothing is requested.
    valid, granted : 2, out and in
        The write requests of X (bit 0) and Y (bit 1); `granted` is the port's `ready`.
    base : offset_bits(arch), out
        The address of lane 0 of either.
    consecutive : out
        The write is a plane of the state, so lanes are consecutive.
    writes, ends : out
        A write is granted; it is the instruction's last.
    """

    load: Signal
    first: Any
    desc: Any
    kinds: Signal
    ready: Signal
    stop: Signal
    valid: Signal
    granted: Signal
    base: Signal
    consecutive: Signal
    writes: Signal
    ends: Signal

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "load": In(1),
                "first": In(VECTOR_ISSUE),
                "desc": In(VECTOR_ISSUE),
                "kinds": In(len(KINDS)),
                "ready": In(1),
                "stop": In(1),
                "valid": Out(2),
                "granted": In(2),
                "base": Out(offset_bits(arch)),
                "consecutive": Out(1),
                "writes": Out(1),
                "ends": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.nest = nest = self._nest(m)
        raw = self.desc.raw
        cell = Signal.like(self.base)
        plane = Signal(range(self._arch.cell_planes + 1))
        space = Mux(self.consecutive, raw.cell_space, raw.dst_space)
        request = self.ready & ~self.stop
        m.d.comb += [
            self.consecutive.eq(
                is_any(self.kinds, [kind for kind in KINDS if kind.WRITES_STATE])
                & (plane != self._arch.cell_planes)
            ),
            self.base.eq(Mux(self.consecutive, cell, nest.address[0])),
            self.writes.eq(request & self.granted.bit_select(space, 1)),
            nest.advance.eq(self.writes & ~self.consecutive),
            self.ends.eq(nest.advance & nest.last.all()),
        ]
        for s in Space:
            m.d.comb += self.valid[s].eq(request & (space == s))
        with m.If(self.writes):
            m.d.sync += plane.eq(0)
            with m.If(self.consecutive):
                m.d.sync += [plane.eq(plane + 1), cell.eq(cell + self._arch.lanes)]
        with m.If(self.load):
            m.d.sync += [plane.eq(0), cell.eq(self.first.cell)]
        return m

    def _nest(self, m: Module) -> Nest:
        """Return the loops around a vector, stepping the destination."""
        nest = Nest(VECTOR_LOOPS, 1, 16, offset_bits(self._arch))
        m.d.comb += [
            nest.load.eq(self.load),
            nest.count.eq(self.first.raw.loop_count),
            nest.stride[0].eq(self.first.raw.loop_dst),
            nest.start[0].eq(self.first.dst),
        ]
        return nest
