"""The vector unit: the pointwise part of recurrent cells, copies and fills."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.hw.interfaces import (
    VECTOR_ISSUE,
    IssueSignature,
    ReadSignature,
    TokenSignature,
    WriteSignature,
    chosen_port,
    read_ports,
    stream_ports,
)
from einchip.hw.pipeline import product
from einchip.hw.unit import FrontEnd
from einchip.hw.vector_issue import VectorIssue
from einchip.hw.vector_kinds import (
    KINDS,
    MOST_ACTIVATIONS,
    by_kind,
    decode,
    is_any,
    is_kind,
    n_writes,
    reads,
)
from einchip.hw.vector_lanes import VectorLanes
from einchip.hw.vector_offsets import VectorOffsets
from einchip.hw.vector_write import VectorWrite, WriteQueue
from einchip.program import TOKENS, Lstm


def vector_events(arch: Architecture) -> data.StructLayout:
    """Return the performance counters of the vector unit, each with its increment's width."""
    return data.StructLayout(
        {
            "vector_ops": range(arch.lanes + 1),
            "activations": range(MOST_ACTIVATIONS * arch.lanes + 1),
            "vector_issue": 1,
            "vector_stall_port": 1,
            "vector_stall_write": 1,
            "vector_stall_token": 1,
            "vector_stall_setup": 1,
            "vector_idle": 1,
        }
    )


