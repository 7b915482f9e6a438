"""What all commands share: the application, options, errors, files."""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from einchip import __version__
from einchip.cli import complete
from einchip.cli.group import BAD_INPUT as BAD_INPUT
from einchip.cli.group import FAILED as FAILED
from einchip.cli.group import Commands
from einchip.cli.group import printable as printable
from einchip.cli.help import Verb
from einchip.mistakes import did_you_mean

if TYPE_CHECKING:
    from einchip.arch import Architecture
    from einchip.energy import Table

_T = TypeVar("_T")
#: Panels of the help.
MACHINE: Final = "Machine"
MAPPING: Final = "Mapping"
OUTPUT: Final = "Output"
#: The file that is standard output.
STDOUT: Final = Path("-")


app = typer.Typer(
    cls=Commands,
    help="Compressed recurrent networks from model to silicon.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="einchip VERB --help has examples. Status: 0 done, 1 a check failed, 2 bad input, "
    "130 Ctrl-C.",
)
console = Console()


def _version(asked: bool) -> None:
    if asked:
        print(f"einchip {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    pass


def figures_alone(path: Path | None) -> Path | None:
    """Leave standard output to the figures where they go there: all else goes to the error's."""
    console.stderr = path == STDOUT
    return path


Arch = Annotated[
    str,
    typer.Option(
        "--arch",
        metavar="NAME",
        help="femto, pico, nano, small, base, or a .yaml file",
        autocompletion=complete.names(complete.presets),
        rich_help_panel=MACHINE,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="change a field; repeatable",
        autocompletion=complete.names(complete.fields),
        rich_help_panel=MACHINE,
    ),
]
Data = Annotated[Path | None, typer.Option(metavar="FILE", help="labelled sequences (.npz)")]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="write every figure; - for standard output",
        callback=figures_alone,
        rich_help_panel=OUTPUT,
    ),
]
OutputFolder = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FOLDER", help="where to write", rich_help_panel=OUTPUT),
]
ModelOutput = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="FILE", help="safetensors file to write", rich_help_panel=OUTPUT
    ),
]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="a .safetensors or .yaml model")]
EnergyTable = Annotated[
    str,
    typer.Option(
        "--energy",
        metavar="NAME",
        help="cacti28, cacti45, horowitz45, zigzag, or a .yaml file",
        autocompletion=complete.names(complete.tables),
        rich_help_panel=MACHINE,
    ),
]
NoMerge = Annotated[
    bool,
    typer.Option("--no-merge", help="merge no weights beforehand", rich_help_panel=MAPPING),
]
Objective = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="cycles, energy, edp, macs, or memory",
        autocompletion=complete.names(complete.objectives),
        rich_help_panel=MAPPING,
    ),
]
Budget = Annotated[
    float,
    typer.Option(
        min=0,
        max=86400,
        metavar="SECONDS",
        help="where not all trees can be searched",
        rich_help_panel=MAPPING,
    ),
]
Source = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="what `einchip compile` wrote", show_default=False)
]
Latency = Annotated[
    int,
    typer.Option(
        min=1, max=1 << 20, metavar="N", help="memory latency in cycles", rich_help_panel=MACHINE
    ),
]
BoardArch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="NAME",
        help="a preset or .yaml file; else the board's own",
        autocompletion=complete.names(complete.presets),
        rich_help_panel=MACHINE,
    ),
]
TargetName = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        metavar="BOARD",
        help="such as ulx3s",
        autocompletion=complete.names(complete.targets),
    ),
]
Workloads = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="a .yaml list, in place of the published ones"),
]


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


def wide(columns: int) -> Console:
    """Return a console for a table that needs so many columns, however narrow the terminal."""
    return Console(width=max(console.width, columns), stderr=console.stderr)


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
    from einchip.explore.errors import ExploreError
    from einchip.fpga.errors import SynthesisError, TargetError
    from einchip.mapper import MappingError
    from einchip.models import ModelError
    from einchip.program import ProgramError
    from einchip.report.runs import ReportError

    return (
        ArchError, EnergyError, ExploreError, FolderError, MappingError, ModelError, ProgramError,
        ReportError, SynthesisError, TargetError,
    )  # fmt: skip


def command(function: Callable[..., None], name: str | None = None) -> Callable[..., None]:
    """Register a command, by its function's name or another.

    What the user can mend becomes one line and status 2. Examples are in the function's docstring.
    """
    text, examples = documented(function)

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

    return app.command(
        name,
        help=text,
        short_help=re.split("[.:;]", text)[0] + ".",
        epilog="\n".join(["Examples", *examples]) if examples else None,
        cls=Verb,
    )(guarded)


def documented(function: Callable[..., None]) -> tuple[str, list[str]]:
    """Return what the docstring of a command says: its text, and its examples, a line each."""
    text, _, examples = inspect.cleandoc(function.__doc__ or "").partition("Examples\n--------\n")
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text).strip(), examples.split("\n") if examples else []


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
            near = did_you_mean(key, known)
            fail(f"--set: {key}: unknown field, expected one of {', '.join(known)}{near}")
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
        fail(not_one_of("--objective", name, OBJECTIVES))
    return name


def not_one_of(option: str, found: object, known: Iterable[str]) -> str:
    """Return what is wrong with the value of an option that takes one of these names."""
    names = list(known)
    near = did_you_mean(found, names)
    return f"{option}: found {found!r}, expected one of {', '.join(names)}{near}"


def require_writable(path: Path | None) -> None:
    """Fail early where a file could not be written after all the work."""
    if path not in (None, STDOUT):
        from einchip.files import check_writable

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
    write_figures(path, lambda: json.dumps(content, indent=1))


def write_figures(path: Path | None, text: Callable[[], str]) -> None:
    """Write what `text` returns, if the option --json asks for it."""
    if path is None:
        return
    if path == STDOUT:
        sys.stdout.write(text() + "\n")
    else:
        write(path, text() + "\n")
