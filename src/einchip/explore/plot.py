"""Draws an exploration as SVG: the first objective against each other one, the front marked.

It is legible on light and on dark ground: colours follow what the reader's system prefers. Where a
viewer shows titles, each point says what it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from einchip.explore.objectives import Objective
from einchip.explore.results import Content, front_of, objectives_of, rows

PANEL, MARGIN, LEGEND_LINE = 380, 62, 18
#: From this ratio of the greatest to the least value on, an axis is logarithmic.
LOG_FROM: Final = 8
#: Colours of models, told apart by colour-blind readers, on light and on dark ground.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8a8a")
_STYLE: Final = """\
<style>
svg { color-scheme: light dark; --ground: #fff; --ink: #222; --grid: #ddd }
@media (prefers-color-scheme: dark) { svg { --ground: #16181d; --ink: #e4e4e4; --grid: #3a3d45 } }
text { fill: var(--ink); font: 12px sans-serif }
.ground { fill: var(--ground) } .grid { stroke: var(--grid); fill: none }
.front { stroke: var(--ink); stroke-width: 1.5 } .other { fill-opacity: .4 }
.stairs { stroke: var(--ink); fill: none; stroke-dasharray: 3 3 }
</style>"""


@dataclass(frozen=True)
class Axis:
    """An objective from its least to its greatest value, linear or logarithmic."""

    objective: Objective
    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, objective: Objective, points: Sequence[Any]) -> Axis:
        """Return the axis of some points, a little longer than they need."""
        found = [objective.value(p["figures"]) for p in points] or [0.0, 1.0]
        low, high = min(found), max(found)
        if low > 0 and high / low >= LOG_FROM:
            return cls(objective, low / 1.15, high * 1.15, True)
        room = 0.06 * (high - low) or 0.5
        return cls(objective, low - room, high + room, False)

    def at(self, value: float) -> float:
        """Return where a value lies, from 0 to 1."""
        turn: Callable[[float], float] = math.log if self.log else float
        low, high = turn(self.low), turn(self.high)
        return (turn(value) - low) / (high - low)

    @property
    def ticks(self) -> list[float]:
        """Round values on the axis."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [m * 10.0**k for k in powers for m in (1, 2, 5)]
        else:
            raw = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(raw))
            step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
            first = math.ceil(self.low / step)
            found = [k * step for k in range(first, math.floor(self.high / step) + 1)]
        return [t for t in found if self.low <= t <= self.high]


def svg(found: Content) -> str:
    """Return an exploration of at least two objectives as an SVG."""
    points = [p for p in found["points"] if p["status"] == "ok"]
    first, *others = objectives_of(found)
    labels = list(dict.fromkeys(_label(p) for p in points))
    width, height = len(others) * PANEL, PANEL + LEGEND_LINE * len(labels) + 12
    parts = [f'<rect class="ground" width="{width}" height="{height}"/>']
    for k, other in enumerate(others):
        parts += _panel(k * PANEL, Axis.of(first, points), Axis.of(other, points), points, labels)
    for k, label in enumerate(labels):
        y = PANEL + LEGEND_LINE * k
        parts.append(f'<circle cx="{MARGIN}" cy="{y}" r="5" fill="{_colour(labels, label)}"/>')
        parts.append(_text(MARGIN + 12, y + 4, label, "start"))
    note = "ringed: on the front of all objectives; dashed: of the two shown"
    parts.append(_text(width - 12, height - 12, note, "end"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
    return "\n".join([head, _STYLE, *parts, "</svg>\n"])


def _panel(
    left: float, x: Axis, y: Axis, points: Sequence[Any], labels: Sequence[str]
) -> Iterator[str]:
    size = PANEL - MARGIN - 16
    x0, y0 = left + MARGIN, 24 + size

    def place(horizontal: float, vertical: float) -> tuple[float, float]:
        return x0 + x.at(horizontal) * size, y0 - y.at(vertical) * size

    for tick in x.ticks:
        at = place(tick, y.low)[0]
        yield f'<path class="grid" d="M{at:.1f} {y0:.1f}V{y0 - size:.1f}"/>'
        yield _text(at, y0 + 15, _short(tick))
    for tick in y.ticks:
        at = place(x.low, tick)[1]
        yield f'<path class="grid" d="M{x0:.1f} {at:.1f}H{x0 + size:.1f}"/>'
        yield _text(x0 - 5, at + 4, _short(tick), "end")
    yield _text(x0 + size / 2, y0 + 33, x.objective.head)
    yield _text(x0, 14, y.objective.head, "start")
    pairs = [(x.objective.value(p["figures"]), y.objective.value(p["figures"])) for p in points]
    yield _stairs([place(*pair) for pair in pairs])
    for front in (False, True):  # what is on the front is drawn last
        for point, pair in zip(points, pairs, strict=True):
            if point["front"] is front:
                yield _dot(place(*pair), point, _colour(labels, _label(point)), (x, y))


def _stairs(places: Sequence[tuple[float, float]]) -> str:
    """Return the line below which there is no point: left and down are better."""
    steps: list[str] = []
    best = -math.inf
    for x, y in sorted(places, key=lambda p: (p[0], -p[1])):
        if y > best:  # y grows downwards
            steps.append(f"H{x:.1f}V{y:.1f}" if steps else f"M{x:.1f} {y:.1f}")
            best = y
    return f'<path class="stairs" d="{"".join(steps)}"/>' if steps else ""


def _dot(place: tuple[float, float], point: Any, colour: str, axes: Sequence[Axis]) -> str:
    varied = ", ".join(f"{name} {value}" for name, value in point["varied"].items())
    figures = "; ".join(f"{a.objective.head}: {a.objective.text(point['figures'])}" for a in axes)
    kind, radius = ("front", 5) if point["front"] else ("other", 3.5)
    return (
        f'<circle class="{kind}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius}" '
        f'fill="{colour}"><title>{escape(varied)}: {escape(figures)}</title></circle>'
    )


def _label(point: Any) -> str:
    """Return what a point's colour tells: its model, and the format without its ranks."""
    format_ = str(point["varied"]["format"])
    family = format_ if format_ == "as given" else format_.partition(" ")[0]
    return f"{point['varied']['model']}, {family}"


def _colour(labels: Sequence[str], label: str) -> str:
    return COLOURS[labels.index(label) % len(COLOURS)]


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:.4g}"


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def html(found: Content) -> str:
    """Return a page with the plot and the front as a table."""
    heads, cells = rows(found)
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in cells
    )
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>einchip explore</title>\n'
        "<style>:root { color-scheme: light dark } body { font: 14px sans-serif }\n"
        "td, th { padding: 2px 10px; text-align: right } svg { max-width: 1200px }</style>\n"
        f"{svg(found)}<p>{len(front_of(found))} points on the front:</p>\n"
        f"<table><tr>{head}</tr>\n{body}</table></html>\n"
    )
