"""What `einchip run --device` does: compile, load on a device, compare every word."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from einchip.cli.common import FAILED, console, fail, named_bar, write_json
from einchip.cli.inputs import load_splits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from einchip.arch import Architecture
    from einchip.compiler.compiled import Compiled
    from einchip.compiler.folder import Folder
    from einchip.energy import Table
    from einchip.host.compare import Report
    from einchip.models import Model


@dataclass(frozen=True)
class Job:
    """A folder; and where it was made from a labelled classifier, what tells its accuracy."""

    folder: Folder
    compiled: Compiled | None = None
    labels: NDArray[np.int64] | None = None


def job_of_folder(source: Path) -> Job:
    """Return the job of a folder that `einchip compile` wrote."""
    from einchip.compiler import folder

    return Job(folder.read(source))


def job_of_model(model: Model, machine: Architecture, data: Path, n_sequences: int | None) -> Job:
    """Compile a model as `einchip compile` does, with the first sequences of the test set."""
    from einchip.compiler import compiled, folder
    from einchip.compiler.report import is_classifier

    train, test = load_splits(data, model)
    with (
        console.status(escape(f"mapping {model.spec.name} to {machine.name}")),
        tempfile.TemporaryDirectory() as place,
    ):
        made = compiled.compile_model(model, machine, train.sequences)
        target = Path(place) / "folder"
        folder.write(made, test.sequences[:n_sequences], target)
        read = folder.read(target)
    labels = test.labels[:n_sequences] if is_classifier(model.spec) else None
    return Job(read, made, labels)


def run_jobs(
    text: str,
    jobs: Sequence[Job],
    prices: Table,
    n_sequences: int | None,
    json_file: Path | None,
) -> None:
    """Run jobs for one machine on a device, one after the other, and print what came out.

    Exit status 1 where a word differs, 2 where the device fails.
    """
    from einchip.host import DeviceError, Layout, Session, open_device
    from einchip.host.compare import compare, table

    arch = jobs[0].folder.arch
    memory_bytes = max(Layout.of(job.folder).size for job in jobs)
    reports: list[Report] = []
    try:
        with open_device(text, arch, memory_bytes) as device, named_bar() as bar:
            session = Session(device, arch)
            for job in jobs:
                n_runs = len(job.folder.sequences[:n_sequences])
                task = bar.add_task(job.folder.manifest.model, total=n_runs)
                report = compare(session, job.folder, n_runs, partial(bar.advance, task))
                reports.append(replace(report, accuracy=_accuracy(job, report)))
    except DeviceError as error:
        fail(error)
    console.print(table(reports, prices, text))
    write_json(json_file, {"device": text, "models": [r.to_json(prices) for r in reports]})
    for report in reports:
        wrong = [run.difference for run in report.runs if run.differing]
        if wrong:
            fail(f"{report.folder.manifest.model}: {wrong[0]}", FAILED)


def check_address(text: str) -> None:
    """Fail early where an address names no kind of device."""
    from einchip.host import Address, DeviceError

    try:
        Address.of(text)
    except DeviceError as error:
        fail(error)


def _accuracy(job: Job, report: Report) -> float | None:
    from einchip.compiler import report as figures

    if job.compiled is None or job.labels is None:
        return None
    results = [run.result for run in report.runs]
    answers = [job.compiled.mapping.unpack(r.output, r.n_steps) for r in results]
    return figures.accuracy(answers, job.labels)
