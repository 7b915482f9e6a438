"""Storing and loading: round trips, and every damaged file in one line (the oracle: the rule)."""

import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from einchip.models import ModelError, ModelSpec, load_model, random_model, save_model, to_dense
from tests.models.helpers import raw_spec, small_model


def message_of(path: Path) -> str:
    """The error of loading `path`, checked to be one line that begins with the path."""
    with pytest.raises(ModelError) as error:
        load_model(path)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{path.parent}/")
    assert ": found " in text
    assert ", expected " in text
    assert "; " in text
    return text


def write(path: Path, change: dict[str, np.ndarray | None], spec: object = None) -> Path:
    """A model file with some tensors replaced (None: removed)."""
    tensors: dict[str, Any] = small_model().tensors | change
    text = json.dumps(raw_spec() if spec is None else spec)
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, path, metadata={"einchip": text})
    return path


def write_yaml(path: Path, **fields: object) -> Path:
    path.write_text(yaml.safe_dump(raw_spec() | fields))
    return path


@pytest.mark.parametrize("kind", ["dense", "mpo", "mps"])
def test_round_trip_keeps_spec_and_every_weight(kind: str, tmp_path: Path) -> None:
    model = small_model(kind)
    save_model(model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.spec == model.spec
    assert set(loaded.tensors) == set(model.tensors)
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)


def test_yaml_with_random_weights_equals_random_model(tmp_path: Path) -> None:
    loaded = load_model(write_yaml(tmp_path / "m.yaml", weights={"random": 5}))
    np.testing.assert_array_equal(loaded.matrix("input"), small_model(seed=5).matrix("input"))


def test_yaml_names_a_weight_file_beside_it(tmp_path: Path) -> None:
    save_model(small_model(), tmp_path / "w.safetensors")
    loaded = load_model(write_yaml(tmp_path / "m.yaml", weights="w.safetensors"))
    np.testing.assert_array_equal(loaded.matrix("hidden"), small_model().matrix("hidden"))


@pytest.mark.parametrize("kind", ["dense", "mpo", "mps"])
def test_random_matrices_have_variance_one_over_fan_in(kind: str) -> None:
    spec = ModelSpec.model_validate(raw_spec(kind))
    squares = []
    for seed in range(200):
        model = random_model(spec, seed)
        squares.append(np.mean(to_dense(spec.layers[0].hidden, model.cores("hidden")) ** 2))
    assert np.mean(squares) == pytest.approx(1 / 8, rel=0.3)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    assert "file: found nothing" in message_of(tmp_path / "no.safetensors")
    assert "file: found nothing" in message_of(tmp_path / "no.yaml")


def test_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "file: found Is a directory" in message_of(tmp_path / "folder")


def test_file_cut_at_any_byte_is_one_line(tmp_path: Path) -> None:
    whole = write(tmp_path / "m.safetensors", {}).read_bytes()
    cut = tmp_path / "cut.safetensors"
    for n in [*range(0, 64), *range(64, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:n])
        message_of(cut)


def test_flipped_header_byte_raises_nothing_but_model_error(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path / "m.safetensors", {}).read_bytes())
    (n,) = struct.unpack("<Q", whole[:8])
    flipped = tmp_path / "flipped.safetensors"
    for k in range(0, 8 + n, 5):
        flipped.write_bytes(whole[:k] + bytes([whole[k] ^ 0x11]) + whole[k + 1 :])
        with suppress(ModelError):
            load_model(flipped)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "header: found 0 bytes"),
        (b"\xff" * 64, "header: found a length of 18446744073709551615 bytes"),
        (struct.pack("<Q", 2**21) + b" " * 2**21, "header: found a length of 2097152 bytes"),
        (struct.pack("<Q", 4) + b"[1]\n", "header: found list"),
        (struct.pack("<Q", 4) + b"{{{{", "header: found Expecting"),
        (struct.pack("<Q", 2) + b"{}", "metadata.einchip: found no such entry"),
        (struct.pack("<Q", 99_999) + b"[" * 99_999, "header: found"),
        (struct.pack("<Q", 19) + b'{"__metadata__": 1}', "found"),
    ],
)
def test_damaged_header_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    assert message in message_of(path)


