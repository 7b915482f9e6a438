"""The whole machine."""

from typing import Any

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.hw.array_unit import ArrayUnit
from einchip.hw.axi import AxiLiteSignature, AxiSignature
from einchip.hw.control import Control
from einchip.hw.load import LoadUnit
from einchip.hw.scratchpad import Scratchpad
from einchip.hw.sequencer import Sequencer
from einchip.hw.store import StoreUnit
from einchip.hw.tokens import Tokens
from einchip.hw.vector import VectorUnit
from einchip.program import Space
from einchip.registers import ADDRESS_BITS, COUNTERS


class Top(wiring.Component):
    """einchip: control registers, sequencer, four units, two scratchpads.

    Parameters
    ----------
    arch
        The machine to build.

    Members
    -------
    s_axil : AxiLiteSignature, in
        Control (`einchip.registers`).
    m_axi : AxiSignature(arch.port_bytes), out
        External memory.
    irq : out
        The machine has stopped.
    """

    s_axil: Any
    m_axi: Any
    irq: Signal

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.scratchpads = [Scratchpad(arch, space) for space in Space]
        super().__init__(
            {
                "s_axil": In(AxiLiteSignature(ADDRESS_BITS)),
                "m_axi": Out(AxiSignature(arch.port_bytes)),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.control = control = Control(self.arch)
        m.submodules.sequencer = sequencer = Sequencer(self.arch)
        m.submodules.tokens = tokens = Tokens()
        m.submodules.load = load = LoadUnit(self.arch)
        m.submodules.store = store = StoreUnit(self.arch)
        m.submodules.array = array = ArrayUnit(self.arch)
        m.submodules.vector = vector = VectorUnit(self.arch)
        m.submodules.x, m.submodules.y = self.scratchpads
        units: dict[str, Any] = {"load": load, "store": store, "array": array, "vector": vector}
        wiring.connect(m, wiring.flipped(self.s_axil), control.s_axil)
        self._connect_memory(m, load, store)
        self._connect_sequencer(m, control, sequencer, load)
        for name, unit in units.items():
            wiring.connect(m, getattr(sequencer, name), unit.issue)
            wiring.connect(m, getattr(tokens, name), unit.tokens)
        m.d.comb += [
            self.irq.eq(control.irq),
            tokens.give.eq(sequencer.give),
            tokens.clear.eq(control.start | sequencer.clear),
            sequencer.units_idle.eq(Cat(unit.idle for unit in units.values()).all()),
            control.quiet.eq(load.quiet & store.quiet),
            *(part.stop.eq(control.stop) for part in (*units.values(), *self.scratchpads)),
        ]
        clients = [self._clients(space, units) for space in Space]
        for pad, its in zip(self.scratchpads, clients, strict=True):
            for name, client in its.items():
                wiring.connect(m, client, getattr(pad, name))
        self._connect_faults(m, control, sequencer, units, tokens)
        self._count(m, control, [sequencer.events, *(unit.events for unit in units.values())])
        self._watch(m, control, sequencer, units, [c for its in clients for c in its.values()])
        return m

    def _connect_memory(self, m: Module, load: LoadUnit, store: StoreUnit) -> None:
        """Give load and store unit their channels."""
        for unit in (load, store):
            for name, member in unit.axi.signature.members.items():
                ours, theirs = getattr(self.m_axi, name), getattr(unit.axi, name)
                m.d.comb += ours.eq(theirs) if member.flow == Out else theirs.eq(ours)

    def _connect_sequencer(
        self, m: Module, control: Control, sequencer: Sequencer, load: LoadUnit
    ) -> None:
        wiring.connect(m, sequencer.fetch_port, load.fetch)
        wiring.connect(m, load.program, sequencer.program)
        m.d.comb += [
            sequencer.start.eq(control.start),
            sequencer.fetch.eq(control.fetch),
            sequencer.host.eq(control.host),
            sequencer.stop.eq(control.stop),
            control.halted.eq(sequencer.halted),
            control.pc.eq(sequencer.pc),
        ]

    def _clients(self, space: Space, units: dict[str, Any]) -> dict[str, Any]:
        """Return who uses which port of a scratchpad."""
        s = space.name.lower()
        array, vector = units["array"], units["vector"]
        window = (
            {
                "window_drain": getattr(array, f"drain_read_{s}_window"),
                "window_vector": getattr(vector, f"read_{s}_window"),
                "window_dma": getattr(units["store"], f"read_{s}_window"),
            }
            if self.scratchpads[space].windowed
            else {}
        )
        return window | {
            "read_drain": getattr(array, f"drain_read_{s}"),
            "read_vector": getattr(vector, f"read_{s}"),
            "read_array": getattr(array, f"read_{s}"),
            "read_dma": getattr(units["store"], f"read_{s}"),
            "write_drain": getattr(array, f"drain_write_{s}"),
            "write_vector": getattr(vector, f"write_{s}"),
            "write_dma": getattr(units["load"], f"write_{s}"),
        }

    def _connect_faults(
        self,
        m: Module,
        control: Control,
        sequencer: Sequencer,
        units: dict[str, Any],
        tokens: Tokens,
    ) -> None:
        x, y = self.scratchpads
        sources = {
            "sequencer": sequencer.fault,
            "x_read": x.read_fault,
            "x_write": x.write_fault,
            "y_read": y.read_fault,
            "y_write": y.write_fault,
            "load": units["load"].fault,
            "store": units["store"].fault,
            "tokens": tokens.fault,
        }
        for name, fault in sources.items():
            wiring.connect(m, fault, getattr(control.faults, name))

    def _count(self, m: Module, control: Control, events: list[Any]) -> None:
        """Let each counter rise by the sum of what is counted under its name."""
        x, y = self.scratchpads
        increments: dict[str, Value] = {
            "cycles": Const(1),
            "x_reads": x.read_count,
            "x_writes": x.write_count,
            "y_reads": y.read_count,
            "y_writes": y.write_count,
        }
        for group in events:
            for name, _ in group.shape():
                increments[name] = increments.get(name, Const(0)) + group[name]
        if increments.keys() != {c.name for c in COUNTERS}:
            raise AssertionError("the units' events are not the counters of einchip.registers")
        m.d.comb += [control.events[name].eq(value) for name, value in increments.items()]

    def _watch(
        self,
        m: Module,
        control: Control,
        sequencer: Sequencer,
        units: dict[str, Any],
        requests: list[Any],
    ) -> None:
        """Tell the watchdog of every grant, issue, sequencer step and bus handshake."""
        bus = self.m_axi
        moved = [request.valid & request.ready for request in requests]
        moved += [
            getattr(bus, f"{channel}valid") & getattr(bus, f"{channel}ready")
            for channel in ("aw", "w", "b", "ar", "r")
        ]
        moved += [units[name].events[f"{name}_issue"] for name in ("array", "vector")]
        m.d.comb += control.progress.eq(Cat(sequencer.busy, *moved).any())
