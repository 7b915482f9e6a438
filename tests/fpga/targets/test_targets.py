"""fpga.targets: PLLs, boards, the flow with tools that only write what theirs would."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from einchip.arch import PRESETS
from einchip.fpga.targets import TARGETS, TargetError, build, find, flow, page
from einchip.fpga.targets.pll import DETECTOR_HZ, MAX_DIVIDER, VCO_HZ, ecp5_dividers
from tests.fpga.targets.tools import fake_tools

NANO = PRESETS["nano"]
BOARDS = pytest.mark.parametrize("name", TARGETS)


@pytest.mark.parametrize("input_mhz", [12, 25, 48, 100])
@pytest.mark.parametrize("output_mhz", [12.5, 24, 37.5, 50, 62.5, 100, 133])
def test_dividers_keep_to_the_limits_of_the_part(input_mhz: float, output_mhz: float) -> None:
    try:
        d = ecp5_dividers(input_mhz * 1e6, output_mhz * 1e6)
    except ValueError:
        assert not any(  # by brute force
            abs(input_mhz / a * b - output_mhz) < 1e-6 and input_mhz / a >= DETECTOR_HZ[0] / 1e6
            for a in range(1, MAX_DIVIDER + 1)
            for b in range(1, MAX_DIVIDER + 1)
        )
        return
    detector = input_mhz * 1e6 / d.reference
    assert detector * d.feedback == pytest.approx(output_mhz * 1e6)
    assert DETECTOR_HZ[0] <= detector <= DETECTOR_HZ[1]
    assert VCO_HZ[0] <= output_mhz * 1e6 * d.output <= VCO_HZ[1]
    assert all(1 <= n <= MAX_DIVIDER for n in d)


def test_a_clock_without_dividers_is_refused() -> None:
    with pytest.raises(ValueError, match="choose another clock"):
        ecp5_dividers(25e6, 40.123e6)


def test_an_unknown_board_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(TargetError, match="did you mean ulx3s"):
        find("ulx3")
    with pytest.raises(TargetError, match="choose one of"):
        find("zzz")


@BOARDS
def test_a_boards_line_and_clock_are_possible(name: str) -> None:
    target = TARGETS[name]
    assert target.clock_hz / target.cycles == pytest.approx(target.baud, rel=0.01)
    assert not target.memory_bytes % PRESETS[target.arch].port_bytes


def test_a_build_is_kept_and_copied_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, ran = find("ulx3s"), fake_tools(monkeypatch, 99.0)
    said = list[str]()
    made = build(target, NANO, tmp_path / "a", cache=tmp_path / "kept", progress=said.append)
    assert said == ["writing the design", "synthesis", "place and route", "bitstream"]
    assert len(ran) == 3
    assert made.resources["lut"] == (10, 100)
    assert (made.clock_mhz, made.reached_mhz) == (target.clock_hz / 1e6, 99.0)
    assert made.path == ("system.machine.a", "system.machine.b")
    assert made.config_hash == f"{NANO.config_hash:#010x}"
    again = build(target, NANO, tmp_path / "b", cache=tmp_path / "kept")
    assert again == made
    assert len(ran) == 3
    for name in ("top.bit", "report.json", "top.il", "top.lpf"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    slower = replace(target, nextpnr=(*target.nextpnr, "--seed", "2"))
    build(slower, NANO, tmp_path / "c", cache=tmp_path / "kept")
    assert len(ran) == 6


def test_a_missed_clock_is_an_error_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(monkeypatch, 20.0)
    with pytest.raises(TargetError, match=r"found 20 MHz, expected at least .*system\.machine\.a"):
        build(find("ulx3s"), NANO, tmp_path / "out", cache=tmp_path / "kept")
    assert not (tmp_path / "out").exists()


@BOARDS
def test_the_design_has_clock_line_and_pins(name: str) -> None:
    pytest.importorskip("amaranth_boards", reason="needs pins: einchip[fpga]")
    target = TARGETS[name]
    files = flow.plan(target, PRESETS[target.arch])
    assert "EHXPLLL" in files["top.il"]
    assert files["top.lpf"].count("LOCATE COMP") >= 4
    assert "src" not in {line.split()[1][1:] for line in files["top.il"].splitlines()
                         if line.strip().startswith("attribute")}  # fmt: skip
    assert flow.design_hash(files, target) == flow.design_hash(dict(files), target)


def test_the_page_is_that_of_the_results_and_says_what_is_stale() -> None:
    results: dict[str, Any] = page.results()
    hashes = {name: page.current(target) for name, target in TARGETS.items()}
    docs = Path(__file__).parents[3] / "docs" / "boards.md"
    assert page.page(results, hashes) == docs.read_text()
    stale = {name for name, built in results.items() if built.rtl_hash != hashes[name]}
    assert page.page(results, hashes).count("**stale") == len(stale)
    assert page.page(results, dict.fromkeys(hashes, "other")).count("**stale") == len(results)
