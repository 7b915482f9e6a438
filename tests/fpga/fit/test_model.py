"""The model, against what was measured, made-up figures that are linear, and boards' builds."""

from dataclasses import replace

import numpy as np
import pytest

from einchip.arch import PRESETS
from einchip.fpga.fit import features, measure, model, page
from einchip.fpga.fit.units import SYSTEM, UNITS, Design, units_of
from einchip.fpga.targets.boards import TARGETS
from einchip.fpga.targets.families import ECP5
from einchip.fpga.targets.page import results
from tests.cli.helpers import ROOT
from tests.hw.machine import n_products

ROWS = measure.read()
MODEL = model.committed()
WHOLE = page.compared(MODEL, results(), measure.boards())
#: Of a unit that was left out: the mean and the largest error that are allowed; of a whole board.
MEAN, LARGEST, WHOLE_ERROR = 0.08, 0.2, 0.1


@pytest.mark.parametrize("kind", model.FITTED)
@pytest.mark.parametrize("unit", UNITS)
def test_more_of_anything_is_never_less_of_cells(unit: str, kind: str) -> None:
    assert all(c >= 0 for c in MODEL.fits[unit, kind].coefficients)


@pytest.mark.parametrize("kind", model.FITTED)
@pytest.mark.parametrize("unit", UNITS)
def test_units_that_were_left_out_are_estimated(unit: str, kind: str) -> None:
    errors = MODEL.fits[unit, kind].errors
    assert errors.n >= 2
    assert errors.mean <= MEAN
    assert errors.worst <= LARGEST


def test_figures_that_are_linear_are_found_exactly() -> None:
    rng = np.random.default_rng(1)
    chosen = {unit: rng.integers(1, 9, 8) for unit in UNITS}
    chosen["scratchpad_y"] = chosen["scratchpad_x"]
    rows = []
    for row in ROWS:
        case = row.case
        units = units_of(case.design.arch) if case.unit == SYSTEM else (case.unit,)
        lut = sum(
            sum(
                t.of(case.design) * c
                for t, c in zip(features.TERMS[u]["lut"], chosen[u], strict=False)
            )
            for u in units
        )
        if case.family == ECP5.title:
            cells = dict(row.cells) | {"CCU2C": 0, "TRELLIS_DPR16X4": 0, "LUT4": int(lut)}
            rows.append(replace(row, cells=cells))
    made = model.Model(rows)
    for unit in UNITS:
        fit = made.fits[unit, "lut"]
        assert fit.coefficients == pytest.approx(chosen[unit][: len(fit.coefficients)])
        assert fit.errors.worst < 1e-9
    assert made.together["lut"] == pytest.approx(1)


def test_too_few_measurements_are_refused() -> None:
    few = [r for r in ROWS if r.case.unit != "array" or r.case.design == measure.NARROW]
    with pytest.raises(ValueError, match="array: found 1 measurements, expected more"):
        model.Model(few)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.case))
def test_dsp_blocks_are_counted_exactly(row: measure.Row) -> None:
    case = row.case
    family = measure.FAMILIES[case.family]
    units = units_of(case.design.arch) if case.unit == SYSTEM else (case.unit,)
    figures = [MODEL.unit(unit, case.design, family) for unit in units]
    assert sum(f["dsp"] for f in figures) == row.counted()["dsp"]
    if case.family == ECP5.title and case.unit in (SYSTEM, "array", "vector"):
        blocks = n_products(case.design.arch)
        assert row.counted()["dsp"] == sum(blocks.get(unit, 0) for unit in units)


@pytest.mark.parametrize("name", TARGETS)
def test_machines_that_were_measured_are_estimated_on_every_family(name: str) -> None:
    part = TARGETS[name].part
    estimate = MODEL.estimate(measure.NARROW, part)
    measured = [
        r.counted()
        for r in ROWS
        if r.case.family == part.family.title
        and r.case.design == measure.NARROW
        and r.case.unit != SYSTEM
    ]
    for kind in part.family.kinds:
        total = sum(counted[kind] for counted in measured)
        if kind in model.FITTED:
            expected = total * MODEL.together[kind]
            assert estimate.used[kind] == pytest.approx(expected, rel=MODEL.error(estimate, kind))
        else:
            assert estimate.used[kind] == total


def test_whole_boards_are_estimated() -> None:
    for row in WHOLE:
        for kind in row.built.resources:
            allowed = WHOLE_ERROR if kind in model.FITTED else 0
            assert abs(row.error(kind)) <= allowed, (row.target, kind)


def test_only_builds_of_the_rtl_that_was_measured_are_compared() -> None:
    builds = results()
    same = {name: built.rtl_hash for name, built in builds.items()}
    assert [row.target for row in page.compared(MODEL, builds, same)] == list(builds)
    assert page.compared(MODEL, builds, dict.fromkeys(builds, "")) == []
    [row, *_] = page.compared(MODEL, builds, same)
    used = row.built.resources["lut"][0]
    assert row.error("lut") == pytest.approx(row.estimated["lut"] / used - 1)
    assert f"LUTs {row.error('lut'):+.0%} {row.target}" in page.accuracy([row])
    assert f"| {row.estimated['lut']:,} | {used:,} |" in page.page(MODEL, [row], [])


def test_larger_machines_than_measured_are_said_to_be_so() -> None:
    assert MODEL.beyond(Design(PRESETS["small"], 4096)) == []
    assert MODEL.beyond(Design(PRESETS["base"], 4096)) == ["PEs"]


def test_the_page_is_current() -> None:
    committed = (ROOT / "docs" / "fit.md").read_text()
    figures = committed.split(f"\n{page.STALE}: ")[0].rstrip()
    assert figures == page.page(MODEL, WHOLE, []).rstrip()


def test_the_page_says_what_is_stale() -> None:
    old = [row.case for row in ROWS if row.case.unit == "tokens"]
    assert f"{page.STALE}: {len(old)} measurements" in page.page(MODEL, WHOLE, old)


@pytest.mark.parametrize("name", TARGETS)
def test_a_board_has_room_for_its_machine(name: str) -> None:
    target = TARGETS[name]
    design = Design(PRESETS[target.arch], target.memory_bytes)
    assert MODEL.estimate(design, target.part).lacking == ()


@pytest.mark.parametrize("name", ["icebreaker", "tang-primer-20k"])
def test_what_gets_a_serial_machine_has_room_for_no_other(name: str) -> None:
    target = TARGETS[name]
    design = Design(PRESETS["pico"], target.memory_bytes)
    assert MODEL.estimate(design, target.part).lacking
