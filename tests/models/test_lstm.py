"""The float model; the oracle is the textbook LSTM, one gate at a time, in plain NumPy."""

import numpy as np
import pytest
from numpy.typing import NDArray

from einchip.models import Model, ModelError
from tests.models.helpers import small_model

KINDS = pytest.mark.parametrize("kind", ["dense", "mpo", "mps"])


def textbook_hidden(model: Model, sequence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Last h of one sequence, gates i, f, g, o in turn from their own rows of the matrices."""
    n = model.spec.layers[0].hidden_size
    w, u, b = model.matrix("input"), model.matrix("hidden"), model.tensors["layers.0.bias"]
    h, c = np.zeros(n), np.zeros(n)
    for x in sequence:
        a = [w[k * n : (k + 1) * n] @ x + u[k * n : (k + 1) * n] @ h for k in range(4)]
        i, f, o = (1 / (1 + np.exp(-(a[k] + b[k * n : (k + 1) * n]))) for k in (0, 1, 3))
        c = f * c + i * np.tanh(a[2] + b[2 * n : 3 * n])
        h = o * np.tanh(c)
    return h


def random_sequences(*lengths: int) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(7)
    return [rng.standard_normal((n, 6)) for n in lengths]


def without_head(model: Model) -> Model:
    spec = model.spec.model_copy(update={"head": None})
    return Model(spec, {k: v for k, v in model.tensors.items() if not k.startswith("head")})


@KINDS
def test_last_hidden_state_equals_textbook_lstm(kind: str) -> None:
    model = without_head(small_model(kind))
    (sequence,) = random_sequences(9)
    np.testing.assert_allclose(model.run(sequence), textbook_hidden(model, sequence), rtol=1e-10)


@KINDS
def test_logits_are_the_head_of_the_last_hidden_state(kind: str) -> None:
    model = small_model(kind)
    (sequence,) = random_sequences(4)
    h = textbook_hidden(model, sequence)
    expected = model.tensors["head.weight"] @ h + model.tensors["head.bias"]
    np.testing.assert_allclose(model.run(sequence), expected, rtol=1e-10)


@KINDS
def test_batch_of_different_lengths_equals_one_by_one(kind: str) -> None:
    model, sequences = small_model(kind), random_sequences(1, 7, 3, 12)
    one_by_one = np.stack([model.run(s) for s in sequences])
    np.testing.assert_allclose(model.run_batch(sequences), one_by_one, rtol=1e-12)


def test_empty_batch_gives_no_rows() -> None:
    assert small_model().run_batch([]).shape == (0, 3)


def test_large_gates_do_not_overflow() -> None:
    model = small_model()
    assert np.isfinite(model.run(np.full((3, 6), 1e30))).all()


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        (np.zeros((3, 5)), r"found shape \[3, 5\]"),
        (np.zeros((0, 6)), r"found shape \[0, 6\]"),
        (np.zeros(6), r"found shape \[6\]"),
        (np.full((2, 6), np.nan), "found NaN or infinity"),
        ([[1.0], [1.0, 2.0]], "expected numbers of shape"),
        (np.full((2, 6), "a"), "found dtype <U1"),
    ],
)
def test_wrong_sequence_is_refused(sequence: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        small_model().run(sequence)  # type: ignore[arg-type]


def test_model_with_a_missing_tensor_is_refused() -> None:
    model = small_model()
    with pytest.raises(ModelError, match=r"mpo: layers\.0\.input\.G0: found no such tensor"):
        Model(model.spec, {})
