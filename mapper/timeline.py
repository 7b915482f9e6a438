"""Predicted cycles of a program, by the rules of `docs/timing.md`, instruction by instruction.

Sequencer, slots, setup stages, tokens, tiles, drains, addends, bursts and the vector unit's reads
follow the rules. Left out are the write ports, for which a load or the vector unit may wait, and
the read ports, for which a store waits while the array reads; external bases are taken to be
multiples of 4 KiB.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from einchip.arch import READ_BURSTS, VECTOR_WRITES, WRITE_BURSTS, Architecture
from einchip.program import (
    TOKENS,
    Contract,
    EndLoop,
    Give,
    Instruction,
    Load,
    Loop,
    Program,
    Store,
    Sync,
    Unit,
    UnitInstruction,
    Vector,
)

#: Cycles of the memory model from an address to the first beat.
MEMORY_LATENCY = 8
#: Cycles of a store between a beat's read and its offer.
STORE_LATENCY = 4
#: Bytes between addresses that a burst must not cross.
BURST_BOUNDARY = 4096
#: Time steps before the steady state is measured, and those measured.
WARM, MEASURED = 2, 4
LONG_AGO = -(1 << 40)


def executed(program: Program, n_steps: int) -> Iterator[Instruction]:
    """Yield the instructions as the sequencer decodes them; LOOPs by host count run `n_steps`.

    A skipped transfer costs as much as a LOOP, and comes out as one.
    """
    code, stack, at = program.instructions, list[list[int]](), 0
    while at < len(code):
        i = code[at]
        at += 1
        left = stack[-1][1] if stack else 0
        yield Loop() if isinstance(i, Load | Store) and i.skipped(left) else i
        if isinstance(i, Loop):
            stack.append([at, n_steps if i.arg else i.count])
        elif isinstance(i, EndLoop):
            stack[-1][1] -= 1
            if stack[-1][1]:
                at = stack[-1][0]
            else:
                stack.pop()


def predict(program: Program, arch: Architecture, n_steps: int = 1) -> int:
    """Return the cycles of a run without program fetch."""
    machine = _Machine(arch)
    for i in executed(program, n_steps):
        machine.decode(i)
    return machine.cycles()


def step_cycles(
    program: Program, arch: Architecture, warm: int = WARM, measured: int = MEASURED
) -> float:
    """Return the predicted cycles of one time step of all loops, behind `warm` steps."""
    return (predict(program, arch, warm + measured) - predict(program, arch, warm)) / measured


def bursts(address: int, beats: int, arch: Architecture) -> Iterator[int]:
    """Yield the beats of each burst of a transfer."""
    while beats > 0:
        to_boundary = (BURST_BOUNDARY - address % BURST_BOUNDARY) // arch.port_bytes
        taken = min(beats, arch.burst_beats, to_boundary)
        yield taken
        address, beats = address + taken * arch.port_bytes, beats - taken


@dataclass
class _Bursts:
    """The bursts of load or store unit, one behind the other.

    `wait` cycles lie between an address and the first beat, `tail` between the last beat and the
    end, which makes room for another burst.
    """

    wait: int
    tail: int
    ends: deque[int]
    next_address: int = 0
    last_beat: int = -1

    def run(self, lengths: Iterator[int], launch: int) -> tuple[int, int]:
        """Return (first cycle of the next launch, cycle of the last end)."""
        for beats in lengths:
            full = len(self.ends) == self.ends.maxlen
            room = self.ends[0] + 1 if full else 0
            address = max(launch + 1, self.next_address, room)
            self.next_address = address + 1
            self.last_beat = max(address + self.wait, self.last_beat + 1) + beats - 1
            self.ends.append(self.last_beat + self.tail)
        return self.next_address, self.ends[-1]


class _Machine:
    """The state of the prediction: when each unit can take what."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.fetch = 0
        self.moved: dict[Unit, int] = defaultdict(lambda: -1)
        self.launched: dict[Unit, int] = defaultdict(lambda: -1)
        self.free: dict[Unit, int] = defaultdict(lambda: -1)
        self.given: list[deque[int]] = [deque() for _ in range(TOKENS)]
        self.array = _Array(arch)
        self.loads = _Bursts(MEMORY_LATENCY, 0, deque(maxlen=READ_BURSTS))
        self.stores = _Bursts(1, STORE_LATENCY + MEMORY_LATENCY, deque(maxlen=WRITE_BURSTS))
        self.end = 0

    def cycles(self) -> int:
        """Return the number of cycles, HALT's last one included."""
        return max(self.end + 1, self.fetch) + 1

    def decode(self, i: Instruction) -> None:
        """Advance by one instruction."""
        if not isinstance(i, UnitInstruction):
            if isinstance(i, Give):
                self._give(i.mask, self.fetch + 1)
            self.fetch += 2
            if isinstance(i, Sync):
                self._sync()
            return
        commit = max(self.fetch + 1 + i.WORDS, self.moved[i.UNIT] + 1)
        self.fetch = commit + 1
        self.moved[i.UNIT] = max(commit + 1, self.launched[i.UNIT] + 1)
        setup = 0 if i.UNIT in (Unit.LOAD, Unit.STORE) else self.arch.setup_cycles
        ready = self.moved[i.UNIT] + setup + 1
        launch = max([ready, self.free[i.UNIT], *self._taken(i.wait)])
        self.launched[i.UNIT] = launch
        self.free[i.UNIT], done = self._execute(i, launch)
        self._give(i.signal, done)
        self.end = max(self.end, done)

    def _sync(self) -> None:
        """Wait until every unit is idle; all tokens are lost."""
        self.fetch = max(self.fetch, self.end + 1) + 1
        self.given = [deque() for _ in range(TOKENS)]

    def _taken(self, mask: int) -> list[int]:
        """Return the cycles from which the tokens of a mask are positive, and take them."""
        return [self.given[t].popleft() + 1 for t in range(TOKENS) if mask >> t & 1]

    def _give(self, mask: int, cycle: int) -> None:
        for t in range(TOKENS):
            if mask >> t & 1:
                self.given[t].append(cycle)

    def _execute(self, i: UnitInstruction, launch: int) -> tuple[int, int]:
        """Return the first cycle of the next launch, and the cycle of completion."""
        if isinstance(i, Contract):
            return self.array.run(i, launch)
        if isinstance(i, Vector):
            done = self._vectors(i, launch)
            return done + 1, done
        assert isinstance(i, Load | Store)
        port = self.loads if isinstance(i, Load) else self.stores
        return port.run(bursts(i.ext_offset, i.beats, self.arch), launch)

    def _vectors(self, i: Vector, launch: int) -> int:
        """Return the cycle of a vector instruction's last write; note its reads."""
        planes = self.arch.cell_planes
        reads = sum(planes if r.source == "state" else 1 for r in i.READS)
        writes = planes + 1 if i.WRITES_STATE else 1
        operations = max(1, reads)
        granted = deque[int]()
        t, last = launch + 1, launch
        for _ in range(i.vectors):
            if len(granted) + writes > VECTOR_WRITES:
                t = max(t, granted[len(granted) + writes - VECTOR_WRITES - 1] + 1)
            if reads:
                self.array.blocked.append((t, t + reads))
            t += operations
            for k in range(writes):
                last = max(t - 1 + i.LATENCY + k, last + 1)
                granted.append(last)
            while granted and granted[0] < t:
                granted.popleft()
        return last


