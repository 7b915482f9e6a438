"""Cycles of array and vector unit for `timeline`: slots, drained rows, and who has which port."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from einchip.arch import PORT_SPACES, VECTOR_WRITES, Architecture
from einchip.program import Contract, Vector

NEVER = 1 << 40

Span = tuple[int, int]
"""A first cycle, and the one after the last."""


class Spans:
    """Spans in the order of their first cycles; those that touch are one."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def __bool__(self) -> bool:
        return bool(self.spans)

    def add(self, low: int, high: int) -> None:
        """Add a span."""
        if not self.spans or low > self.spans[-1][1]:
            self.spans.append((low, high))
        elif low >= self.spans[-1][0]:
            first, last = self.spans[-1]
            self.spans[-1] = (first, max(last, high))
        else:
            insort(self.spans, (low, high))

    def push(self, low: int, high: int) -> None:
        """Add a span of a client that is served first: who was there before comes behind it."""
        later = sum(max(0, min(high, end) - max(low, start)) for start, end in self.spans)
        self.add(low, high)
        if later:
            at = self.free(high)
            self.add(at, at + later)

    def forget(self, t: int) -> None:
        """Drop the spans that end by cycle t."""
        k = 0
        while k < len(self.spans) and self.spans[k][1] <= t:
            k += 1
        del self.spans[:k]

    def free(self, t: int) -> int:
        """Return the first cycle from t on in no span; of spans that do not overlap."""
        k = bisect_right(self.spans, (t, NEVER)) - 1
        return max(t, self.spans[k][1]) if k >= 0 else t

    def next_busy(self, t: int) -> int:
        """Return the first cycle from t on in a span; of spans that do not overlap."""
        k = bisect_right(self.spans, (t, NEVER))
        if k and self.spans[k - 1][1] > t:
            return t
        return self.spans[k][0] if k < len(self.spans) else NEVER


@dataclass(frozen=True)
class Slots:
    """The slots of a CONTRACT, numbered: which of them read X, which Y (docs/timing.md, Array).

    `first` slots read what is held first, none where nothing is. An iteration takes `period`
    slots, the last one, from slot `last` on, only `passed`.
    """

    first: int
    period: int
    held: int
    passed: int
    last: int

    @classmethod
    def of(cls, i: Contract) -> Slots:
        last = i.first_slots + (i.tiles * i.tile_iterations - 1) * i.iteration_slots
        return cls(i.first_slots, i.iteration_slots, i.nh, i.held_issues, last)

    def next_read(self, space: int, slot: int) -> int:
        """Return the first slot from `slot` on that reads X (0) or Y (1)."""
        if not self.first:
            return slot
        if slot < self.first:
            return self.first if space else slot
        k = (slot - self.first) % self.period
        found = slot if k < (self.passed if space else self.held) else slot - k + self.period
        return NEVER if found >= self.last and not space else found


class ArrayCycles:
    """The array, instruction by instruction: slots, tiles, drained rows.

    Members
    -------
    taken : per scratchpad, when the array cannot read it.
    addends : per read port, when the drain path reads addends.
    drained : per scratchpad, when the drain path writes.
    """

    def __init__(self, arch: Architecture) -> None:
        self.latency, self.drain_latency = arch.accumulate_latency, arch.drain_latency
        self.ends = (-NEVER, -NEVER)  # of the last two tiles' rows
        self.taken = Spans(), Spans()
        self.addends = tuple(Spans() for _ in PORT_SPACES)
        self.drained = Spans(), Spans()

    def run(self, i: Contract, launch: int, addend_port: int | None) -> tuple[int, int]:
        """Return (cycle of the last slot, cycle of the last write) of a CONTRACT.

        Where nothing takes a read port and a tile finds what the one before it found, so do all
        that follow.
        """
        latency, rows, slots = self.latency, i.tile_rows, Slots.of(i)
        tiles, tile_slots = i.tiles, i.tile_iterations * slots.period
        behind = slots.period - slots.passed
        issues = tile_slots - behind
        t, before = self._issue(slots, 0, launch + 1, slots.first), (-NEVER, -NEVER, -NEVER)
        for tile in range(tiles):
            undisturbed = not any(self.taken)
            at = slots.first + tile * tile_slots
            t = self._issue(slots, at - behind, t + 1, behind) if tile else t
            t = self._issue(slots, at, max(t + 1, self.ends[0] - latency), issues)
            start = max(t + latency, self.ends[1])
            self._drain(i, start, rows, addend_port)
            after = (t, *self.ends)
            period = t - before[0]
            if undisturbed and after == tuple(b + period for b in before):
                left = tiles - 1 - tile
                for _ in range(left):
                    start += period
                    self._drain(i, start, rows, addend_port)
                t += left * period
                break
            before = after
        return t, self.ends[1] - 1 + self.drain_latency

    def forget(self, t: int) -> None:
        """Drop what the drain path did by cycle t."""
        for spans in (*self.addends, *self.drained):
            spans.forget(t)

    def _drain(self, i: Contract, start: int, rows: int, addend_port: int | None) -> None:
        """Note the rows of a tile."""
        end, later = start + rows, self.drain_latency
        self.ends = (self.ends[1], end)
        self.drained[i.z_space].add(start + later, end + later)
        if addend_port is not None:
            self.addends[addend_port].add(start, end)
            if addend_port < len(self.taken):
                self.taken[addend_port].push(start, end)

    def _issue(self, slots: Slots, slot: int, t: int, n: int) -> int:
        """Return the cycle of the last of n slots from `slot` on, none of them before t.

        Of none, t - 1.
        """
        stop = slot + n
        while slot < stop:
            room = stop - slot
            for space, spans in enumerate(self.taken):
                spans.forget(t)
                if not spans:
                    continue
                low, high = spans.spans[0]
                if low > t:
                    room = min(room, low - t)
                    continue
                read = slots.next_read(space, slot)
                if read == slot:
                    t = high
                    break
                room = min(room, read - slot)
            else:
                slot, t = slot + room, t + room
        return t - 1


