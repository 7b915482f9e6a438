"""What the array unit derives from a CONTRACT before its launch: fold, lanes and counts."""

from typing import Any, Final

from amaranth import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.array import spread_bits
from einchip.hw.interfaces import ARRAY_ISSUE, offsets
from einchip.hw.lanes import COUNT_BITS, LaneOffsets
from einchip.hw.pipeline import ceil_log2, product
from einchip.program import HOLD_LOOPS

#: The factors of the lanes of X, of Y and of results, level by level (hw.lanes), by fold.
LANES: Final[dict[str, dict[str, tuple[tuple[str, ...], ...]]]] = {
    "ip": {"x": (("k0", "k1"),), "y": (("k0", "k1"),), "z": (("h",),)},
    "op": {"x": (("m0", "m1"),), "y": (("n0", "n1"),), "z": (("n0", "n1"),)},
    "hybrid": {
        "x": (("m0", "m1"), ("b",), ("k0", "k1")),
        "y": (("n0", "n1"), ("b",), ("k0", "k1")),
        "z": (("n0", "n1"), ("b",)),
    },
    "flex": {
        "x": (("m0", "m1"), ("b",), ("k0", "k1")),
        "y": (("n0", "n1"), ("b",), ("k0", "k1")),
        "z": (("h",), ("n0", "n1"), ("b",)),
    },
}


def most_rows(arch: Architecture) -> int:
    """Rows that a tile may drain: of each of its accumulators."""
    return arch.tile_accumulators * (1 if arch.fold == "ip" else arch.rows)


def plan_layout(arch: Architecture) -> data.StructLayout:
    """What is derived from a CONTRACT: its fold, lanes and counts.

    * x, y, z: lanes of the operands (on rows, on columns) and of a row of results, with offsets;
    * rows: rows drained per tile;
    * n_results, macs: results per drained row; useful multiply-adds per issue;
    * levels, fold (where the fold has blocks): which levels of the adder tree add, the first
      log2(K); the bits of a row number that are its block number;
    * spread (fold `flex`): log2(H).
    """
    lanes = data.StructLayout({"offsets": offsets(arch), "enable": unsigned(arch.lanes)})
    members: dict[str, Any] = {
        "x": lanes,
        "y": lanes,
        "z": lanes,
        "rows": clog2(most_rows(arch) + 1),
        "n_results": clog2(arch.cols + 1),
        "macs": clog2(arch.n_pes + 1),
    }
    if arch.blocks:
        members |= {"levels": clog2(arch.cols), "fold": clog2(arch.rows)}
    if arch.fold == "flex":
        members |= {"spread": spread_bits(arch)}
    return data.StructLayout(members)


