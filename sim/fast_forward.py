"""Loops that repeat themselves in time are not gone through again: only what they count is added.

Nothing in the machine depends on values, so a loop over time steps settles: from some iteration on,
every one takes as long as an earlier one. What is skipped here is proved, not guessed:

* The future of the machine is a function of its *timing state* and of the instructions that the
  sequencer hands over from then on, of which only place and shape matter (`shape`).
* Look at the machine at two times, T and T + D, with p instructions fetched in between. If the
  timing states are equal, counted from either time, and the n * p instructions from the second time
  on are, one by one, of the shapes of those p before, then the machine is in that state again at
  T + 2 D, .. T + (n + 1) D, and has counted the same in between each time.
* Whether they are is found by walking: registers, nested loops, host counts, skipped transfers and
  the checks of RESOLVE all happen as ever, without time. A walk ends at the first instruction that
  differs, and one that stops the machine differs from every other. So errors happen in time.

The timing state: tokens; the sequencer's place, open loops (without the iterations left) and next
cycle; of each unit what `Unit.timing_state` gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from einchip.program import UnitInstruction
from einchip.reference import MachineError, Step
from einchip.sim.sequencer import Sequencer
from einchip.sim.shape import Shapes
from einchip.sim.unit import Unit
from einchip.sim.walker import Walker
from einchip.sim.work import BOUNDARY_BYTES, Work

#: States that are kept, two for each look; a page has 1,024 places at most where a burst can begin.
MOST_STATES = 4096


class _Event(NamedTuple):
    """A fetched instruction: its word; its shape, or for the sequencer whether it is skipped."""

    pc: int
    shape: Hashable


@dataclass(frozen=True)
class _Snapshot:
    """The machine between two stretches; `walker` stands behind the instruction that acts next."""

    cycle: int
    counts: list[list[int]]
    instructions: int
    walker: Walker


class FastForward:
    """Watches a run where its loops turn.

    Members
    -------
    skipped : cycles skipped so far. The units' own time does not know of them.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        units: Sequence[Unit],
        prepare: Callable[[Step], Work],
        latency: int,
    ) -> None:
        self._sequencer, self._units, self._prepare = sequencer, units, prepare
        self._parts: tuple[Sequencer | Unit, ...] = (sequencer, *units)
        self._shapes = Shapes(latency)
        self._turns = 0
        self._seen: dict[Hashable, _Snapshot] = {}
        self._differs: dict[int, int] = {}  # by period: where a walk ended
        self.skipped = 0

    def look(self, t: int, tokens: Sequence[int]) -> None:
        """Skip what can be skipped in cycle t, between two stretches, no error being on its way."""
        walker = self._sequencer.walker
        if walker.turns == self._turns:
            return
        self._turns = walker.turns
        counts = [part.counts() for part in self._parts]
        now = _Snapshot(t + self.skipped, counts, self._sequencer.instructions, walker.copy())
        state = (
            tuple(tokens),
            self._sequencer.timing_state(t),
            *(tuple(u.timing_state(t, self._shapes).items()) for u in self._units),
        )
        # Bursts repeat at the latest where all registers do modulo a page, often much earlier.
        keys = (state, tuple(r % BOUNDARY_BYTES for r in walker.registers)), (state, None)
        for key in keys:
            if key in self._seen and self._skip(self._seen[key], now):
                return
        if len(self._seen) >= MOST_STATES:
            self._seen.clear()
        self._seen.update(dict.fromkeys(keys, now))

    def _skip(self, before: _Snapshot, now: _Snapshot) -> bool:
        """Skip as many repetitions of what lies between two equal states as there will be."""
        period = now.instructions - before.instructions
        if 0 <= self._differs.get(period, 0) - now.instructions <= period:
            return False  # a walk has been here
        found = deque(self._repetitions(before, period), maxlen=1)
        if not found:
            return False
        [(n, walker)] = found
        self.skipped += n * (now.cycle - before.cycle)
        for part, a, b in zip(self._parts, before.counts, now.counts, strict=True):
            part.add_counts(n * (y - x) for x, y in zip(a, b, strict=True))
        self._sequencer.walker, self._turns = walker, walker.turns
        return True

    def _repetitions(self, before: _Snapshot, period: int) -> Iterator[tuple[int, Walker]]:
        """Walk on from `before`: yield how often the period repeats after its end, and where.

        The place is behind the instruction that acts after that many repetitions.
        """
        walker, events = before.walker.copy(), list[_Event]()
        for k in count():
            if k < period:
                events.append(self._event(walker))
            else:
                expected = events[k % period]
                if walker.taken.pc != expected.pc or self._event(walker) != expected:
                    break
                if k > period and k % period == 0:
                    yield k // period - 1, walker.copy()
            try:
                walker.execute()
                walker.take()
            except MachineError:
                break
        self._differs[period] = before.instructions + k

    def _event(self, walker: Walker) -> _Event:
        """Return what the instruction that the walker stands behind is to the machine."""
        pc, i, skipped = walker.taken
        if skipped or not isinstance(i, UnitInstruction):
            return _Event(pc, skipped)
        try:
            return _Event(pc, self._shapes.of(self._prepare(Step(pc, i, walker.registers))))
        except MachineError:
            return _Event(pc, object())
