"""What a design takes on a part: a linear model, unit by unit, fitted to measurements.

LUTs and flip-flops of a unit are a sum of `TERMS` with coefficients that are not negative, fitted
by least squares of the relative error to what Yosys maps for ECP5. For another family each unit's
figure is multiplied by what the same machines take there. The units of a system together take
a little less than each alone: `together`, from systems that were mapped whole. DSP blocks are
counted, product by product; block RAM and SPRAM by the shapes of its memories (`memories`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einchip.arch import Architecture
from einchip.fpga.fit.features import TERMS, Term
from einchip.fpga.fit.measure import Row, read
from einchip.fpga.fit.memories import BLOCKS, block_rams, sprams
from einchip.fpga.fit.units import SERIAL, SYSTEM, UNITS, Design, units_of
from einchip.fpga.products import products
from einchip.fpga.targets.families import ECP5, SPRAM, Family, Part

#: What is estimated; the other kinds are counted.
FITTED: Final = ("lut", "ff")
#: Units that are built alike, and fitted together.
GROUPS: Final = (
    ("scratchpad_x", "scratchpad_y"),
    *((unit,) for unit in UNITS if not unit.startswith("scratchpad")),
)
#: What a machine may have more of than all that were measured.
RANGES: Final[Mapping[str, Callable[[Architecture], int]]] = {
    "PEs": lambda arch: arch.n_pes,
    "lanes": lambda arch: arch.lanes,
    "accumulators": lambda arch: arch.accumulators,
    "acc_bits": lambda arch: arch.acc_bits,
}


@dataclass(frozen=True)
class Errors:
    """Relative errors: how often, the mean of their sizes, and the largest."""

    n: int
    mean: float
    worst: float

    @staticmethod
    def of(found: Sequence[float]) -> Errors:
        """Return the errors' figures."""
        sizes = np.abs(found)
        return Errors(len(sizes), float(sizes.mean()), float(sizes.max()))


@dataclass(frozen=True)
class Fit:
    """A unit's figure of one kind as a sum of terms.

    Attributes
    ----------
    terms, coefficients : of each, cells for one of what it counts.
    errors : of each measured design, from a model that was fitted without it.
    """

    terms: tuple[Term, ...]
    coefficients: tuple[float, ...]
    errors: Errors

    def __call__(self, design: Design) -> float:
        """Return the figure of a design."""
        pairs = zip(self.terms, self.coefficients, strict=True)
        return sum(term.of(design) * coefficient for term, coefficient in pairs)


@dataclass(frozen=True)
class Estimate:
    """What a design takes on a part.

    Attributes
    ----------
    units : by unit and kind, each alone.
    used : by kind, all together.
    """

    design: Design
    part: Part
    units: Mapping[str, Mapping[str, float]]
    used: Mapping[str, int]

    def share(self, kind: str) -> float:
        """Return what is used of what the part has."""
        return self.used[kind] / self.part.has[kind]

    def allowed(self, kind: str) -> int:
        """Return how much of a kind a machine may use that fits: all, or nearly all."""
        return int(self.part.room(kind))

    @property
    def lacking(self) -> tuple[str, ...]:
        """The kinds of which more is used than allowed."""
        return tuple(kind for kind in self.used if self.used[kind] > self.allowed(kind))


