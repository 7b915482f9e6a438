"""Choice of modes and ranks, whole models; oracles: brute force, weight counts, dense matrices."""

from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest

from einchip.models import Model, ModelError, ModelSpec, n_weights, random_model, to_dense
from einchip.models.compress import (
    Plan,
    Site,
    Target,
    balanced_factors,
    compress_model,
    matrix_modes,
    places,
    svd_error,
)
from einchip.models.compress.modes import joint_modes, padded_factors
from einchip.models.spec import MatrixSpec

FORMATS = ("lowrank", "mpo", "mps", "ht", "tr", "bt", "tucker", "cp", "kronecker")
DENSE: dict[str, Any] = {"format": "dense"}


def stack(**fields: Any) -> Model:
    """Embedding, bidirectional GRU, LSTM, linear layer, all dense."""
    layers = [
        {"cell": "gru", "input_size": 12, "hidden_size": 16, "bidirectional": True},
        {"cell": "lstm", "input_size": 32, "hidden_size": 8},
    ]
    raw = {
        "name": "stack",
        "embedding": {"vocabulary": 31, "out_size": 12, "weight": DENSE},
        "layers": [
            *({"input": DENSE, "hidden": DENSE} | layer for layer in layers),
            {"kind": "linear", "input_size": 8, "out_size": 4, "weight": DENSE},
        ],
    }
    return random_model(ModelSpec.model_validate(raw | fields), 2)


def site(format_: str, columns: int = 12, units: int = 16, seed: int = 1) -> Site:
    rng = np.random.default_rng(seed)
    ins, outs = matrix_modes(format_, columns, units, 4)  # type: ignore[arg-type]
    template = MatrixSpec.model_construct(format=format_, in_modes=ins, out_modes=outs)
    return Site("m", (rng.standard_normal((4 * units, columns)),), template, 4)


@pytest.mark.parametrize("n", [1, 7, 12, 60, 64, 97, 128, 1024])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_factors_are_the_most_balanced_of_all(n: int, k: int) -> None:
    divisors = [d for d in range(1, n + 1) if n % d == 0]
    every = [tuple(sorted(f)) for f in product(divisors, repeat=k) if prod(f) == n]
    assert balanced_factors(n, k) == min(every, key=lambda f: f[::-1])


