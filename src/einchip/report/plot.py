"""What plots are: data of Plotly, with colours that the page resolves.

A colour is "var(--name)", a CSS variable of the page, so that the plots follow its theme. Plotly
takes `<` in names as markup, so names are escaped in every plot. None has a legend of its
own: `Figure` says what each colour means, and the page writes it in HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: The CSS variable of each state, loss, component and kind of value.
COLOURS: Final = {
    "work": "work", "floor": "work", "operands": "operands", "lanes": "lanes", "port": "port",
    "drain": "drain", "write": "write", "memory": "memory", "token": "token", "setup": "setup",
    "idle": "idle",
    "multipliers": "work", "reads of X": "operands", "reads of Y": "token", "results": "drain",
    "constant": "idle", "input": "memory", "intermediate": "operands", "state or output": "token",
}  # fmt: skip
#: Colours of series without meanings of their own, in this order.
SERIES: Final = (
    "work", "operands", "port", "token", "memory", "drain", "lanes", "setup", "write", "idle",
)  # fmt: skip
#: Colours that are dark in the light theme.
STRONG: Final = ("work", "drain", "write", "port", "lanes")
#: Length of an axis over that of its longest bar, with room for the text behind it.
ROOM: Final = 1.3


@dataclass(frozen=True)
class Figure:
    """A plot: its title, what a reader is told of it, its colours by meaning, height in pixels."""

    name: str
    title: str
    text: str
    legend: Mapping[str, str]
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int = 320

    def to_json(self) -> dict[str, Any]:
        """Return what the page's script draws."""
        return {"data": self.traces, "layout": self.layout, "height": self.height}


def colour(meaning: str) -> str:
    """Return the colour of something that has one."""
    return f"var(--c-{COLOURS[meaning]})"


def inside(meaning: str) -> dict[str, str]:
    """Return the font of text on a colour that has a meaning."""
    name = COLOURS[meaning]
    ground = "strong" if name in STRONG else "idle" if name == "idle" else "soft"
    return {"color": f"var(--on-{ground})"}


def series(number: int) -> str:
    """Return the colour of series `number`."""
    return f"var(--c-{SERIES[number % len(SERIES)]})"


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title."""
    return {"title": {"text": title}, **more}
