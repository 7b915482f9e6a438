"""The plots over time: units, utilisation, scratchpads."""

from __future__ import annotations

from html import escape
from typing import Any, Final

from einchip.report.data import Life, Report
from einchip.report.plot import Figure, axis, colour, inside, series
from einchip.report.tables import STATE_TITLES

#: States in the legend of the timeline.
STATE_WORDS: Final = {
    "work": "work", "port": "port: taken by another unit", "drain": "drain: accumulators in use",
    "write": "write: pending writes", "memory": "memory: waits for it",
    "token": "token: operands not ready", "setup": "setup: lanes not ready",
    "idle": "idle: no instruction",
}  # fmt: skip
#: Most pieces of a plot that have text inside them.
MAX_LABELS: Final = 1500
#: Units from the lowest row to the highest.
UNIT_ORDER: Final = ("store", "load", "vector", "array")


def timeline(r: Report) -> Figure:
    """Return the timeline of all units, a row each."""
    segments = r.timeline.segments
    found = {STATE_TITLES[s.state] for s in segments}
    states = [s for s in dict.fromkeys(STATE_TITLES.values()) if s in found]
    labelled = len(segments) <= MAX_LABELS
    traces = []
    for state in states:
        own = [s for s in segments if STATE_TITLES[s.state] == state]
        words = [escape(s.operation) if s.operation else "no instruction" for s in own]
        traces.append(
            {
                "type": "bar", "orientation": "h", "y": [s.unit for s in own],
                "x": [s.cycles for s in own], "base": [s.start for s in own], "width": 0.76,
                "customdata": words, "text": words if labelled and state != "idle" else None,
                "textposition": "inside", "insidetextanchor": "middle", "textangle": 0,
                "insidetextfont": inside(state),
                "hovertemplate": f"%{{y}}: {state}<br>%{{customdata}}<br>%{{x:,}} cycles from "
                "%{base:,} on<extra></extra>",
                "marker": {"color": colour(state), "line": {"width": 0.5, "color": "var(--paper)"}},
            }
        )  # fmt: skip
    layout = {
        "barmode": "overlay", "bargap": 0.1, "uniformtext": {"mode": "hide", "minsize": 10},
        "xaxis": axis("cycle", range=[0, r.timeline.cycles]),
        "yaxis": axis("", categoryorder="array", categoryarray=list(UNIT_ORDER), fixedrange=True),
    }  # fmt: skip
    text = f"What each unit does in every cycle: {r.timeline.rule}."
    legend = {STATE_WORDS[state]: colour(state) for state in states}
    return Figure("timeline", "Timeline by unit", text, legend, traces, layout, 270)


def utilisation(r: Report) -> Figure:
    """Return shares over time, a row for the multipliers and one for each unit."""
    u = r.utilisation
    starts = [k * u.bin_cycles for k in range(len(u.multipliers))]
    rows = {"multipliers": u.multipliers, **u.units}
    height = 1 / len(rows)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"xaxis": axis("cycle", range=[0, r.timeline.run_cycles])}
    for k, (name, shares) in enumerate(rows.items()):
        number = "" if k == 0 else str(k + 1)
        top = 1 - k * height
        layout[f"yaxis{number}"] = axis(
            "", range=[0, 1], domain=[top - 0.78 * height, top], tickvals=[0, 1], fixedrange=True,
            ticktext=["0", "100 %"],
        )  # fmt: skip
        traces.append(
            {
                "type": "scatter", "mode": "lines", "x": [*starts, r.timeline.run_cycles],
                "y": [*shares, shares[-1]], "yaxis": f"y{number}", "fill": "tozeroy",
                "line": {"color": series(k), "width": 1, "shape": "hv"},
                "hovertemplate": f"{name}: %{{y:.0%}} from cycle %{{x:,}} on<extra></extra>",
            }
        )  # fmt: skip
    layout["xaxis"]["anchor"] = f"y{len(rows)}"
    layout["annotations"] = [
        {
            "text": name, "xref": "paper", "x": 0, "xanchor": "left", "yref": "paper",
            "y": 1 - k * height, "yanchor": "bottom", "showarrow": False,
            "font": {"color": "var(--soft)"},
        }
        for k, name in enumerate(rows)
    ]  # fmt: skip
    text = (
        f"Share of {u.bin_cycles:,} cycles each in which a unit works, and of the multipliers that "
        f"multiply; a run of {r.timeline.n_steps:,} time steps."
    )
    return Figure("utilisation", "Utilisation over time", text, {}, traces, layout, 440)


