"""`einchip build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from einchip.cli.common import (
    Data,
    Overrides,
    architecture,
    command,
    console,
    fail,
    say,
)

if TYPE_CHECKING:
    from einchip.arch import Architecture
    from einchip.cli.device import Job
    from einchip.fpga.targets import Built, Target


def jobs_of(model: Path, machine: Architecture, target: Target, data: Path | None) -> list[Job]:
    """Compile models, and fail where one does not fit the board's memory."""
    from einchip.cli import device
    from einchip.cli.inputs import models_of
    from einchip.cli.run import sequences_for
    from einchip.host import Layout
    from einchip.models import load_model

    source = sequences_for(model, data)
    jobs = [device.job_of_model(load_model(p), machine, source, 1) for p in models_of(model)]
    for job in jobs:
        need = Layout.of(job.folder).size
        if need > target.memory_bytes:
            fail(
                f"{job.folder.manifest.model}: memory: found {need:,} bytes needed, expected at "
                f"most the {target.memory_bytes:,} of {target.name}; compress it more, or choose "
                "another board"
            )
    return jobs


def summary(built: Built, title: str) -> Table:
    """Return a report as a table."""
    table = Table("", title, title=None)
    table.add_row("machine", f"{built.arch}, configuration {built.config_hash}")
    table.add_row("clock", f"{built.clock_mhz:g} MHz, reached {built.reached_mhz:g} MHz")
    for kind, (used, there) in built.resources.items():
        table.add_row(kind, f"{used:,} of {there:,} ({used / there:.0%})")
    ends = " to ".join(dict.fromkeys((built.path[0], built.path[-1]))) if built.path else ""
    table.add_row("critical path", escape(ends))
    for what, seconds in built.seconds.items():
        table.add_row(what, f"{seconds:g} s")
    return table


@command
def build(
    target: Annotated[str, typer.Option("--target", "-t", help="the board, such as ulx3s")],
    output: Annotated[Path, typer.Option("-o", "--output", help="the folder")],
    model: Annotated[
        Path | None,
        typer.Argument(help="a model, or a folder of them: checked to fit the board's memory"),
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="another machine than the board's own: preset or file")
    ] = None,
    overrides: Overrides = None,
    data: Data = None,
) -> None:
    """Make the bitstream of a board, with its report: `run --device` then finds it there."""
    from einchip.fpga import targets

    board = targets.find(target)
    machine = architecture(arch or board.arch, overrides)
    if output.exists() and not output.is_dir():
        fail(f"{output}: found a file, expected a folder; choose another name")
    if model is not None:
        jobs_of(model, machine, board, data)
    with console.status("") as status:
        built = targets.build(
            board, machine, output, progress=lambda what: status.update(escape(what))
        )
    console.print(summary(built, board.title))
    say(f"{output / board.family.bitstream}: einchip run MODEL --device serial:PORT@{board.baud}")
