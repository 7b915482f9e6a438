"""The units that drive AXI ports, each with monitors at its port and everything else free.

Nothing is assumed of what a unit does not see on the bus, but for what is said here in words.
Registers and memories begin with anything; a reset of one cycle comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from amaranth import ClockDomain, Const, Module, Mux, ResetSignal, Signal, Value
from amaranth.back import rtlil  # type: ignore[attr-defined] # the stubs lack it
from amaranth.hdl import Assert, Assume, Cover
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from einchip.arch import READ_BURSTS, STORE_BEATS, WRITE_BURSTS, Architecture
from einchip.hw import axi_lite, load, store
from einchip.hw.counters import READ_CYCLES
from einchip.registers import ADDRESS_BITS
from tests.formal.axi import LiteSlave, ReadPort, WritePort, crosses
from tests.formal.inside import Inside
from tests.formal.rules import Queue, Rule, Rules, implies, past

#: The signal that is 0 in the cycle of the reset, the first one, and 1 afterwards.
BEGAN: Final = "began"
TOP: Final = "bench"


class Bench:
    """A unit under proof.

    Parameters
    ----------
    design
        The unit.
    kinds
        The classes of its components whose variables the invariants speak of.

    Attributes
    ----------
    m : where monitors go; it is in the unit's clock domain.
    inside : what the unit keeps to itself.
    rules : what is proved, and under which assumptions.
    """

    def __init__(self, design: wiring.Component, kinds: Sequence[str] = ()) -> None:
        self.m = m = Module()
        self.rules = Rules()
        self.inside = Inside(design, kinds)
        m.submodules.unit = self.inside.fragment
        self._domain: Any = ClockDomain("sync")
        m.domains.sync = self._domain
        self._began = Signal(name=BEGAN, reset_less=True)
        m.d.sync += self._began.eq(1)
        m.d.comb += ResetSignal().eq(~self._began)
        self._free: list[Value] = []
        self.let_free(design, In)

    def let_free(self, component: wiring.Component, flow: Any) -> None:
        """Let what is In or Out of a component, and driven by nothing, have any value."""
        for _, member, value in component.signature.flatten(component):
            if member.flow == flow:
                self._free.append(Value.cast(value))

    def rtlil(self) -> str:
        """Return the unit with its rules as text of Yosys; each rule's cell has the rule's name."""
        kinds: tuple[tuple[Any, dict[str, Value]], ...] = (
            (Assert, {name: rule.value for name, rule in self.rules.asserts.items()}),
            (Assert, {f"inv_{name}": value for name, value in self.rules.invariants.items()}),
            (Assume, {f"env_{name}": rule.value for name, rule in self.rules.assumes.items()}),
        )
        for kind, rules in kinds:
            for name, value in rules.items():
                self._put(name, kind(~self._began | value))
        cover: Any = Cover
        for name, rule in self.rules.covers.items():
            self._put(f"can_{name}", cover(self._began & rule.value))
        ports = [self._domain.clk, *self._free]
        return rtlil.convert(self.m, name=TOP, ports=ports, emit_src=False)

    def _put(self, name: str, statement: Any) -> None:
        own = Module()
        own.d.comb += statement
        self.m.submodules[name] = own


def lite_bench(_: Architecture | None = None) -> Bench:
    """Return the slave in front of the registers, whatever registers there are behind it."""
    unit = axi_lite.AxiLiteSlave(ADDRESS_BITS, READ_CYCLES)
    bench = Bench(unit, ("AxiLiteSlave",))
    port = LiteSlave(bench.m, bench.rules, unit.axil, 1, READ_CYCLES + 1)
    has_address, has_data, age = (
        bench.inside.value("AxiLiteSlave", name) for name in ("has_address", "has_data", "age")
    )
    bench.rules.invariants |= {
        "addresses": port.addresses == has_address + unit.axil.bvalid,
        "data": port.data == has_data + unit.axil.bvalid,
        "written": implies(port.written != 0, unit.axil.bvalid),
        "reads": port.reads == sum(age, unit.axil.rvalid),
    } | {f"age_{k}": implies(bit, port.asked == k) for k, bit in enumerate(age)}
    return bench


def load_bench(arch: Architecture) -> Bench:
    """Return the load unit with its read channels."""
    unit = load.LoadUnit(arch)
    bench = Bench(unit, ("FrontEnd", "BurstAddresses"))
    port = ReadPort(bench.m, bench.rules, unit.axi, arch, READ_BURSTS)
    _addresses(bench, arch, port.bursts.count, READ_BURSTS)
    _transfers(bench, unit)
    bench.rules.assumes["words"] = fetches_words(unit)
    return bench


def store_bench(arch: Architecture) -> Bench:
    """Return the store unit with its write channels."""
    unit = store.StoreUnit(arch)
    bench = Bench(unit, ("FrontEnd", "BurstAddresses", "_Bursts", "StoreUnit"))
    port = WritePort(bench.m, bench.rules, unit.axi, arch, WRITE_BURSTS)
    _addresses(bench, arch, port.bursts.count + port.owed, WRITE_BURSTS)
    _transfers(bench, unit)
    _data(bench, port)
    return bench


def fetches_words(unit: Any) -> Rule:
    """Return what the load unit counts on when it fetches a program."""
    fetch = unit.fetch
    return Rule(implies(fetch.valid, fetch.words != 0), "a fetch is of one word at least")


def empty_transfer(bench: Bench, unit: Any, name: str) -> Rule:
    """Return what load and store unit count on: an instruction of 0 beats is a fault."""
    empty = past(bench.m, unit.issue.valid & (unit.issue.payload.raw.beats == 0), name)
    return Rule(
        implies(empty, unit.stop), "an instruction of 0 beats stops the machine in the next cycle"
    )


def _transfers(bench: Bench, unit: Any) -> None:
    """Say what the instructions in slot and setup stage of a unit are."""
    front = bench.inside.component("FrontEnd")
    slot_taken = bench.inside.value("FrontEnd", "slot_taken")
    bench.rules.assumes["beats"] = empty_transfer(bench, unit, "empty")
    bench.rules.invariants |= {
        "slot": implies(slot_taken & ~unit.stop, front.coming.raw.beats != 0),
        "stage": implies(front.taken, front.desc.raw.beats != 0),
    }


def _addresses(bench: Bench, arch: Architecture, under_way: Value, most: int) -> None:
    """Say what the unit's `BurstAddresses` keeps, `under_way` being the monitor's view."""
    unit = bench.inside.component("BurstAddresses")
    own, some, held, left = (
        bench.inside.value("BurstAddresses", name) for name in ("under_way", "some", "held", "left")
    )
    beats = unit.burst_beats
    bench.rules.invariants |= {
        "under_way": (own == under_way) & (own <= most),
        "held": implies(held, some),
        "page": ~crosses(unit.address.payload, beats, arch),
        "length": beats <= arch.burst_beats,
        "some": implies(some, (left != 0) & (beats != 0) & (beats <= left)),
        "last": implies(some, unit.last == (left == beats)),
    }


def _data(bench: Bench, port: WritePort) -> None:
    """Say what the store unit keeps of its bursts and of the beats in its buffer."""
    inside, bursts = bench.inside, port.bursts
    next_number = inside.component("BurstAddresses").number
    waiting, numbers = (inside.values("_Bursts", name) for name in ("waiting", "number"))
    _, sending, answering = waiting
    filled, sent, in_flight, held, real, coming = (
        inside.value("StoreUnit", name)
        for name in ("filled", "sent", "in_flight", "held", "held_real", "coming")
    )
    _, moved = inside.values("StoreUnit", "moved")  # from the scratchpads, to the bus
    buffered = (filled - sent)[: len(filled)]
    dropping = inside.value("BurstAddresses", "dropping")
    bench.rules.invariants |= {
        **{f"ring_{k}": next_number == (number + left)[: len(number)]
           for k, (number, left) in enumerate(zip(numbers, waiting, strict=True))},
        "sending": sending == bursts.count,
        "answering": answering == bursts.count + port.owed,
        "lengths": _in_ring(inside.value("_Bursts", "memory"), numbers[1], bursts),
        "moved": moved == port.beat,
        "beat": Mux(bursts.count == 0, port.beat == 0, port.beat <= bursts.first),
        "room": implies(
            ~dropping | (held & real),
            (buffered + sum(coming) <= in_flight) & (in_flight <= STORE_BEATS),
        ),
        "filling": implies(held & ~real, dropping),
        "held_beat": implies(held, (bursts.count != 0) & implies(real, buffered != 0)),
    }  # fmt: skip


def _in_ring(rows: Sequence[Any], first: Value, bursts: Queue) -> Value:
    """Return whether a ring's rows, from number `first` on, hold what the monitor knows."""
    whole = [*rows, *rows]
    same: Value = Const(1)
    for k in range(len(rows)):
        lasts = [row.last_beat for row in whole[k : k + len(rows)]]
        same = same & implies(first == k, bursts.holds(lasts))
    return same
