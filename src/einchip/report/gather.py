"""Gathers all that a report says: from a folder, and, for accuracies, its model and data."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from einchip import __version__, energy
from einchip.compiler import folder as folders
from einchip.compiler.folder import Folder, FolderError
from einchip.compiler.plan import Plan
from einchip.registers import COUNTERS
from einchip.report import dense, over_time
from einchip.report.accuracy import Given, measured
from einchip.report.bottleneck import bottleneck, state_cycles
from einchip.report.data import (
    Counter,
    FileHash,
    Headline,
    Made,
    Missing,
    Report,
    RunFigures,
    UnitState,
)
from einchip.report.energy_table import energy_figures
from einchip.report.mapping import Mapped
from einchip.report.program import Code
from einchip.report.record import UNITS
from einchip.report.runs import Progress, Runs, simulated
from einchip.report.steps import Steps

#: Packages whose versions a report names, beside einchip and Python.
PACKAGES: Final = ("numpy", "pydantic")


@dataclass(frozen=True)
class Asked:
    """What a report is made of, and by which command."""

    source: Path
    folder: Folder
    table: energy.Table
    latency: int
    command: Sequence[str]
    given: Given | None = None


def read_mapped(source: Path, made: Folder) -> Mapped:
    """Return a folder's mapping. Raises FolderError where it has none, or an older one."""
    texts = [
        folders.read_text(source, made.manifest, name)
        for name in ("plan.json", "mapping.json", "mapping.txt")
    ]
    plan, described, nests = texts
    if plan is None or described is None or nests is None:
        raise FolderError(
            f"{source}: found no plan.json, which older versions did not write; compile again"
        )
    try:
        return Mapped(Plan.model_validate_json(plan), json.loads(described), nests)
    except (ValidationError, ValueError) as error:
        first = " ".join(str(error).split())
        raise FolderError(f"{source / 'plan.json'}: {first}; compile again") from None


def gather(asked: Asked, mapped: Mapped, progress: Progress = lambda _: None) -> Report:
    """Return the report.

    Raises FolderError where the folder's files do not belong together, ReportError where the model
    is not the folder's.
    """
    made = asked.folder
    accuracy = None
    if asked.given:
        accuracy = measured(made, mapped.plan, asked.given, progress)
    runs = simulated(made, asked.latency, progress)
    code = Code(made.run, made.arch, mapped.plan)
    steps = Steps(runs, code, mapped, asked.table)
    try:
        figures = tuple(steps.figures())
        networks = tuple(mapped.networks(steps.numbers))
    except (KeyError, ValueError) as error:
        raise FolderError(f"{asked.source}: {error}; compile again") from None
    progress("mapping the dense model")
    comparison = dense.compare(steps, mapped.described["macs_per_step"])
    drawn = over_time.timeline(steps)
    bound = sum(s.bound_cycles for s in made.manifest.sequences)
    return Report(
        made=_made(asked),
        arch=made.arch,
        headline=_headline(asked, steps, bound),
        bottleneck=bottleneck(steps),
        runs=tuple(_runs(runs)),
        recorded=runs.recorded(),
        units=tuple(_units(runs)),
        counters=tuple(
            Counter(name=c.name, meaning=c.doc, value=runs.counters[c.name]) for c in COUNTERS
        ),
        steps=figures,
        networks=networks,
        timeline=drawn,
        utilisation=over_time.utilisation(steps),
        energy=energy_figures(steps),
        memory=over_time.memory(steps, drawn),
        accuracy=accuracy,
        dense=comparison,
        missing=tuple(_missing(asked)),
    )


def _made(asked: Asked) -> Made:
    versions = {"einchip": __version__, "python": platform.python_version()}
    return Made(
        command=shlex.join(asked.command),
        folder=str(asked.source),
        versions=versions | {name: version(name) for name in PACKAGES},
        config_hash=f"0x{asked.folder.arch.config_hash:08x}",
        files=tuple(
            FileHash(name=name, n_bytes=entry.n_bytes, sha256=entry.sha256)
            for name, entry in asked.folder.manifest.files.items()
        ),
    )


def _headline(asked: Asked, steps: Steps, bound: int) -> Headline:
    made, n = asked.folder, steps.runs.counters
    n_steps, cycles, arch = sum(steps.runs.lengths), n["cycles"], made.arch
    spent = steps.spent
    return Headline(
        model=made.manifest.model,
        machine=arch.name,
        n_runs=len(steps.runs.lengths),
        batch=made.manifest.batch,
        n_steps=n_steps,
        cycles=cycles,
        cycles_per_step=cycles / n_steps,
        bound_cycles=bound,
        ratio=cycles / bound,
        macs=n["macs"],
        macs_per_cycle=n["macs"] / cycles,
        multipliers=arch.n_pes,
        multiplier_use=n["macs"] / (cycles * arch.n_pes),
        energy_pj=spent.total_pj,
        energy_chip_pj=spent.chip_pj,
        energy_per_step_pj=spent.total_pj / n_steps,
        memory_latency=asked.latency,
        program_words=made.run.n_words,
        weights_bytes=len(made.weights),
    )


def _runs(runs: Runs) -> Iterator[RunFigures]:
    for entry, run in zip(runs.folder.manifest.sequences, runs.timed, strict=True):
        yield RunFigures(
            n_steps=entry.n_steps,
            sequences=entry.numbers,
            cycles=run.cycles,
            bound_cycles=entry.bound_cycles,
        )


def _units(runs: Runs) -> Iterator[UnitState]:
    meanings = {c.name: c.doc for c in COUNTERS}
    for unit in UNITS:
        for state, n in state_cycles(runs.counters, unit).items():
            yield UnitState(
                unit=unit,
                state=state,
                meaning=meanings[f"{unit}_{state}"].removeprefix(f"{unit}: "),
                cycles=n,
                share=n / runs.counters["cycles"],
            )


def _missing(asked: Asked) -> Iterator[Missing]:
    if asked.given is None:
        yield Missing(
            what="accuracy and fixed-point error by time step",
            why="the folder holds no float weights and no labels; give --model, and --data where "
            "no .npz lies beside the model",
        )
