"""`einchip generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from einchip.cli.common import (
    Arch,
    Overrides,
    architecture,
    command,
    console,
    require_writable,
    say,
    write,
)


@command
def generate(
    arch: Arch = "small",
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="the Verilog file")] = Path(
        "einchip_top.v"
    ),
) -> None:
    """Write the accelerator as one self-contained Verilog file."""
    machine = architecture(arch, overrides)
    require_writable(output)
    from einchip.hw import generate as rtl

    with console.status(escape(f"generating {machine.name}")):
        text = rtl.verilog(machine)
    write(output, text)
    say(
        f"{output}: {machine.rows} x {machine.cols} PEs, {machine.lanes} lanes, "
        f"{machine.data_bits} bit, configuration {machine.config_hash:08x}"
    )
