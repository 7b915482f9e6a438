"""The roofline of a whole model, and the sizes of its matrices."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from einchip import roofline
from einchip.arch import Architecture
from einchip.compiler.problem import problem_of
from einchip.mapper.problem import Stage
from einchip.models import ModelSpec, model_matrices, n_weights


def _compute(stages: tuple[Stage, ...], arch: Architecture) -> float:
    """Return the roofline's compute cycles of all networks of these stages, weights resident."""
    return sum(
        roofline.roofline(network, arch, operand, steady=True).compute_cycles
        for stage in stages
        for network, operand in stage.matrices
    )


def compute_bound(spec: ModelSpec, arch: Architecture, batch: int = 1) -> float:
    """Return the roofline's compute cycles of one time step: all its networks, weights resident.

    The step is one of `batch` sequences side by side.
    """
    return _compute(problem_of(spec, batch).batched.per_step, arch)


def once_bound(spec: ModelSpec, arch: Architecture, batch: int = 1) -> float:
    """Return the roofline's compute cycles of the stages that run once, behind the last step."""
    problem = problem_of(spec, batch).batched
    return _compute(problem.stages[len(problem.per_step) :], arch)


def sequence_bound(spec: ModelSpec, arch: Architecture, n_steps: int, batch: int = 1) -> int:
    """Return the roofline of a sequence, or of several side by side: compute or the memory port.

    The port carries the input of every step (the one-hot digits of a token) and the answer.
    """
    compute = n_steps * compute_bound(spec, arch, batch) + once_bound(spec, arch, batch)
    n_out = spec.out_size * (n_steps if spec.output == "sequence" else 1)
    moved = batch * (n_steps * step_elements(spec) + n_out) * arch.element_bytes
    return ceil(max(compute, moved / arch.port_bytes))


def step_elements(spec: ModelSpec) -> int:
    """Return the elements of one time step's input."""
    return sum(spec.embedding.weight.in_modes) if spec.embedding else spec.input_size


@dataclass(frozen=True)
class Weights:
    """Weights of the matrices that every time step uses; `dense` is what they stand for.

    `dense_macs` are the multiply-adds of a step with dense matrices; looking up a row has none.
    """

    stored: int
    dense: int
    dense_macs: int


def step_weights(spec: ModelSpec) -> Weights:
    """Return the weights that a time step uses."""
    names = {stage.name for stage in problem_of(spec).per_step}
    used = {n: m for n, m in model_matrices(spec).items() if _layer(n) in names}
    stored = sum(n_weights(*entry) for entry in used.values())
    macs = sum(
        m.in_size * m.out_size * (n_gates if m.gates == "separate" else 1)
        for name, (m, n_gates) in used.items()
        if name != "embedding"
    )
    looked_up = spec.embedding.vocabulary * spec.embedding.out_size if spec.embedding else 0
    return Weights(stored, macs + looked_up, macs)


def _layer(matrix: str) -> str:
    """Return the stage of a matrix: "embedding" or "layers.K"."""
    return ".".join(matrix.split(".")[:2])
