"""The HTML page: one file that asks for nothing else, with tables, plots and trees."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from einchip.report.data import Report
from einchip.report.figures import figures
from einchip.report.tables import tables
from einchip.report.trees import tree_svg

#: What must not stand in a script element as it is, and how JSON writes it instead.
_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def page(report: Report) -> str:
    """Return the page of a report."""
    drawn = figures(report)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.from_string(_asset("page.html")).render(
        report=report,
        tables=tables(report),
        figures=drawn,
        trees=[(n, Markup(tree_svg(n))) for n in report.networks],
        plots=Markup(embedded({name: f.to_json() for name, f in drawn.items()})),
        style=Markup(_asset("page.css")),
        script=Markup(_asset("page.js")),
        plotly=Markup(get_plotlyjs()),
    )


def embedded(content: Any) -> str:
    """Return JSON that may stand inside a script element, whatever its strings hold."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for character, code in _ESCAPES.items():
        text = text.replace(character, code)
    return text


def _asset(name: str) -> str:
    return (resources.files("einchip.report") / name).read_text(encoding="utf-8")
