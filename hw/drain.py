"""The drain path: from the accumulators to a scratchpad, row by row."""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value, ValueLike, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from einchip.arch import (
    ACTIVATION_LATENCY,
    READ_LATENCY,
    REQUANTISE_LATENCY,
    Architecture,
    clog2,
)
from einchip.hw.array import selection_layout
from einchip.hw.array_setup import plan_layout
from einchip.hw.finish import Finish
from einchip.hw.interfaces import (
    ARRAY_ISSUE,
    ReadSignature,
    WriteSignature,
    chosen_port,
    offset_bits,
    read_ports,
)
from einchip.hw.lanes import COUNT_BITS
from einchip.hw.nest import Nest
from einchip.hw.pipeline import delay, delays, one_hot, ring_delay
from einchip.hw.tile_queue import HISTORY, TileQueue, tile_layout
from einchip.program import HOLD_LOOPS, TOKENS, Act


def row_layout() -> data.StructLayout:
    """A row on its way; `final`: the instruction's last."""
    return data.StructLayout(
        {
            "valid": unsigned(1),
            "final": unsigned(1),
            "index": unsigned(clog2(HISTORY)),
        }
    )


class _History:
    """The constants of the instructions launched last, in small memories, by instruction index."""

    def __init__(self, m: Module, launch: Value) -> None:
        self._m, self._launch = m, launch
        self.index = Signal(range(HISTORY))  # of the instruction launched last
        with m.If(launch):
            m.d.sync += self.index.eq(self.index + 1)

    def keep(self, name: str, index: Value, **fields: ValueLike) -> Any:
        """Keep `fields` as they are at launches; return those of an instruction, a cycle later."""
        values = {k: Value.cast(v) for k, v in fields.items()}
        layout = data.StructLayout({k: unsigned(len(v)) for k, v in values.items()})
        memory = Memory(shape=layout, depth=HISTORY, init=[])
        self._m.submodules[f"{name}_constants"] = memory
        write, read = memory.write_port(), memory.read_port()
        self._m.d.comb += [
            write.en.eq(self._launch),
            write.addr.eq(self.index + 1),
            write.data.as_value().eq(Cat(*values.values())),
            read.addr.eq(index),
        ]
        return read.data


