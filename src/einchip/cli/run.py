"""`einchip run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from einchip.cli import complete
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

if TYPE_CHECKING:
    from einchip.arch import Architecture
    from einchip.cli.device import Job

#: Options, by parameter, that a compiled folder leaves no choice of.
COMPILED_IN: Final = {"arch": "--arch", "overrides": "--set", "data": "--data"}


def sequences_for(model: Path, data: Path | None) -> Path:
    """Return the file of sequences of a model or a folder of models."""
    source = data_of(model, data)
    if source is None:
        fail(f"{model}: found no .npz beside it, expected sequences; name them by --data")
    return source


def refuse_given(context: typer.Context, source: Path) -> None:
    """Fail where an option is given that a compiled folder leaves no choice of."""
    for parameter, option in COMPILED_IN.items():
        found = context.get_parameter_source(parameter)
        if found is not None and found.name != "DEFAULT":
            fail(
                f"{option}: found it beside {source}, which is compiled and has its own; leave it "
                "out, or name the model"
            )


def device_jobs(
    context: typer.Context,
    model: Path,
    machine: Architecture,
    data: Path | None,
    n_sequences: int | None,
) -> list[Job]:
    """Return what a device is to do: a compiled folder, or models that are compiled for it."""
    from einchip.cli import device as on_device
    from einchip.compiler.folder import MANIFEST
    from einchip.models import load_model

    if (model / MANIFEST).exists():
        refuse_given(context, model)
        return [on_device.job_of_folder(model)]
    paths, source = models_of(model), sequences_for(model, data)
    return [on_device.job_of_model(load_model(p), machine, source, n_sequences) for p in paths]


@command
def run(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="a model, a folder of them with data, or (device) a compiled one",
        ),
    ],
    arch: Arch = "small",
    overrides: Overrides = None,
    data: Data = None,
    table: EnergyTable = "horowitz45",
    n_sequences: Annotated[
        int | None,
        typer.Option("--sequences", min=1, metavar="N", help="only the first of the test set"),
    ] = None,
    json_file: Json = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="simulator, rtl, serial:PORT(@BAUD), spi:NODE(@HZ), or pynq:FILE",
            autocompletion=complete.names(complete.devices),
        ),
    ] = None,
) -> None:
    """Accuracy, cycles and energy of models on real sequences.

    With --device a machine runs them; every word is compared with the reference.

    Examples
    --------
    einchip run examples/japanese_vowels --arch small --json figures.json
    einchip run build/mpo --device simulator
    """
    from einchip.cli import device as on_device
    from einchip.compiler import report
    from einchip.models import Sequences, load_model

    machine, prices = architecture(arch, overrides), energy_table(table)
    require_writable(json_file)
    if device is not None:
        on_device.check_address(device)
        jobs = device_jobs(context, model, machine, data, n_sequences)
        on_device.run_jobs(device, jobs, prices, n_sequences, json_file)
        return
    models = [load_model(path) for path in models_of(model)]
    source = sequences_for(model, data)
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
