"""Mapped models of integers, run by reference and simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from einchip import check, reference
from einchip.arch import Architecture
from einchip.mapper import Linear, ModelMapping, ModelProblem, map_model
from einchip.mapper.tree import ONE
from einchip.numeric import Ints
from einchip.program import Act, Program
from einchip.sim.machine import simulate
from tests.mapper import oracle
from tests.mapper.order import races

PAGE = 4096


def fracs(mapping: ModelMapping) -> dict[str, int]:
    """Return the fractional bits of the oracle for every name."""
    found = dict.fromkeys(mapping.mapped.weights, 0)
    found |= dict.fromkeys(oracle.fine(mapping.problem), oracle.FINE_FRAC)
    found |= dict.fromkeys((n for n in found if n.endswith("peepholes")), oracle.PEEPHOLE_FRAC)
    found |= dict.fromkeys(mapping.wide, oracle.CELL_FRAC)
    for e in mapping.evaluations:
        for name in e.operands:
            state = name.endswith((".h", ".reset"))
            found.setdefault(name, oracle.H_FRAC if state else _of_copies(mapping, found, name))
        found |= {n: 0 for n in e.part.tensors if n.startswith(ONE)}
        for s in e.part.steps:
            found[s.name] = found[s.left] + found[s.right]
        if e.act in (Act.TANH, Act.SIGMOID):
            found[e.result] = oracle.H_FRAC
    return found


def _of_copies(mapping: ModelMapping, found: Mapping[str, int], name: str) -> int:
    """Return the fractional bits of what a tensor is a copy of; an input has none."""
    group = next((g for g in mapping.same_scale if name in g), ())
    return next((found[n] for n in group if n in found), 0)


def check_model(
    problem: ModelProblem, arch: Architecture, n_steps: int = 4, seed: int = 3
) -> ModelMapping:
    """Run a model on reference and simulator and compare with the oracle; return its mapping."""
    mapping = map_model(problem, arch)
    weights = oracle.random_weights(problem, seed, arch.data_bits)
    inputs = random_inputs(problem, n_steps, seed)
    memory, host, out = memory_of(mapping, weights, inputs, n_steps)
    programs = mapping.emit(fracs(mapping))
    simulated = memory.copy()
    for program in (programs.setup, programs.run):
        assert check.verify(program, arch, host) == []
        assert Program.decode(program.encode()) == program
        reference.run(program, arch, memory, host)
        assert races(program, arch, host) == []
        simulate(program, arch, memory=simulated, host=host, check_races=True)
    assert simulated.external == memory.external
    got = mapping.unpack(memory.external[out:], n_steps)
    np.testing.assert_array_equal(got, answers(problem, weights, inputs, arch.data_bits))
    return mapping


def answers(
    problem: ModelProblem, weights: oracle.Arrays, inputs: Ints | dict[str, Ints], bits: int
) -> Ints:
    """Return the oracle's answers; of a batch, to each of its sequences alone."""
    if problem.batch == 1:
        return oracle.answer(problem, weights, inputs, bits)
    alone = replace(problem, batch=1)
    found = []
    for b in range(problem.batch):
        one = {n: v[:, b] for n, v in inputs.items()} if isinstance(inputs, dict) else inputs[:, b]
        found.append(oracle.answer(alone, weights, one, bits))
    return np.stack(found, axis=-2)


def random_inputs(problem: ModelProblem, n_steps: int, seed: int) -> Ints | dict[str, Ints]:
    """Return a sequence of integers; one-hot vectors where there are several operands.

    Of a batch, several sequences: [n_steps, batch, input size].
    """
    if problem.batch > 1:
        alone = replace(problem, batch=1)
        found = [random_inputs(alone, n_steps, seed + 100 * b) for b in range(problem.batch)]
        if isinstance(found[0], dict):
            return {n: np.stack([f[n] for f in found], axis=1) for n in found[0]}  # type: ignore[call-overload]
        return np.stack(found, axis=1)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed + 1)
    first = problem.stages[0]
    if not isinstance(first, Linear):
        network = first.directions[0].inputs
        return oracle.small(rng, (n_steps, network.size(network.tensors["x"])))
    sizes = {o: first.network.size(first.network.tensors[o]) for o in first.operands}
    if len(sizes) == 1:
        return oracle.small(rng, (n_steps, *sizes.values()))
    return {o: np.eye(n, dtype=np.int64)[rng.integers(0, n, n_steps)] for o, n in sizes.items()}


def memory_of(
    mapping: ModelMapping,
    weights: oracle.Arrays,
    inputs: Ints | Mapping[str, Ints],
    n_steps: int,
) -> tuple[reference.Memory, reference.Host, int]:
    """Return a memory with weights and sequence, the host's registers, and where the answer is."""
    packed = mapping.pack_weights(mapping.weight_arrays(weights))
    sequence = mapping.pack_sequence(inputs)
    assert len(packed) == mapping.weights_bytes
    assert len(sequence) == mapping.sequence_bytes(n_steps)
    sizes = (
        len(packed), len(sequence), mapping.output_bytes(n_steps), mapping.workspace_bytes(n_steps)
    )  # fmt: skip
    at = [0, *(int(v) for v in np.cumsum([-(-s // PAGE) * PAGE for s in sizes]))]
    memory = reference.Memory.empty(mapping.arch, at[-1])
    memory.external[: len(packed)] = packed
    memory.external[at[1] : at[1] + len(sequence)] = sequence
    return memory, mapping.host(n_steps, *at[:4]), at[2]
