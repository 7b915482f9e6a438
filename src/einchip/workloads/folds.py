"""What each fold and each shape of the array buys and costs: cycles over the workloads, and logic.

    python -m einchip.workloads.folds bench/folds.json          # all, and folds.md beside it
    python -m einchip.workloads.folds bench/folds.json cycles   # or only some of `KINDS`
    python -m einchip.workloads.folds bench/folds.json array-ecp5 machine-ecp5

What is not asked for is kept from the file as it was; rows are written as they are found.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product
from math import exp, fsum, log
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from amaranth.lib import wiring
from rich.progress import track

from einchip.arch import PRESETS, Architecture
from einchip.fpga.synth import Family, SynthesisError, synthesise
from einchip.hw.array_unit import ArrayUnit
from einchip.hw.scratchpad import Scratchpad
from einchip.hw.top import Top
from einchip.program import Space
from einchip.workloads.bench import Case, StreamFigures, measure_all
from einchip.workloads.catalogue import published

FOLDS: Final = ("ip", "op", "hybrid", "flex")
#: Rows, columns and lanes of the arrays with every fold.
SIZES: Final = (8, 16)
#: Rows, columns and lanes of other arrays of 256 elements.
SHAPES: Final = ((16, 16, 32), (16, 16, 64), (8, 32, 32), (32, 8, 32))


def machine(rows: int, cols: int, lanes: int, fold: str) -> Architecture:
    """Return `base` with another array: as much memory, a beat of as many bytes as lanes or 16."""
    base = PRESETS["base"]
    depths = {
        f: getattr(base, f) * base.lanes // lanes
        for f in ("x_depth", "y_depth", "x_window", "y_window")
    }
    name = f"{rows}x{cols} {fold}" + (f", {lanes} lanes" if lanes != max(rows, cols) else "")
    return base.override(
        name=name, fold=fold, rows=rows, cols=cols, lanes=lanes, port_bytes=min(lanes, 16), **depths
    )


def machines() -> dict[str, Architecture]:
    """Return the machines of the tables, by name."""
    every = [machine(n, n, n, fold) for n, fold in product(SIZES, FOLDS)]
    every += [machine(*shape, "flex") for shape in SHAPES]
    return {m.name: m for m in every}


class Part(NamedTuple):
    """What is synthesised, and of which machines."""

    build: Callable[[Architecture], wiring.Component]
    of: Callable[[Architecture], bool]


#: The array unit is what fold and shape change, a scratchpad's crossbars what lanes change. With 16
#: lanes and more, these would take most of the time of a whole machine.
PARTS: Final[Mapping[str, Part]] = {
    "array": Part(ArrayUnit, lambda arch: True),
    "scratchpad": Part(
        lambda arch: Scratchpad(arch, Space.Y),
        lambda arch: arch.fold == "flex" and arch.rows == arch.cols and arch.lanes <= 32,
    ),
    "machine": Part(Top, lambda arch: arch.lanes == SIZES[0]),
}
FAMILIES: Final[tuple[Family, ...]] = get_args(Family)
#: What can be asked for.
KINDS: Final = ("cycles", *(f"{part}-{family}" for part, family in product(PARTS, FAMILIES)))
#: Where Yosys writes its files.
BUILD: Final = Path("build/folds")


def cycles(arch: Architecture, jobs: int) -> dict[str, Any]:
    """Return the figures of all workloads in a stream, batch 1."""
    cases = [Case(m, arch, 1, False) for e in published() for m in e.matrices]
    rows = [r for r in measure_all(cases, jobs) if isinstance(r, StreamFigures)]
    ratios = [r.ratio for r in rows]
    return {
        "workloads": len(rows),
        "cycles": {r.name: r.cycles for r in rows},
        "within_110": sum(r <= 1.10 for r in ratios),
        "geometric_mean": round(exp(fsum(map(log, ratios)) / len(ratios)), 4),
    }


def logic(arch: Architecture, part: str, family: Family) -> dict[str, Any]:
    """Return the resources of a part of `PARTS`. Raises SynthesisError without Yosys."""
    name = arch.name.replace(",", "").replace(" ", "_")
    return synthesise(PARTS[part].build(arch), family, BUILD / f"{part}_{name}_{family}").to_json()


def shared(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the workloads that all rows with cycles have."""
    sets = [set(r["cycles"]["cycles"]) for r in rows if "cycles" in r]
    return sorted(set.intersection(*sets)) if sets else []


