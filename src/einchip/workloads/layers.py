"""Whole recurrent layers made of published matrices, and what a time step of one costs."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from einchip.arch import Architecture
from einchip.compiler.compiled import Places
from einchip.compiler.merged import merge_spec
from einchip.compiler.problem import problem_of
from einchip.mapper import MappingError, ModelMapping, ModelProblem, Recurrent, map_model
from einchip.mapper.cells import cell_instructions
from einchip.models import MatrixSpec, ModelError, ModelSpec, RecurrentSpec
from einchip.models.io import spec_error
from einchip.models.spec import GATE_ORDER, Cell
from einchip.network import NetworkError
from einchip.program import Copy, Program, ProgramError
from einchip.roofline import steady_compute_cycles, vector_cycles
from einchip.sim import Run, simulate
from einchip.workloads.batches import divisors
from einchip.workloads.catalogue import Entry, Refused, Workload

#: Time steps of the shorter sequence, and those by which the other one is longer.
WARM, MEASURED = 4, 8
#: Cycles over the bound of a layer that is not tried with merged weights.
NEAR: Final = 1.05
#: Counters of the array that a step's cycles are split into; together they are all cycles.
ARRAY: Final = ("drain", "port", "token", "setup")


class _Layer(BaseModel):
    """The fact `layer` of an entry: how its matrices make a recurrent layer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: Cell = "lstm"
    input: str = ""
    hidden: str = "dense"
    joint: bool = False


@dataclass(frozen=True)
class Layer:
    """A recurrent layer with a name, for a batch of sequences."""

    name: str
    spec: ModelSpec
    batch: int = 1

    def problem(self, n: int) -> ModelProblem:
        """Return what the mapper is asked for n sequences; the answer is the last state."""
        return problem_of(self.spec, n)


