"""Accuracy, cycles, bound and energy of a model over real sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.table import Table
from rich.text import Text

from einchip import energy
from einchip.arch import Architecture
from einchip.compiler.bound import sequence_bound, step_weights
from einchip.compiler.compiled import Places, map_model, quantise_model
from einchip.compiler.scales import snr_db
from einchip.mapper.model import ModelMapping
from einchip.models import Model, ModelSpec, Sequences
from einchip.sim import simulate

#: Data widths whose accuracy a report gives.
WIDTHS = (8, 16)
#: Counters that are named after a unit and count no cycles.
BEATS = ("dma_read_beats", "dma_write_beats")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Performance:
    """What a report says of one model's time and energy, whatever its weights are.

    Cycles and energies (pJ) per sequence, weights and program resident; `array` are the cycles of
    the array by cause, `array_issue` among them.
    """

    name: str
    n_sequences: int
    mean_steps: float
    weights: int
    weights_ratio: float
    macs_per_step: int
    macs_per_step_naive: int
    macs_per_step_dense: int
    cycles: float
    cycles_setup: int
    bound: float
    ratio: float
    array: dict[str, float]
    energy_table: str
    energy_pj: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return every figure."""
        return asdict(self)


@dataclass(frozen=True)
class Figures(Performance):
    """All that a report says of one model; what is of fixed point, by data width in bits.

    A classifier has accuracies, any other model the signal-to-noise ratio of its answers.
    """

    accuracy_float: float | None
    accuracy_fixed: dict[int, float]
    answer_snr_db: dict[int, float]

    def to_json(self) -> dict[str, Any]:
        """Return every figure that this kind of model has."""
        return {k: v for k, v in super().to_json().items() if v is not None and v != {}}


@dataclass(frozen=True)
class Timing:
    """Counters of all sequences together, and of the setup."""

    counters: Counter[str]
    setup_cycles: int


def time_sequences(mapping: ModelMapping, lengths: Sequence[int]) -> Timing:
    """Simulate, without values, one run of each length that occurs, the program being resident."""
    programs, arch = mapping.emit(None), mapping.arch
    places = Places.of_mapping(mapping, max(lengths))
    total: Counter[str] = Counter()
    for n_steps, times in Counter(lengths).items():
        run = simulate(programs.run, arch, host=places.host(n_steps), fetch=False, timeline=False)
        for name, value in run.counters.items():
            total[name] += value * times
    return Timing(total, simulate(programs.setup, arch, host=places.host(0)).cycles)


def performance(
    spec: ModelSpec, mapping: ModelMapping, lengths: Sequence[int], table: energy.Table
) -> Performance:
    """Time a mapped model on sequences of these numbers of steps."""
    arch, n = mapping.arch, len(lengths)
    timing = time_sequences(mapping, lengths)
    cycles = timing.counters["cycles"] / n
    bound = sum(sequence_bound(spec, arch, t) for t in lengths) / n
    spent = energy.energy(timing.counters, arch, table, mapping.emit(None).run)
    weights = step_weights(spec)
    return Performance(
        name=spec.name,
        n_sequences=n,
        mean_steps=sum(lengths) / n,
        weights=weights.stored,
        weights_ratio=weights.dense / weights.stored,
        macs_per_step=mapping.macs,
        macs_per_step_naive=mapping.macs_naive,
        macs_per_step_dense=weights.dense_macs,
        cycles=cycles,
        cycles_setup=timing.setup_cycles,
        bound=bound,
        ratio=cycles / bound,
        array={k: v / n for k, v in timing.counters.items() if k.startswith("array_")},
        energy_table=table.name,
        energy_pj={k: v / n for k, v in spent.by_component.items()},
    )


