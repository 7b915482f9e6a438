"""The plots of a report, but for those over time."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import ceil, floor, log2, log10
from typing import Any

from einchip.report.data import Report, StepFigures, percent
from einchip.report.figures_time import memory, timeline, utilisation
from einchip.report.plot import ROOM, Figure, axis, colour, series
from einchip.report.tables import STATE_TITLES


def figures(report: Report) -> dict[str, Figure]:
    """Return all plots by name."""
    made = [
        _losses(report), _roofline(report), timeline(report), utilisation(report),
        _energy(report), _energy_by_step(report), memory(report),
    ]  # fmt: skip
    made += [_forms(report)] if report.dense and len(report.dense.forms) > 1 else []
    made += [_errors(report)] if report.accuracy else []
    return {f.name: f for f in made}


def _losses(r: Report) -> Figure:
    """A waterfall: from nothing over the floor and every loss to all cycles."""
    b = r.bottleneck
    parts = [("floor", b.floor_cycles), *((STATE_TITLES[x.name], x.cycles) for x in b.losses)]
    bars, start = [], 0.0
    for name, cycles in parts:
        share = cycles / r.headline.cycles
        bars.append(
            {
                "type": "bar", "orientation": "h", "y": [name], "x": [cycles], "base": [start],
                "marker": {"color": colour(name)},
                "text": [percent(share)], "textposition": "outside", "cliponaxis": False,
                "hovertemplate": f"{name}: {cycles:,.0f} cycles ({percent(share)})<extra></extra>",
            }
        )  # fmt: skip
        start += cycles
    bound = r.headline.bound_cycles
    line = {
        "type": "line", "x0": bound, "x1": bound, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": "var(--ink)", "dash": "dot", "width": 1.5},
    }  # fmt: skip
    layout = {
        "xaxis": axis("cycles", range=[0, ROOM * r.headline.cycles]),
        "yaxis": axis("", autorange="reversed", automargin=True),
        "shapes": [line],
        "annotations": [
            {"x": bound, "y": 1, "yref": "paper", "text": "bound", "showarrow": False,
             "yanchor": "bottom", "font": {"color": "var(--ink)"}}
        ],
    }  # fmt: skip
    text = (
        f"Waterfall of all {r.headline.cycles:,} cycles of the {b.unit} by cause; the dotted line "
        f"is the bound of {bound:,} cycles."
    )
    return Figure("losses", "Where the cycles go", text, {}, bars, layout, 90 + 30 * len(parts))


def _roofline(r: Report) -> Figure:
    steps = [(s, s.contraction) for s in r.steps if s.contraction]
    ridge = r.arch.n_pes / r.arch.lanes
    xs = [c.intensity for _, c in steps] + [ridge]
    ys = [c.achieved for _, c in steps if c.achieved] + [float(r.arch.n_pes)]
    low, high = min(xs) / 2, max(xs) * 2
    roof = {
        "type": "scatter", "mode": "lines", "x": [low, ridge, high],
        "y": [low * r.arch.lanes, r.arch.n_pes, r.arch.n_pes], "hoverinfo": "skip",
        "line": {"color": "var(--ink)", "width": 2},
    }  # fmt: skip
    limits = dict.fromkeys(c.limit for _, c in steps)
    labels = _labels([(s.number, c.intensity, c.achieved) for s, c in steps])
    points = []
    for limit in limits:
        own = [(s, c) for s, c in steps if c.limit == limit]
        points.append(
            {
                "type": "scatter", "mode": "markers+text", "x": [c.intensity for _, c in own],
                "y": [c.achieved for _, c in own], "text": [labels[s.number] for s, _ in own],
                "textposition": "bottom right",
                "customdata": [[escape(s.name), c.roof, c.limit, s.number] for s, c in own],
                "hovertemplate": "%{customdata[3]}. %{customdata[0]}<br>%{y:.1f} of "
                "%{customdata[1]:.1f} MACs/cycle at %{x:.2f} MACs per element<br>limited by "
                "%{customdata[2]}<extra></extra>",
                "marker": {"size": 12, "color": colour(limit),
                           "line": {"color": "var(--ink)", "width": 1}},
            }
        )  # fmt: skip
    layout = {
        "xaxis": _powers("MACs per element of the largest tensor", low, high),
        "yaxis": _powers("MACs per cycle", min(ys) / 2, max(ys) * 1.5),
    }
    text = (
        f"{r.arch.n_pes:,} multipliers, {r.arch.lanes:,} elements a cycle from each scratchpad. "
        "Each point is a contraction step while the array executes it; numbers are those of the "
        "operations."
    )
    legend = {f"limited by {limit}": colour(limit) for limit in limits}
    return Figure("roofline", "Roofline", text, legend, [roof, *points], layout, 380)


def _powers(title: str, low: float, high: float) -> dict[str, Any]:
    """Return a logarithmic axis with a tick at every power of two."""
    powers = [2.0**k for k in range(ceil(log2(low)), floor(log2(high)) + 1)]
    every = 1 + len(powers) // 12
    return axis(
        title, type="log", range=[log10(low), log10(high)], tickvals=powers[::every],
        ticktext=[f"{p:g}" for p in powers[::every]],
    )  # fmt: skip


def _labels(points: list[tuple[int, float, float]]) -> dict[int, str]:
    """Return the label of each point; of points that lie close together the last one has all."""
    found: dict[int, str] = {}
    rest = [(number, log2(x), log2(max(y, 1e-9))) for number, x, y in points]
    while rest:
        _, x, y = rest[0]
        near = [p for p in rest if abs(p[1] - x) < 0.3 and abs(p[2] - y) < 0.4]
        rest = [p for p in rest if p not in near]
        found |= dict.fromkeys((number for number, _, _ in near), "")
        found[near[-1][0]] = "  " + ", ".join(str(number) for number, _, _ in near)
    return found


def _energy(r: Report) -> Figure:
    lines = sorted(r.energy.lines, key=lambda e: e.total_pj)
    components = list(r.energy.by_component_pj)
    trace = {
        "type": "bar", "orientation": "h", "y": [f"{e.component}: {e.action}" for e in lines],
        "x": [e.total_pj / 1e3 for e in lines], "text": [percent(e.share) for e in lines],
        "textposition": "outside", "cliponaxis": False,
        "hovertemplate": "%{y}<br>%{x:,.3f} nJ<extra></extra>",
        "marker": {"color": [series(components.index(e.component)) for e in lines]},
    }  # fmt: skip
    most = max((e.total_pj for e in lines), default=0.0) / 1e3
    layout = {"xaxis": axis("nJ", range=[0, ROOM * most]), "yaxis": axis("", automargin=True)}
    total = f"{r.energy.total_pj / 1e3:,.3f} nJ"
    text = f"Energy of all runs by component, {total}, table {r.energy.table}."
    return Figure("energy", "Energy by component", text, {}, [trace], layout, 70 + 26 * len(lines))


def _energy_by_step(r: Report) -> Figure:
    components = list(r.energy.by_component_pj)
    rows: list[tuple[str, Mapping[str, float]]] = [
        (_short(s), s.energy_pj) for s in reversed(r.steps)
    ]
    rows.insert(0, ("other", r.energy.other_pj))
    traces = [
        {
            "type": "bar", "orientation": "h", "y": [name for name, _ in rows],
            "x": [pj.get(c, 0.0) / 1e3 for _, pj in rows], "marker": {"color": series(k)},
            "hovertemplate": f"%{{y}}<br>{c}: %{{x:,.3f}} nJ<extra></extra>",
        }
        for k, c in enumerate(components)
    ]  # fmt: skip
    layout = {
        "barmode": "stack", "xaxis": axis("nJ"), "yaxis": axis("", automargin=True, dtick=1),
    }  # fmt: skip
    text = (
        "Energy of all runs by operation and component. Other: instructions of the sequencer "
        "alone, the program's fetch, leakage."
    )
    legend = {c: series(k) for k, c in enumerate(components)}
    height = 80 + 24 * len(rows)
    return Figure("energy_by_step", "Energy by operation", text, legend, traces, layout, height)


def _short(s: StepFigures) -> str:
    """Return number and end of an operation's name, short enough for a narrow axis."""
    verb, _, rest = s.name.rpartition(" ")
    parts = rest.split(".")
    short = ".".join(parts[-2:]) if len(parts) > 2 else rest
    return escape(f"{s.number}. {verb} {short}".replace("  ", " "))


