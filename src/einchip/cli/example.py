"""`einchip example`."""

from __future__ import annotations

import os
import shutil
import tempfile
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from einchip.cli import complete
from einchip.cli.common import (
    OUTPUT,
    Json,
    command,
    console,
    fail,
    not_one_of,
    require_writable,
    say,
    write_json,
)

#: The examples as they are installed, in a checkout the folder at the top.
FOLDER: Final = Path(__file__).parents[1] / "examples"
#: What running scripts leaves beside them.
_LEFT: Final = shutil.ignore_patterns("__pycache__", ".*")


def known() -> dict[str, Path]:
    """Return the examples by name: folders, or single files by their stem."""
    found = sorted(p for p in FOLDER.iterdir() if not p.name.startswith(("_", ".")))
    return {path.stem: path for path in found}


def headline(path: Path) -> str:
    """Return what an example is: its README's title, else the first sentence of its YAML file."""
    texts = [path] if path.is_file() else [*path.glob("README.md"), *sorted(path.glob("*.yaml"))]
    if not texts:
        return ", ".join(sorted(p.name for p in path.iterdir()))
    lines = takewhile(lambda line: line.startswith("#"), texts[0].read_text().splitlines())
    return " ".join(line.strip("# ") for line in lines).partition(". ")[0]


def require_free(target: Path) -> None:
    """Fail where no new folder can be made."""
    if target.exists():
        fail(f"{target}: found it there, expected a new folder; choose another name")
    if not target.absolute().parent.is_dir():
        fail(f"{target}: cannot write: no folder {target.parent}")
    if not os.access(target.absolute().parent, os.W_OK | os.X_OK):
        fail(f"{target}: cannot write: no permission in {target.parent}")


def put(source: Path, target: Path) -> list[str]:
    """Copy an example into a new folder, whole or not at all; return its files, relative."""
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".example.") as work:
        made = Path(work) / "made"
        if source.is_dir():
            shutil.copytree(source, made, ignore=_LEFT)
        else:
            made.mkdir()
            shutil.copy(source, made)
        made.rename(target)
    return sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())


@command
def example(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="which one; without a name they are listed",
            autocompletion=complete.names(complete.examples),
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="a new folder; its name without one",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Put an example that comes with einchip into a folder: models, data, scripts.

    Examples
    --------
    einchip example japanese_vowels -o vowels
    einchip example
    """
    require_writable(json_file)
    examples = known()
    if name is None:
        grid = Table("example", "what")
        for key, path in examples.items():
            grid.add_row(key, headline(path))
        console.print(grid, markup=False)
        write_json(json_file, {key: headline(path) for key, path in examples.items()})
        return
    if name not in examples:
        fail(not_one_of("NAME", name, examples))
    target = Path(name) if output is None else output
    require_free(target)
    try:
        files = put(examples[name], target)
    except OSError as error:
        fail(f"{target}: cannot write: {error.strerror}")
    say(f"{target}: {', '.join(files)}")
    write_json(json_file, {"example": name, "folder": str(target), "files": files})
