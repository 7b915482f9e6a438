"""What folds cost: the page and the figures that it is printed from."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from einchip.arch import PRESETS, Architecture
from einchip.workloads import folds

BENCH: Final = Path(__file__).parents[2] / "bench"
RESULTS: Final = json.loads((BENCH / "folds.json").read_text())
ROWS: Final = {row["name"]: row for row in RESULTS["rows"]}


def test_the_page_is_printed_from_the_committed_figures() -> None:
    assert (BENCH / "folds.md").read_text() == folds.page(RESULTS)


def test_the_committed_figures_have_every_machine() -> None:
    assert list(ROWS) == list(folds.machines())


@pytest.mark.parametrize("arch", folds.machines().values(), ids=lambda a: a.name)
def test_committed_logic_has_one_multiplier_per_pe(arch: Architecture) -> None:
    """Beside them are those of the vector unit's lanes."""
    row, n = ROWS[arch.name], arch.n_pes
    for part, dsp in (("array", n), ("scratchpad", 0), ("machine", n + 5 * arch.lanes)):
        assert {r["dsp"] for r in row.get(part, {}).values()} <= {dsp}


def test_what_is_not_asked_for_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cycles(arch: Architecture, jobs: int) -> dict[str, Any]:
        figures = {"matrix": 100.0 * arch.lanes + len(arch.fold)}
        return {"workloads": 1, "cycles": figures, "within_110": 0, "geometric_mean": 1.25}

    def logic(arch: Architecture, part: str, family: str) -> dict[str, Any]:
        return dict.fromkeys(folds._FIGURES.values(), arch.lanes)

    monkeypatch.setattr(folds, "cycles", cycles)
    monkeypatch.setattr(folds, "logic", logic)
    path = tmp_path / "folds.json"
    folds.main(path, ["cycles"])
    assert "array unit" not in path.with_suffix(".md").read_text()
    folds.main(path, ["array-ecp5"])
    rows = json.loads(path.read_text())["rows"]
    assert [row["cycles"]["cycles"]["matrix"] for row in rows[:2]] == [802, 802]
    assert rows[7]["array"]["ecp5"]["lut"] == 16
    text = path.with_suffix(".md").read_text()
    assert "| 16x16 flex | 1,604 | 1.25 | 0 of 1 |" in text
    assert "| 16x16 flex | 16 |" in text
    assert "| 16x16 flex, 64 lanes | 64 |" in text
    assert "whole machine" not in text


def test_machines_differ_in_the_fold_alone() -> None:
    def rest(arch: Architecture) -> dict[str, Any]:
        return {
            k: v for k, v in arch.model_dump().items() if k not in ("name", "fold", "accumulators")
        }

    for size in folds.SIZES:
        machines = [folds.machine(size, size, size, fold) for fold in folds.FOLDS]
        assert all(rest(machine) == rest(machines[0]) for machine in machines)
        assert machines[0].lanes == size


def test_machines_have_the_memory_and_the_multipliers_of_base() -> None:
    base = PRESETS["base"]
    for arch in folds.machines().values():
        assert [arch.capacity(s) for s in (0, 1)] == [base.capacity(s) for s in (0, 1)]
        assert arch.lanes * arch.window(1) == base.lanes * base.window(1)
    for shape in folds.SHAPES:
        assert folds.machine(*shape, "flex").n_pes == base.n_pes
