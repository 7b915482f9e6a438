"""Decompositions; oracles: the network that a matrix was built from, NumPy's SVD, error bounds."""

from typing import Any

import numpy as np
import pytest

from einchip.models import MatrixSpec, ModelError, core_shapes, matrix_network, to_dense
from einchip.models.compress import decompose

IN, OUT = [4, 2, 3], [6, 4, 2]
SPECS: dict[str, dict[str, Any]] = {
    "dense": {"format": "dense"},
    "lowrank": {"format": "lowrank", "ranks": 3},
    "mpo": {"format": "mpo", "ranks": [1, 3, 2, 1]},
    "mps": {"format": "mps", "ranks": [1, 3, 4, 5, 3, 2, 1]},
    "ht": {"format": "ht", "ranks": {"leaf": 3, "inner": 3}},
    "ht_modes": {
        "format": "ht",
        "tree": [["O0", ["I1", "O2"]], ["I0", "O1"]],
        "in_modes": [4, 6],
        "out_modes": [6, 4, 2],
        "ranks": {"leaf": [2, 3, 2, 2, 3], "inner": [4, 2, 2]},
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
    spec = spec_of(name)
    W = to_dense(spec, random_cores(spec))
    assert relative_error(W, spec) < (1e-3 if name in ALS else 1e-10)


def random_matrix(seed: int = 3) -> np.ndarray:
    """A matrix whose singular values fall, in every unfolding: no format has it exactly."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((48, 24)) @ np.diag(0.8 ** np.arange(24.0)) + 0.1


def unfolding_tail(W: np.ndarray, axes: list[int], rank: int) -> float:
    """The least error of any tensor whose unfolding has that rank: singular values left out."""
    T = W.reshape(*OUT, *IN)
    rest = [k for k in range(T.ndim) if k not in axes]
    rows = int(np.prod([T.shape[k] for k in axes]))
    s = np.linalg.svd(T.transpose([*axes, *rest]).reshape(rows, -1), compute_uv=False)
    return float(np.linalg.norm(s[rank:]) / np.linalg.norm(s))


def test_lowrank_has_the_error_of_the_best_svd() -> None:
    W = random_matrix()
    s = np.linalg.svd(W, compute_uv=False)
    best = np.linalg.norm(s[3:]) / np.linalg.norm(s)
    assert relative_error(W, spec_of("lowrank")) == pytest.approx(best, rel=1e-9)


#: Axes of T[O0, O1, O2, I0, I1, I2] on one side of each bond, and the bond's rank.
CUTS = {
    "mpo": [([0, 3], 3), ([0, 3, 1, 4], 2)],
    "mps": [([0], 3), ([0, 1], 4), ([0, 1, 2], 5), ([0, 1, 2, 3], 3), ([0, 1, 2, 3, 4], 2)],
    "ht": [([0, 3], 3), ([1, 4], 3), ([2, 5], 3), ([0, 1, 3, 4], 3)],
    "tucker": [([3], 2), ([4], 2), ([5], 2), ([0], 3), ([1], 2), ([2], 2)],
}


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("seed", range(3))
def test_svd_based_formats_keep_their_error_bound(name: str, seed: int) -> None:
    """Least error of each cut <= error <= root of the sum of their squares (Oseledets 2011).

    The tree's two bonds below the root are one cut, so that only one of them counts.
    """
    W = random_matrix(seed)
    tails = [unfolding_tail(W, axes, rank) for axes, rank in CUTS[name]]
    error = relative_error(W, spec_of(name))
    assert max(tails) - 1e-9 <= error <= np.linalg.norm(tails) + 1e-9


def test_two_kronecker_factors_have_the_error_of_van_loans_svd() -> None:
    spec, W = spec_of("kronecker2"), random_matrix()
    rearranged = W.reshape(8, 6, 4, 6).transpose(0, 2, 1, 3).reshape(32, 36)
    s = np.linalg.svd(rearranged, compute_uv=False)
    assert relative_error(W, spec) == pytest.approx(np.linalg.norm(s[3:]) / np.linalg.norm(s))


@pytest.mark.parametrize("name", ALS)
def test_alternating_least_squares_ends_where_no_single_tensor_can_be_improved(name: str) -> None:
    """Oracle: `numpy.linalg.lstsq` for each tensor with the others held."""
    spec, W = spec_of(name), random_matrix()
    cores = decompose(W, spec)
    network = matrix_network(spec)
    error = np.linalg.norm(to_dense(spec, cores) - W)
    for core in cores:
        basis = []
        for k in range(cores[core].size):
            unit = np.zeros(cores[core].size)
            unit[k] = 1.0
            basis.append(to_dense(spec, cores | {core: unit.reshape(network.shape(core))}).ravel())
        A = np.stack(basis, axis=1)
        best = np.linalg.norm(A @ np.linalg.lstsq(A, W.ravel())[0] - W.ravel())
        assert best <= error * (1 + 1e-9)
        assert error <= best * 1.02


@pytest.mark.parametrize("name", ["mpo", "mps", "ht", "tr", "bt", "cp", "kronecker3", "lowrank"])
def test_separate_gates_are_decomposed_one_by_one(name: str) -> None:
    outs = [3, 2, 2]
    spec = spec_of(name, out_modes=outs, gates="separate")
    W = to_dense(spec, random_cores(spec, 4), 4)
    one = spec_of(name, out_modes=outs)
    alone = [relative_error(part, one) * np.linalg.norm(part) for part in np.split(W, 4)]
    error = relative_error(W, spec, 4) * np.linalg.norm(W)
    assert error == pytest.approx(np.linalg.norm(alone), abs=1e-9)
    assert error < 1e-2 * np.linalg.norm(W)


@pytest.mark.parametrize("name", ["mpo", "mps", "tucker", "kronecker3", "lowrank", "dense"])
def test_gates_in_another_output_mode(name: str) -> None:
    spec = spec_of(name, out_modes=[3, 8, 2], gate_mode=1)
    W = to_dense(spec, random_cores(spec, 4), 4)
    assert relative_error(W, spec, 4) < (1e-3 if name in ALS else 1e-10)


def test_ranks_beyond_use_are_filled_with_zeros() -> None:
    spec = spec_of("mps", ranks=[1, 6, 24, 24, 6, 3, 1])
    W = np.outer(np.arange(1.0, 49.0), np.arange(1.0, 25.0))
    cores = decompose(W, spec)
    np.testing.assert_allclose(to_dense(spec, cores), W, atol=1e-9)


@pytest.mark.parametrize("name", SPECS)
def test_a_matrix_of_zeros_stays_one(name: str) -> None:
    spec = spec_of(name)
    np.testing.assert_allclose(to_dense(spec, decompose(np.zeros((48, 24)), spec)), 0.0, atol=1e-9)


@pytest.mark.parametrize("name", ["tr", "bt", "cp", "einsum"])
def test_decompositions_are_repeatable(name: str) -> None:
    spec, W = spec_of(name), random_matrix()
    first, second = decompose(W, spec), decompose(W, spec)
    for core, array in first.items():
        np.testing.assert_array_equal(array, second[core])


def test_unusable_matrices_are_refused() -> None:
    spec = spec_of("mpo")
    with pytest.raises(ModelError, match=r"matrix: found \[24, 48\], expected \[48, 24\]"):
        decompose(np.zeros((24, 48)), spec)
    with pytest.raises(ModelError, match="NaN or infinity"):
        decompose(np.full((48, 24), np.nan), spec)
