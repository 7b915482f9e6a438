"""The page and the figures that it is printed from."""

import json
from pathlib import Path
from typing import Final

import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.workloads import measure, published
from einchip.workloads.page import page

DOCS: Final = Path(__file__).parents[2] / "docs"
ROWS: Final = json.loads((DOCS / "workloads.json").read_text())
MATRICES: Final = [m for e in published() for m in e.matrices]
#: Every how manieth is measured anew on every change.
STRIDE: Final = 9


def test_the_page_is_printed_from_the_committed_figures() -> None:
    assert (DOCS / "workloads.md").read_text() == page(ROWS)


def test_the_committed_figures_have_every_matrix() -> None:
    assert [row["name"] for row in ROWS] == [m.name for m in MATRICES]


@pytest.mark.parametrize("k", range(0, len(MATRICES), STRIDE))
def test_committed_figures_are_those_of_today(k: int) -> None:
    found = measure(MATRICES[k], PRESETS["base"], energy.load("horowitz45"))
    assert found.to_json() == ROWS[k]


@pytest.mark.nightly
def test_all_committed_figures_are_those_of_today() -> None:
    prices = energy.load("horowitz45")
    assert [measure(m, PRESETS["base"], prices).to_json() for m in MATRICES] == ROWS
