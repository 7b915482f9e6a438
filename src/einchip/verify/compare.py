"""The three witnesses side by side: reference, simulator and RTL on the sequences of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from einchip import reference
from einchip.arch import Architecture
from einchip.compiler.folder import Folder
from einchip.program import Program
from einchip.reference import Host, Memory
from einchip.sim import simulate
from einchip.verify.machine import (
    DEFAULT_CACHE,
    RtlMachine,
    RtlResult,
    Start,
    Work,
    words_that_differ,
)

DEFAULT_LATENCY = 8


@dataclass(frozen=True)
class Comparison:
    """One sequence: what the witnesses say, and every difference in words.

    `cycles` and `counters` are (simulator, RTL) of the run, `setup_cycles` those of the setup;
    `differing` counts differing words per memory, the reference against simulator and RTL.
    """

    number: int
    n_steps: int
    setup_cycles: tuple[int, int]
    cycles: tuple[int, int]
    counters: dict[str, tuple[int, int]]
    differing: dict[str, tuple[int, int]]
    differences: tuple[str, ...]

    @property
    def n_words(self) -> int:
        """Differing words in all."""
        return sum(sum(pair) for pair in self.differing.values())


def _reference(arch: Architecture, steps: list[tuple[Program, Host]], memory: Memory) -> Memory:
    after = memory.copy()
    for program, host in steps:
        reference.run(program, arch, after, host)
    return after


def _steps(folder: Folder, number: int) -> list[tuple[Program, Host]]:
    host = folder.host(folder.sequences[number][0])
    return [(folder.setup, host), (folder.run, host)]


def _compare(
    folder: Folder, number: int, expected: Memory, rtl: RtlResult, latency: int
) -> Comparison:
    n_steps, steps = folder.sequences[number][0], _steps(folder, number)
    simulated = folder.memory(number)
    runs = [simulate(p, folder.arch, memory=simulated, host=h, latency=latency) for p, h in steps]
    found: list[str] = []
    differing: dict[str, tuple[int, int]] = {}
    by_witness = {
        "simulator": words_that_differ(expected, simulated),
        "RTL": words_that_differ(expected, rtl.memory),
    }
    for space in ("X", "Y", "external"):
        places = [by_witness[w][space] for w in by_witness]
        differing[space] = (len(places[0]), len(places[1]))
        found += [
            f"{w}: {space}[{p[0]}] differs from the reference"
            for w, p in zip(by_witness, places, strict=True)
            if p
        ]
    for name, a, b in zip(("setup", "run"), runs, rtl.runs, strict=True):
        for witness, error in (("simulator", a.error), ("RTL", b.error)):
            found += [f"{name}: the {witness} stopped with {error[0].name}"] if error else []
        found += [
            f"{name}: {counter}: simulator {a.counters[counter]}, RTL {b.counters[counter]}"
            for counter in a.counters
            if a.counters[counter] != b.counters[counter]
        ]
    if rtl.hazards:
        found.append(f"RTL: {rtl.hazards} reads and writes of external memory overlap while open")
    last = (runs[1].counters, rtl.runs[1].counters)
    return Comparison(
        number=number,
        n_steps=n_steps,
        setup_cycles=(runs[0].cycles, rtl.runs[0].cycles),
        cycles=(runs[1].cycles, rtl.runs[1].cycles),
        counters={k: (last[0][k], last[1][k]) for k in last[0]},
        differing=differing,
        differences=tuple(found),
    )


def compare(
    folder: Folder,
    n_sequences: int,
    *,
    cache: Path = DEFAULT_CACHE,
    latency: int = DEFAULT_LATENCY,
    progress: Callable[[str], None] = lambda _: None,
    machine: RtlMachine | None = None,
) -> list[Comparison]:
    """Run setup and run on all three witnesses for the first sequences of a folder.

    `machine` is the compiled RTL of the folder's architecture, where there is one already.
    Raises RtlError when the RTL does not stop, MachineError when the reference would not.
    """
    numbers = range(min(n_sequences, len(folder.sequences)))
    progress("running the reference")
    expected = [_reference(folder.arch, _steps(folder, n), folder.memory(n)) for n in numbers]
    progress(f"compiling the RTL of {folder.arch.name}")
    machine = machine or RtlMachine.build(folder.arch, cache)
    progress("running the RTL")
    work = [
        Work([Start(*step) for step in _steps(folder, n)], folder.memory(n), latency=latency)
        for n in numbers
    ]
    results = machine.run_all(work)
    found = []
    for n in numbers:
        progress(f"simulating sequence {n}")
        found.append(_compare(folder, n, expected[n], results[n], latency))
    return found


def table(comparisons: Sequence[Comparison]) -> Table:
    """Return all comparisons as one table."""
    made = Table(title="reference = simulator = RTL")
    for title in (
        "sequence", "steps", "differing\nwords", "cycles,\nsimulator", "cycles,\nRTL",
        "cycles,\napart", "differing\ncounters",
    ):  # fmt: skip
        made.add_column(title, justify="right")
    for c in comparisons:
        n_counters = sum(a != b for a, b in c.counters.values())
        apart = abs(c.cycles[0] - c.cycles[1])
        made.add_row(
            str(c.number), str(c.n_steps), str(c.n_words), f"{c.cycles[0]:,}", f"{c.cycles[1]:,}",
            str(apart), f"{n_counters} of {len(c.counters)}",
        )  # fmt: skip
    return made
