"""Storing and loading: round trips, and every damaged file in one line (the oracle: the rule)."""

import json
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from einchip.models import (
    Model,
    ModelError,
    ModelSpec,
    load_model,
    parse_spec,
    random_model,
    save_model,
)
from tests.models.helpers import FORMATS, raw_spec, small_model, zoo


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


@pytest.mark.parametrize("fields", zoo().values(), ids=zoo())
def test_round_trip_keeps_spec_and_every_weight(fields: dict[str, Any], tmp_path: Path) -> None:
    model = small_model(**fields)
    save_model(model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.spec == model.spec
    assert set(loaded.tensors) == set(model.tensors)
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)


def test_yaml_with_random_weights_equals_random_model(tmp_path: Path) -> None:
    loaded = load_model(write_yaml(tmp_path / "m.yaml", weights={"random": 5}))
    for name, tensor in small_model(seed=5).tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)


def test_yaml_names_a_weight_file_beside_it(tmp_path: Path) -> None:
    save_model(small_model(), tmp_path / "w.safetensors")
    loaded = load_model(write_yaml(tmp_path / "m.yaml", weights="w.safetensors"))
    for name, tensor in small_model().tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)


def test_scales_of_a_quantised_model_are_kept(tmp_path: Path) -> None:
    scales = {"layers.0.x": 5, "layers.0.bias": -2}
    spec = parse_spec(raw_spec() | {"scales": scales, "data_bits": 8}, "spec")
    save_model(Model(spec, small_model().tensors), tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors").spec
    assert (loaded.scales, loaded.data_bits) == (scales, 8)


def test_header_is_the_documented_json(tmp_path: Path) -> None:
    save_model(small_model("mps"), tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(json.loads(data[8 : 8 + n])["__metadata__"]["einchip"])
    layer = header["layers"][0]
    assert (header["version"], layer["gate_order"]) == (2, "ifgo")
    assert layer["hidden"] == {
        "format": "mps",
        "in_modes": [4, 2],
        "out_modes": [16, 2],
        "ranks": [1, 3, 4, 2, 1],
        "gates": "joint",
        "gate_mode": 0,
    }


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("gates", ["joint", "separate"])
def test_random_matrices_have_variance_one_over_fan_in(kind: str, gates: str) -> None:
    spec = ModelSpec.model_validate(raw_spec(kind, gates=gates))
    matrices = [random_model(spec, seed).matrix("layers.0.hidden") for seed in range(300)]
    assert np.mean(np.square(matrices)) == pytest.approx(1 / 8, rel=0.3)


def test_random_biases_are_zero_but_for_the_forget_gate() -> None:
    tensors = small_model("dense", bidirectional=True).tensors
    for name in ("layers.0.bias", "layers.0.reverse.bias"):
        np.testing.assert_array_equal(tensors[name].reshape(4, 8).sum(axis=1), [0, 8, 0, 0])
    assert not small_model("dense", cell="gru").tensors["layers.0.bias"].any()


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    assert "file: found nothing" in message_of(tmp_path / "no.safetensors")
    assert "file: found nothing" in message_of(tmp_path / "no.yaml")


def test_bytes_behind_the_data_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.safetensors", {})
    path.write_bytes(path.read_bytes() + b"1234")
    assert "bytes of data, expected" in message_of(path)


def test_file_of_another_writer_with_its_own_order_loads(tmp_path: Path) -> None:
    model = small_model("bt")
    text = model.spec.model_dump_json()
    entries: dict[str, Any] = {"__metadata__": {"einchip": text, "format": "pt"}}
    data = b""
    for name in sorted(model.tensors, reverse=True):
        more = model.tensors[name].tobytes()
        place = [len(data), len(data) + len(more)]
        shape = list(model.tensors[name].shape)
        entries |= {name: {"dtype": "F32", "shape": shape, "data_offsets": place}}
        data += more
    header = json.dumps(entries, indent=1).encode()
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    loaded = load_model(tmp_path / "m.safetensors")
    for name, tensor in load_file(tmp_path / "m.safetensors").items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)


def test_pipe_is_one_line_and_does_not_hang(tmp_path: Path) -> None:
    for name in ("pipe.safetensors", "pipe.yaml"):
        os.mkfifo(tmp_path / name)
        assert "file: found no regular file" in message_of(tmp_path / name)


def test_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "file: found a folder" in message_of(tmp_path / "folder")


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


@pytest.mark.parametrize("suffix", [".onnx", ".keras", ".pt", ".npz"])
def test_file_of_another_framework_is_to_be_imported(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"anything, 8 bytes and more")
    assert f"found a {suffix} file" in message_of(path)
    assert "einchip import FILE" in message_of(path)


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
G1 = "layers.0.input.G1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {G0: np.zeros((1, 3, 16, 2), np.float32)},
            f"{G0} and {G1}: found sizes 2 and 3 of index r1, expected equal ones; store",
        ),
        (
            {G0: np.zeros((1, 3, 16, 2), "<f4"), G1: np.zeros((2, 2, 2, 1), "<f4")},
            f"{G0}: found shape [1, 3, 16, 2], expected shape [1, 3, 16, 3]",
        ),
        ({G0: np.zeros((48, 3), np.float32)}, f"{G0}: found shape [48, 3], expected shape [1, 3"),
        ({G0: np.full((1, 3, 16, 3), np.nan, np.float32)}, f"{G0}: found NaN or infinity"),
        ({G0: np.full((1, 3, 16, 3), np.inf, np.float32)}, f"{G0}: found NaN or infinity"),
        ({G0: np.zeros((1, 3, 16, 3), np.float64)}, f"{G0}: found dtype F64, expected F32"),
        ({G0: np.zeros((1, 3, 16, 3), np.int8)}, f"{G0}: found dtype I8, expected F32"),
        ({G0: None}, f"{G0}: found no such tensor, expected shape [1, 3, 16, 3]"),
        ({"layers.1.bias": None}, "layers.1.bias: found no such tensor"),
        ({"layers.0.extra": np.zeros(1, np.float32)}, "layers.0.extra: found an extra tensor"),
    ],
)
def test_wrong_tensor_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in message_of(write(tmp_path / "m.safetensors", change))


