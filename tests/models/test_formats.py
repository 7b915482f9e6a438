"""Core shapes, index names and dense matrices; the oracle is numpy.einsum over the network."""

import string

import numpy as np
import pytest

from einchip.models import MatrixSpec, core_shapes, matrix_network, n_weights, to_dense

DENSE = MatrixSpec(format="dense", in_modes=(5,), out_modes=(12,))
MPO = MatrixSpec(format="mpo", in_modes=(3, 2, 5), out_modes=(8, 3, 2), ranks=(1, 4, 3, 1))
MPS = MatrixSpec(format="mps", in_modes=(3, 4), out_modes=(8, 2, 3), ranks=(1, 2, 5, 4, 3, 1))
ONE_CORE = MatrixSpec(format="mpo", in_modes=(6,), out_modes=(8,), ranks=(1, 1))
SPECS = pytest.mark.parametrize(
    "spec", [DENSE, MPO, MPS, ONE_CORE], ids=["dense", "mpo", "mps", "one_core"]
)


def random_cores(spec: MatrixSpec) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: rng.standard_normal(shape) for name, shape in core_shapes(spec).items()}


def test_mpo_core_is_bond_in_out_bond() -> None:
    assert core_shapes(MPO) == {"G0": (1, 3, 8, 4), "G1": (4, 2, 3, 3), "G2": (3, 5, 2, 1)}


def test_mps_is_output_modes_then_input_modes() -> None:
    expected = {"G0": (1, 8, 2), "G1": (2, 2, 5), "G2": (5, 3, 4), "G3": (4, 3, 3), "G4": (3, 4, 1)}
    assert core_shapes(MPS) == expected


def test_dense_is_one_tensor_out_by_in() -> None:
    assert core_shapes(DENSE) == {"W": (12, 5)}


def test_network_of_an_mpo_has_stable_index_names() -> None:
    network = matrix_network(MPO)
    assert network.tensors["G1"] == ("r1", "I1", "O1", "r2")
    assert network.inputs == ("I0", "I1", "I2")
    assert network.outputs == ("O0", "O1", "O2")
    assert network.sizes["r0"] == network.sizes["r3"] == 1


@SPECS
def test_dense_matrix_equals_numpy_einsum(spec: MatrixSpec) -> None:
    network, cores = matrix_network(spec), random_cores(spec)
    letter = dict(zip(network.sizes, string.ascii_letters, strict=False))
    terms = ",".join("".join(letter[i] for i in ix) for ix in network.tensors.values())
    out = "".join(letter[i] for i in network.outputs + network.inputs)
    full = np.einsum(f"{terms}->{out}", *(cores[name] for name in network.tensors))
    np.testing.assert_allclose(
        to_dense(spec, cores), full.reshape(spec.out_size, spec.in_size), rtol=1e-12, atol=1e-12
    )


def test_dense_matrix_of_an_mpo_equals_the_sum_by_hand() -> None:
    spec = MatrixSpec(format="mpo", in_modes=(2, 3), out_modes=(4, 2), ranks=(1, 2, 1))
    cores = random_cores(spec)
    w = to_dense(spec, cores)
    for o0, o1, i0, i1 in np.ndindex(4, 2, 2, 3):
        total = sum(cores["G0"][0, i0, o0, r] * cores["G1"][r, i1, o1, 0] for r in range(2))
        assert w[o0 * 2 + o1, i0 * 3 + i1] == pytest.approx(total)


@SPECS
def test_weight_count_is_the_number_of_stored_elements(spec: MatrixSpec) -> None:
    assert n_weights(spec) == sum(core.size for core in random_cores(spec).values())


def test_weight_count_of_published_tt_lstm_is_3360() -> None:
    # arXiv 1707.01786, UCF11, rank 4.
    spec = MatrixSpec(
        format="mpo", in_modes=(8, 20, 20, 18), out_modes=(16, 4, 4, 4), ranks=(1, 4, 4, 4, 1)
    )
    assert n_weights(spec) == 3360
