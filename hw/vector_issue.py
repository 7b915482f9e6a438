"""The vector unit's micro-operations: what is read, where and when."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import VECTOR_WRITES, Architecture
from einchip.hw.interfaces import VECTOR_ISSUE, offset_bits, read_ports, stream_ports
from einchip.hw.nest import Nest
from einchip.hw.pipeline import one_hot
from einchip.hw.vector_kinds import (
    CELLS,
    KINDS,
    is_any,
    is_kind,
    most_operations,
    n_writes,
    operations,
)
from einchip.program import VECTOR_LOOPS, Fill

#: The sources that are read at the instruction's lane offsets; the others have consecutive lanes.
_STRIDED = ("src", "aux")


class _Step(NamedTuple):
    """A micro-operation and its place among those of its vector."""

    kind: Any
    number: int
    source: str
    first: bool  # of its source
    rise: int  # from its gate to the next one of its source


def _steps(planes: int) -> Iterator[_Step]:
    """Yield the micro-operations of all cells."""
    for kind in CELLS:
        reads = [o.read for o in operations(kind, planes)]
        for k, read in enumerate(reads):
            gates = [r.gate for r in reads if r.source == read.source]
            at = sum(r.source == read.source for r in reads[:k])
            if gates[0] != 0:
                raise AssertionError(f"{kind.__name__}: a source is not read from its start")
            rise = gates[at + 1] - gates[at] if at + 1 < len(gates) else 0
            yield _Step(kind, k, read.source, at == 0, rise)


class VectorIssue(wiring.Component):
    """Issue the micro-operations of one instruction in order, at most one a cycle.

    A vector takes the reads of its class, COPY among them one, and FILL one operation without a
    read. Where the state has another port than the source, a class with STATE_BESIDE reads its
    planes in the operations of its first gates, `beside` them. A vector starts only while its
    writes and the `pending` ones of the cycle before are VECTOR_WRITES or fewer. An operation is
    issued when it has room and all its ports are free; requests are made in that cycle alone. The
    first may be issued in the cycle after `begins`.

    Members
    -------
    load, begins, first, first_kinds : in
        Prepare the instruction `first` (a VECTOR_ISSUE, and its decoded opcode); begin the one that
        is prepared in this cycle.
    alone : in
        No instruction is executed, so that no write is pending.
    desc : VECTOR_ISSUE, in
        The same instruction, from the cycle after `load` to its end.
    kinds : len(KINDS), in
        Its decoded opcode, likewise.
    first_ports, ports : stream_ports(arch), in
        The read ports of their streams: of `first`, and of `desc`.
    pending : in
        Writes of vectors started up to this cycle that are not granted up to it.
    stop : in
        Ends the instruction; nothing is requested.
    valid, ready : one bit for each of read_ports(arch), out and in
        The read requests.
    of_state : one bit for each of read_ports(arch), out
        The port that reads the state in this operation, if one does.
    state_base, base : offset_bits(arch), out
        The address of lane 0 there, and of the other reads.
    consecutive : out
        The other read is of packed weights, so its lanes are consecutive, as those of the state.
    issue, blocked : out
        An operation is issued; it has room, but the port is taken.
    issued : out
        All operations of the instruction have been issued.
    starts, ends : out
        The operation that is issued is the first, the last of its vector.
    granted : most_operations(planes), out
        Which operation of a cell's vector is issued, one bit each.
    beside : out
        The planes of the state are read beside gates.
    """

    load: Signal
    begins: Signal
    first: Any
    first_kinds: Signal
    alone: Signal
    desc: Any
    kinds: Signal
    first_ports: Any
    ports: Any
    pending: Signal
    stop: Signal
    valid: Signal
    ready: Signal
    of_state: Signal
    state_base: Signal
    base: Signal
    consecutive: Signal
    issue: Signal
    blocked: Signal
    issued: Signal
    starts: Signal
    ends: Signal
    granted: Signal
    beside: Signal

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        self._steps = list(_steps(arch.cell_planes))
        super().__init__(
            {
                "load": In(1),
                "begins": In(1),
                "first": In(VECTOR_ISSUE),
                "first_kinds": In(len(KINDS)),
                "alone": In(1),
                "desc": In(VECTOR_ISSUE),
                "kinds": In(len(KINDS)),
                "first_ports": In(stream_ports(arch)),
                "ports": In(stream_ports(arch)),
                "pending": In(range(VECTOR_WRITES + 1)),
                "stop": In(1),
                "valid": Out(len(read_ports(arch))),
                "ready": In(len(read_ports(arch))),
                "of_state": Out(len(read_ports(arch))),
                "state_base": Out(offset_bits(arch)),
                "base": Out(offset_bits(arch)),
                "consecutive": Out(1),
                "issue": Out(1),
                "blocked": Out(1),
                "issued": Out(1),
                "starts": Out(1),
                "ends": Out(1),
                "granted": Out(most_operations(arch.cell_planes)),
                "beside": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.nest = nest = self._nest(m)
        planes, kinds = self._arch.cell_planes, self.kinds
        # the next operation of a cell's vector, one bit each; COPY and FILL stay at the first
        at = Signal(most_operations(planes))
        following = Signal.like(at)  # of the one behind it
        coming = Signal()  # as `beside`, of the instruction that is prepared
        m.d.comb += coming.eq(
            is_any(self.first_kinds, [kind for kind in CELLS if kind.STATE_BESIDE])
            & ~(self.first_ports.cell & self.first_ports.src).any()
        )
        with m.If(self.load):
            m.d.sync += self.beside.eq(coming)
        first = self._first(self.beside)
        starts = (at & first).any()
        is_cell = is_any(kinds, CELLS)
        lengths = {kind: len(operations(kind, planes)) for kind in CELLS}
        is_last = Cat(at[n - 1] & is_kind(kinds, kind) for kind, n in lengths.items()).any()
        m.d.comb += [
            self.starts.eq(self.issue & starts),
            self.ends.eq(self.issue & (is_last | ~is_cell)),
            nest.advance.eq(self.ends),
            following.eq(Mux(is_cell & ~is_last, at << 1, first)),
        ]
        with m.If(self.issue & is_cell):
            m.d.comb += self.granted.eq(at)
        with m.If(self.issue):
            m.d.sync += at.eq(following)
        with m.If(self.load):
            m.d.sync += at.eq(self._first(coming))
        issuing = Signal()
        m.d.comb += self.issued.eq(~issuing)
        with m.If(self.begins):
            m.d.sync += issuing.eq(1)
        with m.If((self.ends & nest.last.all()) | self.stop):
            m.d.sync += issuing.eq(0)
        writes = {kind: n_writes(kind, planes) for kind in KINDS}
        of_count = {n: [k for k in KINDS if writes[k] == n] for n in sorted(set(writes.values()))}
        room = Signal()
        m.d.sync += room.eq(
            Cat(
                (self.pending <= VECTOR_WRITES - n) & is_any(kinds, some)
                for n, some in of_count.items()
            ).any()
        )
        with m.If(self.alone):
            m.d.sync += room.eq(1)
        self._address(m, at, nest.address)
        self._request(m, following, coming, issuing & ~self.stop & (room | ~starts))
        return m

    def _first(self, beside: Value) -> Value:
        """Return the first operation of a vector, one bit each: those of planes alone may be none.

        They are the first ones of a class with STATE_BESIDE.
        """
        planes = self._arch.cell_planes
        n = most_operations(planes)
        return Mux(beside, Const(1 << planes, n), Const(1, n))

    def _nest(self, m: Module) -> Nest:
        """Return the loops around a vector, stepping the addresses of src and aux."""
        nest = Nest(VECTOR_LOOPS, len(_STRIDED), 16, offset_bits(self._arch))
        m.d.comb += [nest.load.eq(self.load), nest.count.eq(self.first.raw.loop_count)]
        for k, source in enumerate(_STRIDED):
            m.d.comb += [
                nest.stride[k].eq(self.first.raw.loop_src),
                nest.start[k].eq(self.first[source]),
            ]
        return nest

    def _at(self, at: Value, steps: Iterable[_Step], kinds: Value | None = None) -> Value:
        """Return whether an operation is one of these, of the cell that is executed or in `kinds`.

        `at` is its number, one bit each.
        """
        decoded = self.kinds if kinds is None else kinds
        return Cat(at[step.number] & is_kind(decoded, step.kind) for step in steps).any()

    def _reading(self, at: Value, *sources: str, kinds: Value | None = None) -> Value:
        """Return whether an operation reads one of these sources."""
        return self._at(at, [step for step in self._steps if step.source in sources], kinds)

    def _port(self, at: Value, kinds: Value, ports: Any) -> Value:
        """Return the port of an operation's read of src, aux or packed weights, one bit each."""
        of_state = self._reading(at, "state", kinds=kinds)
        of_aux = self._reading(at, "aux", "packed", kinds=kinds)
        port = Mux(of_aux, ports.aux, ports.src)
        return Mux(is_kind(kinds, Fill) | of_state, 0, port)

    def _state_port(self, at: Value, kinds: Value, ports: Any, beside: Value) -> Value:
        """Return the port of an operation's read of the state, one bit each."""
        planes = self._arch.cell_planes
        reads = self._reading(at, "state", kinds=kinds)
        reads_too = beside & at[planes : 2 * planes].any()
        return Mux(reads | reads_too, ports.cell, 0)

    def _request(self, m: Module, following: Signal, coming: Signal, has_room: Value) -> None:
        """Request what may be issued, and issue what is granted.

        Other units wait for the request: so the ports that it takes stand in registers.
        """
        port, taken = Signal.like(self.valid), Signal.like(self.valid)
        m.d.comb += [
            taken.eq(port | self.of_state),
            self.issue.eq(has_room & ~(taken & ~self.ready).any()),
            self.valid.eq(Mux(self.issue, taken, 0)),
            self.blocked.eq(has_room & ~self.issue),
        ]
        with m.If(self.load):
            of_first = self._first(coming), self.first_kinds, self.first_ports
            m.d.sync += [
                port.eq(self._port(*of_first)),
                self.of_state.eq(self._state_port(*of_first, coming)),
            ]
        with m.Elif(self.issue):
            of_next = following, self.kinds, self.ports
            m.d.sync += [
                port.eq(self._port(*of_next)),
                self.of_state.eq(self._state_port(*of_next, self.beside)),
            ]

    def _address(self, m: Module, at: Signal, vector: Any) -> None:
        """Choose the address: of the vector, of a later gate, or the next consecutive one.

        That of the state is always the next consecutive one.
        """
        moves = ~is_any(self.kinds, CELLS)  # COPY; FILL needs no address
        choices: list[tuple[Value, Value]] = [(moves, vector[0])]
        for k, source in enumerate(_STRIDED):
            first = self._at(at, [s for s in self._steps if s.source == source and s.first])
            later = self._at(at, [s for s in self._steps if s.source == source and not s.first])
            choices += [(first, vector[k]), (later, self._gate(m, at, source))]
        packed = Signal.like(self.base, name="packed_address")
        m.d.comb += self.consecutive.eq(self._reading(at, "packed"))
        choices.append((self.consecutive, packed))
        m.d.comb += self.base.eq(one_hot(choices))
        for address, reads, start in (
            (self.state_base, self.of_state.any(), self.first.cell),
            (packed, self.consecutive, self.first.aux),
        ):
            with m.If(self.issue & reads):
                m.d.sync += address.eq(address + self._arch.lanes)
            with m.If(self.load):
                m.d.sync += address.eq(start)

    def _gate(self, m: Module, at: Signal, source: str) -> Signal:
        """Return the address of a source's next gate."""
        gate = Signal.like(self.base, name=f"{source}_gate")
        steps = [step for step in self._steps if step.source == source]
        change = one_hot(
            (
                self._at(at, [step for step in steps if step.rise == rise]),
                _multiple(rise, self.desc.raw.gate_stride),
            )
            for rise in sorted({step.rise for step in steps} - {0})
        )
        with m.If(self.issue & self._at(at, steps)):
            m.d.sync += gate.eq(self.base + change)
        return gate


def _multiple(factor: int, value: Value) -> Value:
    """Return factor * value, where factor is plus or minus a power of two."""
    size = abs(factor)
    if size.bit_count() != 1:
        raise AssertionError(f"gates {factor} strides apart")
    shifted = value << (size.bit_length() - 1)
    return shifted if factor > 0 else -shifted
