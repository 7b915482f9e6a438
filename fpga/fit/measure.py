"""Synthesises the units of some machines: the measurements that the model is fitted to.

    python -m einchip.fpga.fit.measure            # what is missing or stale
    python -m einchip.fpga.fit.measure --check    # only says which of them are stale

Yosys maps each unit alone; nothing is placed. A measurement is stale when the unit's netlist, as
Amaranth gives it to Yosys, or the family's synthesis is not the one of today. (After another
version of Yosys, delete the file.)
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from amaranth.back import rtlil  # type: ignore[attr-defined] # its stubs lack it

from einchip.arch import CELLS, Architecture
from einchip.files import write_text
from einchip.fpga import synth
from einchip.fpga.fit.units import SERIAL, SYSTEM, Design, component, units_of
from einchip.fpga.targets.boards import TARGETS
from einchip.fpga.targets.families import ECP5, Family
from einchip.fpga.targets.families.family import cell_counts
from einchip.fpga.targets.flow import digest
from einchip.fpga.targets.page import current

#: The measurements.
PATH: Final = Path(__file__).with_name("units.json")
#: The families of the boards, by name.
FAMILIES: Final[Mapping[str, Family]] = {t.family.title: t.family for t in TARGETS.values()}


@dataclass(frozen=True)
class Case:
    """A unit of a design, to be synthesised for a family."""

    family: str
    unit: str
    design: Design

    def __str__(self) -> str:
        return f"{self.family} {self.design.arch.name} {self.unit}"


@dataclass(frozen=True)
class Row:
    """What was measured: the hash of all that decides it, and the cells by type."""

    case: Case
    hash: str
    cells: Mapping[str, int]

    def counted(self) -> dict[str, int]:
        """Return what the cells will take, by kind."""
        return FAMILIES[self.case.family].expected(self.cells)

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        case = self.case
        return {
            "family": case.family,
            "unit": case.unit,
            "arch": case.design.arch.model_dump(),
            "memory_bytes": case.design.memory_bytes,
            "hash": self.hash,
            "cells": dict(sorted(self.cells.items())),
        }


#: Memory of what is measured. More takes more blocks, but hardly more logic, and minutes to map.
MEMORY_BYTES: Final = 1 << 13


def _machine(name: str, rows: int, cols: int, lanes: int, depth: int, **fields: Any) -> Design:
    """Return a machine with a byte of the memory port for each lane, if not said otherwise."""
    shape = {"rows": rows, "cols": cols, "lanes": lanes, "port_bytes": lanes}
    depths = {"x_depth": depth, "y_depth": depth}
    return Design(Architecture(**{"name": name, **shape, **depths, **fields}), MEMORY_BYTES)


#: The serial machine that is measured for every family.
ONE: Final = _machine("1x1", 1, 1, 2, 4096, fold="op")
#: The machine that is measured for every family, and the same with elements of 16 bits.
NARROW: Final = _machine("2x2", 2, 2, 2, 4096)
WIDE: Final = _machine("2x2 of 16 bits", 2, 2, 2, 4096, data_bits=16)


def _cases() -> Iterator[Case]:
    """Return what is measured; it does not depend on the presets.

    All units of a machine of two lanes for every family, and with 16-bit elements those that
    multiply. For ECP5 the units whose sizes depend on the machine, for machines up to 16 lanes and
    64 processing elements, so that no two of lanes, rows, columns, element width, accumulators,
    windows and memory port always change together.
    """
    for family in FAMILIES:
        yield from (Case(family, unit, NARROW) for unit in units_of(NARROW.arch))
        yield Case(family, SERIAL, ONE)
        units = units_of(WIDE.arch) if family == ECP5.title else ("array", "vector")
        yield from (Case(family, unit, WIDE) for unit in units)
    four = _machine("4x4", 4, 4, 4, 2048)
    yield from (Case(ECP5.title, unit, four) for unit in units_of(four.arch))
    yield from (Case(ECP5.title, SYSTEM, design) for design in (NARROW, four))
    few, vector = ("sequencer", "load", "store", "array"), ("vector",)
    pads = ("scratchpad_x", "scratchpad_y", "vector")
    both = {"x_window": 512, "y_window": 512}
    deep = {"y_depth": 32768, "y_window": 4096}
    for design, units in (
        (_machine("2x4 of 16 bits", 2, 4, 4, 2048, data_bits=16, x_window=256), (*few, *pads)),
        (_machine("4x8", 4, 8, 8, 4096, x_window=512), (*few, *pads)),
        (_machine("8x8", 8, 8, 8, 4096, **both), (*few, "control", "memory")),
        (
            _machine("4x2, 16 lanes", 4, 2, 16, 4096, **deep),
            ("control", "load", "store", "scratchpad_x", "array", "vector"),
        ),
        (_machine("2x16, 16 lanes", 2, 16, 16, 32768, x_window=4096, y_window=4096), ("array",)),
        (_machine("2x2 flex", 2, 2, 2, 4096, fold="flex"), ("sequencer", "array")),
        (_machine("4x4 flex", 4, 4, 4, 2048, fold="flex"), ("sequencer", "array")),
        (_machine("2x8 flex", 2, 8, 8, 4096, fold="flex", accumulators=32, **both), ("array",)),
        (_machine("2x2 op", 2, 2, 2, 4096, fold="op"), ("array",)),
        (_machine("2x2 op, sums of 24 bits", 2, 2, 2, 2048, fold="op", acc_bits=24), ("array",)),
        (_machine("4x4 op", 4, 4, 4, 2048, fold="op"), ("array",)),
        (_machine("2x2 without cells", 2, 2, 2, 4096, cells=()), vector),
        (_machine("4x4 without cells", 4, 4, 4, 2048, cells=()), vector),
        (_machine("4x8 without cells", 4, 8, 8, 4096, cells=()), vector),
        (_machine("4x2, 16 lanes without cells", 4, 2, 16, 4096, cells=()), vector),
        *((_machine(f"2x2 with {c}", 2, 2, 2, 4096, cells=(c,)), vector) for c in CELLS),
        (_machine("2x2 with lstm+gru", 2, 2, 2, 4096, cells=("lstm", "gru")), vector),
        *((_machine(f"4x4 with {c}", 4, 4, 4, 2048, cells=(c,)), vector) for c in ("lstm", "gru")),
        (_machine("4x4 with lstm+gru", 4, 4, 4, 2048, cells=("lstm", "gru")), vector),
        (_machine("2x2 ip", 2, 2, 2, 4096, fold="ip"), ("array",)),
        (_machine("1x1 of 16 bits", 1, 1, 2, 4096, fold="op", data_bits=16), (SERIAL,)),
        (_machine("1x1, 8 lanes", 1, 1, 8, 1024, fold="op"), (SERIAL,)),
        (_machine("1x1, sums of 24 bits", 1, 1, 2, 4096, fold="op", acc_bits=24), (SERIAL,)),
        (_machine("1x1, sums of 62 bits", 1, 1, 4, 512, fold="op", acc_bits=62), (SERIAL,)),
        (
            _machine("1x1, 16 lanes, lstm", 1, 1, 16, 256, fold="op", cells=("lstm",)),
            (SERIAL,),
        ),
        (_machine("4x4 ip", 4, 4, 4, 2048, fold="ip"), ("array",)),
        (_machine("2x8 ip", 2, 8, 8, 4096, fold="ip", **both), ("array",)),
    ):
        yield from (Case(ECP5.title, unit, design) for unit in units)


CASES: Final = tuple(_cases())


def design_text(case: Case) -> str:
    """Return a unit as Yosys reads it (RTLIL)."""
    design = component(case.unit, case.design, FAMILIES[case.family].memory_ports)
    return rtlil.convert(design, name=synth.TOP, emit_src=False)


def row_hash(case: Case, text: str) -> str:
    """Return the hash of what decides a measurement: `design_text`, and synthesis."""
    parts = "\0".join((text, FAMILIES[case.family].synthesis))
    return digest(parts)


def stale(rows: Iterable[Row]) -> list[Case]:
    """Return what was measured of another RTL, or by another synthesis, than today's."""
    return [row.case for row in rows if row_hash(row.case, design_text(row.case)) != row.hash]


