"""docs/energy.md: generated sections as the code has them, and the sum by hand, recomputed."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.energy import page
from einchip.energy.actions import CHARGED

PAGE = Path(__file__).parents[2] / "docs" / "energy.md"
TEXT = PAGE.read_text()
BY_HAND = TEXT.partition("\n## By hand\n")[2].partition("\n## ")[0]
NUMBERS = re.compile(r"[-+x/() .\d]+")


def value(expression: str) -> float:
    """Return what a formula of the page comes to: numbers, + - x / and parentheses only."""
    assert NUMBERS.fullmatch(expression), expression
    return float(eval(expression.replace("x", "*"), {"__builtins__": {}}))


def rows(first: str) -> list[list[str]]:
    """Return the rows of the page's table by hand whose head begins so."""
    _, _, rest = BY_HAND.partition(f"\n| {first} |")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@cache
def ran() -> dict[str, Any]:
    """Run the program as it stands on the page; return its names."""
    code = re.search(r"```python\n(.*?)```", BY_HAND, re.S)
    assert code is not None
    found: dict[str, Any] = {"print": lambda text: found.update(printed=text)}
    exec(code.group(1), found)
    return found


def test_generated_sections_are_those_of_the_code() -> None:
    """Oracle: `python -m einchip.energy.page docs/energy.md`."""
    assert page.updated(TEXT) == TEXT


def test_counters_by_hand_are_those_of_the_simulator() -> None:
    by_hand = {name.strip("`"): (formula, int(n)) for name, formula, n in rows("counter")}
    assert set(by_hand) == set(CHARGED) - {"cycles"}
    for name, (formula, n) in by_hand.items():
        assert value(formula) == n == ran()["run"].counters[name], name


def test_words_by_hand_are_those_of_the_instructions() -> None:
    shown = [(kind.strip("`"), int(words)) for kind, words, _ in rows("instruction")]
    assert shown == [(type(i).__name__, i.WORDS) for i in ran()["program"].instructions]


def test_products_by_hand_are_the_lines_of_the_energy() -> None:
    """Oracle: each product of the page, worked out from its own text."""
    *products, chip, everything = rows("component")
    lines = ran()["spent"].lines
    charged = [line for line in lines if line.component != "vector"]
    assert [p[0] for p in products] == [line.component for line in charged]
    for (component, _, formula, pj), line in zip(products, charged, strict=True):
        assert value(formula) == pytest.approx(float(pj), abs=5e-5), component
        assert float(pj) == pytest.approx(line.total_pj, abs=5e-5), component
    for row, spent in ((chip, ran()["spent"].chip_pj), (everything, ran()["spent"].total_pj)):
        assert value(row[2]) == pytest.approx(float(row[3]), abs=5e-5)
        assert float(row[3]) == pytest.approx(spent, abs=5e-4)
    assert ran()["printed"] in BY_HAND


def test_lines_in_the_text_come_to_what_it_says() -> None:
    table = energy.load("horowitz45")
    found = re.findall(r"([-+x/() .\d]{12,}) = ([.\d]+) pJ", BY_HAND.replace("\n", " "))
    exact = [table.multiply_pj(16), table.add_pj(16)]
    assert [value(formula) for formula, _ in found] == pytest.approx(exact)
    assert [float(pj) for _, pj in found] == pytest.approx(exact, abs=5e-5)
    spent = ran()["spent"]
    [line] = [line for line in spent.lines if line.action == "beat read"]
    assert f"{100 * line.total_pj / spent.total_pj:.0f} % of the energy is read" in BY_HAND


def test_machine_of_the_page_is_nano() -> None:
    nano = PRESETS["nano"]
    sizes = [nano.capacity(space) * nano.element_bytes for space in (0, 1)]
    assert {*sizes, nano.program_words * 16} == {8192}
    assert (nano.rows, nano.cols, nano.lanes, nano.port_bytes) == (4, 4, 4, 4)
    assert f"program memory of {nano.program_words} words, 8 KiB" in BY_HAND
