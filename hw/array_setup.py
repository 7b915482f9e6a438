"""What the array unit derives from a CONTRACT before its launch: fold, lanes and counts."""

from typing import Any

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture, clog2
from einchip.hw.interfaces import ARRAY_ISSUE, offsets
from einchip.hw.lanes import COUNT_BITS, LaneOffsets
from einchip.hw.pipeline import ceil_log2, product


def plan_layout(arch: Architecture) -> data.StructLayout:
    """What is derived from a CONTRACT: its fold, lanes and counts.

    * x, y, z: lanes of the operands (on rows, on columns) and of a row of results, with offsets;
    * n_m: rows drained per tile;
    * levels: which levels of the adder tree add, the first log2(K);
    * fold: the bits of a row number that are its block number;
    * n_results, macs: results per drained row; useful multiply-adds per iteration.
    """
    lanes = data.StructLayout({"offsets": offsets(arch), "enable": unsigned(arch.lanes)})
    return data.StructLayout(
        {
            "x": lanes,
            "y": lanes,
            "z": lanes,
            "n_m": unsigned(COUNT_BITS),
            "levels": unsigned(clog2(arch.cols)),
            "fold": unsigned(clog2(arch.rows)),
            "n_results": unsigned(clog2(arch.cols + 1)),
            "macs": unsigned(clog2(arch.n_pes + 1)),
        }
    )


class ArraySetup(wiring.Component):
    """Derives from the instruction in the setup stage how it folds the array, and its lanes.

    K, B and the blocks are those of `program.Contract`. The plan stands when the stage is ready,
    and until the next setup.

    Members
    -------
    desc, active, lane : in
        The setup stage of FrontEnd.
    plan : plan_layout, out
    """

    desc: Any
    active: Signal
    lane: Signal
    plan: Any

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        super().__init__(
            {
                "desc": In(ARRAY_ISSUE),
                "active": In(1),
                "lane": In(range(arch.lanes)),
                "plan": Out(plan_layout(arch)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arch, raw, plan = self.arch, self.desc.raw, self.plan
        n_n, row_span, col_span = self._fold(m)
        m.submodules.x_lanes = x = LaneOffsets(arch, arch.rows, (2, 1, 2))
        m.submodules.y_lanes = y = LaneOffsets(arch, arch.cols, (2, 1, 2))
        m.submodules.z_lanes = z = LaneOffsets(arch, arch.cols, (2, 1))
        for walker, table in ((x, plan.x), (y, plan.y), (z, plan.z)):
            m.d.comb += [
                walker.active.eq(self.active),
                walker.lane.eq(self.lane),
                table.offsets.eq(walker.offsets),
                table.enable.eq(walker.enable),
            ]
        m.d.comb += [
            x.count.eq(Cat(raw.nm0, raw.nm1, raw.nb, raw.nk0, raw.nk1)),
            x.stride.eq(Cat(raw.xs_m0, raw.xs_m1, raw.xs_b, raw.xs_k0, raw.xs_k1)),
            x.span.eq(Cat(row_span)),
            y.count.eq(Cat(raw.nn0, raw.nn1, raw.nb, raw.nk0, raw.nk1)),
            y.stride.eq(Cat(raw.ys_n0, raw.ys_n1, raw.ys_b, raw.ys_k0, raw.ys_k1)),
            y.span.eq(Cat(col_span)),
            z.count.eq(Cat(raw.nn0, raw.nn1, raw.nb)),
            z.stride.eq(Cat(raw.zs_n0, raw.zs_n1, raw.zs_b)),
            z.span[0].eq(col_span[0]),
            plan.fold.eq(~row_span[0]),
            plan.n_results.eq(z.n_enabled),
            plan.macs.eq(product(n_n, x.n_enabled)),
        ]
        return m

    def _fold(self, m: Module) -> tuple[Signal, list[Signal], list[Signal]]:
        """Return n_n, and for rows and columns the lanes of a block and of all blocks of one k.

        Both less one. One register separates the instruction from everything that follows.
        """
        raw, plan = self.desc.raw, self.plan
        n_k, n_n = Signal(COUNT_BITS), Signal(COUNT_BITS)
        of_k, of_both = Signal(3), Signal(3)
        m.d.comb += [
            n_k.eq(product(raw.nk0, raw.nk1)),
            of_k.eq(ceil_log2(n_k)),
            of_both.eq(of_k + ceil_log2(raw.nb)),
        ]
        m.d.sync += [
            plan.n_m.eq(product(raw.nm0, raw.nm1)),
            n_n.eq(product(raw.nn0, raw.nn1)),
            plan.levels.eq(Cat(of_k > j for j in range(clog2(self.arch.cols)))),
        ]
        spans = []
        for name, lanes in (("row", self.arch.rows), ("col", self.arch.cols)):
            span = [Signal(clog2(lanes), name=f"{name}_span_{k}") for k in range(2)]
            m.d.sync += [
                span[0].eq((lanes - 1) >> of_both),
                span[1].eq((lanes - 1) >> of_k),
            ]
            spans.append(span)
        return n_n, spans[0], spans[1]
