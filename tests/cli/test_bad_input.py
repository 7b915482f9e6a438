"""Input that cannot be used: status 2, one line that names file and field, nothing written."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from einchip.compiler.folder import TEXTS
from einchip.models import save_model
from einchip.models.io import METADATA_KEY
from tests.cli.helpers import (
    VOWELS,
    files,
    interruptible,
    invoke,
    put_data,
    put_model,
    refused,
    run,
    succeeded,
)
from tests.compiler import cases
from tests.models.helpers import raw_spec, small_model


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which each test runs, with a model and its data."""
    monkeypatch.chdir(tmp_path)
    put_model(tmp_path / "model.safetensors")
    put_data(tmp_path / "data.npz")
    return tmp_path


def stored(
    tensors: Callable[[dict[str, Any]], object] = lambda _: None,
    spec: Callable[[dict[str, Any]], object] = lambda _: None,
) -> bytes:
    """Return a model file in which tensors or the spec are changed."""
    arrays, raw = dict(small_model().tensors), raw_spec()
    tensors(arrays)
    spec(raw)
    return save(arrays, metadata={METADATA_KEY: json.dumps(raw)})


def _nan(tensors: dict[str, Any]) -> None:
    tensors["layers.0.input.G1"] = tensors["layers.0.input.G1"] * np.float32(np.nan)


