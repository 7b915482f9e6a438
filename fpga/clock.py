"""The clock of every unit of a machine on ECP5, alone and together, with its critical path.

    python -m einchip.fpga.clock bench/clock.json small                   # all of `UNITS`
    python -m einchip.fpga.clock bench/clock.json small sequencer array   # or only some

What is not asked for is kept from the file as it was; the page beside it is written anew.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from amaranth.lib import wiring

from einchip.arch import Architecture, load
from einchip.fpga.place import place
from einchip.fpga.synth import SynthesisError
from einchip.hw.array_unit import ArrayUnit
from einchip.hw.control import Control
from einchip.hw.load import LoadUnit
from einchip.hw.machine import machine
from einchip.hw.scratchpad import Scratchpad
from einchip.hw.sequencer import Sequencer
from einchip.hw.store import StoreUnit
from einchip.hw.vector import VectorUnit
from einchip.program import Space

UNITS: Final[Mapping[str, Callable[[Architecture], wiring.Component]]] = {
    "control": Control,
    "sequencer": Sequencer,
    "load": LoadUnit,
    "store": StoreUnit,
    "scratchpad": lambda arch: Scratchpad(arch, Space.Y),
    "array": ArrayUnit,
    "vector": VectorUnit,
    "machine": machine,
}
#: Where the tools write their files.
BUILD: Final = Path("build/clock")

_HEAD = """\
# The clock by unit

<!-- Written by `python -m einchip.fpga.clock bench/clock.json`. Do not edit. -->

Each unit on its own, placed and routed by nextpnr on an LFE5U-85F in speed grade 6, its ports
behind registers ([fpga](../docs/fpga.md)). A critical path is given by the signals at its ends.

| machine | unit | MHz | LUT4 | FF | DSP | block RAM | critical path |
|---|---|---:|---:|---:|---:|---:|---|
"""
_CELLS = ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD")


def components(path: Iterable[str]) -> list[str]:
    """Return the components that a path passes, from its cells' names, without repetitions.

    A mapped cell is named after the signal that it drives: `design.reads.nest.index_0_LUT4_Z`.
    """
    names = []
    for cell in path:
        name = re.split(r"_(?:LUT4|CCU2C|PFUMX|L6MUX21|TRELLIS_FF|MULT18X18D|DP16KD)", cell)[0]
        names.append(re.sub(r"^(?:design\.)|\$.*$", "", name))
    return [name for k, name in enumerate(names) if name and name not in names[:k]]


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = []
    for row in results:
        cells = " | ".join(f"{row['utilisation'].get(kind, (0, 0))[0]:,}" for kind in _CELLS)
        path = components(row["path"])
        ends = f"`{path[0]}` to `{path[-1]}`, {len(row['path'])} cells"
        lines.append(f"| {row['arch']} | {row['unit']} | {row['mhz']} | {cells} | {ends} |")
    return _HEAD + "\n".join(lines) + "\n"


def main(path: Path, arch: Architecture, units: Sequence[str]) -> None:
    """Place units, and write the results and their page; all of a machine if none are named.

    Raises SynthesisError.
    """
    units = units or (["machine"] if arch.serial else list(UNITS))
    if arch.serial and list(units) != ["machine"]:
        raise SynthesisError(f"{arch.name}: found a serial machine, expected no unit but machine")
    old = json.loads(path.read_text()) if path.exists() else []
    rows = {(row["arch"], row["unit"]): row for row in old}
    for unit in units:
        timing = place(UNITS[unit](arch), BUILD / f"{arch.name}_{unit}")
        rows[arch.name, unit] = {"arch": arch.name, "unit": unit, **timing.to_json()}
        results = sorted(
            rows.values(), key=lambda row: (row["arch"], list(UNITS).index(row["unit"]))
        )
        path.write_text(json.dumps(results, indent=1) + "\n")
        path.with_suffix(".md").write_text(page(json.loads(path.read_text())))


if __name__ == "__main__":
    if unknown := set(sys.argv[3:]) - set(UNITS):
        sys.exit(f"clock: found {sorted(unknown)[0]!r}, expected some of {', '.join(UNITS)}")
    try:
        main(Path(sys.argv[1]), load(sys.argv[2]), sys.argv[3:])
    except SynthesisError as error:
        sys.exit(f"clock: {error}")
