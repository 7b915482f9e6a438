"""Cycles of a CONTRACT, by the recurrence of `docs/timing.md` in its steady state."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from einchip.arch import Architecture


class Others(NamedTuple):
    """What others read through X's port, not Y's window, while a CONTRACT runs.

    `addend`: every drained row reads one; `reads`: part of the cycles in which the vector unit
    reads. Where values of X are held, the port is idle in the other slots.
    """

    addend: bool = False
    reads: float = 0.0


NO_OTHERS = Others()


def stalls(tiles: int, iterations: int, others: Others, held: int = 1) -> int:
    """Cycles for which a CONTRACT waits for the vector unit's reads, about."""
    return ceil(others.reads * tiles * iterations * held)


def issue_cycles(
    tiles: int, iterations: int, n_m: int, addend: bool = False, held: int = 1, passing: int = 1
) -> int:
    """Cycles for which a CONTRACT holds the array: the next one may issue, or drain, after them.

    A tile takes the slots of its iterations, or the drain of its rows where that takes longer. With
    `addend` a drained row takes a cycle from the array where that reads X: it reads an addend, not
    through Y's window. `held` vectors of X are kept while `passing` vectors of Y pass (nh and Q of
    `program.Contract`).
    """
    rows = passing * n_m
    if held == 1 and passing == 1:
        return tiles * (iterations + n_m if addend else max(iterations, n_m))
    period = max(held, passing)
    slots, last = iterations * period, (iterations - 1) * period + passing
    if addend:
        return held + (tiles - 1) * slots + last + ceil(tiles * rows * held / period)
    return held + (tiles - 1) * max(slots, rows) + max(last, rows)


def latency(rows: int, arch: Architecture) -> int:
    """Cycles from a step's last issue to the first issue of one that needs its result.

    `rows` are those that its last tile drains.
    """
    return arch.accumulate_latency + rows + arch.drain_latency
