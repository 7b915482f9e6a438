"""A machine with einchip's ports that only copies: what the harness is tested on."""

from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Array, Assert, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

CONTROL, STATUS, SOURCE, TARGET, N_BURSTS, BUG = (4 * i for i in range(6))
UNSTABLE, NO_WLAST, ASSERTS = 1, 2, 4
BUSY, DONE, FAILED = 1, 2, 4
BURST_BEATS = 4

AXI_LITE = wiring.Signature(
    {
        "awaddr": Out(8),
        "awvalid": Out(1),
        "awready": In(1),
        "wdata": Out(32),
        "wstrb": Out(4),
        "wvalid": Out(1),
        "wready": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
        "araddr": Out(8),
        "arvalid": Out(1),
        "arready": In(1),
        "rdata": In(32),
        "rresp": In(2),
        "rvalid": In(1),
        "rready": Out(1),
    }
)


def axi(port_bytes: int) -> wiring.Signature:
    members: dict[str, Any] = {
        "wdata": Out(8 * port_bytes),
        "wstrb": Out(port_bytes),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(1),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
        "rid": In(1),
        "rdata": In(8 * port_bytes),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }
    for channel in ("aw", "ar"):
        members |= {
            f"{channel}id": Out(1),
            f"{channel}addr": Out(32),
            f"{channel}len": Out(8),
            f"{channel}size": Out(3),
        }
        members |= {f"{channel}burst": Out(2), f"{channel}valid": Out(1), f"{channel}ready": In(1)}
    return wiring.Signature(members)


class Memcpy(wiring.Component):
    """Copies `N_BURSTS` bursts of 4 beats, one at a time, then raises `irq` until CONTROL is 0.

    Latency: from the cycle in which the write of CONTROL is accepted to the first with `irq`,
    N_BURSTS * (2 L + 9) + 2 cycles, with L the latency of the memory.

    Parameters
    ----------
    port_bytes
        Width of `m_axi`.

    The register `BUG` breaks rules: UNSTABLE lowers `wvalid` while it waits, NO_WLAST never raises
    `wlast`, ASSERTS asserts that no second burst comes.
    """

    def __init__(self, port_bytes: int) -> None:
        self.port_bytes = port_bytes
        self.s_axil: Any
        self.m_axi: Any
        self.irq: Signal
        super().__init__(
            {"s_axil": In(AXI_LITE), "m_axi": Out(axi(port_bytes)), "irq": Out(1)},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        status = Signal(3)
        registers = Array(Signal(32, name=f"register_{i}") for i in range(6))
        self._control(m, registers, status)
        start = Signal()
        m.d.comb += start.eq(registers[CONTROL // 4][0] & ~status[1])
        self._copy(m, registers, status, start)
        m.d.comb += self.irq.eq(status[1])
        return m

    def _control(self, m: Module, registers: Any, status: Signal) -> None:
        bus = self.s_axil
        take = Signal()
        m.d.comb += take.eq(bus.awvalid & bus.wvalid & ~bus.bvalid)
        m.d.comb += [bus.awready.eq(take), bus.wready.eq(take), bus.arready.eq(~bus.rvalid)]
        with m.If(take):
            m.d.sync += [registers[bus.awaddr[2:]].eq(bus.wdata), bus.bvalid.eq(1)]
        with m.Elif(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rdata.eq(registers[bus.araddr[2:]]), bus.rvalid.eq(1)]
            m.d.sync += bus.rresp.eq(0)
            with m.If(bus.araddr == STATUS):
                m.d.sync += bus.rdata.eq(status)
            with m.If(bus.araddr > BUG):
                m.d.sync += bus.rresp.eq(2)
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)

    def _copy(self, m: Module, registers: Any, status: Signal, start: Signal) -> None:
        bus, bug = self.m_axi, registers[BUG // 4]
        m.submodules.buffer = buffer = Memory(shape=8 * self.port_bytes, depth=4, init=[])
        write, read = buffer.write_port(), buffer.read_port(domain="comb")
        beat, burst = Signal(2), Signal(32)
        offset = Signal(32)
        size = Const((self.port_bytes - 1).bit_length(), 3)
        m.d.comb += [
            offset.eq(burst * (BURST_BEATS * self.port_bytes)),
            bus.araddr.eq(registers[SOURCE // 4] + offset),
            bus.awaddr.eq(registers[TARGET // 4] + offset),
            *(getattr(bus, f"{channel}len").eq(BURST_BEATS - 1) for channel in ("ar", "aw")),
            *(getattr(bus, f"{channel}size").eq(size) for channel in ("ar", "aw")),
            *(getattr(bus, f"{channel}burst").eq(1) for channel in ("ar", "aw")),
            write.addr.eq(beat),
            write.data.eq(bus.rdata),
            read.addr.eq(beat),
            bus.wdata.eq(read.data),
            bus.wstrb.eq((1 << self.port_bytes) - 1),
            bus.wlast.eq((beat == BURST_BEATS - 1) & ~bug[1]),
        ]
        blink = Signal(init=1)
        m.d.sync += blink.eq(~blink)
        m.d.sync += Assert((burst == 0) | ~bug[2], "a second burst")
        with m.FSM():
            with m.State("idle"), m.If(start):
                m.d.sync += [status.eq(BUSY), burst.eq(0)]
                m.next = "ar"
            with m.State("ar"):
                m.d.comb += bus.arvalid.eq(1)
                with m.If(bus.arready):
                    m.next = "r"
            with m.State("r"):
                m.d.comb += [bus.rready.eq(1), write.en.eq(bus.rvalid)]
                with m.If(bus.rvalid):
                    m.d.sync += [beat.eq(beat + 1), status[2].eq(status[2] | bus.rresp[1])]
                    with m.If(bus.rlast):
                        m.next = "aw"
            with m.State("aw"):
                m.d.comb += bus.awvalid.eq(1)
                with m.If(bus.awready):
                    m.next = "w"
            with m.State("w"):
                m.d.comb += bus.wvalid.eq(blink | ~bug[0])
                with m.If(bus.wvalid & bus.wready):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(beat == BURST_BEATS - 1):
                        m.next = "b"
            with m.State("b"):
                m.d.comb += bus.bready.eq(1)
                with m.If(bus.bvalid):
                    m.d.sync += [burst.eq(burst + 1), status[2].eq(status[2] | bus.bresp[1])]
                    m.next = "ar"
                    with m.If(burst == registers[N_BURSTS // 4] - 1):
                        m.d.sync += status[0:2].eq(DONE)
                        m.next = "done"
            with m.State("done"), m.If(~registers[CONTROL // 4][0]):
                m.d.sync += status.eq(0)
                m.next = "idle"


def memcpy_verilog(port_bytes: int) -> str:
    return verilog.convert(Memcpy(port_bytes), name="einchip_top")
