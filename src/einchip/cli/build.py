"""`einchip build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from einchip.cli.common import (
    BoardArch,
    Data,
    Json,
    OutputFolder,
    Overrides,
    TargetName,
    architecture,
    command,
    console,
    fail,
    require_writable,
    say,
    write_json,
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
    table.add_row("link", built.link)
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
    target: TargetName,
    output: OutputFolder,
    model: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL", help="one, or a folder of them: must fit the memory"),
    ] = None,
    arch: BoardArch = None,
    link: Annotated[
        str, typer.Option(metavar="NAME", help="how the host reaches it: uart or spi")
    ] = "uart",
    overrides: Overrides = None,
    data: Data = None,
    json_file: Json = None,
) -> None:
    """Make the bitstream of a board, with its report.

    `einchip run --device` then finds it there.

    Examples
    --------
    einchip build --target ulx3s -o build/ulx3s
    """
    from einchip.fpga import targets

    board = targets.find(target).with_link(link)
    machine = architecture(arch or board.arch, overrides)
    require_writable(json_file)
    if output.exists() and not output.is_dir():
        fail(f"{output}: found a file, expected a folder; choose another name")
    if model is not None:
        jobs_of(model, machine, board, data)
    with console.status("") as status:
        built = targets.build(
            board, machine, output, progress=lambda what: status.update(escape(what))
        )
    console.print(summary(built, board.title))
    write_json(json_file, built.to_json())
    address = board.links[link].address()
    say(f"{output / board.family.bitstream}: einchip run MODEL --device {address}")
