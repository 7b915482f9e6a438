"""The command line: `einchip VERB ..`, one module for each verb.

What a command needs is imported when it runs: `--help` waits for none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from einchip.cli.common import app

#: The modules that register commands, in the order of `--help`.
VERBS: Final = (
    "run",
    "compile",
    "simulate",
    "report",
    "verify",
    "trace",
    "generate",
    "build",
    "vivado",
    "fit",
    "explore",
    "quantise",
    "workloads",
    "bench",
    "contract",
    "advise",
    "compare",
    "convert",
    "compress",
    "schema",
    "example",
    "doctor",
)

for _verb in VERBS:
    import_module(f"einchip.cli.{_verb}")

__all__ = ["VERBS", "app", "main"]


def main() -> None:
    """Run the command line."""
    app()
