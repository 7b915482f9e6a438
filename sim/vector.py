"""The vector unit: when its micro-operations issue and its writes are granted."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from einchip.arch import PORT_SPACES, VECTOR_WRITES, Architecture
from einchip.sim.ports import Spans
from einchip.sim.record import Record
from einchip.sim.unit import Job, Stop, Unit, read_stop, write_stop
from einchip.sim.work import NEVER, VectorWork


class Vector(Unit):
    """Executes one instruction at a time, its micro-operations and its writes each in order.

    Members
    -------
    read_spans, write_spans : per port, the cycles of the last stretch with a grant.
    """

    NAME = "vector"
    COUNTS = Unit.COUNTS | {"issue", "stall_port", "stall_write", "operations", "activations"}
    TRANSIENT = Unit.TRANSIENT | {"read_spans", "write_spans"}
    CYCLES = Unit.CYCLES | {"_ready"}

    def __init__(self, arch: Architecture, stops: list[Stop]) -> None:
        super().__init__(arch.setup_cycles, stops)
        self.read_spans = tuple(Spans() for _ in PORT_SPACES)
        self.write_spans = Spans(), Spans()
        self._operation = 0  # of all vectors
        self._granted = 0  # writes
        self._pending = 0  # writes of started vectors that were not granted
        self._ready: deque[int] = deque()  # cycles from which the writes in order are ready
        self.issue = self.stall_port = self.stall_write = 0
        self.operations = self.activations = 0

    @property
    def work(self) -> VectorWork | None:
        """The instruction in execution."""
        if self.job is None:
            return None
        work = self.job.work
        if not isinstance(work, VectorWork):
            raise TypeError(f"the vector unit cannot execute {work}")
        return work

    def start(self, job: Job, c: int) -> None:
        self._operation = self._granted = self._pending = 0
        self._ready.clear()

    def completes_at(self, t: int) -> int:
        work = self.work
        if work is None:
            return NEVER
        left = work.vectors * len(work.operations) - self._operation
        if left:
            return t + left - 1 + work.latency + len(work.writes) - 1
        return max(t + len(self._ready) - 1, self._ready[-1])

    def advance(self, t: int, end: int, addends: Sequence[Spans], drained: Sequence[Spans]) -> None:
        """Run the cycles t .. end - 1; the drain path has the ports in the spans given."""
        for spans in (*self.read_spans, *self.write_spans):
            spans.clear()
        work = self.work
        if work is None:
            self.inactive_from = t
            return
        self.inactive_from = end
        taken = [spans.cycles(t, end) for spans in addends]
        held = [spans.cycles(t, end) for spans in drained]
        operations = work.vectors * len(work.operations)
        while t < end:
            pending = self._pending
            granted = bool(self._ready) and self._ready[0] <= t and self._grant(work, t, held)
            k = self._operation % len(work.operations)
            if self._operation == operations or (
                k == 0 and pending + len(work.writes) > VECTOR_WRITES
            ):
                if not self._pending:
                    self.stall_write += 1
                    self._end(t)
                    return
                until = t + 1 if granted else min(max(t + 1, self._ready[0]), end)
                self.stall_write += until - t
                t = until
                continue
            port = work.operations[k]
            if port is not None and t in taken[port]:
                self.spend("stall_port", t, t + 1)
            else:
                self._issue(work, t, k)
            t += 1

    def _grant(self, work: VectorWork, t: int, held: list[frozenset[int]]) -> bool:
        """Grant the next write in cycle t, if the drain path does not write there."""
        space = work.writes[self._granted % len(work.writes)]
        if t in held[space]:
            return False
        if self._granted == work.write_fault.access:
            self.stops.append(write_stop(t, space, work.write_fault.address))
        self._ready.popleft()
        self.write_spans[space].add(t, t + 1)
        self.writes[space] += work.lanes
        if self.record is not None:
            self.record.access("writes", space, t, t + 1, work.lanes)
        self._granted += 1
        self._pending -= 1
        return True

    def _issue(self, work: VectorWork, t: int, k: int) -> None:
        """Issue the next micro-operation, number k of its vector, in cycle t."""
        self.issue += 1
        port = work.operations[k]
        if port is not None:
            if self._operation == work.read_fault.access:
                self.stops.append(read_stop(t, port, work.read_fault.address))
            self.read_spans[port].add(t, t + 1)
            self.reads[PORT_SPACES[port]] += work.lanes
        if self.record is not None:
            self._record_issue(self.record, work, t, k)
        self._operation += 1
        if k == 0:
            self._pending += len(work.writes)
        if k == len(work.operations) - 1:
            self.operations += work.lanes
            self.activations += work.activations
            self._ready.extend(range(t + work.latency, t + work.latency + len(work.writes)))

    def _record_issue(self, record: Record, work: VectorWork, t: int, k: int) -> None:
        """Note what micro-operation k of a vector, in cycle t, counts."""
        port = work.operations[k]
        record.add("vector_issue", t, t + 1)
        if port is not None:
            record.access("reads", PORT_SPACES[port], t, t + 1, work.lanes)
        if k == len(work.operations) - 1:
            record.add("vector_ops", t, t + 1, work.lanes)
            record.add("activations", t, t + 1, work.activations)

    def _end(self, t: int) -> None:
        """Complete the instruction, whose last write was granted in cycle t."""
        self.inactive_from = t + 1
        if self.job is not None:
            self.complete(self.job, t)
        self.job = None
