"""`einchip compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from einchip.cli.common import (
    FAILED,
    Arch,
    EnergyTable,
    Json,
    Overrides,
    architecture,
    command,
    console,
    energy_table,
    fail,
    require_writable,
    say,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from einchip.workloads import Entry, Refused, Workload

#: Columns that the table needs at least, however narrow the terminal.
TABLE_WIDTH: Final = 170
#: Largest batch: an index counts to 2^16 in a loop.
MAX_BATCH: Final = 4096
Chosen = list[tuple["Workload | Refused", "Mapping[str, Any]"]]


def chosen(entries: list[Entry], name: str) -> Chosen:
    """Return the matrices whose name holds `name`, each with its entry's known figures."""
    found: Chosen = [
        (m, {k: v for k, v in e.facts.items() if k.startswith("two_mode")})
        for e in entries
        for m in e.matrices
        if name.lower() in m.name.lower()
    ]
    if not found:
        fail(
            f"WORKLOAD: found {name!r} in no name of {len(entries)} entries, expected a part of "
            "one; `einchip workloads` lists the published ones"
        )
    return found


@command
def compare(
    workload: Annotated[
        str, typer.Argument(help="a name or a part of it; without it all are compared")
    ] = "",
    file: Annotated[
        Path | None, typer.Option(help="a .yaml list of workloads in place of the published ones")
    ] = None,
    arch: Arch = "base",
    overrides: Overrides = None,
    batch: Annotated[
        int, typer.Option(min=1, max=MAX_BATCH, help="inputs that are contracted together")
    ] = 1,
    prices: EnergyTable = "horowitz45",
    json_file: Json = None,
) -> None:
    """Baselines of the literature on the same array, and what order, folds and layouts gain.

    The exit status is 1 where a matrix was refused, or our own mapping does not fit.
    """
    from einchip.compare import Comparison
    from einchip.compare import compare as measured
    from einchip.compare.report import Report, models
    from einchip.workloads import Refused, published, read

    machine, table = architecture(arch, overrides), energy_table(prices)
    require_writable(json_file)
    found: list[Comparison | Refused] = []
    wide = Console(width=max(console.width, TABLE_WIDTH))
    for matrix, facts in chosen(published() if file is None else read(file), workload):
        with console.status(matrix.name):
            one = measured(matrix, machine, table, batch, facts=facts)
        found.append(one)
        if isinstance(one, Comparison):
            wide.print(Report(one))
    for line in models():
        say(line)
    write_json(json_file, [one.to_json() for one in found])
    wrong = [one.error for one in found if isinstance(one, Refused)]
    wrong += [
        row.error
        for one in found
        if isinstance(one, Comparison)
        for row in one.rows
        if row.key == "ours" and row.error
    ]
    if wrong:
        fail(f"{len(wrong)} of {len(found)} refused, the first: {wrong[0]}", FAILED)