def synthesise(case: Case, text: str, folder: Path) -> Row:
    """Map a unit; files are written into `folder`. Raises SynthesisError."""
    family, log, result = FAMILIES[case.family], "yosys.log", "mapped.json"
    (folder / "top.il").write_text(text)
    script = f"read_rtlil top.il; {family.synthesis}; write_json {result}"
    synth.run([synth.find(), "-q", "-l", log, "-p", script], folder, result, log)
    mapped = json.loads((folder / result).read_text())
    family.repair(mapped)
    cells = {kind: n for kind, n in cell_counts(mapped).items() if "$" not in kind}
    return Row(case, row_hash(case, text), cells)


def read(path: Path = PATH) -> list[Row]:
    """Return the measurements in a file."""
    return [
        Row(
            Case(
                row["family"],
                row["unit"],
                Design(Architecture(**row["arch"]), row["memory_bytes"]),
            ),
            row["hash"],
            row["cells"],
        )
        for row in json.loads(path.read_text())["rows"]
    ]


def boards(path: Path = PATH) -> dict[str, str]:
    """Return the hash of each board's RTL (`targets.flow.rtl_hash`) when a file was measured."""
    found: dict[str, str] = json.loads(path.read_text())["boards"]
    return found


def write(path: Path, rows: Iterable[Row], rtl: Mapping[str, str]) -> None:
    """Write measurements, in the order of `CASES`, and the hash of each board's RTL."""
    found = {row.case: row for row in rows}
    ordered = [found[case].to_json() for case in CASES if case in found]
    lines = ",\n".join(json.dumps(row) for row in ordered)
    write_text(path, f'{{"boards": {json.dumps(rtl)},\n"rows": [\n{lines}\n]}}\n')


def measure(path: Path, progress: Callable[[str], None], cases: Iterable[Case] = CASES) -> None:
    """Measure what is missing or stale, and write each as soon as it is there.

    Raises SynthesisError.
    """
    rows = {row.case: row for row in (read(path) if path.exists() else [])}
    for case in cases:
        text = design_text(case)
        if case in rows and rows[case].hash == row_hash(case, text):
            continue
        progress(str(case))
        with tempfile.TemporaryDirectory() as folder:
            rows[case] = synthesise(case, text, Path(folder))
        write(path, rows.values(), {})
    progress("hashes of the boards' RTL")
    write(path, rows.values(), {name: current(target) for name, target in TARGETS.items()})


def main(arguments: list[str]) -> int:
    """Run the command."""
    if arguments == ["--check"]:
        old = stale(read())
        print("\n".join(f"{case}: stale" for case in old) or "none is stale")
        return int(bool(old))
    measure(Path(arguments[0]) if arguments else PATH, lambda what: print(what, flush=True))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except synth.SynthesisError as error:
        sys.exit(f"measure: {error}")
