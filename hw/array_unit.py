"""The array unit: runs CONTRACTs, from the instruction slot to the last result's write."""

from typing import Any

from amaranth import Cat, Elaboratable, Module, Mux, ResetInserter, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from einchip.arch import READ_LATENCY, Architecture, clog2
from einchip.hw.array import ProcessingArray, work_layout
from einchip.hw.array_setup import ArraySetup, most_rows, plan_layout
from einchip.hw.drain import Drain
from einchip.hw.inner_array import InnerArray
from einchip.hw.interfaces import (
    ARRAY_ISSUE,
    IssueSignature,
    ReadSignature,
    TokenSignature,
    WriteSignature,
    offset_bits,
    read_ports,
)
from einchip.hw.pipeline import delay
from einchip.hw.slots import Slots
from einchip.hw.tile_queue import HISTORY
from einchip.hw.unit import FrontEnd
from einchip.program import TOKENS


def event_layout(arch: Architecture) -> data.StructLayout:
    """What the unit adds to its performance counters in a cycle, by the names of `registers`."""
    single = (
        "array_issue",
        "array_stall_port",
        "array_stall_drain",
        "array_stall_token",
        "array_stall_setup",
        "array_idle",
    )
    return data.StructLayout(
        {
            "macs": unsigned(clog2(arch.n_pes + 1)),
            "drained": unsigned(clog2(arch.cols + 1)),
            "activations": unsigned(clog2(arch.cols + 1)),
            **dict.fromkeys(single, unsigned(1)),
        }
    )


