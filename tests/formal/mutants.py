"""RTL broken on purpose, one line at a time, and the rule that must notice.

The text of a module of `hw` is changed and run again; the file stays as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Final, NamedTuple

from einchip.hw import axi, axi_lite, burst, load, resolver, sequencer, store, top
from tests.formal.replace import replaced


class Mutant(NamedTuple):
    """A change of the RTL: `old` stands once in a module and becomes `new`.

    `unit` (of `tests.formal.units`) is where the rule `rule` must notice.
    """

    unit: str
    rule: str
    module: ModuleType
    old: str
    new: str

    @property
    def file(self) -> str:
        """Return the file of the module."""
        return f"hw/{self.module.__name__.rsplit('.', 1)[1]}.py"


def _bursts(unit: str, channel: str) -> list[Mutant]:
    """Return what may be wrong with the addresses of bursts."""
    changes = {
        "stays": ("eq(held | (some", "eq((some"),
        "stable": ("with m.If(self.sent):", "with m.If(address.valid):"),
        "length": ("(-place[:bits])[:bits], arch.burst_beats)",
                   "(-place[:bits])[:bits], arch.burst_beats + 1)"),
        "page": ("near = place[bits:].all() & place[:bits].any()", "near = Const(0)"),
        "outstanding": ("(under_way < self._most)", "(under_way <= self._most)"),
        "reset": ("held = Signal()", "held = Signal(init=1)"),
    }  # fmt: skip
    return [
        Mutant(unit, f"{channel}_{rule}", burst, old, new) for rule, (old, new) in changes.items()
    ]


MUTANTS: Final[tuple[Mutant, ...]] = (
    *_bursts("load", "ar"),
    Mutant("load", "ar_size", load, "arsize.eq(Const(clog2(self._arch.port_bytes)))",
           "arsize.eq(Const(clog2(self._arch.port_bytes) + 1))"),
    Mutant("load", "ar_incr", load, "arburst.eq(INCR)", "arburst.eq(0)"),
    *_bursts("store", "aw"),
    Mutant("store", "aw_size", store, "awsize.eq(Const(clog2(self._arch.port_bytes)))",
           "awsize.eq(Const(clog2(self._arch.port_bytes) + 1))"),
    Mutant("store", "aw_incr", store, "awburst.eq(INCR)", "awburst.eq(0)"),
    Mutant("store", "w_stays", store, "wvalid.eq(bursts.may_send & (",
           "wvalid.eq(bursts.may_send & ~halt & ("),
    Mutant("store", "w_stable", store, "real.eq(Mux(held, held_real, ~halt))", "real.eq(~halt)"),
    Mutant("store", "w_stable", store, "room.eq(in_flight < STORE_BEATS)",
           "room.eq(in_flight <= STORE_BEATS)"),
    Mutant("store", "w_asked", store, "wvalid.eq(bursts.may_send & (", "wvalid.eq(("),
    Mutant("store", "w_last", store, "wlast.eq(moved == bursts.sending.last_beat)",
           "wlast.eq(moved + 1 == bursts.sending.last_beat)"),
    Mutant("store", "b_taken", store, "bready.eq(~addresses.quiet)",
           "bready.eq(~addresses.quiet & ~halt)"),
    Mutant("axi_lite", "b_stays", axi_lite, "with m.Elif(bus.bready):", "with m.Else():"),
    Mutant("axi_lite", "b_stable", axi_lite, "has_data & ~bus.bvalid)", "has_data)"),
    Mutant("axi_lite", "b_asked", axi_lite, "eq(has_address & has_data", "eq(has_address"),
    Mutant("axi_lite", "b_comes", axi_lite, "with m.If(self.write):",
           "with m.If(self.write & self.write_known):"),
    Mutant("axi_lite", "aw_two", axi_lite, "awready.eq(~has_address)", "awready.eq(1)"),
    Mutant("axi_lite", "w_two", axi_lite, "wready.eq(~has_data)", "wready.eq(1)"),
    Mutant("axi_lite", "r_stays", axi_lite, "with m.Elif(bus.rready):", "with m.Else():"),
    Mutant("axi_lite", "r_stable", axi_lite, "m.If(age[-1]):",
           "m.If(age[-1] | (bus.rvalid & ~bus.rready)):"),
    Mutant("axi_lite", "r_asked", axi_lite, "with m.If(age[-1]):", "with m.If(~bus.rvalid):"),
    Mutant("axi_lite", "r_comes", axi_lite, "with m.If(age[-1]):",
           "with m.If(age[-1] & self.read_known):"),
    Mutant("axi_lite", "ar_one", axi_lite, "arready.eq(~age.any() & ", "arready.eq("),
    Mutant("axi_lite", "resp", axi_lite, "bresp.eq(Mux(self.write_known, OKAY",
           "bresp.eq(Mux(self.write_known, 0b01"),
    Mutant("axi_lite", "reset", axi, '"rresp": In(2),\n                "rvalid": In(1),',
           '"rresp": In(2),\n                "rvalid": In(1, init=1),'),
    Mutant("machine", "ports", top, "getattr(unit.axi, name)",
           'getattr(unit.axi, name.replace("awlen", "awsize"))'),
    Mutant("machine", "words", sequencer, "m.If(self._no_words | self._too_long)",
           "m.If(self._too_long)"),
    Mutant("machine", "load_beats", resolver, "with m.Case(Unit.LOAD, Unit.STORE):",
           "with m.Case(Unit.STORE):"),
    Mutant("machine", "store_beats", resolver, "with m.Case(Unit.LOAD, Unit.STORE):",
           "with m.Case(Unit.LOAD):"),
)  # fmt: skip


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Let the modules of `hw` use the changed classes and functions for a while."""
    source = inspect.getsource(mutant.module)
    if source.count(mutant.old) != 1:
        raise AssertionError(f"{mutant.file}: found no single {mutant.old!r}; change the mutant")
    space = vars(mutant.module)
    before = dict(space)
    own = {k: v for k, v in before.items() if getattr(v, "__module__", None) == space["__name__"]}
    with ExitStack() as stack:
        stack.callback(space.update, before)
        exec(compile(source.replace(mutant.old, mutant.new), mutant.file, "exec"), space)
        for user in (axi_lite, burst, load, store, sequencer, top):
            for name in own.keys() & vars(user).keys():
                if getattr(user, name) is own[name]:
                    stack.enter_context(replaced(user, name, space[name]))
        yield
