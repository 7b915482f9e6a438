"""A second opinion on the counters that energy is computed from: switching activity of the RTL.

What must agree exactly: cycles in which an enable or a handshake is 1, and sums of what the machine
adds to its counters, which are nets of their own. What cannot: changes of operands and data, which
depend on values. There the counters' estimate is `RANDOM` changes per bit and access, those of
independent random bits, and the ratio of both is the measured activity factor.

Verilator settles each cycle once, so changes within a cycle (glitches) are not in either.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

from einchip.arch import Architecture
from einchip.trace import saif
from einchip.verify.native import TOP

#: Changes per bit from one access to the next of independent bits that are as often 0 as 1.
RANDOM: Final = 0.5
#: Number that Amaranth puts behind a name that is there twice.
_TWICE = re.compile(r"\$\d+$")


@dataclass(frozen=True)
class Totals:
    """A net, or all nets of one name below some instances.

    `high` is the number of cycles in which bits were 1, all added; `value` the same with bit k
    counted 2**k times; `changes` how often bits changed.
    """

    high: float
    value: float
    changes: int


@dataclass(frozen=True)
class Row:
    """A comparison: what a counter lets expect, and what was found; `exact` ones must be equal.

    With `bits`, both are changes of that many bits at every access that `counter` counts.
    """

    component: str
    what: str
    counter: str
    expected: float
    found: float
    exact: bool = False
    bits: int = 0

    @property
    def factor(self) -> float | None:
        """The activity factor: changes per bit and access; None of what are no changes."""
        return RANDOM * self.found / self.expected if self.bits and self.expected else None

    @property
    def error_percent(self) -> float:
        """By how much the expectation is wrong: (expected - found) / found."""
        if not self.found:
            return 0.0 if not self.expected else float("inf")
        return 100 * (self.expected - self.found) / self.found


class Activity:
    """The nets of a SAIF file, by place in the machine: `array/drain`, net `drained`."""

    def __init__(self, bits: Iterable[saif.Bit]) -> None:
        high: dict[tuple[str, str], int] = defaultdict(int)
        value: dict[tuple[str, str], int] = defaultdict(int)
        changes: dict[tuple[str, str], int] = defaultdict(int)
        for bit in bits:
            key = _place(bit.instance), bit.net
            high[key] += bit.high
            value[key] += bit.high << bit.number
            changes[key] += bit.changes
        self._nets = {k: (high[k], value[k], changes[k]) for k in high}

    def total(self, place: str, net: str) -> Totals:
        """Return the sum over all nets whose place and name match these regular expressions.

        Raises saif.SaifError where there is none.
        """
        where, what = re.compile(place), re.compile(net)
        found = [t for (p, n), t in self._nets.items() if where.fullmatch(p) and what.fullmatch(n)]
        if not found:
            raise saif.SaifError(f"no net {net} in {place}")
        high, value, changes = (sum(part) for part in zip(*found, strict=True))
        return Totals(high / saif.CYCLE_TIME, value / saif.CYCLE_TIME, changes)


def _place(instance: tuple[str, ...]) -> str:
    """Return the path below the machine, without the numbers of names that are there twice."""
    inside = instance[instance.index(TOP) + 1 :] if TOP in instance else ("", *instance)
    return "/".join(_TWICE.sub("", i) for i in inside)


def measured(path: Path) -> Activity:
    """Read a SAIF file. Raises saif.SaifError."""
    return Activity(saif.read(path))


def compare(found: Activity, counters: Mapping[str, int], arch: Architecture) -> list[Row]:
    """Return all rows; `counters` are those of the run that was recorded."""
    return [*_exact(found, counters), *_estimates(found, counters, arch)]


def _exact(found: Activity, n: Mapping[str, int]) -> list[Row]:
    """Return what must be equal."""
    made = [
        Row(component, what, counter, n[counter], found.total(place, net).value, exact=True)
        for component, what, counter, place, net in (
            ("array", "slots issued", "array_issue", "array/iterations", "issue"),
            ("array", "multiply-adds wanted", "macs", "array/iterations", "macs"),
            ("drain", "results", "drained", "array/drain", "drained"),
            ("vector", "operations issued", "vector_issue", "vector/reads", "issue"),
            ("bus", "beats read", "dma_read_beats", "load", r"events\.dma_read_beats"),
            ("bus", "beats written", "dma_write_beats", "store", "accepted"),
        )
    ]
    for pad in "xy":
        both = n[f"{pad}_reads"] + n[f"{pad}_writes"]
        lanes = found.total(pad, r"hits_\d+(\$\d+)?").high
        counters = f"{pad}_reads + {pad}_writes"
        made.append(Row(pad.upper(), "lanes at banks", counters, both, lanes, exact=True))
    return made


def _estimates(found: Activity, n: Mapping[str, int], arch: Architecture) -> list[Row]:
    """Return what depends on values, or on what is not counted."""
    pe, bits = r"array/array/pe_\d+_\d+", arch.data_bits
    made = [Row("array", "PEs that multiply", "macs", n["macs"], found.total(pe, "valid").high)]
    for component, what, counter, width, place, net in (
        ("array", "operand bits changed", "macs", 2 * bits, pe, "[xy]"),
        ("array", "product bits changed", "macs", 2 * bits, pe, "product"),
        ("X", "bits read changed", "x_reads", bits, "x", r"data_\d+(\$\d+)?"),
        ("Y", "bits read changed", "y_reads", bits, "y", r"data_\d+(\$\d+)?"),
        ("vector", "result bits changed", "vector_ops", bits, "vector/queue", "arriving"),
        ("bus", "bits written changed", "dma_write_beats", 8 * arch.port_bytes, "", "m_axi__wdata"),
    ):
        changes = found.total(place, net).changes
        expected = RANDOM * width * n[counter]
        made.append(Row(component, what, counter, expected, changes, bits=width))
    return made


def table(rows: Iterable[Row]) -> Table:
    """Return the rows as a table."""
    made = Table(title="counters against switching activity")
    for title in ("component", "what", "counter"):
        made.add_column(title)
    for title in ("expected", "found", "error, %", "changes per bit\nand access"):
        made.add_column(title, justify="right")
    for r in rows:
        factor = "" if r.factor is None else f"{r.factor:.2f}"
        made.add_row(
            r.component, r.what, r.counter, f"{r.expected:,.0f}", f"{r.found:,.0f}",
            f"{r.error_percent:+.1f}", factor,
        )  # fmt: skip
    return made