WHOLE = stored()
MODEL_FILES = {
    "empty": (b"", "header: found 0 bytes"),
    "garbage": (bytes(range(256)) * 40, "header: found a length of"),
    "short garbage": (b"\x00\xff\x13", "header: found 3 bytes"),
    "text": (b"not a model at all", "header: found a length of"),
    "a third": (WHOLE[: len(WHOLE) // 3], "header: found"),
    "without its last byte": (WHOLE[:-1], "file: found"),
    "header of a list": (struct.pack("<Q", 2) + b"[]", "header: found list"),
    "no metadata": (save(small_model().tensors), "metadata.einchip: found no such entry"),
    "metadata that is not JSON": (
        save(small_model().tensors, metadata={METADATA_KEY: "{"}), "metadata.einchip: found",
    ),
    "a tensor too few": (
        stored(lambda t: t.pop("layers.0.bias")), "layers.0.bias: found no such tensor",
    ),
    "a tensor too many": (
        stored(lambda t: t.update(extra=np.zeros(1, np.float32))), "extra: found an extra tensor",
    ),
    "a wrong shape": (
        stored(lambda t: t.update({"layers.0.bias": np.zeros(31, np.float32)})),
        "layers.0.bias: found shape [31], expected shape [32]",
    ),
    "a wrong type": (
        stored(lambda t: t.update({"layers.0.bias": np.zeros(32, np.int8)})),
        "layers.0.bias: found dtype I8, expected F32",
    ),
    "NaN": (stored(_nan), "layers.0.input.G1: found NaN or infinity"),
    "an unknown format": (
        stored(spec=lambda s: s["layers"][0]["input"].update(format="cpp")),
        "layers.0.input.format: found 'cpp'",
    ),
    "an unknown cell": (
        stored(spec=lambda s: s["layers"][0].update(cell="elman")),
        "layers.0.cell: found 'elman', expected 'lstm'",
    ),
    "a misspelt field": (
        stored(spec=lambda s: s["layers"][0].update(hiden_size=8)), "layers.0.hiden_size: found",
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", ["run", "compile"])
@pytest.mark.parametrize("name", MODEL_FILES)
def test_bad_model_file(here: Path, name: str, command: str) -> None:
    content, found = MODEL_FILES[name]
    (here / "bad.safetensors").write_bytes(content)
    output = ("-o", "out") if command == "compile" else ("--json", "out.json")
    line = refused(here, command, "bad.safetensors", *output)
    assert line.startswith(f"bad.safetensors: {found}")


YAML_FILES = {
    "syntax": ("layers: [", ":1: file: found"),
    "a tab": ("name: a\n\tb: 1\n", ":2: file: found"),
    "a list": ("- name\n", ": model: found list"),
    "nothing": ("", ": model: found NoneType"),
    "a number": ("3", ": model: found int"),
    "binary": ("\x00\x01\x02", ": file: found"),
    "a date that is none": ("name: 2001-99-99\n", ": file: found"),
    "nested too deep": ("[" * 5000, ": file: found"),
    "a key twice": ("name: a\nname: b\n", ":2: file: found"),
    "a misspelt field": ("nmae: a\nlayers: []\n", ":1: nmae: found"),
    "no weights": (json.dumps(raw_spec()), ": weights: found nothing"),
    "weights that are missing": (
        json.dumps({**raw_spec(), "weights": "none.safetensors"}), "",
    ),
    "a seed that is text": (
        json.dumps({**raw_spec(), "weights": {"random": "x"}}), ":1: weights.random: found 'x'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", YAML_FILES)
def test_bad_model_yaml(here: Path, name: str) -> None:
    content, found = YAML_FILES[name]
    (here / "bad.yaml").write_text(content)
    line = refused(here, "compile", "bad.yaml", "-o", "out")
    named = "none.safetensors: file: found nothing" if not found else f"bad.yaml{found}"
    assert line.startswith(named)


def test_missing_model_or_a_folder_in_its_place(here: Path) -> None:
    (here / "empty").mkdir()
    assert refused(here, "run", "none.safetensors").startswith("none.safetensors: file: found not")
    assert refused(here, "compile", "empty", "-o", "x").startswith("empty: file: found a folder")
    assert refused(here, "run", "empty").startswith("empty: found no .safetensors file")
    (here / "dir.safetensors").mkdir()
    line = refused(here, "compile", "dir.safetensors", "-o", "x")
    assert line.startswith("dir.safetensors: file: found a folder")


@pytest.mark.parametrize("command", ["run", "compile"])
def test_machine_too_small_for_the_model(here: Path, command: str) -> None:
    output = ("-o", "out") if command == "compile" else ("--json", "out.json")
    line = refused(here, command, VOWELS / "dense.safetensors", "--arch", "nano", *output)
    assert line.startswith("japanese-vowels-dense on nano, 8 bit: scratchpad ")
    for part in (" elements needed ", "expected at most 8192; ", "_depth to "):
        assert part in line


def test_model_of_which_no_scale_fits(here: Path) -> None:
    (here / "big.safetensors").write_bytes(
        stored(lambda t: t.update({n: a * np.float32(1e20) for n, a in t.items()}))
    )
    line = refused(here, "compile", "big.safetensors", "-o", "out")
    assert line.startswith("mpo on small, 8 bit: layers.0.gates: found products of ")
    assert line.endswith("set data_bits to 16, or scale the weights down")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--arch", "nanoo"],
            "--arch: found 'nanoo', expected one of femto, pico, nano, small",
        ),
        (["--arch", ""], "--arch: found '', expected one of"),
        (["--arch", "none.yaml"], "none.yaml: cannot read the file"),
        (["--set", "rows"], "--set: found 'rows', expected FIELD=VALUE"),
        (["--set", "=3"], "--set: : unknown field"),
        (["--set", "row=8"], "--set: row: unknown field, expected one of name, fold, accumulators"),
        (["--set", "source=8"], "--set: source: unknown field"),
        (["--set", "rows=["], "--set: rows: found '[', expected a plain value"),
        (["--set", "rows=2001-99-99"], "--set: rows: found '2001-99-99', expected a plain value"),
        (["--set", "rows=eight"], "--set: rows: found 'eight', input should be a valid integer"),
        (["--set", "rows="], "--set: rows: found None, input should be a valid integer"),
        (["--set", "rows=[8]"], "--set: rows: found [8], input should be a valid integer"),
        (["--set", "rows=7"], "--set: rows: found 7, expected a power of two"),
        (["--set", "rows=16"], "--set: rows: found 16, expected at most the 8 lanes"),
        (["--set", "rows=1000000"], "--set: rows: found 1000000, input should be less than"),
        (["--set", "data_bits=12"], "--set: data_bits: found 12, input should be 8 or 16"),
        (["--set", "acc_bits=8"], "--set: acc_bits: found 8, expected 17 to 62"),
        (["--set", "port_bytes=16"], "--set: port_bytes: found 16 (16 elements a beat)"),
    ],
)
@pytest.mark.parametrize("command", ["compile", "generate"])
def test_bad_architecture_option(here: Path, command: str, options: list[str], line: str) -> None:
    model = ["model.safetensors"] if command == "compile" else []
    assert refused(here, command, *model, "-o", "out", *options).startswith(line)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rows: [", ":1: not a YAML file"),
        ("- rows\n", ": found list, expected a mapping"),
        ("", ": found NoneType, expected a mapping"),
        ("preset: nanoo\n", ":1: preset: found 'nanoo', expected one of"),
        ("preset: [nano]\n", ":1: preset: found ['nano'], expected one of"),
        ("preset: nano\nsource: x\n", ":2: source: unknown field, expected one of"),
        ("preset: nano\n1: 2\n", ": found a field that is no text"),
        ("preset: nano\nx_dept: 64\n", ":2: x_dept: unknown field, expected one of name, fold"),
        ("rows: 8\n", ": cols: field required"),
        ("preset: nano\nrows: 2001-99-99\n", ": not a YAML file: found "),
        ("[" * 5000, ": not a YAML file: found "),
        ("preset: nano\nrows: 8\nrows: 4\n", ":3: not a YAML file: found key 'rows' twice"),
        ("preset: nano\nrows: {a: 1}\n", ":2: rows: found {'a': 1}, input should be"),
        ("\x00", ": not a YAML file"),
    ],
)
def test_bad_architecture_file(here: Path, text: str, found: str) -> None:
    (here / "bad.yaml").write_text(text)
    line = refused(here, "compile", "model.safetensors", "-o", "out", "--arch", "bad.yaml")
    assert line.startswith(f"bad.yaml{found}")


def test_architecture_file_that_is_no_text(here: Path) -> None:
    (here / "bad.yaml").write_bytes(b"\xff\xfe\x00\x80")
    assert refused(here, "generate", "--arch", "bad.yaml").startswith("bad.yaml: not a YAML file")
    (here / "dir.yaml").mkdir()
    assert refused(here, "generate", "--arch", "dir.yaml").startswith("dir.yaml: cannot read the")


DATA_FILES: dict[str, tuple[dict[str, Any], str]] = {
    "other channels": ({"n_channels": 5}, "train_frames: found 5 channels, expected 6"),
    "NaN": ({"mean": np.full(6, np.nan)}, "mean: found NaN or infinity"),
    "zero deviation": ({"std": np.zeros(6)}, "clip, std: found"),
    "lengths that do not add up": ({"test_lengths": np.array([1, 1, 1])}, "test_lengths: found"),
    "labels of another number": ({"test_labels": np.zeros(2, int)}, "test_labels: found"),
    "labels that are text": ({"test_labels": np.array(["a"] * 3)}, "test_labels: found"),
    "more classes": ({"test_labels": np.array([0, 1, 3])}, "test_labels: found 4 classes"),
    "objects": ({"clip": np.array({}, dtype=object)}, "file: found"),
}


@pytest.mark.parametrize("name", DATA_FILES)
def test_bad_data(here: Path, name: str) -> None:
    changes, found = DATA_FILES[name]
    put_data(here / "bad.npz", **changes)
    line = refused(here, "run", "model.safetensors", "--data", "bad.npz", "--json", "out.json")
    assert line.startswith(f"bad.npz: {found}")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x93NUMPY\x01\x00", bytes(1000)])
def test_data_that_is_no_data(here: Path, content: bytes) -> None:
    (here / "bad.npz").write_bytes(content)
    for command in (["run"], ["compile", "-o", "out"]):
        line = refused(here, *command, "model.safetensors", "--data", "bad.npz")
        assert line.startswith("bad.npz: file: found")


def test_data_that_is_missing_or_not_certain(here: Path) -> None:
    line = refused(here, "run", "model.safetensors", "--data", "none.npz")
    assert line.startswith("none.npz: file: found nothing")
    assert refused(here, "run", "model.safetensors", "--data", ".").startswith(".: file: found")
    put_data(here / "more.npz")
    for command in (["run"], ["compile", "-o", "out"]):
        line = refused(here, *command, "model.safetensors")
        assert line.startswith("model.safetensors: found 2 .npz files beside it, expected one")
    (here / "more.npz").unlink()
    (here / "data.npz").unlink()
    assert refused(here, "run", "model.safetensors").startswith("model.safetensors: found no .npz")


def test_archive_of_other_arrays_beside_the_model_is_no_data(here: Path) -> None:
    np.savez(here / "weights.npz", kernel=np.ones((2, 3)))
    assert invoke("compile", "model.safetensors", "--arch", "nano", "-o", "out").exit_code == 0
    (here / "data.npz").unlink()
    assert refused(here, "run", "model.safetensors").startswith("model.safetensors: found no .npz")


def test_array_of_a_size_that_no_memory_has(here: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }\n"
    (here / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    line = refused(here, "run", "model.safetensors", "--data", "huge.npy")
    assert line.startswith("huge.npy: ")


def test_data_of_more_classes_than_the_model_has(here: Path) -> None:
    put_data(here / "more.npz", n_classes=4, test_labels=np.array([0, 3, 1]))
    line = refused(here, "run", "model.safetensors", "--data", "more.npz")
    assert line.startswith("more.npz: test_labels: found 4 classes, expected at most the 3 of mpo")


def test_data_that_are_no_tokens(here: Path) -> None:
    save_model(cases.model("embedding"), here / "words.safetensors")
    line = refused(here, "run", "words.safetensors")
    assert line.startswith("data.npz: train_frames: found 6 channels, expected 1, tokens for")
    put_data(here / "words.npz", n_channels=1, clip=np.array(99.0))
    line = refused(here, "compile", "words.safetensors", "-o", "out", "--data", "words.npz")
    assert line.startswith("words.npz: train_frames: found fractions, expected tokens; let mean")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("nothing", None, "energy table: found 'nothing', expected one of cacti28"),
        ("../table", None, "../table: cannot read the file"),
        ("bad.yaml", "a: [", "bad.yaml:1: not a YAML file"),
        ("bad.yaml", "- 1", "bad.yaml: "),
        ("bad.yaml", "name: 2001-99-99", "bad.yaml: not a YAML file"),
        (
            "bad.yaml",
            "name: x\nnode_nm: 45\nsource: y\nsrm: {}\n",
            "bad.yaml:4: srm: unknown field, expected one of name, node_nm",
        ),
        ("bad.yaml", "name: x\nnode_nm: 45\nvoltage_v: 1\nsource: y\n", "x: no coefficient for "),
    ],
)
def test_bad_energy_table(here: Path, name: str, content: str | None, found: str) -> None:
    if content is not None:
        (here / name).write_text(content)
    line = refused(here, "run", "model.safetensors", "--energy", name, "--json", "out.json")
    assert line.startswith(found)