class _Array:
    """Tiles, drains, and the cycles in which a read port is taken."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.ends = (LONG_AGO, LONG_AGO)
        self.blocked: deque[tuple[int, int]] = deque()

    def run(self, i: Contract, launch: int) -> tuple[int, int]:
        """Return (cycle of the last issue, cycle of the last write) of a CONTRACT.

        Where nothing takes a read port and a tile finds what the one before it found, so do all
        that follow.
        """
        latency, rows = self.arch.accumulate_latency, i.tile_rows
        issues = (i.tile_iterations - 1) * i.iteration_slots + i.held_issues
        behind = i.iteration_slots - i.held_issues
        t, before = self._issue(launch + 1, i.first_slots), (LONG_AGO, LONG_AGO, LONG_AGO)
        for tile in range(i.tiles):
            t = self._issue(t + 1, behind) if tile else t
            t = self._issue(max(t + 1, self.ends[0] - latency), issues)
            start = max(t + latency, self.ends[1])
            self.ends = (self.ends[1], start + rows)
            if i.has_addend:
                self._block(start, start + rows)
            after = (t, *self.ends)
            period = t - before[0]
            if not self.blocked and after == tuple(b + period for b in before):
                skipped = period * (i.tiles - 1 - tile)
                self.ends = (self.ends[0] + skipped, self.ends[1] + skipped)
                t += skipped
                break
            before = after
        return t, self.ends[1] - 1 + self.arch.drain_latency

    def _block(self, start: int, end: int) -> None:
        self.blocked.append((start, end))
        if len(self.blocked) > 1 and self.blocked[-2][0] > start:
            self.blocked = deque(sorted(self.blocked))

    def _issue(self, start: int, slots: int) -> int:
        """Return the cycle of the last of some slots, the first not before `start`.

        Of none, a cycle before which none of those that follow can issue either.
        """
        t, left = start, slots
        while self.blocked:
            low, high = self.blocked[0]
            if high <= t:
                self.blocked.popleft()
            elif low >= t + left:
                break
            else:
                left -= max(0, low - t)
                t = high
                self.blocked.popleft()
        return t + left - 1
