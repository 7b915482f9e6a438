"""Fine-tuning; oracles: accuracy by `Model.run_batch`, a teacher's outputs, repeated runs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from einchip.models import Model, ModelError, ModelSpec, Sequences, random_model

pytest.importorskip("torch")
from einchip.models.finetune import Settings, accuracy, finetune

FAST = Settings(epochs=15, rate=0.03, batch=20, seed=3)
MPO: dict[str, Any] = {
    "input": {"format": "mpo", "in_modes": [2, 2], "out_modes": [8, 4], "ranks": [1, 4, 1]},
    "hidden": {"format": "mpo", "in_modes": [2, 4], "out_modes": [8, 4], "ranks": [1, 4, 1]},
}


def model_of(seed: int = 1, **fields: Any) -> Model:
    raw: dict[str, Any] = {
        "name": "small",
        "layers": [
            {"input_size": 4, "hidden_size": 8} | MPO,
            {"kind": "linear", "input_size": 8, "out_size": 3, "weight": {"format": "dense"}},
        ],
    }
    return random_model(ModelSpec.model_validate(raw | fields), seed)


def sequences(n: int = 60, seed: int = 2) -> Sequences:
    """Which of three channels is largest on average."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    steps = [rng.standard_normal((int(k), 4)).astype(np.float32) for k in rng.integers(3, 9, n)]
    for x, label in zip(steps, labels, strict=True):
        x[:, label] += 1.0
    return Sequences(tuple(steps), labels)


def test_labels_are_learnt() -> None:
    model, data = model_of(), sequences()
    losses: list[float] = []
    made = finetune(model, data, FAST, progress=lambda _, loss: losses.append(loss))
    assert len(losses) == FAST.epochs
    assert losses[-1] < 0.5 * losses[0]
    right = [made.run(s).argmax() == y for s, y in zip(data.sequences, data.labels, strict=True)]
    assert accuracy(made, data) == np.mean(right) > max(0.9, accuracy(model, data))
    assert made.spec == model.spec


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_same_seed_gives_the_same_weights_and_another_seed_others(noise: float) -> None:
    settings = replace(FAST, epochs=2, noise=noise, offset=noise, dropout=noise)
    model, data = model_of(), sequences()
    first, second = finetune(model, data, settings), finetune(model, data, settings)
    other = finetune(model, data, replace(settings, seed=4))
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])
    assert any((t != other.tensors[n]).any() for n, t in first.tensors.items())


@pytest.mark.parametrize("epochs", [1, 2, 5, 9, 10, 11, 20])
def test_any_number_of_steps_is_trained(epochs: int) -> None:
    """One step per epoch; PyTorch's schedule divides by zero where a tenth of all is one step."""
    data = sequences(4)
    made = finetune(model_of(), data, replace(FAST, epochs=epochs, batch=4))
    assert any((t != made.tensors[n]).any() for n, t in model_of().tensors.items())


def test_no_epochs_leave_the_model_as_it_is() -> None:
    model = model_of()
    made = finetune(model, sequences(), replace(FAST, epochs=0))
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(tensor, made.tensors[name])


def test_teacher_is_followed_where_labels_say_nothing() -> None:
    data = sequences()
    teacher = finetune(model_of(), data, FAST)
    shuffled = Sequences(data.sequences, np.random.default_rng(1).permutation(data.labels))

    def distance(model: Model) -> float:
        apart = model.run_batch(data.sequences) - teacher.run_batch(data.sequences)
        apart -= apart.mean(axis=1, keepdims=True)
        return float(np.square(apart).mean())

    alone = finetune(model_of(7), shuffled, FAST)
    taught = finetune(model_of(7), shuffled, FAST, teacher)
    assert distance(taught) < 0.5 * distance(alone)


def test_sequence_outputs_learn_those_of_the_teacher() -> None:
    teacher, student = model_of(1, output="sequence"), model_of(2, output="sequence")
    data = sequences()

    def distance(model: Model) -> float:
        apart = model.run_batch(data.sequences) - teacher.run_batch(data.sequences)
        return float(np.square(apart).mean())

    assert distance(finetune(student, data, FAST, teacher)) < 0.3 * distance(student)


def test_tokens_are_learnt_through_an_embedding() -> None:
    embedding = {
        "vocabulary": 10,
        "out_size": 4,
        "weight": {"format": "mpo", "in_modes": [2, 5], "out_modes": [2, 2], "ranks": [1, 3, 1]},
    }
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 60)
    tokens = tuple(rng.integers(3 * y, 3 * y + 4, 5) for y in labels)
    data = Sequences(tokens, labels)
    made = finetune(model_of(embedding=embedding), data, FAST)
    assert accuracy(made, data) > 0.9


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ({"output": "sequence"}, None, "output: found sequence, expected last"),
        ({}, {"output": "sequence"}, "output: found sequence, expected last as in small"),
    ],
)
def test_what_does_not_fit_is_refused(
    student: dict[str, Any], teacher: dict[str, Any] | None, message: str
) -> None:
    other = None if teacher is None else model_of(**teacher)
    with pytest.raises(ModelError, match=message):
        finetune(model_of(**student), sequences(), FAST, other)


def test_labels_beyond_the_outputs_are_refused() -> None:
    data = sequences()
    with pytest.raises(ModelError, match="labels: found 4 classes, expected at most its 3"):
        finetune(model_of(), Sequences(data.sequences, data.labels + 1), FAST)


def test_training_that_diverges_is_an_error() -> None:
    data = sequences()
    huge = Sequences(tuple(np.full_like(s, 3e38) for s in data.sequences), data.labels)
    spec = model_of().spec
    relu = {"cell": "rnn", "activation": "relu", "input_size": 4, "hidden_size": 8}
    dense = {"input": {"format": "dense"}, "hidden": {"format": "dense"}}
    raw = spec.model_dump() | {"layers": [relu | dense, spec.layers[1].model_dump()]}
    with pytest.raises(ModelError, match="NaN or infinity"):
        finetune(random_model(ModelSpec.model_validate(raw), 1), huge, replace(FAST, epochs=2))
