"""What --json writes, where no other test says; the oracles are files and the library."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from einchip import doctor
from einchip.arch import PRESETS
from einchip.compiler import folder
from einchip.fpga import targets
from einchip.hw import generate
from einchip.models import load_model
from einchip.verify import compare
from einchip.verify.machine import RtlError
from tests.cli.helpers import invoke, put_data, put_model, succeeded
from tests.cli.test_pages import put_onnx
from tests.fpga.targets.tools import fake_tools


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which each test runs, with a model and its data."""
    monkeypatch.chdir(tmp_path)
    put_model(tmp_path / "model.safetensors")
    put_data(tmp_path / "data.npz")
    return tmp_path


def figures(*arguments: object) -> Any:
    """Run a command, and return what it writes to standard output."""
    result = invoke(*arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_of_compile_are_those_of_the_folder(here: Path) -> None:
    found = figures("compile", "model.safetensors", "-o", "out", "--arch", "nano")
    made = folder.read(here / "out")
    assert found["arch"] == PRESETS["nano"].model_dump(mode="json")
    assert found["n_steps"] == [n for n, _ in made.sequences]
    assert found["fracs"] == made.manifest.fracs
    assert found["bound_cycles_per_step"] == made.manifest.bound_cycles_per_step
    assert (found["program_words"], found["weights_bytes"]) == (made.run.n_words, len(made.weights))


def test_of_generate_tell_the_file_and_the_machine(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "verilog", lambda arch: f"module {arch.name};\nendmodule\n")
    found = figures("generate", "--arch", "pico", "-o", "pico.v")
    data = (here / "pico.v").read_bytes()
    assert found == {
        "file": "pico.v",
        "arch": PRESETS["pico"].model_dump(mode="json"),
        "config_hash": f"{PRESETS['pico'].config_hash:#010x}",
        "sha256": hashlib.sha256(data).hexdigest(),
        "n_lines": 2,
    }


def test_of_verify_are_every_sequence_and_are_written_where_something_differs(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeeded(invoke("compile", "model.safetensors", "-o", "out", "--arch", "pico"))
    differing = {"X": (1, 2), "Y": (0, 0), "external": (0, 0)}
    found = compare.Comparison(0, 3, (9, 9), (7, 8), {"macs": (1, 2)}, differing, ("X differs",))
    monkeypatch.setattr(compare, "compare", lambda *_, **__: [found])
    result = invoke("verify", "out", "--json", "-", "--latency", 3)
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert (content["model"], content["latency_cycles"]) == ("mpo", 3)
    [sequence] = content["sequences"]
    assert sequence["cycles"] == [7, 8]
    assert sequence["differing"]["X"] == [1, 2]
    assert sequence["differences"] == ["X differs"]


def test_of_verify_are_not_written_where_the_rtl_does_not_stop(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(*_: object, **__: object) -> None:
        raise RtlError("the RTL does not stop")

    succeeded(invoke("compile", "model.safetensors", "-o", "out", "--arch", "pico"))
    monkeypatch.setattr(compare, "compare", stuck)
    assert invoke("verify", "out", "--json", "f.json").exit_code == 1
    assert not (here / "f.json").exists()


def test_of_import_are_the_model_and_what_was_assumed(here: Path) -> None:
    put_onnx(here / "model.onnx")
    found = figures("import", "model.onnx", "-o", "out.safetensors")
    model = load_model(here / "out.safetensors")
    assert found["model"] == model.spec.model_dump(mode="json", exclude_none=True)
    assert found["weights"] == sum(tensor.size for tensor in model.tensors.values())
    assert isinstance(found["notes"], list)


def test_of_build_are_those_of_the_report(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tools(monkeypatch, 99.0)
    found = figures("build", "--target", "ulx3s", "-o", "out")
    board = targets.find("ulx3s")
    assert found["reached_mhz"] == 99.0
    assert found["clock_mhz"] == board.clock_hz / 1e6


def test_of_doctor_are_all_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [
        doctor.Check("a", "all", "1.2", True, "get a"),
        doctor.Check("b", "some", None, True, "get b"),
    ]
    monkeypatch.setattr(doctor, "report", lambda: checks)
    result = invoke("doctor", "--json", "-")
    assert result.exit_code == 1
    assert [(c["name"], c["version"], c["ok"]) for c in json.loads(result.stdout)] == [
        ("a", "1.2", True),
        ("b", None, False),
    ]
    assert "get b" in result.stderr


def test_of_bench_on_standard_output_leave_no_table_behind(here: Path) -> None:
    entry = "- {name: a, format: mpo, in_modes: [4, 4], out_modes: [4, 4], ranks: [1, 2, 1]}\n"
    (here / "f.yaml").write_text(entry)
    before = sorted(here.iterdir())
    found = figures("bench", "--file", "f.yaml", "--arch", "pico", "--jobs", 1)
    assert [row["name"] for row in found["runs"][0]["rows"]] == ["a"]
    assert sorted(here.iterdir()) == before
