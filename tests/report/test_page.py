"""The page, its tables and its schema; the page in a browser."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from einchip.report.data import Report
from einchip.report.gather import gather
from einchip.report.page import embedded, page
from einchip.report.schema import schema_text
from einchip.report.tables import tables
from tests.report.helpers import NAME, Example

CHROMIUM: Final = Path("/usr/bin/chromium")
ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
MAX_BYTES: Final = 8 << 20
SECTIONS: Final = (
    "headline", "why", "dense", "trees", "roofline", "timeline", "steps", "energy", "memory",
    "nests", "error", "made",
)  # fmt: skip
PLOTS: Final = (
    "losses", "roofline", "timeline", "utilisation", "energy", "energy_by_step", "memory", "dense",
    "errors",
)  # fmt: skip


class Parts(HTMLParser):
    """Tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.within = tag

    def handle_data(self, data: str) -> None:
        if self.within not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="session")
def html(made: Example, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(made.report), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def parts(html: Path) -> Parts:
    found = Parts()
    found.feed(html.read_text(encoding="utf-8"))
    return found


def test_the_page_is_one_file_that_asks_for_nothing(html: Path, parts: Parts) -> None:
    """Oracle: no tag refers to anything but a place in the page; the policy forbids the rest."""
    assert html.stat().st_size < MAX_BYTES
    for tag, attributes in parts.tags:
        assert "src" not in attributes, tag
        assert tag != "link"
        if "href" in attributes:
            assert (attributes["href"] or "").startswith("#")
    policies = [a.get("content") for t, a in parts.tags if t == "meta" and "http-equiv" in a]
    assert policies
    assert (policies[0] or "").startswith("default-src 'none'")


def test_names_are_escaped(html: Path, parts: Parts, made: Example) -> None:
    """Oracle: the model is called as a script is; it is text, and the page has our scripts only."""
    assert made.report.headline.model == NAME
    assert NAME in parts.text
    assert sum(tag == "script" for tag, _ in parts.tags) == 3
    assert NAME not in html.read_text(encoding="utf-8")
    assert "<r>.html" in parts.text
    hostile = {"name": "</script><!--\u2028&"}
    text = embedded(hostile)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == hostile


def test_every_section_is_there_and_reads_without_plots(parts: Parts, made: Example) -> None:
    """Oracle: the list of what a report has; a table stands beside every plot."""
    ids = {a["id"] for _, a in parts.tags if "id" in a}
    assert ids >= set(SECTIONS)
    assert ids >= {f"plot-{name}" for name in PLOTS}
    assert sum(tag == "svg" for tag, _ in parts.tags) >= len(made.report.networks)
    for name, table in tables(made.report).items():
        if f"table-{name}" in ids:
            assert table.rows
    hidden = {"timeline", "utilisation", "memory_map", "loop_nests"}
    assert {f"table-{n}" for n, t in tables(made.report).items() if t.rows} - ids == {
        f"table-{n}" for n in hidden
    }
    for value in (made.report.bottleneck.sentence, made.report.made.command):
        assert value in parts.text
    assert made.report.made.config_hash in parts.text
    for file in made.report.made.files:
        assert file.sha256 in parts.text


def test_every_bond_is_drawn_with_its_sizes(parts: Parts, made: Example) -> None:
    """Oracle: the networks of the plan."""
    for planned in made.mapped.plan.networks:
        for tensor in planned.tensors.values():
            sizes = " ".join(f"{i}:{n}" for i, n in tensor.indices.items())
            assert sizes in parts.text


def test_a_page_without_model_says_what_is_missing(made: Example) -> None:
    """Oracle: the text; nothing stands in for what is not known."""
    report = gather(made.asked(), made.mapped)
    assert report.accuracy is None
    [missing] = report.missing
    found = Parts()
    found.feed(page(report))
    assert missing.why in found.text
    assert "plot-errors" not in {a.get("id") for _, a in found.tags}
    assert not tables(report)["errors"].rows


def test_the_schema_is_current_and_describes_a_report(made: Example) -> None:
    """Oracle: the classes; `jsonschema`; what is written is read again."""
    committed = (resources.files("einchip.report") / "schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "print it with python -m einchip.report.schema"
    text = made.report.model_dump_json()
    schema = json.loads(committed)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(text), schema)
    assert Report.model_validate_json(text) == made.report


def test_tables_are_the_same_in_csv(made: Example) -> None:
    """Oracle: Python's reader of CSV; figures of the report."""
    found = tables(made.report)
    for name, table in found.items():
        rows = list(csv.reader(io.StringIO(table.csv())))
        assert rows[0] == [c.name for c in table.columns]
        assert len(rows) == len(table.rows) + 1
        assert all(re.fullmatch(r"[a-z0-9_]+", c) for c in rows[0]), name
        assert [len(row) for row in rows] == [len(rows[0])] * len(rows)
    steps = list(csv.DictReader(io.StringIO(found["steps"].csv())))
    assert sum(int(s["macs"]) for s in steps) == made.report.headline.macs
    losses = list(csv.DictReader(io.StringIO(found["losses"].csv())))
    assert sum(float(x["cycles"]) for x in losses) == pytest.approx(made.report.headline.cycles)
    nj = sum(float(s["total_nj"]) for s in csv.DictReader(
        io.StringIO(found["energy_by_step"].csv())
    ))  # fmt: skip
    assert 1e3 * nj == pytest.approx(made.report.headline.energy_pj)


# --- in a browser ------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def opened(browser: Any, html: Path) -> tuple[Any, list[str], list[str]]:
    """Return the page, what its console said, and what it asked for."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(html.as_uri())
    tab.wait_for_selector("html[data-drawn=yes]", state="attached", timeout=60_000)
    return tab, said, asked


def test_a_browser_draws_every_plot_without_an_error(
    opened: tuple[Any, list[str], list[str]], html: Path
) -> None:
    """Oracle: Chromium's console, its requests, and what it draws."""
    tab, said, asked = opened
    assert said == []
    assert asked == [html.as_uri()]
    drawn = tab.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('.plot')].map(p => "
        "[p.id, p.querySelectorAll('.point, .js-line, .js-fill').length]))"
    )
    assert set(drawn) == {f"plot-{name}" for name in PLOTS}
    assert all(n > 0 for n in drawn.values()), drawn
    assert tab.title() == f"{NAME} on nano: einchip report"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (400, "light"), (400, "dark")])
