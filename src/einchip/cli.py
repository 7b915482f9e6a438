"""The command line: `einchip run | compile | simulate | verify | generate | doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
import yaml
from rich.console import Console

from einchip import arch as architectures
from einchip.arch import ArchError, Architecture
from einchip.files import write_text

#: Exit status of input that cannot be used; 1 is a check that failed.
BAD_INPUT: Final = 2

app = typer.Typer(
    help="Compressed recurrent networks from model to silicon.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

Arch = Annotated[str, typer.Option("--arch", help="nano, small, base, or a .yaml file")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="FIELD=VALUE of the architecture", metavar="F=V")
]


def fail(message: object) -> NoReturn:
    """Say what is wrong with the input in one line, and leave with status 2."""
    print(" ".join(str(message).split()), file=sys.stderr)
    raise typer.Exit(BAD_INPUT)


def architecture(name: str, overrides: list[str] | None) -> Architecture:
    """Return the architecture of the options --arch and --set."""
    fields: dict[str, object] = {}
    for text in overrides or []:
        key, equals, value = text.partition("=")
        if not equals:
            fail(f"--set: found {text!r}, expected FIELD=VALUE")
        fields[key.strip()] = yaml.safe_load(value)
    try:
        return architectures.load(name, fields)
    except ArchError as error:
        fail(error)


@app.command()
def generate(
    arch: Arch = "small",
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="the Verilog file")] = Path(
        "einchip_top.v"
    ),
) -> None:
    """Write the accelerator as one self-contained Verilog file."""
    from einchip.hw import generate as rtl

    machine = architecture(arch, overrides)
    with console.status(f"generating {machine.name}"):
        text = rtl.verilog(machine)
    try:
        write_text(output, text)
    except OSError as error:
        fail(f"{output}: cannot write: {error}")
    console.print(
        f"{output}: {machine.rows} x {machine.cols} PEs, {machine.lanes} lanes, "
        f"{machine.data_bits} bit, configuration {machine.config_hash:08x}"
    )


@app.command()
def doctor() -> None:
    """Print each tool found, its version, and how to get what is missing."""
    from einchip import doctor as tools

    raise typer.Exit(tools.main())


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
