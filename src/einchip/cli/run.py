"""`einchip run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from einchip.cli.common import (
    Arch,
    Data,
    EnergyTable,
    Json,
    Overrides,
    architecture,
    command,
    console,
    energy_table,
    fail,
    require_writable,
    write_json,
)
from einchip.cli.inputs import data_of, load_splits, models_of


@command
def run(
    model: Annotated[Path, typer.Argument(help="a model file, or a folder of them with its data")],
    arch: Arch = "small",
    overrides: Overrides = None,
    data: Data = None,
    table: EnergyTable = "horowitz45",
    n_sequences: Annotated[
        int | None, typer.Option("--sequences", min=1, help="only the first N of the test set")
    ] = None,
    json_file: Json = None,
) -> None:
    """Accuracy, cycles, bound and energy of trained models on real sequences."""
    from einchip.compiler import report
    from einchip.models import Sequences, load_model

    machine, prices = architecture(arch, overrides), energy_table(table)
    require_writable(json_file)
    models = [load_model(path) for path in models_of(model)]
    source = data_of(model, data)
    if source is None:
        fail(f"{model}: found no .npz beside it, expected sequences; name them by --data")
    labelled = [load_splits(source, m) for m in models]
    rows = []
    columns = (TextColumn("{task.description:28}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        for m, (train, everything) in zip(models, labelled, strict=True):
            test = Sequences(everything.sequences[:n_sequences], everything.labels[:n_sequences])
            widths = {*report.WIDTHS, machine.data_bits}
            task = bar.add_task(m.spec.name, total=len(test) * len(widths))

            def step(what: str, task: Any = task) -> None:
                bar.update(task, advance=1, description=what)

            rows.append(report.figures(m, machine, train, test, prices, step))
            bar.remove_task(task)
    console.print(report.comparison(rows, machine))
    content = {"arch": machine.model_dump(), "models": [r.to_json() for r in rows]}
    write_json(json_file, content)
