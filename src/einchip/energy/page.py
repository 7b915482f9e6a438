"""Prints the generated sections of docs/energy.md into it: `python -m einchip.energy.page FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from einchip.energy import load, tables
from einchip.energy.actions import BY_COUNTERS, CELLS, CHARGED, NOT_CHARGED, NOT_MODELLED
from einchip.energy.sensitivity import coefficients
from einchip.energy.table import Arithmetic, Sram, Table
from einchip.files import write_text


def sections() -> dict[str, str]:
    """Return the text below each heading that the code decides."""
    return {
        "Tables": "\n".join(_table(load(name)) for name in tables()),
        "Counters and instructions": "\n".join(_actions()) + "\n",
        "Not modelled": f"{NOT_MODELLED[0].upper()}{NOT_MODELLED[1:]}; leakage where a table has "
        "none.\n",
    }


def updated(page: str) -> str:
    """Return a page with the generated sections as they are now. Raises ValueError without one."""
    for heading, text in sections().items():
        before, found, after = page.partition(f"\n## {heading}\n")
        if not found:
            raise ValueError(f"no section {heading}")
        _, more, rest = after.partition("\n## ")
        page = f"{before}{found}\n{text}{more}{rest}"
    return page


def _table(table: Table) -> str:
    rows = [f"### `{table.name}`: {table.origin().process()}", "", f"{table.source}.", ""]
    rows += ["| coefficient | value | process |", "|---|---|---|"]
    for c in coefficients(table):
        process = table.origin(str(c.path[0])).process()
        rows.append(f"| {c.name} | {c.value:g} {c.unit} | {process} |")
    rules = [
        f"{action}: {c.rule if isinstance(c, Arithmetic) else f'larger, {c.larger}'}"
        for action, c in table.actions().items()
        if isinstance(c, Arithmetic | Sram)
    ]
    notes = (*table.notes(), f"between and beyond: {'; '.join(rules)}")
    return "\n".join((*rows, "", *(f"* {note}" for note in notes))) + "\n"


def _actions() -> Iterator[str]:
    yield from ("| counter | charged as |", "|---|---|")
    yield from (f"| `{name}` | {what} |" for name, what in CHARGED.items())
    yield from ("", "| counters | not charged, because each is |", "|---|---|")
    yield from (f"| {names} | {why} |" for why, names in _by_text(NOT_CHARGED).items())
    yield from ("", "| instructions | charged, beside their words |", "|---|---|")
    for kind, n in CELLS.items():
        what = f"multiplications {n.multiplications}, additions {n.additions}"
        yield f"| `{kind.__name__}` | by counters; for an element {what} |"
    why = _by_text({kind.__name__: what for kind, what in BY_COUNTERS.items()})
    yield from (f"| {names} | {what} |" for what, names in why.items())


def _by_text(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the names that have a text in common, by it."""
    return {
        text: ", ".join(f"`{name}`" for name, other in texts.items() if other == text)
        for text in dict.fromkeys(texts.values())
    }


def main() -> None:
    """Update the page that is named."""
    path = Path(sys.argv[1])
    write_text(path, updated(path.read_text()))


if __name__ == "__main__":
    main()