@dataclass(frozen=True)
class LayerFigures:
    """A time step of a layer in the steady state: cycles of T + 8 steps less those of T, per step.

    Attributes
    ----------
    batch : sequences; all figures are of one step of all of them.
    micro_batch : sequences side by side in one run; batch / micro_batch runs follow one another.
    merged : whether weights are merged beforehand (`einchip.compiler.merged`).
    weights_bytes : what `setup` loads, padding included.
    cycles_per_step : of the simulator, of all these runs.
    compute_cycles : the roofline's compute term of both matrices (`einchip.roofline`).
    port_cycles : bytes of the input over the port's width.
    vector_bound_cycles : reads of the cell's instructions (`einchip.roofline.vector_cycles`).
    bound_cycles : the largest of these three.
    loss : what makes up cycles_per_step - bound_cycles, by cause: `fold` the array's issue slots
        above the bound (below zero where another unit or a result's way out is the bound), then
        the cycles without issue by the simulator's counters: `drain`, `port`, `token`, `setup`,
        `idle`.
    dma_stall_cycles : cycles in which load or store unit waited for a port or for memory (beside
        `loss`, since the array may work at the same time).
    copy_cycles : cycles in which the vector unit copies, from launch to last write.
    words : of the program.
    """

    name: str
    cell: str
    batch: int
    micro_batch: int
    merged: bool
    weights_bytes: int
    cycles_per_step: float
    compute_cycles: float
    port_cycles: float
    vector_bound_cycles: int
    bound_cycles: int
    loss: Mapping[str, float]
    dma_stall_cycles: float
    copy_cycles: float
    words: int

    @property
    def ratio(self) -> float:
        """Cycles over bound."""
        return self.cycles_per_step / self.bound_cycles

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, the ratio among them."""
        return {**asdict(self), "ratio": self.ratio}


def layers(entries: Iterable[Entry], batch: int = 1) -> list[Layer | Refused]:
    """Return the recurrent layers of these entries, in order; entries without `layer` have none.

    A layer is made as the entry's fact `layer` says: `cell` lstm, gru or rnn; `input` and `hidden`
    the names of its two matrices; or `hidden` "dense" or "same" (the input's matrix once more), or
    `joint`: one matrix over [x; h].
    """
    return [_layer(e, batch) for e in entries if "layer" in e.facts]


def _layer(entry: Entry, batch: int) -> Layer | Refused:
    try:
        told = _Layer.model_validate(entry.facts["layer"])
        spec = ModelSpec(name=entry.name, layers=(_recurrent(entry, told),))
        return Layer(entry.name, spec, batch)
    except ValidationError as error:
        return Refused(entry.name, str(spec_error(error, entry.name)))
    except ModelError as error:
        return Refused(entry.name, str(error))


def _recurrent(entry: Entry, told: _Layer) -> RecurrentSpec:
    given = _matrix(entry, told.input)
    n_gates = len(GATE_ORDER[told.cell])
    size, rest = divmod(given.out_size, n_gates)
    if rest:
        raise ModelError(
            f"out_modes: found {list(given.out_modes)}, expected a product that {n_gates} gates "
            "divide; correct the cell"
        )
    if told.joint:
        n_in = given.in_size - size
        return RecurrentSpec(cell=told.cell, input_size=n_in, hidden_size=size, joint=given)
    return RecurrentSpec(
        cell=told.cell,
        input_size=given.in_size,
        hidden_size=size,
        input=given,
        hidden=_hidden(entry, told, given, size),
    )


def _hidden(entry: Entry, told: _Layer, given: MatrixSpec, size: int) -> MatrixSpec:
    if told.hidden == "dense":
        return MatrixSpec(format="dense", in_modes=(size,), out_modes=(given.out_size,))
    return given if told.hidden == "same" else _matrix(entry, told.hidden)


def _matrix(entry: Entry, part: str) -> MatrixSpec:
    """Return an entry's matrix of this name, or its only one for ""."""
    wanted = f"{entry.name} {part}" if part else entry.name
    for matrix in entry.matrices:
        if matrix.name == wanted:
            if isinstance(matrix, Workload):
                return matrix.spec
            raise ModelError(matrix.error)
    names = ", ".join(m.name for m in entry.matrices)
    raise ModelError(f"layer: found matrices {names}, expected one called {wanted}")


def measure_layers(
    entries: Iterable[Entry], arch: Architecture, batch: int = 1
) -> list[LayerFigures | Refused]:
    """Map and simulate the layers of these entries; what does not fit the machine is refused."""
    return [measure_layer(layer, arch) for layer in layers(entries, batch)]


def measure_layer(layer: Layer | Refused, arch: Architecture) -> LayerFigures | Refused:
    """Map and simulate a layer, its batch divided into runs as is quickest.

    Runs of fewer sequences are tried while they are quicker, and while their bound allows it.
    """
    if isinstance(layer, Refused):
        return layer
    try:
        return _quickest(layer, arch)
    except (MappingError, NetworkError, ProgramError) as error:
        return Refused(layer.name, " ".join(str(error).split()))


def _quickest(layer: Layer, arch: Architecture) -> LayerFigures:
    """Return the figures of the quickest division; raises the last error where none fits."""
    bounds = step_bounds(layer, arch, layer.batch)
    best: LayerFigures | None = None
    error: MappingError | ProgramError | None = None
    for n in divisors(layer.batch):
        runs = layer.batch // n
        if best and step_bounds(layer, arch, n).total * runs >= best.cycles_per_step:
            continue
        try:
            found = _figures(layer, arch, n, bounds)
        except (MappingError, ProgramError) as failed:
            error = failed
            continue
        if best and found.cycles_per_step > best.cycles_per_step:
            break
        best = found
    if best is None:
        raise error or MappingError("batch: found 0 sequences, expected at least 1")
    return best


def _figures(layer: Layer, arch: Architecture, n: int, bounds: StepBounds) -> LayerFigures:
    """Return the figures where n sequences are side by side, with merged weights if quicker."""
    plain: LayerFigures | None = None
    error: MappingError | ProgramError | None = None
    try:
        plain = _mapped(layer, arch, n, bounds)
    except (MappingError, ProgramError) as failed:
        error = failed
    if plain and plain.ratio <= NEAR:
        return plain
    spec = merge_spec(layer.spec, arch, n)
    if spec != layer.spec:
        with contextlib.suppress(MappingError, ProgramError):
            merged = replace(_mapped(replace(layer, spec=spec), arch, n, bounds), merged=True)
            plain = min(plain or merged, merged, key=lambda f: f.cycles_per_step)
    if plain is None:
        raise error or MappingError("found no mapping")
    return plain


def _mapped(layer: Layer, arch: Architecture, n: int, bounds: StepBounds) -> LayerFigures:
    """Return the figures of a layer as it is."""
    mapping = map_model(layer.problem(n), arch)
    program = mapping.emit().run
    runs = layer.batch // n
    steady = {name: runs * value for name, value in per_step(program, mapping).items()}
    loss = {"fold": steady["array_issue"] - bounds.total}
    loss |= {cause: steady[f"array_stall_{cause}"] for cause in ARRAY}
    loss |= {"idle": steady["array_idle"]}
    recurrent = layer.spec.layers[0]
    assert isinstance(recurrent, RecurrentSpec)
    return LayerFigures(
        name=layer.name,
        cell=recurrent.cell,
        batch=layer.batch,
        micro_batch=n,
        merged=False,
        weights_bytes=mapping.weights_bytes,
        cycles_per_step=steady["cycles"],
        compute_cycles=bounds.compute,
        port_cycles=bounds.port,
        vector_bound_cycles=bounds.vector,
        bound_cycles=bounds.total,
        loss=loss,
        dma_stall_cycles=sum(
            steady[f"{unit}_stall_{cause}"]
            for unit in ("load", "store")
            for cause in ("port", "memory")
        ),
        copy_cycles=steady["copy"],
        words=program.n_words,
    )


class StepBounds(NamedTuple):
    """Cycles below which no time step is: of the array, the memory port and the vector unit."""

    compute: float
    port: float
    vector: int

    @property
    def total(self) -> int:
        """The largest of the three."""
        return ceil(max(self))


def step_bounds(layer: Layer, arch: Architecture, n: int) -> StepBounds:
    """Return the bounds of a time step of n sequences side by side.

    Raises NetworkError for networks whose least number of multiply-adds is not known.
    """
    problem = layer.problem(n)
    port = n * layer.spec.input_size * arch.element_bytes / arch.port_bytes
    compute = steady_compute_cycles(problem.matrices, arch)
    return StepBounds(compute, port, vector_bound(problem, arch))


def vector_bound(problem: ModelProblem, arch: Architecture) -> int:
    """Return the cycles that the reads of all cells take the vector unit in a time step."""
    return sum(
        vector_cycles(cell_instructions(s.cell), s.hidden_size, arch) * len(s.directions)
        for s in problem.batched.per_step
        if isinstance(s, Recurrent)
    )


def per_step(program: Program, mapping: ModelMapping) -> dict[str, float]:
    """Return every counter of the simulator, and `copy`, per time step in the steady state."""
    runs = [_run(program, mapping, WARM + extra) for extra in (0, MEASURED)]
    counts = [Counter(r.counters) + Counter(copy=_copying(r)) for r in runs]
    names = {*runs[0].counters, "copy"}
    return {n: (counts[1][n] - counts[0][n]) / MEASURED for n in sorted(names)}


def _run(program: Program, mapping: ModelMapping, n_steps: int) -> Run:
    host = Places.of_mapping(mapping, n_steps).host(n_steps)
    run = simulate(program, mapping.arch, host=host, fetch=False)
    if run.error:
        raise ProgramError(f"the machine stops with {run.error[0].name}")
    return run


def _copying(run: Run) -> int:
    copies = [e for e in run.timeline if isinstance(e.instruction, Copy)]
    return sum(e.completion - e.launch for e in copies if e.completion is not None)


__all__ = [
    "Layer",
    "LayerFigures",
    "layers",
    "measure_layer",
    "measure_layers",
    "per_step",
    "vector_bound",
]
