"""The vector unit's micro-operations: what is read, where and when."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import VECTOR_WRITES, Architecture
from einchip.hw.cell import GATES, granted_layout
from einchip.hw.interfaces import VECTOR_ISSUE, offset_bits
from einchip.hw.nest import Nest
from einchip.hw.pipeline import one_hot
from einchip.program import VECTOR_LOOPS, Fill, Lstm, Space


class VectorIssue(wiring.Component):
    """Issue the micro-operations of one instruction in order, at most one a cycle.

    A vector takes the reads i, f, g, the cell's planes, o for LSTM, one read for COPY, and one
    operation without a read for FILL. It starts only while its writes and the `pending` ones are
    VECTOR_WRITES or fewer. A read is issued in the cycle of its grant, a FILL's operation once it
    has room. The first may be issued in the cycle after `load`.

    Members
    -------
    load, first : in
        Begin the instruction `first` (a VECTOR_ISSUE).
    desc : VECTOR_ISSUE, in
        The same instruction, from the cycle after `load` to its end.
    pending : in
        Writes of started vectors that were not granted before this cycle.
    stop : in
        Ends the instruction; nothing is requested.
    valid, ready : 2, out and in
        The read requests of X (bit 0) and Y (bit 1).
    base : offset_bits(arch), out
        The address of lane 0 of either.
    is_cell : out
        The operation reads a plane of the cell state, so lanes are consecutive.
    issue, blocked : out
        An operation is issued; it has room, but the port is taken.
    starts, ends : out
        The operation that is issued is the first, the last of its vector.
    granted : granted_layout(planes), out
        Which read of an LSTM is issued.
    """

    load: Signal
    first: Any
    desc: Any
    pending: Signal
    stop: Signal
    valid: Signal
    ready: Signal
    base: Signal
    is_cell: Signal
    issue: Signal
    blocked: Signal
    starts: Signal
    ends: Signal
    granted: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "load": In(1),
                "first": In(VECTOR_ISSUE),
                "desc": In(VECTOR_ISSUE),
                "pending": In(range(VECTOR_WRITES + 1)),
                "stop": In(1),
                "valid": Out(2),
                "ready": In(2),
                "base": Out(offset_bits(arch)),
                "is_cell": Out(1),
                "issue": Out(1),
                "blocked": Out(1),
                "starts": Out(1),
                "ends": Out(1),
                "granted": Out(granted_layout(arch.cell_planes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.nest = nest = self._nest(m)
        planes = self._arch.cell_planes
        is_lstm = self.desc.raw.opcode == Lstm.OPCODE
        # the next operation: one bit per read of an LSTM; COPY and FILL stay at the first
        at = Signal(GATES + planes)
        with m.If(self.issue & is_lstm):
            m.d.comb += self.granted.as_value().eq(at)
            m.d.sync += at.eq(at.rotate_left(1))
        with m.If(self.load):
            m.d.sync += at.eq(1)
        m.d.comb += [
            self.is_cell.eq(at[GATES - 1 : -1].any()),
            self.starts.eq(self.issue & at[0]),
            self.ends.eq(self.issue & (at[-1] | ~is_lstm)),
            nest.advance.eq(self.ends),
        ]
        issuing = Signal()
        with m.If(self.load):
            m.d.sync += issuing.eq(1)
        with m.If((self.ends & nest.last.all()) | self.stop):
            m.d.sync += issuing.eq(0)
        room = self.pending <= Mux(is_lstm, VECTOR_WRITES - (planes + 1), VECTOR_WRITES - 1)
        self._request(m, issuing & ~self.stop & (room | ~at[0]))
        self._address(m, at, nest.address[0])
        return m

    def _nest(self, m: Module) -> Nest:
        """Return the loops around a vector, stepping the source."""
        nest = Nest(VECTOR_LOOPS, 1, 16, offset_bits(self._arch))
        m.d.comb += [
            nest.load.eq(self.load),
            nest.count.eq(self.first.raw.loop_count),
            nest.stride[0].eq(self.first.raw.loop_src),
            nest.start[0].eq(self.first.src),
        ]
        return nest

    def _request(self, m: Module, has_room: Any) -> None:
        """Request what may be issued, and issue what is granted."""
        is_fill = self.desc.raw.opcode == Fill.OPCODE
        space = Mux(self.is_cell, self.desc.raw.cell_space, self.desc.raw.src_space)
        for s in Space:
            m.d.comb += self.valid[s].eq(has_room & ~is_fill & (space == s))
        m.d.comb += [
            self.issue.eq(has_room & (is_fill | self.ready.bit_select(space, 1))),
            self.blocked.eq(has_room & ~self.issue),
        ]

    def _address(self, m: Module, at: Signal, source: Any) -> None:
        """Step through the gates of a vector, and through all planes of the cell state."""
        gate, cell = Signal.like(self.base), Signal.like(self.base)
        at_later_gate = ~at[0] & ~self.is_cell
        m.d.comb += self.base.eq(
            one_hot([(at[0], source), (at_later_gate, gate), (self.is_cell, cell)])
        )
        with m.If(self.issue & ~self.is_cell):
            m.d.sync += gate.eq(self.base + self.desc.raw.gate_stride)
        with m.If(self.issue & self.is_cell):
            m.d.sync += cell.eq(self.base + self._arch.lanes)
        with m.If(self.load):
            m.d.sync += cell.eq(self.first.cell)
