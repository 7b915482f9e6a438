"""`einchip generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from einchip.cli.common import (
    OUTPUT,
    Arch,
    Json,
    Overrides,
    architecture,
    command,
    console,
    require_writable,
    say,
    write,
    write_json,
)


@command
def generate(
    arch: Arch = "small",
    overrides: Overrides = None,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help="the Verilog file", rich_help_panel=OUTPUT
        ),
    ] = Path("einchip_top.v"),
    json_file: Json = None,
) -> None:
    """Write the accelerator as one self-contained Verilog file.

    Examples
    --------
    einchip generate --arch base -o top.v
    """
    machine = architecture(arch, overrides)
    require_writable(output)
    require_writable(json_file)
    import hashlib

    from einchip import api

    with console.status(escape(f"generating {machine.name}")):
        text = api.generate(machine)
    write(output, text)
    say(
        f"{output}: {machine.rows} x {machine.cols} PEs, {machine.lanes} lanes, "
        f"{machine.data_bits} bit, configuration {machine.config_hash:08x}"
    )
    write_json(
        json_file,
        {
            "file": str(output),
            "arch": machine.model_dump(),
            "config_hash": f"{machine.config_hash:#010x}",
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "n_lines": text.count("\n"),
        },
    )
