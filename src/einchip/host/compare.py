"""A folder on a device, every word of its answers against those of `einchip.reference`.

Both are driven by the same session: the reference is a device, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from einchip import energy
from einchip.compiler.folder import Folder
from einchip.compiler.report import common_prefix
from einchip.host.emulated import ReferenceDevice
from einchip.host.session import Layout, Result, Session
from einchip.numeric import Ints


@dataclass(frozen=True)
class Compared:
    """A run: which one of the folder, what the device and the reference answered."""

    number: int
    result: Result
    expected: Ints

    @property
    def differing(self) -> list[int]:
        """The places of words that differ."""
        return np.flatnonzero(self.result.words != self.expected).tolist()

    @property
    def difference(self) -> str:
        """The first word that differs, in words; nothing where there is none."""
        if not self.differing:
            return ""
        at = self.differing[0]
        return (
            f"run {self.number}: word {at} of the answer: device {self.result.words[at]}, "
            f"reference {self.expected[at]}"
        )


@dataclass(frozen=True)
class Report:
    """All runs of a folder; `accuracy` is None where it is not known."""

    folder: Folder
    setup_cycles: int
    runs: tuple[Compared, ...]
    accuracy: float | None = None

    @property
    def n_sequences(self) -> int:
        """Sequences that were run, those that only fill up a run left out."""
        entries = self.folder.manifest.sequences[: len(self.runs)]
        numbers = {number for entry in entries for number in entry.numbers}
        return len(numbers) or len(self.runs) * self.folder.manifest.batch

    @property
    def n_steps(self) -> int:
        """Time steps of all runs."""
        return sum(run.result.n_steps for run in self.runs)

    @property
    def n_words(self) -> int:
        """Words of all answers."""
        return sum(len(run.expected) for run in self.runs)

    @property
    def n_differing(self) -> int:
        """Those that differ."""
        return sum(len(run.differing) for run in self.runs)

    @property
    def counters(self) -> dict[str, int]:
        """The counters of all runs together."""
        total: Counter[str] = Counter()
        for run in self.runs:
            total.update(run.result.counters)
        return dict(total)

    def energy_pj(self, prices: energy.Table) -> dict[str, float]:
        """Energy of all runs by component, from the device's counters."""
        return energy.energy(self.counters, self.folder.arch, prices, self.folder.run).by_component

    def to_json(self, prices: energy.Table) -> dict[str, Any]:
        """Return every figure."""
        accuracy = {} if self.accuracy is None else {"accuracy": self.accuracy}
        return {
            "name": self.folder.manifest.model,
            "arch": self.folder.arch.model_dump(),
            "batch": self.folder.manifest.batch,
            "n_sequences": self.n_sequences,
            "n_words": self.n_words,
            "n_differing": self.n_differing,
            "setup_cycles": self.setup_cycles,
            "runs": [
                {
                    "n_steps": run.result.n_steps,
                    "cycles": run.result.cycles,
                    "differing": run.differing,
                }
                for run in self.runs
            ],
            "counters": self.counters,
            "energy_table": prices.name,
            "energy_pj": self.energy_pj(prices),
            **accuracy,
        }


def compare(
    session: Session,
    folder: Folder,
    n_runs: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Report:
    """Load a folder and do its first runs (all of them where no number is given).

    `progress` is called once for each. Raises DeviceError where the device fails.
    """
    with ReferenceDevice(folder.arch, Layout.of(folder).size) as device:
        oracle = Session(device, folder.arch)
        oracle.load(folder)
        setup_cycles = session.load(folder)
        runs = []
        for number in range(len(folder.sequences))[:n_runs]:
            found = session.run(number)
            runs.append(Compared(number, found, oracle.run(number).words))
            progress()
    return Report(folder, setup_cycles, tuple(runs))


def table(reports: Sequence[Report], prices: energy.Table, device: str) -> Table:
    """Return the figures of folders for one machine, a column for each."""
    arch, names = reports[0].folder.arch, [r.folder.manifest.model for r in reports]
    prefix = common_prefix(names)
    what = prefix.rstrip("-_. /") if len(names) > 1 else names[0]
    machine = f"{arch.name}, {arch.data_bits} bit, {device}"
    made = Table(title=Text(f"{what} on {machine}" if what else machine))
    made.add_column("", no_wrap=True)
    for r in reports:
        name = r.folder.manifest.model.removeprefix(prefix)
        made.add_column(Text(name), justify="right", overflow="fold")

    def line(title: str, value: Callable[[Report], str], *, section: bool = False) -> None:
        made.add_row(title, *(value(r) for r in reports), end_section=section)

    def cycles(r: Report) -> int:
        return r.counters["cycles"]

    line("sequences", lambda r: f"{r.n_sequences:,}")
    line("words of the answers", lambda r: f"{r.n_words:,}")
    line("words that differ", lambda r: f"{r.n_differing:,}", section=True)
    line("cycles per sequence", lambda r: f"{cycles(r) / r.n_sequences:,.0f}")
    line("cycles per time step", lambda r: f"{cycles(r) / r.n_steps:,.1f}")
    line("cycles to load weights", lambda r: f"{r.setup_cycles:,}", section=True)
    line(
        "energy per sequence, nJ",
        lambda r: f"{sum(r.energy_pj(prices).values()) / r.n_sequences / 1e3:,.2f}",
    )
    if any(r.accuracy is not None for r in reports):
        line("accuracy", lambda r: "-" if r.accuracy is None else f"{100 * r.accuracy:.2f} %")
    made.caption = (
        "words against the NumPy reference; cycles by the device's counters, weights and program "
        f"on the chip; energy ({prices.name}) from its counters"
    )
    return made