@pytest.mark.parametrize("n", [1, 31, 1000, 10007])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_padded_factors_hold_the_vocabulary_and_little_more(n: int, k: int) -> None:
    factors = padded_factors(n, k)
    assert n <= prod(factors)
    shrunk = (prod(factors) // f * (f - 1) for f in factors)
    assert all(smaller < n for smaller in shrunk)


@pytest.mark.parametrize(("x", "h"), [(12, 64), (64, 64), (7, 8), (30, 20)])
@pytest.mark.parametrize("format_", FORMATS)
def test_joint_modes_can_be_cut_between_x_and_h(format_: Any, x: int, h: int) -> None:
    modes = joint_modes(format_, x, h)
    assert prod(modes) == x + h
    assert x % prod(modes[1:]) == 0


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("ratio", [2.0, 4.0])
def test_ratio_is_kept_and_the_next_larger_ranks_would_break_it(format_: str, ratio: float) -> None:
    s = site(format_)
    spec = s.choose(Target(ratio=ratio))
    budget = 64 * 12 / ratio
    assert n_weights(spec, 4) <= budget
    if format_ in ("tr", "bt", "cp", "kronecker"):
        larger = next(
            u
            for r in range(1, 200)
            if (u := s.uniform(r)) != spec and n_weights(u) > n_weights(spec)
        )
    else:
        cuts = [d for d in s._deltas() if n_weights(s.at(d)) > n_weights(spec)]
        larger = s.at(cuts[0])
    assert n_weights(larger, 4) > budget


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("error", [0.6, 0.3])
def test_error_is_kept(format_: str, error: float) -> None:
    s = site(format_, 8, 4)
    (W,) = s.matrices
    spec = s.choose(Target(error=error))
    found = to_dense(spec, s.cores(W, spec), 4)
    assert np.linalg.norm(found - W) <= error * np.linalg.norm(W) * (1 + 1e-9)


def test_error_of_low_rank_takes_the_smallest_rank_that_keeps_it() -> None:
    s = site("lowrank")
    (W,) = s.matrices
    singular = np.linalg.svd(W, compute_uv=False)
    tails = [np.linalg.norm(singular[r:]) / np.linalg.norm(singular) for r in range(13)]
    smallest = next(r for r, tail in enumerate(tails) if tail <= 0.4)
    assert s.choose(Target(error=0.4)).ranks == smallest


def test_matrix_of_low_rank_is_found_out_by_an_error_of_nearly_zero() -> None:
    W = np.random.default_rng(1).standard_normal((64, 2)) @ np.ones((2, 12))
    template = MatrixSpec.model_construct(format="mpo", in_modes=(3, 4), out_modes=(16, 4))
    spec = Site("m", (W,), template, 4).choose(Target(error=1e-9))
    assert spec.ranks == (1, 4, 1)  # columns equal: the bond carries O1 only


def test_svd_error_is_that_of_the_largest_svd_that_fits() -> None:
    W = np.random.default_rng(1).standard_normal((20, 10))
    s = np.linalg.svd(W, compute_uv=False)
    rank, error = svd_error(W, 95)
    assert rank == 3
    assert error == pytest.approx(np.linalg.norm(s[3:]) / np.linalg.norm(s))
    assert svd_error(W, 29) == (0, 1.0)
    assert svd_error(W, 10**6) == (10, 0.0)


@pytest.mark.parametrize("format_", FORMATS)
def test_whole_model_is_compressed_in_both_directions(format_: Any) -> None:
    model = stack()
    made, reports = compress_model(model, Plan(format_, Target(ratio=1.5)))
    assert [r.name for r in reports] == [
        f"layers.{k}.{part}" for k in (0, 1) for part in ("input", "hidden")
    ]
    assert made.tensors["embedding.W"] is model.tensors["embedding.W"]
    assert made.tensors["layers.2.weight.W"] is model.tensors["layers.2.weight.W"]
    for report in reports:
        worst = 0.0
        for d in ("", "reverse.") if report.name.startswith("layers.0") else ("",):
            name = report.name.replace("layers.0.", f"layers.0.{d}")
            before, after = model.matrix(name), made.matrix(name)
            worst = max(worst, float(np.linalg.norm(after - before) / np.linalg.norm(before)))
        assert report.error == pytest.approx(worst, abs=1e-5)
        assert report.weights_after == n_weights(report.after, report.n_gates)
        assert report.weights_after * 1.5 <= report.dense_weights == report.weights_before
        assert bool(report.warning) == (report.error > report.svd_error + 1e-9)
    tokens = np.arange(9)
    assert np.isfinite(made.run(tokens)).all()


def test_more_weights_than_dense_are_warned_of() -> None:
    _, reports = compress_model(stack(), Plan("cp", Target(rank=(60,)), only=("layers.0.hidden",)))
    (report,) = reports
    assert report.weights_after > report.dense_weights
    assert f"the dense matrix {report.dense_weights:,}" in report.warning


@pytest.mark.parametrize("format_", ["mpo", "mps", "ht", "lowrank", "tucker"])
def test_full_ranks_change_nothing(format_: Any) -> None:
    model, tokens = stack(), np.arange(9)
    made, reports = compress_model(model, Plan(format_, Target(rank=10**6), only=("*",)))
    assert len(reports) == 6
    assert max(r.error for r in reports) < 1e-6
    np.testing.assert_allclose(made.run(tokens), model.run(tokens), atol=1e-5)


def test_compressed_models_are_compressed_again_and_back_to_dense() -> None:
    model, tokens = stack(), np.arange(9)
    first, _ = compress_model(model, Plan("mpo", Target(rank=10**6)))
    second, _ = compress_model(first, Plan("mps", Target(rank=10**6), only=("layers.*.hidden",)))
    kinds = {p.name: p.spec.format for p in places(second.spec) if p.recurrent}
    assert kinds == {
        "layers.0.input": "mpo",
        "layers.0.hidden": "mps",
        "layers.1.input": "mpo",
        "layers.1.hidden": "mps",
    }
    back, _ = compress_model(second, Plan("dense", Target(ratio=1)))
    np.testing.assert_allclose(back.run(tokens), model.run(tokens), atol=1e-5)
    assert set(back.tensors) == set(model.tensors)


def test_keep_and_only_choose_matrices() -> None:
    plan = Plan("cp", Target(rank=3), only=("embedding", "layers.0.*"), keep=("*.hidden",))
    _, reports = compress_model(stack(), plan)
    assert [r.name for r in reports] == ["embedding", "layers.0.input"]


def test_gates_may_have_networks_of_their_own() -> None:
    made, reports = compress_model(stack(), Plan("mpo", Target(ratio=2), gates="separate"))
    assert {r.after.gates for r in reports} == {"separate"}
    assert made.tensors["layers.1.hidden.G0"].shape[0] == 4


def test_joint_matrices_stay_joint() -> None:
    layer = {"cell": "lstm", "input_size": 8, "hidden_size": 16, "joint": DENSE}
    raw = {"name": "joint", "layers": [layer]}
    model = random_model(ModelSpec.model_validate(raw), 1)
    made, (report,) = compress_model(model, Plan("ht", Target(rank=10**6)))
    x = np.random.default_rng(1).standard_normal((5, 8))
    np.testing.assert_allclose(made.run(x), model.run(x), atol=1e-5)
    assert report.name == "layers.0.joint"


def test_prime_sizes_and_vocabularies_work() -> None:
    raw = {
        "name": "primes",
        "embedding": {"vocabulary": 101, "out_size": 13, "weight": DENSE},
        "layers": [
            {"cell": "rnn", "input_size": 13, "hidden_size": 7, "input": DENSE, "hidden": DENSE}
        ],
    }
    model = random_model(ModelSpec.model_validate(raw), 1)
    made, reports = compress_model(model, Plan("mpo", Target(rank=10**6), only=("*",)))
    tokens = np.array([0, 100, 50])
    np.testing.assert_allclose(made.run(tokens), model.run(tokens), atol=1e-5)
    assert reports[0].dense_weights == 13 * 101


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan("mpo", Target(rank=2), only=("layers.9.*",)), "layers.9.*: found no such matrix"),
        (Plan("mpo", Target(rank=2), keep=("layers.*",)), "no matrix left"),
        (Plan("mpo", Target(rank=2), in_modes=(5, 5)), "--in-modes: found .* product 12"),
        (Plan("mpo", Target(rank=2), in_modes=(3, 2, 2)), "3 input and 2 output modes"),
        (Plan("mpo", Target(rank=(1, 500, 1))), "found rank 500 for bond r1, expected at most"),
        (Plan("mpo", Target(ratio=1000.0)), "weights at rank 1"),
        (Plan("cp", Target(error=1e-9)), "weights and still relative error"),
    ],
)
def test_impossible_plans_say_why_in_one_line(plan: Plan, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        compress_model(stack(), plan)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fields", [{}, {"rank": 1, "ratio": 2.0}, {"error": 1.0}, {"ratio": -1.0}])
def test_targets_that_mean_nothing_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="compress: "):
        Target(**fields)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(("x", "h", "cell"), [(13, 1, "lstm"), (1, 3, "rnn"), (16, 12, "rnn")])
def test_odd_sizes_give_models_that_run(format_: Any, x: int, h: int, cell: str) -> None:
    """Oracle: the report's error, found again from the dense matrices."""
    layer = {"cell": cell, "input_size": x, "hidden_size": h, "input": DENSE, "hidden": DENSE}
    model = random_model(ModelSpec.model_validate({"name": "odd", "layers": [layer]}), 4)
    made, reports = compress_model(model, Plan(format_, Target(rank=2), gates="separate"))
    assert made.run(np.ones((2, x))).shape == (h,)
    for report in reports:
        W = model.matrix(report.name)
        error = np.linalg.norm(made.matrix(report.name) - W) / np.linalg.norm(W)
        assert report.error == pytest.approx(error, abs=1e-5)
        assert report.after.gates == ("joint" if cell == "rnn" else "separate")
