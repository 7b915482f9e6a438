"""On-chip memory in place of external memory: an AXI4 slave that the host reads and writes, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import clog2
from einchip.hw.axi import ADDRESS_BITS, BOUNDARY_BYTES, OKAY, AxiSignature
from einchip.hw.serial_memory import SINGLE_PORT
from einchip.link import WORD_BYTES

#: No slave at that address.
DECERR: Final = 0b11
#: Beats between the memory and the bus, so that none is lost when the master waits.
READ_BEATS: Final = 4
#: Ports of a memory: one that reads and writes, or one that reads and one that writes.
Ports = Literal[1, 2]
#: Cycles from a burst's address to its first beat, by ports.
LATENCY: Final[Mapping[Ports, int]] = {1: 2, 2: 3}


def row_bytes(port_bytes: int) -> int:
    """Return the bytes of a row of memory: a beat, but not less than the host's word."""
    return max(port_bytes, WORD_BYTES)


def n_rows(n_bytes: int, port_bytes: int) -> int:
    """Return the rows of a memory. Raises ValueError for what `AxiMemory` cannot be."""
    row = row_bytes(port_bytes)
    if n_bytes % row or not n_bytes:
        raise ValueError(
            f"found {n_bytes} bytes, expected a multiple of {row}, and more than none; "
            "choose another size"
        )
    return n_bytes // row


