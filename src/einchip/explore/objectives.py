"""What is to be small: names for the command line, and the figures behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from einchip.explore.errors import ExploreError, expected
from einchip.explore.evaluate import Figures


@dataclass(frozen=True)
class Objective:
    """A figure that is to be small.

    Attributes
    ----------
    name : on the command line.
    figure : the figure's name in a result.
    title, unit : for tables and axes.
    scale : what the figure is multiplied by to have that unit.
    digits : behind the point, in tables.
    """

    name: str
    figure: str
    title: str
    unit: str
    scale: float = 1.0
    digits: int = 0

    @property
    def head(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def value(self, figures: Figures) -> float:
        """Return the figure in its unit."""
        return figures[self.figure] * self.scale

    def text(self, figures: Figures) -> str:
        """Return the figure for a table."""
        return f"{self.value(figures):,.{self.digits}f}"


#: Every objective by its name. Cycles and energy are of a sequence, weights and program resident.
OBJECTIVES: Final = {
    o.name: o
    for o in (
        Objective("cycles", "cycles", "cycles", "a sequence"),
        Objective("energy", "energy_pj", "energy", "nJ a sequence", 1e-3, 1),
        Objective("area", "lut", "area", "LUT"),
        Objective("area:ff", "ff", "area", "FF"),
        Objective("area:dsp", "dsp", "area", "DSP"),
        Objective("area:ram", "block_ram", "area", "block RAM"),
        Objective("weights", "weights", "weights", ""),
        Objective("decomposition", "decomposition", "decomposition error", "%", 100, 1),
        Objective("error", "error", "error", "%", 100, 2),
        Objective("error:fixed", "error_fixed", "error in fixed point", "%", 100, 2),
    )
}


def chosen(text: str, with_data: bool, n_fixed: int) -> tuple[Objective, ...]:
    """Return the objectives of an option such as ``cycles,energy``.

    Raises ExploreError for an unknown one, one given twice, or one whose data are missing.
    """
    found = []
    for name in (part.strip() for part in text.split(",")):
        if name not in OBJECTIVES:
            raise ExploreError(f"--objective: found {name!r}; {expected(name, OBJECTIVES)}")
        if OBJECTIVES[name] in found:
            raise ExploreError(f"--objective: found {name!r} twice, expected it once")
        if name.startswith("error") and not with_data:
            raise ExploreError(
                f"--objective: found {name!r} without data, expected sequences; name them by --data"
            )
        if name == "error:fixed" and not n_fixed:
            raise ExploreError(
                f"--objective: found {name!r}, expected fixed_sequences above 0 in the space"
            )
        found.append(OBJECTIVES[name])
    return tuple(found)


def values(objectives: Sequence[Objective], figures: Figures) -> tuple[float, ...]:
    """Return what is to be small of a point."""
    return tuple(o.value(figures) for o in objectives)
