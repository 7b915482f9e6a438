"""The plot, the tables, and the page about the committed exploration."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from einchip import energy
from einchip.arch import Architecture
from einchip.cli.explore import subject_of
from einchip.explore.domain import MACHINE
from einchip.explore.evaluate import evaluate
from einchip.explore.objectives import OBJECTIVES
from einchip.explore.page import section
from einchip.explore.plot import html, svg
from einchip.explore.point import AS_GIVEN, Context, Point, code_digest
from einchip.explore.results import count, front_of, rows, to_csv
from einchip.explore.space import Search, Space, read
from einchip.fpga.targets.families import KINDS
from tests.cli.helpers import ROOT, VOWELS

EXAMPLE: Final = ROOT / "examples" / "explore"
PAGE: Final = ROOT / "docs" / "explore.md"
RESULTS: Final[dict[str, Any]] = json.loads((EXAMPLE / "results.json").read_text())
SVG: Final = "{http://www.w3.org/2000/svg}"


def test_page_and_plot_are_of_the_committed_results() -> None:
    """The oracle is what the results say today."""
    text = PAGE.read_text()
    assert section(RESULTS) in text
    assert (ROOT / "docs" / "explore.svg").read_text() == svg(RESULTS)
    assert (EXAMPLE / "space.yaml").read_text() in text


def test_page_names_every_field_and_objective() -> None:
    """The oracle is the code; and the values that it says fields have where nothing is said."""
    text = PAGE.read_text()
    assert {name for name in OBJECTIVES if f"`{name}`" in text} == set(OBJECTIVES)
    for name in (*Space.model_fields, *Search.model_fields):
        assert f"`{name}`" in text
    space = Space()
    for name in ("base", "target", "steps", "fixed_sequences"):
        assert re.search(rf"^\| `{name}` \|.*\| {getattr(space, name)} \|$", text, re.M)
    search = space.search
    assert f"| {search.method}, {search.seed}, {search.batch} |" in text


def test_committed_results_are_of_the_committed_space() -> None:
    """The oracle is the space, read again; every point has one of its values."""
    space = read(EXAMPLE / "space.yaml")
    assert space.model_dump(mode="json") == RESULTS["space"]
    assert len(RESULTS["points"]) == RESULTS["budget"] == 160
    assert count(RESULTS, "failed") == 0
    for p in RESULTS["points"]:
        for name, values in space.parameters.items():
            assert p["arch"][name] in values


@pytest.mark.nightly
def test_committed_points_are_those_of_today() -> None:
    """The oracle is the evaluation of the front's first, middle and last point that is as given.

    The model of the area may have been fitted anew: it may change by as much as its own error.
    """
    given = [p for p in front_of(RESULTS) if p["varied"]["format"] == AS_GIVEN.label]
    for p in (given[0], given[len(given) // 2], given[-1]):
        subject = subject_of(VOWELS / f"{p['varied']['model']}.safetensors", None, 1)
        table = energy.load(RESULTS["energy_table"])
        shared = Context(
            {subject.digest: subject}, table, RESULTS["target"], False, 0, code_digest()
        )
        arch = Architecture(name=MACHINE, **p["arch"])
        found = evaluate(shared, Point(arch, subject.digest, AS_GIVEN))
        for name, value in p["figures"].items():
            loose = name == "lut_error" or name in KINDS
            tolerance = p["figures"]["lut_error"] if loose else 1e-9
            assert found.figures[name] == pytest.approx(value, rel=tolerance), name


def test_plot_has_every_point_and_rings_the_front() -> None:
    """The oracle is the number of points, in each panel; titles say what a point is."""
    root = ElementTree.fromstring(svg(RESULTS))
    circles = [c for c in root.iter(f"{SVG}circle") if c.get("class")]
    n_panels = len(RESULTS["objectives"]) - 1
    assert len(circles) == n_panels * count(RESULTS, "ok")
    ringed = [c for c in circles if c.get("class") == "front"]
    assert len(ringed) == n_panels * len(front_of(RESULTS))
    width, height = map(float, str(root.get("viewBox")).split()[2:])
    for circle in circles:
        assert 0 < float(circle.get("cx", "")) < width
        assert 0 < float(circle.get("cy", "")) < height
        title = circle.find(f"{SVG}title")
        assert title is not None
        assert "rows" in str(title.text)


def test_plot_follows_light_and_dark() -> None:
    """The oracle is the style: text and ground have other colours where dark is preferred."""
    text = svg(RESULTS)
    colours = re.findall(r"--ground: (#\w+); --ink: (#\w+)", text)
    assert len(colours) == 2
    assert colours[0][0] != colours[1][0]
    assert colours[0][1] != colours[1][1]
    assert "prefers-color-scheme: dark" in text


def test_plot_of_equal_or_no_points_is_whole() -> None:
    """The oracle is an XML parser."""
    same = [RESULTS["points"][0] | {"front": True}] * 3
    for points in (same, same[:1], []):
        ElementTree.fromstring(svg({**RESULTS, "points": points}))


def test_names_in_plot_and_page_are_escaped() -> None:
    """The oracle is an XML parser, and the name that comes back."""
    name = 'a<b>&"c'
    point = next(p for p in RESULTS["points"] if p["front"])
    found = {**RESULTS, "points": [{**point, "varied": {**point["varied"], "model": name}}]}
    texts = [t.text for t in ElementTree.fromstring(svg(found)).iter(f"{SVG}text")]
    assert any(name in str(t) for t in texts)
    assert "a<b>" not in html(found)


def test_csv_has_a_line_for_every_point_with_its_figures(tmp_path: Path) -> None:
    """The oracle is the JSON, field by field."""
    lines = list(csv.DictReader(to_csv(RESULTS).splitlines()))
    assert len(lines) == len(RESULTS["points"])
    for line, p in zip(lines, RESULTS["points"], strict=True):
        assert line["status"] == p["status"]
        assert {k: line[k] for k in p["arch"]} == {k: str(v) for k, v in p["arch"].items()}
        assert {k: float(line[k]) for k in p["figures"]} == p["figures"]
        assert line["reason"] == p["reason"]
        assert line["front"] == str(int(p["front"]))


def test_table_has_the_front_in_order_with_units() -> None:
    """The oracle is the JSON."""
    heads, cells = rows(RESULTS)
    assert heads[-4:] == ["cycles, a sequence", "energy, nJ a sequence", "area, LUT", "error, %"]
    cycles = [float(row[-4].replace(",", "")) for row in cells]
    assert cycles == sorted(cycles)
    assert len(cells) == sum(p["front"] for p in RESULTS["points"])
