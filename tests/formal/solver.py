"""Bitwuzla as a program: the part of its command line that yosys-smtbmc uses.

Its package on PyPI is a library, without the program.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from bitwuzla import Option, Options, Parser, TermManager


def commands(lines: Iterable[str]) -> Iterator[str]:
    """Yield the commands of SMT-LIB in a text, each whole."""
    command, depth = "", 0
    for line in lines:
        command += line
        depth += line.count("(") - line.count(")")
        if depth == 0 and command.strip():
            yield command
            command = ""


def main() -> None:
    """Carry out the commands on standard input; answers go to standard output."""
    options = Options()
    options.set(Option.PRODUCE_MODELS, True)
    parser = Parser(TermManager(), options)
    for command in commands(sys.stdin):
        if command.startswith("(exit"):
            return
        parser.parse(command, False, False)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
