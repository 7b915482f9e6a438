"""Whole models: phases over a sequence, one after another, in one program.

A phase is a loop over the time steps. It loads its input, contracts it with the linear stages
before a recurrent layer and with that layer's two matrices, updates the states in the vector unit,
and hands its vector on. Loads run ahead of the array by a time step or by slices of x; the input
part of a step does not need h and fills the array while the vector unit works, a time step ahead
where that pays. Each direction of a
recurrent layer is a phase; what lies between phases goes through external memory, every time step a
record in which each reader has a field in its own layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

from einchip.arch import Architecture
from einchip.mapper import report, tree
from einchip.mapper.calibration import Evaluation, evaluations, same_scale
from einchip.mapper.divide import search
from einchip.mapper.memory import ModelMemory
from einchip.mapper.nets import Net
from einchip.mapper.problem import ModelProblem
from einchip.mapper.programs import Programs
from einchip.mapper.timeline import predict
from einchip.mapper.vector import MAX_FRAC
from einchip.network import NetworkError
from einchip.program import Act
from einchip.reference import Host
from einchip.roofline import steady_compute_cycles


@dataclass(frozen=True)
class ModelMapping(ModelMemory):
    """How a model runs on a machine.

    Names of tensors and results, for scales and weights, are those of `einchip.mapper.problem`.
    """

    searched = (
        "the quickest tree of each matrix alone, of all trees of connected parts, with the best "
        "folds that share the layouts of gates and h; slices of x, the fewest first, only where "
        "memory is short; not proved optimal for the model as a whole"
    )

    def emit(self, fracs: Mapping[str, int] | None = None) -> Programs:
        """Return the programs with these fractional bits for every name (None: all 0).

        Raises MappingError for scales that a shift cannot reach.
        """
        return self.mapped.programs(fracs)

    def host(
        self, n_steps: int, weights: int, sequence: int, output: int, workspace: int = 0
    ) -> Host:
        """Return the host registers for a run: external addresses and the number of steps."""
        return Host((weights, sequence, output, workspace), (n_steps, 0, 0, 0))

    # --- what a calibrator needs -------------------------------------------------------------
    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """What a calibrator must evaluate, in order."""
        return evaluations(self.mapped.phases)

    @property
    def steps(self) -> list[report.Contraction]:
        """All contractions of a time step, then what is behind the loops."""
        return [c for net in self.nets for c in report.contractions(net.part)]

    @cached_property
    def same_scale(self) -> tuple[tuple[str, ...], ...]:
        """Groups of names whose fractional bits must be equal: copies of one another."""
        return same_scale(self.mapped.phases)

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
        """Multiply-adds of one time step, of all sequences side by side, in the chosen order."""
        return sum(
            s.macs for net in self._looped() for s in net.part.steps if s.name not in net.constant
        )

    def _looped(self) -> Iterator[Net]:
        for phase in self.mapped.phases:
            once = phase.nets.behind if not phase.nets.asked.behind_in_loop else ()
            yield from (n for n in phase.nets.all if n not in once)

    @property
    def macs_naive(self) -> int:
        """Multiply-adds of one time step with the tensors in their order, the data first."""
        return sum(tree.macs(tree.in_order(n, first), n) for n, first in self.problem.matrices)

    @property
    def bound(self) -> int | None:
        """The roofline of one time step: all its matrices, and its input over the memory port."""
        try:
            compute = steady_compute_cycles(self.problem.matrices, self.arch)
        except NetworkError:
            return None
        port = self.input_size * self.arch.element_bytes / self.arch.port_bytes
        return ceil(max(compute, port))

    def cycles(self, n_steps: int) -> int:
        """Predicted cycles of a run over a sequence, program fetch left out."""
        return predict(self.emit().run, self.arch, n_steps)

    @property
    def reloaded_bytes(self) -> int:
        """Bytes of weights that every run loads, since not all fit the scratchpads at one time."""
        names = {name for phase in self.mapped.reloading for name in phase.weights()}
        return sum(self.mapped.weights[name][1].n_bytes(self.arch) for name in names)

    @property
    def step_cycles(self) -> float:
        """Predicted cycles of one time step in the steady state."""
        return self.mapped.step_cycles

    def to_json(self) -> dict[str, Any]:
        """Return the mapping as plain data."""
        return {
            "arch": self.arch.name,
            "batch": self.problem.batch,
            "optimal": False,
            "searched": self.searched,
            "macs_per_step": self.macs,
            "macs_naive_per_step": self.macs_naive,
            "cycles_per_step": self.step_cycles,
            "bound_cycles_per_step": self.bound,
            "reloaded_bytes_per_run": self.reloaded_bytes,
            "slices": self.mapped.phases[0].nets.first.part.slicing.count,
            "phases": [
                {
                    "order": [o.name for o in p.body],
                    "after": [o.name for o in p.after],
                    "input_part_ahead": p.ahead,
                    "weights_reloaded": p.reloads,
                }
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


def map_model(problem: ModelProblem, arch: Architecture) -> ModelMapping:
    """Search the quickest mapping of a model.

    Raises MappingError when nothing fits: what is too small, and the least change that helps.
    """
    return ModelMapping(arch, search(problem.batched, arch), problem)


__all__ = ["Evaluation", "ModelMapping", "map_model"]
