"""Switching activity against counters: the committed figures, their page, and the sums.

Oracles: the simulator's counters, the page, sums worked out by hand; at night the RTL itself.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from einchip.arch import PRESETS
from einchip.sim import simulate
from einchip.trace.activity import Activity, Row, compare, table
from einchip.trace.saif import Bit, SaifError
from einchip.verify.machine import RtlMachine
from tests.compiler.helpers import KINDS
from tests.test_docs import ROOT, row
from tests.trace import measure

COMMITTED: dict[str, Any] = json.loads(Path(__file__).with_name("activity.json").read_text())
MODELS: dict[str, Any] = COMMITTED["models"]
PAGE = (ROOT / "docs" / "traces.md").read_text()


def bits(place: str, net: str, *, high: int, changes: int, width: int = 1) -> list[Bit]:
    instance = ("TOP", "einchip_harness", "einchip_top", *filter(None, place.split("/")))
    return [Bit(instance, net, k, 10 * high, changes) for k in range(width)]


def test_committed_counters_agree_exactly_and_are_those_of_this_code() -> None:
    assert list(MODELS) == list(KINDS)
    for kind, model in MODELS.items():
        made = measure.case(kind, COMMITTED["machine"])
        run = simulate(made.run, made.arch, host=made.host, timeline=False)
        assert run.cycles == model["cycles"]
        exact = [r for r in model["rows"] if r["exact"]]
        assert len(exact) == 8
        for r in exact:
            n = sum(run.counters[name] for name in r["counter"].split(" + "))
            assert r["expected"] == r["found"] == n, (kind, r["what"])
        for r in model["rows"][len(exact) :]:
            n = run.counters[r["counter"]]
            assert r["expected"] == (n * r["bits"] / 2 if r["bits"] else n), (kind, r["what"])


def test_page_shows_the_committed_figures() -> None:
    for number, first in enumerate(MODELS[KINDS[0]]["rows"]):
        rows = [MODELS[kind]["rows"][number] for kind in KINDS]
        if first["exact"]:
            shown = [f"{r['found']:,.0f}" for r in rows]
        else:
            shown = [f"{r['error_percent']:+.1f} %" for r in rows]
        cells = row(PAGE, f"{first['component']}: {first['what']}")
        assert cells[: len(KINDS)] == shown, first["what"]
        if first["bits"]:
            assert cells[len(KINDS) :] == [f"{r['factor']:.2f}" for r in rows]


def test_what_the_page_says_of_the_figures_is_so() -> None:
    rows = {kind: {r["what"]: r for r in m["rows"]} for kind, m in MODELS.items()}
    mpo = (rows["mpo"][f"{what} bits changed"]["error_percent"] for what in ("operand", "product"))
    assert max(map(abs, mpo)) < 6
    assert "the estimate is right to 6 %" in PAGE
    read = [
        r["error_percent"] for m in MODELS.values() for r in m["rows"] if "read ch" in r["what"]
    ]
    assert len(read) == 6
    assert max(map(abs, read)) < 10
    assert "changes like random bits, to 10 %" in PAGE
    busy = rows["dense"]["PEs that multiply"]
    share = 100 * busy["expected"] / busy["found"]
    assert f"A dense matrix times one vector uses {share:.1f} %" in " ".join(PAGE.split())


def test_nets_are_summed_by_place_and_name() -> None:
    found = Activity(
        [
            *bits("array/array/pe_0_0", "valid", high=3, changes=2),
            *bits("array/array/pe_0_1$7", "valid", high=4, changes=1),
            *bits("array/drain", "drained", high=5, changes=6, width=3),
        ]
    )
    pe = found.total(r"array/array/pe_\d+_\d+", "valid")
    assert (pe.high, pe.changes) == (7, 3)
    assert found.total("array/drain", "drained").value == 5 * (1 + 2 + 4)
    with pytest.raises(SaifError, match="no net drained in array"):
        found.total("array", "drained")


def test_errors_and_factors_are_those_of_the_definitions() -> None:
    row_of_changes = Row("X", "bits read changed", "x_reads", 400, 500, bits=8)
    assert row_of_changes.error_percent == -20
    assert row_of_changes.factor == 500 / (100 * 8)
    assert Row("array", "slots", "array_issue", 0, 0, exact=True).error_percent == 0
    assert Row("array", "slots", "array_issue", 4, 0).error_percent == float("inf")
    assert table([row_of_changes]).row_count == 1


def test_a_machine_without_the_nets_is_an_error() -> None:
    with pytest.raises(SaifError, match="no net issue in array/iterations"):
        compare(Activity(bits("", "irq", high=1, changes=1)), {"array_issue": 1}, PRESETS["pico"])


@pytest.mark.nightly
@pytest.mark.parametrize("preset", ["pico", "small"])
def test_the_rtl_agrees_with_its_counters(preset: str, native_cache: Path) -> None:
    made = measure.case("mpo", preset, 1)
    machine = RtlMachine.build(made.arch, native_cache, "saif")
    for r in measure.measured(made, machine)["rows"]:
        assert not r["exact"] or r["expected"] == r["found"], r["what"]