class ArraySetup(wiring.Component):
    """Derives from the instruction in the setup stage how it folds the array, and its lanes.

    K, B and the blocks are those of `program.Contract`. The plan stands when the stage is ready,
    and until the next setup.

    Members
    -------
    desc, coming, moves, active, lane : in
        The slot and the setup stage of FrontEnd.
    plan : plan_layout, out
    """

    desc: Any
    coming: Any
    moves: Signal
    active: Signal
    lane: Signal
    plan: Any

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        super().__init__(
            {
                "desc": In(ARRAY_ISSUE),
                "coming": In(ARRAY_ISSUE),
                "moves": In(1),
                "active": In(1),
                "lane": In(range(arch.lanes)),
                "plan": Out(plan_layout(arch)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch, plan = self.arch, self.plan
        spans = self._spans(m) if arch.blocks else {}
        x, _, z = (
            self._walk(m, operand, lanes, spans.get(operand, []))
            for operand, lanes in zip(
                "xyz",
                (arch.rows, arch.rows if arch.fold == "ip" else arch.cols, arch.cols),
                strict=True,
            )
        )
        columns = self._count(m)
        m.d.comb += [plan.n_results.eq(z.n_enabled), plan.macs.eq(product(columns, x.n_enabled))]
        return m

    def _walk(self, m: Module, operand: str, n_lanes: int, spans: list[Value]) -> LaneOffsets:
        """Generate the lanes of X, Y or results."""
        raw, table = self.desc.raw, self.plan[operand]
        levels = LANES[self.arch.fold][operand]
        factors = [factor for level in levels for factor in level]
        walker = LaneOffsets(self.arch, n_lanes, tuple(len(level) for level in levels))
        m.submodules[f"{operand}_lanes"] = walker
        m.d.comb += [
            walker.active.eq(self.active),
            walker.lane.eq(self.lane),
            walker.count.eq(Cat(raw[f"n{factor}"] for factor in factors)),
            walker.stride.eq(Cat(raw[f"{operand}s_{factor}"] for factor in factors)),
            table.offsets.eq(walker.offsets),
            table.enable.eq(walker.enable),
        ]
        for g, span in enumerate(spans):
            m.d.comb += walker.span[g].eq(span)
        return walker

    def _count(self, m: Module) -> Signal:
        """Count a tile's rows; return the columns that do useful work in each block."""
        raw, arch = self.desc.raw, self.arch
        n_m = Signal(range(arch.rows + 1))
        n_n = Signal(range(arch.cols + 1))
        for count, *factors in ((n_m, raw.nm0, raw.nm1), (n_n, raw.nn0, raw.nn1)):
            # of factors that fit
            m.d.sync += count.eq(product(*(factor[: len(count)] for factor in factors)))
        if not arch.holds:
            m.d.comb += self.plan.rows.eq(n_m)
            return n_n
        columns = Signal(COUNT_BITS)
        passing = Signal(range(arch.tile_accumulators + 1))
        counts = [
            Mux(raw.n_hold > i, raw.loop_count[i][: len(passing)], 1) for i in range(HOLD_LOOPS)
        ]
        m.d.sync += [
            passing.eq(product(*counts)),
            columns.eq(product(n_n, raw.nh)),
            self.plan.rows.eq(product(passing, n_m)),
        ]
        return columns

    def _spans(self, m: Module) -> dict[str, list[Value]]:
        """Derive the blocks; return the spans of lanes, of a block and of all blocks of one k.

        All less one. A register separates the instruction from everything that follows, another one
        its count of k and of blocks.
        """
        raw, coming, plan = self.desc.raw, self.coming.raw, self.plan
        rows, cols = self.arch.rows - 1, self.arch.cols - 1
        of_k = Signal(3)
        of_b = Signal(3)
        of_blocks = Signal(3)
        n_bits = self.arch.rows.bit_length()
        n_k = product(coming.nk0[:n_bits], coming.nk1[:n_bits])
        with m.If(self.moves):
            m.d.sync += [
                of_k.eq(ceil_log2(n_k[:n_bits])),
                of_b.eq(ceil_log2(coming.nb)),
            ]
        m.d.comb += of_blocks.eq(of_k + of_b)
        m.d.sync += plan.levels.eq(Cat(of_k > j for j in range(clog2(self.arch.cols))))
        shifts: dict[str, list[Value]] = {
            "x": [rows >> of_blocks, rows >> of_k],
            "y": [cols >> of_blocks, cols >> of_k],
            "z": [cols >> of_blocks],
        }
        if self.arch.fold == "flex":
            of_h = Signal(spread_bits(self.arch))
            m.d.comb += of_h.eq(ceil_log2(raw.nh))
            m.d.sync += plan.spread.eq(of_h)
            shifts["y"] = [span >> of_h for span in shifts["y"]]
            shifts["z"] = [(1 << of_h) - 1, *shifts["z"]]
        spans: dict[str, list[Value]] = {}
        for operand, its in shifts.items():
            spans[operand] = []
            for g, span in enumerate(its):
                lanes = rows if operand == "x" else cols
                register = Signal(range(lanes + 1), name=f"{operand}_span_{g}")
                m.d.sync += register.eq(span)
                spans[operand].append(register)
        m.d.comb += plan.fold.eq(~spans["x"][0])
        return spans
