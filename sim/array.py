"""The array and its drain path: when iterations issue and rows drain."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from einchip.arch import ACCUMULATE_LATENCY, Architecture
from einchip.sim.ports import Spans
from einchip.sim.shape import Shapes
from einchip.sim.unit import Job, Stop, Unit, address_stop
from einchip.sim.work import NEVER, ContractWork

_LONG_AGO = -NEVER


class Array(Unit):
    """Issues iterations tile by tile; each tile's rows drain in consecutive cycles.

    A tile's rows are scheduled when its last iteration issues, since nothing can hold them up:
    `addends` and `drained` say which read and write ports they will take.

    Members
    -------
    addends : per scratchpad, the cycles in which the drain path reads it.
    drained : per scratchpad, the cycles in which the drain path's writes are granted.
    issues : the cycles with an issue, while `log_issues` (a store competes for the read ports).
    """

    COUNTS = Unit.COUNTS | {
        "issue", "stall_port", "stall_drain", "macs", "rows", "activations",
    }  # fmt: skip
    TRANSIENT = Unit.TRANSIENT | {"issues", "log_issues"}
    CYCLES = Unit.CYCLES | {"addends", "drained", "_ends", "_any_addend"}

    def __init__(self, arch: Architecture, stops: list[Stop]) -> None:
        super().__init__(arch.setup_cycles, stops)
        self.drain_latency = arch.drain_latency
        self.addends, self.drained = (Spans(), Spans()), (Spans(), Spans())
        self.issues, self.log_issues = Spans(), False
        self.draining: deque[tuple[int, Job]] = deque()  # completion, instruction
        self.tile = self.iteration = 0
        self._ends = _LONG_AGO, _LONG_AGO  # f(j - 2), f(j - 1) of the next tile j
        self._any_addend = Spans()
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
        if work.addend_space is not None:
            return ACCUMULATE_LATENCY
        return ACCUMULATE_LATENCY + self.drain_latency

    def frees_at(self, t: int) -> int:
        return self._last_issue(t) if self.job is not None else t

    def completes_at(self, t: int) -> int:
        if self.draining:
            return self.draining[0][0]
        work = self.work
        if work is None:
            return NEVER
        return self._last_issue(t) + ACCUMULATE_LATENCY + work.rows - 1 + self.drain_latency

    def _last_issue(self, t: int) -> int:
        """Return a lower bound of the last iteration's cycle."""
        work = self.work
        if work is None:
            raise RuntimeError("no instruction in execution")
        left = (work.tiles - self.tile) * work.iterations - self.iteration
        start = t if self.iteration else max(t, self._ends[0] - ACCUMULATE_LATENCY)
        return start + left - 1

    def takes_in(self, c: int) -> bool:
        return True  # also in the cycle of the last issue

    def start(self, job: Job, c: int) -> None:
        self.tile = self.iteration = 0

    def advance(self, t: int, end: int, taken: list[tuple[int, int]]) -> None:
        """Run the cycles t .. end - 1; the vector unit reads in those of the spans `taken`."""
        if self.job is None:
            self.inactive_from = t
        else:
            blocked = self._any_addend
            if taken:
                blocked = Spans(sorted([*taken, *blocked.within(t, end)]))
            self.inactive_from = self._issue_tiles(t, end, blocked)
        while self.draining and self.draining[0][0] < end:
            cycle, job = self.draining.popleft()
            self.complete(job, cycle)

    def _issue_tiles(self, t: int, end: int, blocked: Spans) -> int:
        """Issue what can be issued; return the cycle after the last issue, or `end`."""
        work = self.work
        while work is not None and t < end:
            if not self.iteration and self._ends[0] - ACCUMULATE_LATENCY > t:
                n = min(self._ends[0] - ACCUMULATE_LATENCY, end) - t
                self.stall_drain += n
                t += n
                continue
            n = min(work.iterations - self.iteration, end - t)
            if blocked:
                span = blocked.after(t)
                if span is not None and span[0] <= t:
                    n = min(span[1], end) - t
                    self.stall_port += n
                    t += n
                    continue
                if span is not None:
                    n = min(n, span[0] - t)
            self._note_issues(work, t, n)
            t += n
            if self.iteration == work.iterations:
                work = self._end_tile(work, t - 1)
        return t

    def _note_issues(self, work: ContractWork, t: int, n: int) -> None:
        """Issue n iterations in the cycles from t on."""
        self.issue += n
        if self.log_issues:
            self.issues.add(t, t + n)
        if work.faulty:
            at = self.tile * work.iterations + self.iteration
            for space, fault in enumerate((work.x_fault, work.y_fault)):
                if 0 <= fault.access - at < n:
                    granted = t + fault.access - at
                    self.stops.append(address_stop(granted, space, False, fault.address))
        self.iteration += n

    def _end_tile(self, work: ContractWork, last: int) -> ContractWork | None:
        """Schedule the rows of the tile with its last issue in `last`; return what comes next."""
        start = max(last + ACCUMULATE_LATENCY, self._ends[1])
        end = start + work.rows
        self._ends = self._ends[1], end
        self.drained[work.z_space].add(start + self.drain_latency, end + self.drain_latency)
        if work.addend_space is not None:
            self.addends[work.addend_space].add(start, end)
            self._any_addend.add(start, end)
        if work.faulty:
            self._note_row_faults(work, start)
        self.tile += 1
        self.iteration = 0
        if self.tile < work.tiles:
            return work
        if self.job is not None:
            self.draining.append((end - 1 + self.drain_latency, self.job))
            self.job = None
        self._count_instruction(work)
        return None

    def _note_row_faults(self, work: ContractWork, start: int) -> None:
        row = self.tile * work.rows
        if 0 <= work.z_fault.access - row < work.rows:
            granted = start + work.z_fault.access - row + self.drain_latency
            self.stops.append(address_stop(granted, work.z_space, True, work.z_fault.address))
        if work.addend_space is not None and 0 <= work.addend_fault.access - row < work.rows:
            granted = start + work.addend_fault.access - row
            self.stops.append(
                address_stop(granted, work.addend_space, False, work.addend_fault.address)
            )

    def _count_instruction(self, work: ContractWork) -> None:
        issues, drained = work.issues, work.tiles * work.rows * work.row_lanes
        self.macs += issues * work.macs
        self.reads[0] += issues * work.x_lanes
        self.reads[1] += issues * work.y_lanes
        self.writes[work.z_space] += drained
        if work.addend_space is not None:
            self.reads[work.addend_space] += drained
        self.rows += drained
        if work.activates:
            self.activations += drained
