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
    """Executes instructions, its micro-operations and its writes each in order.

    `job` is the instruction launched last; while it reads, the one before it may still write.

    Members
    -------
    read_spans, write_spans : per port, the cycles of the last stretch with a grant.
    """

    NAME = "vector"
    COUNTS = Unit.COUNTS | {"issue", "stall_port", "stall_write", "operations", "activations"}
    TRANSIENT = Unit.TRANSIENT | {"read_spans", "write_spans", "_completed"}
    CYCLES = Unit.CYCLES | {"_ready", "_overlap_from"}

    def __init__(self, arch: Architecture, stops: list[Stop]) -> None:
        super().__init__(arch.setup_cycles, stops)
        self.read_spans = tuple(Spans() for _ in PORT_SPACES)
        self.write_spans = Spans(), Spans()
        self._before: Job | None = None  # the instruction before `job`, if it still writes
        self._completed: Job | None = None  # `job`, in the last cycle of the stretch last run
        self._operation = 0  # of all vectors of `job`
        self._granted = 0  # writes of the first instruction in execution
        self._pending = 0  # writes of started vectors that were not granted
        self._ready: deque[int] = deque()  # cycles from which the writes in order are ready
        self._overlap_from = 0  # first launch beside `job`, its last operation issued
        self.issue = self.stall_port = self.stall_write = 0
        self.operations = self.activations = 0

    @property
    def work(self) -> VectorWork | None:
        """What the instruction launched last has to do, if it is in execution."""
        return None if self.job is None else _work(self.job)

    def start(self, job: Job, c: int) -> None:
        self._operation = 0

    def control(self, c: int, tokens: int) -> int:
        running = self.job
        taken = super().control(c, tokens)
        if self.job is not running:
            self._before = running
        return taken

    def frees_at(self, t: int) -> int:
        if self.job is None:
            return t
        if not self._may_overlap(self.job):
            return NEVER
        return t + self._left(_work(self.job))

    def takes_in(self, c: int) -> bool:
        job = self.job or self._completed
        if job is None:
            return super().takes_in(c)
        issued = self._left(_work(job)) == 0 and self._overlap_from <= c
        return issued and self._may_overlap(job)

    def _may_overlap(self, job: Job) -> bool:
        """Tell whether the instruction in the stage may launch while `job` writes, and only it."""
        if self.stage is None or self._before is not None:
            return False
        following = _work(self.stage)
        return following.overlaps and following.likeness == _work(job).likeness

    def _left(self, work: VectorWork) -> int:
        """Return how many micro-operations of `job` are not issued."""
        return work.vectors * len(work.operations) - self._operation

    def completes_at(self, t: int) -> int:
        work = self.work
        if work is None:
            return NEVER
        if self._before is not None:
            before = _work(self._before)
            n = before.vectors * len(before.writes) - self._granted
            return max(t + n - 1, self._ready[n - 1])
        left = self._left(work)
        if left:
            return t + left - 1 + work.latencies[-1]
        return max(t + len(self._ready) - 1, self._ready[-1])

    def advance(self, t: int, end: int, addends: Sequence[Spans], drained: Sequence[Spans]) -> None:
        """Run the cycles t .. end - 1; the drain path has the ports in the spans given."""
        for spans in (*self.read_spans, *self.write_spans):
            spans.clear()
        self._completed, work = None, self.work
        if work is None:
            self.inactive_from = t
            return
        self.inactive_from = end
        taken = [spans.cycles(t, end) for spans in addends]
        held = [spans.cycles(t, end) for spans in drained]
        while t < end:
            pending = self._pending
            granted = bool(self._ready) and self._ready[0] <= t and self._grant(t, held)
            k = self._operation % len(work.operations)
            if not self._left(work) or (k == 0 and pending + len(work.writes) > VECTOR_WRITES):
                if self.job is None:
                    self.stall_write += 1
                    self.inactive_from = t + 1
                    return
                until = t + 1 if granted else min(max(t + 1, self._ready[0]), end)
                self.stall_write += until - t
                t = until
                continue
            if any(t in taken[port] for port in work.operations[k]):
                self.spend("stall_port", t, t + 1)
            else:
                self._issue(work, t, k)
            t += 1

    def _grant(self, t: int, held: list[frozenset[int]]) -> bool:
        """Grant the next write in cycle t, if the drain path does not write there.

        The last one of an instruction completes it.
        """
        job = self._before or self.job
        if job is None:
            raise AssertionError("a write is ready, and no instruction is in execution")
        work = _work(job)
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
        if self._granted == work.vectors * len(work.writes):
            self._complete(job, t)
        return True

    def _issue(self, work: VectorWork, t: int, k: int) -> None:
        """Issue the next micro-operation, number k of its vector, in cycle t."""
        self.issue += 1
        vector = self._operation // len(work.operations)
        for port, fault in zip(work.operations[k], work.read_faults[k], strict=True):
            if vector == fault.access:
                self.stops.append(read_stop(t, port, fault.address))
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
            self._ready.extend(t + latency for latency in work.latencies)
            self._overlap_from = t + 1

    def _record_issue(self, record: Record, work: VectorWork, t: int, k: int) -> None:
        """Note what micro-operation k of a vector, in cycle t, counts."""
        record.add("vector_issue", t, t + 1)
        for port in work.operations[k]:
            record.access("reads", PORT_SPACES[port], t, t + 1, work.lanes)
        if k == len(work.operations) - 1:
            record.add("vector_ops", t, t + 1, work.lanes)
            record.add("activations", t, t + 1, work.activations)

    def _complete(self, job: Job, t: int) -> None:
        """Complete the first instruction in execution, whose last write was granted in cycle t."""
        self._granted = 0
        if self._before is None:
            self.job, self._completed = None, job
        else:
            self._before = None
            self._overlap_from = max(self._overlap_from, t + 1)
        self.complete(job, t)


def _work(job: Job) -> VectorWork:
    """Return what an instruction of the vector unit has to do."""
    if not isinstance(job.work, VectorWork):
        raise TypeError(f"the vector unit cannot execute {job.work}")
    return job.work
