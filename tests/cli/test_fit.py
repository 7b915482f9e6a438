"""`einchip fit`, on the committed measurements."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from einchip.arch import PRESETS
from einchip.fpga import targets
from einchip.fpga.fit import measure
from einchip.fpga.fit.model import committed
from einchip.fpga.fit.units import Design
from einchip.fpga.host_link.memory import LATENCY
from einchip.fpga.targets import page
from tests.cli.helpers import invoke, put_data, put_model, refused, succeeded, use_width


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which each test runs, with a model and its data."""
    monkeypatch.chdir(tmp_path)
    use_width(monkeypatch, 200)
    put_model(tmp_path / "model.safetensors")
    put_data(tmp_path / "data.npz")
    return tmp_path


def figures(*arguments: object) -> dict[str, Any]:
    """Run the command, and return its figures."""
    succeeded(invoke("fit", *arguments, "--json", "figures.json"))
    content: dict[str, Any] = json.loads(Path("figures.json").read_text())
    return content


def has(monkeypatch: pytest.MonkeyPatch, name: str, **resources: int) -> None:
    """Give a board's part other resources."""
    board = targets.find(name)
    part = replace(board.part, has=dict(board.part.has) | resources)
    monkeypatch.setitem(targets.TARGETS, name, replace(board, part=part))


def test_the_boards_machine_and_the_largest_are_estimated() -> None:
    content = figures("--target", "ulx3s")
    board = targets.find("ulx3s")
    own, largest = content["machines"]
    assert own["arch"] == PRESETS[board.arch].model_dump(mode="json")
    assert largest["lacking"] == []
    assert largest["arch"]["rows"] * largest["arch"]["cols"] >= own["arch"]["rows"] ** 2
    nano = Design(PRESETS[board.arch], board.memory_bytes)
    estimate = committed().estimate(nano, board.part)
    assert own["used"] == estimate.used
    assert own["has"] == board.part.has
    assert own["models"] == largest["models"] == []
    assert set(own["units"]) >= {"array", "vector", "memory", "link"}


def test_the_table_says_used_available_share_and_error() -> None:
    out = succeeded(invoke("fit", "-t", "ulx3s", "--arch", "nano"))
    board = targets.find("ulx3s")
    estimate = committed().estimate(Design(PRESETS["nano"], board.memory_bytes), board.part)
    error = committed().error(estimate, "lut")
    used, there = estimate.used, board.part.has
    share = used["lut"] / there["lut"]
    assert f"{used['lut']:,} ± {error:.0%} of {there['lut']:,} ({share:.0%})" in out
    for kind in ("dsp", "block_ram"):
        assert f" {used[kind]} of {there[kind]} " in out
    assert "the largest" not in out


