"""The page and the figures that it is printed from."""

import json
from pathlib import Path
from typing import Final

import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.compare import BASELINES, compare
from einchip.compare import page as printed
from einchip.workloads import Workload, published, read

DOCS: Final = Path(__file__).parents[2] / "docs"
FOUND: Final = json.loads((DOCS / printed.FIGURES).read_text())
KNOWN: Final = json.loads((DOCS / printed.ORIENTATION).read_text())
SHAPES: Final = Path(printed.__file__).parent / "orientation.yaml"
MATRICES: Final = [m for e in published() for m in e.matrices if isinstance(m, Workload)]
#: Matrices that are measured anew on every change: short ones.
FEW: Final = ("MPO-LSTM Fig.2 bond 3", "FT-LSTM row-MNIST 28->256 4 cores rank 2 U")


def test_the_page_is_printed_from_the_committed_figures() -> None:
    files = (DOCS / printed.FIGURES, DOCS / printed.ORIENTATION)
    assert (DOCS / "compare.md").read_text() == printed.page(*(printed.read(f) for f in files))


def test_the_committed_figures_have_every_format_and_every_row() -> None:
    names = [c["name"] for c in FOUND]
    assert names == [m.name for m in MATRICES if m.name in names]
    assert {c["format"] for c in FOUND} == {m.spec.format for m in MATRICES}
    assert [c["name"] for c in KNOWN] == [e.name for e in read(SHAPES)]
    for c in KNOWN:
        assert sorted(row["key"] for row in c["rows"]) == sorted(printed.ORIENTED)
    for c in FOUND:
        keys = [b.key for b in BASELINES if not b.formats or c["format"] in b.formats]
        assert [row["key"] for row in c["rows"]] == keys
        assert "steady_cycles" in next(row for row in c["rows"] if row["key"] == "ours")
        assert "cycles" in next(row for row in c["rows"] if row["key"] == "ours-alone")


def test_a_row_has_figures_or_says_why_not() -> None:
    for c in (*FOUND, *KNOWN):
        for row in c["rows"]:
            assert ("error" in row) != ("macs" in row), (c["name"], row["key"])


@pytest.mark.parametrize("name", FEW)
def test_committed_figures_are_those_of_today(name: str) -> None:
    matrix = next(m for m in MATRICES if m.name == name)
    found = compare(matrix, PRESETS["base"], energy.load("horowitz45"))
    assert found.to_json() == next(c for c in FOUND if c["name"] == name)


@pytest.mark.nightly
def test_all_committed_figures_are_those_of_today() -> None:
    prices = energy.load("horowitz45")
    found = {m.name: m for m in MATRICES}
    for c in FOUND:
        assert compare(found[c["name"]], PRESETS["base"], prices).to_json() == c