@pytest.mark.parametrize("command", ["simulate", "verify"])
def test_folder_that_is_none(here: Path, command: str) -> None:
    (here / "empty").mkdir()
    for source in ("none", "empty", "model.safetensors"):
        line = refused(here, command, source)
        assert line.startswith(f"{source}/manifest.json: cannot read: ")


@pytest.mark.parametrize("command", ["simulate", "verify"])
def test_folder_that_is_damaged(here: Path, command: str) -> None:
    succeeded(invoke("compile", "model.safetensors", "-o", "out"))
    for name, content in files(here / "out").items():
        if name in TEXTS:  # for people and reports, which check them
            continue
        (here / "out" / name).write_bytes(content[:-10])
        assert refused(here, command, "out").startswith(f"out/{name}: ")
        (here / "out" / name).write_bytes(content)


def test_pipes_and_devices_in_a_folder_are_refused(here: Path) -> None:
    succeeded(invoke("compile", "model.safetensors", "-o", "out"))
    for name in ("manifest.json", "run.bin", "weights.bin"):
        kept = (here / "out" / name).rename(here / "kept")
        (here / "out" / name).symlink_to("/dev/zero")
        result = invoke("simulate", "out")
        assert result.exit_code == 2
        assert result.stderr.startswith(f"out/{name}: cannot read: ")
        kept.replace(here / "out" / name)


