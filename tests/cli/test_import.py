"""`einchip import`: what it writes, what it says, what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from einchip.models import load_model
from tests.cli.helpers import invoke, refused, succeeded


def weights(cell_gates: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    shapes = {
        "rnn.weight_ih_l0": (cell_gates * 4, 5),
        "rnn.weight_hh_l0": (cell_gates * 4, 4),
        "rnn.bias_ih_l0": (cell_gates * 4,),
        "rnn.bias_hh_l0": (cell_gates * 4,),
        "fc.weight": (3, 4),
        "fc.bias": (3,),
    }
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    save_file(weights(), tmp_path / "source.safetensors")
    return tmp_path / "source.safetensors"


def test_a_state_dict_becomes_a_model_file(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    text = succeeded(invoke("import", source, "-o", target))
    assert text.splitlines() == [
        f"{target}: lstm 5 -> 4; linear 4 -> 3; 175 weights; output last",
        "  activation: none assumed behind fc (--activation NAME=relu)",
        "  order: rnn, fc, the only one whose sizes fit",
        "  output: last step assumed (--returns sequence for every step)",
    ]
    model = load_model(target)
    assert model.spec.name == "source"
    np.testing.assert_array_equal(model.tensors["layers.1.bias"], weights()["fc.bias"])


def test_every_option_reaches_the_model(tmp_path: Path) -> None:
    source, target = tmp_path / "source.safetensors", tmp_path / "model.safetensors"
    save_file(weights(1) | {"other.conv": np.zeros((2, 2, 2), np.float32)}, source)
    options = ["--order", "rnn,fc", "--activation", "fc=sigmoid", "--rnn-activation", "relu"]
    more = ["--returns", "sequence", "--name", "mine", "--framework", "pytorch"]
    text = succeeded(invoke("import", source, "-o", target, *options, *more))
    assert text.splitlines()[1:] == ["  left out, since --order does not name them: other"]
    spec = load_model(target).spec
    assert (spec.name, spec.output) == ("mine", "sequence")
    assert spec.layers[0].activation == "relu"
    assert spec.layers[1].activation == "sigmoid"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--framework", "caffe"], "--framework: found 'caffe', expected one of pytorch, keras"),
        (["--returns", "all"], "--returns: found 'all', expected one of last, sequence"),
        (["--activation", "fc"], "--activation: found 'fc', expected NAME=relu"),
        (["--activation", "fc=gelu"], "--activation: fc: found 'gelu', expected one of none"),
        (["--rnn-activation", "gelu"], "--rnn-activation: found 'gelu'"),
        (["--gru-reset", "never"], "--gru-reset: found 'never'"),
        (["--gru-reset", "after"], "option gru_reset: found after, expected no such option"),
        (["--order", "fc,rnn"], "rnn: found 5 inputs behind the 3 outputs of fc"),
        (["--order", "fc,rnn,cnn"], "option order: found cnn, expected one of"),
        (["--value", "y"], "option value: found y"),
        (["--embedding", "fc"], "fc.bias: found a bias"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: list[str], text: str, source: Path) -> None:
    target = source.parent / "model.safetensors"
    assert text in refused(source.parent, "import", source, "-o", target, *options)


def test_arrays_of_keras_without_framework_are_told_of_it(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"model/dense/kernel": np.ones((2, 3), np.float32)}
    np.savez(tmp_path / "k.npz", **arrays)
    source, target = tmp_path / "k.npz", tmp_path / "model.safetensors"
    line = refused(tmp_path, "import", source, "-o", target)
    assert "give --framework keras if these are Keras's" in line
    succeeded(invoke("import", source, "-o", target, "--framework", "keras"))


def test_a_source_that_is_not_there_or_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    for name, text in (
        ("missing.onnx", "missing.onnx: file: found nothing"),
        ("missing.pt", "missing.pt: file: found nothing"),
        ("missing.safetensors", "file: found nothing"),
        ("model.tflite", "found suffix '.tflite'"),
    ):
        assert text in refused(tmp_path, "import", tmp_path / name, "-o", target)


def test_a_folder_that_is_not_there_is_found_before_the_work(source: Path) -> None:
    target = source.parent / "nowhere" / "model.safetensors"
    assert "cannot write" in refused(source.parent, "import", source, "-o", target)


def test_a_cut_file_is_refused_and_nothing_is_written(source: Path) -> None:
    source.write_bytes(source.read_bytes()[:-1])
    target = source.parent / "model.safetensors"
    assert "file: found" in refused(source.parent, "import", source, "-o", target)
