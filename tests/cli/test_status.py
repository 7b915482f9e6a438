"""Exit status of each kind of end, and what a terminal is sent; docs/cli.md states them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from einchip.cli import common
from einchip.fpga import targets
from tests.cli.helpers import ROOT, invoke, put_model

#: What sets a colour: 30 to 37, 90 to 97, 38 (256 colours), of the letters.
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|9\d)(?=[;m])")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which each test runs, with a model."""
    monkeypatch.chdir(tmp_path)
    put_model(tmp_path / "model.safetensors")
    return tmp_path


def test_the_page_has_every_status() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    rows = {int(n) for n in re.findall(r"^\| (\d+) \|", page, re.M)}
    assert rows == {0, common.FAILED, common.BAD_INPUT, 130}


def test_0_when_it_is_done() -> None:
    assert invoke("schema", "model").exit_code == 0
    assert invoke("--version").exit_code == 0


def test_1_when_a_check_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert targets.find("ulx3s").arch == "nano"
    result = invoke("fit", "-t", "ulx3s", "--arch", "base")
    assert result.exit_code == common.FAILED
    assert "expected at most" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["simulat"], "did you mean simulate?"),
        (["simulate", "x", "--jsno", "y"], "did you mean --json?"),
        (["generate", "--arch", "smal"], "did you mean small?"),
        (["generate", "--set", "x_dept=64"], "did you mean x_depth?"),
        (["run", "model.safetensors", "--energy", "horowitz"], "did you mean horowitz45?"),
        (["build", "-t", "ulx3", "-o", "x"], "did you mean ulx3s?"),
        (["compress", "model.safetensors", "-o", "x", "--format", "tuker"], "did you mean tucker?"),
        (["contract", "a->a", "--shapes", "3", "--objective", "energi"], "did you mean energy?"),
        (["schema", "modle"], "did you mean model?"),
    ],
)
def test_2_and_the_near_name_when_a_name_is_misspelt(arguments: list[str], hint: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == common.BAD_INPUT
    [line] = result.stderr.splitlines()
    assert hint in line


@pytest.mark.parametrize(
    ("name", "text", "arguments", "line"),
    [
        (
            "machine.yaml", "preset: nano\n\nx_dept: 64\n", ["generate", "--arch"],
            "machine.yaml:3: x_dept: unknown field, expected one of name",
        ),
        (
            "machine.yaml", "preset: nano\nrows: 7\n", ["generate", "--arch"],
            "machine.yaml:2: rows: found 7, expected a power of two",
        ),
        (
            "model.yaml",
            "name: a\nlayers:\n- input_size: 2\n  hiden_size: 3\n  hidden_size: 3\n"
            "weights: {random: 1}\n",
            ["compile", "-o", "out"],
            "model.yaml:4: layers.0.hiden_size: found 3, expected no field of this name",
        ),
        (
            "table.yaml", "name: x\nnode_nm: 45\nsource: y\ndramm: {}\n",
            ["run", "model.safetensors", "--energy"],
            "table.yaml:4: dramm: unknown field, expected one of name",
        ),
    ],
)  # fmt: skip
def test_errors_of_yaml_name_file_and_line(
    here: Path, name: str, text: str, arguments: list[str], line: str
) -> None:
    (here / name).write_text(text)
    result = invoke(*arguments, name)
    assert result.exit_code == common.BAD_INPUT
    assert result.stderr.startswith(line)
    assert "found 7" in line or "did you mean" in result.stderr


def test_refused_workloads_name_file_and_line(here: Path) -> None:
    good = "- {name: a, format: mpo, in_modes: [4, 4], out_modes: [4, 4], ranks: [1, 2, 1]}\n"
    bad = "- name: b\n  format: mpp\n  in_modes: [4, 4]\n  out_modes: [4, 4]\n  ranks: [1, 2, 1]\n"
    misspelt = "- {name: c, format: mpo, in_mode: [4, 4], out_modes: [4, 4], ranks: [1, 2, 1]}\n"
    (here / "f.yaml").write_text(good + bad + misspelt)
    result = invoke("workloads", "--file", "f.yaml", "--arch", "nano")
    assert result.exit_code == common.FAILED
    first, second = result.stderr.splitlines()
    assert first.startswith("f.yaml:3: b: format: found 'mpp', expected 'dense'")
    assert second.startswith("f.yaml:7: c: ")
    assert second.endswith("did you mean in_modes by in_mode?")


def test_130_when_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("einchip.models.load_model", interrupted)
    result = invoke("compile", "model.safetensors", "-o", "out")
    assert result.exit_code == 130
    assert not Path("out").exists()


@pytest.mark.parametrize("plain", [False, True])
def test_colours_are_for_terminals_without_no_color(here: Path, plain: bool) -> None:
    master, slave = os.openpty()
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color"}
    command = [sys.executable, "-m", "einchip.cli", "--help"]
    env |= {"NO_COLOR": "1"} if plain else {}
    with subprocess.Popen(command, cwd=here, env=env, stdout=slave, stderr=slave) as process:
        os.close(slave)
        sent = b""
        try:
            while part := os.read(master, 4096):
                sent += part
        except OSError:  # what Linux says at the end
            pass
    os.close(master)
    assert process.returncode == 0
    text = sent.decode()
    assert "simulate" in text
    assert bool(COLOUR.search(text)) == (not plain)
