"""The state of the machine as the future sees it: times from now on, instructions by their shape.

Two instructions of one *shape* take the same time in every state of the machine and count the same.
Two states that are equal here go on in the same way as long as the sequencer hands over
instructions of equal shapes: that is all that `fast_forward` rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

from einchip.arch import READ_BURSTS
from einchip.program import Load
from einchip.sim.ports import Spans
from einchip.sim.work import BOUNDARY_BYTES, NEVER, TransferWork, Work

#: Stands for the bursts of a load that is smooth.
SMOOTH = "smooth"


class TransferShape(NamedTuple):
    """The shape of a LOAD or STORE: its fields, and the beats of each burst or SMOOTH."""

    fields: Hashable
    bursts: Hashable

    @property
    def smooth(self) -> bool:
        """Whether only the number of beats matters, not how they are split."""
        return self.bursts == SMOOTH


class Shapes:
    """Says of which shape instructions are: by all fields of their work that influence time.

    With a `latency`, loads that are smooth in a memory of that latency are of one shape however
    their beats are split. That is right for loads that are *alone*: launched with no burst in
    flight, and landed before the next could be launched. Burst b (READ_BURSTS or later) then has
    its address accepted in the cycle after burst b - READ_BURSTS ended. A load is smooth if the
    bursts between those two always have as many beats as the memory has cycles from an address to
    its data, which then are due before they have all moved, whatever stalls there are.
    """

    def __init__(self, latency: int | None = None) -> None:
        self._latency = latency
        self._transfers: dict[tuple[int, int], Hashable] = {}  # by word and place in a page
        self._fields: dict[type[Work], Callable[[Any], Hashable]] = {}

    def of(self, work: Work) -> Hashable:
        """Return what decides the time that an instruction takes, given the machine's state.

        An instruction that will stop the machine is like no other one.
        """
        if work.faulty:
            return object()
        get = self._fields.get(type(work))
        if get is None:
            names = [f.name for f in fields(work) if f.name not in work.TIMELESS]
            get = self._fields[type(work)] = attrgetter(*names)
        found = get(work)
        return TransferShape(found, self._split(work)) if isinstance(work, TransferWork) else found

    def _split(self, work: TransferWork) -> Hashable:
        """Return the beats of each burst, or SMOOTH."""
        key = work.pc, work.bursts[0].address % BOUNDARY_BYTES
        found = self._transfers.get(key)
        if found is None:
            beats = tuple(b.beats for b in work.bursts)
            smooth = isinstance(work.instruction, Load) and self._is_smooth(beats)
            found = self._transfers[key] = SMOOTH if smooth else beats
        return found

    def _is_smooth(self, beats: tuple[int, ...]) -> bool:
        if self._latency is None:
            return False
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
