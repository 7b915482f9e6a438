"""docs/cli.md, printed from the commands: ``python -m einchip.cli.page > docs/cli.md``."""

from __future__ import annotations

import io
from typing import Any, Final

import typer
from rich.console import Console

from einchip.cli import app
from einchip.cli.help import screen

#: Columns of the help on the page, those of a terminal.
COLUMNS: Final = 80

HEAD: Final = """\
# The command line

Printed from the commands by `python -m einchip.cli.page`; a test fails when it is stale.
`einchip VERB --help` says the same. [api](api.md) has what the verbs do in Python.

## Exit status

| status | meaning |
|---|---|
| 0 | done |
| 1 | a check failed: something differs, does not fit or is missing; or standard output was closed |
| 2 | what was given cannot be used; one line says where, what was found, what was expected |
| 130 | Ctrl-C; no file is half written |

A verb ends with 1 where `verify`, `contract --verify` or `run --device` find a difference, or RTL
fails; where `fit` finds that a machine does not fit; where `doctor` misses what is installed needs;
and where `workloads`, `bench` or `compare` refuse an entry (the others are measured all the same).

## Errors

One line on standard error, without a traceback: `FILE:LINE: FIELD: found .., expected ..`. Lines
are those of YAML files. Names that are nearly right get "did you mean": verbs, options, presets,
boards, formats, fields, tensors, energy tables.

## Figures as JSON

`--json FILE` writes every figure that a verb prints, and more. With `--json -` they go to standard
output and everything else (tables, progress) to standard error, so that
`einchip simulate build/mpo --json - | jq .counters` works. `schema` prints JSON as it is.

## Terminals

Progress is shown on terminals only; so are colours, which the environment's `NO_COLOR=1` turns off.
Tables are as wide as they must be.

## Completion

`einchip --install-completion` makes the shell (bash, zsh, fish, PowerShell) complete verbs,
options, and the values of `--arch`, `--set`, `--energy`, `--target`, `--objective`, `--format`,
`--fold`, `--row` and `--device`; `--show-completion` prints what that installs.

## Verbs
"""


def shown(command: Any, context: Any) -> str:
    """Return the help of a command as text."""
    file = io.StringIO()
    Console(file=file, width=COLUMNS, no_color=True).print(screen(command, context))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip() + "\n"


def page() -> str:
    """Return docs/cli.md."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("einchip", [""], resilient_parsing=True)
    parts = [HEAD, f"```console\n{shown(group, context)}```\n"]
    for name, verb in group.commands.items():
        inside = verb.make_context(name, [], parent=context, resilient_parsing=True)
        parts.append(f"### {name}\n\n```console\n{shown(verb, inside)}```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