@dataclass(frozen=True)
class VectorRun:
    """When an instruction of the vector unit has read, and has written.

    `issued` is the cycle behind its last micro-operation, `done` that of its last write, `pending`
    those of its last writes.
    """

    issued: int = -1
    done: int = -1
    pending: tuple[int, ...] = ()


@dataclass(frozen=True)
class VectorCycles:
    """An instruction of the vector unit: of a vector, what its operations read, and its writes.

    `operations` are the ports of each, `writes` pairs of a latency and a scratchpad. `commit` is
    the cycle in which its slot is taken, `tokens` the first one with all its tokens.
    """

    instruction: Vector
    operations: tuple[tuple[int, ...], ...]
    writes: tuple[tuple[int, int], ...]
    commit: int
    tokens: int

    def overlaps(self, before: VectorCycles) -> bool:
        """Tell whether it may launch while the instruction before it writes."""
        i, j = before.instruction, self.instruction
        alike = j.likeness == i.likeness and self.operations == before.operations
        return bool(j.overlaps) and alike

    def run(
        self, launch: int, array: ArrayCycles, before: VectorRun, reads: Sequence[Spans] = ()
    ) -> VectorRun:
        """Return its cycles, behind what is known of the drain path and the instruction `before`.

        `reads` are given the cycles with a read, per read port. Where a vector that meets nothing
        of the drain path finds what the one before it found, so do those that follow, until the
        drain path has something to do.
        """
        n_operations, n_writes = len(self.operations), len(self.writes)
        noted = [[reads[port] for port in its if port < len(reads)] for its in self.operations]
        pending = deque(write for write in before.pending if write > launch)
        t, last, vectors = launch + 1, max(launch, before.done), self.instruction.vectors
        clear = last
        known: tuple[int, list[int]] = (t, [])
        while vectors:
            vectors -= 1
            if len(pending) + n_writes > VECTOR_WRITES:
                t = max(t, pending[len(pending) + n_writes - VECTOR_WRITES - 1] + 1)
            for ports, its in zip(self.operations, noted, strict=True):
                t = _all_free([array.addends[port] for port in ports], t)
                for read in its:
                    read.add(t, t + 1)
                t += 1
            for latency, space in self.writes:
                last = array.drained[space].free(max(t - 1 + latency, last + 1))
                pending.append(last)
            while pending and pending[0] < t:
                pending.popleft()
            after = (t, [last - t, *(write - t for write in pending)])
            if last >= clear:
                clear = self._next_drain(array, t, last + 1)
            elif after[1] == known[1]:
                period = t - known[0]
                alike = min(vectors, (clear - 1 - last) // period)
                for _ in range(alike):
                    t += period
                    for k, its in enumerate(noted):
                        for read in its:
                            read.add(t - n_operations + k, t - n_operations + k + 1)
                vectors, last = vectors - alike, last + alike * period
                pending = deque(write + alike * period for write in pending)
            known = after
        return VectorRun(t, last, tuple(pending))

    def _next_drain(self, array: ArrayCycles, read: int, write: int) -> int:
        """Return when the drain path next has a port of these, for reads and writes from now on."""
        ports = {port for ports in self.operations for port in ports}
        reads = [array.addends[port].next_busy(read) for port in ports]
        spaces = {space for _, space in self.writes}
        return min(reads + [array.drained[space].next_busy(write) for space in spaces])


def _all_free(taken: Sequence[Spans], t: int) -> int:
    """Return the first cycle from t on in a span of none of these."""
    at = max((spans.free(t) for spans in taken), default=t)
    return t if at == t else _all_free(taken, at)
