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

    What is to be counted in a cycle goes into a short sum for each counter, which wraps. One
    counter after the other is visited, one a cycle: by what its sum has risen since the last visit,
    its whole count in a memory rises. A counter is read by visiting it out of turn.

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
        # block RAM: the multiplexers of that many rows of LUT RAM would take more than the rows
        self.whole: Any = Memory(
            shape=COUNTER_BITS, depth=len(COUNTERS), init=[], attrs={"ram_style": "block"}
        )
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
        turn = Signal.like(self.select)
        visited = Signal.like(self.select)
        is_read = Signal()
        m.d.sync += [visited.eq(Mux(self.read, self.select, turn)), is_read.eq(self.read)]
        with m.If(~self.read):
            m.d.sync += turn.eq(Mux(turn == len(COUNTERS) - 1, 0, turn + 1))
        total, bits, fresh = self._sum(m, visited, cleared)
        self._move(m, visited, total, bits, fresh, is_read)
        return m

    def _sum(self, m: Module, visited: Signal, cleared: Signal) -> tuple[Signal, Signal, Signal]:
        """Return of the visited counter its sum, which of these bits it has, and whether it is new.

        That is, whether it is visited for the first time since all became 0.
        """
        rise = Signal.like(self.events)
        with m.If(self.running & ~self.clear):
            m.d.sync += rise.eq(self.events)
        with m.Else():
            m.d.sync += rise.eq(0)
        widths = {n: clog2(most * _VISIT_CYCLES + 1) for n, most in self._rises.items()}
        chosen = Signal(max(widths.values()))
        bits = Signal(max(widths.values()))
        fresh = Signal()
        new = Signal(len(COUNTERS), init=-1)
        with m.If(cleared):
            m.d.sync += [new.eq(-1), fresh.eq(1)]
        with m.Switch(visited):
            for number, (name, width) in enumerate(widths.items()):
                total = Signal(width, name=f"sum_{name}")
                m.d.sync += total.eq(Mux(cleared, 0, total + rise[name]))
                with m.Case(number):
                    m.d.sync += [chosen.eq(Mux(cleared, 0, total)), bits.eq((1 << width) - 1)]
                    with m.If(~cleared):
                        m.d.sync += [fresh.eq(new[number]), new[number].eq(0)]
        return chosen, bits, fresh

    def _move(
        self,
        m: Module,
        visited: Signal,
        total: Signal,
        bits: Signal,
        fresh: Signal,
        is_read: Signal,
    ) -> None:
        """Let the count in the memory, 0 before its first visit, end as the sum does."""
        place, wanted = delay(m, visited, 1, "place"), delay(m, is_read, 1, "wanted")
        old, new = self.whole.read_port(), self.whole.write_port()
        before = Signal(COUNTER_BITS)
        count = Signal(COUNTER_BITS)
        # of who is visited twice in a row, the memory was read before it was written
        latest = delay(m, count, 1, "latest")
        again = Signal()
        m.d.sync += again.eq(visited == place)
        m.d.comb += [
            old.addr.eq(visited),
            before.eq(Mux(fresh, 0, Mux(again, latest, old.data))),
            count.eq(before + ((total - before[: len(total)]) & bits)),
            new.addr.eq(place),
            new.data.eq(count),
            new.en.eq(1),
        ]
        with m.If(wanted):
            m.d.sync += self.value.eq(count)