class _Addresses:
    """Addresses of a scratchpad on an axis: stretches without any buffer are drawn short."""

    def __init__(self, r: Report, space: str) -> None:
        places = sorted(
            (b.base, b.base + b.elements * b.copies) for b in r.memory.buffers if b.space == space
        )
        joined: list[list[int]] = []
        for start, end in places:
            if joined and start <= joined[-1][1]:
                joined[-1][1] = max(end, joined[-1][1])
            else:
                joined.append([start, end])
        self.used = sum(end - start for start, end in joined)
        self.places: list[tuple[int, int, int]] = []  # first, last, where it is drawn
        at, before = 0, 0
        for start, end in joined:
            at += min(start - before, max(self.used // 16, 1))
            self.places.append((start, end, at))
            at, before = at + end - start, end
        self.top = max(at, 1)

    def drawn(self, address: int) -> int:
        """Return where an address is drawn."""
        start, _, at = max(p for p in self.places if p[0] <= address)
        return at + address - start

    def axis(self, title: str, domain: tuple[float, float]) -> dict[str, Any]:
        """Return the axis, with addresses at the ends of each stretch in use."""
        ticks: dict[int, int] = {}
        for start, end, at in self.places:
            ticks |= {at: start, at + end - start: end}
        far = [y for k, y in enumerate(ticks) if not k or y - list(ticks)[k - 1] > self.top / 20]
        return axis(
            title, domain=list(domain), range=[0, self.top], tickvals=far, fixedrange=True,
            ticktext=[f"{ticks[y]:,}" for y in far],
        )  # fmt: skip


def memory(r: Report) -> Figure:
    """Return the memory map, X above Y."""
    kinds = list(dict.fromkeys(str(v.kind) for v in r.memory.lives))
    labelled = len(r.memory.lives) <= MAX_LABELS
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "barmode": "overlay", "uniformtext": {"mode": "hide", "minsize": 9},
        "xaxis": axis("cycle", range=[0, r.timeline.cycles], anchor="y2"),
    }  # fmt: skip
    for space, number, domain in (("X", "", (0.54, 1.0)), ("Y", "2", (0.0, 0.46))):
        addresses = _Addresses(r, space)
        if addresses.places:
            layout[f"yaxis{number}"] = addresses.axis(f"{space}, address", domain)
        for kind in kinds:
            own = [v for v in r.memory.lives if v.kind == kind and v.space == space]
            traces.append(_values(own, addresses, number, kind, labelled))
    text = (
        f"What the scratchpads hold, by address in elements: {r.memory.rule}. Stretches without "
        "buffers are drawn short."
    )
    legend = {kind: colour(kind) for kind in kinds}
    return Figure("memory", "Memory map over time", text, legend, traces, layout, 560)


def _values(
    own: list[Life], addresses: _Addresses, number: str, kind: str, labelled: bool
) -> dict[str, Any]:
    """Return the rectangles of values of one kind in one scratchpad."""
    return {
        "type": "bar", "x": [(v.start + v.end) / 2 for v in own],
        "width": [v.end - v.start for v in own], "y": [v.elements for v in own],
        "base": [addresses.drawn(v.base) for v in own], "yaxis": f"y{number}",
        "customdata": [[escape(v.buffer), v.start, v.end, v.base] for v in own],
        "text": [escape(v.buffer) for v in own] if labelled and kind != "constant" else None,
        "textposition": "inside", "insidetextanchor": "middle", "textangle": 0,
        "insidetextfont": inside(kind),
        "hovertemplate": "%{customdata[0]}<br>%{y:,} elements from %{customdata[3]:,} on<br>"
        "cycles %{customdata[1]:,} to %{customdata[2]:,}<extra></extra>",
        "marker": {"color": colour(kind), "line": {"width": 0.8, "color": "var(--paper)"}},
    }  # fmt: skip
