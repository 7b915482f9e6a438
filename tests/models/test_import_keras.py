"""Weights of Keras against the output of the models that they come from."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einchip.models import Model, ModelError
from einchip.models.importers import Options, import_model
from tests.models import keras_models

needs_keras = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("keras", "torch")),
    reason="Keras runs on PyTorch here",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keras")
    subprocess.run(
        [sys.executable, "-W", "ignore", keras_models.__file__, str(path)],
        check=True,
        capture_output=True,
    )
    return path


@needs_keras
@pytest.mark.parametrize("kind", keras_models.KINDS)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_arrays_named_by_keras_compute_what_keras_computes(
    kind: str, suffix: str, folder: Path
) -> None:
    k = keras_models.KINDS.index(kind)
    path = folder / f"{k}.npz"
    arrays = dict(np.load(path))
    names = list(dict.fromkeys("/".join(n.split("/")[:2]) for n in arrays))
    fields: dict[str, Any] = {"output": "last"}
    if "every" in kind:
        fields = {"output": "sequence"}
    else:
        fields["activations"] = {names[-2]: "relu"}
    if suffix == ".safetensors":
        from safetensors.numpy import save_file

        path = folder / f"{k}.safetensors"
        save_file({n: np.ascontiguousarray(a) for n, a in arrays.items()}, path)
        fields["order"] = names
    found = import_model(path, Options(framework="keras", **fields))
    result = Model(found.spec, found.tensors).run(np.load(folder / "x.npy")[0])
    np.testing.assert_allclose(result, np.load(folder / f"{k}.npy")[0], atol=1e-6)


@needs_keras
@pytest.mark.parametrize("kind", keras_models.KINDS)
def test_an_archive_of_keras_computes_what_keras_computes(kind: str, folder: Path) -> None:
    k = keras_models.KINDS.index(kind)
    found = import_model(folder / f"{k}.keras")
    assert found.notes == ()
    result = Model(found.spec, found.tensors).run(np.load(folder / "x.npy")[0])
    np.testing.assert_allclose(result, np.load(folder / f"{k}.npy")[0], atol=1e-6)


def repacked(source: Path, target: Path, change: Callable[[Any], object]) -> Path:
    """An archive with its description changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                change(config["config"]["layers"])
                data = json.dumps(config).encode()
            new.writestr(name, data)
    return target


def setter(k: int, field: str, value: Any) -> Callable[[Any], object]:
    return lambda layers: layers[k]["config"].update({field: value})


@needs_keras
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (setter(1, "activation", "relu"), "lstm.*found activation relu, expected tanh"),
        (setter(1, "recurrent_activation", "hard_sigmoid"), "expected sigmoid"),
        (setter(1, "go_backwards", True), "found go_backwards True"),
        (setter(2, "activation", "softmax"), r"dense.*found activation softmax.*--activation"),
        (setter(2, "mask_zero", True), "found mask_zero True"),
        (setter(2, "name", "other"), r"other/kernel: found no such array"),
        (setter(2, "name", 3), r"layers.2.name: found a int"),
        (lambda layers: layers[2].update(class_name="Conv1D"), "found layer Conv1D"),
        (lambda layers: layers[1].update(class_name="GRU"), "lstm: found weights of 1 x lstm"),
    ],
)
def test_archives_of_other_layers_are_refused(
    change: Callable[[Any], object], match: str, folder: Path, tmp_path: Path
) -> None:
    path = repacked(folder / "0.keras", tmp_path / "m.keras", change)
    with pytest.raises(ModelError, match=match) as info:
        import_model(path)
    assert "\n" not in str(info.value)


@needs_keras
def test_two_directions_that_differ_are_refused(folder: Path, tmp_path: Path) -> None:
    k = keras_models.KINDS.index("GRU, 2, both")

    def change(layers: Any) -> None:
        layers[1]["config"]["backward_layer"]["config"]["reset_after"] = False

    path = repacked(folder / f"{k}.keras", tmp_path / "m.keras", change)
    with pytest.raises(ModelError, match="found two directions with different reset_after"):
        import_model(path)


@needs_keras
def test_softmax_is_left_out_only_when_asked_for(folder: Path, tmp_path: Path) -> None:
    source = folder / "0.keras"
    with zipfile.ZipFile(source) as archive:
        last = json.loads(archive.read("config.json"))["config"]["layers"][-1]["config"]["name"]
    path = repacked(source, tmp_path / "m.keras", setter(-1, "activation", "softmax"))
    found = import_model(path, Options(activations={last: "none"}))
    result = Model(found.spec, found.tensors).run(np.load(folder / "x.npy")[0])
    np.testing.assert_allclose(result, np.load(folder / "0.npy")[0], atol=1e-6)
    with pytest.raises(ModelError, match="option activation: found none for"):
        import_model(source, Options(activations={last: "none"}))
    with pytest.raises(ModelError, match="option activation: found cnn"):
        import_model(source, Options(activations={"cnn": "none"}))
    with pytest.raises(ModelError, match="option order"):
        import_model(source, Options(order=["lstm"]))


