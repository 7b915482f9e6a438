"""The store unit with the memory behind it: when beats are read and responses come."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from einchip.arch import STORE_BEATS, WRITE_BURSTS, Architecture
from einchip.program import Error
from einchip.sim.ports import Spans
from einchip.sim.shape import Shapes, from_now
from einchip.sim.unit import RANK_STORE, Job, Stop, TransferUnit, read_stop
from einchip.sim.work import NEVER, Burst

#: Cycles from a beat's read grant to `wvalid`.
OFFER_CYCLES = 4
if STORE_BEATS <= OFFER_CYCLES:
    raise AssertionError("a store would wait for its own beats, which `StoreUnit` does not model")


@dataclass(slots=True)
class _Flight:
    """A burst with an address taken (or to be taken in a known cycle): its beats left to read.

    `moved` counts the beats of its STORE before the next one.
    """

    burst: Burst
    job: Job
    readable: int  # first cycle in which the next beat may be read
    left: int
    moved: int
    last: bool
    response: int = NEVER


class StoreUnit(TransferUnit):
    """Executes STOREs one behind the other against a memory of fixed latency.

    Such a memory takes every address and every beat at once, so a store never holds more beats than
    the OFFER_CYCLES between read and offer.
    """

    NAME = "store"
    TRANSIENT = TransferUnit.TRANSIENT | {"_reading", "_waiting"}  # see `flights_state`

    def __init__(self, arch: Architecture, stops: list[Stop], latency: int) -> None:
        super().__init__(arch, stops, latency, WRITE_BURSTS)
        self._reading: deque[_Flight] = deque()
        self._waiting: deque[_Flight] = deque()  # for a response

    @property
    def in_flight(self) -> int:
        return len(self._reading) + len(self._waiting)

    def flights_state(self, t: int, shapes: Shapes) -> Hashable:
        return tuple(
            (shapes.of(f.job.work), from_now((f.readable, f.response), t), f.left, f.moved, f.last)
            for flights in (self._reading, self._waiting)
            for f in flights
        )

    def take_off(self, job: Job | None, burst: Burst, at: int, moved: int, last: bool) -> None:
        if job is None:
            raise RuntimeError("only the load unit fetches programs")
        self._reading.append(_Flight(burst, job, at + 1, burst.beats, moved, last))

    def next_end(self, t: int) -> int:
        if self._waiting:
            return self._waiting[0].response
        return self._after_reads(t, self._reading[0].left)

    def next_last(self, t: int) -> int:
        for flight in self._waiting:
            if flight.last:
                return flight.response
        beats = 0
        for flight in self._reading:
            beats += flight.left
            if flight.last:
                return self._after_reads(t, beats)
        known = self._after_reads(t, beats) if beats else self._waiting[-1].response
        return known + 1

    def _after_reads(self, t: int, beats: int) -> int:
        """Return a lower bound of the response's cycle after so many more beats, from t on."""
        return max(t, self._reading[0].readable) + beats - 1 + OFFER_CYCLES + self.latency

    def advance(self, t: int, end: int, taken: Sequence[Spans]) -> None:
        """Run the cycles t .. end - 1; others have the read ports in the spans `taken`."""
        moved, stalled = self.transferred, self.stall_port
        self.inactive_from = end if self.in_flight else t
        at = t
        while True:
            at = self._read(at, end, taken)
            if not self._waiting or self._waiting[0].response >= end:
                break
            self._respond(end)
        busy = self.inactive_from - t
        self.stall_memory += busy - (self.transferred - moved) - (self.stall_port - stalled)

    def _read(self, t: int, end: int, taken: Sequence[Spans]) -> int:
        """Read beats in the cycles t .. end - 1; return the first in which none was looked for."""
        while self._reading:
            flight = self._reading[0]
            t = max(t, flight.readable)
            if t >= end:
                break
            span = taken[self.transfer(flight.job).port].after(t)
            if span is not None and span[0] <= t:
                n = min(span[1], end) - t
                self.spend("stall_port", t, t + n)
                t += n
                continue
            n = min(flight.left, (end if span is None else min(end, span[0])) - t)
            self._note_beats(flight, t, n)
            t += n
            if not flight.left:
                flight.response = t - 1 + OFFER_CYCLES + self.latency
                self._waiting.append(self._reading.popleft())
        return t

    def _note_beats(self, flight: _Flight, t: int, n: int) -> None:
        """Read n beats in the cycles from t on."""
        work = self.transfer(flight.job)
        self.transferred += n
        self.reads[work.space] += n * self.port_elements
        if self.record is not None:
            self.record.add("store_transfer", t, t + n)
            self.record.add("dma_write_beats", t + OFFER_CYCLES, t + n + OFFER_CYCLES)
            self.record.access("reads", work.space, t, t + n, self.port_elements)
        if 0 <= work.fault.access - flight.moved < n:
            granted = t + work.fault.access - flight.moved
            self.stops.append(read_stop(granted, work.port, work.fault.address))
        flight.moved += n
        flight.left -= n

    def _respond(self, end: int) -> None:
        """Take the first response."""
        flight = self._waiting.popleft()
        t = flight.response
        if self.transfer(flight.job).bus_fault < flight.moved:
            self.note_bus_fault(t, RANK_STORE, Error.AXI_WRITE, flight.burst)
        self.issue_after(t)
        if flight.last:
            self.complete(flight.job, t)
        self.inactive_from = end if self.in_flight else t + 1
