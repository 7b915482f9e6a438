"""Figures in the pages: those of the code and of the committed results."""

import json
import re
from pathlib import Path

import pytest

from einchip import arch, numeric
from einchip.registers import COUNTERS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / "docs").rglob("*.md"),
    *ROOT.glob("examples/*/*.md"),
]
DECISIONS = sorted((ROOT / "docs" / "decisions").iterdir())
#: What the pages call by its place, in backticks.
PLACES = r"`((?:tests|src|mapper|sim|hw|docs|examples)/[\w./-]+)`"


def row(page: str, title: str) -> list[str]:
    """Return the cells behind a title in a table of a page."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.strip("| ").split("|")][1:]


def test_table_of_presets_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    presets = list(arch.PRESETS.values())
    assert row(page, "preset") == [a.name for a in presets]
    assert row(page, "PEs") == [f"{a.rows} x {a.cols}" for a in presets]
    assert row(page, "fold of the array") == [f"`{a.fold}`" for a in presets]
    assert row(page, "lanes (banks of each scratchpad)") == [str(a.lanes) for a in presets]
    for space, title in enumerate(("elements of X", "elements of Y")):
        assert row(page, title) == [f"{a.capacity(space):,}" for a in presets]
        windows = [f"{a.window(space) * a.lanes:,}" for a in presets]
        assert row(page, "of these in the window, in each") == windows
    assert row(page, "memory port") == [f"{a.port_bytes} bytes" for a in presets]


def test_latencies_in_the_timing_page_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "timing.md").read_text()
    base = arch.PRESETS["base"]
    a = {fold: base.override(fold=fold).accumulate_latency for fold in ("hybrid", "flex", "ip")}
    folded = f"({a['hybrid']}; {a['flex']} with fold `flex`; {a['ip'] - 4} + log2(rows) with `ip`)"
    assert f"READ_LATENCY ({arch.READ_LATENCY})" in page
    assert f"`accumulate_latency` of the architecture {folded}" in page


def test_readme_says_how_near_the_bound_the_committed_bench_is() -> None:
    runs = json.loads((ROOT / "bench" / "results.json").read_text())["runs"]
    for kind, shown in (("rows", "matrices"), ("layers", "layers")):
        cells = row(README, f"{shown} within 1.10, within 1.25")
        for batch, cell in zip((1, 16), cells, strict=True):
            ratios = [[w["ratio"] for w in r[kind]] for r in runs if r["batch"] == batch]
            near = [[sum(x <= most for x in found) for most in (1.10, 1.25)] for found in ratios]
            assert cell == " and ".join(f"{a}, {b}" for a, b in near)


def test_readme_shows_the_committed_results() -> None:
    path = ROOT / "examples" / "japanese_vowels" / "results" / "small.json"
    models = json.loads(path.read_text())["models"]
    cycles = [f"{m['cycles']:,.0f}" for m in models]
    bounds = [f"{m['bound']:,.0f}, {m['ratio']:.2f}" for m in models]
    energies = [f"{sum(m['energy_pj'].values()) / 1e3:,.0f} nJ" for m in models]
    assert row(README, "cycles per sequence") == cycles
    assert row(README, "roofline bound, ratio") == bounds
    assert row(README, "energy per sequence (45 nm, after Horowitz 2014)") == energies
    macs = [(m["macs_per_step"], m["macs_per_step_naive"]) for m in models]
    shown_macs = [f"{a:,}" if a == b else f"{a:,} ({b:,})" for a, b in macs]
    assert row(README, "MACs per step, chosen order (naive)") == shown_macs
    for m, cell in zip(models, row(README, "weights of both matrices"), strict=True):
        assert cell.split(" ")[0] == f"{m['weights']:,}"
        assert cell == f"{m['weights']:,}" or f"({m['weights_ratio']:.1f} x fewer)" in cell
    for m, cell in zip(models, row(README, "accuracy in float, 8 bit, 16 bit"), strict=True):
        shown = {m["accuracy_float"], *m["accuracy_fixed"].values()}
        assert {f"{100 * a:.2f}" for a in shown} == set(re.findall(r"\d+\.\d+", cell))


def test_readme_counts_the_counters() -> None:
    assert f"all {len(COUNTERS)} counters" in README


def test_error_bounds_in_the_numerics_page_hold() -> None:
    page = (ROOT / "docs" / "numerics.md").read_text()
    sigmoid, tanh = (float(x) for x in re.findall(r"(?:sigmoid|tanh) (\d\.\de-\d)", page))
    assert sigmoid <= numeric.SIGMOID_ERROR
    assert tanh <= numeric.TANH_ERROR


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_places_of_a_page_exist(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for place in re.findall(PLACES, text):
        assert (ROOT / place).exists(), place
    for number in re.findall(r"[Dd]ecision \[?(\d{4})", text):
        assert any(d.name.startswith(number) for d in DECISIONS), number


def test_every_page_is_linked_from_the_readme() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in README, page.name


def test_decisions_are_numbered_short_and_of_one_form() -> None:
    for k, path in enumerate(DECISIONS, 1):
        lines = path.read_text().splitlines()
        assert path.name.startswith(f"{k:04}-")
        assert lines[0].startswith(f"# {k:04} ")
        assert len(lines) <= 20, path.name
        for part in ("Context", "Decision", "Consequence"):
            assert any(line.startswith(f"**{part}.** ") for line in lines), (path.name, part)


def test_verification_page_has_the_committed_run_of_damaged_files() -> None:
    page = (ROOT / "docs" / "verification.md").read_text()
    result = json.loads((ROOT / "tests" / "models" / "fuzz.json").read_text())
    readers = str(len(result["readers"]))
    shown = [readers, str(result["crashes"]), f"{result['peak_mib']} MiB"]
    assert row(page, f"{result['inputs']:,}") == shown
    assert f"| damaged files, {readers} readers |" in page
