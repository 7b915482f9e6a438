"""The float model; the oracle is each cell's textbook form, one sequence, one gate at a time."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from einchip.models import Model, ModelError, ModelSpec, parse_spec, random_model
from einchip.models import matrix as matrix_module
from einchip.models.spec import RecurrentSpec
from tests.models.helpers import CELLS, FORMATS, recurrent, small_model, zoo

Float = NDArray[np.float64]
ZOO = pytest.mark.parametrize("fields", zoo().values(), ids=zoo())


def sigmoid(x: Float) -> Float:
    return np.asarray(1 / (1 + np.exp(-x)))


def matrices(model: Model, prefix: str, layer: RecurrentSpec) -> tuple[Float, Float]:
    if layer.joint is None:
        return model.matrix(f"{prefix}input"), model.matrix(f"{prefix}hidden")
    w = model.matrix(f"{prefix}joint")
    return w[:, : layer.input_size], w[:, layer.input_size :]


def textbook(model: Model, k: int, prefix: str, sequence: Float) -> Float:
    """All hidden states of one direction of layer k, ``[n_steps, hidden_size]``."""
    layer = model.spec.layers[k]
    assert isinstance(layer, RecurrentSpec)
    n, t = layer.hidden_size, {n: v.astype(float) for n, v in model.tensors.items()}
    w, u = matrices(model, prefix, layer)
    b = t[f"{prefix}bias"]
    h, c, found = np.zeros(n), np.zeros(n), []
    gate = [slice(g * n, (g + 1) * n) for g in range(4)]
    for x in sequence:
        a = [w[s] @ x + b[s] for s in gate[: layer.n_gates]]
        if layer.cell == "lstm":
            i, f, g, o = (a[k] + u[gate[k]] @ h for k in range(4))
            p = t.get(f"{prefix}peepholes", np.zeros((3, n)))
            c = sigmoid(f + p[1] * c) * c + sigmoid(i + p[0] * c) * np.tanh(g)
            h = sigmoid(o + p[2] * c) * np.tanh(c)
        elif layer.cell == "rnn":
            total = a[0] + u @ h
            h = np.tanh(total) if layer.activation == "tanh" else np.where(total > 0, total, 0)
        else:
            d = t.get(f"{prefix}bias_hidden", np.zeros(3 * n))
            r, z = (sigmoid(a[k] + u[gate[k]] @ h + d[gate[k]]) for k in range(2))
            if layer.reset == "after":
                new = np.tanh(a[2] + r * (u[gate[2]] @ h + d[gate[2]]))
            else:
                new = np.tanh(a[2] + u[gate[2]] @ (r * h))
            h = (1 - z) * new + z * h
        found.append(h)
    return np.array(found)


def with_random_biases(model: Model) -> Model:
    rng = np.random.default_rng(11)
    changed = {
        name: rng.standard_normal(t.shape).astype(np.float32) if "bias" in name else t
        for name, t in model.tensors.items()
    }
    return Model(model.spec, changed)


def random_sequences(*lengths: int) -> list[Float]:
    rng = np.random.default_rng(7)
    return [rng.standard_normal((n, 6)) for n in lengths]


def logits(model: Model, h: Float) -> Float:
    return np.asarray(model.matrix("layers.1.weight") @ h + model.tensors["layers.1.bias"])


@ZOO
def test_logits_equal_the_textbook_cell(fields: dict[str, Any]) -> None:
    model = with_random_biases(small_model(**fields))
    (sequence,) = random_sequences(5)
    h = textbook(model, 0, "layers.0.", sequence)[-1]
    if fields.get("bidirectional"):
        reverse = textbook(model, 0, "layers.0.reverse.", sequence[::-1])[-1]
        h = np.concatenate([h, reverse])
    np.testing.assert_allclose(model.run(sequence), logits(model, h), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_batch_of_different_lengths_equals_one_by_one(cell: str) -> None:
    model = small_model("mps", **CELLS[cell], bidirectional=True)
    sequences = random_sequences(1, 7, 3, 12)
    one_by_one = np.stack([model.run(s) for s in sequences])
    np.testing.assert_allclose(model.run_batch(sequences), one_by_one, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", FORMATS)
def test_matrix_applied_tensor_by_tensor_equals_the_dense_one(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(kind, cell="gru", reset="before", joint=True)
    sequences = random_sequences(3, 9)
    dense = model.run_batch(sequences)
    monkeypatch.setattr(matrix_module, "MAX_DENSE_ELEMENTS", 0)
    monkeypatch.setattr(matrix_module, "CHUNK_ELEMENTS", 100)
    np.testing.assert_allclose(model.run_batch(sequences), dense, rtol=1e-9, atol=1e-12)


def stack(output: str) -> Model:
    """Linear, bidirectional GRU, LSTM, linear."""
    linear = {"kind": "linear", "weight": {"format": "dense"}}
    layers = [
        linear | {"input_size": 6, "out_size": 6, "activation": "relu"},
        recurrent("mpo", "gru", bidirectional=True),
        recurrent("dense") | {"input_size": 16},
        linear | {"input_size": 8, "out_size": 3, "activation": "sigmoid", "bias": False},
    ]
    raw = {"name": "stack", "layers": layers, "output": output}
    return with_random_biases(random_model(parse_spec(raw, "stack"), 3))


def stack_by_hand(model: Model, sequence: Float) -> Float:
    """The last layer's input of every step."""
    x = np.maximum(sequence @ model.matrix("layers.0.weight").T + model.tensors["layers.0.bias"], 0)
    forward = textbook(model, 1, "layers.1.", x)
    reverse = textbook(model, 1, "layers.1.reverse.", x[::-1])[::-1]
    return textbook(model, 2, "layers.2.", np.concatenate([forward, reverse], axis=1))


