"""The performance counters."""

from typing import Any, Final

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.pipeline import delay
from einchip.hw.vector_kinds import MOST_ACTIVATIONS
from einchip.registers import COUNTERS

COUNTER_BITS: Final = 64
#: Cycles from the one with `read` to that in which `value` stands.
READ_CYCLES: Final = 3
#: Most cycles from one visit of a counter to the next, where every other cycle has a read.
_VISIT_CYCLES: Final = 2 * len(COUNTERS)


def rises(arch: Architecture) -> dict[str, int]:
    """Return by how much each counter rises in a cycle at most."""
    reads = 2 * arch.lanes  # a port, and a window's
    most = {
        "macs": arch.rows * arch.cols,
        "activations": MOST_ACTIVATIONS * arch.lanes + arch.cols,
        "drained": arch.cols,
        "vector_ops": arch.lanes,
        **{"x_reads": reads, "y_reads": reads, "x_writes": arch.lanes, "y_writes": arch.lanes},
    }
    return {c.name: most.get(c.name, 1) for c in COUNTERS}


def increments(arch: Architecture) -> data.StructLayout:
    """Return what holds the rises of a cycle."""
    return data.StructLayout({name: clog2(most + 1) for name, most in rises(arch).items()})


class Counters(wiring.Component):
    """One counter of COUNTER_BITS bits for each of `registers.COUNTERS`.

    What is to be counted in a cycle goes into a short sum for each counter. One counter after the
    other is visited, one a cycle: what its sum holds moves to a memory of whole counters. A counter
    is read by visiting it out of turn.

    Members
    -------
    events : increments(arch), in
        Each at most that of `rises`.
    running : in
        Whether to count.
    clear : in
        Every counter becomes 0, what is counted in this cycle included.
    read, select : in
        Read this counter, by its number in `registers.COUNTERS`: at most in every other cycle.
    value : COUNTER_BITS, out
        READ_CYCLES later, what was counted up to the cycle before the read; until the next read.
    """

    events: Any
    running: Signal
    clear: Signal
    read: Signal
    select: Signal
    value: Signal

    def __init__(self, arch: Architecture) -> None:
        self._rises = rises(arch)
        self.whole: Any = Memory(shape=COUNTER_BITS, depth=len(COUNTERS), init=[])
        super().__init__(
            {
                "events": In(increments(arch)),
                "running": In(1),
                "clear": In(1),
                "read": In(1),
                "select": In(range(len(COUNTERS))),
                "value": Out(COUNTER_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.whole = self.whole
        cleared = delay(m, self.clear, 1, "cleared")
        # Whom to visit: the next one, or who is read.
        turn, visited, is_read = Signal.like(self.select), Signal.like(self.select), Signal()
        m.d.sync += [visited.eq(Mux(self.read, self.select, turn)), is_read.eq(self.read)]
        with m.If(~self.read):
            m.d.sync += turn.eq(Mux(turn == len(COUNTERS) - 1, 0, turn + 1))
        taken, fresh = self._sum(m, visited, cleared)
        self._move(m, visited, taken, fresh, is_read, cleared)
        return m

    def _sum(self, m: Module, visited: Signal, cleared: Signal) -> tuple[Signal, Signal]:
        """Return what was taken of the visited counter, and whether it has not been visited yet."""
        rise = Signal.like(self.events)
        with m.If(self.running & ~self.clear):
            m.d.sync += rise.eq(self.events)
        with m.Else():
            m.d.sync += rise.eq(0)
        most = {name: most * _VISIT_CYCLES for name, most in self._rises.items()}
        taken, fresh = Signal(range(max(most.values()) + 1)), Signal()
        new = Signal(len(COUNTERS), init=-1)
        with m.If(cleared):
            m.d.sync += new.eq(-1)
        with m.Switch(visited):
            for number, counter in enumerate(COUNTERS):
                total = Signal(range(most[counter.name] + 1), name=f"sum_{counter.name}")
                is_visited = Signal(name=f"visits_{counter.name}")
                kept = Mux(is_visited | cleared, 0, total)
                m.d.sync += total.eq(kept + rise[counter.name])
                with m.Case(number):
                    m.d.comb += is_visited.eq(1)
                    m.d.sync += [taken.eq(total), fresh.eq(new[number])]
                    with m.If(~cleared):
                        m.d.sync += new[number].eq(0)
        return taken, fresh

    def _move(
        self,
        m: Module,
        visited: Signal,
        taken: Signal,
        fresh: Signal,
        is_read: Signal,
        cleared: Signal,
    ) -> None:
        """Add what was taken to the counter in the memory, where it is 0 before its first visit."""
        place, wanted = delay(m, visited, 1, "place"), delay(m, is_read, 1, "wanted")
        stale = delay(m, cleared, 1, "stale")  # it was taken before all became 0
        old, new = self.whole.read_port(domain="comb"), self.whole.write_port()
        total = Signal(COUNTER_BITS)
        m.d.comb += [
            old.addr.eq(place),
            total.eq(Mux(fresh | stale, 0, old.data) + Mux(stale, 0, taken)),
            new.addr.eq(place),
            new.data.eq(total),
            new.en.eq(1),
        ]
        with m.If(wanted):
            m.d.sync += self.value.eq(total)
