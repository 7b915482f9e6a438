"""`einchip compare`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from einchip.cli import complete
from einchip.cli.common import (
    FAILED,
    Arch,
    EnergyTable,
    Json,
    Overrides,
    Workloads,
    architecture,
    command,
    console,
    energy_table,
    fail,
    not_one_of,
    require_writable,
    say,
    wide,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from einchip.compare import Baseline
    from einchip.compare.table import Progress
    from einchip.workloads import Entry, Refused, Workload

#: Columns that the table needs at least, however narrow the terminal.
TABLE_WIDTH: Final = 200
#: Largest batch: an index counts to 2^16 in a loop.
MAX_BATCH: Final = 4096
Chosen = list[tuple["Workload | Refused", "Mapping[str, Any]"]]


def chosen(entries: list[Entry], names: list[str]) -> Chosen:
    """Return the matrices of these names, or whose names hold them, each with known figures.

    All without names.
    """
    matrices: Chosen = [
        (m, {k: v for k, v in e.facts.items() if k.startswith("two_mode")})
        for e in entries
        for m in e.matrices
    ]
    wanted: set[str] = set()
    for name in names:
        found = [m.name for m, _ in matrices if name.lower() in m.name.lower()]
        if not found:
            fail(
                f"WORKLOAD: found {name!r} in no name of {len(entries)} entries, expected a part "
                "of one; `einchip workloads` lists the published ones"
            )
        wanted |= {name} if name in found else set(found)
    return [(m, facts) for m, facts in matrices if not names or m.name in wanted]


def baselines(keys: list[str]) -> list[Baseline]:
    """Return the baselines of these keys, all without keys."""
    from einchip.compare import BASELINES

    known = {b.key for b in BASELINES}
    for key in keys:
        if key not in known:
            fail(not_one_of("--row", key, (b.key for b in BASELINES)))
    return [b for b in BASELINES if not keys or b.key in keys]


@contextmanager
def shown(name: str) -> Iterator[Progress]:
    """Say which row is measured: in place on a terminal, else a line each."""
    if not console.is_terminal:
        yield lambda row, k, n: say(f"{name}: {k} of {n}, {row}")
        return
    with console.status(escape(name)) as status:
        yield lambda row, k, n: status.update(escape(f"{name}: {k} of {n}, {row}"))


@command
def compare(
    workload: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="a name or part of one; else all are compared"),
    ] = None,
    file: Workloads = None,
    arch: Arch = "base",
    overrides: Overrides = None,
    batch: Annotated[
        int, typer.Option(min=1, max=MAX_BATCH, metavar="N", help="inputs contracted together")
    ] = 1,
    row: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="only this baseline; repeatable",
            autocompletion=complete.names(complete.baselines),
        ),
    ] = None,
    prices: EnergyTable = "horowitz45",
    json_file: Json = None,
) -> None:
    """Baselines of the literature on the same array: what order, folds and layouts gain.

    Each row has its own fold, whatever that of the architecture is. The exit status is 1 where a
    matrix was refused, or our own mapping does not fit.

    Examples
    --------
    einchip compare --file FILE.yaml --arch nano --row ours --row ours-alone
    """
    from einchip.compare import Comparison
    from einchip.compare import compare as measured
    from einchip.compare.report import Report, models
    from einchip.workloads import Refused, published, read

    machine, table = architecture(arch, overrides), energy_table(prices)
    require_writable(json_file)
    found: list[Comparison | Refused] = []
    rows = baselines(row or [])
    for matrix, facts in chosen(published() if file is None else read(file), workload or []):
        with shown(matrix.name) as progress:
            one = measured(matrix, machine, table, batch, rows, facts, progress)
        found.append(one)
        if isinstance(one, Comparison):
            wide(TABLE_WIDTH).print(Report(one))
    for line in models(rows):
        say(line)
    write_json(json_file, [one.to_json() for one in found])
    wrong = [one.message for one in found if isinstance(one, Refused)]
    wrong += [
        row.error
        for one in found
        if isinstance(one, Comparison)
        for row in one.rows
        if row.key == "ours" and row.error
    ]
    if wrong:
        fail(f"{len(wrong)} of {len(found)} refused, the first: {wrong[0]}", FAILED)
