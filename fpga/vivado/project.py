"""Writes the folder of a project: RTL, scripts, constraints, header.

| file | what it is |
|---|---|
| build.tcl | from nothing to a bitstream and its reports |
| package_ip.tcl | the RTL as an IP, in `ip/` |
| design.tcl | the block design of the board |
| settings.tcl | what differs from project to project, for the three above |
| rtl/einchip_top.v, rtl/einchip_ip.v | the machine, its wrapper |
| BOARD.xdc | pins |
| include/einchip_registers.h | the registers, for programs in C |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import einchip
from einchip import files, fpga
from einchip.arch import Architecture
from einchip.fpga.vivado import boards, wrapper
from einchip.fpga.vivado.boards import Board, VivadoError
from einchip.hw import generate
from einchip.hw.axi import ADDRESS_BITS as MEMORY_ADDRESS_BITS
from einchip.registers import ADDRESS_BITS, VERSION_VALUE

#: The C header that is copied into a project.
HEADER: Final = Path(fpga.__file__).parent / "include" / "einchip_registers.h"
SCRIPTS: Final = Path(__file__).parent / "scripts"
#: Scripts that are the same in every project.
COMMON: Final = ("build.tcl", "package_ip.tcl")
#: Vivado addresses nothing smaller than a page of 4 KiB.
PAGE_BYTES: Final = 4096


def packaged_header() -> str:
    """Return the C header of the registers. Raises VivadoError when it is not there."""
    try:
        return HEADER.read_text()
    except OSError as error:
        raise VivadoError(
            f"{HEADER}: cannot read the file: {error.strerror}; install einchip again"
        ) from None


def write_project(
    arch: Architecture,
    board: Board | str,
    folder: Path,
    *,
    frequency_mhz: float | None = None,
    header: str | None = None,
) -> list[Path]:
    """Write a project for `vivado -mode batch -source build.tcl`, and return its files.

    Parameters
    ----------
    arch, board
        The machine, and the board or its name.
    folder
        Made if it is not there; files of the same names are replaced, others stay.
    frequency_mhz
        The clock to ask for; the board's default if None.
    header
        Text of the C header of the registers; `packaged_header()` if None.

    Raises
    ------
    VivadoError
        There is no such board, or the machine does not suit it. Nothing is written then.
    OSError
        A file cannot be written.
    """
    board = boards.find(board) if isinstance(board, str) else board
    mhz = board.default_mhz if frequency_mhz is None else frequency_mhz
    boards.check(arch, board, mhz)
    texts = {
        **{name: (SCRIPTS / name).read_text() for name in COMMON},
        "design.tcl": (SCRIPTS / f"design_{board.design}.tcl").read_text(),
        "settings.tcl": settings(arch, board, mhz),
        f"{board.name}.xdc": (SCRIPTS / f"{board.name}.xdc").read_text(),
        f"rtl/{generate.TOP}.v": generate.verilog(arch),
        f"rtl/{wrapper.MODULE}.v": wrapper.verilog(arch),
        "include/einchip_registers.h": packaged_header() if header is None else header,
    }
    for name, text in texts.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
    return [Path(folder) / name for name in texts]


def settings(arch: Architecture, board: Board, mhz: float) -> str:
    """Return the Tcl script that sets what a project's other scripts go by."""
    major, minor = divmod(VERSION_VALUE, 1 << 16)
    values = {
        "board": board.name,
        "part": board.part,
        "board_part": board.board_part,
        "mhz": f"{mhz:g}",
        "ip_top": wrapper.MODULE,
        "ip_version": f"{major}.{minor}",
        "ip_revision": arch.config_hash >> 1,
        "control_base": f"{board.control_base:#x}",
        "control_bytes": f"{max(PAGE_BYTES, 1 << ADDRESS_BITS):#x}",
        "memory_base": f"{board.memory_base:#x}",
        "memory_bytes": f"{board.memory_bytes:#x}",
        "memory_bits": 8 * arch.port_bytes,
        "memory_space_bytes": 1 << MEMORY_ADDRESS_BITS,
    }
    lines = [
        f"# Machine {json.dumps(arch.name)}, configuration {arch.config_hash:#010x}.",
        f"# Written by einchip {einchip.__version__}; do not edit.",
        *(f"set {name} {{{value}}}" for name, value in values.items()),
    ]
    return "\n".join(lines) + "\n"
