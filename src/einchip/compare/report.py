"""A comparison for the terminal: one table, its gains, and what the rows model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from einchip.compare.baselines import BASELINES, GAINS, Baseline
from einchip.compare.table import Comparison, Row

TITLES = (
    "state", "order", "fold", "layouts", "cold", "steady", "copies", "MACs", "words", "energy, nJ",
)  # fmt: skip
#: Of these so many are texts, the others numbers.
TEXTS = 4


def number(value: float | None) -> str:
    """Return a number with separators, or a dash."""
    return "–" if value is None else f"{value:,.0f}"


def cells(row: Row) -> list[str]:
    """Return the figures that a table says of a row."""
    spent = None if row.energy_pj is None else row.energy_pj / 1000
    figures = (row.cycles, row.steady_cycles, row.copy_cycles, row.macs, row.words, spent)
    return [number(f) for f in figures]


def what(baseline: Baseline) -> list[str]:
    """Return what a table says of a baseline, behind its title."""
    return [baseline.state, baseline.order, baseline.fold, baseline.layouts]


def remark(row: Row) -> str:
    """Return what has to be said about a row, or nothing."""
    if row.error:
        return row.error
    return "does not fit: larger scratchpads" if row.roomy else ""


@dataclass(frozen=True)
class Report:
    """A comparison; `print` it with rich."""

    found: Comparison

    def __rich__(self) -> RenderableType:
        c = self.found
        batch = f", batch {c.batch}" if c.batch > 1 else ""
        title = f"{c.name}: {c.format}, {c.n_inputs:,} x {c.n_outputs:,}{batch}"
        grid = Table(title=Text(f"{title}, bound {c.bound_cycles:,} cycles"))
        grid.add_column("row", no_wrap=True)
        for k, name in enumerate(TITLES):
            grid.add_column(name, justify="right" if k >= TEXTS else "left")
        remarks = []
        for row in c.rows:
            baseline = next(b for b in BASELINES if b.key == row.key)
            grid.add_row(baseline.title, *what(baseline), *cells(row))
            if remark(row):
                remarks.append(Text(f"{baseline.title}: {remark(row)}"))
        return Group(grid, *remarks, *map(Text, gains(c)), Text(""))


def gains(found: Comparison) -> Iterator[str]:
    """Yield the gains of a comparison, one line for each thing that differs."""
    for what in dict.fromkeys(g.what for g in GAINS):
        ways = [
            f"{found.gains[g.key]:.2f} x over {g.reads}"
            for g in GAINS
            if g.what == what and g.key in found.gains
        ]
        if ways:
            yield f"by {what}: {', '.join(ways)}"


def models(baselines: Iterable[Baseline]) -> Iterator[str]:
    """Yield what every row models, and from where."""
    for b in baselines:
        yield f"{b.title}: {b.models}" + (f" [{b.source}]" if b.source else "")
