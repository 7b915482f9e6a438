"""Problems against the dense matrices of the models they are of."""

from __future__ import annotations

import numpy as np
import pytest

from einchip.arch import PRESETS
from einchip.compiler.problem import arrays_of, input_names, problem_of
from einchip.mapper.model import map_model as map_problem
from einchip.mapper.problem import CellKind, Linear, Recurrent
from einchip.models import model_matrices, to_dense
from tests.compiler import cases


def names_of(stage: Linear | Recurrent) -> list[str]:
    """Return the prefix of each network's arrays."""
    if isinstance(stage, Linear):
        return [f"{stage.name}."]
    return [f"{d}.{part}." for d in stage.direction_names for part in ("input", "hidden")]


@pytest.mark.parametrize("name", cases.CASES)
def test_networks_are_the_dense_matrices(name: str) -> None:
    model = cases.model(name)
    arrays, rng = arrays_of(model), np.random.default_rng(1)
    seen: set[str] = set()
    for stage in problem_of(model.spec).stages:
        for (network, _), prefix in zip(stage.matrices, names_of(stage), strict=True):
            data = [t for t in network.tensors if t in ("x", "h") or t.startswith("e")]
            weights = {t: prefix + t for t in network.tensors if t not in data}
            seen |= set(weights.values())
            given = {t: rng.standard_normal(network.shape(t)) for t in data}
            shaped = {t: arrays[n].reshape(network.shape(t)) for t, n in weights.items()}
            tensors = {n: a.astype(np.float64) for n, a in shaped.items()}
            found = network.contract({**given, **tensors}).ravel()
            vector = np.ones(1)
            for values in given.values():
                vector = np.multiply.outer(vector, values)
            np.testing.assert_allclose(found, dense(name, prefix) @ vector.ravel(), atol=1e-12)
    assert seen | {n for n in arrays if n.endswith(("bias", "bias_hidden", "peepholes"))} == set(
        arrays
    )


def dense(name: str, prefix: str) -> np.ndarray:
    """Return the matrix of a network from the model's own; that of x or of h of a joint one."""
    model = cases.model(name)
    found = model_matrices(model.spec)
    joint = prefix.replace("input.", "joint.").replace("hidden.", "joint.")
    start = next(p for p in (prefix, f"{prefix}weight.", joint) if p[:-1] in found)
    cores = {n.removeprefix(start): t for n, t in model.tensors.items() if n.startswith(start)}
    whole = to_dense(found[start[:-1]][0], cores, found[start[:-1]][1])
    if start in (prefix, f"{prefix}weight."):
        return whole
    n_x = cases.INPUT
    return np.asarray(whole[:, :n_x] if "input" in prefix else whole[:, n_x:])


def test_no_tensor_has_an_open_end_of_size_one() -> None:
    for name in cases.CASES:
        for stage in problem_of(cases.model(name).spec).stages:
            for network, _ in stage.matrices:
                for index, holders in network.holders().items():
                    alone = len(holders) == 1 and index not in network.output
                    assert not alone or network.sizes[index] > 1, (name, index)


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("lstm", CellKind.LSTM),
        ("peephole", CellKind.PEEPHOLE),
        ("gru", CellKind.GRU),
        ("gru-before", CellKind.GRU_BEFORE),
        ("rnn", CellKind.RNN_TANH),
        ("rnn-relu", CellKind.RNN_RELU),
    ],
)
def test_cells_have_their_kind(cell: str, kind: CellKind) -> None:
    stage = problem_of(cases.model(f"dense {cell}").spec).stages[0]
    assert isinstance(stage, Recurrent)
    assert stage.cell is kind


@pytest.mark.parametrize(
    ("name", "inputs", "output", "each_step"),
    [
        ("dense lstm", ("layers.0.x",), "layers.1.y", 1),
        ("no head", ("layers.0.x",), "layers.0.h", 1),
        ("sequence", ("layers.0.x",), "layers.1.y", 2),
        ("only linear", ("layers.0.x",), "layers.1.y", 2),
        ("stack", ("layers.0.x",), "layers.2.y", 2),
        ("bidirectional", ("layers.0.x", "layers.0.reverse.x"), "layers.1.y", 1),
        ("embedding", ("embedding.e0", "embedding.e1"), "layers.1.y", 2),
    ],
)
def test_ends_and_steps_of_a_model(
    name: str, inputs: tuple[str, ...], output: str, each_step: int
) -> None:
    problem = problem_of(cases.model(name).spec)
    assert input_names(problem) == inputs
    assert map_problem(problem, PRESETS["small"]).outputs[0] == output
    assert len(problem.per_step) == each_step
