"""`einchip workloads`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from einchip.cli.common import (
    FAILED,
    Arch,
    EnergyTable,
    Json,
    NoMerge,
    Overrides,
    Workloads,
    architecture,
    command,
    energy_table,
    fail,
    named_bar,
    require_writable,
    say,
    wide,
    write_json,
)

if TYPE_CHECKING:
    from einchip.arch import Architecture
    from einchip.energy import Table
    from einchip.workloads import Entry, Figures, Refused


#: Columns that the table needs at least, however narrow the terminal.
TABLE_WIDTH: Final = 150


def listing(entries: list[Entry]) -> None:
    """Print the names of entries, each with where it is from."""
    from einchip.workloads import Refused

    for entry in entries:
        weights = f", {entry.facts['weights']:,} weights" if "weights" in entry.facts else ""
        first = entry.matrices[0]
        form = "" if isinstance(first, Refused) else f": {first.spec.format}{weights}"
        say(f"{entry.name}{form}")
        say(f"    {entry.facts.get('citation', 'no citation')}")


def measured(
    entries: list[Entry], arch: Architecture, prices: Table, merge: bool
) -> list[Figures | Refused]:
    """Measure all matrices, with a bar on a terminal."""
    from einchip.workloads import measure

    matrices = [m for entry in entries for m in entry.matrices]
    rows = []
    with named_bar() as bar:
        task = bar.add_task("", total=len(matrices))
        for matrix in matrices:
            bar.update(task, description=matrix.name)
            rows.append(measure(matrix, arch, prices, merge))
            bar.advance(task)
    return rows


@command
def workloads(
    table: Annotated[
        bool, typer.Option("--table", help="map and simulate each: its figures")
    ] = False,
    file: Workloads = None,
    arch: Arch = "base",
    overrides: Overrides = None,
    prices: EnergyTable = "horowitz45",
    no_merge: NoMerge = False,
    json_file: Json = None,
) -> None:
    """Published compressed matrices: their sources; with --table, --file or --json their figures.

    The exit status is 1 where an entry was refused.

    Examples
    --------
    einchip workloads
    einchip workloads --table
    einchip workloads --file FILE.yaml --arch nano --json figures.json
    """
    from einchip.workloads import Figures, Refused, Table, published, read

    machine, chosen = architecture(arch, overrides), energy_table(prices)
    require_writable(json_file)
    entries = published() if file is None else read(file)
    if not table and file is None and json_file is None:
        listing(entries)
        return
    rows = measured(entries, machine, chosen, not no_merge)
    if any(isinstance(row, Figures) for row in rows):
        shown = Table(rows, machine, chosen.name)
        wide(TABLE_WIDTH).print(shown)
    write_json(json_file, [row.to_json() for row in rows])
    refused = [row for row in rows if isinstance(row, Refused)]
    for row in refused[:-1]:
        fail_line(row)
    if refused:
        fail(refused[-1].message, FAILED)


def fail_line(row: Refused) -> None:
    """Say why an entry was refused."""
    typer.echo(row.message, err=True)