def test_two_processes_may_write_one_folder_at_once(here: Path) -> None:
    command = [sys.executable, "-c", PUT_50_TIMES, str(here / "out")]
    with subprocess.Popen(command) as one, subprocess.Popen(command) as other:
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert sorted(os.listdir(here / "out")) == ["manifest.json", "run.bin"]
    assert sorted(os.listdir(here)) == ["data.npz", "model.safetensors", "out"]


PUT_50_TIMES = """
import sys
from pathlib import Path
from einchip.compiler import folder
for _ in range(50):
    folder._replace(Path(sys.argv[1]), {"manifest.json": b"x", "run.bin": b"y"})
"""


@pytest.mark.parametrize("command", ["compress", "finetune", "quantise", "import"])
def test_models_go_to_files_that_can_be_read_again(here: Path, command: str) -> None:
    more: dict[str, list[object]] = {
        "compress": ["--format", "ht", "--rank", 1],
        "finetune": ["--data", "data.npz"],
    }
    arguments = [command, "model.safetensors", *more.get(command, [])]
    line = refused(here, *arguments, "-o", "x.yaml")
    assert line.startswith("x.yaml: found a suffix of YAML, expected .safetensors")
    if command != "import":
        line = refused(here, *arguments, "-o", "x", "--json", "./x")
        assert line.startswith("x: found figures and model in one file")


