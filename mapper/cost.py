"""Cycles of CONTRACTs by the recurrence of `docs/timing.md`."""

from __future__ import annotations

from einchip.arch import ACCUMULATE_LATENCY, Architecture


def issue_cycles(tiles: int, iterations: int, n_m: int, addend: bool = False) -> int:
    """Cycles for which a CONTRACT holds the array in a steady state.

    A tile takes its iterations, or the drain of its rows where that takes longer. A drained row that
    reads an addend takes a cycle from the array.
    """
    return tiles * (iterations + n_m if addend else max(iterations, n_m))


def contract_cycles(tiles: int, iterations: int, n_m: int, arch: Architecture) -> int:
    """Cycles from the launch to the last write's grant of a CONTRACT alone, no port taken.

    Where I >= n_m tiles are issued back to back; else every tile after the first one waits for the
    drain path, which never idles from the first tile's end.
    """
    drain = ACCUMULATE_LATENCY + n_m - 1 + arch.drain_latency
    if iterations >= n_m:
        return tiles * iterations + drain
    return iterations + (tiles - 1) * n_m + drain
