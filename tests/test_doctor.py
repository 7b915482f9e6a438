"""The doctor finds what is installed here, and says how to get what is not."""

import io
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from einchip import doctor
from einchip.verify import verilator


def test_what_the_tests_run_on_is_found() -> None:
    checks = {check.name: check for check in doctor.report()}
    assert [name for name, check in checks.items() if check.required and not check.ok] == []
    assert checks["amaranth"].version == "0.5.10"
    assert verilator.find().version in (checks["verilator"].version or "")
    assert doctor.print_report(list(checks.values()), Console(file=io.StringIO())) == 0


def test_what_is_missing_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> verilator.Verilator:
        raise verilator.VerilatorNotFoundError

    monkeypatch.setattr(verilator, "find", missing)
    monkeypatch.setenv("PATH", "")
    checks = doctor.report()
    absent = {check.name: check.fix for check in checks if not check.ok}
    assert {"g++", "make", "verilator"} <= set(absent)
    assert absent["g++"] == "apt-get install g++"
    assert "verilator" in absent["verilator"]


def test_tools_of_the_rtl_are_required_where_verilator_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    needed = {check.name: check.required for check in doctor.report()}
    assert [needed[name] for name in ("g++", "make", "verilator")] == [True, True, False]
    console = Console(file=io.StringIO(), width=300)
    assert doctor.print_report(doctor.report(), console) == 1
    monkeypatch.setattr(doctor, "_verilator", lambda: None)
    needed = {check.name: check.required for check in doctor.report()}
    assert [needed[name] for name in ("g++", "make", "verilator")] == [False] * 3
    assert doctor.print_report(doctor.report(), console) == 0


def test_only_what_is_required_makes_it_fail() -> None:
    optional = doctor.Check("torch", "training", None, False, "pip install torch")
    console = Console(file=io.StringIO(), width=200)
    assert doctor.print_report([optional], console) == 0
    assert "not installed (optional)" in console.file.getvalue()  # type: ignore[attr-defined]


def test_every_extra_of_the_project_is_looked_for() -> None:
    """Oracle: pyproject.toml, but for what developers alone use."""
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - {"test", "docs"}
    assert {*doctor.EXTRAS, "rtl"} == extras


def test_an_extra_is_there_when_all_of_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = ["numpy>=2", 'numpy>=2; extra == "host"', 'nothing-such==1; extra == "fpga"']
    monkeypatch.setattr("importlib.metadata.requires", lambda _: stated)
    checks = {check.name: check for check in doctor.report()}
    assert (checks["extra host"].version or "").startswith("numpy 2")
    assert checks["extra fpga"].version is None
    assert checks["extra fpga"].fix.endswith("-m pip install 'einchip[fpga]'")
    assert checks["extra onnx"].version is None
