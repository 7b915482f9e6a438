"""`docs/compress.md` and the results behind it."""

import json
import re
import runpy
from pathlib import Path

import pytest

from einchip.models import load_model, load_npz

ROOT = Path(__file__).parents[2]
VOWELS = ROOT / "examples" / "japanese_vowels"
PAGE = (ROOT / "docs" / "compress.md").read_text()
RESULTS = json.loads((VOWELS / "results" / "formats.json").read_text())["formats"]


def test_table_is_that_of_the_results() -> None:
    pytest.importorskip("torch")
    script = runpy.run_path(str(VOWELS / "formats.py"))
    assert f"{script['BEGIN']}{script['table'](RESULTS)}{script['END']}" in PAGE


def test_every_format_is_8_times_smaller_and_close_to_dense_after_fine_tuning() -> None:
    dense = RESULTS["dense"]
    assert set(RESULTS) == {
        *("dense", "lowrank", "mpo", "mps", "ht", "tr", "bt", "tucker", "cp", "kronecker")
    }
    for name, row in RESULTS.items():
        if name != "dense":
            assert row["ratio"] >= 8
            assert row["weights"] == sum(m["weights"] for m in row["matrices"].values())
            assert row["compressed"] < row["fine_tuned"]
            assert row["fine_tuned"] > dense["compressed"] - 0.04, name


def test_dense_row_is_the_committed_model() -> None:
    """Oracle: `Model.run_batch` of the file from which every row starts."""
    model, data = load_model(VOWELS / "dense.safetensors"), load_npz(VOWELS / "japanese_vowels.npz")
    right = (model.run_batch(data.sequences).argmax(axis=1) == data.labels).mean()
    assert RESULTS["dense"]["compressed"] == pytest.approx(right, abs=1e-5)


def test_errors_of_the_table_are_found_again() -> None:
    """Decomposed anew, of the formats without random starts."""
    from einchip.models.compress import Plan, Target, compress_model

    script_ratios = json.loads((VOWELS / "results" / "formats.json").read_text())["ratios"]
    dense = load_model(VOWELS / "dense.safetensors")
    for name in ("lowrank", "mpo", "mps", "ht"):
        for matrix, ratio in script_ratios.items():
            plan = Plan(name, Target(ratio=ratio), only=(matrix,))
            _, (report,) = compress_model(dense, plan)
            row = RESULTS[name]["matrices"][matrix]
            assert report.error == pytest.approx(row["error"], abs=1e-3)
            assert report.weights_after == row["weights"]


def test_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    monkeypatch.chdir(ROOT)
    target = tmp_path / "tuned.safetensors"
    exec(code.replace("build/tuned.safetensors", str(target)), {})
    assert load_model(target).spec == load_model(VOWELS / "mpo.safetensors").spec
