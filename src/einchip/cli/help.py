"""`--help`, on one screen: options in sections, each on a line where the terminal has room.

Typer's own layout spends a line on each border, a column on types, and does not fit.
"""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

#: Largest limit that is worth saying: what is above only keeps numbers finite.
SAID_LIMIT: Final = 10**6
OPTIONS: Final = "Options"


class Verb(TyperCommand):
    """A command whose help fits a screen."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        Console().print(screen(self, ctx))


def screen(command: Any, ctx: Any) -> RenderableType:
    """Return the help of a command, or of the group with its commands."""
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], OPTIONS: []}
    for parameter in command.get_params(ctx):
        if not getattr(parameter, "hidden", False):
            title = getattr(parameter, "rich_help_panel", None) or OPTIONS
            title = "Arguments" if parameter.param_type_name == "argument" else title
            sections.setdefault(title, []).append((given(parameter), said(parameter)))
    width = max(len(left) for rows in sections.values() for left, _ in rows)
    parts: list[RenderableType] = [
        Text(usage(command, ctx)),
        Padding(Text(command.help or ""), (1, 0)),
        *(section(title, rows, width) for title, rows in sections.items() if rows),
    ]
    verbs = [v for v in getattr(command, "commands", {}).values() if not v.hidden]
    if verbs:
        names = [(verb.name, verb.short_help) for verb in verbs]
        parts.append(section("Commands", names, max(len(name) for name, _ in names)))
    if command.epilog:
        head, *lines = command.epilog.split("\n")
        parts += [Text(head, style="bold" if lines else "")]
        parts += [Text(f"  {line}") for line in lines]
    return Group(*parts)


def usage(command: Any, ctx: Any) -> str:
    """Return how a command is called."""
    arguments = [given(p) for p in command.params if p.param_type_name == "argument"]
    rest = ["COMMAND .."] if hasattr(command, "commands") else arguments
    return " ".join([f"Usage: {ctx.command_path} [OPTIONS]", *rest])


def section(title: str, rows: list[tuple[str, str]], width: int) -> RenderableType:
    """Return a heading, names and what is said of them, in columns, and an empty line."""
    made = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    made.add_column(style="cyan", width=width + 2, no_wrap=True)
    made.add_column()
    for left, right in rows:
        made.add_row(Text(f"  {left}"), Text(right))
    return Group(Text(title, style="bold"), made, Text(""))


def given(parameter: Any) -> str:
    """Return how a parameter is given: "-o, --output FILE", "--cold / --no-cold", "[MODEL]"."""
    metavar = parameter.metavar or parameter.name.upper()
    if parameter.param_type_name == "argument":
        many = f"{metavar.rstrip('.')}.." if parameter.nargs != 1 else metavar
        return many if parameter.required else f"[{many}]"
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.is_flag:
        return " / ".join([names, *parameter.secondary_opts])
    return f"{names} {metavar}"


def said(parameter: Any) -> str:
    """Return the help of a parameter, with what it must be and is without it."""
    return f"{parameter.help or ''} {notes(parameter)}".strip()


def notes(parameter: Any) -> str:
    """Return limits and default of a parameter in brackets, or ""."""
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    found = []
    if low is not None and high is not None and high <= SAID_LIMIT:
        found.append(f"{low:g} to {high:,}")
    default = parameter.default
    if parameter.required and parameter.param_type_name == "option":
        found.append("required")
    elif default is not None and not isinstance(default, bool) and not callable(default):
        found.append(f"default {default}")
    return f"[{'; '.join(found)}]" if found else ""
