"""A point's figures, a function of its content alone: on any computer, in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final, Literal, Self

import numpy as np

from einchip.arch import Architecture
from einchip.compiler import report
from einchip.compiler.compiled import Compiled, Places, map_model, quantise_model
from einchip.energy import EnergyError
from einchip.explore.errors import ExploreError
from einchip.explore.point import Compression, Context, Point, Subject, code_digest
from einchip.fpga import targets
from einchip.fpga.fit.model import committed
from einchip.fpga.fit.units import Design
from einchip.fpga.targets.flow import amounts
from einchip.mapper import MappingError
from einchip.models import Model, ModelError
from einchip.models.compress import Plan, Target, compress_model
from einchip.models.extras import library
from einchip.program import ProgramError

Status = Literal["ok", "infeasible", "failed"]
Figures = dict[str, float]
#: What says that a point is impossible; anything else is a defect of einchip or of the computer.
IMPOSSIBLE: Final = (EnergyError, MappingError, ModelError, ProgramError)
#: Compressed models that a process keeps.
KEPT_MODELS: Final = 32


class _NoRoomError(ValueError):
    """The board has no room for the machine, or its memory none for the model."""


@dataclass(frozen=True)
class Outcome:
    """What came of a point.

    "infeasible" is a result: the reason holds wherever the point is evaluated. "failed" is none:
    the process died, or something happened that should not; it is not kept, and tried again.
    """

    status: Status
    figures: Figures = field(default_factory=dict)
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain data."""
        return {"status": self.status, "reason": self.reason, "figures": self.figures}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Return the outcome of what `to_json` returned. Raises KeyError, TypeError, ValueError."""
        figures = {str(name): float(value) for name, value in raw["figures"].items()}
        if raw["status"] not in ("ok", "infeasible"):
            raise ValueError("no status of a result")
        return cls(raw["status"], figures, str(raw["reason"]))


def evaluate(context: Context, point: Point) -> Outcome:
    """Return a point's figures, or why there are none.

    Raises ExploreError where this is another einchip than the one that explores, or where it lacks
    a library.
    """
    if context.code != code_digest():
        raise ExploreError(
            f"found einchip {code_digest()} where points are evaluated, expected {context.code}; "
            "install the same einchip there, and start its processes anew"
        )
    if point.compression.format is not None:
        _require_libraries()
    try:
        return Outcome("ok", {k: float(v) for k, v in figures(context, point).items()})
    except (*IMPOSSIBLE, _NoRoomError) as error:
        return Outcome("infeasible", reason=str(error))
    except Exception as error:  # whatever it is, the other points go on
        return Outcome("failed", reason=f"{type(error).__name__}: {error}")


def _require_libraries() -> None:
    """Raise ExploreError where libraries that compress are missing: no property of a point."""
    try:
        for name in ("tensorly", "tensap"):
            library(name, "compress")
    except ModelError as error:
        raise ExploreError(str(error)) from None


def figures(context: Context, point: Point) -> Figures:
    """Return all figures of a point, named as in `objectives`. Raises what is IMPOSSIBLE."""
    subject = context.subjects[point.model]
    found = area(context, point.arch)
    model, decomposition = compressed(subject, point.compression)
    mapping = map_model(model.spec, point.arch)
    compiled = quantise_model(model, mapping, subject.calibration)
    if context.must_fit:
        _check_memory(context, compiled, max(subject.lengths))
    timed = report.performance(model.spec, mapping, subject.lengths, context.table)
    energy_pj = sum(timed.energy_pj.values())
    return {
        **found,
        "cycles": timed.cycles,
        "cycles_per_step": timed.cycles / timed.mean_steps,
        "cycles_setup": timed.cycles_setup,
        "bound_ratio": timed.ratio,
        "energy_pj": energy_pj,
        "energy_pj_per_step": energy_pj / timed.mean_steps,
        "weights": timed.weights,
        "macs_per_step": timed.macs_per_step,
        "decomposition": decomposition,
        **errors(subject, model, compiled, context.fixed_sequences),
    }


def area(context: Context, arch: Architecture) -> Figures:
    """Return what a machine takes on the board's part, by the model of `einchip fit`.

    With the board's memory and link. Raises `_NoRoomError` where it must fit and does not.
    """
    board = targets.find(context.target)
    model = committed()
    estimate = model.estimate(Design(arch, board.memory_bytes), board.part)
    if context.must_fit and estimate.lacking:
        over = amounts(estimate.used, board.part, estimate.lacking)
        most = ", ".join(f"{estimate.allowed(kind):,}" for kind in estimate.lacking)
        raise _NoRoomError(f"{board.name}: found {over}, expected at most {most}")
    return {**estimate.used, "lut_error": model.error(estimate, "lut")}


def _check_memory(context: Context, compiled: Compiled, n_steps: int) -> None:
    board = targets.find(context.target)
    need = Places.of_mapping(compiled.mapping, n_steps).size
    if need > board.memory_bytes:
        raise _NoRoomError(
            f"{board.name}: memory: found {need:,} bytes needed, expected at most "
            f"{board.memory_bytes:,}"
        )


@lru_cache(maxsize=KEPT_MODELS)
def compressed(subject: Subject, compression: Compression) -> tuple[Model, float]:
    """Return a model in a format, and the largest relative (Frobenius) error of a matrix."""
    if compression.format is None:
        return subject.model, 0.0
    by, n = compression.by, compression.value
    target = Target(
        rank=int(n) if by == "rank" else None,
        ratio=n if by == "ratio" else None,
        error=n if by == "error" else None,
    )
    made, reports = compress_model(subject.model, Plan(compression.format, target))
    return made, max(r.error for r in reports)


def errors(subject: Subject, model: Model, compiled: Compiled, n_fixed: int) -> Figures:
    """Return what the test sequences say: in float, and of the first `n_fixed` on the machine.

    Of a classifier the share of wrong answers; of others the relative error against the answers of
    the model as it was given (root of the sum of squares).
    """
    if subject.test is None:
        return {}
    found = {"error": _error(subject, list(model.run_batch(subject.test.sequences)))}
    if n_fixed:
        given = compiled.evaluate(subject.test.sequences[:n_fixed])
        found["error_fixed"] = _error(subject, [compiled.real_answer(a) for a in given])
    return found


def _error(subject: Subject, answers: list[Any]) -> float:
    assert subject.test is not None
    if report.is_classifier(subject.model.spec):
        return 1 - report.accuracy(answers, subject.test.labels[: len(answers)])
    expected = np.concatenate([np.ravel(a) for a in _answers(subject)[: len(answers)]])
    found = np.concatenate([np.ravel(a) for a in answers])
    scale = float(np.linalg.norm(expected))
    return float(np.linalg.norm(found - expected)) / scale if scale else 0.0


@cache
def _answers(subject: Subject) -> list[Any]:
    assert subject.test is not None
    return list(subject.model.run_batch(subject.test.sequences))
