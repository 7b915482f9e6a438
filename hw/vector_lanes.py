"""The vector unit's data path: from what was read to what is to be written."""

from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import COPY_LATENCY, READ_LATENCY, Architecture
from einchip.hw.cell import LstmLane, LstmSchedule, granted_layout
from einchip.hw.interfaces import VECTOR_ISSUE, elements
from einchip.hw.pipeline import one_hot
from einchip.program import Fill, Lstm

if COPY_LATENCY != READ_LATENCY:
    raise AssertionError("a copied vector is written in the cycle in which it has been read")


class VectorLanes(wiring.Component):
    """Turn the reads of vectors into their writes.

    The k-th write of a vector leaves LSTM_LATENCY + k cycles after its last read was issued, that
    of COPY and FILL after COPY_LATENCY. One operation a cycle, no back pressure.

    Members
    -------
    desc : VECTOR_ISSUE, in
        The instruction that is executed.
    granted : granted_layout(planes), in
        Which read of an LSTM is issued in this cycle.
    ends : in
        The last operation of a vector is issued in this cycle.
    x, y : elements(arch), in
        What the scratchpads' ports have read.
    stop : in
        Forgets all that is under way.
    valid, result : out
        A write, as elements(arch).
    """

    desc: Any
    granted: Any
    ends: Signal
    x: Any
    y: Any
    stop: Signal
    valid: Signal
    result: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "desc": In(VECTOR_ISSUE),
                "granted": In(granted_layout(arch.cell_planes)),
                "ends": In(1),
                "x": In(elements(arch)),
                "y": In(elements(arch)),
                "stop": In(1),
                "valid": Out(1),
                "result": Out(elements(arch)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        raw, planes, bits = self.desc.raw, self._arch.cell_planes, self._arch.data_bits
        m.submodules.schedule = schedule = LstmSchedule(planes)
        m.d.comb += [schedule.granted.eq(self.granted), schedule.stop.eq(self.stop)]
        moved = self._moved(m)
        fills = raw.opcode == Fill.OPCODE
        read_space = Mux(schedule.strobes.plane.any(), raw.cell_space, raw.src_space)
        m.d.comb += self.valid.eq(schedule.ready.any() | moved)
        for p in range(self._arch.lanes):
            m.submodules[f"lane_{p}"] = lane = LstmLane(bits)
            m.d.comb += [
                lane.element.eq(Mux(read_space, self.y[p], self.x[p])),
                lane.gate_frac.eq(raw.gate_frac),
                lane.cell_frac.eq(raw.cell_frac),
                lane.hidden_frac.eq(raw.hidden_frac),
                lane.strobes.eq(schedule.strobes),
            ]
            results = [*(lane.cell.word_select(k, bits) for k in range(planes)), lane.hidden]
            m.d.comb += self.result[p].eq(
                one_hot(
                    [
                        *zip(schedule.ready, results, strict=True),
                        (moved & ~fills, lane.element),
                        (moved & fills, raw.value),
                    ]
                )
            )
        return m

    def _moved(self, m: Module) -> Value:
        """Return whether a vector of COPY or FILL leaves in this cycle."""
        line = Signal(COPY_LATENCY)
        enters = self.ends & (self.desc.raw.opcode != Lstm.OPCODE)
        m.d.sync += line.eq(Mux(self.stop, 0, (line << 1) | enters))
        return line[-1]