class Model:
    """The model of some measurements. Raises ValueError where they do not decide it."""

    def __init__(self, rows: Iterable[Row]) -> None:
        #: What was measured, by family and unit, of each design.
        self.measured: dict[tuple[str, str], dict[Design, dict[str, int]]] = {}
        for row in rows:
            case = row.case
            self.measured.setdefault((case.family, case.unit), {})[case.design] = row.counted()
        self.fits = {
            (unit, kind): fit
            for group in GROUPS
            for kind in FITTED
            for unit, fit in self._fit(group, kind).items()
        }
        self.together = {kind: self._together(kind) for kind in FITTED}

    def _fit(self, group: Sequence[str], kind: str) -> dict[str, Fit]:
        """Fit units of one build; leave each design out once."""
        found = [
            (design, unit, counted[kind])
            for unit in group
            for design, counted in self._of(ECP5.title, unit).items()
        ]
        values = np.array([[t.of(d) for t in TERMS[unit][kind]] for d, unit, _ in found], float)
        figures = np.array([figure for *_, figure in found], float)
        errors: list[float] = []
        for left_out in dict.fromkeys(design for design, *_ in found):
            others = np.array([design != left_out for design, *_ in found])
            if _decided(values[others]):
                without = _solve(values[others], figures[others])
                errors += list(values[~others] @ without / figures[~others] - 1)
        if not _decided(values) or not errors:
            raise ValueError(
                f"{group[0]}: found {len(figures)} measurements, expected more than decide the "
                f"{values.shape[1]} terms of its {kind}; measure more"
            )
        solved = tuple(map(float, _solve(values, figures)))
        return {unit: Fit(TERMS[unit][kind], solved, Errors.of(errors)) for unit in group}

    def _of(self, family: str, unit: str) -> dict[Design, dict[str, int]]:
        if (family, unit) not in self.measured:
            raise ValueError(f"{unit}: found nothing measured for {family}, expected some designs")
        return self.measured[family, unit]

    def _together(self, kind: str) -> float:
        """Return what systems take, of the sum of their units."""
        whole = self._of(ECP5.title, SYSTEM)
        alone = sum(
            self._of(ECP5.title, unit)[design][kind]
            for design in whole
            for unit in units_of(design.arch)
        )
        return sum(counted[kind] for counted in whole.values()) / alone

    def _ratio(self, family: str, unit: str, kind: str) -> tuple[float, float]:
        """Return what a unit takes on a family, of what it takes on ECP5, and the largest error.

        That is the error that this ratio makes of any machine that was measured on both.
        """
        if family == ECP5.title:
            return 1.0, 0.0
        there, here = self._of(family, unit), self._of(ECP5.title, unit)
        both = there.keys() & here.keys()
        ratio = sum(there[d][kind] for d in both) / sum(here[d][kind] for d in both)
        return ratio, max(abs(here[d][kind] * ratio / there[d][kind] - 1) for d in both)

    def _small_memories(self, family: Family, unit: str, arch: Architecture) -> int:
        """Return the blocks of memories that other families keep in LUT RAM, as measured.

        That is of the machine with elements of the same width, where the unit was measured so.
        """
        if BLOCKS[family.title].lut_ram:
            return 0
        found = self._of(family.title, unit)
        alike = {d: n for d, n in found.items() if d.arch.data_bits == arch.data_bits} or found
        return max(n["block_ram"] - block_rams(unit, d, family) for d, n in alike.items())

    def unit(self, unit: str, design: Design, family: Family) -> dict[str, float]:
        """Return what a unit takes alone, by kind."""
        title = family.title
        fitted = {
            kind: self.fits[unit, kind](design) * self._ratio(title, unit, kind)[0]
            for kind in FITTED
        }
        blocks = block_rams(unit, design, family) + self._small_memories(family, unit, design.arch)
        counted = {"dsp": _dsp(family, unit, design.arch), "block_ram": blocks}
        if SPRAM in family.kinds:
            counted[SPRAM] = sprams(unit, design, family)
        return fitted | counted

    def estimate(self, design: Design, part: Part) -> Estimate:
        """Return what a design takes on a part."""
        units = {u: self.unit(u, design, part.family) for u in units_of(design.arch)}
        kinds = part.family.kinds
        total = {kind: sum(figures[kind] for figures in units.values()) for kind in kinds}
        used = {kind: ceil(n * self.together.get(kind, 1)) for kind, n in total.items()}
        return Estimate(design, part, units, used)

    def error(self, estimate: Estimate, kind: str) -> float:
        """Return the relative error of LUTs or flip-flops: as if no unit's made up for another's.

        Of each unit the mean error of designs that were left out, and on other families than ECP5
        that of its ratio.
        """
        total = wrong = 0.0
        for unit, figures in estimate.units.items():
            of_ratio = self._ratio(estimate.part.family.title, unit, kind)[1]
            total += figures[kind]
            wrong += figures[kind] * (self.fits[unit, kind].errors.mean + of_ratio)
        return wrong / total

    def beyond(self, design: Design) -> list[str]:
        """Return the fields in which a machine is larger than all that were measured for ECP5."""
        unit = SERIAL if design.arch.serial else "array"
        machines = [d.arch for d in self._of(ECP5.title, unit)]
        return [
            name
            for name, of in RANGES.items()
            if of(design.arch) > max(of(measured) for measured in machines)
        ]

    def to_json(self, estimate: Estimate) -> dict[str, Any]:
        """Return an estimate as plain data."""
        return {
            "arch": estimate.design.arch.model_dump(),
            "memory_bytes": estimate.design.memory_bytes,
            "used": dict(estimate.used),
            "has": dict(estimate.part.has),
            "allowed": {kind: estimate.allowed(kind) for kind in estimate.used},
            "error": {kind: self.error(estimate, kind) for kind in FITTED},
            "lacking": list(estimate.lacking),
            "beyond_measured": self.beyond(estimate.design),
            "units": {unit: dict(figures) for unit, figures in estimate.units.items()},
        }


def _dsp(family: Family, unit: str, arch: Architecture) -> float:
    """Return the DSP blocks of a unit."""
    its = products(arch).get(unit, {})
    return sum(n * family.product_blocks(bits) for bits, n in its.items())


def _solve(values: NDArray[Any], figures: NDArray[Any]) -> NDArray[Any]:
    """Return the coefficients of least squares of the relative error."""
    weighted = values / figures[:, None]
    return np.linalg.lstsq(weighted, np.ones(len(figures)), rcond=None)[0]


def _decided(values: NDArray[Any]) -> bool:
    """Tell whether designs tell all terms from one another."""
    scaled = values / np.maximum(values.max(axis=0, initial=0), 1)
    return int(np.linalg.matrix_rank(scaled)) == values.shape[1]


@cache
def committed() -> Model:
    """Return the model of the committed measurements."""
    return Model(read())
