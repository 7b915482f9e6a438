"""`einchip report`: what it writes, and what it refuses before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from einchip.compiler import folder
from einchip.report.data import Report
from tests.cli.helpers import invoke, put_data, put_model, refused, succeeded


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, data, and what was compiled of them."""
    here = tmp_path_factory.mktemp("cli")
    put_model(here / "model.safetensors")
    put_data(here / "data.npz")
    model, made = here / "model.safetensors", here / "made"
    succeeded(invoke("compile", model, "--arch", "nano", "-o", made))
    return here


def test_page_figures_and_tables_are_written(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: `einchip simulate --json` on the same folder; the readers of the files."""
    page, figures, csv = tmp_path / "r.html", tmp_path / "r.json", tmp_path / "tables"
    arguments = [
        "report", place / "made", "-o", page, "--json", figures, "--csv", csv,
        "--model", place / "model.safetensors", "--energy", "zigzag", "--latency", "20",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["/usr/bin/einchip", *map(str, arguments)])
    out = succeeded(invoke(*arguments))
    simulated = tmp_path / "s.json"
    succeeded(
        invoke("simulate", place / "made", "--energy", "zigzag", "--latency", "20",
               "--json", simulated)
    )  # fmt: skip
    found = Report.model_validate_json(figures.read_text())
    expected = json.loads(simulated.read_text())
    h = found.headline
    assert {c.name: c.value for c in found.counters} == expected["counters"]
    assert (h.bound_cycles, h.ratio) == (expected["bound_cycles"], expected["ratio"])
    assert h.energy_pj == sum(expected["energy_pj"].values())
    assert found.energy.by_component_pj == expected["energy_pj"]
    assert [(r.n_steps, r.cycles) for r in found.runs] == [
        (s["n_steps"], s["cycles"]) for s in expected["sequences"]
    ]
    assert f"{h.cycles:,} cycles, bound {h.bound_cycles:,}, ratio {h.ratio:.3f}" in out
    assert found.bottleneck.sentence in " ".join(out.split())
    assert found.accuracy is not None
    assert found.made.command == " ".join(["einchip", *map(str, arguments)])
    manifest = folder.read(place / "made").manifest
    assert {f.name: f.sha256 for f in found.made.files} == {
        name: entry.sha256 for name, entry in manifest.files.items()
    }
    assert found.bottleneck.sentence in page.read_text(encoding="utf-8")
    assert {"headline.csv", "steps.csv", "timeline.csv", "errors.csv"} <= {
        p.name for p in csv.iterdir()
    }


def test_figures_go_to_standard_output_alone(place: Path) -> None:
    """Oracle: pydantic reads what stands there; all else goes to the error's."""
    result = invoke("report", place / "made", "--json", "-")
    assert result.exit_code == 0
    assert Report.model_validate_json(result.stdout).accuracy is None
    assert "cycles, bound" in result.stderr


def test_what_cannot_be_done_is_said_before_any_work(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: one line, status 2, nothing written; no run is simulated."""

    def simulated(*_: object) -> None:
        raise AssertionError("too late")

    monkeypatch.setattr("einchip.report.gather.simulated", simulated)
    made, page, empty = place / "made", tmp_path / "r.html", tmp_path / "empty"
    empty.mkdir()
    put_model(empty / "model.safetensors")
    model = place / "model.safetensors"
    for arguments, text in (
        ((made,), "expected at least one"),
        ((made, "-o", tmp_path / "r.txt"), "expected .html"),
        ((made, "-o", tmp_path / "no" / "r.html"), "cannot write"),
        ((made, "--csv", place / "data.npz"), "found a file, expected a folder"),
        ((made, "-o", page, "--json", page), "page and figures in one file"),
        ((made, "-o", page, "--data", place / "data.npz"), "found no --model"),
        ((made, "-o", page, "--model", empty / "model.safetensors"), "found no .npz"),
        ((made, "-o", page, "--model", tmp_path / "no.safetensors"), "no.safetensors"),
        ((made, "-o", page, "--energy", "horowitz"), "did you mean"),
        ((empty, "-o", page), "name a folder that `einchip compile` wrote"),
        ((made, "-o", page, "--model", model, "--sequences", "0"), "--sequences"),
    ):
        assert text in refused(tmp_path, "report", *arguments)


def test_folders_of_older_versions_are_refused(place: Path, tmp_path: Path) -> None:
    """Oracle: the line; the manifest that names no plan."""
    made = tmp_path / "made"
    made.mkdir()
    for path in (place / "made").iterdir():
        (made / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((made / "manifest.json").read_text())
    plan = manifest["files"].pop("plan.json")
    (made / "manifest.json").write_text(json.dumps(manifest))
    line = refused(tmp_path, "report", made, "-o", tmp_path / "r.html")
    assert "found no plan.json" in line
    assert line.endswith("compile again")
    manifest["files"]["plan.json"] = plan
    (made / "manifest.json").write_text(json.dumps(manifest))
    (made / "plan.json").write_text("{}")
    line = refused(tmp_path, "report", made, "-o", tmp_path / "r.html")
    assert "plan.json: size" in line


def test_another_model_is_refused(place: Path, tmp_path: Path) -> None:
    """Oracle: the line."""
    put_model(tmp_path / "other.safetensors", "mps")
    put_data(tmp_path / "data.npz")
    line = refused(
        tmp_path, "report", place / "made", "-o", tmp_path / "r.html",
        "--model", tmp_path / "other.safetensors",
    )  # fmt: skip
    assert "other layers or formats" in line


def test_missing_libraries_are_named(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the line; figures need none of them."""
    monkeypatch.setitem(__import__("sys").modules, "plotly", None)
    line = refused(tmp_path, "report", place / "made", "-o", tmp_path / "r.html")
    assert "pip install 'einchip[report]'" in line
