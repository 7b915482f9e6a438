"""The page of clocks: printed from the committed figures, the ends of a path as in the Verilog."""

import json
from pathlib import Path

import pytest

from einchip.arch import PRESETS
from einchip.fpga import clock
from einchip.fpga.place import Timing

BENCH = Path(__file__).parents[2] / "bench"


def test_the_page_is_printed_from_the_committed_figures() -> None:
    results = json.loads((BENCH / "clock.json").read_text())
    assert (BENCH / "clock.md").read_text() == clock.page(results)


def test_cells_are_named_after_their_signals() -> None:
    path = (
        "design.reads.nest.index_0_TRELLIS_FF_Q_3",
        "design.reads.nest.index_0_LUT4_A_Z_PFUMX_C0",
        "design.reads.nest.index_0_LUT4_B",
        "issue$12_LUT4_Z_1",
        "sampled_TRELLIS_FF_Q_DI_CCU2C_S0",
    )
    assert clock.components(path) == ["reads.nest.index_0", "issue", "sampled"]


def test_what_is_not_asked_for_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def place(design: str, folder: Path) -> Timing:
        assert (design, folder.name) in {(f"{u} of nano", f"nano_{u}") for u in units}
        return Timing(50.0, ("a_LUT4_Z", "b_TRELLIS_FF_Q"), {"MULT18X18D": (3, 156)})

    units = {unit: (lambda arch, unit=unit: f"{unit} of {arch.name}") for unit in clock.UNITS}
    monkeypatch.setattr(clock, "UNITS", units)
    monkeypatch.setattr(clock, "place", place)
    path = tmp_path / "clock.json"
    clock.main(path, PRESETS["nano"], ["sequencer"])
    clock.main(path, PRESETS["nano"], ["control"])
    rows = json.loads(path.read_text())
    assert [row["unit"] for row in rows] == ["control", "sequencer"]
    line = "| nano | sequencer | 50.0 | 0 | 0 | 3 | 0 | `a` to `b`, 2 cells |"
    assert line in path.with_suffix(".md").read_text()
