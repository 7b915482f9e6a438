"""The vector unit's data path: from what was read to what is to be written."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import COPY_LATENCY, READ_LATENCY, Architecture
from einchip.hw.cell import CellLane
from einchip.hw.cell_schedule import CellSchedule
from einchip.hw.interfaces import VECTOR_ISSUE, elements, read_ports, stream_ports
from einchip.hw.pipeline import one_hot
from einchip.hw.vector_kinds import (
    CELLS,
    KINDS,
    built_cells,
    is_any,
    is_kind,
    most_operations,
)
from einchip.program import Fill

if COPY_LATENCY != READ_LATENCY:
    raise AssertionError("a copied vector is written in the cycle in which it has been read")


class VectorLanes(wiring.Component):
    """Turn the reads of vectors into their writes.

    The writes of a vector leave so many cycles after its last operation was issued as `latencies`
    of its class says. One operation a cycle, no back pressure.

    Members
    -------
    load : in
        No instruction is executed: the one before has left all its writes.
    desc : VECTOR_ISSUE, in
        That instruction, from the next cycle on.
    kinds : len(KINDS), in
        Its decoded opcode, likewise.
    granted, beside : in
        As `CellSchedule` takes them.
    ends : in
        The last operation of a vector is issued in this cycle.
    ports : stream_ports(arch), in
        The read ports of its streams, constant like `desc`.
    read : elements(arch) for each of read_ports(arch), in
        What the ports have read.
    stop : in
        Forgets all that is under way.
    valid, result : out
        A write, as elements(arch).
    """

    load: Signal
    desc: Any
    kinds: Signal
    granted: Signal
    beside: Signal
    ends: Signal
    ports: Any
    read: Any
    stop: Signal
    valid: Signal
    result: Any

    def __init__(self, arch: Architecture) -> None:
        self._arch = arch
        super().__init__(
            {
                "load": In(1),
                "desc": In(VECTOR_ISSUE),
                "kinds": In(len(KINDS)),
                "granted": In(most_operations(arch.cell_planes)),
                "beside": In(1),
                "ends": In(1),
                "ports": In(stream_ports(arch)),
                "read": In(data.ArrayLayout(elements(arch), len(read_ports(arch)))),
                "stop": In(1),
                "valid": Out(1),
                "result": Out(elements(arch)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        raw, planes, bits = self.desc.raw, self._arch.cell_planes, self._arch.data_bits
        cells = built_cells(self._arch)
        m.submodules.schedule = schedule = CellSchedule(planes)
        m.d.comb += [
            schedule.kind.eq(Cat(is_kind(self.kinds, kind) for kind in CELLS)),
            schedule.granted.eq(self.granted),
            schedule.beside.eq(self.beside),
            schedule.clear.eq(self.stop | self.load),
            *(schedule.formats[name].eq(raw[name]) for name, _ in schedule.formats.shape()),
        ]
        control = schedule.control
        port = Mux(control.from_aux, self.ports.aux, self.ports.src)
        moved, fills = self._moved(m), is_kind(self.kinds, Fill)
        m.d.comb += self.valid.eq(schedule.ready.any() | moved)
        for p in range(self._arch.lanes):
            given = [read[p] for read in self.read]
            element = Signal(signed(bits), name=f"element_{p}")
            m.d.comb += element.eq(one_hot(zip(port, given, strict=True)))
            results: list[tuple[Value, Value]] = [
                (moved & ~fills, element),
                (moved & fills, raw.value),
            ]
            if cells:
                m.submodules[f"lane_{p}"] = lane = CellLane(bits, cells)
                m.d.comb += [
                    lane.element.eq(element),
                    lane.plane.eq(one_hot(zip(self.ports.cell, given, strict=True))),
                    lane.control.eq(control),
                ]
                parts = [*(lane.state.word_select(k, bits) for k in range(planes)), lane.hidden]
                results += zip(schedule.ready, parts, strict=True)
            m.d.comb += self.result[p].eq(one_hot(results))
        return m

    def _moved(self, m: Module) -> Value:
        """Return whether a vector of COPY or FILL leaves in this cycle."""
        line = Signal(COPY_LATENCY)
        enters = self.ends & ~is_any(self.kinds, CELLS)
        m.d.sync += line.eq(Mux(self.stop, 0, (line << 1) | enters))
        return line[-1]