def test_metadata_that_is_no_json_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file(small_model().tensors, path, metadata={"einchip": "{"})
    assert "metadata.einchip: found Expecting" in message_of(path)


G0 = "layers.0.input.G0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({G0: np.zeros((1, 3, 8, 2), np.float32)}, f"{G0}: found shape [1, 3, 8, 2], expected"),
        ({G0: np.full((1, 3, 8, 3), np.nan, np.float32)}, f"{G0}: found NaN or infinity"),
        ({G0: np.full((1, 3, 8, 3), np.inf, np.float32)}, f"{G0}: found NaN or infinity"),
        ({G0: np.zeros((1, 3, 8, 3), np.float64)}, f"{G0}: found dtype F64, expected F32"),
        ({G0: np.zeros((1, 3, 8, 3), np.int8)}, f"{G0}: found dtype I8, expected F32"),
        ({G0: None}, f"{G0}: found no such tensor, expected shape [1, 3, 8, 3]"),
        ({"head.bias": None}, "head.bias: found no such tensor"),
        ({"layers.0.extra": np.zeros(1, np.float32)}, "layers.0.extra: found an extra tensor"),
    ],
)
def test_wrong_tensor_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in message_of(write(tmp_path / "m.safetensors", change))


def test_tensors_that_the_spec_does_not_describe_are_named(tmp_path: Path) -> None:
    spec = raw_spec()
    del spec["head"]
    message = message_of(write(tmp_path / "m.safetensors", {}, spec))
    assert "head.bias: found an extra tensor" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "model: found NoneType, expected a mapping"),
        ("- 1", "model: found list, expected a mapping"),
        ("a: [1, 2", "line 1: found"),
        ("a: b: c", "line 1: found mapping values are not allowed here"),
        ("name: a\nname: b\n", "line 2: found key 'name' twice"),
        ("? [1]\n: 2\n", "line 1: found found unhashable key"),
        ("a: !!python/object:os.system {}", "line 1: found could not determine a constructor"),
        ("a: \x00", "file: found"),
        ("&a [*a]", "model: found list"),
        ("[" * 5000, "found"),
        ("nmae: x\nweights: {random: 1}", "nmae: found 'x', expected no field of this name"),
        ("name: x", "layers: found nothing, expected this field; add it"),
    ],
)
def test_wrong_yaml_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    assert message in message_of(path)


def test_yaml_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.yml"
    path.write_bytes(b"name: \xff\xfe")
    assert "file: found 'utf-8' codec" in message_of(path)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (None, "weights: found nothing, expected {random: SEED} or the path"),
        (3, "weights: found 3"),
        ({"seed": 3}, "weights: found a dict"),
        ({"random": "x"}, "weights.random: found 'x', expected a seed"),
        ({"random": True}, "weights.random: found True"),
        ({"random": -1}, "weights.random: found -1"),
        ("no.safetensors", "no.safetensors: file: found nothing"),
        ("a\0b", "file: found embedded null"),
    ],
)
def test_wrong_weights_entry_is_one_line(weights: object, message: str, tmp_path: Path) -> None:
    assert message in message_of(write_yaml(tmp_path / "m.yaml", weights=weights))


def test_weights_of_another_format_name_their_own_file(tmp_path: Path) -> None:
    save_model(small_model("mps"), tmp_path / "w.safetensors")
    message = message_of(write_yaml(tmp_path / "m.yaml", weights="w.safetensors"))
    assert "w.safetensors: layers.0.hidden.G2: found an extra tensor" in message


def test_saving_where_no_folder_is_raises_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file or directory, expected a path"):
        save_model(small_model(), tmp_path / "none" / "m.safetensors")


def test_weight_beyond_float32_is_not_saved(tmp_path: Path) -> None:
    model = small_model()
    bias = np.full(32, 1e300)
    large = type(model)(model.spec, model.tensors | {"layers.0.bias": bias})
    with pytest.raises(ModelError, match=r"layers\.0\.bias: found NaN or infinity"):
        save_model(large, tmp_path / "m.safetensors")
