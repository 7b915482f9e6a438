"""`einchip explore`: files, messages, Ctrl-C and going on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.helpers import ROOT, interruptible, invoke, put_model, refused, succeeded

SPACE = """\
base: nano
parameters: {rows: [2, 4], cols: [2, 4]}
constraints: [rows <= cols]
steps: 2
"""
WAIT_SECONDS = 60


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a space and a model, in which commands run."""
    pytest.importorskip("simpleeval")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    put_model(tmp_path / "model.safetensors")
    return tmp_path


def test_files_and_table_say_the_same_and_nothing_is_done_twice(folder: Path) -> None:
    """The oracle is the grid by hand: 3 of 4 arrays; the second run has it all on disk."""
    files = ["--json", "a.json", "--csv", "a.csv", "--plot", "a.html"]
    command = ["explore", "space.yaml", "model.safetensors", "--jobs", 1]
    shown = succeeded(invoke(*command, *files))
    assert "3 points: 3 evaluated, 0 known before; 0 infeasible, 0 failed" in shown
    assert "1 combinations are no points, such as: against 'rows <= cols'" in shown
    found = json.loads(Path("a.json").read_text())
    varied = [(p["arch"]["rows"], p["arch"]["cols"]) for p in found["points"]]
    assert varied == [(2, 2), (2, 4), (4, 4)]
    assert len(list(csv.reader(Path("a.csv").read_text().splitlines()))) == 1 + 3
    assert "</html>" in Path("a.html").read_text()
    for unit in ("a sequence", "nJ a sequence", "LUT"):
        assert unit in shown
    [entry, *_] = sorted(Path("build/explore").rglob("*.json"))
    entry.write_text("{")
    again = succeeded(invoke(*command, "--json", "b.json"))
    assert f"{entry}: damaged; its point was evaluated again" in again
    assert "3 points: 1 evaluated, 2 known before" in again
    assert json.loads(Path("b.json").read_text()) == found
    assert "3 points: 0 evaluated, 3 known before" in succeeded(invoke(*command))


def test_what_is_wrong_is_said_before_work(folder: Path) -> None:
    """The oracle is the message of each mistake; nothing is written."""
    base = ["explore", "space.yaml", "model.safetensors"]
    (folder / "bad.yaml").write_text("parameters: {row: [2]}\n")
    (folder / "deep.yaml").write_text("base: nano\ntarget: ulx3\n")
    (folder / "arch.yaml").write_text("base: none.yaml\n")
    (folder / "sub").mkdir()
    put_model(folder / "sub" / "model.safetensors")
    for arguments, said in (
        (["explore", "bad.yaml", "model.safetensors"], "bad.yaml:1: parameters.row: unknown"),
        (["explore", "deep.yaml", "model.safetensors"], "did you mean ulx3s?"),
        (["explore", "arch.yaml", "model.safetensors"], "none.yaml: cannot read the file"),
        (["explore", "space.yaml", "none.safetensors"], "none.safetensors: "),
        ([*base, "sub/model.safetensors"], "MODELS: found model twice"),
        ([*base, "--objective", "speed"], "--objective: found 'speed'"),
        ([*base, "--objective", "error"], "'error' without data"),
        ([*base, "--plot", "a.png"], "--plot: found a.png"),
        ([*base, "--plot", "a.svg", "--objective", "cycles"], "--plot: found one objective"),
        ([*base, "--json", "none/a.json"], "none/a.json: cannot write"),
        ([*base, "--cache", "space.yaml/a"], "cannot keep results there"),
        ([*base, "--cache", "sub", "--jobs", 2, "--scheduler", "tcp://h:1"], "--jobs: found it"),
        ([*base, "--energy", "none"], "none"),
    ):
        assert said in refused(folder, *arguments)


def test_nothing_feasible_is_status_1(folder: Path) -> None:
    """The oracle is a machine whose scratchpads are too small for the model."""
    (folder / "space.yaml").write_text(SPACE + "derived: {x_depth: 16, y_depth: 16}\n")
    result = invoke("explore", "space.yaml", "model.safetensors", "--jobs", 1, "--json", "a.json")
    assert result.exit_code == 1
    assert "found no feasible point" in result.stderr
    assert "infeasible: rows 2, cols 2" in result.stdout
    found = json.loads((folder / "a.json").read_text())
    assert {p["status"] for p in found["points"]} == {"infeasible"}


def there_is_a_process(group: int) -> bool:
    """Return whether a group of processes has one left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(folder: Path) -> None:
    """The oracle is the folder of results: what was there is not evaluated again."""
    depths = "[1024, 2048, 4096, 8192, 16384]"
    (folder / "space.yaml").write_text(
        "base: nano\nsteps: 64\n"
        f"parameters: {{rows: [2, 4], cols: [2, 4], x_depth: {depths}, y_depth: {depths}}}\n"
    )
    command = ["explore", "space.yaml", "model.safetensors", "--jobs", "1"]
    process = subprocess.Popen(
        interruptible("-m", "einchip.cli", *command),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    kept = folder / "build" / "explore"
    end = time.monotonic() + WAIT_SECONDS
    while len(list(kept.rglob("*.json"))) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
    stdout, stderr = process.communicate(timeout=WAIT_SECONDS)
    n_done = len(list(kept.rglob("*.json")))
    assert process.returncode == 130, stderr
    assert stderr == ""
    assert 3 <= n_done < 100
    assert f"{n_done} points: {n_done} evaluated, 0 known before" in stdout
    assert "run the same command to go on" in stdout
    while there_is_a_process(process.pid) and time.monotonic() < end + WAIT_SECONDS:
        time.sleep(0.05)
    assert not there_is_a_process(process.pid)
    again = succeeded(invoke(*command, "--budget", n_done + 2))
    assert f"{n_done + 2} points: 2 evaluated, {n_done} known before" in again
