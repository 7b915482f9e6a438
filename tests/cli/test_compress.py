"""`compress` and `finetune` as users call them; oracles: the files written, `Model.run`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from einchip.cli.compress import FORMATS
from einchip.models import load_model
from einchip.models.spec import Format
from tests.cli.helpers import ROOT, VOWELS, invoke, refused, succeeded

DENSE = VOWELS / "dense.safetensors"
DATA = VOWELS / "japanese_vowels.npz"
FIXTURES = ROOT / "tests" / "models" / "fixtures"


def test_every_format_but_einsum_can_be_asked_for() -> None:
    assert set(FORMATS) == set(get_args(Format)) - {"einsum"}


def test_compress_writes_a_model_and_says_what_it_cost(tmp_path: Path) -> None:
    out, figures = tmp_path / "mps.safetensors", tmp_path / "mps.json"
    text = succeeded(
        invoke("compress", DENSE, "--format", "mps", "--ratio", 8, "-o", out, "--json", figures)
    )
    assert "warning: layers.0.hidden: mps has relative error" in text
    before, after = load_model(DENSE), load_model(out)
    rows = json.loads(figures.read_text())["matrices"]
    assert [row["name"] for row in rows] == ["layers.0.input", "layers.0.hidden"]
    for row in rows:
        W, found = before.matrix(row["name"]), after.matrix(row["name"])
        assert row["weights_before"] == W.size == row["macs_before"]
        assert row["weights"] == sum(c.size for c in after.cores(row["name"]).values())
        assert row["ratio"] >= 8
        error = np.linalg.norm(found - W) / np.linalg.norm(W)
        assert row["error"] == pytest.approx(error, abs=1e-5)
        assert f"{row['weights']:,}" in text
        assert f"{row['macs']:,}" in text


def test_macs_of_a_train_are_those_of_the_best_order(tmp_path: Path) -> None:
    """By hand: U[256, 6] (V[6, 64] x) takes 6 * 64 + 6 * 256."""
    figures = tmp_path / "f.json"
    arguments = ["--format", "lowrank", "--rank", 6, "--only", "layers.0.hidden"]
    succeeded(
        invoke("compress", DENSE, *arguments, "-o", tmp_path / "m.safetensors", "--json", figures)
    )
    (row,) = json.loads(figures.read_text())["matrices"]
    assert row["macs"] == 6 * 64 + 6 * 256
    assert row["ranks"] == 6


def test_modes_ranks_and_gates_can_be_given(tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    arguments = ["--format", "mpo", "--rank", "1,8,1", "--only", "layers.0.hidden"]
    arguments += ["--in-modes", "8,8", "--out-modes", "16,4", "--gates", "separate"]
    succeeded(invoke("compress", DENSE, *arguments, "-o", out))
    layer = load_model(out).spec.layers[0]
    assert layer.kind == "recurrent"
    assert layer.hidden is not None
    assert (layer.hidden.in_modes, layer.hidden.out_modes) == ((8, 8), (16, 4))
    assert (layer.hidden.ranks, layer.hidden.gates) == ((1, 8, 1), "separate")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "foo", "--rank", 1], "--format: found 'foo', expected one of"),
        (["--format", "mpo"], "exactly one of --rank, --ratio, --error"),
        (["--format", "mpo", "--rank", 2, "--error", 0.1], "exactly one of"),
        (["--format", "mpo", "--rank", "two"], "--rank: found 'two'"),
        (["--format", "mpo", "--rank", "-3"], "--rank: found '-3'"),
        (["--format", "mpo", "--ratio", "nan"], "--ratio: found nan"),
        (["--format", "mpo", "--ratio", 8, "--gates", "both"], "--gates: found 'both'"),
        (["--format", "mpo", "--ratio", 8, "--in-modes", "5,x"], "--in-modes: found '5,x'"),
        (["--format", "mpo", "--ratio", 8, "--in-modes", "5,5,5"], "expected product 12"),
        (["--format", "mpo", "--ratio", 8, "--only", "layers.7"], "layers.7: found no such matrix"),
        (["--format", "mpo", "--rank", "1,9,9"], "layers.0.input: found 3 ranks"),
        (["--format", "tr", "--rank", 5000], "layers.0.input: tr: found "),
        (["--format", "kronecker", "--rank", 16777215], "weights with these ranks, expected at"),
        (["--format", "bt", "--rank", 6, "--blocks", 1024], "lower --rank or --blocks"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    out = tmp_path / "m.safetensors"
    assert message in refused(tmp_path, "compress", DENSE, *arguments, "-o", out)


def test_missing_files_and_folders_are_one_line(tmp_path: Path) -> None:
    line = refused(tmp_path, "compress", tmp_path / "no", "--format", "cp", "--rank", 1, "-o", "x")
    assert "expected a model file" in line
    out = tmp_path / "no" / "m.safetensors"
    line = refused(tmp_path, "compress", DENSE, "--format", "cp", "--rank", 1, "-o", out)
    assert "cannot write" in line


def test_finetune_writes_the_same_file_for_the_same_seed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    start = tmp_path / "cp.safetensors"
    succeeded(invoke("compress", DENSE, "--format", "cp", "--ratio", 8, "-o", start))
    outs = [tmp_path / f"{k}.safetensors" for k in range(2)]
    figures = tmp_path / "f.json"
    for out in outs:
        arguments = ["--data", DATA, "--epochs", 2, "--distill", DENSE, "--json", figures]
        text = succeeded(invoke("finetune", start, *arguments, "-o", out))
        assert "test accuracy" in text
    assert outs[0].read_bytes() == outs[1].read_bytes()
    content = json.loads(figures.read_text())
    assert content["losses"][1] < content["losses"][0]
    assert content["accuracy"]["after"] > content["accuracy"]["before"]
    assert load_model(outs[0]).spec == load_model(start).spec


def test_finetune_refuses_what_it_cannot_train(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "m.safetensors"
    line = refused(tmp_path, "finetune", DENSE, "--data", tmp_path / "no.npz", "-o", out)
    assert "expected an .npz file" in line


@pytest.mark.parametrize(
    ("library", "arguments"),
    [
        ("torch", ["finetune", DENSE, "--data", DATA]),
        ("tensorly", ["compress", DENSE, "--format", "mpo", "--rank", 2]),
        ("tensap", ["compress", DENSE, "--format", "ht", "--rank", 2]),
        ("onnx", ["import", FIXTURES / "torch_export_lstm.onnx"]),
        ("h5py", ["import", FIXTURES / "bilstm.keras"]),
        ("torch", ["import", "there.pt"]),
    ],
)
def test_missing_libraries_are_one_line(
    tmp_path: Path, library: str, arguments: list[object]
) -> None:
    (tmp_path / "there.pt").write_bytes(b"PK")
    words = [str(a) for a in [*arguments, "-o", "m.safetensors"]]
    code = (
        f"import sys; sys.modules[{library!r}] = None; sys.argv = ['einchip', *{words!r}]; "
        "from einchip.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert f"python: {library}: found no such library" in line
    assert [p.name for p in tmp_path.iterdir()] == ["there.pt"]
