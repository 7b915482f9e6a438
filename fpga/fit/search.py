"""The largest machine that fits a part, and the smallest change that makes one fit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import log2
from typing import Final

from einchip.arch import PRESETS, ArchError, Architecture
from einchip.fpga.fit.model import Estimate, Model
from einchip.fpga.fit.units import Design
from einchip.fpga.targets.families import Part

#: Fields that a change may halve, and those that it may set to 0.
HALVED: Final = ("rows", "cols", "lanes", "x_depth", "y_depth")
DROPPED: Final = ("x_window", "y_window")
#: Halvings of a change, at most.
MOST_HALVINGS: Final = 8
#: Windows are this share of a scratchpad's rows, as in the presets that have some.
WINDOW_SHARE: Final = 8


def size(arch: Architecture) -> tuple[float, ...]:
    """Return what makes one machine larger than another.

    Processing elements, then lanes, elements of the scratchpads, elements of their windows; of two
    equal ones, the array that is nearer to a square, then the one with more columns.
    """
    elements = sum(arch.capacity(space) for space in (0, 1))
    windows = sum(arch.window(space) for space in (0, 1))
    oblong = abs(log2(arch.rows) - log2(arch.cols))
    return (arch.n_pes, arch.lanes, elements, windows, -oblong, arch.cols)


def _powers(name: str) -> tuple[int, ...]:
    """Return the powers of two between the presets' least and greatest value of a field."""
    values = [getattr(arch, name) for arch in PRESETS.values()]
    return tuple(1 << k for k in range(min(values).bit_length() - 1, max(values).bit_length()))


@cache
def family() -> tuple[Architecture, ...]:
    """Return the machines of which the largest is looked for, the largest first.

    The presets; and with fold `hybrid` every power of two of rows, columns, lanes and depth between
    the presets', 8-bit elements, a byte of the memory port for each lane, with and without windows.
    """
    found = [*PRESETS.values(), *_variants()]
    return tuple(sorted(found, key=size, reverse=True))


def _variants() -> Iterator[Architecture]:
    for lanes in _powers("lanes"):
        for depth in _powers("x_depth"):
            for window in (0, depth // WINDOW_SHARE):
                for rows in _powers("rows"):
                    for cols in _powers("cols"):
                        if min(rows, cols) > 1 and max(rows, cols) <= lanes:
                            yield Architecture.model_validate({
                                "rows": rows, "cols": cols, "lanes": lanes, "port_bytes": lanes,
                                "x_depth": depth, "y_depth": depth,
                                "x_window": window, "y_window": window,
                            })  # fmt: skip


def largest(model: Model, part: Part, memory_bytes: int) -> Estimate | None:
    """Return the largest machine of the `family` that fits a part, with a memory; None if none."""
    for arch in family():
        estimate = model.estimate(Design(arch, memory_bytes), part)
        if not estimate.lacking:
            return estimate
    return None


def change(model: Model, estimate: Estimate) -> Architecture | None:
    """Return the machine that fits and is the fewest halvings away, the largest of those.

    To drop a window counts as one, and so does `hybrid` instead of `flex`, and a serial machine
    instead of 2 x 2. A field is halved
    together with those that it bounds: rows, columns and port by lanes, a window by its depth. None
    where no machine within `MOST_HALVINGS` fits.
    """
    reached = [estimate.design.arch]
    for _ in range(MOST_HALVINGS):
        reached = list(dict.fromkeys(smaller for arch in reached for smaller in _halved(arch)))
        fits = [arch for arch in reached if not _lacking(model, estimate, arch)]
        if fits:
            return max(fits, key=size)
    return None


def _lacking(model: Model, estimate: Estimate, arch: Architecture) -> tuple[str, ...]:
    design = Design(arch, estimate.design.memory_bytes)
    return model.estimate(design, estimate.part).lacking


def _halved(arch: Architecture) -> Iterator[Architecture]:
    """Yield the machines that are one halving away, or another of the changes of `change`."""
    if arch.fold == "flex":
        yield arch.override("change", fold="hybrid")
    if arch.rows == arch.cols == 2:
        yield arch.override("change", rows=1, cols=1, fold="op", x_window=0, y_window=0)
    for name in (*HALVED, *DROPPED):
        half = 0 if name in DROPPED else getattr(arch, name) // 2
        fields = {name: half}
        if name == "lanes":
            fields |= {other: min(getattr(arch, other), half) for other in ("rows", "cols")}
            fields["port_bytes"] = min(arch.port_bytes, half * arch.element_bytes)
        try:
            smaller = arch.override("change", **fields)
        except ArchError:  # no machine is as small as that
            continue
        if smaller != arch:
            yield smaller


def differences(before: Architecture, after: Architecture) -> dict[str, tuple[object, object]]:
    """Return the fields in which two machines differ, besides their names: before and after."""
    pairs = {
        name: (getattr(before, name), getattr(after, name)) for name in type(before).model_fields
    }
    return {name: pair for name, pair in pairs.items() if name != "name" and pair[0] != pair[1]}
