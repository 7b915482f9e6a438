"""Writes a project: `python -m einchip.fpga.vivado ARCH BOARD -o DIR [--frequency-mhz N]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from einchip.arch import ArchError, load
from einchip.fpga.vivado.boards import BOARDS, VivadoError, find
from einchip.fpga.vivado.project import write_project

BAD_INPUT: Final = 2


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m einchip.fpga.vivado", description="Write a project for Vivado."
    )
    parser.add_argument("arch", help="nano, small, base, or a .yaml file")
    parser.add_argument("board", help=", ".join(BOARDS))
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder")
    parser.add_argument(
        "--frequency-mhz", type=float, help="clock to ask for, if not the board's default"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Write a project, and return the exit status: 0, or 2 after one line on bad input."""
    options = _options(arguments)
    try:
        board, arch = find(options.board), load(options.arch)
        write_project(arch, board, options.output, frequency_mhz=options.frequency_mhz)
    except (ArchError, VivadoError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        where = error.filename or options.output
        print(f"{where}: cannot write: {error.strerror}", file=sys.stderr)
        return BAD_INPUT
    print(f"{options.output}: in it run 'vivado -mode batch -source build.tcl'")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
