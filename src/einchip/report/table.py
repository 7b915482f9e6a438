"""A table, once for HTML and CSV: columns with units, rows of plain values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from einchip.report.data import percent

Value = str | int | float | None
#: How a column's values are shown: text, long text, code; whole numbers; per cent; or digits.
Kind = str
TEXT, LONG, CODE, WHOLE, SHARE = "text", "long", "code", "whole", "share"
_WORDS: Final = (TEXT, LONG, CODE)


@dataclass(frozen=True)
class Column:
    """A column: its name in CSV, its title in HTML with the unit, how its values are shown.

    `kind` is one of the above, or the digits behind the point ("2").
    """

    name: str
    title: str
    kind: Kind = TEXT

    def show(self, value: Value) -> str:
        """Return a value as text for people."""
        if value is None:
            return "–"
        if isinstance(value, str) or self.kind in _WORDS:
            return str(value)
        if self.kind == SHARE:
            return percent(value)
        return f"{value:,.{0 if self.kind == WHOLE else int(self.kind)}f}"

    @property
    def is_number(self) -> bool:
        """Whether values stand to the right."""
        return self.kind not in _WORDS


@dataclass(frozen=True)
class Table:
    """A table; `name` is that of its CSV file, `note` says what it shows."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    note: str = ""

    def csv(self) -> str:
        """Return the table as CSV, a line of column names first; what is not there is empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([c.name for c in self.columns])
        writer.writerows(["" if v is None else v for v in row] for row in self.rows)
        return text.getvalue()

    def shown(self) -> list[list[str]]:
        """Return the rows as text for people."""
        return [[c.show(v) for c, v in zip(self.columns, row, strict=True)] for row in self.rows]


def table_of(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Iterator[tuple[Value, ...]],
    note: str = "",
) -> Table:
    """Return a table of rows as they come."""
    return Table(name, title, tuple(columns), tuple(rows), note)
