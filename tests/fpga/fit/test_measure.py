"""Measurements are kept as long as what decides them stays; the oracle is a unit's netlist."""

from dataclasses import replace
from pathlib import Path

import pytest

from einchip.fpga.fit import measure
from einchip.fpga.fit.units import UNITS
from einchip.fpga.targets.boards import TARGETS
from einchip.fpga.targets.families import ECP5, ICE40

CASES = [measure.Case(family.title, "memory", measure.NARROW) for family in (ECP5, ICE40)]


@pytest.fixture
def synthesised(monkeypatch: pytest.MonkeyPatch) -> list[measure.Case]:
    """Put a Yosys in place that maps everything to five LUTs; return what it was given."""
    done: list[measure.Case] = []

    def synthesise(case: measure.Case, text: str, folder: Path) -> measure.Row:
        assert text == f"text of {case}"
        done.append(case)
        return measure.Row(case, measure.row_hash(case, text), {"LUT4": 5})

    monkeypatch.setattr(measure, "synthesise", synthesise)
    monkeypatch.setattr(measure, "design_text", lambda case: f"text of {case}")
    monkeypatch.setattr(measure, "TARGETS", {"ulx3s": TARGETS["ulx3s"]})
    monkeypatch.setattr(measure, "current", lambda target: f"of {target.name}")
    return done


def test_only_what_is_missing_or_stale_is_measured(
    tmp_path: Path, synthesised: list[measure.Case]
) -> None:
    path = tmp_path / "units.json"
    said: list[str] = []
    measure.measure(path, said.append, CASES)
    assert synthesised == CASES
    assert said[:2] == ["ECP5 2x2 memory", "iCE40 UltraPlus 2x2 memory"]
    measure.measure(path, said.append, CASES)
    assert synthesised == CASES
    first, second = measure.read(path)
    assert measure.boards(path) == {"ulx3s": "of ulx3s"}
    measure.write(path, [replace(first, hash="0" * 16), second], {})
    measure.measure(path, said.append, CASES)
    assert synthesised == [*CASES, CASES[0]]
    assert measure.read(path) == [first, second]


def test_another_netlist_or_synthesis_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [measure.Row(c, measure.row_hash(c, measure.design_text(c)), {}) for c in CASES]
    assert measure.stale(rows) == []
    assert rows[0].hash != rows[1].hash  # the same netlist, for another family
    other = {"memory": UNITS["load"]}
    monkeypatch.setattr("einchip.fpga.fit.units.UNITS", dict(UNITS) | other)
    assert measure.stale(rows) == CASES


def test_committed_measurements_are_those_that_are_asked_for() -> None:
    assert [row.case for row in measure.read()] == list(measure.CASES)


def test_a_row_counts_cells_as_its_family_does() -> None:
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_FF": 4, "MULT18X18D": 2, "DP16KD": 1, "PFUMX": 9}
    counted = measure.Row(CASES[0], "", cells).counted()
    assert counted == {"lut": 16, "ff": 4, "dsp": 2, "block_ram": 1}
