"""The whole machine: that its ports are those of its units, and that it keeps what these assume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from amaranth import Cat, Module, Value
from amaranth.hdl import Elaboratable
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from einchip.arch import Architecture
from einchip.hw import sequencer, top
from tests.formal.benches import Bench, empty_transfer, fetches_words
from tests.formal.inside import elaborated
from tests.formal.replace import replaced
from tests.formal.rules import Rule, implies

#: Parts that may do anything: what is proved does not depend on them.
FREE: Final = (
    (sequencer, "ProgramMemory"),
    (top, "ArrayUnit"),
    (top, "VectorUnit"),
    (top, "Scratchpad"),
)


@contextmanager
def anything() -> Iterator[list[wiring.Component]]:
    """Let the parts of `FREE` have the same ports and nothing inside; yield those that are made."""
    made: list[wiring.Component] = []
    with ExitStack() as stack:
        for module, name in FREE:
            stack.enter_context(replaced(module, name, _emptied(getattr(module, name), made)))
        yield made


def _emptied(kind: Any, made: list[wiring.Component]) -> type:
    class Emptied(kind):
        def elaborate(self, platform: object) -> Module:
            made.append(self)
            for part in vars(self).values():  # or Amaranth warns that they were not used
                for one in part if isinstance(part, list) else [part]:
                    if isinstance(one, Elaboratable):
                        elaborated(one)
            return Module()

    return Emptied


def machine_bench(arch: Architecture) -> Bench:
    """Return the machine; everything of `FREE` may do anything, as may host and memory."""
    with anything() as made:
        unit = top.Top(arch)
        bench = Bench(unit)
    for part in made:
        bench.let_free(part, Out)
    control, load, store, steps = (
        bench.inside.component(kind) for kind in ("Control", "LoadUnit", "StoreUnit", "Sequencer")
    )
    ports = [(load.axi, unit.m_axi), (store.axi, unit.m_axi), (control.s_axil, unit.s_axil)]
    bench.rules.asserts |= {
        "ports": Rule(
            Cat(_joined(inner, outer) for inner, outer in ports).all(),
            "the machine's ports are those of load unit, store unit and control",
        ),
        "words": fetches_words(load),
        "load_beats": empty_transfer(bench, load, "load_empty"),
        "store_beats": empty_transfer(bench, store, "store_empty"),
    }
    host, state = control.host, steps._state
    at_launch = state == sequencer.State.LAUNCH
    bench.rules.invariants |= {
        "running": implies(state != sequencer.State.IDLE, control.running),
        "no_words": implies(at_launch, steps._no_words == (host.program_words == 0)),
        "too_long": implies(
            at_launch, steps._too_long == (host.program_words > arch.program_words)
        ),
    }
    bench.rules.covers |= {
        "fetch": Rule(load.fetch.valid & load.fetch.ready, "a program is fetched"),
        "load_empty": Rule(load.issue.valid & (load.issue.payload.raw.beats == 0),
                           "a LOAD of 0 beats is handed over"),
        "store": Rule(store.issue.valid & (store.issue.payload.raw.beats != 0),
                      "a STORE is handed over"),
    }  # fmt: skip
    return bench


def _joined(inner: Any, outer: Any) -> Value:
    """Return whether all signals of a unit's port are those of the same names outside."""
    return Cat(
        getattr(inner, name) == getattr(outer, name) for name in inner.signature.members
    ).all()
