"""The state of the machine as the future sees it: times from now on, instructions by their shape.

Two instructions of one *shape* take the same time in every state of the machine and count the same.
Two states that are equal here go on in the same way as long as the sequencer hands over
instructions of equal shapes: that is all that `fast_forward` rests on.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from einchip.arch import READ_BURSTS
from einchip.program import Load
from einchip.sim.ports import Spans
from einchip.sim.work import (
    BOUNDARY_BYTES,
    NEVER,
    NO_FAULT,
    ContractWork,
    TransferWork,
    VectorWork,
    Work,
)


class Smooth(NamedTuple):
    """The shape of a load whose beats never wait for an address.

    With LATENCY cycles from an address to its data, burst b (READ_BURSTS or later) has its address
    accepted in the cycle after burst b - READ_BURSTS ended, or right after that of burst b - 1. If
    the bursts between those two have LATENCY beats or more, its data are due before they have all
    moved, whatever stalls there are. So only the number of beats matters, not how they are split.
    """

    pc: int


class Shapes:
    """Says of which shape instructions are, with a memory of some latency."""

    def __init__(self, latency: int) -> None:
        self._latency = latency
        self._transfers: dict[tuple[int, int], Hashable] = {}  # by word and place in a page

    def of(self, work: Work) -> Hashable:
        """Return what decides the time that an instruction takes, given the machine's state.

        An instruction that will stop the machine is like no other one.
        """
        if isinstance(work, TransferWork):
            return self._transfer(work)
        if isinstance(work, ContractWork):
            return object() if work.faulty else work.pc
        if isinstance(work, VectorWork):
            faulty = work.read_fault is not NO_FAULT or work.write_fault is not NO_FAULT
            return object() if faulty else work.pc
        raise TypeError(f"{work} has no shape")

    def _transfer(self, work: TransferWork) -> Hashable:
        if work.fault is not NO_FAULT or work.bus_fault != NEVER:
            return object()
        key = work.pc, work.bursts[0].address % BOUNDARY_BYTES
        found = self._transfers.get(key)
        if found is None:
            found = tuple(b.beats for b in work.bursts)
            if isinstance(work.instruction, Load) and self.is_smooth(found):
                found = Smooth(work.pc)
            else:
                found = work.pc, found
            self._transfers[key] = found
        return found

    def is_smooth(self, beats: tuple[int, ...]) -> bool:
        """Tell whether a load in bursts of so many beats never waits for an address."""
        between = READ_BURSTS - 1
        return all(
            sum(beats[b - between : b]) >= self._latency for b in range(READ_BURSTS, len(beats))
        )


def from_now(value: object, t: int) -> Hashable:
    """Return cycles, spans of cycles, and tuples of them, counted from cycle t.

    What is over by then is all alike: 0, or in the case of spans left out.
    """
    if isinstance(value, int):
        return value if value >= NEVER else max(0, value - t)
    if isinstance(value, Spans):
        value.after(t)
        return tuple((max(0, start - t), stop - t) for start, stop in value)
    if isinstance(value, Iterable):
        return tuple(from_now(v, t) for v in value)
    raise TypeError(f"{value!r} holds no cycles")
