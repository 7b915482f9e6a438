"""The vector unit's lane offsets: generated for the next instruction, kept for the present one."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.hw.interfaces import VECTOR_ISSUE, offsets
from einchip.hw.lanes import LaneOffsets


class VectorOffsets(wiring.Component):
    """Lane p = l0 + nl0 * l1 has the offset l0 * stride_l0 + l1 * stride_l1.

    Members
    -------
    desc : VECTOR_ISSUE, in
        The instruction in the setup stage.
    setup_active, setup_lane : in
        As of FrontEnd.
    load : in
        From the next cycle the outputs are that instruction's.
    source, target : offsets(arch), out
    enable : arch.lanes, out
        The lanes that the instruction has.
    n_lanes : out
        How many they are.
    """

    desc: Any
    setup_active: Signal
    setup_lane: Signal
    load: Signal
    source: Any
    target: Any
    enable: Signal
    n_lanes: Signal

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "desc": In(VECTOR_ISSUE),
                "setup_active": In(1),
                "setup_lane": In(range(arch.setup_cycles)),
                "load": In(1),
                "source": Out(offsets(arch)),
                "target": Out(offsets(arch)),
                "enable": Out(arch.lanes),
                "n_lanes": Out(range(arch.lanes + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        raw = self.desc.raw
        m.submodules.source = source = self._walker(m, raw.src_l0, raw.src_l1)
        m.submodules.target = target = self._walker(m, raw.dst_l0, raw.dst_l1)
        with m.If(self.load):
            m.d.sync += [
                self.source.eq(source.offsets),
                self.target.eq(target.offsets),
                self.enable.eq(source.enable),
                self.n_lanes.eq(source.n_enabled),
            ]
        return m

    def _walker(self, m: Module, stride_0: Any, stride_1: Any) -> LaneOffsets:
        """Return the walk over all lanes with these two strides."""
        walker = LaneOffsets(self._arch, self._arch.lanes)
        raw = self.desc.raw
        m.d.comb += [
            walker.active.eq(self.setup_active),
            walker.lane.eq(self.setup_lane),
            walker.count[0].eq(raw.nl0),
            walker.count[1].eq(raw.nl1),
            walker.stride[0].eq(stride_0),
            walker.stride[1].eq(stride_1),
        ]
        return walker
