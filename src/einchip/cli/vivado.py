"""`einchip vivado`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from einchip.cli import complete
from einchip.cli.common import (
    BoardArch,
    Json,
    OutputFolder,
    Overrides,
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
    from einchip.fpga.vivado import Board


def figures(machine: Architecture, board: Board, mhz: float) -> dict[str, Any]:
    """Return what a project asks of a board, as plain data: (needed, there) of each kind."""
    from einchip.fpga.vivado import boards

    return {
        "target": board.name,
        "part": board.part,
        "arch": machine.name,
        "config_hash": f"{machine.config_hash:#010x}",
        "clock_mhz": mhz,
        "dsp": (boards.multipliers(machine), board.dsps),
        "block_ram_bits": (boards.memory_bits(machine), boards.memory_room(board)),
    }


def summary(found: dict[str, Any], title: str) -> Table:
    """Return these figures as a table."""
    table = Table("", title, title=None)
    table.add_row("machine", escape(f"{found['arch']}, configuration {found['config_hash']}"))
    table.add_row("part", found["part"])
    table.add_row("clock", f"{found['clock_mhz']:g} MHz asked for; what is reached, Vivado says")
    for name, kind, unit in (("DSP blocks", "dsp", 1), ("block RAM, Kib", "block_ram_bits", 1024)):
        needed, there = (amount // unit for amount in found[kind])
        table.add_row(name, f"{needed:,} of {there:,}")
    return table


def require_folder(path: Path) -> None:
    """Fail early where files could not be put into a folder, or it not be made."""
    whole = path.absolute()
    there = next(p for p in (whole, *whole.parents) if p.exists())
    if not there.is_dir():
        where = path if there == whole else there
        fail(f"{where}: found a file, expected a folder; choose another name")
    if not os.access(there, os.W_OK | os.X_OK):
        fail(f"{path}: cannot write: no permission in {there}; choose another folder")


def board_names() -> Iterable[str]:
    """Return the boards that --target knows."""
    from einchip.fpga.vivado import BOARDS

    return BOARDS


@command
def vivado(
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            metavar="BOARD",
            help="such as pynq-z2",
            autocompletion=complete.names(board_names),
        ),
    ],
    output: OutputFolder,
    arch: BoardArch = None,
    overrides: Overrides = None,
    frequency_mhz: Annotated[
        float | None, typer.Option(metavar="MHZ", help="the clock, for the board's own")
    ] = None,
    json_file: Json = None,
) -> None:
    """Write a project for Vivado: the machine as an IP, a block design, the steps to a bitstream.

    Vivado itself is not run. Files of the same names are replaced, others stay.

    Examples
    --------
    einchip vivado --target pynq-z2 -o build/pynq
    einchip vivado --target kv260 --arch nano --frequency-mhz 75 -o build/kv260
    """
    from einchip.fpga import vivado as projects

    board = projects.find(target)
    machine = architecture(arch or board.arch, overrides)
    mhz = board.default_mhz if frequency_mhz is None else frequency_mhz
    require_folder(output)
    require_writable(json_file)
    try:
        with console.status(escape(f"writing the RTL of {machine.name}")):
            files = projects.write_project(machine, board, output, frequency_mhz=mhz)
    except OSError as error:
        fail(f"{error.filename or output}: cannot write: {error.strerror}")
    found = figures(machine, board, mhz)
    console.print(summary(found, board.title))
    write_json(json_file, {**found, "files": [str(path.relative_to(output)) for path in files]})
    say(f"{output}: in it run 'vivado -mode batch -source build.tcl'")
