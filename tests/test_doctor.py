"""The doctor finds what is installed here, and says how to get what is not."""

import io

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
    absent = {check.name: check.fix for check in checks if not check.ok and check.required}
    assert set(absent) == {"g++", "make", "verilator"}
    assert absent["g++"] == "apt-get install g++"
    assert "verilator" in absent["verilator"]
    console = Console(file=io.StringIO(), width=300)
    assert doctor.print_report(checks, console) == 1


def test_only_what_is_required_makes_it_fail() -> None:
    optional = doctor.Check("torch", "training", None, False, "pip install torch")
    console = Console(file=io.StringIO(), width=200)
    assert doctor.print_report([optional], console) == 0
    assert "not installed (optional)" in console.file.getvalue()  # type: ignore[attr-defined]
