"""The load unit with the memory behind it: when addresses are taken and beats come."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from einchip.arch import READ_BURSTS, Architecture
from einchip.program import Error
from einchip.sim.ports import Span, Spans
from einchip.sim.shape import Shapes, TransferShape
from einchip.sim.unit import RANK_LOAD, Job, Stop, TransferUnit, write_stop
from einchip.sim.work import Burst, TransferWork


@dataclass(slots=True)
class _Flight:
    """A burst with an address taken (or to be taken in a known cycle): its beats that are left.

    `moved` counts the beats of its LOAD before the next one, `job` is None for the program fetch.
    """

    burst: Burst
    job: Job | None
    due: int  # first cycle in which the next beat can come
    left: int
    moved: int
    last: bool


class LoadUnit(TransferUnit):
    """Executes LOADs one behind the other against a memory of fixed latency.

    Such a memory takes every address at once, so only ports, latency and the bursts in flight hold
    a transfer up. The program fetch is a load without an instruction, into program memory.

    Members
    -------
    alone : no burst was in flight when the last LOAD was launched.
    crowded : how often one was in flight where a LOAD was launched, or would have been if it could.
    """

    NAME = "load"
    TRANSIENT = TransferUnit.TRANSIENT | {"_flights", "_landed", "alone", "crowded"}

    def __init__(self, arch: Architecture, stops: list[Stop], latency: int) -> None:
        super().__init__(arch, stops, latency, READ_BURSTS)
        self.fetched = False
        self._flights: deque[_Flight] = deque()
        self._landed = -1  # cycle of the last burst's last beat
        self.alone, self.crowded = True, 0

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    @property
    def work(self) -> TransferWork | None:
        """The instruction whose beat comes next; None for the program fetch, or without any."""
        job = self._flights[0].job if self._flights else None
        return None if job is None else self.transfer(job)

    @property
    def is_alone(self) -> bool:
        """All bursts in flight are of one LOAD, launched while there was none."""
        return self.alone or not self._flights

    def timing_state(self, t: int, shapes: Shapes) -> dict[str, Hashable]:
        found = super().timing_state(t, shapes)
        first = self._flights[0] if self._flights else None
        if first is not None and first.job is not None:
            shape = shapes.of(first.job.work)
            if isinstance(shape, TransferShape) and shape.smooth:
                del found["waiting"], found["_next_address"]
                found["flights"] = shape, max(0, first.due - t), first.moved
        return found

    def flights_state(self, t: int, shapes: Shapes) -> Hashable:
        return tuple(
            (f.job and shapes.of(f.job.work), max(0, f.due - t), f.left, f.moved, f.last)
            for f in self._flights
        )

    def control(self, c: int, tokens: int) -> int:
        if self.is_ready(c, tokens) and self._flies(c):
            self.crowded += 1
        return super().control(c, tokens)

    def _flies(self, c: int) -> bool:
        """Tell, at the end of cycle c, whether a burst was in flight in it."""
        return bool(self._flights) or self._landed == c

    def begin(self, job: Job | None, bursts: tuple[Burst, ...], c: int) -> None:
        self.alone = not self._flies(c)
        super().begin(job, bursts, c)

    def start_fetch(self, bursts: tuple[Burst, ...], c: int) -> None:
        """Start the program fetch in cycle c."""
        self.begin(None, bursts, c)

    def take_off(self, job: Job | None, burst: Burst, at: int, moved: int, last: bool) -> None:
        self._flights.append(_Flight(burst, job, at + self.latency, burst.beats, moved, last))

    def next_end(self, t: int) -> int:
        first = self._flights[0]
        return max(t, first.due) + first.left - 1

    def next_last(self, t: int) -> int:
        t = max(t, self._flights[0].due) - 1
        for flight in self._flights:
            t += flight.left
            if flight.last:
                return t
        return t + 1

    def advance(self, t: int, end: int, taken: list[Span]) -> None:
        """Run the cycles t .. end - 1; others have the scratchpad's port in the spans `taken`."""
        spans, begin = Spans(taken), t
        moved, stalled = self.transferred, self.stall_port
        while t < end and self._flights:
            flight = self._flights[0]
            if flight.due > t:
                t = flight.due
                continue
            span = spans.after(t)
            if span is not None and span[0] <= t:
                n = min(span[1], end) - t
                self.spend("stall_port", t, t + n)
                t += n
                continue
            n = min(flight.left, (end if span is None else min(end, span[0])) - t)
            self._note_beats(flight, t, n)
            t += n
            if not flight.left:
                self._land(t - 1)
        self.inactive_from = end if self._flights else min(t, end)
        busy = self.inactive_from - begin
        self.stall_memory += busy - (self.transferred - moved) - (self.stall_port - stalled)

    def _note_beats(self, flight: _Flight, t: int, n: int) -> None:
        """Accept n beats in the cycles from t on."""
        self.transferred += n
        if self.record is not None:
            self.record.add("load_transfer", t, t + n)
            self.record.add("dma_read_beats", t, t + n)
        if flight.job is not None:
            work = self.transfer(flight.job)
            self.writes[work.space] += n * self.port_elements
            if self.record is not None:
                self.record.access("writes", work.space, t, t + n, self.port_elements)
            if 0 <= work.fault.access - flight.moved < n:
                granted = t + work.fault.access - flight.moved
                self.stops.append(write_stop(granted, work.space, work.fault.address))
            if 0 <= work.bus_fault - flight.moved < n:
                at = t + work.bus_fault - flight.moved
                self.note_bus_fault(at, RANK_LOAD, Error.AXI_READ, flight.burst)
        flight.moved += n
        flight.left -= n

    def _land(self, t: int) -> None:
        """End the first burst, whose last beat came in cycle t."""
        flight = self._flights.popleft()
        self._landed = t
        self.issue_after(t)
        if self._flights:
            self._flights[0].due = max(self._flights[0].due, t + 1)
        if not flight.last:
            return
        if flight.job is None:
            self.fetched = True
        else:
            self.complete(flight.job, t)