class Schedule(wiring.Component):
    """Decides when a tile may start, from the cycles in which the drain ends earlier ones.

    With f(j) as in docs/timing.md, two registers count down to f(j - 1) and f(j - 2), where tile j
    is the next to start or under way.

    Members
    -------
    end_tile, rows : in
        The last issue of tile j; rows that it drains.
    may_start : out
        Tile j may start in this cycle.
    """

    end_tile: Signal
    rows: Signal
    may_start: Signal

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        super().__init__(
            {"end_tile": In(1), "rows": In(range(most_rows(arch) + 1)), "may_start": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        latency = self.arch.accumulate_latency
        # f(j - 1) <= start of j + A + rows(j - 1), and f(j) follows by as much
        bits = (latency + 2 * most_rows(self.arch)).bit_length()
        newer = Signal(bits)
        older = Signal(bits)
        starts = Mux(newer > latency, newer, latency)
        m.d.comb += self.may_start.eq(older <= latency)
        with m.If(self.end_tile):
            m.d.sync += [newer.eq(starts + self.rows - 1), older.eq(newer - newer.any())]
        with m.Else():
            m.d.sync += [newer.eq(newer - newer.any()), older.eq(older - older.any())]
        return m


class Iterations(wiring.Component):
    """Issues the slots of an instruction, one a cycle.

    Launched in cycle t, the first may be issued in t + 1. A tile's first issue waits while the tile
    may not start; every slot waits while a read port that it needs is taken. Operands reach the
    array READ_LATENCY cycles after their slot, where `work` stands then.

    Members
    -------
    launch, desc, plan : in
        The instruction in the setup stage is launched; itself, and what ArraySetup derived from it.
    read_x, read_y : ReadSignature, out
        `valid` waits for the other port, too, where a slot needs both.
    active, ends : out
        An instruction is being executed; its last slot is issued in this cycle.
    work : work_layout, out
        To the array, with the operands.
    push, tile_z, tile_target : out
        A tile's last issue: its result's address, from 0 at the launch, and its accumulator set.
    macs, issue, stall_drain, stall_port : out
        Multiply-adds issued in this cycle; whether a slot is, or why none is.
    """

    launch: Signal
    desc: Any
    plan: Any
    read_x: Any
    read_y: Any
    active: Signal
    ends: Signal
    work: Any
    push: Signal
    tile_z: Signal
    tile_target: Signal
    macs: Signal
    issue: Signal
    stall_drain: Signal
    stall_port: Signal

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        plan = plan_layout(arch)
        super().__init__(
            {
                "launch": In(1),
                "desc": In(ARRAY_ISSUE),
                "plan": In(plan),
                "read_x": Out(ReadSignature(arch)),
                "read_y": Out(ReadSignature(arch)),
                "active": Out(1),
                "ends": Out(1),
                "work": Out(work_layout(arch)),
                "push": Out(1),
                "tile_z": Out(offset_bits(arch)),
                "tile_target": Out(1),
                "macs": Out(plan["macs"].shape),
                "issue": Out(1),
                "stall_drain": Out(1),
                "stall_port": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.schedule = schedule = Schedule(self.arch)
        m.submodules.slots = slots = Slots(self.arch)
        slot = slots.slot
        plan: Any = Signal(plan_layout(self.arch), reset_less=True)
        # What the instruction in the setup stage needs is loaded as soon as nothing else is
        # executed, launched or not: so hundreds of registers do not wait for its tokens.
        free = Signal()
        m.d.comb += free.eq(~self.active | self.ends)
        with m.If(free):
            m.d.sync += plan.eq(self.plan)
        with m.If(self.launch):
            m.d.sync += self.active.eq(1)
        with m.Elif(self.ends):
            m.d.sync += self.active.eq(0)
        with m.If(self.push):
            m.d.sync += self.tile_target.eq(~self.tile_target)
        may_start = ~(slot.reads_y & slot.first & slot.begins) | schedule.may_start
        ports = (self.read_x.ready | ~slot.reads_x) & (self.read_y.ready | ~slot.reads_y)
        m.d.comb += [
            slots.load.eq(free),
            slots.desc.eq(self.desc),
            slots.advance.eq(self.issue),
            self.issue.eq(self.active & may_start & ports),
            self.stall_drain.eq(self.active & ~may_start),
            self.stall_port.eq(self.active & may_start & ~ports),
            self.ends.eq(self.issue & slot.ends),
            self.push.eq(self.issue & slot.tile_ends),
            self.tile_z.eq(slot.z),
            self.macs.eq(Mux(self.issue & slot.reads_y, plan.macs, 0)),
            schedule.end_tile.eq(self.push),
            schedule.rows.eq(plan.rows),
        ]
        for port, lanes, wanted, address in (
            (self.read_x, plan.x, slot.reads_x, slot.x),
            (self.read_y, plan.y, slot.reads_y, slot.y),
        ):
            m.d.comb += [
                port.valid.eq(self.issue & wanted),
                port.base.eq(address),
                port.offsets.eq(lanes.offsets),
                port.enable.eq(lanes.enable),
            ]
        self._work(m, slot, plan)
        return m

    def _work(self, m: Module, slot: Any, plan: Any) -> None:
        """Say what the array does when the operands arrive."""
        issue, holds = self.issue & slot.reads_y, self.arch.holds
        work: Any = Signal(work_layout(self.arch))
        m.d.comb += [
            work.valid.eq(issue),
            work.first.eq(slot.first),
            work.address[-1].eq(self.tile_target),
        ]
        if self.arch.tile_accumulators > 1:
            m.d.comb += work.address[:-1].eq(slot.q)
        if holds:
            m.d.comb += [work.take.eq(issue & slot.begins), work.direct.eq(~slot.holds)]
        if self.arch.fold == "flex":
            m.d.comb += work.spread.eq(plan.spread)
        before = delay(m, work, READ_LATENCY - 1, "work")
        arriving = delay(m, before, 1, "operands")
        m.d.comb += self.work.eq(arriving)
        if holds:
            given = Cat(self.issue & slot.reads_x & slot.holds, slot.h)
            given = delay(m, given, READ_LATENCY - 1, "shadow")
            shadow = Signal(self.arch.cols)
            m.d.sync += shadow.eq(self._shadows(given[0], given[1:], before))
            m.d.comb += self.work.shadow.eq(shadow)

    def _shadows(self, valid: Value, h: Value, work: Any) -> Value:
        """Return the columns that hold vector h of X: those of number h modulo H."""
        bits = clog2(self.arch.cols)
        group = Cat(work.spread > j for j in range(bits)) if self.arch.fold == "flex" else ~0
        return Cat(valid & (h == (c & group)) for c in range(self.arch.cols))


class ArrayUnit(wiring.Component):
    """Runs CONTRACTs by the rules of docs/timing.md, section "Array".

    An instruction passes slot and setup stage (`FrontEnd`), where the lane offsets of X, Y and the
    result are generated; its launch copies what the iterations need. Then a slot is issued in each
    cycle unless the accumulators or a read port that it needs are in use. Nothing stalls behind the
    issue, so that instructions follow one another without a bubble while their predecessors drain.

    Parameters: the machine. Instructions must have passed the sequencer's checks.

    Members
    -------
    issue : IssueSignature(ARRAY_ISSUE), in
    tokens : TokenSignature, out
    read_x, read_y : ReadSignature, out
        The operands; `valid` waits for the other port, too, where a slot needs both.
    drain_read_<port>, drain_write_x, drain_write_y : out
        Clients "drain" of the scratchpads, which must never refuse them; for every read port.
    stop : in
        Everything under way is dropped; the unit is idle from the next cycle.
    idle : out
        Nothing in slot, stage, execution or drain: 1 from the cycle after the last write's grant.
    events : event_layout, out
        Increments of counters. `array_idle` is 1 also while the machine is not running.
    """

    issue: Any
    tokens: Any
    read_x: Any
    read_y: Any
    drain_read_x: Any
    drain_read_y: Any
    drain_write_x: Any
    drain_write_y: Any
    stop: Signal
    idle: Signal
    events: Any

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.array = InnerArray(arch) if arch.fold == "ip" else ProcessingArray(arch)
        if READ_LATENCY + self.array.depth != arch.accumulate_latency:
            raise AssertionError("the array's pipeline has another depth than einchip.arch")
        super().__init__(
            {
                "issue": In(IssueSignature(ARRAY_ISSUE)),
                "tokens": Out(TokenSignature(TOKENS)),
                "read_x": Out(ReadSignature(arch)),
                "read_y": Out(ReadSignature(arch)),
                "drain_write_x": Out(WriteSignature(arch)),
                "drain_write_y": Out(WriteSignature(arch)),
                "stop": In(1),
                "idle": Out(1),
                "events": Out(event_layout(arch)),
            }
            | {f"drain_read_{port}": Out(ReadSignature(arch)) for port in read_ports(arch)}
        )

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.submodules.front = front = FrontEnd(ARRAY_ISSUE, self.arch.setup_cycles)
        m.submodules.setup = setup = ArraySetup(self.arch)
        m.submodules.iterations = iterations = Iterations(self.arch)
        m.submodules.array = array = self.array
        m.submodules.drain = drain = Drain(self.arch)
        self._connect_ports(m, front, iterations, drain)
        m.d.comb += [
            front.can_take.eq(~iterations.active | iterations.ends),
            setup.desc.eq(front.desc),
            setup.coming.eq(front.coming),
            setup.moves.eq(front.moves),
            setup.active.eq(front.setup_active),
            setup.lane.eq(front.setup_lane),
            Cat(array.x).eq(Cat(list(self.read_x.data)[: len(array.x)])),
            Cat(array.y).eq(Cat(list(self.read_y.data)[: len(array.y)])),
            array.work.eq(iterations.work),
            array.select.eq(drain.select),
            drain.column.eq(array.column),
            drain.push.eq(iterations.push),
            drain.z.eq(iterations.tile_z),
            drain.target.eq(iterations.tile_target),
            drain.final.eq(iterations.ends),
        ]
        for part in (iterations, drain):
            m.d.comb += [
                part.launch.eq(front.launch),
                part.desc.eq(front.desc),
                part.plan.eq(setup.plan),
            ]
        pending = Signal(range(HISTORY))  # instructions launched, and not yet written
        m.d.sync += pending.eq(pending + front.launch - drain.done)
        m.d.comb += self.idle.eq(front.idle & (pending == 0))
        self._count(m, front, iterations, drain)
        return ResetInserter(self.stop)(m)

    def _connect_ports(
        self, m: Module, front: FrontEnd, iterations: Iterations, drain: Drain
    ) -> None:
        """Connect the unit's members with those of its parts."""
        connect(m, flipped(self.issue), front.issue)
        for ours, theirs in (
            (self.read_x, iterations.read_x),
            (self.read_y, iterations.read_y),
            (self.drain_write_x, drain.write_x),
            (self.drain_write_y, drain.write_y),
            *(
                (getattr(self, f"drain_read_{port}"), getattr(drain, f"read_{port}"))
                for port in read_ports(self.arch)
            ),
        ):
            connect(m, flipped(ours), theirs)
        m.d.comb += [
            front.positive.eq(self.tokens.positive),
            front.stop.eq(self.stop),
            self.tokens.take.eq(front.take),
            self.tokens.give.eq(drain.give),
        ]

    def _count(self, m: Module, front: FrontEnd, iterations: Iterations, drain: Drain) -> None:
        """Say what this cycle was spent on."""
        events, waits = self.events, Signal()
        setup = (front.taken & ~front.ready) | front.launch
        m.d.comb += [
            waits.eq(~iterations.active),
            events.macs.eq(iterations.macs),
            events.drained.eq(drain.drained),
            events.activations.eq(drain.activated),
            events.array_issue.eq(iterations.issue),
            events.array_stall_drain.eq(iterations.stall_drain),
            events.array_stall_port.eq(iterations.stall_port),
            events.array_stall_setup.eq(waits & setup),
            events.array_stall_token.eq(waits & ~setup & front.missing_token),
            events.array_idle.eq(waits & ~setup & ~front.missing_token),
        ]
