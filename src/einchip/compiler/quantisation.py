"""What fixed point costs a model: by tensor, by contraction, by time step; at 8 and 16 bits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip import numeric
from einchip.arch import Architecture
from einchip.compiler import evaluate
from einchip.compiler.calibrate import AFTER
from einchip.compiler.compiled import Compiled, map_model, quantise_model
from einchip.compiler.report import WIDTHS, of_width
from einchip.compiler.scales import snr_db
from einchip.mapper.calibration import Evaluation
from einchip.mapper.plan import Step
from einchip.models import Model

Progress = Callable[[str], None]


@dataclass(frozen=True)
class TensorNoise:
    """What rounding and saturation of one tensor alone cost, over the values seen in float runs.

    `low` and `high` are the least and the greatest value; `saturated` of `n_values` are beyond what
    `bits` bits with `frac` fractional bits hold.
    """

    name: str
    bits: int
    frac: int
    low: float
    high: float
    snr_db: float
    saturated: int
    n_values: int


@dataclass(frozen=True)
class SumBound:
    """The widest sum of a contraction step, whatever its operands: `terms` products, one addend.

    By the rule "accumulator" of `check`: its magnitude is at most terms * 2**(2 (data_bits - 1)),
    and that of the addend 2**(data_bits - 1), shifted left to the product's scale. `bits` hold it.
    """

    name: str
    terms: int
    addend: str
    addend_shift: int
    bits: int
    acc_bits: int


@dataclass(frozen=True)
class StepNoise:
    """The machine's answers in one time step of all sequences that are so long.

    `rms_error` and `max_error` are of the answer's elements, real numbers.
    """

    step: int
    n_sequences: int
    snr_db: float
    rms_error: float
    max_error: float


@dataclass(frozen=True)
class Noise:
    """All that is said of one data width."""

    data_bits: int
    tensors: tuple[TensorNoise, ...]
    sums: tuple[SumBound, ...]
    steps: tuple[StepNoise, ...]
    answer_snr_db: float

    def to_json(self) -> dict[str, Any]:
        """Return every figure; infinite ratios (no error at all) are null."""
        return dict(_finite(asdict(self)))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def tensor_noise(name: str, values: ArrayLike, frac: int, bits: int) -> TensorNoise:
    """Return what a scale does to values."""
    real = np.asarray(values, dtype=np.float64)
    low, high = numeric.limits(bits)
    scaled = np.rint(real * 2.0**frac)
    held = numeric.dequantise(numeric.quantise(real, frac, bits), frac)
    return TensorNoise(
        name, bits, frac, float(real.min()), float(real.max()), snr_db(real, held),
        int(np.sum((scaled < low) | (scaled > high))), real.size,
    )  # fmt: skip


def tensors(compiled: Compiled, values: Mapping[str, NDArray[np.float64]]) -> list[TensorNoise]:
    """Return the noise of every tensor of a compiled model, over the values of its float run."""
    wide = compiled.mapping.wide
    return [
        tensor_noise(
            name, values.get(name + AFTER, seen), compiled.fracs[name],
            numeric.WIDE_BITS if name in wide else compiled.arch.data_bits,
        )
        for name, seen in values.items()
        if name in compiled.fracs
    ]  # fmt: skip


def sums(compiled: Compiled) -> list[SumBound]:
    """Return the bound of every contraction step's sum."""
    return [_sum(compiled, e, s) for e in compiled.mapping.evaluations for s in e.part.steps]


def _sum(compiled: Compiled, e: Evaluation, step: Step) -> SumBound:
    arch, fracs = compiled.arch, compiled.fracs
    kept = e.part.tensors[step.name].indices
    terms = prod(n for i, n in step.extents.items() if i not in kept)
    addend = e.addend if step.name == e.part.result else ""
    worst, shift = terms << 2 * (arch.data_bits - 1), 0
    if addend:
        shift = fracs[step.left] + fracs[step.right] - fracs[addend]
        worst += 1 << arch.data_bits - 1 + shift
    return SumBound(step.name, terms, addend, shift, worst.bit_length() + 1, arch.acc_bits)


def with_scales(model: Model, compiled: Compiled) -> Model:
    """Return the model with the scales of a compiled one, those of intermediates left out.

    What a contraction's intermediates are is the mapping's choice and may be another's.
    """
    stable = {n: f for n, f in compiled.fracs.items() if not re.search(r"(^@one|\.t\d+$)", n)}
    update = {"data_bits": compiled.arch.data_bits, "scales": stable}
    return Model(model.spec.model_copy(update=update), model.tensors)


def every_step(model: Model) -> Model:
    """Return the model that answers in every time step as it would if that were the last."""
    return Model(model.spec.model_copy(update={"output": "sequence"}), model.tensors)


def steps(
    model: Model,
    arch: Architecture,
    calibration: Sequence[ArrayLike],
    sequences: Sequence[ArrayLike],
    progress: Callable[[], None],
) -> list[StepNoise]:
    """Return the machine's error in each time step, by the reference."""
    stepwise = every_step(model)
    compiled = quantise_model(stepwise, map_model(stepwise.spec, arch), calibration)
    answers = compiled.evaluate(sequences, progress)
    real = [stepwise.run(s) for s in sequences]
    found = [compiled.real_answer(a) for a in answers]
    return [_step(t, real, found) for t in range(max(map(len, real)))]


def _step(t: int, real: list[NDArray[np.float64]], found: list[NDArray[np.float64]]) -> StepNoise:
    pairs = [(r[t], f[t]) for r, f in zip(real, found, strict=True) if len(r) > t]
    expected, given = (np.concatenate(column) for column in zip(*pairs, strict=True))
    error = np.abs(given - expected)
    rms = float(np.sqrt(np.mean(error**2)))
    return StepNoise(t + 1, len(pairs), snr_db(expected, given), rms, float(error.max()))


def noise(
    model: Model,
    arch: Architecture,
    calibration: Sequence[ArrayLike],
    sequences: Sequence[ArrayLike],
    progress: Progress = lambda _: None,
) -> list[Noise]:
    """Return what 8, 16 and the machine's own data bits cost a model.

    Scales come from `calibration`; `sequences` are run by the reference. Raises MappingError and
    ProgramError as `compile_model`.
    """
    real = np.concatenate([np.ravel(a) for a in (model.run(s) for s in sequences)])
    found = []
    for width in sorted({*WIDTHS, arch.data_bits}):
        machine = of_width(arch, width)

        def said(width: int = width) -> None:
            progress(f"{model.spec.name}, {width} bit")

        mapping = map_model(model.spec, machine)
        compiled = quantise_model(model, mapping, calibration)
        answers = [compiled.real_answer(a).ravel() for a in compiled.evaluate(sequences, said)]
        values = evaluate.observe(model, mapping, calibration)
        by_step = steps(model, machine, calibration, sequences, said)
        ratio = snr_db(real, np.concatenate(answers))
        parts = tuple(tensors(compiled, values)), tuple(sums(compiled)), tuple(by_step)
        found.append(Noise(width, *parts, ratio))
    return found
