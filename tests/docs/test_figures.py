"""Figures of the explanation pages; oracles: the committed results, the code."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import pytest

from einchip.arch import PRESETS
from einchip.mapper import large, tree
from einchip.program import Contract, Halt, Program
from einchip.sim import simulate
from tests.docs import figures, waves
from tests.docs.pages import ROOT
from tests.system.machines import MACHINES

DOCS: Final = ROOT / "docs"
SLOW: Final = (DOCS / "why-compressed-is-slow.md").read_text()
OPTIMALITY: Final = (DOCS / "optimality.md").read_text()
EQUALITY: Final = (DOCS / "equality.md").read_text()


@pytest.mark.parametrize("name", figures.TABLES)
def test_a_table_is_that_of_the_committed_results(name: str) -> None:
    shown = re.search(rf"<!-- {name}: begin -->\n(.*?)\n<!-- {name}: end -->", SLOW, re.S)
    assert shown
    assert shown[1] == figures.TABLES[name](), "stale: python -m tests.docs.figures"


def test_cycles_of_ucf11_by_order_are_those_of_the_comparison() -> None:
    rows = {r["key"]: r for r in figures.compared()[0]["rows"]}
    dense, cores, best = rows["dense-streamed"], rows["ours-cores"], rows["ours"]
    text = " ".join(SLOW.split())
    assert f"replaces {dense['macs']:,} multiply-adds" in text
    assert f"it takes {cores['macs']:,} and {cores['steady_cycles']:,} cycles" in text
    assert f"in the best order {best['macs']:,} and {best['steady_cycles']:,}." in text


def test_overhead_between_dependent_steps_is_that_of_the_machine() -> None:
    """Oracle: the simulator, on a CONTRACT that waits for one of two rows."""
    first = replace(waves.CONTRACT, signal=1)
    program = Program((first, replace(waves.CONTRACT, wait=1), Halt()))
    writer, reader = simulate(program, PRESETS["base"]).timeline
    last_product = writer.launch + first.tile_iterations
    shown = re.search(r"(\d+) cycles pass", SLOW)
    assert shown
    assert reader.launch + 1 - last_product == int(shown[1]) + first.tile_rows - 1
    assert "ten cycles at least" in SLOW
    assert Contract.WORDS + 2 == 10


def test_limits_of_the_search_are_those_of_the_code() -> None:
    assert f"times {tree.MARGIN:g} is kept" in " ".join(OPTIMALITY.split())
    assert f"More than {large.EXACT} tensors" in OPTIMALITY
    assert f"{large.PAIRS:,} pairs" in OPTIMALITY


def test_machines_are_counted() -> None:
    assert f"each of {len(MACHINES)} machines" in EQUALITY