def _forms(r: Report) -> Figure:
    forms = r.dense.forms if r.dense else ()
    shown: tuple[tuple[str, list[float]], ...] = (
        ("bound", [f.bound_cycles for f in forms]),
        ("cycles", [f.cycles for f in forms]),
    )
    traces = [
        {
            "type": "bar", "orientation": "h", "y": [f.form for f in forms], "x": values,
            "marker": {"color": series(k)}, "text": [f"{v:,.0f}" for v in values],
            "textposition": "outside", "cliponaxis": False,
            "hovertemplate": f"%{{y}}: %{{x:,}} {name}<extra></extra>",
        }
        for k, (name, values) in enumerate(shown)
    ]  # fmt: skip
    layout = {
        "barmode": "group",
        "xaxis": axis("cycles", range=[0, ROOM * max((f.cycles for f in forms), default=1)]),
        "yaxis": axis("", autorange="reversed", automargin=True),
    }  # fmt: skip
    text = "Cycles of all runs, and their bound, of the model as compiled and with dense matrices."
    legend = {"bound": series(0), "cycles": series(1)}
    return Figure("dense", "Compressed and dense", text, legend, traces, layout, 230)


def _errors(r: Report) -> Figure:
    steps = r.accuracy.by_step if r.accuracy else ()
    x = [s.step for s in steps]
    lines = (
        ("rms error", [s.rms_error for s in steps], "solid", 0),
        ("greatest error", [s.max_error for s in steps], "dot", 1),
    )
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "x": x, "y": y,
            "line": {"color": series(k), "dash": dash},
            "hovertemplate": f"step %{{x}}: {name} %{{y:.3g}}<extra></extra>",
        }
        for name, y, dash, k in lines
    ]  # fmt: skip
    layout = {
        "xaxis": axis("time step"),
        "yaxis": axis("error of the answer", rangemode="tozero"),
    }
    text = "Error of the answer in each time step, as if it were the last, against the float model."
    legend = {f"{name} ({dash})": series(k) for name, _, dash, k in lines}
    return Figure("errors", "Fixed-point error by time step", text, legend, traces, layout, 300)
