"""`einchip doctor`."""

from __future__ import annotations

import typer

from einchip.cli.common import command


@command
def doctor() -> None:
    """Print each tool found, its version, and how to get what is missing."""
    from einchip import doctor as tools

    raise typer.Exit(tools.main())
