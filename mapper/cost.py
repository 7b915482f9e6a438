"""Cycles of a CONTRACT, by the recurrence of `docs/timing.md` in its steady state."""

from __future__ import annotations

from einchip.arch import Architecture


def issue_cycles(tiles: int, iterations: int, n_m: int, addend: bool = False) -> int:
    """Cycles for which a CONTRACT holds the array.

    A tile takes its iterations, or the drain of its rows where that takes longer. A drained row
    that reads an addend takes a cycle from the array.
    """
    return tiles * (iterations + n_m if addend else max(iterations, n_m))


def latency(n_m: int, arch: Architecture) -> int:
    """Cycles from a step's last issue to the first issue of one that needs its result."""
    return arch.accumulate_latency + n_m + arch.drain_latency