class VectorUnit(wiring.Component):
    """Execute the vector unit's instructions, one after the other, vector by vector.

    An instruction that overlaps the alike one before it reads while that one writes: operations,
    lanes and lane offsets are the same for both, so that only what writes has numbers of its own.

    Latency: a vector's writes are ready so many cycles after its last micro-operation as its
    class's `latencies` say. Throughput: a vector takes a cycle for each of its reads (FILL: a
    cycle), without those of the state that are beside others, and one of the write ports for each
    of its writes, as long as no more than VECTOR_WRITES writes are under way. docs/timing.md has
    every rule.

    Members
    -------
    issue : IssueSignature(VECTOR_ISSUE), in
    tokens : TokenSignature(TOKENS), out
    read_x, read_y, read_x_window, read_y_window : ReadSignature(arch), out
        Of the windows that there are. Requested only in cycles in which they are granted, all that
        an operation needs.
    write_x, write_y : WriteSignature(arch), out
    stop : in
        Nothing more is requested, and all that is under way is forgotten.
    idle : out
        No instruction is in the slot, set up or executed; 1 from the cycle after the last grant.
    events : vector_events(arch), out
        What this cycle adds to the performance counters.
    """

    issue: Any
    tokens: Any
    read_x: Any
    read_y: Any
    write_x: Any
    write_y: Any
    stop: Signal
    idle: Signal
    events: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "issue": In(IssueSignature(VECTOR_ISSUE)),
                "tokens": Out(TokenSignature(TOKENS)),
                "write_x": Out(WriteSignature(arch)),
                "write_y": Out(WriteSignature(arch)),
                "stop": In(1),
                "idle": Out(1),
                "events": Out(vector_events(arch)),
            }
            | {f"read_{port}": Out(ReadSignature(arch)) for port in read_ports(arch)}
        )
        self._reads: list[Any] = [getattr(self, f"read_{port}") for port in read_ports(arch)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.front = front = FrontEnd(VECTOR_ISSUE, self._arch.setup_cycles)
        m.submodules.offsets = offsets = VectorOffsets(self._arch)
        m.submodules.reads = reads = VectorIssue(self._arch)
        m.submodules.data = lanes = VectorLanes(self._arch)
        m.submodules.queue = queue = WriteQueue(self._arch)
        m.submodules.writes = writes = VectorWrite(self._arch)
        desc = Signal(VECTOR_ISSUE)  # of the instruction that is executed
        kinds = Signal(len(KINDS))  # which it is
        ports: Any = Signal(stream_ports(self._arch))
        m.d.comb += reads.first_kinds.eq(decode(front.desc.raw.opcode, self._arch))
        for name, _ in ports.shape():
            space, address = front.desc.raw[f"{name}_space"], front.desc[name]
            m.d.comb += reads.first_ports[name].eq(chosen_port(self._arch, space, address))
        active, overlap = self._execution(m, desc, kinds, ports, front, reads, writes)
        # What the instruction in the setup stage needs is loaded as long as it may launch, launched
        # or not: so hundreds of registers do not wait for its tokens.
        takes = Signal()
        m.d.comb += takes.eq(~active | overlap)
        with m.If(takes):
            m.d.sync += [
                desc.eq(front.desc),
                kinds.eq(reads.first_kinds),
                ports.eq(reads.first_ports),
            ]
        for stop in (front.stop, reads.stop, lanes.stop, queue.stop, writes.stop):
            m.d.comb += stop.eq(self.stop)
        for current in (reads.desc, lanes.desc, writes.desc):
            m.d.comb += current.eq(desc)
        for current in (reads.kinds, lanes.kinds, writes.kinds):
            m.d.comb += current.eq(kinds)
        for streams in (reads.ports, lanes.ports):
            m.d.comb += streams.eq(ports)
        for coming in (offsets.desc, reads.first):
            m.d.comb += coming.eq(front.desc)
        for loads in (offsets.load, reads.load):
            m.d.comb += loads.eq(takes)
        for alone in (reads.alone, lanes.load):
            m.d.comb += alone.eq(~active)

        wiring.connect(m, wiring.flipped(self.issue), front.issue)
        m.d.comb += [
            reads.begins.eq(front.launch),
            offsets.setup_active.eq(front.setup_active),
            offsets.setup_lane.eq(front.setup_lane),
            lanes.granted.eq(reads.granted),
            lanes.beside.eq(reads.beside),
            lanes.ends.eq(reads.ends),
            queue.arrives.eq(lanes.valid),
            queue.arriving.eq(lanes.result),
            queue.take.eq(writes.writes),
            writes.ready.eq(queue.valid),
        ]
        self._count_pending(m, kinds, reads, writes)
        self._ports(m, offsets, reads, writes, queue.head)
        self._count_events(m, kinds, front, reads, active, offsets.n_lanes)
        m.d.comb += [
            taken.eq(port.data) for taken, port in zip(lanes.read, self._reads, strict=True)
        ]
        return m

    def _execution(
        self,
        m: Module,
        desc: Any,
        kinds: Signal,
        ports: Any,
        front: FrontEnd,
        reads: VectorIssue,
        writes: VectorWrite,
    ) -> tuple[Signal, Signal]:
        """Launch instructions, and let their writes follow one another.

        Return whether one is executed, from its launch to its last write's grant; and whether the
        one in the setup stage may launch beside it.
        """
        active = Signal()
        second = Signal()  # of two, the first one still writes, the other one has `desc`
        launched = Signal()
        alike = Signal()
        overlap = Signal()
        signal = Signal(TOKENS)  # that of the instruction that writes
        coming = front.desc
        m.d.sync += [
            # stands before the stage is ready: that takes a cycle of setup at least
            alike.eq(
                coming.raw.overlaps
                & (self._likeness(coming.raw) == self._likeness(desc.raw))
                & (self._read(kinds, reads.first_ports) == self._read(kinds, ports))
            ),
            launched.eq(front.launch),
        ]
        m.d.comb += [
            overlap.eq(active & reads.issued & ~second & alike & front.ready),
            # as soon as nothing before it writes
            writes.load.eq((launched & ~second) | (writes.ends & second)),
            writes.first.eq(desc),
        ]
        with m.If(writes.load):
            m.d.sync += signal.eq(desc.raw.signal)
        with m.If(front.launch & active & ~writes.ends):
            m.d.sync += second.eq(1)
        with m.If(front.launch):
            m.d.sync += active.eq(1)
        with m.If(writes.ends):
            m.d.comb += self.tokens.give.eq(signal)
            m.d.sync += second.eq(0)
            with m.If(~second & ~front.launch):
                m.d.sync += active.eq(0)
        with m.If(self.stop):
            m.d.sync += [active.eq(0), second.eq(0)]
        m.d.comb += [
            front.can_take.eq(~active | overlap),
            front.positive.eq(self.tokens.positive),
            self.tokens.take.eq(front.take),
            self.idle.eq(front.idle & ~active),
        ]
        return active, overlap

    def _likeness(self, raw: Any) -> Value:
        """Return what alike instructions share."""
        return Cat(raw.opcode, *(raw[s.name] for s in Lstm.layout() if s.name not in Lstm.OWN))

    def _read(self, kinds: Signal, ports: Any) -> Value:
        """Return the ports of those streams that an instruction reads."""
        sources = {"src": ("src",), "cell": ("state",), "aux": ("aux", "packed")}
        return Cat(
            Mux(is_any(kinds, [k for k in KINDS if reads(k, *sources[name])]), ports[name], 0)
            for name, _ in ports.shape()
        )

    def _count_pending(
        self, m: Module, kinds: Signal, reads: VectorIssue, writes: VectorWrite
    ) -> None:
        """Count the writes of started vectors that are not granted yet."""
        pending = Signal.like(reads.pending)
        writes_of = {kind: n_writes(kind, self._arch.cell_planes) for kind in KINDS}
        joining = Mux(reads.starts, by_kind(kinds, writes_of), 0)
        m.d.comb += reads.pending.eq(pending + joining - writes.writes)
        m.d.sync += pending.eq(reads.pending)
        with m.If(self.stop):
            m.d.sync += pending.eq(0)

    def _ports(
        self,
        m: Module,
        offsets: VectorOffsets,
        reads: VectorIssue,
        writes: VectorWrite,
        head: Any,
    ) -> None:
        """Drive the ports: lanes at the offsets of a table, or consecutive."""
        for k, port in enumerate(self._reads):
            of_state = reads.of_state[k]
            m.d.comb += [
                port.valid.eq(reads.valid[k]),
                reads.ready[k].eq(port.ready),
                port.base.eq(Mux(of_state, reads.state_base, reads.base)),
            ]
            self._lanes(m, port, offsets.source, of_state | reads.consecutive, offsets.enable)
        for s, port in enumerate((self.write_x, self.write_y)):
            m.d.comb += [port.valid.eq(writes.valid[s]), writes.granted[s].eq(port.ready)]
            m.d.comb += [port.data.eq(head), port.base.eq(writes.base)]
            self._lanes(m, port, offsets.target, writes.consecutive, offsets.enable)

    def _lanes(self, m: Module, port: Any, table: Any, consecutive: Value, enable: Signal) -> None:
        """Drive a port's lanes."""
        m.d.comb += port.enable.eq(enable)
        for p in range(self._arch.lanes):
            m.d.comb += port.offsets[p].eq(Mux(consecutive, p, table[p]))

    def _count_events(
        self,
        m: Module,
        kinds: Signal,
        front: FrontEnd,
        reads: VectorIssue,
        active: Signal,
        n_lanes: Signal,
    ) -> None:
        events = self.events
        with m.If(active):
            m.d.comb += [
                events.vector_issue.eq(reads.issue),
                events.vector_stall_port.eq(reads.blocked),
                events.vector_stall_write.eq(~reads.issue & ~reads.blocked),
            ]
        with m.Else():
            setup = front.taken & (~front.ready | front.launch)
            m.d.comb += [
                events.vector_stall_setup.eq(setup),
                events.vector_stall_token.eq(front.missing_token),
                events.vector_idle.eq(~setup & ~front.missing_token),
            ]
        with m.If(reads.ends):
            m.d.comb += events.vector_ops.eq(n_lanes)
        for kind in (kind for kind in KINDS if kind.ACTIVATIONS):
            with m.If(reads.ends & is_kind(kinds, kind)):
                m.d.comb += events.activations.eq(product(Const(kind.ACTIVATIONS), n_lanes))