@pytest.mark.parametrize("command", ["simulate", "verify"])
def test_program_that_leaves_memory_is_told(here: Path, command: str) -> None:
    succeeded(invoke("compile", "model.safetensors", "-o", "out", "--sequences", 1))
    path = here / "out" / "manifest.json"
    content = json.loads(path.read_text())
    content["output"]["fixed_bytes"] = 0
    path.write_text(json.dumps(content))
    assert refused(here, command, "out").startswith("out: the machine stop")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("none/out.json", "found no such folder"),
        ("model.safetensors/out.json", "found no such folder"),
        (".", "Is a directory"),
    ],
)
def test_file_that_cannot_be_written(here: Path, target: str, reason: str) -> None:
    succeeded(invoke("compile", "model.safetensors", "-o", "out"))
    expected = f"{target}: cannot write: {reason}"
    assert refused(here, "run", "model.safetensors", "--json", target) == expected
    assert refused(here, "simulate", "out", "--json", target) == expected
    assert refused(here, "generate", "-o", target) == expected


def test_folder_that_cannot_be_written(here: Path) -> None:
    (here / "mine").mkdir()
    (here / "mine" / "notes.txt").write_text("mine")
    line = refused(here, "compile", "model.safetensors", "-o", "mine")
    assert line.startswith("mine: found notes.txt there, expected a folder of einchip or none")
    for target in (".", "/"):
        assert refused(here, "compile", "model.safetensors", "-o", target).startswith(f"{target}: ")
    line = refused(here, "compile", "model.safetensors", "-o", "data.npz/out")
    assert line.startswith("data.npz/out: cannot write: ")


BAD_COMMANDS: list[list[str]] = [
    ["run", "garbage.safetensors"],
    ["compile", "model.safetensors", "-o", "data.npz"],
    ["simulate", "garbage.safetensors"],
    ["generate", "--set", "rows=["],
]


@pytest.mark.parametrize("arguments", BAD_COMMANDS, ids=lambda a: a[0])
def test_process_ends_with_status_2_and_one_line(here: Path, arguments: list[str]) -> None:
    (here / "garbage.safetensors").write_bytes(bytes(range(256)) * 40)
    result = run(*arguments, cwd=here)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["runn"], "No such command 'runn'"),
        (["run"], "Missing argument 'MODEL'; see 'einchip run --help'"),
        (["run", "x", "y"], "Got unexpected extra argument"),
        (["run", "x", "--sequences", "0"], "Invalid value for '--sequences': "),
        (["compile", "x", "-o", "y", "--steps", 10**9], "Invalid value for '--steps': "),
        (["compress", "x", "-o", "y", "--format", "ht", "--ratio", ""], "Invalid value for '--ra"),
        (["simulate", "--no"], "No such option: --no"),
        (["compress", "x", "--format"], "Option '--format' requires an argument"),
    ],
)
def test_options_that_cannot_be_read_are_one_line(
    here: Path, arguments: list[object], line: str
) -> None:
    result = run(*arguments, cwd=here)
    assert result.returncode == 2
    assert result.stdout == ""
    [found] = result.stderr.splitlines()
    assert found.startswith(line)
    assert found.endswith("--help'")


def test_no_arguments_print_the_help_and_end_with_status_2(here: Path) -> None:
    result = run(cwd=here)
    assert result.returncode == 2
    assert "quantise" in result.stdout + result.stderr


#: Ten lines that written out are 10^10 values.
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 10)
)


