"""The group of all commands: its help, and what is wrong with options and arguments in one line."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console
from typer.core import TyperGroup

from einchip.cli.help import screen
from einchip.mistakes import did_you_mean

#: Exit status of input that cannot be used; 1 is a check that failed.
BAD_INPUT: Final = 2
FAILED: Final = 1


class Commands(TyperGroup):
    """The commands; what is wrong with options and arguments is one line, as everything else is."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        Console().print(screen(self, ctx))

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
            what = usage_mistake(error, printable(tell()).rstrip("."), context, self.commands)
            stop = "" if what.endswith("?") else ";"
            print(f"{what}{stop} see 'einchip{verb} --help'", file=sys.stderr)
            sys.exit(BAD_INPUT)
        sys.exit(status or 0)


def usage_mistake(error: Exception, text: str, context: Any, verbs: Iterable[str]) -> str:
    """Return what is wrong with options and arguments, with the near name of ours, not of typer."""
    if type(error).__name__ == "NoSuchOption":
        name = str(error.option_name)  # type: ignore[attr-defined]
        known = [o for p in context.command.params for o in (*p.opts, *p.secondary_opts)]
        return f"No such option: {printable(name)}{did_you_mean(name, known)}"
    command = re.match("No such command '(.*?)'", text)
    return text if command is None else f"{command[0]}{did_you_mean(command[1], verbs)}"


def printable(text: object) -> str:
    """Return text on one line, without what would control a terminal."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in line)
