"""The DMA engine with the memory behind it: when beats move."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from einchip.arch import READ_BURSTS, STORE_BEATS, Architecture
from einchip.program import Error, Store
from einchip.sim.ports import Span, Spans
from einchip.sim.shape import Shapes, Smooth
from einchip.sim.unit import RANK_DMA, Job, Stop, Unit, address_stop
from einchip.sim.work import NEVER, Burst, TransferWork

#: Cycles from a store's read grant to `wvalid`.
OFFER_CYCLES = 4
if STORE_BEATS <= OFFER_CYCLES:
    raise AssertionError("a store would wait for its own beats, which `Dma` does not model")


class Dma(Unit):
    """Executes one transfer at a time against a memory of fixed latency.

    Such a memory takes every address and every written beat at once, so a store never holds more
    beats than the OFFER_CYCLES between read and offer, and only ports and latency hold a transfer
    up. The program fetch is a load without an instruction, into program memory.

    Parameters
    ----------
    latency : cycles from an address to its first beat, from a last beat to its response.
    """

    COUNTS = Unit.COUNTS | {"read_beats", "write_beats", "stall_port", "stall_memory"}
    TRANSIENT = Unit.TRANSIENT | {
        "_bursts", "_burst", "_left", "_beats", "_moved", "_due", "_next_address", "_addressed",
        "_state_at", "_responding", "_since", "_stalled",
    }  # fmt: skip

    def __init__(self, arch: Architecture, stops: list[Stop], latency: int) -> None:
        super().__init__(0, stops)
        self.latency = max(1, latency)
        self.port_elements = arch.port_elements
        self.fetching = self.fetched = False
        self._bursts: tuple[Burst, ...] = ()
        self._burst = 0  # the one whose beats move
        self._left = 0  # beats of it that are left
        self._beats = 0  # beats left of all bursts, this one's included
        self._moved = 0  # beats of the transfer so far
        self._due: deque[int] = deque()  # loads: first cycle of data of the bursts in flight
        self._next_address = 0  # loads: first cycle in which the next address can be accepted
        self._addressed = 0  # loads: bursts with an accepted address
        self._state_at = 0  # stores: cycle of the address, or of the response
        self._responding = False  # stores: all beats of the burst are read
        self._since = 0  # first active cycle
        self._stalled = 0  # cycles of this transfer that `stall_port` counts
        self.read_beats = self.write_beats = 0
        self.stall_port = self.stall_memory = 0

    def timing_state(self, t: int, shapes: Shapes) -> dict[str, Hashable]:
        found = super().timing_state(t, shapes)
        if self.job is not None:
            found["transfer"] = self._transfer_state(t, found["job"])
        return found

    def _transfer_state(self, t: int, shape: Hashable) -> Hashable:
        """Return how far the transfer of that shape is; one that is over is of no importance."""
        common = self._moved, self._stalled, self._since - t
        if isinstance(shape, Smooth):
            return *common, max(0, self._due[0] - t)
        place = self._burst, self._left, self._responding, self._state_at - t
        addresses = self._addressed, self._next_address - t, *(c - t for c in self._due)
        return *common, *place, *addresses

    @property
    def empty(self) -> bool:
        return super().empty and not self.fetching

    @property
    def work(self) -> TransferWork | None:
        """The instruction in execution; None for the program fetch."""
        if self.job is None:
            return None
        work = self.job.work
        if not isinstance(work, TransferWork):
            raise TypeError(f"the DMA cannot execute {work}")
        return work

    @property
    def storing(self) -> bool:
        """A STORE is in execution."""
        return self.job is not None and isinstance(self.job.work.instruction, Store)

    def start(self, job: Job, c: int) -> None:
        work = self.work
        if work is not None:
            self._start(work.bursts, c)

    def start_fetch(self, bursts: tuple[Burst, ...], c: int) -> None:
        """Start the program fetch in cycle c."""
        self.fetching = True
        self._start(bursts, c)

    def _start(self, bursts: tuple[Burst, ...], c: int) -> None:
        self._bursts, self._burst, self._left = bursts, 0, bursts[0].beats
        self._beats = sum(b.beats for b in bursts)
        self._moved = self._stalled = 0
        self._since = self._state_at = c + 1
        self._responding = False
        if not self.storing:
            self._due.clear()
            self._addressed, self._next_address = 0, c + 1
            for _ in bursts[:READ_BURSTS]:
                self._address(c + 1)

    def _address(self, t: int) -> None:
        """Accept a load's next address in the first cycle from t on that is possible."""
        t = max(t, self._next_address)
        self._due.append(t + self.latency)
        self._next_address = t + 1
        self._addressed += 1

    def completes_at(self, t: int) -> int:
        if self.job is None and not self.fetching:
            return NEVER
        if not self.storing:
            return max(t, self._due[0]) + self._beats - 1
        if self._responding and self._beats == 0:
            return self._state_at
        return t + max(0, self._beats - 1) + OFFER_CYCLES + self.latency

    def count_inactive(self, a: int, c: int, launches: bool) -> None:
        n = c - a + 1
        if self.stage is None:
            self.idle += n
        else:
            self.stall_token += n - launches
            self.idle += launches

    def advance(self, t: int, end: int, taken: list[Span]) -> None:
        """Run the cycles t .. end - 1; others have the scratchpad's port in the spans `taken`."""
        if self.job is None and not self.fetching:
            self.inactive_from = t
            return
        self.inactive_from = end
        if self.storing:
            self._store(t, end, Spans(taken))
        else:
            self._load(t, end, Spans(taken))

    def _load(self, t: int, end: int, taken: Spans) -> None:
        while t < end:
            if self._due[0] > t:
                t = self._due[0]
                continue
            span = taken.after(t)
            if span is not None and span[0] <= t:
                n = min(span[1], end) - t
                self._stalled += n
                t += n
                continue
            n = min(self._left, (end if span is None else min(end, span[0])) - t)
            self._note_read(t, n)
            t += n
            if not self._left and self._end_read_burst(t - 1):
                return

    def _note_read(self, t: int, n: int) -> None:
        """Accept n beats of a load in the cycles from t on."""
        self.read_beats += n
        work = self.work
        if work is not None:
            self.writes[work.space] += n * self.port_elements
            if 0 <= work.fault.access - self._moved < n:
                granted = t + work.fault.access - self._moved
                self.stops.append(address_stop(granted, work.space, True, work.fault.address))
            if 0 <= work.bus_fault - self._moved < n:
                self._note_bus_fault(t + work.bus_fault - self._moved, Error.AXI_READ)
        self._count_beats(n)

    def _count_beats(self, n: int) -> None:
        self._moved += n
        self._left -= n
        self._beats -= n

    def _note_bus_fault(self, t: int, code: Error) -> None:
        address = self._bursts[self._burst].address
        self.stops.append(Stop(t, RANK_DMA, code, address & 0xFFFF_FFFF))

    def _end_read_burst(self, t: int) -> bool:
        """End a load's burst, whose last beat came in cycle t; return whether it was the last."""
        self._due.popleft()
        if self._addressed < len(self._bursts):
            self._address(t + 1)
        if self._due:
            self._due[0] = max(self._due[0], t + 1)
        return self._next_burst(t)

    def _next_burst(self, t: int) -> bool:
        """Go on to the next burst after the end of one in cycle t; return whether there is none."""
        self._burst += 1
        if self._burst < len(self._bursts):
            self._left = self._bursts[self._burst].beats
            return False
        self.inactive_from = t + 1
        self.stall_port += self._stalled
        self.stall_memory += t + 1 - self._since - self._moved - self._stalled
        self.fetched, self.fetching = self.fetching, False
        if self.job is not None:
            self.complete(self.job, t)
        self.job = None
        return True

    def _store(self, t: int, end: int, taken: Spans) -> None:
        work = self.work
        while t < end and work is not None:
            if self._responding:
                t = self._state_at
                if t < end and self._end_response(work, t):
                    return
                t += 1
                continue
            if t <= self._state_at:
                t = self._state_at + 1
                continue
            span = taken.after(t)
            if span is not None and span[0] <= t:
                t = span[1]
                continue
            n = min(self._left, (end if span is None else min(end, span[0])) - t)
            self._note_write(work, t, n)
            t += n
            if not self._left:
                self._responding = True
                self._state_at = t - 1 + OFFER_CYCLES + self.latency

    def _note_write(self, work: TransferWork, t: int, n: int) -> None:
        """Read n beats of a store in the cycles from t on."""
        self.write_beats += n
        self.reads[work.space] += n * self.port_elements
        if 0 <= work.fault.access - self._moved < n:
            granted = t + work.fault.access - self._moved
            self.stops.append(address_stop(granted, work.space, False, work.fault.address))
        self._count_beats(n)

    def _end_response(self, work: TransferWork, t: int) -> bool:
        """Take a burst's response in cycle t; return whether it was the last."""
        if work.bus_fault < self._moved:
            self._note_bus_fault(t, Error.AXI_WRITE)
        self._responding = False
        self._state_at = t + 1
        return self._next_burst(t)
