"""`einchip bench`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from einchip.cli.common import (
    FAILED,
    Arch,
    Overrides,
    architecture,
    command,
    console,
    fail,
    named_bar,
    require_writable,
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
    Console(width=max(console.width, TABLE_WIDTH)).print(grid)


@command
def bench(
    file: Annotated[
        Path | None, typer.Option(help="a .yaml list of workloads in place of the published ones")
    ] = None,
    arch: Arch = "base",
    fold: Annotated[
        str | None, typer.Option(help="ip, op, hybrid or flex, in place of the architecture's")
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=MAX_BATCH, help="inputs side by side, 1 if not said; may be repeated"
        ),
    ] = None,
    port: Annotated[
        list[int] | None,
        typer.Option(help="bytes a cycle at the port, in place of the architecture's; repeatable"),
    ] = None,
    overrides: Overrides = None,
    cold: Annotated[bool, typer.Option(help="measure one batch alone, too")] = True,
    layers: Annotated[
        bool, typer.Option("--layers", help="measure whole recurrent layers, too, per time step")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=64, help="processes [default: one a core]")
    ] = None,
    json_file: Annotated[
        Path, typer.Option("--json", help="where to write the figures; a table comes beside it")
    ] = RESULTS,
) -> None:
    """Cycles of compressed matrices in a stream against their roofline, by cause.

    Writes the figures as JSON and a table in Markdown beside them. The exit status is 1 where an
    entry was refused.
    """
    from einchip.workloads import published, read
    from einchip.workloads.bench import StreamFigures, Summary, with_port
    from einchip.workloads.bench_page import page
    from einchip.workloads.catalogue import Refused

    machine = architecture(arch, [*(overrides or []), *([f"fold={fold}"] if fold else [])])
    table_file = json_file.with_suffix(".md")
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
        write(table_file, page(results))
    *first, last = refused.values() if refused else (None,)
    for row in first:
        typer.echo(f"{row.name}: {row.error}", err=True)
    if last:
        fail(f"{last.name}: {last.error}", FAILED)