class HostMemorySignature(wiring.Signature):
    """Words of memory, one at a time.

    A request (`valid` with its `address`, a multiple of WORD_BYTES; `write` and `written`) is taken
    in the cycle in which `ready` is 1. What was read stands in `read` in the cycle after that.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "write": Out(1),
                "address": Out(ADDRESS_BITS),
                "written": Out(8 * WORD_BYTES),
                "read": In(8 * WORD_BYTES),
            }
        )


class _Burst(NamedTuple):
    """A burst that is served if `active`, one that writes if `writes`, and its next beat.

    That is a `part` of a `row`, or behind the end (`outside`); a read's may be its `last`.
    """

    active: Value
    writes: Value
    row: Value
    part: Value
    outside: Value
    last: Value


class AxiMemory(wiring.Component):
    """Memory of `n_bytes` bytes from address 0, one beat read and one written per cycle.

    The first beat of a burst is there `LATENCY` cycles after its address; bursts that read follow
    one another without a gap. Bursts are INCR, of whole beats; the response to a write comes a
    cycle after its last beat. Addresses behind the end answer DECERR. The host has a port where the
    machine leaves it free.

    With one port (`hw.serial_memory.SINGLE_PORT`) one burst is served at a time, those that write
    first, and the host between them. What was read stands in the memory's output until the master
    takes it; all else waits for that. No burst may cross a multiple of `hw.axi.BOUNDARY_BYTES`.

    Parameters
    ----------
    n_bytes
        A multiple of `row_bytes`.
    port_bytes
        Bytes of a beat, a power of two.
    ports
        Of the memory itself.

    Members
    -------
    axi : AxiSignature(port_bytes), in
    host : HostMemorySignature, in
    """

    axi: Any
    host: Any

    def __init__(self, n_bytes: int, port_bytes: int, ports: Ports = 2) -> None:
        self._n_rows, self._port_bytes = n_rows(n_bytes, port_bytes), port_bytes
        self._row_bytes, self._ports = row_bytes(port_bytes), ports
        super().__init__({"axi": In(AxiSignature(port_bytes)), "host": In(HostMemorySignature())})

    def elaborate(self, platform: object) -> Module:
        return self._with_one_port() if self._ports == 1 else self._with_two_ports()

    def _with_two_ports(self) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=8 * self._row_bytes, depth=self._n_rows, init=[]
        )
        read, write = memory.read_port(), memory.write_port(granularity=8)
        reads, writes = self._read(m, read), self._write(m, write)
        host, bits = self.host, clog2(self._row_bytes)
        word, known = host.address[clog2(WORD_BYTES) : bits], Signal(bits - clog2(WORD_BYTES))
        taken = Signal()
        m.d.comb += [
            host.ready.eq(Mux(host.write, ~writes, ~reads)),
            taken.eq(host.valid & host.ready),
            host.read.eq(read.data.word_select(known, 8 * WORD_BYTES)),
        ]
        with m.If(taken & ~host.write):
            m.d.comb += [read.addr.eq(host.address[bits:]), read.en.eq(1)]
            m.d.sync += known.eq(word)
        with m.If(taken & host.write):
            m.d.comb += [
                write.addr.eq(host.address[bits:]),
                write.data.eq(host.written.replicate(self._row_bytes // WORD_BYTES)),
                write.en.word_select(word, WORD_BYTES).eq(~0),
            ]
        return m

    def _place(self, beat: Signal) -> tuple[Value, Value]:
        """Return the row of a beat, and which part of it."""
        bits = clog2(self._row_bytes // self._port_bytes)
        return beat[bits:], beat[:bits] if bits else Const(0, 1)

    def _read(self, m: Module, port: Any) -> Signal:
        """Serve the read channels; return whether they have the port."""
        axi = self.axi
        beat_bits = ADDRESS_BITS - clog2(self._port_bytes)
        at = Signal(beat_bits)
        left = Signal(8)
        active = Signal()
        beat = data.StructLayout({"data": 8 * self._port_bytes, "failed": 1, "last": 1})
        beats: Any = SyncFIFO(width=beat.size, depth=READ_BEATS)
        m.submodules.beats = beats
        coming: Any = Signal(beat)
        out: Any = data.View(beat, beats.r_data)
        reads = Signal()
        came = Signal()
        row, part = self._place(at)
        read = Signal.like(part)  # which part of the row that was read
        beat_read = port.data.word_select(read, 8 * self._port_bytes)
        inside = row < self._n_rows
        m.d.comb += [
            axi.arready.eq(~active | (reads & (left == 0))),
            reads.eq(active & (beats.level + came < READ_BEATS)),
            beats.w_en.eq(came),
            beats.w_data.eq(Cat(Mux(coming.failed, 0, beat_read), coming.failed, coming.last)),
            beats.r_en.eq(axi.rready),
            axi.rvalid.eq(beats.r_rdy),
            axi.rdata.eq(out.data),
            axi.rresp.eq(Mux(out.failed, DECERR, OKAY)),
            axi.rlast.eq(out.last),
        ]
        m.d.sync += [came.eq(reads), coming.failed.eq(~inside), coming.last.eq(left == 0)]
        with m.If(reads):
            m.d.comb += [port.addr.eq(row), port.en.eq(1)]
            m.d.sync += [read.eq(part), at.eq(at + 1), left.eq(left - 1), active.eq(left != 0)]
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [
                active.eq(1),
                at.eq(axi.araddr[clog2(self._port_bytes) :]),
                left.eq(axi.arlen),
            ]
        return reads

    def _write(self, m: Module, port: Any) -> Signal:
        """Serve the write channels; return whether they have the port."""
        axi = self.axi
        at = Signal(ADDRESS_BITS - clog2(self._port_bytes))
        active = Signal()
        failed = Signal()
        writes = Signal()
        row, part = self._place(at)
        outside = row >= self._n_rows
        m.d.comb += [
            axi.awready.eq(~active & (~axi.bvalid | axi.bready)),
            axi.wready.eq(active),
            writes.eq(active & axi.wvalid),
        ]
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += [
                active.eq(1),
                failed.eq(0),
                at.eq(axi.awaddr[clog2(self._port_bytes) :]),
            ]
        with m.If(writes):
            m.d.comb += [
                port.addr.eq(row),
                port.data.eq(axi.wdata.replicate(self._row_bytes // self._port_bytes)),
                port.en.word_select(part, self._port_bytes).eq(Mux(outside, 0, axi.wstrb)),
            ]
            m.d.sync += [at.eq(at + 1), failed.eq(failed | outside)]
            with m.If(axi.wlast):
                m.d.sync += [
                    active.eq(0),
                    axi.bvalid.eq(1),
                    axi.bresp.eq(Mux(failed | outside, DECERR, OKAY)),
                ]
        return writes

    def _with_one_port(self) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=8 * self._row_bytes, depth=self._n_rows, init=[], attrs={SINGLE_PORT: "1"}
        )
        read, write = memory.read_port(), memory.write_port(granularity=8)
        axi, host, bits = self.axi, self.host, clog2(self._row_bytes)
        free, reads, writes, taken = Signal(), Signal(), Signal(), Signal()
        burst = self._burst(m, free, reads, writes)
        came = self._answer(m, burst, reads, read.data)
        self._respond(m, burst, writes)
        address = Mux(burst.active, burst.row, host.address[bits:])
        of_axi = axi.wdata.replicate(self._row_bytes // self._port_bytes)
        of_host = host.written.replicate(self._row_bytes // WORD_BYTES)
        word, known = host.address[clog2(WORD_BYTES) : bits], Signal(bits - clog2(WORD_BYTES))
        m.d.comb += [
            free.eq(~came | axi.rready),
            reads.eq(burst.active & ~burst.writes & free),
            writes.eq(burst.active & burst.writes & axi.wvalid),
            host.ready.eq(~burst.active & free),
            taken.eq(host.valid & host.ready),
            host.read.eq(read.data.word_select(known, 8 * WORD_BYTES)),
            read.addr.eq(address),
            read.en.eq(reads | (taken & ~host.write)),
            write.addr.eq(address),
            write.data.eq(Mux(burst.active, of_axi, of_host)),
        ]
        with m.If(writes):
            enabled = Mux(burst.outside, 0, axi.wstrb)
            m.d.comb += write.en.word_select(burst.part, self._port_bytes).eq(enabled)
        with m.If(taken & host.write):
            m.d.comb += write.en.word_select(word, WORD_BYTES).eq(~0)
        with m.If(taken & ~host.write):
            m.d.sync += known.eq(word)
        return m

    def _burst(self, m: Module, free: Value, reads: Value, writes: Value) -> _Burst:
        """Serve the channels of addresses, of which one burst is taken at a time."""
        axi, first = self.axi, clog2(self._port_bytes)
        counted = clog2(BOUNDARY_BYTES) - first
        bits = clog2(self._n_rows) + clog2(self._row_bytes) - first
        active, is_write = Signal(), Signal()
        at = Signal(max(counted, bits), reset_less=True)
        far = Signal(reset_less=True)
        left = Signal(8, reset_less=True)
        row, part = self._place(at)
        address = Mux(axi.awvalid, axi.awaddr, axi.araddr)[first:]
        is_last = Mux(is_write, axi.wlast, left == 0)
        m.d.comb += [
            axi.awready.eq(~active & free & (~axi.bvalid | axi.bready)),
            axi.arready.eq(~axi.awvalid & (~active | (reads & is_last))),
            axi.wready.eq(active & is_write),
        ]
        with m.If(reads | writes):
            m.d.sync += [
                at[:counted].eq(at[:counted] + 1),
                left.eq(left - 1),
                active.eq(~is_last),
            ]
        with m.If((axi.awvalid & axi.awready) | (axi.arvalid & axi.arready)):
            m.d.sync += [
                active.eq(1),
                is_write.eq(axi.awvalid),
                at.eq(address),
                far.eq(address[len(at) :].any()),
                left.eq(axi.arlen),
            ]
        return _Burst(active, is_write, row, part, far | (row >= self._n_rows), left == 0)

    def _answer(self, m: Module, burst: _Burst, reads: Value, row: Value) -> Signal:
        """Serve the channel of what was read; return whether a beat of it stands in the row."""
        axi = self.axi
        came, failed, last = Signal(), Signal(), Signal()
        part = Signal.like(burst.part)
        m.d.comb += [
            axi.rvalid.eq(came),
            axi.rdata.eq(Mux(failed, 0, row.word_select(part, 8 * self._port_bytes))),
            axi.rresp.eq(Mux(failed, DECERR, OKAY)),
            axi.rlast.eq(last),
        ]
        m.d.sync += came.eq(reads | (came & ~axi.rready))
        with m.If(reads):
            m.d.sync += [part.eq(burst.part), failed.eq(burst.outside), last.eq(burst.last)]
        return came

    def _respond(self, m: Module, burst: _Burst, writes: Value) -> None:
        """Serve the channel of responses to writes."""
        axi = self.axi
        failed = Signal()
        m.d.comb += axi.bresp.eq(Mux(failed, DECERR, OKAY))
        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        with m.If(axi.awvalid & axi.awready):
            m.d.sync += failed.eq(0)
        with m.If(writes):
            m.d.sync += failed.eq(failed | burst.outside)
            with m.If(axi.wlast):
                m.d.sync += axi.bvalid.eq(1)
