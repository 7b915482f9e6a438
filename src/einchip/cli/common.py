"""What all commands share: the application, options, errors, files."""

from __future__ import annotations

import functools
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

if TYPE_CHECKING:
    from einchip.arch import Architecture
    from einchip.energy import Table

_T = TypeVar("_T")
#: Exit status of input that cannot be used; 1 is a check that failed.
BAD_INPUT: Final = 2
FAILED: Final = 1


class Commands(TyperGroup):
    """The commands; what is wrong with options and arguments is one line, as everything else is."""

    def main(self, *args: Any, **extra: Any) -> Any:
        if not extra.pop("standalone_mode", True):
            return super().main(*args, **extra | {"standalone_mode": False})
        for stream in (sys.stdout, sys.stderr):  # names that the terminal cannot show
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            status = super().main(*args, **extra | {"standalone_mode": False})
        except OSError as error:
            if error.filename is not None:
                raise
            print(f"standard output: cannot write: {error.strerror}", file=sys.stderr)
            os._exit(FAILED)  # without another try to write the rest
        except Exception as error:  # typer brings click inside it; its errors tell by these names
            tell = getattr(error, "format_message", None)
            context = getattr(error, "ctx", None)
            if tell is None:
                raise
            if type(error).__name__ == "NoArgsIsHelpError":  # `einchip` alone: its message is help
                error.show()  # type: ignore[attr-defined] # as said above
                sys.exit(BAD_INPUT)
            verb = "" if context is None or context.parent is None else f" {context.info_name}"
            print(f"{printable(tell()).rstrip('.')}; see 'einchip{verb} --help'", file=sys.stderr)
            sys.exit(BAD_INPUT)
        sys.exit(status or 0)


app = typer.Typer(
    cls=Commands,
    help="Compressed recurrent networks from model to silicon.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

Arch = Annotated[str, typer.Option("--arch", help="pico, nano, small, base, or a .yaml file")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="change a field of the architecture", metavar="FIELD=VALUE"),
]
Data = Annotated[Path | None, typer.Option(help="labelled sequences (.npz)")]
Json = Annotated[Path | None, typer.Option("--json", help="write every figure to this file")]
EnergyTable = Annotated[
    str, typer.Option("--energy", help="cacti28, cacti45, horowitz45, zigzag, or a .yaml file")
]
NoMerge = Annotated[
    bool, typer.Option("--no-merge", help="keep weights as they are, merge none beforehand")
]
Objective = Annotated[str, typer.Option("--objective", help="cycles, energy, edp, macs, or memory")]
Budget = Annotated[
    float,
    typer.Option(min=0, max=86400, help="seconds for networks with too many trees to search all"),
]
Source = Annotated[Path, typer.Argument(help="a folder that `einchip compile` wrote")]
Latency = Annotated[int, typer.Option(min=1, max=1 << 20, help="memory latency in cycles")]


def printable(text: object) -> str:
    """Return text on one line, without what would control a terminal."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in line)


def fail(message: object, status: int = BAD_INPUT) -> NoReturn:
    """Say in one line what is wrong, and leave."""
    print(printable(message), file=sys.stderr)
    raise typer.Exit(status)


def say(text: str) -> None:
    """Print a line as it is, however wide the terminal; what would control it is `?`."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    console.print(shown, markup=False, soft_wrap=True)


def runs_of(n_runs: int, batch: int) -> str:
    """Return how many sequences there are, or how many runs of several side by side."""
    if batch == 1:
        return f"{n_runs} sequences"
    return f"{n_runs} {'run' if n_runs == 1 else 'runs'} of {batch} sequences"


def named_bar() -> Progress:
    """Return a bar that names what is worked at, shown on terminals only."""
    return Progress(
        TextColumn("{task.description:40.40}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def user_errors() -> tuple[type[Exception], ...]:
    """Return the errors that tell what the user can mend."""
    from einchip.arch import ArchError
    from einchip.compiler.folder import FolderError
    from einchip.energy import EnergyError
    from einchip.fpga.errors import SynthesisError, TargetError
    from einchip.mapper import MappingError
    from einchip.models import ModelError
    from einchip.program import ProgramError

    return (
        ArchError, EnergyError, FolderError, MappingError, ModelError, ProgramError,
        SynthesisError, TargetError,
    )  # fmt: skip


def command(function: Callable[..., None], name: str | None = None) -> Callable[..., None]:
    """Register a command, by its function's name or another.

    What the user can mend becomes one line and status 2.
    """

    @functools.wraps(function)
    def guarded(**arguments: Any) -> None:
        try:
            function(**arguments)
        except typer.Exit:
            raise
        except Exception as error:  # whose classes are imported only when there is one
            if not isinstance(error, user_errors()):
                raise
            fail(error)

    return app.command(name)(guarded)


def loaded(name: object, load: Callable[[], _T]) -> _T:
    """Call a reader; values in a file that even the reader did not expect are one line, too."""
    try:
        return load()
    except user_errors():
        raise
    except (TypeError, ValueError, RecursionError, MemoryError) as error:
        fail(f"{name}: cannot use it: {error}")


def architecture(name: str, overrides: list[str] | None) -> Architecture:
    """Return the architecture of the options --arch and --set."""
    import yaml

    from einchip import arch as architectures

    known = architectures.Architecture.model_fields
    fields: dict[str, object] = {}
    for text in overrides or []:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            fail(f"--set: found {text!r}, expected FIELD=VALUE")
        if key not in known:
            fail(f"--set: {key}: unknown field, expected one of {', '.join(known)}")
        try:
            fields[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            fail(f"--set: {key}: found {value!r}, expected a plain value")
    return loaded(name, lambda: architectures.load(name, fields))


def energy_table(name: str) -> Table:
    """Return the table of the option --energy."""
    from einchip import energy

    return loaded(name, lambda: energy.load(name))


def objective_name(name: str) -> str:
    """Return the objective of the option --objective."""
    from einchip.mapper.objectives import OBJECTIVES

    if name not in OBJECTIVES:
        fail(f"--objective: found {name!r}, expected one of {', '.join(OBJECTIVES)}")
    return name


def require_writable(path: Path | None) -> None:
    """Fail early where a file could not be written after all the work."""
    from einchip.files import check_writable

    if path is not None:
        try:
            check_writable(path)
        except OSError as error:
            fail(f"{path}: cannot write: {error.strerror}")


def require_model_path(path: Path | None, *others: Path | None) -> None:
    """Fail early where a model could not be written, or not be read again, or be overwritten."""
    require_writable(path)
    if path is None:
        return
    if path.suffix.lower() in (".yaml", ".yml"):
        fail(f"{path}: found a suffix of YAML, expected .safetensors; name another file")
    for other in others:
        require_writable(other)
        if other is not None and other.resolve() == path.resolve():
            fail(f"{other}: found figures and model in one file, expected two; name another")


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    from einchip.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        fail(f"{path}: cannot write: {error.strerror}")


def write_json(path: Path | None, content: object) -> None:
    """Write figures, if the option --json asks for them."""
    if path is not None:
        write(path, json.dumps(content, indent=1) + "\n")