_HEAD = """\
# What each fold and each shape of the array buys and costs

<!-- Written by `python -m einchip.workloads.folds bench/folds.json`. Do not edit. -->

Folds are defined in [architecture](../docs/architecture.md). A machine has the memory of
`base`, and as many lanes as the longer side of its array, if not said otherwise.
"""
_CYCLES = """
## Cycles

Every published matrix in a stream, batch 1, its weights on the chip: sums over the {n} matrices
that all machines of the table run, and how near the roofline of the same array they come.
"""
_LOGIC = {
    "array": """
## Logic of the array unit

Array, its lanes' offsets, drain path with addition, rounding and activation: what a fold changes.
Yosys' mapped netlist on its own, not placed; LUT RAM, carry chains and block RAM are counted beside
LUTs. `levels` is the longest path without a register, in cells. How: [fpga](../docs/fpga.md).
""",
    "scratchpad": """
## Logic of a scratchpad

Y with its window: banks, and the crossbars of its ports, which grow with the square of the lanes.
""",
    "machine": """
## Logic of the whole machine

Array unit, vector unit, scratchpads with their crossbars, DMA and control.
""",
}
_FIGURES = {
    "LUT": "lut", "carry": "carry", "LUT RAM": "lut_ram", "FF": "ff", "DSP": "dsp",
    "block RAM": "block_ram", "levels": "logic_levels",
}  # fmt: skip


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    yield f"| machine | {' | '.join(columns)} |"
    yield "|---|" + "---:|" * len(columns)
    yield from (f"| {' | '.join(line)} |" for line in lines)


def _cycles(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names = shared(rows)
    yield _CYCLES.format(n=len(names))
    lines = []
    for row in rows:
        if c := row.get("cycles"):
            total = f"{fsum(c['cycles'][n] for n in names):,.0f}"
            mean, within = f"{c['geometric_mean']:.2f}", f"{c['within_110']} of {c['workloads']}"
            lines.append([row["name"], total, mean, within])
    yield from _table(["cycles", "mean ratio", "within 1.10"], lines)


def _logic(rows: Sequence[Mapping[str, Any]], part: str) -> Iterator[str]:
    families = [f for f in FAMILIES if any(f in row.get(part, {}) for row in rows)]
    yield _LOGIC[part]
    lines = []
    for row in rows:
        found = [row.get(part, {}).get(family) for family in families]
        cells = [f"{r[key]:,}" if r else "" for r in found for key in _FIGURES.values()]
        if any(found):
            lines.append([row["name"], *cells])
    yield from _table([f"{f} {figure}" for f in families for figure in _FIGURES], lines)


def page(results: Mapping[str, Any]) -> str:
    """Return the tables in Markdown; what nothing is known of has none."""
    rows = results["rows"]
    lines = [_HEAD]
    if any("cycles" in row for row in rows):
        lines += _cycles(rows)
    for part in PARTS:
        if any(part in row for row in rows):
            lines += _logic(rows, part)
    return "\n".join(line.removesuffix("\n") for line in lines) + "\n"


def main(path: Path, wanted: Sequence[str]) -> None:
    """Measure, and write the results and their page. Raises SynthesisError."""
    rows: dict[str, dict[str, Any]] = {}
    known = {r["name"]: r for r in json.loads(path.read_text())["rows"]} if path.exists() else {}
    for name in machines():
        rows[name] = {**known.get(name, {}), "name": name}
    jobs = os.cpu_count() or 1

    def write() -> None:
        results = {"rows": list(rows.values())}
        path.write_text(json.dumps(results, indent=1) + "\n")
        path.with_suffix(".md").write_text(page(results))

    if "cycles" in wanted:
        for arch in track(machines().values(), description="cycles"):
            rows[arch.name]["cycles"] = cycles(arch, jobs)
            write()
    cases = [
        (arch, part, family)
        for part, family in product(PARTS, FAMILIES)
        for arch in machines().values()
        if f"{part}-{family}" in wanted and PARTS[part].of(arch)
    ]
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(logic, *case): case for case in cases}
        try:
            for future in track(as_completed(futures), description="logic", total=len(cases)):
                arch, part, family = futures[future]
                row = rows[arch.name]
                row[part] = {**row.get(part, {}), family: future.result()}
                write()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


if __name__ == "__main__":
    if unknown := set(sys.argv[2:]) - set(KINDS):
        sys.exit(f"folds: found {sorted(unknown)[0]!r}, expected some of {', '.join(KINDS)}")
    try:
        main(Path(sys.argv[1]), sys.argv[2:] or KINDS)
    except SynthesisError as error:
        sys.exit(f"folds: {error}")