@pytest.mark.parametrize("same", [True, False])
def test_the_clock_of_the_committed_build_is_shown(
    same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_hash = f"{PRESETS['nano'].config_hash:#010x}" if same else "0x00000000"
    built = replace(page.results()["ulx3s"], config_hash=config_hash, reached_mhz=33.3)
    monkeypatch.setattr(page, "results", lambda: {"ulx3s": built})
    out = succeeded(invoke("fit", "-t", "ulx3s", "--arch", "nano"))
    text = f"37.5 MHz; {'' if same else 'nano '}reaches 33.3 MHz"
    assert f"{text} " in out
    for rtl_hash, said in ((built.rtl_hash, False), ("", True)):
        monkeypatch.setattr(measure, "boards", lambda h=rtl_hash: {"ulx3s": h})
        out = succeeded(invoke("fit", "-t", "ulx3s", "--arch", "nano"))
        assert (f"{text} (of another RTL)" in out) == said
    monkeypatch.setattr(page, "results", dict)
    out = succeeded(invoke("fit", "-t", "ulx3s", "--arch", "nano"))
    assert "reaches" not in out
    assert "No board was built of the RTL that was measured" in out


def test_errors_against_builds_of_the_same_rtl_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    built = page.results()["ulx3s"]
    monkeypatch.setattr(measure, "boards", lambda: {"ulx3s": built.rtl_hash})
    content = figures("-t", "ulx3s")
    error = content["errors_of_builds"]["ulx3s"]["lut"]
    own = content["machines"][0]["used"]["lut"]
    assert error == pytest.approx(own / built.resources["lut"][0] - 1)
    assert f"LUTs {error:+.0%} ulx3s" in succeeded(invoke("fit", "-t", "ulx3s"))


def test_a_field_may_be_changed() -> None:
    [machine] = figures("-t", "ulx3s", "--arch", "nano", "--set", "x_depth=4096")["machines"]
    assert machine["arch"]["x_depth"] == 4096
    [plain] = figures("-t", "ulx3s", "--arch", "nano")["machines"]
    # four banks of 4 KiB, not of 2
    assert machine["used"]["block_ram"] == plain["used"]["block_ram"] + 4


def test_fewer_cells_take_less() -> None:
    """A lane for LSTM alone multiplies in 3 places, with every cell in 5."""
    chosen = ("-t", "ulx3s", "--arch", "nano")
    [plain] = figures(*chosen)["machines"]
    [lstm] = figures(*chosen, "--set", "cells=lstm")["machines"]
    assert plain["used"]["dsp"] - lstm["used"]["dsp"] == 2 * PRESETS["nano"].lanes
    assert lstm["used"]["lut"] < 0.95 * plain["used"]["lut"]
    assert lstm["used"]["ff"] < 0.97 * plain["used"]["ff"]
    assert "cells lstm" in succeeded(invoke("fit", *chosen, "--set", "cells=lstm"))
    assert "cells" not in succeeded(invoke("fit", *chosen))


def test_a_model_gets_its_time_at_the_boards_clock() -> None:
    content = figures("model.safetensors", "-t", "ulx3s", "--arch", "nano")
    [machine] = content["machines"]
    [timed] = machine["models"]
    assert timed["n_steps"] == 3  # of the first test sequence
    assert content["clock_hz"] == targets.find("ulx3s").clock_hz
    assert timed["microseconds"] == pytest.approx(timed["cycles"] / content["clock_hz"] * 1e6)
    assert timed["inferences_per_second"] == pytest.approx(1e6 / timed["microseconds"])
    succeeded(invoke("compile", "model.safetensors", "--arch", "nano", "-o", "out", "--steps", 3))
    arguments = ("--latency", LATENCY[2], "--json", "timed.json")
    succeeded(invoke("simulate", "out", *arguments))
    simulated = json.loads(Path("timed.json").read_text())["sequences"][0]
    assert simulated["cycles"] == timed["cycles"]


def test_what_does_not_fit_is_one_line_with_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    board = targets.find("ulx3s")
    needed = committed().estimate(Design(PRESETS["nano"], board.memory_bytes), board.part)
    has(monkeypatch, "ulx3s", dsp=needed.used["dsp"] - 1)
    result = invoke("fit", "-t", "ulx3s", "--arch", "nano")
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    dsp = needed.used["dsp"]
    assert f"ulx3s: found {dsp} DSP blocks of {dsp - 1} in nano" in line
    assert f"expected at most {dsp - 1} to fit LFE5U-85F" in line
    assert line.endswith("rows 4 to 2 would")  # 28 blocks; half the lanes would be 14


def test_what_is_far_too_large_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, "ulx3s", lut=1000)
    result = invoke("fit", "-t", "ulx3s")
    assert result.exit_code == 1
    assert "the largest" not in result.stdout
    [line] = result.stderr.splitlines()
    assert "expected at most 850 to fit" in line
    assert "choose another board" in line


def test_a_model_that_the_board_has_no_memory_for_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(targets.find("ulx3s"), memory_bytes=4096)
    monkeypatch.setitem(targets.TARGETS, "ulx3s", small)
    line = refused(here, "fit", "model.safetensors", "-t", "ulx3s", "--arch", "nano")
    assert "expected at most the 4,096 of ulx3s" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-t", "ulx3"), "did you mean ulx3s?"),
        (("-t", "ulx3s", "--arch", "smal"), "smal"),
        (("-t", "ulx3s", "--set", "rows=3"), "power of two"),
        (("-t", "ulx3s", "none.safetensors"), "none.safetensors"),
        (("-t", "ulx3s", "--json", "none/figures.json"), "cannot write"),
        (
            ("-t", "ulx3s", "model.safetensors", "--set", "x_depth=16", "--set", "y_depth=16"),
            "expected",
        ),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str, here: Path) -> None:
    assert message in refused(here, "fit", *arguments)
