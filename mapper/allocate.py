"""Addresses: buffers at multiples of the lanes, those of separate lifetimes on one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.ops import Buffer
from einchip.program import ADDRESS_BITS

FOREVER = 1 << 30
#: Elements that an instruction can address.
MAX_ELEMENTS = 1 << ADDRESS_BITS


class Span(NamedTuple):
    """A buffer, and the first and last operation for which it must hold its data."""

    buffer: Buffer
    first: int
    last: int

    @property
    def elements(self) -> int:
        """Elements, both copies of a toggled buffer counted."""
        return self.buffer.elements * (2 if self.buffer.toggled else 1)

    @property
    def worth(self) -> float:
        """Cycles of reads that a place in a window takes from the array's port, per element."""
        return self.buffer.reads / self.elements


def allocate(
    buffers: Iterable[Buffer], lifetimes: Mapping[str, tuple[int, int]], arch: Architecture
) -> dict[str, int]:
    """Return each buffer's address. Raises MappingError when a scratchpad is too small."""
    bases: dict[str, int] = {}
    spans = [_span(b, lifetimes) for b in buffers]
    failed: list[int] = []
    for space in (0, 1):
        own, capacity = [s for s in spans if s.buffer.space == space], arch.capacity(space)
        found = _pack(own, capacity, arch.window_base(space)) or _pack(own, capacity, capacity)
        if found is None:
            failed.append(space)
        else:
            bases.update(found)
    if failed:
        raise _too_small(spans, failed, arch)
    return bases


def _span(buffer: Buffer, lifetimes: Mapping[str, tuple[int, int]]) -> Span:
    if buffer.permanent or buffer.name not in lifetimes:
        return Span(buffer, 0, FOREVER)
    return Span(buffer, *lifetimes[buffer.name])


def _pack(spans: list[Span], capacity: int, window: int) -> dict[str, int] | None:
    """Place by first fit, in several orders; None when none fits.

    What is worth most there for its size goes to the places from `window` on while there is room.
    """
    orders = (
        sorted(spans, key=lambda s: (s.first - s.last, -s.elements)),
        sorted(spans, key=lambda s: -s.elements),
        sorted(spans, key=lambda s: (s.first, -s.elements)),
    )
    for order in orders:
        placed: list[tuple[int, Span]] = []
        for span in sorted(order, key=lambda s: -s.worth) if window < capacity else order:
            at = _first_fit(span, placed, window if span.worth else 0)
            if at + span.elements > capacity:
                at = _first_fit(span, placed, 0)
            if at + span.elements > capacity:
                break
            placed.append((at, span))
        else:
            return {span.buffer.name: at for at, span in placed}
    return None


def _first_fit(span: Span, placed: list[tuple[int, Span]], start: int) -> int:
    """Return the first free place from `start` on."""
    at = start
    for first, other in sorted(placed, key=lambda p: p[0]):
        if other.first > span.last or other.last < span.first:
            continue
        if first >= at + span.elements:
            break
        at = max(at, first + other.elements)
    return at


def peak(spans: Iterable[Span]) -> int:
    """Return the most elements that live at one time."""
    spans = list(spans)
    return max(
        (
            sum(o.elements for o in spans if o.first <= s.first <= o.last)
            for s in spans
        ),
        default=0,
    )  # fmt: skip


def _too_small(spans: list[Span], failed: list[int], arch: Architecture) -> MappingError:
    """Return the error of the scratchpad that is the furthest from fitting."""
    live = {space: [s for s in spans if s.buffer.space == space] for space in failed}
    space = max(failed, key=lambda f: peak(live[f]) - arch.capacity(f))
    need, have = peak(live[space]), arch.capacity(space)
    largest = max(live[space], key=lambda s: s.elements)
    depth = 1 << (-(-max(need, have + 1) // arch.lanes) - 1).bit_length()
    name = "XY"[space]
    way_out = (
        f"set {name.lower()}_depth to {depth}"
        if depth * arch.lanes <= MAX_ELEMENTS
        else f"compress {largest.buffer.name}, since no scratchpad has more than {MAX_ELEMENTS}"
    )
    return MappingError(
        f"scratchpad {name}: found {need} elements needed (the largest is {largest.buffer.name}: "
        f"{largest.elements}), expected at most {have}; {way_out}",
        max(1, sum(max(0, peak(live[f]) - arch.capacity(f)) for f in failed)),
    )
