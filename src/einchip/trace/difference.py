"""Where two traces differ first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from einchip.program import TOKENS
from einchip.registers import COUNTERS
from einchip.trace.model import UNITS, Decoded, Executed, Phase, Trace

_Item = Decoded | Executed


@dataclass(frozen=True)
class Difference:
    """What two traces say of one thing: the first cycle, the unit, the field, the value of each."""

    cycle: int
    unit: str
    field: str
    values: tuple[object, object]

    def text(self, names: tuple[str, str] = ("simulator", "RTL")) -> str:
        """Return one line."""
        a, b = self.values
        where = f"cycle {self.cycle}: {self.unit}: {self.field}"
        return f"{where}: {a} in {names[0]}, {b} in {names[1]}"


def first_difference(a: Trace, b: Trace) -> Difference | None:
    """Return the difference of the earliest cycle, None where the traces are equal.

    Of several in one cycle: the sequencer's phase, then counters in the order of
    `registers.COUNTERS`, tokens, instructions, the length of the run.
    """
    return min(_differences(a, b), key=lambda d: d.cycle, default=None)


def _differences(a: Trace, b: Trace) -> Iterator[Difference]:
    """Yield the first difference of each field."""
    n = min(a.cycles, b.cycles)
    for unit, field, mine, theirs in _columns(a, b):
        differ = np.flatnonzero(mine[:n] != theirs[:n])
        if differ.size:
            t = int(differ[0])
            values = int(mine[t]), int(theirs[t])
            if field == "phase":
                yield Difference(t, unit, field, (Phase(values[0]).name, Phase(values[1]).name))
            else:
                yield Difference(t, unit, field, values)
    yield from _of_items(a.decoded, b.decoded)
    yield from _of_items(a.executed, b.executed)
    if a.cycles != b.cycles:
        yield Difference(n, "machine", "cycles", (a.cycles, b.cycles))


def _columns(a: Trace, b: Trace) -> Iterator[tuple[str, str, Any, Any]]:
    """Yield unit, field and both columns of everything that has a value in each cycle."""
    yield "sequencer", "phase", a.phases, b.phases
    for c in COUNTERS:
        yield _unit_of(c.name), c.name, a.rises[c.name], b.rises[c.name]
    for k in range(TOKENS):
        yield "tokens", f"token {k}", a.tokens[:, k], b.tokens[:, k]


def _unit_of(counter: str) -> str:
    """Return whose counter it is."""
    unit = counter.partition("_")[0]
    return unit if unit in (*UNITS, "sequencer") else "machine"


def _of_items(a: Sequence[_Item], b: Sequence[_Item]) -> Iterator[Difference]:
    """Yield the first difference of two lists of instructions, and of their lengths."""
    for k, (mine, theirs) in enumerate(zip(a, b, strict=False)):
        if mine != theirs:
            yield from _of_item(k, mine, theirs)
            return
    if len(a) != len(b):
        more = (a if len(a) > len(b) else b)[min(len(a), len(b))]
        yield Difference(_cycle(more), _unit(more), f"{_what(more)}s", (len(a), len(b)))


def _of_item(number: int, a: _Item, b: _Item) -> Iterator[Difference]:
    """Yield the first field in which two instructions of one number differ."""
    for f in fields(a):
        values = getattr(a, f.name), getattr(b, f.name)
        if values[0] != values[1]:
            at = min(_cycle(a), _cycle(b))
            yield Difference(at, _unit(a), f"{_what(a)} {number}: {f.name}", values)
            return


def _cycle(item: _Item) -> int:
    return item.cycle if isinstance(item, Decoded) else item.launch


def _unit(item: _Item) -> str:
    return "sequencer" if isinstance(item, Decoded) else item.unit


def _what(item: _Item) -> str:
    return "decoded instruction" if isinstance(item, Decoded) else "executed instruction"
