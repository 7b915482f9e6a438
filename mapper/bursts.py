"""The memory that predictions assume, and how transfers are cut into bursts."""

from __future__ import annotations

from collections.abc import Iterator

from einchip.arch import Architecture

#: Cycles of the memory model from an address to the first beat.
MEMORY_LATENCY = 8
#: Bytes between addresses that a burst must not cross.
BURST_BOUNDARY = 4096


def bursts(address: int, beats: int, arch: Architecture) -> Iterator[int]:
    """Yield the beats of each burst of a transfer."""
    while beats > 0:
        to_boundary = (BURST_BOUNDARY - address % BURST_BOUNDARY) // arch.port_bytes
        taken = min(beats, arch.burst_beats, to_boundary)
        yield taken
        address, beats = address + taken * arch.port_bytes, beats - taken
