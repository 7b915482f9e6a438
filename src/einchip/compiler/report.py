"""Accuracy, cycles, bound and energy of a model over real sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import takewhile
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.table import Table
from rich.text import Text

from einchip import energy, roofline
from einchip.arch import Architecture
from einchip.compiler.compiled import Places, map_model, problem_of, quantise_model
from einchip.mapper import tree
from einchip.mapper.lstm import LstmMapping
from einchip.models import Model, ModelSpec, Sequences, n_weights
from einchip.sim import simulate

#: Data widths whose accuracy a report gives.
WIDTHS = (8, 16)
#: Counters that are named after a unit and count no cycles.
BEATS = ("dma_read_beats", "dma_write_beats")
Progress = Callable[[str], None]


def compute_bound(spec: ModelSpec, arch: Architecture) -> float:
    """Return the roofline's compute cycles of one time step: both networks, weights resident."""
    problem = problem_of(spec)
    parts = ((problem.inputs, "x"), (problem.hidden, "h"))
    return sum(roofline.roofline(n, arch, s).compute_cycles for n, s in parts)


def head_bound(spec: ModelSpec, arch: Architecture) -> float:
    """Return the roofline's compute cycles of the linear head: its weights are read once."""
    if spec.head is None:
        return 0.0
    weights = spec.head.out_size * spec.layers[0].hidden_size
    return max(weights / arch.lanes, weights / arch.n_pes)


def sequence_bound(spec: ModelSpec, arch: Architecture, n_steps: int) -> int:
    """Return the roofline of a sequence: the larger of compute and the memory port."""
    compute = n_steps * compute_bound(spec, arch) + head_bound(spec, arch)
    n_out = spec.head.out_size if spec.head else spec.layers[0].hidden_size
    moved = (n_steps * spec.layers[0].input_size + n_out) * arch.element_bytes
    return ceil(max(compute, moved / arch.port_bytes))


def naive_macs(spec: ModelSpec) -> int:
    """Return the multiply-adds of a step that contracts the cores one by one in their order."""
    problem = problem_of(spec)
    parts = ((problem.inputs, "x"), (problem.hidden, "h"))
    return sum(tree.macs(tree.in_order(n, s), n) for n, s in parts)


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
    """All that a report says of one model; `accuracy_fixed` by data width in bits."""

    accuracy_float: float
    accuracy_fixed: dict[int, float]


@dataclass(frozen=True)
class Timing:
    """Counters of all sequences together, and of the setup."""

    counters: Counter[str]
    setup_cycles: int


def time_sequences(mapping: LstmMapping, lengths: Sequence[int]) -> Timing:
    """Simulate, without values, one run of each length that occurs, the program being resident."""
    programs, arch = mapping.emit(), mapping.arch
    places = Places.of(
        mapping.weights_bytes, mapping.sequence_bytes(max(lengths)), mapping.output_bytes
    )
    total: Counter[str] = Counter()
    for n_steps, times in Counter(lengths).items():
        host = mapping.host(n_steps, 0, places.sequence, places.output)
        run = simulate(programs.run, arch, host=host, fetch=False)
        for name, value in run.counters.items():
            total[name] += value * times
    host = mapping.host(0, 0, places.sequence, places.output)
    return Timing(total, simulate(programs.setup, arch, host=host).cycles)


def performance(
    spec: ModelSpec, mapping: LstmMapping, lengths: Sequence[int], table: energy.Table
) -> Performance:
    """Time a mapped model on sequences of these numbers of steps."""
    layer, arch, n = spec.layers[0], mapping.arch, len(lengths)
    timing = time_sequences(mapping, lengths)
    cycles = timing.counters["cycles"] / n
    bound = sum(sequence_bound(spec, arch, t) for t in lengths) / n
    spent = energy.energy(timing.counters, arch, table)
    weights = n_weights(layer.input) + n_weights(layer.hidden)
    dense = 4 * layer.hidden_size * (layer.input_size + layer.hidden_size)
    return Performance(
        name=spec.name,
        n_sequences=n,
        mean_steps=sum(lengths) / n,
        weights=weights,
        weights_ratio=dense / weights,
        macs_per_step=mapping.macs,
        macs_per_step_naive=naive_macs(spec),
        macs_per_step_dense=dense,
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


def figures(
    model: Model,
    arch: Architecture,
    calibration: Sequences,
    test: Sequences,
    table: energy.Table,
    progress: Progress = lambda _: None,
) -> Figures:
    """Map, quantise, run and time a classifier.

    `progress` is called with the stage's name after each sequence. Raises MappingError when the
    machine is too small, ProgramError when a program breaks a rule.
    """
    mapping = map_model(model.spec, arch)
    timed = performance(model.spec, mapping, [len(s) for s in test.sequences], table)
    accuracies: dict[int, float] = {}
    for width in sorted({*WIDTHS, arch.data_bits}):
        other = width != arch.data_bits
        mapped = map_model(model.spec, of_width(arch, width)) if other else mapping
        compiled = quantise_model(model, mapped, calibration.sequences)
        said = partial(progress, f"{model.spec.name}, {width} bit")
        accuracies[width] = accuracy(compiled.evaluate(test.sequences, said), test.labels)
    return Figures(
        **vars(timed),
        accuracy_float=accuracy(list(model.run_batch(test.sequences)), test.labels),
        accuracy_fixed=accuracies,
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

    line("accuracy, float", (f"{100 * r.accuracy_float:.2f} %" for r in rows))
    for width in sorted(rows[0].accuracy_fixed):
        values = [r.accuracy_fixed[width] for r in rows]
        line(f"accuracy, {width} bit", (f"{100 * v:.2f} %" for v in values))
    line("weights in W_ih, W_hh", (f"{r.weights:,}" for r in rows))
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
    for unit in ("array", "vector", "dma"):
        for name, value in counters.items():
            if name.startswith(unit + "_") and name not in ("vector_ops", *BEATS):
                share = f"{100 * value / cycles:.1f} %"
                table.add_row(name.replace("_", " "), f"{value:,}", share)
        table.add_section()
    return table
