"""Cycles of a CONTRACT, by the recurrence of `docs/timing.md` in its steady state."""

from __future__ import annotations

from einchip.arch import Architecture


def issue_cycles(
    tiles: int, iterations: int, n_m: int, addend: bool = False, held: int = 1, passing: int = 1
) -> int:
    """Cycles for which a CONTRACT holds the array: the next one may issue, or drain, after them.

    A tile takes the slots of its iterations, or the drain of its rows where that takes longer. With
    `addend` a drained row takes a cycle from the array: it reads an addend, not through a window.
    `held` vectors of X are kept while `passing` vectors of Y pass (nh and Q of `program.Contract`).
    """
    rows = passing * n_m
    if held == 1 and passing == 1:
        return tiles * (iterations + n_m if addend else max(iterations, n_m))
    period = max(held, passing)
    slots, last = iterations * period, (iterations - 1) * period + passing
    if addend:
        return held + (tiles - 1) * slots + last + tiles * rows
    return held + (tiles - 1) * max(slots, rows) + max(last, rows)


def latency(rows: int, arch: Architecture) -> int:
    """Cycles from a step's last issue to the first issue of one that needs its result.

    `rows` are those that its last tile drains. A serial machine issues when all is done.
    """
    if arch.serial:
        return 0
    return arch.accumulate_latency + rows + arch.drain_latency
