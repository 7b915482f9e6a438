"""Switching activity of the RTL against counters: the figures of docs/traces.md.

    python -m tests.trace.measure tests/trace/activity.json

The Japanese Vowels models, compiled with 8 bits for `small`, on the first sequence of the test set.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from einchip.compiler.compiled import Compiled
from einchip.files import write_text
from einchip.reference import Memory
from einchip.trace import activity
from einchip.trace.case import Case
from einchip.verify.machine import DEFAULT_CACHE, RtlMachine
from tests.compiler.helpers import KINDS, compiled_vowels, labelled

MACHINE: Final = "small"


def case(kind: str, preset: str = MACHINE, n_steps: int | None = None) -> Case:
    """Return the run of an example, of as many of the sequence's steps."""
    compiled = compiled_vowels(kind, preset, 8)
    packed = compiled.pack(labelled("test").sequences[0][:n_steps])
    places, programs = compiled.places(packed.n_steps), compiled.programs
    return Case(
        f"{kind}, {packed.n_steps} steps", compiled.arch, programs.setup, programs.run,
        places.host(packed.n_steps), _memory(compiled, packed.n_steps, packed.data), 8,
    )  # fmt: skip


def _memory(compiled: Compiled, n_steps: int, data: bytes) -> Memory:
    memory, at = compiled.memory(n_steps), compiled.places(n_steps).sequence
    memory.external[at : at + len(data)] = data
    return memory


def measured(made: Case, machine: RtlMachine) -> dict[str, Any]:
    """Return cycles, counters and comparisons of a run; `machine` can record SAIF."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "run.saif"
        run = made.waves(machine, path)
        found = activity.measured(path)
    rows = activity.compare(found, run.counters, made.arch)
    return {
        "cycles": run.cycles,
        "rows": [
            asdict(r) | {"error_percent": round(r.error_percent, 1), "factor": r.factor}
            for r in rows
        ],
    }


def main(path: Path) -> None:
    """Measure everything and write it."""
    cases = {kind: case(kind) for kind in KINDS}
    machine = RtlMachine.build(cases[KINDS[0]].arch, DEFAULT_CACHE, "saif")
    models = {kind: measured(made, machine) for kind, made in cases.items()}
    write_text(path, json.dumps({"machine": MACHINE, "models": models}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
