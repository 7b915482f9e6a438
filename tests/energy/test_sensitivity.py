"""What decides an energy: sums of shares, derivatives by hand, changes that no line hides."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from einchip import energy
from einchip.arch import PRESETS
from einchip.compiler import folder
from einchip.energy.sensitivity import Study, coefficients, scaled, study
from einchip.energy.table import Leakage
from einchip.registers import COUNTERS
from tests.cli.helpers import invoke, put_model, succeeded

SMALL = PRESETS["small"]  # scratchpads of 32 KiB
HOROWITZ = energy.load("horowitz45")


def counters(**given: int) -> dict[str, int]:
    return {c.name: given.get(c.name, 0) for c in COUNTERS}


def shares(found: Study) -> dict[str, float]:
    return {s.coefficient: s.share for s in found.sensitivities}


def leaking(table: energy.Table) -> energy.Table:
    leakage = Leakage(unit="mW", power=0.5, clock_mhz=200)
    return table.model_copy(update={"leakage": leakage})


@given(
    st.sampled_from(energy.tables()),
    st.sampled_from([a.override(data_bits=b) for a in PRESETS.values() for b in (8, 16)]),
    st.lists(st.integers(0, 10**6), min_size=len(COUNTERS), max_size=len(COUNTERS)),
)
def test_shares_of_all_coefficients_are_one(name: str, arch: Any, counts: list[int]) -> None:
    """Oracle: Euler's theorem, the energy doubles where all coefficients do."""
    run = dict(zip((c.name for c in COUNTERS), (n + 1 for n in counts), strict=True))
    found = study(run, arch, leaking(energy.load(name)))
    assert sum(shares(found).values()) == pytest.approx(1, abs=1e-6)
    order = [abs(s.share) for s in found.sensitivities]
    assert order == sorted(order, reverse=True)
    assert found.opinions[0] is found.energy
    assert len(found.opinions) == 1 + len(energy.tables())


def test_shares_of_sums_are_parts_of_them() -> None:
    """Oracle: by hand, 100 x (0.2 + 0.1) + 2 x 1300 pJ, which is linear in each coefficient."""
    found = study(counters(macs=100, dma_read_beats=2), SMALL, HOROWITZ)
    total = 100 * 0.3 + 2 * 1300
    by_hand = {"dram read": 2600 / total, "multiply 8 bit": 20 / total, "add 32 bit": 10 / total}
    assert shares(found) == pytest.approx(by_hand)
    for s in found.sensitivities:
        assert (s.half, s.double) == pytest.approx((1 - s.share / 2, 1 + s.share))
    lines = zip(found.energy.lines, found.decides, strict=True)
    said = {line.component: decides for line, decides in lines if decides}
    assert said == {"array": "multiply 8 bit, 67 %", "external memory": "dram read"}


def test_a_line_of_logarithms_is_not_linear_in_its_points() -> None:
    """Oracle: by hand, at 64 KiB between 32 KiB and 1 MiB, t = 1/5 of the way in the logarithm."""
    arch = SMALL.override(x_depth=8192)
    found = study(counters(x_reads=1000), arch, HOROWITZ)
    assert shares(found) == pytest.approx({"sram 32 KiB read": 0.8, "sram 1 MiB read": 0.2})
    first, second = found.sensitivities
    assert (first.half, first.double) == pytest.approx((0.5**0.8, 2**0.8))
    assert (second.half, second.double) == pytest.approx((0.5**0.2, 2**0.2))


def test_beyond_both_points_of_a_line_one_pulls_the_other_way() -> None:
    """Oracle: by hand, 48 bit on the line through 8 bit (0.03 pJ) and 32 bit (0.1 pJ)."""
    arch = SMALL.override(data_bits=16)
    assert arch.acc_bits == 48
    found = shares(study(counters(drained=10), arch, HOROWITZ))
    at_48 = 0.03 + 0.07 * 40 / 24
    expected = {"add 8 bit": 0.03 * (1 - 40 / 24) / at_48, "add 32 bit": 0.1 * 40 / 24 / at_48}
    assert found == pytest.approx(expected)


def test_leakage_has_a_share() -> None:
    """Oracle: by hand, 0.5 mW at 200 MHz is 2.5 pJ a cycle."""
    found = study(counters(cycles=4, dma_read_beats=1), SMALL, leaking(HOROWITZ))
    assert shares(found)["leakage"] == pytest.approx(10 / 1310)
    assert "leakage (the table has none)" not in " ".join(found.energy.notes())
    assert "leakage (the table has none)" in " ".join(found.opinions[1].notes())


@pytest.mark.parametrize("name", energy.tables())
def test_scaling_every_coefficient_scales_the_energy(name: str) -> None:
    """Oracle: the whole energy, times the factor."""
    ones = {c.name: 1 for c in COUNTERS}
    table = leaking(energy.load(name))
    tripled = table
    for c in coefficients(table):
        tripled = scaled(tripled, c, 3)
    assert tripled.origin("dram") == table.origin("dram")
    for arch in PRESETS.values():
        spent = [energy.energy(ones, arch, t).total_pj for t in (table, tripled)]
        assert spent[1] == pytest.approx(3 * spent[0])


def test_nothing_done_hangs_on_nothing() -> None:
    found = study(counters(), SMALL, HOROWITZ)
    assert found.sensitivities == ()
    assert set(found.decides) == {""}


def test_study_prints_and_writes_what_it_found() -> None:
    """Oracle: the energy of each table, the deciding coefficient of each line."""
    run = counters(macs=7, x_reads=3, dma_write_beats=1)
    found = study(run, SMALL, HOROWITZ)
    text = io.StringIO()
    Console(file=text, width=120).print(found)
    for part in (
        "decides",
        "45 nm, 0.9 V",
        "sram 32 KiB read",
        "dram write",
        "not modelled: clock",
    ):
        assert part in text.getvalue()
    content = json.loads(json.dumps(found.to_json()))
    totals = {e["table"]: e["total_pj"] for e in content["energy_by_table"]}
    expected = {n: energy.energy(run, SMALL, n).total_pj for n in energy.tables()}
    assert totals == pytest.approx(expected)
    origins = {e["table"]: (e["node_nm"], e["voltage_v"]) for e in content["energy_by_table"]}
    assert origins["horowitz45"] == (45, 0.9)
    assert content["sensitivity"][0]["coefficient"] == "dram write"


def test_simulate_says_what_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the energy of the printed counters by each table; shares that add up."""
    monkeypatch.chdir(tmp_path)
    put_model(tmp_path / "model.safetensors")
    succeeded(invoke("compile", "model.safetensors", "--arch", "nano", "--steps", 2, "-o", "made"))
    out = succeeded(invoke("simulate", "made", "--energy", "cacti45", "--json", "out.json"))
    content = json.loads((tmp_path / "out.json").read_text())
    assert sum(s["share"] for s in content["sensitivity"]) == pytest.approx(1)
    program = folder.read(tmp_path / "made").run
    for entry in content["energy_by_table"]:
        spent = energy.energy(content["counters"], PRESETS["nano"], entry["table"], program)
        assert entry["total_pj"] == pytest.approx(spent.total_pj)
        assert f"{spent.total_pj / 1000:,.3f}" in out
    assert {e["table"] for e in content["energy_by_table"]} == set(energy.tables())
    assert content["energy_by_table"][0]["table"] == content["energy_table"] == "cacti45"
    assert content["sensitivity"][0]["coefficient"] in " ".join(out.split())
    assert "decides" in out
