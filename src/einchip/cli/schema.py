"""`einchip schema`."""

from __future__ import annotations

from typing import Annotated

import typer

from einchip.cli import complete
from einchip.cli.common import command, fail, not_one_of


@command
def schema(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="architecture, model, workloads or energy",
            autocompletion=complete.names(complete.schemas),
        ),
    ],
) -> None:
    """Print the JSON Schema of a kind of YAML file, for editors.

    Examples
    --------
    einchip schema architecture
    """
    from einchip import schemas

    if name not in schemas.NAMES:
        fail(not_one_of("NAME", name, schemas.NAMES))
    typer.echo(schemas.text(name), nl=False)