def test_tensors_that_the_spec_does_not_describe_are_named(tmp_path: Path) -> None:
    spec = raw_spec()
    del spec["layers"][1]
    message = message_of(write(tmp_path / "m.safetensors", {}, spec))
    assert "layers.1.bias: found an extra tensor" in message


@pytest.mark.parametrize(
    ("shape", "offsets", "message"),
    [
        ([32], [0, 64], "layers.0.bias: found data_offsets [0, 64], expected [0, 128]"),
        ([-32], [0, 128], "layers.0.bias: found shape [-32]"),
        ([2**70], [0, 128], "layers.0.bias: found shape [1180591620717411303424]"),
        ([32.0], [0, 128], "layers.0.bias: found no shape, expected a list of integers"),
        ([True], [0, 128], "layers.0.bias: found no shape"),
        ("32", [0, 128], "layers.0.bias: found no shape"),
        ([32], [0, 2**62], "layers.0.bias: found data_offsets"),
        ([32], [-128, 0], "layers.0.bias: found data_offsets"),
        ([32], None, "layers.0.bias: found no data_offsets"),
        ([32], [0, 128.0], "layers.0.bias: found no data_offsets"),
        ([32], [4, 132], "layers.0.bias: found data_offsets [4, 132], expected [0, 128]"),
    ],
)
def test_wrong_dimensions_in_the_header_are_one_line(
    shape: object, offsets: object, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.safetensors", {})
    data = path.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + n])
    header["layers.0.bias"] |= {"shape": shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + n :])
    assert message in message_of(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "model: found NoneType, expected a mapping"),
        ("- 1", "model: found list, expected a mapping"),
        ("a: [1, 2", ".yaml:1: file: found"),
        ("a: b: c", ".yaml:1: file: found mapping values are not allowed here"),
        ("name: a\nname: b\n", ".yaml:2: file: found key 'name' twice"),
        ("? [1]\n: 2\n", ".yaml:1: file: found found unhashable key"),
        (
            "a: !!python/object:os.system {}",
            ".yaml:1: file: found could not determine a constructor",
        ),
        ("a: \x00", "file: found"),
        ("a: &a [*a]", ".yaml:1: file: found a value that holds itself"),
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
        ("../model.safetensors", "weights: found ../model.safetensors, expected a file in this"),
        ("/model.safetensors", "weights: found /model.safetensors, expected a file in this"),
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
