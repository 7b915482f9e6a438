"""`einchip doctor`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from einchip.cli.common import Json, command, console, require_writable, write_json


@command
def doctor(json_file: Json = None) -> None:
    """Print each tool found, its version, and how to get what is missing.

    Exit status 1 where something is missing that what is installed needs.

    Examples
    --------
    einchip doctor
    """
    from einchip import doctor as tools

    require_writable(json_file)
    with console.status("looking for tools"):
        checks = tools.report()
    status = tools.print_report(checks, console)
    write_json(json_file, [{**asdict(check), "ok": check.ok} for check in checks])
    raise typer.Exit(status)
