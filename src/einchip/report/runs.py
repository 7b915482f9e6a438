"""The runs of a folder, simulated: counters of all, and what is recorded cycle by cycle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from einchip.arch import Architecture
from einchip.compiler.compiled import Places
from einchip.compiler.folder import Folder
from einchip.program import Program
from einchip.report.data import Recorded
from einchip.report.record import Record, record
from einchip.sim import Run, simulate

#: Most cycles that are recorded: all runs of different length together, else one run's first steps.
MAX_RECORDED: Final = 400_000
#: Most cycles of which the order of states is noted.
MAX_DETAIL: Final = 30_000
#: Bins of the utilisation over time.
BINS: Final = 240

Progress = Callable[[str], None]


class ReportError(ValueError):
    """Something of which no report can be made; one line."""


def timed(program: Program, arch: Architecture, places: Places, n_steps: int, latency: int) -> Run:
    """Return a run of a program without values, as `einchip simulate` times it."""
    run = simulate(
        program, arch, host=places.host(n_steps), external_bytes=places.size, latency=latency,
        timeline=False,
    )  # fmt: skip
    if run.error:
        raise ReportError(f"the machine stopped with {run.error[0].name}; compile again")
    return run


@dataclass(frozen=True)
class Runs:
    """A folder's runs: `timed` one by one, `records` with how often each counts."""

    folder: Folder
    latency: int
    timed: tuple[Run, ...]
    records: tuple[tuple[int, int, Record], ...]
    whole: bool

    @cached_property
    def counters(self) -> dict[str, int]:
        """All counters of all runs together, as `einchip simulate` prints them."""
        names = self.timed[0].counters
        return {name: sum(run.counters[name] for run in self.timed) for name in names}

    @property
    def lengths(self) -> list[int]:
        """The time steps of every run."""
        return [n for n, _ in self.folder.sequences]

    @property
    def drawn(self) -> tuple[int, Record]:
        """Time steps and record of the run whose time is drawn."""
        n_steps, _, found = self.records[0]
        return n_steps, found

    @property
    def recorded_cycles(self) -> int:
        """Cycles that are recorded, each run as often as it counts."""
        return sum(times * found.run.cycles for _, times, found in self.records)

    def recorded(self) -> Recorded:
        """Return what is recorded, in words and figures."""
        n_steps, found = self.drawn
        rule = "every cycle of every run"
        if not self.whole:
            rule = (
                f"the runs take more than {MAX_RECORDED:,} cycles together: one run of the first "
                f"{n_steps:,} time steps stands for all ({found.run.cycles:,} cycles)"
            )
        return Recorded(
            whole=self.whole,
            n_steps=tuple(n for n, _, _ in self.records),
            times=tuple(times for _, times, _ in self.records),
            cycles=self.recorded_cycles,
            rule=rule,
        )


def simulated(folder: Folder, latency: int, progress: Progress) -> Runs:
    """Return the runs of a folder, timed and recorded."""
    lengths = [n for n, _ in folder.sequences]
    places, by_length = folder.places, dict[int, Run]()
    for n in dict.fromkeys(lengths):
        progress(f"simulating {n:,} time steps")
        by_length[n] = timed(folder.run, folder.arch, places, n, latency)
    chosen = dict(Counter(lengths))
    whole = sum(run.cycles for run in by_length.values()) <= MAX_RECORDED
    if not whole:
        n, run = next(iter(by_length.items()))
        steps = max(1, min(n, n * MAX_RECORDED // run.cycles))
        chosen = {steps: 1}
    records = []
    for number, (n, times) in enumerate(chosen.items()):
        progress(f"recording {n:,} time steps")
        made = record(
            folder.run, folder.arch, places.host(n), places.size, latency,
            detail=0 if number else MAX_DETAIL, n_bins=BINS,
        )  # fmt: skip
        records.append((n, times, made))
    return Runs(folder, latency, tuple(by_length[n] for n in lengths), tuple(records), whole)
