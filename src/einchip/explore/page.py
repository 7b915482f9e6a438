"""Writes what came of the committed exploration into the page about `einchip explore`.

python -m einchip.explore.page examples/explore/results.json docs
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from einchip.explore.objectives import Objective
from einchip.explore.plot import svg
from einchip.explore.results import (
    Content,
    caption,
    count,
    front_of,
    objectives_of,
    rows,
)
from einchip.files import write_text

#: What stands in the page around what this module writes.
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->"


def section(found: Content) -> str:
    """Return what came of an exploration: how many points, the best of each kind, the front."""
    bests = "\n".join(f"* {_best(found, goal)}" for goal in objectives_of(found))
    heads, cells = rows(found)
    lines = [heads, ["---"] * len(heads), *cells]
    grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    head = "All points that no other one beats; " + caption(found)
    return f"{_summary(found)}\n\n{bests}\n\n{head}:\n\n{grid}\n"


def with_section(page: str, found: Content) -> str:
    """Return a page with the section of an exploration in its place."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + section(found) + END + rest.split(END)[1]


def _summary(found: Content) -> str:
    return (
        f"{len(found['points'])} of {found['combinations']:,} combinations by "
        f"{found['space']['search']['method']}: {len(front_of(found))} on the front of "
        f"{', '.join(found['objectives'])}; {count(found, 'infeasible')} infeasible."
    )


def _best(found: Content, goal: Objective) -> str:
    """Return the point with the least of an objective; of several the first of the front."""
    least = min(front_of(found), key=lambda p: goal.value(p["figures"]))
    varied = ", ".join(f"{name} {value}" for name, value in least["varied"].items())
    return f"least {goal.title}: {goal.text(least['figures'])} {goal.unit}: {varied}"


def main(arguments: list[str]) -> None:
    """Write the section and the plot of some results into a folder."""
    results, folder = map(Path, arguments)
    found: dict[str, Any] = json.loads(results.read_text())
    page = folder / "explore.md"
    write_text(page, with_section(page.read_text(), found))
    write_text(folder / "explore.svg", svg(found))


if __name__ == "__main__":
    main(sys.argv[1:])
