"""The committed record of `make release`: complete, all good, of this version and these steps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import einchip
from tests.release import matrix
from tests.release.packages import ROOT

RECORD: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("matrix.json").read_text())
RUNS: Final[list[dict[str, Any]]] = RECORD["runs"]


def test_record_is_of_this_version_and_every_python() -> None:
    """Oracle: `einchip.__version__`, the classifiers' Pythons as `matrix` has them."""
    assert RECORD["version"] == einchip.__version__
    assert RECORD["wheel"]["name"].startswith(f"einchip-{einchip.__version__}-")
    assert [r["python"].rpartition(".")[0] for r in RUNS] == list(matrix.PYTHONS)


def test_every_step_was_run_and_went_well() -> None:
    for run in RUNS:
        assert [s["command"] for s in run["steps"]] == [s.command for s in matrix.STEPS]
        assert [s["status"] for s in run["steps"]] == [s.status for s in matrix.STEPS]
        assert not any(s["wrong"] for s in run["steps"])


def test_every_extra_can_be_installed_on_every_python() -> None:
    """Oracle: the extras of pyproject.toml; a new one needs `make release`."""
    for run in RUNS:
        assert run["extras"] == dict.fromkeys(matrix.EXTRAS, True)


def test_page_shows_the_record() -> None:
    page = (ROOT / "docs" / "releasing.md").read_text()
    shown = re.findall(r"^\| (3\.\d+\.\d+) \| (\d+) \| (\d+) \|$", page, re.M)
    n_files = RECORD["wheel"]["files"]
    assert shown == [(r["python"], str(len(r["steps"])), str(n_files)) for r in RUNS]


def test_a_step_that_prints_something_else_is_wrong(tmp_path: Path) -> None:
    """Oracle: a program that does what each step does not expect."""
    there = matrix.Environment.__new__(matrix.Environment)
    there.wheel, there.folder, there.bin = tmp_path / "w.whl", tmp_path, tmp_path / "bin"
    there.bin.mkdir()
    program = there.bin / "say"
    program.write_text('#!/bin/sh\necho "found $1"\nexit $2\n')
    program.chmod(0o755)
    assert there.step(matrix.Step("say a 0", "found a"))["wrong"] == ""
    assert there.step(matrix.Step("say a 1", "found a", 1))["wrong"] == ""
    assert there.step(matrix.Step("say a 1", "found a"))["wrong"] == "found a\n"
    assert there.step(matrix.Step("say a 0", "found b"))["wrong"] == "found a\n"