def of_width(arch: Architecture, data_bits: int) -> Architecture:
    """Return the machine with another data width; a beat never has more elements than lanes."""
    if data_bits == arch.data_bits:
        return arch
    port_bytes = min(arch.port_bytes, arch.lanes * data_bits // 8)
    return arch.override(data_bits=data_bits, port_bytes=port_bytes)


def accuracy(answers: Sequence[ArrayLike], labels: NDArray[np.int64]) -> float:
    """Return the share of answers whose greatest element is the label's."""
    return float(np.mean([np.argmax(a) for a in answers] == labels))


def is_classifier(spec: ModelSpec) -> bool:
    """Whether a model's answer is one vector of logits: the last state through a linear layer."""
    return spec.output == "last" and spec.layers[-1].kind == "linear"


def figures(
    model: Model,
    arch: Architecture,
    calibration: Sequences,
    test: Sequences,
    table: energy.Table,
    progress: Progress = lambda _: None,
) -> Figures:
    """Map, quantise, run and time a model.

    `progress` is called with the stage's name after each sequence. Raises MappingError when the
    machine is too small, ProgramError when a program breaks a rule.
    """
    mapping = map_model(model.spec, arch)
    timed = performance(model.spec, mapping, [len(s) for s in test.sequences], table)
    classifies = is_classifier(model.spec)
    real = list(model.run_batch(test.sequences))
    accuracies: dict[int, float] = {}
    ratios: dict[int, float] = {}
    for width in sorted({*WIDTHS, arch.data_bits}):
        other = width != arch.data_bits
        mapped = map_model(model.spec, of_width(arch, width)) if other else mapping
        compiled = quantise_model(model, mapped, calibration.sequences)
        said = partial(progress, f"{model.spec.name}, {width} bit")
        answers = compiled.evaluate(test.sequences, said)
        if classifies:
            accuracies[width] = accuracy(answers, test.labels)
        else:
            found = [compiled.real_answer(a).ravel() for a in answers]
            ratios[width] = snr_db(
                np.concatenate([np.ravel(a) for a in real]), np.concatenate(found)
            )
    return Figures(
        **vars(timed),
        accuracy_float=accuracy(real, test.labels) if classifies else None,
        accuracy_fixed=accuracies,
        answer_snr_db=ratios,
    )


def common_prefix(names: Sequence[str]) -> str:
    """Return what all names begin with, up to its last separator; nothing for a single name."""
    same = takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False))
    start = "".join(column[0] for column in same) if len(names) > 1 else ""
    return start[: max(start.rfind(c) for c in "-_. /") + 1]


def comparison(rows: Sequence[Figures], arch: Architecture) -> Table:
    """Return the figures as one table, a column for each model.

    What all names have in common stands in the title only, so that the columns are narrow.
    """
    prefix = common_prefix([r.name for r in rows])
    machine = f"{arch.name}: {arch.rows} x {arch.cols} PEs, {arch.data_bits} bit"
    what = prefix.rstrip("-_. /")
    table = Table(title=Text(f"{what} on {machine}" if what else machine))
    table.add_column("", no_wrap=True)
    for r in rows:
        table.add_column(Text(r.name.removeprefix(prefix)), justify="right", overflow="fold")

    def line(title: str, values: Iterable[str], *, section: bool = False) -> None:
        table.add_row(title, *values, end_section=section)

    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.2f} %"

    if any(r.accuracy_fixed for r in rows):
        line("accuracy, float", (share(r.accuracy_float) for r in rows))
        for width in sorted({w for r in rows for w in r.accuracy_fixed}):
            line(f"accuracy, {width} bit", (share(r.accuracy_fixed.get(width)) for r in rows))
    for width in sorted({w for r in rows for w in r.answer_snr_db}):
        found = (r.answer_snr_db.get(width) for r in rows)
        values = ("-" if v is None else f"{v:.1f} dB" for v in found)
        line(f"signal to noise, {width} bit", values)
    line("weights of every step", (f"{r.weights:,}" for r in rows))
    line("  fewer than dense", (f"{r.weights_ratio:.1f} x" for r in rows), section=True)
    line("MACs per step", (f"{r.macs_per_step:,}" for r in rows))
    line("  in naive order", (f"{r.macs_per_step_naive:,}" for r in rows))
    line("  dense", (f"{r.macs_per_step_dense:,}" for r in rows), section=True)
    line("cycles per sequence", (f"{r.cycles:,.0f}" for r in rows))
    line("  bound", (f"{r.bound:,.0f}" for r in rows))
    line("  ratio", (f"{r.ratio:.2f}" for r in rows))
    for name in rows[0].array:
        line(f"  {name.replace('_', ' ')}", [f"{r.array[name]:,.0f}" for r in rows])
    line("cycles to load weights", (f"{r.cycles_setup:,}" for r in rows), section=True)
    for name in rows[0].energy_pj:
        line(f"{name}, nJ", [f"{r.energy_pj[name] / 1e3:,.2f}" for r in rows])
    line("energy per sequence, nJ", (f"{sum(r.energy_pj.values()) / 1e3:,.2f}" for r in rows))
    first = rows[0]
    table.caption = (
        f"{first.n_sequences} sequences of {first.mean_steps:.1f} steps on average; cycles and "
        f"energy ({first.energy_table}) per sequence, weights and program resident"
    )
    return table


def activity(counters: Mapping[str, int]) -> Table:
    """Return what each unit did in every cycle, from counters."""
    table = Table(title="cycles by unit and cause")
    for title in ("unit", "cycles", "share"):
        table.add_column(title, justify="left" if title == "unit" else "right")
    cycles = max(counters["cycles"], 1)
    for unit in ("array", "vector", "load", "store"):
        for name, value in counters.items():
            if name.startswith(unit + "_") and name not in ("vector_ops", *BEATS):
                share = f"{100 * value / cycles:.1f} %"
                table.add_row(name.replace("_", " "), f"{value:,}", share)
        table.add_section()
    return table
