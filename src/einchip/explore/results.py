"""What came out of an exploration: as plain data, from which table, CSV, plot and page are made."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

import einchip
from einchip.explore.domain import Domain, fields_of
from einchip.explore.evaluate import Outcome
from einchip.explore.explorer import Explorer
from einchip.explore.objectives import OBJECTIVES, Objective
from einchip.explore.pareto import front
from einchip.explore.point import Point
from einchip.explore.space import FIELDS
from einchip.fpga import targets

Content = Mapping[str, Any]


def content(explorer: Explorer, domain: Domain, interrupted: bool) -> dict[str, Any]:
    """Return everything as plain data. It does not depend on who evaluated, or on the cache."""
    done, context = explorer.done, explorer.context
    found = [values for _, o in done if (values := explorer.values(o)) is not None]
    best = iter(front(found))
    return {
        "einchip": einchip.__version__,
        "objectives": [o.name for o in explorer.objectives],
        "budget": explorer.budget,
        "interrupted": interrupted,
        "combinations": domain.size,
        "no_points": sum(explorer.search.skipped.values()),
        "target": context.target,
        "part": targets.find(context.target).part.name,
        "energy_table": context.table.name,
        "space": domain.space.model_dump(mode="json"),
        "models": [
            {"name": s.name, "digest": s.digest, "sequences": len(s.lengths),
             "mean_steps": sum(s.lengths) / len(s.lengths)}
            for s in context.subjects.values()
        ],
        "points": [
            {**_described(domain, p, o), "front": o.status == "ok" and next(best)} for p, o in done
        ],
    }  # fmt: skip


def _described(domain: Domain, point: Point, outcome: Outcome) -> dict[str, Any]:
    return {
        "varied": domain.varied(point),
        "arch": fields_of(point.arch),
        **outcome.to_json(),
    }


def objectives_of(found: Content) -> list[Objective]:
    """Return the objectives of an exploration."""
    return [OBJECTIVES[name] for name in found["objectives"]]


def front_of(found: Content) -> list[Any]:
    """Return the points of the front, by the first objective, then the others."""
    goals = objectives_of(found)
    points = [p for p in found["points"] if p["front"]]
    return sorted(points, key=lambda p: [o.value(p["figures"]) for o in goals])


def shown_of(found: Content) -> list[Objective]:
    """Return the figures for tables: the objectives, and the errors that are known besides."""
    goals = objectives_of(found)
    figures: Mapping[str, float] = next((p["figures"] for p in found["points"] if p["front"]), {})
    known = [o for o in OBJECTIVES.values() if o.name.startswith("error") and o.figure in figures]
    return [*goals, *(o for o in known if o not in goals)]


def rows(found: Content) -> tuple[list[str], list[list[str]]]:
    """Return the front as a table's heads and cells: what varies, then figures with units."""
    points, shown = front_of(found), shown_of(found)
    names = list(points[0]["varied"]) if points else []
    heads = [*names, *(o.head for o in shown)]
    return heads, [
        [*map(str, p["varied"].values()), *(o.text(p["figures"]) for o in shown)] for p in points
    ]


def table(found: Content) -> Table:
    """Return the front as a table for a terminal."""
    heads, cells = rows(found)
    made = Table(title=f"best of {count(found, 'ok')} points", caption=Text(caption(found)))
    n_figures = len(shown_of(found))
    for k, head in enumerate(heads):
        if k < len(heads) - n_figures:
            made.add_column(head, no_wrap=True)
        else:
            made.add_column(head.replace(", ", "\n"), justify="right", no_wrap=True)
    for row in cells:
        made.add_row(*map(Text, row))
    return made


def caption(found: Content) -> str:
    """Return what the figures are, in a sentence or two."""
    parts = [f"per sequence of {m['mean_steps']:.1f} steps ({m['name']})" for m in found["models"]]
    lengths = {round(m["mean_steps"], 1) for m in found["models"]}
    said = parts[0].partition(" (")[0] if len(lengths) == 1 else "; ".join(parts)
    off = [p["figures"]["lut_error"] for p in found["points"] if p["front"]]
    error = f" ± {max(off):.0%}" if off else ""
    return (
        f"cycles and energy ({found['energy_table']}) {said}, weights and program resident; "
        f"area with the memory and the link of {found['target']} ({found['part']}), estimated: "
        f"LUT{error}"
    )


def count(found: Content, status: str) -> int:
    """Return how many points have a status."""
    return sum(p["status"] == status for p in found["points"])


def to_csv(found: Content) -> str:
    """Return every point as a line: what varies, the whole machine, status, figures."""
    figures = list(dict.fromkeys(name for p in found["points"] for name in p["figures"]))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["model", "format", *FIELDS, "status", "front", *figures, "reason"])
    for p in found["points"]:
        writer.writerow(_line(p, figures))
    return file.getvalue()


def _line(point: Mapping[str, Any], figures: Sequence[str]) -> list[Any]:
    return [
        point["varied"]["model"], point["varied"]["format"],
        *(point["arch"][name] for name in FIELDS), point["status"], int(point["front"]),
        *(point["figures"].get(name, "") for name in figures), point["reason"],
    ]  # fmt: skip
