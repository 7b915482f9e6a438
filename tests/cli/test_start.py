"""What a command needs is imported when it runs: the short ones start at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT, run

#: Libraries that are slow to import; typer itself imports pydantic where it is installed.
SLOW = {"amaranth", "numpy", "safetensors", "yaml"}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["doctor"]])
def test_short_commands_import_no_slow_library(tmp_path: Path, arguments: list[str]) -> None:
    env = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1", "PYTHONPATH": str(ROOT / "src")}
    result = run(*arguments, cwd=tmp_path, env=env)
    assert result.returncode == 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.split("|")[2].strip().partition(".")[0] for line in lines}
    assert "typer" in imported
    assert not imported & SLOW


def test_help_names_every_command(tmp_path: Path) -> None:
    result = run("--help", cwd=tmp_path)
    named = (
        "run",
        "compile",
        "simulate",
        "verify",
        "generate",
        "quantise",
        "workloads",
        "contract",
    )
    for command in (*named, "import", "compress", "finetune", "doctor"):
        assert f" {command} " in result.stdout