def test_the_page_is_readable_at_any_width_and_theme(
    opened: tuple[Any, list[str], list[str]], width: int, scheme: str
) -> None:
    """Oracle: Chromium's layout: no sideways scrolling, nothing over its edge, contrast of text."""
    tab, said, _ = opened
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    tab.wait_for_function(
        "() => [...document.querySelectorAll('.plot')].every(p => "
        "p.querySelector('svg').getBoundingClientRect().width <= p.clientWidth)"
    )
    tab.wait_for_timeout(100)
    wide = tab.evaluate(
        "() => [...document.querySelectorAll('main > section, .plot, .card, h1, nav')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.id)"
    )
    assert wide == []
    ink, paper = (
        tab.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("color", "backgroundColor")
    )
    assert contrast(ink, paper) > 10
    assert (luminance(paper) < 0.1) == (scheme == "dark")
    font = tab.evaluate("document.querySelector('#plot-losses .xtick text').style.fill")
    assert contrast(font, paper) > 10
    assert said == []


def test_the_switch_changes_the_theme(opened: tuple[Any, list[str], list[str]]) -> None:
    """Oracle: Chromium's computed styles of page and plots."""
    tab, said, _ = opened
    tab.emulate_media(color_scheme="light")
    seen = []
    for _ in range(3):
        tab.click("#theme")
        tab.wait_for_timeout(200)
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        fill = tab.evaluate("document.querySelector('#plot-losses .point path').style.fill")
        seen.append((tab.inner_text("#theme"), luminance(paper) < 0.1, fill))
    assert [name for name, _, _ in seen] == ["theme: light", "theme: dark", "theme: auto"]
    assert [dark for _, dark, _ in seen] == [False, True, False]
    assert seen[0][2] == seen[2][2] != seen[1][2]
    assert said == []


def test_buttons_show_a_time_step_or_all(opened: tuple[Any, list[str], list[str]]) -> None:
    """Oracle: the axis of the plot."""
    tab, _, _ = opened
    tab.click("button[data-plot=timeline] >> nth=1")
    whole = tab.evaluate("document.getElementById('plot-timeline').layout.xaxis.range")
    tab.click("button[data-plot=timeline] >> nth=0")
    step = tab.evaluate("document.getElementById('plot-timeline').layout.xaxis.range")
    assert whole[0] == 0
    assert 0 < step[0] < step[1] <= whole[1]


def luminance(colour: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)` (WCAG 2)."""
    values = [int(v) / 255 for v in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    """Return the contrast of two colours (WCAG 2)."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
