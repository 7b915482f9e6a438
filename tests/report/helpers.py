"""A small model, compiled into a folder, with data; what its report is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from einchip import energy
from einchip.arch import PRESETS
from einchip.compiler import folder
from einchip.compiler.compiled import Compiled, compile_model
from einchip.compiler.folder import Folder
from einchip.models import Model, Sequences
from einchip.report import Report
from einchip.report.accuracy import Given
from einchip.report.gather import Asked, gather, read_mapped
from einchip.report.mapping import Mapped
from einchip.report.program import Code
from einchip.report.runs import Runs, simulated
from einchip.report.steps import Steps
from tests.models.helpers import small_model

#: A name that would be a script, if it were not escaped.
NAME: Final = "<script>alert('&')</script>"
LENGTHS: Final = (4, 7, 4)
LATENCY: Final = 8


@dataclass(frozen=True)
class Example:
    """A compiled model in a folder, and what its report is made of."""

    source: Path
    model: Model
    compiled: Compiled
    train: Sequences
    test: Sequences

    @cached_property
    def folder(self) -> Folder:
        return folder.read(self.source)

    @cached_property
    def mapped(self) -> Mapped:
        return read_mapped(self.source, self.folder)

    @property
    def given(self) -> Given:
        return Given("model.safetensors", self.model, "data.npz", self.train, self.test)

    def asked(self, given: Given | None = None) -> Asked:
        command = ["einchip", "report", str(self.source), "-o", "<r>.html"]
        return Asked(self.source, self.folder, energy.load("horowitz45"), LATENCY, command, given)

    @cached_property
    def report(self) -> Report:
        return gather(self.asked(self.given), self.mapped)

    @cached_property
    def runs(self) -> Runs:
        return simulated(self.folder, LATENCY, lambda _: None)

    @cached_property
    def steps(self) -> Steps:
        code = Code(self.folder.run, self.folder.arch, self.mapped.plan)
        return Steps(self.runs, code, self.mapped, energy.load("horowitz45"))


def named(model: Model, name: str) -> Model:
    """Return a model of another name."""
    return Model(model.spec.model_copy(update={"name": name}), model.tensors)


def labelled(n_channels: int, n_classes: int, lengths: tuple[int, ...], seed: int) -> Sequences:
    """Return random sequences."""
    rng = np.random.default_rng(seed)
    given = tuple(rng.standard_normal((n, n_channels)).astype(np.float32) for n in lengths)
    return Sequences(given, rng.integers(n_classes, size=len(lengths)))


def example(source: Path, kind: str = "mpo", preset: str = "nano") -> Example:
    """Return a small model, compiled into a folder."""
    model = named(small_model(kind), NAME)
    n_in, n_out = model.spec.input_size, model.spec.out_size
    train, test = labelled(n_in, n_out, (5, 6, 7), 1), labelled(n_in, n_out, LENGTHS, 2)
    compiled = compile_model(model, PRESETS[preset], train.sequences)
    folder.write(compiled, test.sequences, source)
    return Example(source, model, compiled, train, test)


def without_weights(model: Model) -> Model:
    """Return a model of the same shape with other weights."""
    return replace(model, tensors={n: t + 1 for n, t in model.tensors.items()})