@needs_keras
def test_a_cut_archive_is_refused(folder: Path, tmp_path: Path) -> None:
    whole, path = (folder / "0.keras").read_bytes(), tmp_path / "m.keras"
    for n in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n])
        with pytest.raises(ModelError, match="file: found"):
            import_model(path)


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member in ("config.json", "metadata.json"):
            archive.writestr(member, "{}")
        with archive.open("model.weights.h5", "w") as file:
            for _ in range(320):
                file.write(bytes(2**20))
    with pytest.raises(ModelError, match="bytes unpacked, more than"):
        import_model(path)


def lstm_arrays() -> dict[str, Any]:
    def array(*shape: int) -> Any:
        return np.ones(shape, np.float32)

    return {
        "lstm/lstm_cell/kernel": array(5, 16),
        "lstm/lstm_cell/recurrent_kernel": array(4, 16),
        "lstm/lstm_cell/bias": array(16),
        "dense/kernel:0": array(4, 3),
        "dense/bias:0": array(3),
    }


def imported(path: Path, arrays: dict[str, Any], **options: Any) -> Any:
    np.savez(path / "m.npz", **arrays)
    return import_model(path / "m.npz", Options(framework="keras", **options))


def test_what_was_assumed_is_said(tmp_path: Path) -> None:
    assert imported(tmp_path, lstm_arrays()).notes == (
        "activations: Keras's defaults assumed in LSTM and GRU (tanh, sigmoid)",
        "activation: none assumed behind dense (--activation NAME=relu)",
        "order: lstm, dense, as in the file",
        "output: last step assumed (--returns sequence for every step)",
    )


def gru_arrays(*bias: int) -> dict[str, Any]:
    arrays = {"kernel": np.ones((5, 12)), "recurrent_kernel": np.ones((4, 12))}
    if bias:
        arrays["bias"] = np.ones(bias)
    return {f"gru.{name}": array.astype(np.float32) for name, array in arrays.items()}


def test_the_bias_of_a_gru_tells_where_the_reset_gate_is(tmp_path: Path) -> None:
    resets = [
        imported(tmp_path, arrays, **options).spec.layers[0].reset
        for arrays, options in (
            (gru_arrays(2, 12), {}),
            (gru_arrays(12), {}),
            (gru_arrays(), {}),
            (gru_arrays(), {"gru_reset": "before"}),
        )
    ]
    assert resets == ["after", "before", "after", "before"]


def test_an_embedding_is_its_own_transpose(tmp_path: Path) -> None:
    table = np.arange(35, dtype=np.float32).reshape(7, 5)
    found = imported(tmp_path, {"e/embeddings": table, **lstm_arrays()})
    np.testing.assert_array_equal(found.tensors["embedding.W"], table.T)


def broken(name: str, value: Any) -> dict[str, Any]:
    arrays = lstm_arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    return arrays


@pytest.mark.parametrize(
    ("arrays", "options", "match"),
    [
        (broken("lstm/lstm_cell/kernel", None), {}, "lstm/kernel: found no such array"),
        (
            broken("lstm/lstm_cell/kernel", np.ones((5, 15))),
            {},
            r"lstm/kernel: found shape \[5, 15",
        ),
        (broken("lstm/lstm_cell/bias", np.ones((2, 16))), {}, r"lstm/bias: found shape \[2, 16"),
        (broken("lstm/lstm_cell/recurrent_kernel", np.ones((4, 8))), {}, "recurrent_kernel: found"),
        (broken("lstm/lstm_cell/gamma", np.ones(3)), {}, "gamma: found an array of an unknown"),
        (broken("dense/kernel:0", np.ones((5, 3))), {}, "dense: found 5 inputs behind the 4"),
        (broken("dense/kernel:0", np.ones((4, 3, 2))), {}, r"dense/kernel: found shape \[4, 3, 2"),
        (broken("dense/bias:0", np.full(3, np.nan)), {}, "dense/bias:0: found NaN"),
        (broken("dense/bias:0", np.ones(3, np.int32)), {}, "dense/bias:0: found int32"),
        (gru_arrays(12), {"gru_reset": "after"}, "gru/bias: found reset after, expected before"),
        (lstm_arrays(), {"order": ["gru"]}, "option order: found gru"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    arrays: dict[str, Any], options: dict[str, Any], match: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=match) as info:
        imported(tmp_path, arrays, **options)
    assert str(info.value).startswith(str(tmp_path / "m.npz"))
    assert "\n" not in str(info.value)
