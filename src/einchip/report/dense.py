"""The same model with dense matrices on the same machine, over the same runs."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from einchip import energy
from einchip.compiler.bound import sequence_bound, step_weights
from einchip.compiler.compiled import Places, map_model
from einchip.mapper import MappingError
from einchip.models import LinearSpec, ModelSpec, RecurrentSpec
from einchip.network import NetworkError
from einchip.report.data import DenseComparison, FormFigures, percent
from einchip.report.runs import ReportError, timed
from einchip.report.steps import Steps

#: A matrix whose modes are filled in from the layer's sizes.
_DENSE: Final = {"format": "dense"}
AS_COMPILED: Final = "as compiled"
DENSE: Final = "dense"


def dense_spec(spec: ModelSpec) -> ModelSpec:
    """Return a model with every matrix dense; an embedding, which is a lookup, stays as it is."""
    layers: list[dict[str, Any]] = []
    for layer in spec.layers:
        if isinstance(layer, LinearSpec):
            layers.append(layer.model_dump() | {"weight": _DENSE})
        else:
            assert isinstance(layer, RecurrentSpec)
            changed = {"input": _DENSE, "hidden": _DENSE, "joint": None}
            layers.append(layer.model_dump() | changed)
    changes = {"layers": layers, "scales": None, "data_bits": None}
    return ModelSpec.model_validate(spec.model_dump() | changes)


def compare(steps: Steps, macs_per_step: int) -> DenseComparison:
    """Return the figures of both forms, and what they say in words."""
    spec, runs = steps.code.plan.spec, steps.runs
    other = dense_spec(spec)
    bound = sum(s.bound_cycles for s in runs.folder.manifest.sequences)
    own = _form(AS_COMPILED, spec, macs_per_step, runs.counters, bound, steps)
    if step_weights(spec).stored == step_weights(other).stored:
        return DenseComparison(sentence="All matrices of this model are dense.", forms=(own,))
    try:
        dense = _dense(other, steps)
    except (MappingError, NetworkError, ReportError) as error:
        return DenseComparison(
            sentence=f"With dense matrices the model does not run on {steps.arch.name}: {error}.",
            forms=(own,),
        )
    return DenseComparison(sentence=_sentence(own, dense), forms=(own, dense))


def _dense(spec: ModelSpec, steps: Steps) -> FormFigures:
    """Return the figures of the dense model. Raises MappingError where it does not fit."""
    runs, batch = steps.runs, steps.runs.folder.manifest.batch
    mapping = map_model(spec, steps.arch, batch)
    places, program = Places.of_mapping(mapping, max(runs.lengths)), mapping.emit().run
    counters, bound = Counter[str](), 0
    for n_steps, times in Counter(runs.lengths).items():
        run = timed(program, steps.arch, places, n_steps, runs.latency)
        for name, value in run.counters.items():
            counters[name] += times * value
        bound += times * sequence_bound(spec, steps.arch, n_steps, batch)
    spent = energy.energy(counters, steps.arch, steps.table, program)
    return _form(DENSE, spec, mapping.macs, counters, bound, steps, spent.total_pj)


def _form(
    form: str,
    spec: ModelSpec,
    macs_per_step: int,
    counters: dict[str, int] | Counter[str],
    bound: int,
    steps: Steps,
    energy_pj: float | None = None,
) -> FormFigures:
    cycles = counters["cycles"]
    return FormFigures(
        form=form,
        weights=step_weights(spec).stored,
        macs_per_step=macs_per_step,
        cycles=cycles,
        bound_cycles=bound,
        ratio=cycles / bound,
        energy_pj=steps.spent.total_pj if energy_pj is None else energy_pj,
        multiplier_use=counters["macs"] / (cycles * steps.arch.n_pes),
    )


def _sentence(own: FormFigures, dense: FormFigures) -> str:
    """Return both forms in words."""
    return (
        f"As compiled the runs take {own.cycles:,} cycles, with dense matrices {dense.cycles:,}: "
        f"compression makes them {_ratio(dense.cycles, own.cycles)} times as fast. A step has "
        f"{own.weights:,} weights for {dense.weights:,} and {own.macs_per_step:,} MACs for "
        f"{dense.macs_per_step:,}, {_ratio(own.macs_per_step, dense.macs_per_step)} times as many; "
        f"{percent(own.multiplier_use)} of the multipliers are in use for "
        f"{percent(dense.multiplier_use)}."
    )


def _ratio(a: float, b: float) -> str:
    return f"{a / b:.2f}"
