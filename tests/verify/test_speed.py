"""The committed speeds: what the page shows of them, and what of them is the same everywhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from einchip.sim import simulate
from tests.test_docs import ROOT, row
from tests.verify import speed

PAGE = (ROOT / "docs" / "verification.md").read_text()
COMMITTED: dict[str, Any] = json.loads(Path(__file__).with_name("speed.json").read_text())


def test_page_shows_the_committed_speeds() -> None:
    rtl = COMMITTED["rtl"].values()
    assert row(PAGE, "a compressed LSTM on") == list(COMMITTED["rtl"])
    assert row(PAGE, "RTL, thousand cycles/s") == [
        f"{r['cycles_per_second'] / 1e3:,.0f}" for r in rtl
    ]
    assert row(PAGE, "simulator, thousand cycles/s") == [
        f"{r['simulator_cycles_per_second'] / 1e3:,.0f}" for r in rtl
    ]
    for name, found in COMMITTED["values"].items():
        assert row(PAGE, name) == [f"{found['steps']}", f"{found['cycles']:,}", f"{found['ratio']}"]
    found = COMMITTED["cycles"]
    assert f"{found['steps']:,} steps of UCF11 on base, {found['cycles']:,} cycles, in" in PAGE
    assert f"{found['seconds']} s, {found['times_faster']} times faster" in PAGE


def test_committed_speeds_are_what_was_promised() -> None:
    assert COMMITTED["rtl"]["nano"]["cycles_per_second"] >= 300_000
    assert all(found["ratio"] <= 3 for found in COMMITTED["values"].values())
    assert COMMITTED["cycles"]["seconds"] < 2


@pytest.mark.parametrize("name", COMMITTED["rtl"])
def test_committed_cycles_are_those_of_this_code(name: str) -> None:
    starts, compiled, _ = speed.starts(name)
    cycles = sum(speed.simulated(starts, compiled.arch))
    assert cycles == COMMITTED["rtl"][name]["cycles"]
    host = starts[-1].host
    run = simulate(compiled.programs.run, compiled.arch, host=host, timeline=False)
    assert run.cycles == COMMITTED["values"][f"japanese-vowels-mpo, {name}"]["cycles"]
