"""`einchip bench`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from einchip.cli import complete
from einchip.cli.common import (
    FAILED,
    MACHINE,
    OUTPUT,
    STDOUT,
    Arch,
    Overrides,
    Workloads,
    architecture,
    command,
    fail,
    figures_alone,
    named_bar,
    require_writable,
    wide,
    write,
    write_json,
)

if TYPE_CHECKING:
    from einchip.arch import Architecture
    from einchip.workloads import Entry, Workload
    from einchip.workloads.bench import StreamFigures
    from einchip.workloads.catalogue import Refused
    from einchip.workloads.layers import Layer, LayerFigures

#: Columns that the table needs at least, however narrow the terminal.
TABLE_WIDTH: Final = 190
MAX_BATCH: Final = 1024
RESULTS: Final = Path("bench/results.json")


def measured(
    entries: list[Entry], arch: Architecture, batch: int, cold: bool, whole: bool, jobs: int
) -> list[StreamFigures | LayerFigures | Refused]:
    """Measure all matrices, and, if `whole`, the layers made of them, with a bar on a terminal."""
    from einchip.workloads.bench import Case, measure_all
    from einchip.workloads.layers import layers

    found: list[Workload | Layer | Refused] = [m for entry in entries for m in entry.matrices]
    found += layers(entries, batch) if whole else []
    cases = [Case(m, arch, batch, cold) for m in found]
    rows = []
    with named_bar() as bar:
        task = bar.add_task("", total=len(cases))
        for row in measure_all(cases, jobs):
            bar.update(task, description=f"batch {batch}: {row.name}", advance=1)
            rows.append(row)
    return rows


def make_folder(path: Path) -> None:
    """Make the folder that the results go to, if it is not there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{path}: cannot make the folder: {error.strerror}")


def show(run: dict[str, Any]) -> None:
    """Print the table of one run."""
    from einchip.workloads.bench_page import TITLES, numbers, summary, title

    grid = Table(title=Text(title(run)))
    grid.add_column("workload", no_wrap=True)
    for name in TITLES:
        grid.add_column(name, justify="right", no_wrap=True)
    for row in run["rows"]:
        if "error" not in row:
            grid.add_row(Text(row["name"]), *numbers(row))
    grid.caption = summary(run["summary"])
    wide(TABLE_WIDTH).print(grid)


@command
def bench(
    file: Workloads = None,
    arch: Arch = "base",
    fold: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="ip, op, hybrid or flex",
            autocompletion=complete.names(complete.folds),
            rich_help_panel=MACHINE,
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, max=MAX_BATCH, metavar="N", help="inputs side by side; repeatable"),
    ] = None,
    port: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="bytes a cycle; repeatable", rich_help_panel=MACHINE),
    ] = None,
    overrides: Overrides = None,
    cold: Annotated[bool, typer.Option(help="one batch alone, too")] = True,
    layers: Annotated[
        bool, typer.Option("--layers", help="whole recurrent layers, too, a time step")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="N", help="processes, else one a core")
    ] = None,
    json_file: Annotated[
        Path,
        typer.Option(
            "--json",
            metavar="FILE",
            help="figures, a table beside them; - for standard output",
            callback=figures_alone,
            rich_help_panel=OUTPUT,
        ),
    ] = RESULTS,
) -> None:
    """Cycles of compressed matrices against their roofline: in a stream, by cause.

    Writes the figures as JSON and a table in Markdown beside them. The exit status is 1 where an
    entry was refused.

    Examples
    --------
    einchip bench --file FILE.yaml --arch nano --json results.json
    """
    from einchip.workloads import published, read
    from einchip.workloads.bench import StreamFigures, Summary, with_port
    from einchip.workloads.bench_page import page
    from einchip.workloads.catalogue import Refused

    machine = architecture(arch, [*(overrides or []), *([f"fold={fold}"] if fold else [])])
    table_file = None if json_file == STDOUT else json_file.with_suffix(".md")
    machines = [with_port(machine, width) for width in port or [machine.port_bytes]]
    make_folder(json_file.parent)
    require_writable(json_file)
    require_writable(table_file)
    entries = published() if file is None else read(file)
    n_matrices = sum(len(entry.matrices) for entry in entries)
    processes = jobs or os.cpu_count() or 1
    runs: list[dict[str, Any]] = []
    refused: dict[str, Refused] = {}
    for n in batch or [1]:
        for each in machines:
            rows = measured(entries, each, n, cold, layers, processes)
            found = [r for r in rows if isinstance(r, StreamFigures)]
            refused |= {r.name: r for r in rows if isinstance(r, Refused)}
            run: dict[str, Any] = {
                "arch": each.name, "fold": each.fold, "batch": n, "port_bytes": each.port_bytes,
                "rows": [r.to_json() for r in rows[:n_matrices]],
                "layers": [r.to_json() for r in rows[n_matrices:]],
            }  # fmt: skip
            if found:
                run["summary"] = vars(Summary.of([r["ratio"] for r in run["rows"] if "ratio" in r]))
                show(run)
                runs.append(run)
    results = {"architecture": machine.model_dump(), "runs": runs}
    if runs:
        write_json(json_file, results)
        if table_file is not None:
            write(table_file, page(results))
    *first, last = refused.values() if refused else (None,)
    for row in first:
        typer.echo(row.message, err=True)
    if last:
        fail(last.message, FAILED)