class Drain(wiring.Component):
    """Drains tiles: selects rows, sums k blocks, adds the addend, requantises, writes.

    A tile pushed in cycle l (its last issue) has its rows issued in consecutive cycles, the first
    in e = max(l + accumulate_latency, cycle after the last row of the tile before): for each of the
    tile's accumulators the rows of a block (with fold `ip` its only row). The row issued in d reads
    its addend in d and is written in d + arch.drain_latency:

        d            selection from the accumulators
        d + j        level j of the adder tree, j = 1 .. log2(cols), where the fold has blocks
        d + `summed` addend: after the tree, and when it has been read
        and on       `Finish`, then the write

    Level j adds column c + cols / 2**j to c, for c < cols / 2**j, where j <= log2(K). Reads and
    writes are never refused. The constants of an instruction go into small memories at its launch
    and are read where a row needs them.

    Parameters: the machine.

    Members
    -------
    launch, desc, plan : in
        An instruction is launched: itself, and what ArraySetup derived from it.
    push, z, target, final : in
        A tile's last issue: its first result's address, less the instruction's; its accumulator
        set; whether it is the instruction's last.
    select, column
        To and from the array.
    read_x, read_y, read_x_window, read_y_window, write_x, write_y
        Of the scratchpads, and of the windows that there are.
    give, done : out
        In the cycle of an instruction's last write: its tokens; 1.
    drained, activated : out
        Results drained in this cycle (counted at issue), and those with sigmoid or tanh.
    """

    launch: Signal
    desc: Any
    plan: Any
    push: Signal
    z: Signal
    target: Signal
    final: Signal
    select: Any
    column: Any
    read_x: Any
    read_y: Any
    write_x: Any
    write_y: Any
    give: Signal
    done: Signal
    drained: Signal
    activated: Signal

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.depth = clog2(arch.cols) if arch.blocks else 0  # levels of the adder tree
        self.summed = max(1 + self.depth, READ_LATENCY)
        finish = 2 * REQUANTISE_LATENCY + ACTIVATION_LATENCY
        if arch.drain_latency != self.summed + 1 + finish:
            raise AssertionError("the drain path has another depth than einchip.arch")
        super().__init__(
            {
                "launch": In(1),
                "desc": In(ARRAY_ISSUE),
                "plan": In(plan_layout(arch)),
                "push": In(1),
                "z": In(offset_bits(arch)),
                "target": In(1),
                "final": In(1),
                "select": Out(selection_layout(arch)),
                "column": In(data.ArrayLayout(signed(arch.acc_bits), arch.cols)),
                "write_x": Out(WriteSignature(arch)),
                "write_y": Out(WriteSignature(arch)),
                "give": Out(TOKENS),
                "done": Out(1),
                "drained": Out(range(arch.cols + 1)),
                "activated": Out(range(arch.cols + 1)),
            }
            | {f"read_{port}": Out(ReadSignature(arch)) for port in read_ports(arch)}
        )
        self._reads: list[Any] = [getattr(self, f"read_{port}") for port in read_ports(arch)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        history = _History(m, self.launch)
        row, z = self._issue(m, history)
        rows = delays(m, row, self.arch.drain_latency, "row")
        sums = self._sum_blocks(m, history, rows)
        totals = self._add_addend(m, history, rows, sums)
        z = ring_delay(m, z, self.arch.drain_latency, "z")
        self._write(m, history, rows, z, self._finish(m, history, rows, totals))
        return m

    def _issue(self, m: Module, history: _History) -> tuple[Any, Value]:
        """Issue rows, one a cycle, tile by tile; return that of this cycle, and its address."""
        m.submodules.queue = queue = TileQueue(self.arch)
        row: Any = Signal(row_layout())
        tile: Any = Signal(tile_layout(self.arch))
        active = Signal()
        last = Signal()
        m.d.comb += [
            queue.push.eq(self.push),
            queue.tile.eq(Cat(self.z, self.target, self.final, history.index)),
            queue.pop.eq(queue.valid & (~active | last)),
            row.valid.eq(active),
            row.index.eq(tile.index),
            row.final.eq(tile.final & last),
        ]
        with m.If(queue.pop):
            m.d.sync += [active.eq(1), tile.eq(queue.head)]
        with m.Elif(last):
            m.d.sync += active.eq(0)
        nest = self._step_rows(m, history, queue)
        m.d.comb += last.eq(nest.last.all())
        index = Mux(queue.pop, queue.head.index, tile.index)
        self._read_addend(m, history, index, active, nest.address[1])
        return row, nest.address[0]

    def _step_rows(self, m: Module, history: _History, queue: TileQueue) -> Nest:
        """Step through the rows of a tile: result and addend address, and what is selected."""
        loops = self._row_loops()
        blocks = {"fold": self.plan.fold} if self.arch.blocks else {}
        constants = history.keep(
            "tile",
            queue.following,
            count=Cat(count for count, _ in loops),
            stride=Cat(stride for _, stride in loops),
            z=self.desc.z,
            d=self.desc.d,
            **blocks,
        )
        m.submodules.nest = nest = Nest(len(loops), 2, COUNT_BITS, offset_bits(self.arch))
        m.d.comb += [
            nest.load.eq(queue.pop),
            nest.advance.eq(1),
            nest.count.eq(constants.count),
            nest.stride.eq(constants.stride.replicate(2)),
            nest.start[0].eq(queue.head.z + constants.z),
            nest.start[1].eq(queue.head.z + constants.d),
        ]
        next_sum = nest.last[: len(loops) - HOLD_LOOPS].all() if self.arch.holds else Const(0)
        self._select_sum(m, queue, next_sum)
        if "row_0" in self.select.shape().members:
            self._select_row(m, queue.pop, next_sum, constants)
        return nest

    def _row_loops(self) -> list[tuple[Value, Value]]:
        """Return count and stride of the loops over the rows of a tile, the innermost first."""
        raw = self.desc.raw
        loops = [(raw.nm0, raw.zs_m0), (raw.nm1, raw.zs_m1)] if self.arch.fold != "ip" else []
        if self.arch.holds:
            loops += [
                (Mux(raw.n_hold > i, raw.loop_count[i][:COUNT_BITS], 1), raw.loop_z[i])
                for i in range(HOLD_LOOPS)
            ]
        return loops

    def _select_sum(self, m: Module, queue: TileQueue, next_sum: Value) -> None:
        """Select the accumulators of the tile's set, one after the other."""
        target = Signal()
        m.d.comb += self.select.address[-1].eq(target)
        with m.If(queue.pop):
            m.d.sync += target.eq(queue.head.target)
        if self.arch.tile_accumulators == 1:
            return
        q = Signal(clog2(self.arch.tile_accumulators))
        m.d.comb += self.select.address[:-1].eq(q)
        with m.If(queue.pop):
            m.d.sync += q.eq(0)
        with m.Elif(next_sum):
            m.d.sync += q.eq(q + 1)

    def _select_row(self, m: Module, pop: Value, next_sum: Value, constants: Any) -> None:
        """Select the rows of a block, from the first for every accumulator."""
        fold = Signal(clog2(self.arch.rows))
        starts = Signal()
        following = Signal.like(fold)
        row_0 = Signal.like(fold)
        row_1 = Signal.like(fold)
        m.d.comb += [starts.eq(pop | next_sum), following.eq(Mux(starts, 0, row_0 + 1))]
        m.d.sync += row_0.eq(following)
        m.d.comb += self.select.row_0.eq(row_0)
        if self.arch.blocks:
            kept = Signal.like(fold)
            m.d.comb += [fold.eq(Mux(pop, constants.fold, kept)), self.select.row_1.eq(row_1)]
            m.d.sync += [kept.eq(fold), row_1.eq(following | fold)]

    def _read_addend(
        self, m: Module, history: _History, index: Value, active: Value, address: Value
    ) -> None:
        """Read the addends of the row that is issued, and count it."""
        raw = self.desc.raw
        constants = history.keep(
            "row",
            index,
            offsets=self.plan.z.offsets,
            enable=self.plan.z.enable,
            source=self._source(),
            n_results=self.plan.n_results,
            curved=(raw.act == Act.SIGMOID) | (raw.act == Act.TANH),
        )
        for port, wanted in zip(self._reads, constants.source, strict=True):
            m.d.comb += [
                port.valid.eq(active & wanted),
                port.base.eq(address),
                port.offsets.eq(constants.offsets),
                port.enable.eq(constants.enable),
            ]
        m.d.comb += [
            self.drained.eq(Mux(active, constants.n_results, 0)),
            self.activated.eq(Mux(active & constants.curved, constants.n_results, 0)),
        ]

    def _source(self) -> Value:
        """Return the read port that addends come from, one bit each; 0 if there are none."""
        desc = self.desc
        return Mux(desc.raw.has_addend, chosen_port(self.arch, desc.raw.d_space, desc.d), 0)

    def _sum_blocks(self, m: Module, history: _History, rows: list[Any]) -> list[Value]:
        """Sum the blocks of k; the columns of the result stand when the addends do."""
        values: list[Value] = list(self.column)
        wait = self.summed - 1 - self.depth
        if not self.arch.blocks:
            return [delay(m, value, wait, f"column_{c}") for c, value in enumerate(values)]
        constants = history.keep("tree", rows[0].index, levels=self.plan.levels)
        for j in range(1, self.depth + 1):
            adds = delay(m, constants.levels[j - 1], j - 1, f"level_{j}")
            half = self.arch.cols >> j
            sums = []
            for c, value in enumerate(values):
                total = Signal(value.shape(), name=f"sum_{j}_{c}", reset_less=True)
                other = Mux(adds, values[c + half], 0) if c < half else 0
                m.d.sync += total.eq(value + other)
                sums.append(total)
            values = list(sums)
        return [delay(m, value, wait, f"summed_{c}") for c, value in enumerate(values)]

    def _add_addend(
        self, m: Module, history: _History, rows: list[Any], sums: list[Value]
    ) -> list[Value]:
        """Add the addends, which were read beside the sums; one cycle."""
        raw = self.desc.raw
        constants = history.keep(
            "addend",
            rows[READ_LATENCY - 1].index,
            source=self._source(),
            shift=raw.d_shift,
        )
        totals: list[Value] = []
        for c, value in enumerate(sums):
            ports = zip(constants.source, self._reads, strict=True)
            addend = one_hot((wanted, port.data[c]) for wanted, port in ports).as_signed()
            shifted = Signal(value.shape(), name=f"addend_{c}")
            m.d.comb += shifted.eq(addend << constants.shift)
            total = Signal(value.shape(), name=f"total_{c}", reset_less=True)
            beside = delay(m, shifted, self.summed - READ_LATENCY, f"addend_{c}")
            m.d.sync += total.eq(value + beside)
            totals.append(total)
        return totals

    def _finish(
        self, m: Module, history: _History, rows: list[Any], totals: list[Value]
    ) -> list[Value]:
        """Requantise and activate every column."""
        raw = self.desc.raw
        first = self.summed + 1
        second = first + REQUANTISE_LATENCY
        third = second + ACTIVATION_LATENCY
        wide = history.keep("wide", rows[first - 1].index, shift=raw.shift)
        activation = history.keep("activation", rows[second - 1].index, act=raw.act)
        narrow = history.keep("narrow", rows[third - 1].index, act=raw.act, shift=raw.act_shift)
        results: list[Value] = []
        for c, total in enumerate(totals):
            m.submodules[f"finish_{c}"] = finish = Finish(self.arch)
            m.d.comb += [
                finish.value.eq(total),
                finish.shift.eq(wide.shift),
                finish.function.eq(activation.act),
                finish.act.eq(narrow.act),
                finish.act_shift.eq(narrow.shift),
            ]
            results.append(finish.result)
        return results

    def _write(
        self, m: Module, history: _History, rows: list[Any], z: Value, results: list[Value]
    ) -> None:
        """Write a row of results; with an instruction's last, give its tokens."""
        raw = self.desc.raw
        constants = history.keep(
            "write",
            rows[-2].index,
            offsets=self.plan.z.offsets,
            enable=self.plan.z.enable,
            space=raw.z_space,
            signal=raw.signal,
        )
        row = rows[-1]
        ports = ((self.write_x, ~constants.space), (self.write_y, constants.space))
        for port, wanted in ports:
            m.d.comb += [
                port.valid.eq(row.valid & wanted),
                port.base.eq(z),
                port.offsets.eq(constants.offsets),
                port.enable.eq(constants.enable),
            ]
            m.d.comb += [port.data[c].eq(result) for c, result in enumerate(results)]
        granted = Cat(port.valid & port.ready for port, _ in ports).any()
        m.d.comb += [
            self.done.eq(granted & row.final),
            self.give.eq(Mux(self.done, constants.signal, 0)),
        ]
