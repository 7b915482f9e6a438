"""The committed examples; the oracle is results.json, written by the training script."""

import json
from pathlib import Path

import numpy as np
import pytest

from einchip.models import load_model, load_npz, model_matrices, n_weights

EXAMPLES = Path(__file__).parents[2] / "examples"
VOWELS = EXAMPLES / "japanese_vowels"
RESULTS = json.loads((VOWELS / "results.json").read_text())


@pytest.mark.parametrize("name", ["dense", "mpo", "mps"])
def test_trained_model_has_the_recorded_accuracy(name: str) -> None:
    model, data = (
        load_model(VOWELS / f"{name}.safetensors"),
        load_npz(VOWELS / "japanese_vowels.npz"),
    )
    right = model.run_batch(data.sequences).argmax(axis=1) == data.labels
    # One utterance of the 370 may lie on the border between float32 and float64.
    assert np.mean(right) == pytest.approx(RESULTS[name]["test"]["float"], abs=1.01 / 370)
    assert np.mean(right) >= 0.96


def weights_of_the_layer(path: Path) -> int:
    """Weights of both matrices of the first layer."""
    matrices = model_matrices(load_model(path).spec)
    return sum(n_weights(*matrices[f"layers.0.{name}"]) for name in ("input", "hidden"))


@pytest.mark.parametrize("name", ["mpo", "mps"])
def test_compressed_model_has_ten_times_fewer_weights(name: str) -> None:
    n = weights_of_the_layer(VOWELS / f"{name}.safetensors")
    assert n == RESULTS[name]["weights"]["total"]
    assert 10 * n <= weights_of_the_layer(VOWELS / "dense.safetensors")


def test_data_set_has_270_and_370_utterances_of_nine_speakers() -> None:
    train = load_npz(VOWELS / "japanese_vowels.npz", "train")
    test = load_npz(VOWELS / "japanese_vowels.npz", "test")
    assert (len(train), len(test)) == (270, 370)
    assert np.bincount(train.labels).tolist() == [30] * 9
    assert np.bincount(test.labels).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]  # UCI's page
    assert {s.shape[1] for s in test.sequences} == {12}
    assert max(len(s) for s in test.sequences) == 29


def test_published_ucf11_example_loads() -> None:
    matrices = model_matrices(load_model(EXAMPLES / "ucf11_tt_lstm.yaml").spec)
    spec, n_gates = matrices["layers.0.input"]
    assert (n_weights(spec, n_gates), n_gates) == (3360, 4)
    assert spec.in_size * spec.out_size == 58_982_400
    assert n_weights(*matrices["layers.0.hidden"]) == 256 * 1024
