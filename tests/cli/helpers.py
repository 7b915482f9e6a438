"""Runs commands in the process and as users do, and small models and data to run them on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from einchip.cli import app, common
from einchip.models import Model, save_model
from tests.models.helpers import small_model

ROOT: Final = Path(__file__).parents[2]
VOWELS: Final = ROOT / "examples" / "japanese_vowels"


def invoke(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments])


def run(
    *arguments: object, cwd: Path, env: dict[str, str] | None = None, module: bool = True
) -> Any:
    """Run the command line, or, without `module`, Python, as a process of its own."""
    start = ["-m", "einchip.cli"] if module else []
    command = [sys.executable, *start, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def succeeded(result: Result) -> str:
    """Return what a command printed."""
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.stderr == ""
    return result.stdout


def use_width(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Give the command line a terminal of that width."""
    monkeypatch.setattr(common.console, "width", columns)


def files(folder: Path) -> dict[str, bytes]:
    """Return everything below a folder."""
    return {
        str(p.relative_to(folder)): b"" if p.is_dir() else p.read_bytes() for p in folder.rglob("*")
    }


def refused(folder: Path, *arguments: object) -> str:
    """Run a command that must end with status 2 and one line, and must write nothing."""
    before = files(folder)
    result = invoke(*arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.endswith("\n")
    [line] = result.stderr.splitlines()
    assert files(folder) == before
    return line


def put_model(path: Path, kind: str = "mpo") -> Model:
    """Write a small model of 6 channels and 3 classes."""
    model = small_model(kind)
    save_model(model, path)
    return model


def put_data(path: Path, n_channels: int = 6, n_classes: int = 3, **changes: Any) -> None:
    """Write labelled sequences; `changes` replaces arrays."""
    rng = np.random.default_rng(2)
    arrays: dict[str, Any] = {"mean": np.zeros(n_channels), "std": np.ones(n_channels)}
    arrays["clip"] = np.array(4.0)
    for split in ("train", "test"):
        lengths = np.array([3, 1, 4])
        arrays[f"{split}_lengths"] = lengths
        arrays[f"{split}_labels"] = np.arange(3) % n_classes
        arrays[f"{split}_frames"] = rng.standard_normal((lengths.sum(), n_channels))
    np.savez(path, **(arrays | changes))


def interruptible(*command: str) -> list[str]:
    """Return a Python command that SIGINT ends, also of tests in the background.

    What a shell starts there has SIGINT ignored, and so have its children. (Not by `preexec_fn`,
    which may wait for ever for a lock that another thread held at the fork.)
    """
    set_free = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    return [sys.executable, "-c", set_free, *command]
