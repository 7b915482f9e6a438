"""The host's side of the machine: registers, start and stop, errors, interrupt, watchdog."""

from typing import Any, Final

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.hw.axi import AxiLiteSignature
from einchip.hw.axi_lite import AxiLiteSlave
from einchip.hw.counters import READ_CYCLES, Counters, increments
from einchip.hw.interfaces import FaultSignature
from einchip.hw.sequencer import HOST
from einchip.program import HOST_ARGS, HOST_BASES, REGISTER_BITS, Error
from einchip.registers import (
    ADDRESS,
    ADDRESS_BITS,
    CONTROL_FETCH,
    CONTROL_IRQ_CLEAR,
    CONTROL_START,
    COUNTER_BASE,
    COUNTERS,
    HOST_REGISTERS,
    ID_VALUE,
    REGISTERS,
    STATUS_DONE,
    STATUS_ERROR,
    STATUS_RUNNING,
    VERSION_VALUE,
    WATCHDOG_RESET,
)

#: Sources of faults, the one that wins in a cycle first; the watchdog comes after them.
FAULTS: Final = ("sequencer", "x_read", "x_write", "y_read", "y_write", "load", "store", "tokens")


class Watchdog(wiring.Component):
    """`expired` in a cycle without progress after `limit` cycles without progress.

    Members
    -------
    limit : REGISTER_BITS, in
        Does not change but while `clear`.
    progress, clear : in
    expired : out
    """

    limit: Signal
    progress: Signal
    clear: Signal
    expired: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "limit": In(REGISTER_BITS),
                "progress": In(1),
                "clear": In(1),
                "expired": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(REGISTER_BITS)
        # expired in a cycle without progress, which is known a cycle before, as `limit` is stable
        reached = Signal()
        none = Signal()
        m.d.comb += self.expired.eq(~self.progress & reached)
        m.d.sync += none.eq(self.limit == 0)
        with m.If(self.progress | self.clear):
            m.d.sync += [left.eq(self.limit), reached.eq(none)]
        with m.Elif(~reached):
            m.d.sync += [left.eq(left - 1), reached.eq(left == 1)]
        return m


class RunState(wiring.Component):
    """Whether the machine runs, and how it ended.

    The first fault while running raises `stop` from the next cycle; the machine then stops as soon
    as it is `quiet`, or when the watchdog expires (again). Without a fault it stops when `halted`.

    Members
    -------
    start : in
        Only while not running.
    halted, quiet : in
        The program is at its end; nothing is open on the bus.
    expired : in
        The watchdog's view.
    pc : REGISTER_BITS, in
        Where the sequencer is.
    faults : FaultSignature, in, one of each name in FAULTS
    running, done, stop, code, address : out
        The registers STATUS (`stop` is ERROR), ERROR_CODE, ERROR_ADDRESS; the last one stands a
        cycle after the others.
    ends : out
        This is the last running cycle.
    """

    start: Signal
    halted: Signal
    quiet: Signal
    expired: Signal
    pc: Signal
    faults: Any
    running: Signal
    done: Signal
    stop: Signal
    code: Signal
    address: Signal
    ends: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "halted": In(1),
                "quiet": In(1),
                "expired": In(1),
                "pc": In(REGISTER_BITS),
                "faults": In(wiring.Signature({name: Out(FaultSignature()) for name in FAULTS})),
                "running": Out(1),
                "done": Out(1),
                "stop": Out(1),
                "code": Out(4),
                "address": Out(32),
                "ends": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        faults = [getattr(self.faults, name) for name in FAULTS]
        code = Signal(4)
        stopped = Signal()
        raised = Signal(len(FAULTS))
        addresses = [Signal(32, name=f"of_{f}") for f in FAULTS]
        pc = Signal.like(self.pc)
        m.d.sync += [stopped.eq(0), pc.eq(self.pc), raised.eq(Cat(f.code.any() for f in faults))]
        m.d.sync += [own.eq(f.address) for own, f in zip(addresses, faults, strict=True)]
        with m.If(self.expired):
            m.d.comb += code.eq(Error.TIMEOUT)
        for fault in reversed(faults):
            with m.If(fault.code.any()):
                m.d.comb += code.eq(fault.code)
        with m.If(stopped):  # in the cycle before
            m.d.sync += self.address.eq(pc)
            for k, address in reversed(list(enumerate(addresses))):
                with m.If(raised[k]):
                    m.d.sync += self.address.eq(address)
        faulty = Cat(self.expired, *(fault.code for fault in faults)).any()
        with m.If(self.running):
            with m.If(self.stop):
                m.d.comb += self.ends.eq(self.quiet | self.expired)
            with m.Elif(faulty):
                m.d.sync += [self.stop.eq(1), self.code.eq(code), stopped.eq(1)]
            with m.Else():
                m.d.comb += self.ends.eq(self.halted)
        with m.If(self.ends):
            m.d.sync += [self.running.eq(0), self.done.eq(1)]
        with m.If(self.start):
            m.d.sync += [
                self.running.eq(1),
                self.done.eq(0),
                self.stop.eq(0),
                self.code.eq(0),
                self.address.eq(0),
            ]
        return m


