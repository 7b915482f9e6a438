"""`einchip build`, with tools that only write what theirs would."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from einchip.arch import PRESETS
from einchip.fpga import targets
from tests.cli.helpers import invoke, put_data, put_model, refused, succeeded, use_width
from tests.fpga.targets.tools import fake_tools


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which each test runs, with a model and its data."""
    monkeypatch.chdir(tmp_path)
    use_width(monkeypatch, 80)
    put_model(tmp_path / "model.safetensors")
    put_data(tmp_path / "data.npz")
    return tmp_path


def test_a_board_gets_its_bitstream_and_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tools(monkeypatch, 55.5)
    board = targets.find("ulx3s")
    out = succeeded(invoke("build", "model.safetensors", "--target", "ulx3s", "-o", "out"))
    assert "reached 55.5 MHz" in out
    assert f"serial:PORT@{board.baud}" in out
    report = json.loads(Path("out/report.json").read_text())
    assert (report["target"], report["arch"], report["reached_mhz"]) == ("ulx3s", "nano", 55.5)
    assert Path("out/top.bit").exists()


def test_another_link_may_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is that of the highest frequency: an eighth of 37.5 MHz."""
    fake_tools(monkeypatch, 55.5)
    out = succeeded(invoke("build", "-t", "colorlight-i5", "-o", "out", "--link", "spi"))
    assert "spi:/dev/spidevB.C@4687500" in out
    assert json.loads(Path("out/report.json").read_text())["link"] == "spi"


def test_another_machine_may_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tools(monkeypatch, 55.5)
    succeeded(invoke("build", "-t", "ulx3s", "-o", "out", "--arch", "pico", "--set", "cells=lstm"))
    report = json.loads(Path("out/report.json").read_text())
    assert report["arch"] == "pico"
    asked = PRESETS["pico"].override(cells="lstm")
    assert report["config_hash"] == f"{asked.config_hash:#010x}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "ulx3", "-o", "out"), "did you mean ulx3s?"),
        (("--target", "ulx3s", "-o", "data.npz"), "found a file, expected a folder"),
        (("--target", "ulx3s", "-o", "out", "--arch", "smal"), "smal"),
        (("--target", "ulx3s", "-o", "out", "--link", "usb"), "expected uart or spi"),
        (("none.safetensors", "--target", "ulx3s", "-o", "out"), "none.safetensors"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], message: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tools(monkeypatch, 55.5)
    assert message in refused(here, "build", *arguments)


def test_a_missed_clock_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tools(monkeypatch, 10.0)
    result = invoke("build", "-t", "colorlight-i5", "-o", "out")
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert "found 10 MHz" in line
    assert not Path("out").exists()


def test_a_machine_that_does_not_fit_its_part_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tools(monkeypatch, 55.5, {"SB_LUT4": 15_900})
    result = invoke("build", "-t", "icebreaker", "-o", "out")
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert "found 15,900 LUTs of 5,280" in line
    assert "choose a smaller machine (--arch, --set)" in line
    assert not Path("out").exists()


def test_every_family_has_its_own_bitstream(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tools(monkeypatch, 55.5)
    for name, bitstream in (("icebreaker", "top.bin"), ("tang-primer-20k", "top.fs")):
        assert bitstream in succeeded(invoke("build", "-t", name, "-o", name))
        assert Path(name, bitstream).exists()


def test_a_model_that_does_not_fit_says_by_how_much(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = fake_tools(monkeypatch, 55.5)
    small = replace(targets.find("ulx3s"), memory_bytes=4096)
    monkeypatch.setitem(targets.TARGETS, "ulx3s", small)
    error = refused(here, "build", "model.safetensors", "-t", "ulx3s", "-o", "out")
    assert "expected at most the 4,096 of ulx3s" in error
    assert not ran


def test_missing_tools_are_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    line = refused(here, "build", "-t", "ulx3s", "-o", "out")
    assert "install einchip[fpga]" in line
