"""Accuracy and fixed-point error of a folder's program, by the model and data that it is of."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from einchip.compiler import evaluate, quantisation
from einchip.compiler.compiled import Compiled, map_model
from einchip.compiler.folder import Folder
from einchip.compiler.merged import merge_model
from einchip.compiler.plan import Plan
from einchip.compiler.report import accuracy, is_classifier
from einchip.compiler.scales import snr_db
from einchip.models import Model, Sequences
from einchip.numeric import quantise
from einchip.report.data import Accuracy, StepError
from einchip.report.runs import Progress, ReportError


@dataclass(frozen=True)
class Given:
    """The model that was compiled, and labelled data: its scales' and those that are run."""

    model_file: str
    model: Model
    data_file: str
    train: Sequences
    test: Sequences


def check_model(folder: Folder, plan: Plan, given: Given) -> tuple[Model, Compiled]:
    """Return the model as it was compiled (its weights perhaps merged), and what was compiled.

    Raises ReportError where it is another model, or its mapping is not the folder's any more.
    """
    arch, batch, model = folder.arch, folder.manifest.batch, given.model
    if model.spec != plan.spec:
        model, _ = merge_model(model, arch, batch)
    if model.spec != plan.spec:
        raise ReportError(
            f"{given.model_file}: found model {given.model.spec.name} of other layers or formats, "
            f"expected the one that was compiled, {plan.spec.name}; name that one by --model"
        )
    mapping = map_model(model.spec, arch, batch)
    fracs = folder.manifest.fracs
    compiled = Compiled(model.spec, mapping, fracs, folder.weights)
    if set(mapping.limits) - set(fracs) or compiled.programs.run != folder.run:
        raise ReportError(
            f"{given.model_file}: found another mapping than the folder's, which another version "
            "of einchip made; compile again"
        )
    arrays = {
        name: quantise(values, fracs[name], arch.data_bits)
        for name, values in evaluate.weights(model, mapping).items()
    }
    if mapping.pack_weights(arrays) != folder.weights:
        raise ReportError(
            f"{given.model_file}: found other weights than the folder's; name the model that was "
            "compiled by --model"
        )
    return model, compiled


def measured(folder: Folder, plan: Plan, given: Given, progress: Progress) -> Accuracy:
    """Return what the folder's program answers, against the float model. Raises ReportError."""
    model, compiled = check_model(folder, plan, given)
    test, name = given.test, plan.spec.name
    n = len(test.sequences)
    progress(f"running {n} sequences of {name}")
    found = compiled.evaluate(test.sequences)
    real = [model.run(s) for s in test.sequences]
    classifies = is_classifier(model.spec)
    fixed = np.concatenate([compiled.real_answer(a).ravel() for a in found])
    progress(f"error of {name} by time step")
    by_step = quantisation.steps(
        model, folder.arch, given.train.sequences, test.sequences, lambda: None
    )
    return Accuracy(
        model_file=given.model_file,
        data_file=given.data_file,
        n_sequences=n,
        data_bits=folder.arch.data_bits,
        accuracy_float=accuracy(real, test.labels) if classifies else None,
        accuracy_fixed=accuracy(found, test.labels) if classifies else None,
        snr_db=_finite(snr_db(np.concatenate([np.ravel(a) for a in real]), fixed)),
        by_step=tuple(StepError(**{**vars(s), "snr_db": _finite(s.snr_db)}) for s in by_step),
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