def test_stack_with_every_step_out_equals_layers_by_hand() -> None:
    model, sequences = stack("sequence"), random_sequences(4, 6)
    by_hand = [stack_by_hand(model, s) for s in sequences]
    expected = [sigmoid(h @ model.matrix("layers.3.weight").T) for h in by_hand]
    np.testing.assert_allclose(model.run(sequences[1]), expected[1], rtol=1e-9)
    np.testing.assert_allclose(model.run_batch(sequences), np.concatenate(expected), rtol=1e-9)


def test_last_step_of_a_stack_goes_through_the_linear_layers_behind_it() -> None:
    last, every = stack("last"), stack("sequence")
    (sequence,) = random_sequences(6)
    np.testing.assert_allclose(last.run(sequence), every.run(sequence)[-1], rtol=1e-12)
    assert last.run_batch(random_sequences(3, 4)).shape == (2, 3)


def embedded(format_: dict[str, Any]) -> Model:
    raw = {
        "name": "tokens",
        "embedding": {"vocabulary": 11, "out_size": 6, "weight": format_},
        "layers": [recurrent("dense")],
        "output": "sequence",
    }
    return random_model(parse_spec(raw, "tokens"), 4)


MPO_EMBEDDING = {"format": "mpo", "in_modes": [3, 4], "out_modes": [2, 3], "ranks": [1, 4, 1]}


@pytest.mark.parametrize("format_", [{"format": "dense"}, MPO_EMBEDDING])
@pytest.mark.parametrize("limit", [0, 2**24])
def test_embedding_is_the_column_of_the_token(
    format_: dict[str, Any], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix_module, "MAX_DENSE_ELEMENTS", limit)
    model = embedded(format_)
    tokens = [10, 0, 7, 7]
    columns = model.matrix("embedding")[:, tokens].T
    np.testing.assert_allclose(model.run(tokens), textbook(model, 0, "layers.0.", columns))


@pytest.mark.parametrize("cell", CELLS)
def test_recorded_rows_obey_the_cell(cell: str) -> None:
    model = with_random_biases(small_model("dense", **CELLS[cell], bidirectional=True))
    sequences = random_sequences(4, 2)
    wires = model.record(sequences)
    x = np.concatenate(sequences)
    for direction, order in (
        ("layers.0", slice(None)),
        ("layers.0.reverse", slice(None, None, -1)),
    ):
        after = [textbook(model, 0, f"{direction}.", s[order])[order] for s in sequences]
        np.testing.assert_array_equal(wires[f"{direction}.x"], x)
        np.testing.assert_allclose(wires[f"{direction}.h_after"], np.concatenate(after), rtol=1e-9)
        for a, start in zip(after, (0, 4), strict=True):  # before: the state of the step before
            before = wires[f"{direction}.h"][start : start + len(a)][order]
            np.testing.assert_allclose(before[1:], a[order][:-1], rtol=1e-9)
            assert not before[0].any()
    states = {"lstm": "cell", "peephole": "cell", "gru": "cell", "gru_before": "cell reset"}
    kept = states.get(cell, "").split()
    assert set(wires) == {
        *(f"layers.0{d}.{w}" for d in ("", ".reverse") for w in ("x", "h", "h_after", *kept)),
        "layers.1.x",
        "layers.1.y",
    }
    assert wires["layers.1.x"].shape == (2, 16)
    np.testing.assert_array_equal(wires["layers.1.y"], model.run_batch(sequences))
    if cell == "lstm":
        c = wires["layers.0.cell"]
        assert (np.abs(wires["layers.0.h_after"]) <= np.abs(np.tanh(c))).all()
    if cell.startswith("gru"):
        np.testing.assert_array_equal(wires["layers.0.cell"], wires["layers.0.h_after"])
    if cell == "gru_before":
        ratio = wires["layers.0.reset"][1:4] / wires["layers.0.h"][1:4]
        assert ((ratio > 0) & (ratio < 1)).all()


def test_recorded_digits_of_tokens_are_one_hot() -> None:
    wires = embedded(MPO_EMBEDDING).record([[9, 2]])
    np.testing.assert_array_equal(wires["embedding.e0"], [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(wires["embedding.e1"], [[0, 1, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_array_equal(wires["embedding.y"], wires["layers.0.x"])


def test_empty_batch_gives_no_rows() -> None:
    assert small_model().run_batch([]).shape == (0, 3)


def test_large_gates_do_not_overflow() -> None:
    assert np.isfinite(small_model().run(np.full((3, 6), 1e30))).all()


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        (np.zeros((3, 5)), r"found shape \[3, 5\]"),
        (np.zeros((0, 6)), r"found shape \[0, 6\]"),
        (np.zeros(6), r"found shape \[6\]"),
        (np.float64(1), r"found shape \[\]"),
        (np.full((2, 6), np.nan), "found NaN or infinity"),
        ([[1.0], [1.0, 2.0]], "expected numbers of shape"),
        (np.full((2, 6), "a"), "found dtype <U1"),
    ],
)
def test_wrong_sequence_is_refused(sequence: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        small_model().run(sequence)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([0, 11], "found tokens from 0 to 11, expected 0 to 10"),
        ([-1], "found tokens from -1 to -1"),
        ([1.0], "found dtype float64, expected tokens of shape"),
        ([[1]], r"found shape \[1, 1\]"),
        ([], "found dtype float64"),
    ],
)
def test_wrong_token_is_refused(tokens: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        embedded({"format": "dense"}).run(tokens)


def test_model_with_a_missing_tensor_is_refused() -> None:
    spec: ModelSpec = small_model().spec
    with pytest.raises(ModelError, match=r"mpo: layers\.0\.input\.G0: found no such tensor"):
        Model(spec, {})