class Control(wiring.Component):
    """The registers of `einchip.registers`, and what they control.

    A write of START while idle is `start` in the cycle before the first one with `running`.

    Parameters
    ----------
    arch
        Gives CONFIG_HASH and the widths of the counters.

    Members
    -------
    s_axil : AxiLiteSignature, in
    irq : out
    host : HOST, out
        What the host set; changes only while not running.
    start, fetch : out
    running, stop : out
    halted, quiet, progress, pc, faults : in
        See `RunState`; `progress` is what the watchdog waits for.
    events : increments(arch), in
    """

    s_axil: Any
    irq: Signal
    host: Any
    start: Signal
    fetch: Signal
    running: Signal
    stop: Signal
    halted: Signal
    quiet: Signal
    progress: Signal
    pc: Signal
    faults: Any
    events: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "s_axil": In(AxiLiteSignature(ADDRESS_BITS)),
                "irq": Out(1),
                "host": Out(HOST),
                "start": Out(1),
                "fetch": Out(1),
                "running": Out(1),
                "stop": Out(1),
                "halted": In(1),
                "quiet": In(1),
                "progress": In(1),
                "pc": In(REGISTER_BITS),
                "faults": In(wiring.Signature({name: Out(FaultSignature()) for name in FAULTS})),
                "events": In(increments(arch)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bus = bus = AxiLiteSlave(ADDRESS_BITS, READ_CYCLES)
        m.submodules.state = state = RunState()
        m.submodules.counters = counters = Counters(self._arch)
        m.submodules.watchdog = watchdog = Watchdog()
        wiring.connect(m, wiring.flipped(self.s_axil), bus.axil)
        wiring.connect(m, wiring.flipped(self.faults), state.faults)
        watchdog_limit = Signal(REGISTER_BITS, init=WATCHDOG_RESET)
        irq_enable = Signal()
        host_registers: dict[str, Value] = {
            "IRQ_ENABLE": irq_enable,
            "WATCHDOG": watchdog_limit,
            "PROGRAM_ADDRESS": self.host.program_address,
            "PROGRAM_WORDS": self.host.program_words,
            **{f"BASE{k}": self.host.bases[k] for k in range(HOST_BASES)},
            **{f"ARG{k}": self.host.args[k] for k in range(HOST_ARGS)},
        }
        m.d.comb += [
            self.running.eq(state.running),
            self.stop.eq(state.stop),
            state.start.eq(self.start),
            state.halted.eq(self.halted),
            state.quiet.eq(self.quiet),
            state.pc.eq(self.pc),
            state.expired.eq(watchdog.expired),
            watchdog.limit.eq(watchdog_limit),
            # after a TIMEOUT, the bus is given as long again to become quiet
            watchdog.clear.eq(~state.running | (watchdog.expired & ~state.stop)),
            counters.events.eq(self.events),
            counters.running.eq(state.running),
            counters.clear.eq(self.start),
        ]
        m.d.sync += watchdog.progress.eq(self.progress)
        self._write(m, bus, state, host_registers)
        self._interrupt(m, bus, state, irq_enable)
        self._read(m, bus, counters, self._values(state, host_registers))
        return m

    def _values(self, state: RunState, host_registers: dict[str, Value]) -> dict[str, Value]:
        """Return what each register reads that is no counter."""
        status = (
            Mux(state.running, STATUS_RUNNING, 0)
            | Mux(state.done, STATUS_DONE, 0)
            | Mux(state.stop, STATUS_ERROR, 0)
        )
        return {
            "ID": Const(ID_VALUE),
            "VERSION": Const(VERSION_VALUE),
            "CONFIG_HASH": Const(self._arch.config_hash),
            "CONTROL": Const(0),
            "STATUS": status,
            "ERROR_CODE": state.code,
            "ERROR_ADDRESS": state.address,
            **host_registers,
        }

    def _write(
        self, m: Module, bus: AxiLiteSlave, state: RunState, host_registers: dict[str, Value]
    ) -> None:
        m.d.comb += bus.write_known.eq(_is_register(bus.write_address))
        with m.If(bus.write & ~state.running), m.Switch(bus.write_address):
            with m.Case(ADDRESS["CONTROL"]):
                m.d.comb += [
                    self.start.eq(_has(bus, CONTROL_START)),
                    self.fetch.eq(_has(bus, CONTROL_FETCH)),
                ]
            for register in REGISTERS:
                if register.access == "rw":
                    with m.Case(register.address):
                        self._write_bytes(m, bus, host_registers[register.name])

    def _write_bytes(self, m: Module, bus: AxiLiteSlave, register: Value) -> None:
        """Write the bytes of a register that the bus writes."""
        for k, strobe in enumerate(bus.write_strobe):
            place = slice(8 * k, 8 * k + 8)
            if len(register[place]):
                with m.If(strobe):
                    m.d.sync += register[place].eq(bus.write_data[place])

    def _interrupt(self, m: Module, bus: AxiLiteSlave, state: RunState, irq_enable: Signal) -> None:
        clear = _has(bus, CONTROL_IRQ_CLEAR)
        with m.If(state.ends & irq_enable):
            m.d.sync += self.irq.eq(1)
        with m.Elif(bus.write & (bus.write_address == ADDRESS["CONTROL"]) & clear):
            m.d.sync += self.irq.eq(0)

    def _read(
        self, m: Module, bus: AxiLiteSlave, counters: Counters, values: dict[str, Value]
    ) -> None:
        """Choose a register in a cycle, if it is no counter, and between it and one in the next."""
        address, base = bus.read_address, COUNTER_BASE >> 3
        number, is_high, is_counter = address[3:] - base, address[2], address >= COUNTER_BASE
        m.d.comb += [
            counters.select.eq(number),
            counters.read.eq(bus.read & is_counter & (number < len(COUNTERS))),
        ]
        chosen = Signal(32)
        m.d.sync += bus.read_known.eq(_is_register(address))
        with m.Switch(address):
            for register in HOST_REGISTERS:
                with m.Case(register.address):
                    m.d.sync += chosen.eq(values[register.name])
        counted = Mux(is_high, counters.value[32:], counters.value[:32])
        m.d.comb += bus.read_data.eq(Mux(is_counter, counted, chosen))


def _has(bus: AxiLiteSlave, flag: int) -> Value:
    """Return whether what the bus writes has this flag."""
    place = flag.bit_length() - 1
    return bus.write_data[place] & bus.write_strobe[place // 8]


def _is_register(address: Value) -> Value:
    return address.matches(*(register.address for register in REGISTERS))
