"""Which coefficient of a table decides a run's energy, and how far the tables' opinions differ.

For each coefficient c the run is charged again with c changed; nothing is assumed about how its
energy E depends on c:

* share: the elasticity d ln E / d ln c, by how many per cent E grows where c grows by one, from
  c * (1 - STEP) and c * (1 + STEP). All shares together are 1, since E doubles where every
  coefficient does (Euler's theorem on homogeneous functions). One is negative where a line goes on
  beyond its two points: the one that is farther away then pulls the other way.
* half, double: E with c / 2 and with 2 c, over E.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table as RichTable

from einchip.arch import Architecture
from einchip.energy import Energy, Line, energy, load, tables
from einchip.energy.table import Arithmetic, Dram, Leakage, Sram, Table
from einchip.program import Program

#: Relative change of a coefficient that an elasticity is taken from.
STEP: Final = 1e-4
FACTORS: Final = (1 - STEP, 1 + STEP, 0.5, 2.0)


class Coefficient(NamedTuple):
    """A number of a table: where it stands in the file, what outputs call it, value and unit."""

    path: tuple[str | int, ...]
    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Sensitivity:
    """What the energy of a run does when one coefficient changes; see the module."""

    coefficient: str
    value: float
    unit: str
    share: float
    half: float
    double: float

    @property
    def matters(self) -> bool:
        """Whether the energy depends on the coefficient at all."""
        return (self.share, self.half, self.double) != (0, 1, 1)


class Change(NamedTuple):
    """A coefficient, and the energy of a run with `FACTORS` times its value."""

    coefficient: Coefficient
    less: Energy
    more: Energy
    half: Energy
    double: Energy

    def sensitivity(self, spent: Energy) -> Sensitivity:
        """Return what changed against the energy with the coefficient as it is."""
        _, name, value, unit = self.coefficient
        share = _elasticity(self.less, spent, self.more)
        half, double = (e.total_pj / spent.total_pj for e in (self.half, self.double))
        return Sensitivity(name, value, unit, share, half, double)


@dataclass(frozen=True)
class Study:
    """A run's energy by a table, what decides it, and what all tables say; `print` it with rich.

    `sensitivities` has the coefficients that the energy depends on, the greatest share first;
    `decides` the one that each of its lines depends on most, with its share of the line; `opinions`
    the energy by the table and by every other one that comes with einchip.
    """

    energy: Energy
    sensitivities: tuple[Sensitivity, ...]
    decides: tuple[str, ...]
    opinions: tuple[Energy, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what is known beside the energy itself."""
        return {
            "sensitivity": [asdict(s) for s in self.sensitivities],
            "energy_by_table": [_opinion(e) for e in self.opinions],
        }

    def __rich__(self) -> RenderableType:
        grids = (self.energy.grid(self.decides), self._shares(), self._tables())
        return Group(*grids, *self.energy.notes())

    def _shares(self) -> RichTable:
        grid = RichTable("coefficient", title="What decides the sum: changes of it")
        for name in ("value", "share, %", "halved, %", "doubled, %"):
            grid.add_column(name, justify="right")
        for s in self.sensitivities:
            grid.add_row(
                s.coefficient, f"{s.value:g} {s.unit}", f"{100 * s.share:.1f}",
                f"{100 * (s.half - 1):+.1f}", f"{100 * (s.double - 1):+.1f}",
            )  # fmt: skip
        return grid

    def _tables(self) -> RichTable:
        grid = RichTable("table", "process", title="The sum by each table")
        for name in ("on the chip, nJ", "in all, nJ"):
            grid.add_column(name, justify="right")
        for e in self.opinions:
            figures = (f"{pj / 1000:,.3f}" for pj in (e.chip_pj, e.total_pj))
            grid.add_row(e.table.name, e.table.origin().process(), *figures)
        return grid


def study(
    counters: Mapping[str, int], arch: Architecture, table: Table, program: Program | None = None
) -> Study:
    """Return the energy of a run with all that is known about it.

    Parameters and errors are those of `einchip.energy.energy`.
    """
    charge = partial(_charge, counters, arch, program)
    spent = charge(table)
    numbers = coefficients(table) if spent.total_pj else []
    changes = [Change(c, *(charge(scaled(table, c, f)) for f in FACTORS)) for c in numbers]
    found = [change.sensitivity(spent) for change in changes]
    others = (load(name) for name in tables())
    return Study(
        spent,
        tuple(sorted((s for s in found if s.matters), key=lambda s: -abs(s.share))),
        tuple(_decider(k, line, changes) for k, line in enumerate(spent.lines)),
        (spent, *(charge(other) for other in others if other != table)),
    )


def _charge(
    counters: Mapping[str, int], arch: Architecture, program: Program | None, table: Table
) -> Energy:
    return energy(counters, arch, table, program)


def _decider(k: int, line: Line, changes: Sequence[Change]) -> str:
    """Return on what line k depends most, and how far where not alone; "" for a line of nothing."""
    if not line.total_pj:
        return ""
    found = [(_elasticity(c.less.lines[k], line, c.more.lines[k]), c) for c in changes]
    share, change = max(found, key=lambda pair: abs(pair[0]))
    per_cent = f"{100 * share:.0f} %"
    return change.coefficient.name + ("" if per_cent == "100 %" else f", {per_cent}")


def coefficients(table: Table) -> list[Coefficient]:
    """Return every number of a table that costs energy, in the order of the file."""
    return [c for action in table.actions() for c in _numbers(action, getattr(table, action))]


def scaled(table: Table, coefficient: Coefficient, factor: float) -> Table:
    """Return the table with one coefficient multiplied."""
    content = table.model_dump(exclude_unset=True)
    *path, last = coefficient.path
    place: Any = content
    for key in path:
        place = place[key]
    place[last] *= factor
    return Table.model_validate(content)


def _numbers(action: str, c: object) -> Iterator[Coefficient]:
    if isinstance(c, Arithmetic):
        for bits, value in c.points.items():
            yield Coefficient((action, "points", bits), f"{action} {bits} bit", value, c.unit)
    elif isinstance(c, Sram):
        for k, point in enumerate(c.points):
            for way, value in (("read", point.read), ("write", point.write)):
                name, unit = f"{action} {_size(point.bytes)} {way}", f"pJ per {point.bits} bit"
                yield Coefficient((action, "points", k, way), name, value, unit)
    elif isinstance(c, Dram):
        for way, value in (("read", c.read), ("write", c.write)):
            yield Coefficient((action, way), f"{action} {way}", value, f"pJ per {c.bits} bit")
    elif isinstance(c, Leakage):
        yield Coefficient((action, "power"), action, c.power, c.unit)
    else:
        raise TypeError(f"{action}: a coefficient without numbers")


def _size(n_bytes: int) -> str:
    for power, unit in ((20, "MiB"), (10, "KiB")):
        if n_bytes >= 1 << power:
            return f"{n_bytes / (1 << power):g} {unit}"
    return f"{n_bytes} B"


def _elasticity(less: Energy | Line, spent: Energy | Line, more: Energy | Line) -> float:
    return (more.total_pj - less.total_pj) / (2 * STEP * spent.total_pj)


def _opinion(e: Energy) -> dict[str, Any]:
    origin = e.table.origin()._asdict()
    figures = {"chip_pj": e.chip_pj, "external_pj": e.external_pj, "total_pj": e.total_pj}
    return {"table": e.table.name, **origin, **figures}
