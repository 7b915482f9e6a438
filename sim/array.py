"""The array and its drain path: when slots issue and rows drain."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

from einchip.arch import PORT_SPACES, Architecture
from einchip.sim.ports import Spans
from einchip.sim.record import Record
from einchip.sim.shape import Shapes
from einchip.sim.unit import Job, Stop, Unit, read_stop, write_stop
from einchip.sim.work import NEVER, ContractWork

_LONG_AGO = -NEVER


class Array(Unit):
    """Issues slots tile by tile; each tile's rows drain in consecutive cycles.

    A tile's rows are scheduled when its last slot issues, since nothing can hold them up:
    `addends` and `drained` say which read and write ports they will take.

    Members
    -------
    addends : per read port, the cycles in which the drain path has it.
    drained : per scratchpad, the cycles in which the drain path's writes are granted.
    read_spans : per scratchpad, the cycles in which a slot reads it, while `log_reads` (a store may
        compete for the read port).
    """

    NAME = "array"
    COUNTS = Unit.COUNTS | {
        "issue", "stall_port", "stall_drain", "macs", "rows", "activations",
    }  # fmt: skip
    TRANSIENT = Unit.TRANSIENT | {"issues", "log_issues"}
    CYCLES = Unit.CYCLES | {"addends", "drained", "_ends", "_blocking"}

    def __init__(self, arch: Architecture, stops: list[Stop]) -> None:
        super().__init__(arch.setup_cycles, stops)
        self.latency, self.drain_latency = arch.accumulate_latency, arch.drain_latency
        self.addends = tuple(Spans() for _ in PORT_SPACES)
        self.drained = Spans(), Spans()
        self.read_spans, self.log_reads = (Spans(), Spans()), False
        self.draining: deque[tuple[int, Job]] = deque()  # completion, instruction
        self.tile = self.slots = 0  # of the instruction: the tile, slots issued
        self._ends = _LONG_AGO, _LONG_AGO  # f(j - 2), f(j - 1) of the next tile j
        self._blocking = tuple(Spans() for _ in PORT_SPACES)  # `addends` not yet passed
        self.issue = self.stall_port = self.stall_drain = 0
        self.macs = self.rows = self.activations = 0

    @property
    def empty(self) -> bool:
        return super().empty and not self.draining

    def timing_state(self, t: int, shapes: Shapes) -> dict[str, Hashable]:
        found = super().timing_state(t, shapes)
        found["draining"] = tuple((c - t, shapes.of(job.work)) for c, job in self.draining)
        return found

    @property
    def work(self) -> ContractWork | None:
        """The instruction in execution."""
        if self.job is None:
            return None
        work = self.job.work
        if not isinstance(work, ContractWork):
            raise TypeError(f"the array cannot execute {work}")
        return work

    def lookahead(self) -> int:
        """Return for how many cycles from now the drain path's use of ports is known.

        In these the vector unit can be advanced before the array.
        """
        work = self.work
        if work is None:
            return NEVER
        if work.addend_port is not None:
            return self.latency
        return self.latency + self.drain_latency

    def frees_at(self, t: int) -> int:
        return self._last_issue(t) if self.job is not None else t

    def completes_at(self, t: int) -> int:
        if self.draining:
            return self.draining[0][0]
        work = self.work
        if work is None:
            return NEVER
        return self._last_issue(t) + self.latency + work.rows - 1 + self.drain_latency

    def _last_issue(self, t: int) -> int:
        """Return a lower bound of the last slot's cycle."""
        work = self.work
        if work is None:
            raise RuntimeError("no instruction in execution")
        to_tile = max(0, work.first_issue(self.tile) - self.slots)
        begins = self.slots <= work.first_issue(self.tile)
        start = max(t, self._ends[0] - self.latency - to_tile) if begins else t
        return start + work.slots - self.slots - 1

    def takes_in(self, c: int) -> bool:
        return self.job is None  # also in the cycle of the last issue

    def start(self, job: Job, c: int) -> None:
        self.tile = self.slots = 0

    def advance(self, t: int, end: int, taken: Sequence[Spans]) -> None:
        """Run the cycles t .. end - 1; the vector unit has the read ports in the spans `taken`."""
        if self.job is None:
            self.inactive_from = t
        else:
            blocked = [
                Spans(sorted([*reads.within(t, end), *addends.within(t, end)]))
                if reads
                else addends
                for reads, addends in zip(taken[:2], self._blocking[:2], strict=True)
            ]
            self.inactive_from = self._issue_slots(t, end, blocked)
        while self.draining and self.draining[0][0] < end:
            cycle, job = self.draining.popleft()
            self.complete(job, cycle)

    def _issue_slots(self, t: int, end: int, blocked: list[Spans]) -> int:
        """Issue what can be issued; return the cycle after the last slot, or `end`."""
        work = self.work
        while work is not None and t < end:
            first = work.first_issue(self.tile)
            if self.slots == first and self._ends[0] - self.latency > t:
                n = min(self._ends[0] - self.latency, end) - t
                self.spend("stall_drain", t, t + n)
                t += n
                continue
            stop = first if self.slots < first else first + work.tile_slots
            n = min(stop - self.slots, end - t)
            if blocked[0] or blocked[1]:
                n, until = self._unblocked(work, t, n, blocked)
                if not n:
                    until = min(until, end)
                    self.spend("stall_port", t, until)
                    t = until
                    continue
            self._note_slots(work, t, n)
            t += n
            if self.slots == first + work.tile_slots:
                work = self._end_tile(work, t - 1)
        return t

    def _unblocked(
        self, work: ContractWork, t: int, n: int, blocked: list[Spans]
    ) -> tuple[int, int]:
        """Return how many of the next n slots find their ports free from cycle t on.

        If none does, the second number is the cycle from which the port in question is.
        """
        for space, spans in enumerate(blocked):
            span = spans.after(t)
            if span is None:
                continue
            if span[0] > t:
                n = min(n, span[0] - t)
                continue
            reads, stop = work.reading(space, self.slots)
            if reads:
                return 0, span[1]
            n = min(n, stop - self.slots)
        return n, t

    def _note_slots(self, work: ContractWork, t: int, n: int) -> None:
        """Issue n slots in the cycles from t on."""
        self.issue += n
        if self.record is not None:
            self._record_slots(self.record, work, t, n)
        cycle = t - self.slots  # of slot 0, as it were
        if self.log_reads:
            for space, spans in enumerate(self.read_spans):
                for low, high in work.reads_within(space, self.slots, self.slots + n):
                    spans.add(cycle + low, cycle + high)
        if work.faulty:
            for space, fault in enumerate((work.x_fault, work.y_fault)):
                granted = cycle + work.read_slot(space, fault.access)
                if t <= granted < t + n:
                    self.stops.append(read_stop(granted, space, fault.address))
        self.slots += n

    def _record_slots(self, record: Record, work: ContractWork, t: int, n: int) -> None:
        """Note what n slots in the cycles from t on read and multiply."""
        cycle = t - self.slots
        record.add("array_issue", t, t + n)
        for space, lanes in enumerate((work.x_lanes, work.y_lanes)):
            for low, high in work.reads_within(space, self.slots, self.slots + n):
                record.access("reads", space, cycle + low, cycle + high, lanes)
                if space:
                    record.add("macs", cycle + low, cycle + high, work.macs)

    def _end_tile(self, work: ContractWork, last: int) -> ContractWork | None:
        """Schedule the rows of the tile with its last issue in `last`; return what comes next."""
        start = max(last + self.latency, self._ends[1])
        end = start + work.rows
        self._ends = self._ends[1], end
        self.drained[work.z_space].add(start + self.drain_latency, end + self.drain_latency)
        if work.addend_port is not None:
            self.addends[work.addend_port].add(start, end)
            self._blocking[work.addend_port].add(start, end)
        if self.record is not None:
            self._record_rows(self.record, work, start, end)
        if work.faulty:
            self._note_row_faults(work, start)
        self.tile += 1
        if self.tile < work.tiles:
            return work
        if self.job is not None:
            self.draining.append((end - 1 + self.drain_latency, self.job))
            self.job = None
        self._count_instruction(work)
        return None

    def _record_rows(self, record: Record, work: ContractWork, start: int, end: int) -> None:
        """Note the rows that drain in the cycles start .. end - 1."""
        lanes, later = work.row_lanes, self.drain_latency
        record.add("drained", start, end, lanes)
        if work.activates:
            record.add("activations", start, end, lanes)
        if work.addend_port is not None:
            record.access("reads", PORT_SPACES[work.addend_port], start, end, lanes)
        record.access("writes", work.z_space, start + later, end + later, lanes)

    def _note_row_faults(self, work: ContractWork, start: int) -> None:
        row = self.tile * work.rows
        if 0 <= work.z_fault.access - row < work.rows:
            granted = start + work.z_fault.access - row + self.drain_latency
            self.stops.append(write_stop(granted, work.z_space, work.z_fault.address))
        if work.addend_port is not None and 0 <= work.addend_fault.access - row < work.rows:
            granted = start + work.addend_fault.access - row
            self.stops.append(read_stop(granted, work.addend_port, work.addend_fault.address))

    def _count_instruction(self, work: ContractWork) -> None:
        drained = work.tiles * work.rows * work.row_lanes
        self.macs += work.n_reads(1) * work.macs
        self.reads[0] += work.n_reads(0) * work.x_lanes
        self.reads[1] += work.n_reads(1) * work.y_lanes
        self.writes[work.z_space] += drained
        if work.addend_port is not None:
            self.reads[PORT_SPACES[work.addend_port]] += drained
        self.rows += drained
        if work.activates:
            self.activations += drained
