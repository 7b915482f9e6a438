"""What each fold of the array buys and costs: cycles over the workloads, and logic.

    python -m einchip.workloads.folds bench/folds.json        # both, and bench/folds.md beside it
    python -m einchip.workloads.folds bench/folds.json cycles # or only one of `cycles`, `logic`

What is not asked for is kept from the file as it was.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import exp, fsum, log
from pathlib import Path
from typing import Any, Final, get_args

from rich.progress import track

from einchip.arch import PRESETS, Architecture
from einchip.fpga.synth import Family, synthesise
from einchip.workloads.bench import Case, StreamFigures, measure_all
from einchip.workloads.catalogue import published

FOLDS: Final = ("ip", "op", "hybrid", "flex")
#: Rows, columns and lanes of the arrays.
SIZES: Final = (8, 16)
#: Where Yosys writes its files.
BUILD: Final = Path("build/folds")


def machine(size: int, fold: str) -> Architecture:
    """Return `base` with another array: as much memory, a beat of as many bytes as lanes."""
    base = PRESETS["base"]
    depth = base.lanes // size
    return base.override(
        name=f"{size}x{size} {fold}", fold=fold, rows=size, cols=size, lanes=size,
        port_bytes=size, x_depth=base.x_depth * depth, y_depth=base.y_depth * depth,
        y_window=base.y_window * depth,
    )  # fmt: skip


def cycles(size: int, fold: str, jobs: int) -> dict[str, Any]:
    """Return the figures of all workloads in a stream, batch 1."""
    cases = [Case(m, machine(size, fold), 1, False) for e in published() for m in e.matrices]
    rows = [r for r in measure_all(cases, jobs) if isinstance(r, StreamFigures)]
    ratios = [r.ratio for r in rows]
    return {
        "workloads": len(rows),
        "cycles": {r.name: r.cycles for r in rows},
        "within_110": sum(r <= 1.10 for r in ratios),
        "geometric_mean": round(exp(fsum(map(log, ratios)) / len(ratios)), 4),
    }


def logic(size: int, fold: str) -> dict[str, Any]:
    """Return the resources on each family. Raises SynthesisError without Yosys."""
    found = {}
    for family in get_args(Family):
        folder = BUILD / f"{size}_{fold}_{family}"
        found[family] = synthesise(machine(size, fold), family, folder).to_json()
    return found


def shared(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the workloads that all rows with cycles have."""
    sets = [set(r["cycles"]["cycles"]) for r in rows if "cycles" in r]
    return sorted(set.intersection(*sets)) if sets else []


_HEAD = """\
# What each fold buys and costs

<!-- Written by `python -m einchip.workloads.folds bench/folds.json`. Do not edit. -->

Cycles: every published matrix in a stream, batch 1, its weights on the chip; sums over the {n}
matrices that all machines of the table run, and how near the roofline of the same array they come.
Logic: Yosys' mapped netlist of the whole machine (array, drain path, scratchpads' crossbars, vector
unit, DMA, control), not placed; LUT RAM, carry chains and block RAM are counted beside LUTs.
`levels` is the longest path without a register. Folds are defined in
[architecture](../docs/architecture.md).
"""


def _numbers(row: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    c = row.get("cycles")
    yield from (
        (f"{fsum(c['cycles'][n] for n in names):,.0f}", f"{c['geometric_mean']:.2f}",
         f"{c['within_110']} of {c['workloads']}")
        if c
        else ("",) * 3
    )  # fmt: skip
    for family in get_args(Family):
        r = row.get("logic", {}).get(family)
        keys = ("lut", "carry", "lut_ram", "ff", "dsp", "block_ram", "logic_levels")
        yield from (f"{r[k]:,}" for k in keys) if r else ("",) * len(keys)


def page(results: Mapping[str, Any]) -> str:
    """Return the table in Markdown."""
    rows = results["rows"]
    names = shared(rows)
    columns = ["cycles", "mean ratio", "within 1.10"]
    for family in get_args(Family):
        kinds = ("LUT", "carry", "LUT RAM", "FF", "DSP", "block RAM", "levels")
        columns += [f"{family} {kind}" for kind in kinds]
    lines = [_HEAD.format(n=len(names)), f"| machine | {' | '.join(columns)} |"]
    lines.append("|---|" + "---:|" * len(columns))
    lines += [f"| {r['name']} | {' | '.join(_numbers(r, names))} |" for r in rows]
    return "\n".join(lines) + "\n"


def main(path: Path, wanted: Sequence[str]) -> None:
    """Measure and write the results and their page."""
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    known = {r["name"]: r for r in old}
    rows = []
    cases = [(size, fold) for size in SIZES for fold in FOLDS]
    for size, fold in track(cases, description="folds"):
        name = machine(size, fold).name
        row: dict[str, Any] = {**known.get(name, {}), "name": name}
        if "cycles" in wanted:
            row["cycles"] = cycles(size, fold, os.cpu_count() or 1)
        if "logic" in wanted:
            row["logic"] = logic(size, fold)
        rows.append(row)
        results = {"rows": [*rows, *(r for r in old if r["name"] not in {x["name"] for x in rows})]}
        path.write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page({"rows": rows}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["cycles", "logic"])
