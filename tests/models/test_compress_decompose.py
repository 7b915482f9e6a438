"""Decompositions; oracles: the network that a matrix was built from, NumPy's SVD, error bounds."""

from typing import Any

import numpy as np
import pytest

from einchip.models import MatrixSpec, core_shapes, to_dense
from einchip.models.compress import decompose

pytest.importorskip("tensorly")
pytest.importorskip("tensap")

IN, OUT = [4, 2, 3], [6, 4, 2]
SPECS: dict[str, dict[str, Any]] = {
    "dense": {"format": "dense"},
    "lowrank": {"format": "lowrank", "ranks": 3},
    "mpo": {"format": "mpo", "ranks": [1, 3, 2, 1]},
    "mps": {"format": "mps", "ranks": [1, 3, 4, 5, 3, 2, 1]},
    "ht": {"format": "ht", "ranks": {"leaf": 3, "inner": 3}},
    "ht_modes": {
        "format": "ht",
        "tree": [["O0", ["I1", "O2"]], [0, "O1"]],
        "in_modes": [4, 6],
        "out_modes": [6, 4, 2],
        "ranks": {"leaf": [2, 3, 2, 4, 3], "inner": [4, 3, 3]},
    },
    "tr": {"format": "tr", "ranks": [2, 2, 2, 3, 2, 2]},
    "bt": {"format": "bt", "ranks": {"tucker": [2, 2, 2], "blocks": 2}},
    "tucker": {"format": "tucker", "ranks": [2, 2, 2, 3, 2, 2]},
    "tucker2": {"format": "tucker", "ranks": [3, 5]},
    "cp": {"format": "cp", "ranks": 3},
    "kronecker1": {"format": "kronecker", "ranks": 1},
    "kronecker2": {"format": "kronecker", "in_modes": [4, 6], "out_modes": [8, 6], "ranks": 3},
    "kronecker3": {"format": "kronecker", "ranks": 2},
    "einsum": {
        "format": "einsum",
        "in_modes": [4, 6],
        "out_modes": [8, 6],
        "tensors": {"A": ["a", "x", "r"], "B": ["r", "y", "s"], "C": ["s", "b"]},
        "sizes": {"a": 4, "b": 6, "x": 8, "y": 6, "r": 2, "s": 3},
        "inputs": ["a", "b"],
        "outputs": ["x", "y"],
    },
}
#: Alternating least squares may need more sweeps than it gets: less exact.
ALS = ("tr", "bt", "cp", "kronecker3", "einsum")


def spec_of(name: str, **fields: Any) -> MatrixSpec:
    if name == "ht_modes":
        fields.setdefault("out_modes", [6, 4, 2])
    return MatrixSpec.model_validate({"in_modes": IN, "out_modes": OUT} | SPECS[name] | fields)


def random_cores(spec: MatrixSpec, n_gates: int = 1, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {n: rng.standard_normal(s) for n, s in core_shapes(spec, n_gates).items()}


def relative_error(W: np.ndarray, spec: MatrixSpec, n_gates: int = 1, seed: int = 0) -> float:
    cores = decompose(W, spec, n_gates, seed)
    assert {n: c.shape for n, c in cores.items()} == core_shapes(spec, n_gates)
    return float(np.linalg.norm(to_dense(spec, cores, n_gates) - W) / np.linalg.norm(W))


@pytest.mark.parametrize("name", SPECS)
def test_matrix_of_a_format_is_recovered_at_its_own_ranks(name: str) -> None:
    if name == "ht_modes":
        pytest.skip("see the test of trees")
    spec = spec_of(name)
    W = to_dense(spec, random_cores(spec))
    assert relative_error(W, spec) < (1e-3 if name in ALS else 1e-10)