@pytest.mark.parametrize(
    "arguments",
    [
        ["compile", "bomb.yaml", "-o", "out"],
        ["generate", "--arch", "bomb.yaml", "-o", "top.v"],
        ["run", "model.safetensors", "--energy", "bomb.yaml"],
        ["workloads", "--file", "bomb.yaml"],
    ],
    ids=lambda a: a[0],
)
def test_yaml_that_grows_without_end_is_refused(here: Path, arguments: list[str]) -> None:
    (here / "bomb.yaml").write_text(f"{BOMB}name: *a9\npreset: *a9\nrows: *a9\n")
    assert "values, aliases written out" in refused(here, *arguments)
    (here / "bomb.yaml").write_text("- 1\n" * 2**18 + "- 1")
    assert "found more than 1048576 bytes" in refused(here, *arguments) or arguments[0] == "compile"


def test_yaml_aliases_are_values(here: Path) -> None:
    (here / "mine.yaml").write_text("x_depth: &d 4096\ny_depth: *d\npreset: nano\n")
    succeeded(invoke("generate", "--arch", "mine.yaml", "-o", "top.v"))


@pytest.mark.parametrize(
    "command",
    [
        ["run", "model.safetensors", "--data", "bad.npz"],
        ["finetune", "model.safetensors", "-o", "out", "--data", "bad.npz"],
        ["import", "bad.npz", "-o", "out"],
        ["contract", "a->a", "bad.npz"],
    ],
    ids=lambda a: a[0],
)
@pytest.mark.parametrize(
    "header",
    [
        "\n\n  '''", "  x\n y\n  z", "((((", "{[]: 1}", "(" * 9000,
        "{'descr': ',,', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1L,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 99999999999999999999), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    ],
    ids=range(11),
)  # fmt: skip
def test_headers_of_arrays_that_make_no_sense(here: Path, command: list[str], header: str) -> None:
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(4)
    with zipfile.ZipFile(here / "bad.npz", "w") as archive:
        for name in np.load(here / "data.npz").files if command[0] != "contract" else ["a"]:
            archive.writestr(f"{name}.npy", content)
    assert refused(here, *command).startswith("bad.npz: ")


@pytest.mark.parametrize("command", [["import", "-o", "out"], ["contract", "a->a"]])
def test_archive_that_unpacks_to_much_more_is_refused(here: Path, command: list[str]) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (83886080,), }"
    with (
        zipfile.ZipFile(here / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w") as member,
    ):
        member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
        for _ in range(320):
            member.write(bytes(2**20))
    assert "bytes unpacked, more than 268435456" in refused(here, *command, "bomb.npz")


def test_what_controls_a_terminal_is_not_printed(here: Path) -> None:
    line = refused(here, "generate", "--set", "\x1b[31m[red]=3")
    assert line.startswith("--set: ?[31m[red]: unknown field")
    succeeded(invoke("generate", "--arch", "nano", "-o", "a\x1b[31m[red].v"))
    put_model(here / "a\x1b[31m.safetensors")
    text = succeeded(invoke("compile", "a\x1b[31m.safetensors", "-o", "o\x1b[0m[/red]"))
    assert text.startswith("o?[0m[/red]: mpo on small")


def test_names_that_are_no_utf8_are_shown(here: Path) -> None:
    name = b"\xff.v".decode(errors="surrogateescape")
    result = run("generate", "--arch", "nano", "-o", name, cwd=here)
    assert (result.returncode, result.stderr) == (0, "")
    assert (here / name).stat().st_size > 0


def test_interrupt_ends_with_130_and_writes_nothing(here: Path) -> None:
    pytest.importorskip("torch")
    before = files(here)
    arguments = ["--data", "data.npz", "-o", "out", "--epochs", "100000", "--json", "out.json"]
    command = interruptible("-m", "einchip.cli", "finetune", "model.safetensors", *arguments)
    begin = time.monotonic()
    with subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE) as process:
        while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
            assert process.poll() is None
            time.sleep(0.1)
        # Until it trains: while it imports, libraries may swallow the interrupt.
        time.sleep(6 + 3 * (time.monotonic() - begin))
        process.send_signal(signal.SIGINT)
        try:
            assert process.communicate(timeout=30)[1] == b""
        finally:
            process.kill()
    # Python ends by the signal itself, for which shells say 130, where it was in `exec` just then.
    assert process.returncode in (130, -signal.SIGINT)
    assert files(here) == before


def test_full_or_closed_output_ends_without_a_traceback(here: Path) -> None:
    command = [sys.executable, "-m", "einchip.cli", "workloads"]
    with open("/dev/full", "wb") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert result.returncode != 0
    assert b"standard output: cannot write: No space left" in result.stderr
    assert b"Traceback" not in result.stderr
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")
