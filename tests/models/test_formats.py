"""Shapes, indices, dense matrices; the oracles: formulas in loops, numpy.einsum, papers."""

import string
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from einchip.models import MatrixSpec, core_shapes, matrix_network, n_weights, to_dense
from einchip.models.spec import fitted
from tests.models.draw import matrices
from tests.models.helpers import FORMATS, matrix

KINDS = pytest.mark.parametrize("kind", FORMATS)


def gate_matrix(kind: str, n_gates: int = 3, **gates: Any) -> MatrixSpec:
    """A matrix of 3 gates of 8 rows each, and 6 columns."""
    spec = MatrixSpec.model_validate(matrix(kind, [3, 2], n_gates, **gates))
    return fitted(spec, 6, 8, n_gates, ("x", "h"))


def random_cores(spec: MatrixSpec, n_gates: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    shapes = core_shapes(spec, n_gates)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def full(spec: MatrixSpec, cores: dict[str, np.ndarray], n_gates: int) -> np.ndarray:
    """The matrix by numpy.einsum over the network."""
    network = matrix_network(spec, n_gates)
    letter = dict(zip(network.sizes, string.ascii_letters, strict=False))
    terms = ",".join("".join(letter[i] for i in ix) for ix in network.tensors.values())
    out = "".join(letter[i] for i in network.outputs + network.inputs)
    found = np.einsum(f"{terms}->{out}", *(cores[name] for name in network.tensors))
    return found.reshape(-1, spec.in_size)


@KINDS
@pytest.mark.parametrize("gates", [{}, {"gate_mode": 1}, {"gates": "separate"}])
def test_dense_matrix_equals_numpy_einsum(kind: str, gates: dict[str, Any]) -> None:
    spec = gate_matrix(kind, **gates)
    cores = random_cores(spec, 3)
    w = to_dense(spec, cores, 3)
    assert w.shape == (24, 6)
    np.testing.assert_allclose(w, full(spec, cores, 3), rtol=1e-11, atol=1e-12)


@given(matrices())
def test_random_matrix_equals_numpy_einsum(spec: MatrixSpec) -> None:
    cores = random_cores(spec)
    w = to_dense(spec, cores)
    assert w.shape == (spec.out_size, spec.in_size)
    np.testing.assert_allclose(w, full(spec, cores, 1), rtol=1e-10, atol=1e-12)
    assert n_weights(spec) == sum(core.size for core in cores.values())


@KINDS
def test_separate_gates_are_the_matrices_of_the_gates_one_below_the_other(kind: str) -> None:
    spec = gate_matrix(kind, gates="separate")
    single = MatrixSpec.model_validate(spec.model_dump() | {"gates": "joint"})
    cores = random_cores(spec, 3)
    rows = [to_dense(single, {n: core[g] for n, core in cores.items()}) for g in range(3)]
    np.testing.assert_allclose(to_dense(spec, cores, 3), np.concatenate(rows), rtol=1e-11)
    assert n_weights(spec, 3) == 3 * n_weights(single)


@KINDS
def test_gate_in_a_later_mode_permutes_the_rows_of_the_joint_matrix(kind: str) -> None:
    spec = gate_matrix(kind, gate_mode=1)
    merged = MatrixSpec.model_validate(spec.model_dump() | {"gate_mode": 0})
    cores = random_cores(merged)
    shapes = core_shapes(spec, 3)
    split = {name: core.reshape(shapes[name]) for name, core in cores.items()}
    rows = to_dense(merged, cores).reshape(4, 3, 2, 6).transpose(1, 0, 2, 3).reshape(24, 6)
    np.testing.assert_allclose(to_dense(spec, split, 3), rows, rtol=1e-11)
    assert n_weights(spec, 3) == n_weights(merged)


def entry(kind: str, c: dict[str, np.ndarray], o: tuple[int, int], i: tuple[int, int]) -> float:
    """One element of a matrix with two modes on each side, by the format's formula in loops."""
    (o0, o1), (i0, i1) = o, i

    def over(*sizes: int) -> Any:
        return np.ndindex(*sizes)

    if kind == "dense":
        return float(c["W"][o0, o1, i0, i1])
    if kind == "lowrank":
        return float(c["U"][o0, o1] @ c["V"][:, i0, i1])
    if kind == "mpo":
        return float((c["G0"][0, i0, o0] @ c["G1"][:, i1, o1])[0])
    if kind == "mps":
        return float((c["G0"][0, o0] @ c["G1"][:, o1] @ c["G2"][:, i0] @ c["G3"][:, i1])[0])
    if kind == "tr":
        ring = c["G0"][:, i0] @ c["G1"][:, i1] @ c["G2"][:, o0] @ c["G3"][:, o1]
        return float(np.trace(ring))
    if kind == "ht":
        return float(c["U0"][i0, o0] @ c["B0"][:, :, 0] @ c["U1"][i1, o1])
    if kind == "bt":
        n, q0, q1 = c["core"].shape
        a, b, core = c["A0"], c["A1"], c["core"]
        return float(
            sum(core[n, q, p] * a[n, i0, o0, q] * b[n, i1, o1, p] for n, q, p in over(n, q0, q1))
        )
    if kind == "tucker2":
        return float(c["U"][i0] @ c["core"][:, i1] @ c["V"][:, o0, o1])
    if kind == "tucker":
        u = (c["U_I0"][i0], c["U_I1"][i1], c["U_O0"][o0], c["U_O1"][o1])
        core = c["core"]
        return float(sum(core[q] * prod(f[p] for f, p in zip(u, q, strict=True))
                         for q in over(*core.shape)))  # fmt: skip
    if kind == "cp":
        return float(np.sum(c["U_I0"][i0] * c["U_I1"][i1] * c["U_O0"][o0] * c["U_O1"][o1]))
    if kind == "kronecker":
        return float(np.sum(c["A0"][:, o0, i0] * c["A1"][:, o1, i1]))
    return float(np.sum(c["A"][o0, i0] * c["B"][:, o1, i1]))


@KINDS
def test_every_element_is_the_documented_formula(kind: str) -> None:
    raw = matrix(kind, [3, 2], 1)
    if kind in ("dense", "lowrank"):
        raw |= {"in_modes": [3, 2], "out_modes": [4, 2]}
    spec = MatrixSpec.model_validate(raw)
    cores = random_cores(spec)
    w = to_dense(spec, cores).reshape(4, 2, 3, 2)
    for o0, o1, i0, i1 in np.ndindex(4, 2, 3, 2):
        assert w[o0, o1, i0, i1] == pytest.approx(entry(kind, cores, (o0, o1), (i0, i1)))


def test_kronecker_of_one_term_is_numpys_kron() -> None:
    spec = MatrixSpec(format="kronecker", in_modes=(3, 2), out_modes=(4, 5), ranks=1)
    cores = random_cores(spec)
    assert core_shapes(spec) == {"A0": (4, 3), "A1": (5, 2)}
    np.testing.assert_allclose(to_dense(spec, cores), np.kron(cores["A0"], cores["A1"]))


def test_hierarchical_tucker_over_a_tree_of_single_modes_is_the_formula() -> None:
    tree = ["O0", [["I0", "I1"], "O1"]]
    raw: dict[str, Any] = {"format": "ht", "in_modes": [3, 2], "out_modes": [4, 2], "tree": tree}
    raw["ranks"] = {"leaf": [4, 3, 2, 2], "inner": [5, 4]}
    spec = MatrixSpec.model_validate(raw)
    c = random_cores(spec)
    assert list(c) == ["U_O0", "U_I0", "U_I1", "B0", "U_O1", "B1", "B2"]
    inner = np.einsum("xa,yb,abs->xys", c["U_I0"], c["U_I1"], c["B0"])
    right = np.einsum("xys,ot,stu->oxyu", inner, c["U_O1"], c["B1"])
    w = np.einsum("pv,oxyu,vuz->poxy", c["U_O0"], right, c["B2"])
    np.testing.assert_allclose(to_dense(spec, c), w.reshape(8, 6), rtol=1e-11)


def test_balanced_tree_of_five_pairs_has_ranks_in_the_documented_order() -> None:
    ranks = {"leaf": [2, 3, 4, 3, 2], "inner": [6, 5, 6]}
    raw = {"format": "ht", "in_modes": [2] * 5, "out_modes": [2] * 5, "ranks": ranks}
    shapes = core_shapes(MatrixSpec.model_validate(raw))
    # ((0, 1), 2), (3, 4): leaves from left to right, inner nodes in post-order
    assert list(shapes) == ["U0", "U1", "B0", "U2", "B1", "U3", "U4", "B2", "B3"]
    assert shapes["B0"] == (2, 3, 6)
    assert shapes["B1"] == (6, 4, 5)
    assert shapes["B2"] == (3, 2, 6)
    assert shapes["B3"] == (5, 6, 1)


def test_train_of_32_modes_has_more_indices_than_letters_and_is_still_contracted() -> None:
    modes = {"in_modes": [1] * 13 + [2] * 3, "out_modes": [2] * 3 + [1] * 13}
    spec = MatrixSpec.model_validate({"format": "mps", "ranks": [1] * 33} | modes)
    assert len(matrix_network(spec).sizes) == 65
    cores = random_cores(spec)
    flat = 1.0
    for core in cores.values():
        flat = np.multiply.outer(flat, core.reshape(-1))
    np.testing.assert_allclose(to_dense(spec, cores).reshape(-1), np.asarray(flat).reshape(-1))


def test_mpo_core_is_bond_in_out_bond() -> None:
    spec = MatrixSpec(format="mpo", in_modes=(3, 2, 5), out_modes=(8, 3, 2), ranks=(1, 4, 3, 1))
    assert core_shapes(spec) == {"G0": (1, 3, 8, 4), "G1": (4, 2, 3, 3), "G2": (3, 5, 2, 1)}
    network = matrix_network(spec)
    assert network.tensors["G1"] == ("r1", "I1", "O1", "r2")
    assert (network.inputs, network.outputs) == (("I0", "I1", "I2"), ("O0", "O1", "O2"))


@pytest.mark.parametrize(
    ("source", "weights", "fields"),
    [
        ("arXiv 1707.01786", 3360,
         ("mpo", (8, 20, 20, 18), (16, 4, 4, 4), (1, 4, 4, 4, 1))),
        ("arXiv 1712.05134", 3392,
         ("bt", (8, 20, 20, 18), (16, 4, 4, 4), {"tucker": [4, 4, 4, 4], "blocks": 2})),
        ("arXiv 1811.07503", 1725,
         ("tr", (4, 2, 5, 8, 6, 5, 3, 2), (16, 4, 2, 4, 2), (10, *[5] * 12))),
        ("arXiv 2005.04366", 1245,
         ("ht", (8, 10, 10, 9, 8), (16, 4, 2, 4, 2), {"leaf": 4, "inner": 5, "root": 1})),
        ("TedNet CP", 115200, ("cp", (64, 32), (128, 64), 400)),
        ("TedNet Tucker-2", 94880, ("tucker", (16, 16, 8), (8192,), (10, 10))),
    ],
)  # fmt: skip
def test_weight_count_is_the_published_one(
    source: str, weights: int, fields: tuple[Any, ...]
) -> None:
    names = ("format", "in_modes", "out_modes", "ranks")
    spec = MatrixSpec.model_validate(dict(zip(names, fields, strict=True)))
    assert n_weights(spec) == weights, source
