"""On-chip memory in place of external memory: an AXI4 slave that the host reads and writes, too."""

from typing import Any, Final

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import clog2
from einchip.hw.axi import ADDRESS_BITS, OKAY, AxiSignature
from einchip.link import WORD_BYTES

#: No slave at that address.
DECERR: Final = 0b11
#: Beats between the memory and the bus, so that none is lost when the master waits.
READ_BEATS: Final = 4


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


class AxiMemory(wiring.Component):
    """Memory of `n_bytes` bytes from address 0, one beat read and one written per cycle.

    The first beat of a burst is there three cycles after its address; bursts follow one another
    without a gap. Bursts are INCR, of whole beats; the response to a write comes a cycle after its
    last beat. Addresses behind the end answer DECERR. The host has a port where the machine leaves
    it free.

    Parameters
    ----------
    n_bytes
        A multiple of `row_bytes`.
    port_bytes
        Bytes of a beat, a power of two.

    Members
    -------
    axi : AxiSignature(port_bytes), in
    host : HostMemorySignature, in
    """

    axi: Any
    host: Any

    def __init__(self, n_bytes: int, port_bytes: int) -> None:
        self._n_rows, self._port_bytes = n_rows(n_bytes, port_bytes), port_bytes
        self._row_bytes = row_bytes(port_bytes)
        super().__init__({"axi": In(AxiSignature(port_bytes)), "host": In(HostMemorySignature())})

    def elaborate(self, platform: object) -> Module:
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
