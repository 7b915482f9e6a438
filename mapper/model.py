"""Whole models: phases over a sequence, one after another, in one program.

A phase is a loop over the time steps. It loads its input, contracts it with the linear stages
before a recurrent layer and with that layer's two matrices, updates the states in the vector unit,
and hands its vector on. Loads run ahead of the array by a time step or by slices of x; the input
part of a step does not need h and fills the array while the vector unit works. Each direction of a
recurrent layer is a phase; what lies between phases goes through external memory, every time step a
record in which each reader has a field in its own layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from einchip import reference
from einchip.arch import Architecture
from einchip.mapper import report, tree
from einchip.mapper.divide import ModelSearch
from einchip.mapper.image import image
from einchip.mapper.nets import Cut, Net
from einchip.mapper.phase import Phase
from einchip.mapper.place import Mapped
from einchip.mapper.plan import Part
from einchip.mapper.ports import (
    INPUT,
    OUTPUT,
    WORKSPACE,
    Field,
)
from einchip.mapper.problem import Linear, ModelProblem, Recurrent
from einchip.mapper.programs import Programs
from einchip.mapper.timeline import predict
from einchip.mapper.vector import MAX_FRAC
from einchip.network import Network, NetworkError
from einchip.numeric import Ints
from einchip.program import Act
from einchip.reference import Host
from einchip.roofline import roofline

#: Time steps before the steady state is measured, and those measured.
WARM, MEASURED = 2, 4


class Evaluation(NamedTuple):
    """A network's values over recorded time steps, for a calibrator.

    Contracting `part` with its weights and, for each tensor in `operands`, the rows of that wire,
    plus `addend` (row-major; elements `addend_from` to `addend_to`, or all if `addend_to` is 0),
    gives `result` before `act`. The result's axes are those of the network's output.
    """

    part: Part
    operands: Mapping[str, str]
    addend: str
    act: Act
    result: str
    addend_from: int = 0
    addend_to: int = 0


@dataclass(frozen=True)
class ModelMapping:
    """How a model runs on a machine.

    Names of tensors and results, for scales and weights, are those of `einchip.mapper.problem`.
    """

    problem: ModelProblem
    arch: Architecture
    mapped: Mapped

    searched = (
        "the quickest tree of each matrix alone, of all trees of connected parts, with the best "
        "folds that share the layouts of gates and h; slices of x, the fewest first, only where "
        "memory is short; not proved optimal for the model as a whole"
    )

    def emit(self, fracs: Mapping[str, int] | None = None) -> Programs:
        """Return the programs with these fractional bits for every name (None: all 0).

        Raises MappingError for scales that a shift cannot reach.
        """
        return self.mapped.programs(fracs, self.arch)

    def host(
        self, n_steps: int, weights: int, sequence: int, output: int, workspace: int = 0
    ) -> Host:
        """Return the host registers for a run: external addresses and the number of steps."""
        return Host((weights, sequence, output, workspace), (n_steps, 0, 0, 0))

    # --- what a calibrator needs -------------------------------------------------------------
    @cached_property
    def nets(self) -> list[Net]:
        """All mapped networks in the order in which they run."""
        return [net for phase in self.mapped.phases for net in phase.nets.all]

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """What a calibrator must evaluate, in order."""
        found = []
        for phase in self.mapped.phases:
            size = phase.cell.units.size if phase.cell else 0
            for n in phase.nets.all:
                low = n.addend_gate * size
                found.append(
                    Evaluation(
                        n.part, n.operands, n.addend, n.act, n.part.result, low,
                        low + n.addend_gates * size,
                    )
                )  # fmt: skip
        return found

    @property
    def steps(self) -> list[report.Contraction]:
        """All contractions of a time step, then what is behind the loops."""
        return [c for net in self.nets for c in report.contractions(net.part)]

    @cached_property
    def same_scale(self) -> tuple[tuple[str, ...], ...]:
        """Groups of names whose fractional bits must be equal: copies of one another."""
        return _merged(_copies(self.mapped.phases))

    @property
    def wide(self) -> tuple[str, ...]:
        """Names of the states that are kept in 16 bits."""
        return tuple(p.state_name for p in self.mapped.phases if p.state_name)

    @property
    def limits(self) -> dict[str, tuple[int, int]]:
        """Bounds of the fractional bits that instructions demand."""
        cells = {n for p in self.mapped.phases for w in p.pointwise() for n in w.scales}
        acts = {n.part.result for n in self.nets if n.act in (Act.SIGMOID, Act.TANH)}
        return dict.fromkeys(sorted(cells | acts), (0, MAX_FRAC))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the vectors that make up the answer, of equal scales."""
        last = self.mapped.phases[-1]
        if last.ports.finals and not last.nets.behind:
            return tuple(h.name for h in last.ports.states)
        fields = last.ports.finals or tuple(
            s.field for p in self.mapped.phases for s in p.ports.sinks if s.piece is None
        )
        return tuple(f.tensor.name for f in fields)

    # --- figures -----------------------------------------------------------------------------
    @property
    def macs(self) -> int:
        """Multiply-adds of one time step, in the chosen order."""
        return sum(s.macs for net in self._looped() for s in net.part.steps)

    def _looped(self) -> Iterator[Net]:
        for phase in self.mapped.phases:
            once = phase.nets.behind if not phase.nets.asked.behind_in_loop else ()
            yield from (n for n in phase.nets.all if n not in once)

    def _networks(self) -> Iterator[tuple[Network, str]]:
        """Yield the problem's networks of one time step, each with its data tensor."""
        stages = list(self.problem.stages)
        if self.problem.output == "last":
            while isinstance(stages[-1], Linear):
                stages.pop()
        for stage in stages:
            if isinstance(stage, Linear):
                yield stage.network, stage.operands[0]
            else:
                yield from _matrices(stage)

    @property
    def macs_naive(self) -> int:
        """Multiply-adds of one time step with the tensors in their order, the data first."""
        return sum(tree.macs(tree.in_order(n, first), n) for n, first in self._networks())

    @property
    def bound(self) -> int | None:
        """The roofline of one time step: all its matrices, and its input over the memory port."""
        try:
            lines = [roofline(n, self.arch, first) for n, first in self._networks()]
        except NetworkError:
            return None
        port = self.input_size * self.arch.element_bytes / self.arch.port_bytes
        return ceil(max(sum(r.compute_cycles for r in lines), port))

    def cycles(self, n_steps: int) -> int:
        """Predicted cycles of a run over a sequence, program fetch left out."""
        return predict(self.emit().run, self.arch, n_steps)

    @property
    def step_cycles(self) -> float:
        """Predicted cycles of one time step in the steady state."""
        return (self.cycles(WARM + MEASURED) - self.cycles(WARM)) / MEASURED

    def to_json(self) -> dict[str, Any]:
        """Return the mapping as plain data."""
        return {
            "arch": self.arch.name,
            "optimal": False,
            "searched": self.searched,
            "macs_per_step": self.macs,
            "macs_naive_per_step": self.macs_naive,
            "cycles_per_step": self.step_cycles,
            "bound_cycles_per_step": self.bound,
            "slices": self.mapped.phases[0].nets.first.part.slicing.count,
            "phases": [
                {"order": [o.name for o in p.body], "after": [o.name for o in p.after]}
                for p in self.mapped.phases
            ],
            "networks": [
                {
                    "tree": net.part.tree,
                    "steps": report.describe(net.part, self.arch),
                    "tensors": report.layouts(net.part),
                    "padding": net.part.padding,
                }
                for net in self.nets
            ],
        }

    def explain(self) -> str:
        """Return the loop nests as text."""
        return "\n".join(report.explain(net.part, self.arch) for net in self.nets)

    # --- external memory ---------------------------------------------------------------------
    @cached_property
    def _inputs(self) -> list[Field]:
        """The fields of the input sequence's records."""
        return [f for p in self.mapped.phases for f in p.ports.sources if f.base == INPUT]

    @cached_property
    def _outputs(self) -> list[Field]:
        """The fields of the output."""
        phases = self.mapped.phases
        sinks = [s.field for p in phases for s in p.ports.sinks if s.field.base == OUTPUT]
        return sinks or [f for p in phases for f in p.ports.finals]

    @property
    def input_size(self) -> int:
        """Elements of one time step's input."""
        own = self.mapped.phases[0].ports.sources
        return sum(int(np.prod(f.region.shape)) for f in own)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weights in external memory, at BASE0."""
        return max(
            (r.offset + r.n_bytes(self.arch) for _, r in self.mapped.weights.values()), default=0
        )

    def sequence_bytes(self, n_steps: int) -> int:
        """Bytes that a run reads at BASE1."""
        return n_steps * self._inputs[0].record

    def output_bytes(self, n_steps: int) -> int:
        """Bytes that a run writes at BASE2."""
        fields = self._outputs
        once = max(f.region.offset + f.region.n_bytes(self.arch) for f in fields)
        return n_steps * fields[0].record if fields[0].record else once

    def workspace_bytes(self, n_steps: int) -> int:
        """Bytes that a run writes and reads at BASE3."""
        return n_steps * self.mapped.records.get(WORKSPACE, 0)

    @cached_property
    def cuts(self) -> dict[str, Cut]:
        """Where every mapped weight comes from."""
        found = {name: cut for net in self.nets for name, cut in net.cuts.items()}
        for name, (_, place) in self.mapped.weights.items():
            found.setdefault(name, Cut(name, place.shape))
        return found

    def weight_arrays(self, arrays: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """Return the problem's arrays as the mapped steps see them, reshaped and cut by gate.

        Raises ValueError for an array that is missing or has another size.
        """
        return {name: _cut(cut, arrays) for name, cut in self.cuts.items()}

    def pack_weights(self, arrays: Mapping[str, ArrayLike]) -> bytes:
        """Return the external memory of all weights and biases, integers under mapped names.

        Raises ValueError for an array that is missing or has another size.
        """
        regions = {n: r for n, (_, r) in self.mapped.weights.items()}
        missing = sorted(set(regions) - set(arrays))
        if missing:
            raise ValueError(
                f"{missing[0]}: found no array, expected shape {regions[missing[0]].shape}"
            )
        shaped = {n: np.asarray(arrays[n]).reshape(r.shape) for n, r in regions.items()}
        return image(regions, shaped, self.weights_bytes, self.arch)

    def pack_sequence(self, steps: ArrayLike | Mapping[str, ArrayLike]) -> bytes:
        """Return the external memory of a sequence.

        `steps` is an array of integers [n_steps, input size]; or, for several operands, one for
        each by name.
        """
        n = 0
        rows: list[tuple[Field, Ints]] = []
        for f in self._inputs:
            key = f.tensor.name.rsplit(".", 1)[1]
            given = np.asarray(steps[key] if isinstance(steps, Mapping) else steps, dtype=np.int64)
            n = len(given)
            rows.append((f, given.reshape(n, *f.region.shape)))
        out = np.zeros((n, self._inputs[0].record // self.arch.element_bytes), dtype=np.int64)
        for f, values in rows:
            out[:, self._places(f)] = values
        return reference.to_bytes(out.ravel(), self.arch)

    def unpack(self, output: bytes | bytearray, n_steps: int = 1) -> Ints:
        """Return the answer from what a run wrote at BASE2: [n_out], or [n_steps, n_out]."""
        fields = self._outputs
        n = n_steps if fields[0].record else 1
        data = reference.from_bytes(bytes(output[: self.output_bytes(n)]), self.arch).reshape(n, -1)
        rows = np.concatenate([data[:, self._places(f)].reshape(n, -1) for f in fields], axis=1)
        return rows if fields[0].record else rows[0]

    def _places(self, f: Field) -> Ints:
        """Return the element numbers of a field within its record."""
        return f.region.offset // self.arch.element_bytes + f.region.addresses(self.arch)


def _cut(cut: Cut, arrays: Mapping[str, ArrayLike]) -> np.ndarray:
    if cut.source not in arrays:
        raise ValueError(f"{cut.source}: found no array, expected shape {cut.shape}")
    whole = np.asarray(arrays[cut.source])
    if whole.size != int(np.prod(cut.shape)):
        raise ValueError(f"{cut.source}: found shape {whole.shape}, expected {cut.shape}")
    whole = whole.reshape(cut.shape)
    if cut.axis < 0:
        return whole
    part = np.take(whole, range(cut.start, cut.stop), axis=cut.axis)
    return part.squeeze(cut.axis) if cut.drop else part


def _matrices(stage: Recurrent) -> Iterator[tuple[Network, str]]:
    for d in stage.directions:
        yield d.inputs, "x"
        yield d.hidden, "h"


def _copies(phases: Sequence[Phase]) -> Iterator[tuple[str, ...]]:
    """Yield names that are copies of one another."""
    inputs = [f.tensor.name for p in phases for f in p.ports.sources if f.base == INPUT]
    if len({p.number for p in phases if not p.nets.asked.group}) > 1:
        yield tuple(inputs)
    for phase in phases:
        cell = phase.cell
        if cell and not phase.state_name:
            yield cell.hidden.part.result, cell.h.name
        for sink in phase.ports.sinks:
            yield phase.produced.name, sink.field.tensor.name
        if phase.nets.asked.copied_in:
            states = phase.ports.states or ((cell.h,) if cell else ())
            yield (next(iter(phase.nets.behind[0].operands)), *(h.name for h in states))
        elif phase.ports.finals and not phase.nets.behind:
            yield tuple(h.name for h in phase.ports.states)
    yield tuple(s.field.tensor.name for p in phases for s in p.ports.sinks if s.piece is None)


def _merged(groups: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return disjoint groups of more than one name."""
    found: list[list[str]] = []
    for group in groups:
        touched = [g for g in found if not set(g).isdisjoint(group)]
        merged = list(dict.fromkeys([n for g in touched for n in g] + list(group)))
        found = [g for g in found if g not in touched] + [merged]
    return tuple(tuple(g) for g in found if len(g) > 1)


def map_model(problem: ModelProblem, arch: Architecture) -> ModelMapping:
    """Search the quickest mapping of a model.

    Raises MappingError when nothing fits: what is too small, and the least change that helps.
    """
    return ModelMapping(problem, arch, ModelSearch(problem, arch).run())


__all__ = ["Evaluation", "ModelMapping", "map_model"]
