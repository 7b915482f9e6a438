"""The rules of AXI, proved on the RTL; the oracle is the SMT solver, of the committed ones the RTL.

Counterexamples of broken RTL show that each rule can fail, covers that no proof is about nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from amaranth import Const

from tests.formal import page, prove
from tests.formal.engine import Netlist, missing
from tests.formal.mutants import MUTANTS, Mutant
from tests.formal.rules import Rule
from tests.formal.units import PROOFS, QUICK, UNITS, bench

RESULTS: Final[dict[str, Any]] = json.loads(prove.RESULTS.read_text())
PAGE: Final = Path(__file__).parents[2] / "docs" / "formal.md"
#: Broken RTL that is looked at in every run: in each unit, on each channel.
FEW: Final = [
    ("load", "ar_page"),
    ("store", "w_stable"),
    ("store", "w_last"),
    ("axi_lite", "b_stable"),
    ("axi_lite", "r_comes"),
]
needs_engine = pytest.mark.skipif(bool(missing()), reason=missing())


def of(unit: str, rule: str) -> Mutant:
    """Return the first mutant that a rule must notice."""
    return next(m for m in MUTANTS if (m.unit, m.rule) == (unit, rule))


@needs_engine
@pytest.mark.parametrize("unit", UNITS)
def test_rules_hold_for_ever_and_covers_are_reached(unit: str, tmp_path: Path) -> None:
    """The oracle is the solver: no counterexample in the base and in the step of the induction."""
    what = prove.task(unit, QUICK[unit])
    assert prove.wrong(what, prove.find(what, tmp_path)) == ""


@needs_engine
@pytest.mark.parametrize(("unit", "rule"), FEW)
def test_broken_rtl_is_noticed(unit: str, rule: str, tmp_path: Path) -> None:
    """The oracle is the line that is broken."""
    what = prove.task(unit, QUICK[unit], of(unit, rule))
    assert prove.wrong(what, prove.find(what, tmp_path)) == ""


@needs_engine
def test_assumptions_that_contradict_reach_nothing(tmp_path: Path) -> None:
    """The oracle is logic: from what is impossible everything follows, and nothing happens."""
    design = bench("axi_lite", "nano")
    design.rules.assumes["impossible"] = Rule(Const(0), "")
    design.rules.asserts["wrong"] = Rule(Const(0), "")
    netlist = Netlist(design.rtlil(), tmp_path)
    assert netlist.bounded(prove.BASE_CYCLES) is None
    assert netlist.reached(prove.COVER_CYCLES) == {}


def stale(entries: list[dict[str, Any]], what: prove.Task) -> str:
    """Return what there is to say where no committed entry is of this task."""
    if any(entry["digest"] == what.digest for entry in entries):
        return ""
    return f"{what.unit} of {what.machine} is stale: RTL or rules changed; run make formal"


def test_everything_is_committed() -> None:
    """The oracle is the list of what is to be proved, and of what is broken."""
    assert [(p["unit"], p["machine"]) for p in RESULTS["proofs"]] == list(PROOFS)
    found = [(m["unit"], m["rule"], m["old"], m["new"]) for m in RESULTS["mutants"]]
    assert found == [(m.unit, m.rule, m.old, m.new) for m in MUTANTS]
    assert all(m["rule"] in m["rules"] for m in RESULTS["mutants"])


def test_every_rule_is_noticed_to_be_broken() -> None:
    """The oracle is the committed list of rules."""
    rules = {(p["unit"], rule) for p in RESULTS["proofs"] for rule in p["rules"]}
    assert rules == {(m["unit"], m["rule"]) for m in RESULTS["mutants"]}


def test_what_the_units_assume_of_the_machine_is_proved_on_it() -> None:
    """The oracle is the text of the assumption."""
    proved = {p["unit"]: p for p in RESULTS["proofs"]}
    machine = proved["machine"]["rules"]
    for unit in ("load", "store"):
        assumes = proved[unit]["assumes"]
        assert assumes["beats"] == machine[f"{unit}_beats"]
    assert proved["load"]["assumes"]["words"] == machine["words"]
    assert not proved["machine"]["assumes"]


@pytest.mark.parametrize(("unit", "machine"), [p for p in PROOFS if p[0] != "machine"])
def test_committed_proofs_are_of_this_rtl(unit: str, machine: str) -> None:
    """The oracle is the RTL with its rules; its texts are those of the page."""
    what = prove.task(unit, machine)
    assert stale(RESULTS["proofs"], what) == ""
    [entry] = [e for e in RESULTS["proofs"] if e["digest"] == what.digest]
    assert entry["rules"] == {name: rule.text for name, rule in what.rules.asserts.items()}
    assert entry["assumes"] == {name: rule.text for name, rule in what.rules.assumes.items()}


@pytest.mark.nightly
def test_everything_committed_is_of_this_rtl() -> None:
    """The oracle is the RTL, whole and broken."""
    entries = RESULTS["proofs"] + RESULTS["mutants"]
    assert [said for what in prove.tasks() if (said := stale(entries, what))] == []


def test_the_page_is_that_of_the_committed_results() -> None:
    """The oracle is the page."""
    assert page.render(RESULTS, QUICK) == PAGE.read_text(), "run make formal"
