"""`einchip vivado`; the projects themselves are looked at in tests/fpga/test_vivado.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from einchip.arch import PRESETS, Architecture
from einchip.cli import app
from einchip.fpga.vivado import BOARDS, boards, project
from einchip.hw import generate
from tests.cli.helpers import files, invoke, refused, succeeded, use_width


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which each test runs; Verilog, which takes seconds, is the name."""
    monkeypatch.chdir(tmp_path)
    use_width(monkeypatch, 80)
    monkeypatch.setattr(generate, "verilog", lambda arch: f"// {arch.name}, {arch.x_depth}\n")
    return tmp_path


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_a_board_gets_the_project_of_its_own_machine(board: boards.Board) -> None:
    """The oracle is `write_project` with the board's preset and clock."""
    out = succeeded(invoke("vivado", "-t", board.name, "-o", "out"))
    assert f"{board.default_mhz:g} MHz asked for" in out
    assert "out: in it run 'vivado -mode batch -source build.tcl'" in out
    project.write_project(PRESETS[board.arch], board, Path("expected"))
    assert files(Path("out")) == files(Path("expected"))


def test_machine_clock_and_figures_may_be_asked_for() -> None:
    """The oracle is the preset with the field changed, and `boards` on it."""
    machine = PRESETS["small"].override(x_depth=2048)
    options = ("--arch", "small", "--set", "x_depth=2048", "--frequency-mhz", "75")
    succeeded(invoke("vivado", "--target", "kv260", "-o", "out", *options, "--json", "new.json"))
    assert Path("out/rtl/einchip_top.v").read_text() == "// small, 2048\n"
    assert "set mhz {75}" in Path("out/settings.tcl").read_text()
    found, board = json.loads(Path("new.json").read_text()), BOARDS["kv260"]
    names = found.pop("files")
    assert sorted(names) == sorted(k for k, content in files(Path("out")).items() if content)
    assert found == {
        "target": "kv260",
        "part": board.part,
        "arch": "small",
        "config_hash": f"{machine.config_hash:#010x}",
        "clock_mhz": 75,
        "dsp": [boards.multipliers(machine), board.dsps],
        "block_ram_bits": [boards.memory_bits(machine), boards.memory_room(board)],
    }


def test_boards_are_completed() -> None:
    """The oracle is the list of boards."""
    env = {"_EINCHIP_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    env["COMP_WORDS"] = "einchip vivado --target "
    result = CliRunner().invoke(app, [], prog_name="einchip", env=env)
    assert result.output.split() == list(BOARDS)


def test_an_existing_folder_keeps_its_other_files(here: Path) -> None:
    """The oracle is the file that was there."""
    Path("out").mkdir()
    Path("out/own.tcl").write_text("# mine")
    succeeded(invoke("vivado", "-t", "kv260", "-o", here / "out"))
    assert Path("out/own.tcl").read_text() == "# mine"
    assert Path("out/build.tcl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-t", "pynq-z1", "-o", "out"), "did you mean pynq-z2?"),
        (("-t", "-", "-o", "out"), "target: found '-', expected one of pynq-z2, "),
        (("-t", "kv260", "-o", "file"), "file: found a file, expected a folder"),
        (("-t", "kv260", "-o", "file/out"), "file: found a file, expected a folder"),
        (("-t", "kv260", "-o", "out", "--arch", "nan"), "--arch: found 'nan'"),
        (("-t", "kv260", "-o", "out", "--arch", "pico"), "found a memory port of 2 bytes in pico"),
        (("-t", "kv260", "-o", "out", "--set", "rows"), "--set: found 'rows'"),
        (("-t", "kv260", "-o", "out", "--frequency-mhz", "300"), "found 300 MHz, expected 10"),
        (("-t", "kv260", "-o", "out", "--json", "none/x.json"), "none/x.json: cannot write"),
        (("-o", "out"), "Missing option '--target'"),
    ],
)
def test_bad_input_is_one_line_and_no_rtl(
    arguments: tuple[str, ...], message: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is the message; the Verilog is not begun."""

    def verilog(arch: Architecture) -> str:
        raise AssertionError(f"the RTL of {arch.name} was generated before input was checked")

    monkeypatch.setattr(generate, "verilog", verilog)
    (here / "file").touch()
    assert message in refused(here, "vivado", *arguments)


def test_folders_that_cannot_be_written_are_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is the message, before the work and after it."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        error = refused(here, "vivado", "-t", "kv260", "-o", "out")
    assert error == f"out: cannot write: no permission in {here}; choose another folder"
    Path("out/rtl").mkdir(parents=True)
    Path("out/rtl/einchip_top.v").mkdir()
    result = invoke("vivado", "-t", "kv260", "-o", "out")
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("out/rtl/einchip_top.v: cannot write: ")
