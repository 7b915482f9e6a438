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
* Loads that are *smooth* and *alone* (`Shapes`) are of one shape however their beats are split. A
  load is alone as long as the unit never has the next one ready while a burst is in flight; if none
  had in a period, none will in its repetitions. Each turn is looked at both ways, with this in mind
  and by the beats of every burst, which come again with the place in a page.

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
from einchip.sim.load import LoadUnit
from einchip.sim.sequencer import Sequencer
from einchip.sim.shape import Shapes
from einchip.sim.unit import Unit
from einchip.sim.walker import Walker
from einchip.sim.work import BOUNDARY_BYTES, Work

#: States that are kept, three a look; a burst can begin at 1,024 places of a page at most.
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
    crowded: int
    walker: Walker


class _Key(NamedTuple):
    """A state in the eyes of some shapes, perhaps with the registers' places in a page."""

    shapes: Shapes
    state: Hashable
    places: Hashable = None


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
        load: LoadUnit,
        prepare: Callable[[Step], Work],
    ) -> None:
        self._sequencer, self._units, self._load = sequencer, units, load
        self._prepare = prepare
        self._parts: tuple[Sequencer | Unit, ...] = (sequencer, *units)
        self._exact, self._smooth = Shapes(), Shapes(load.latency)
        self._turns = 0
        self._seen: dict[Hashable, _Snapshot] = {}
        self._differs: dict[tuple[int, Shapes], int] = {}  # by period: where a walk ended
        self.skipped = 0

    def look(self, t: int, tokens: Sequence[int]) -> None:
        """Skip what can be skipped in cycle t, between two stretches, no error being on its way."""
        walker = self._sequencer.walker
        if walker.turns == self._turns:
            return
        self._turns = walker.turns
        counts = [part.counts() for part in self._parts]
        now = _Snapshot(
            t + self.skipped, counts, self._sequencer.instructions, self._load.crowded,
            walker.copy(),
        )  # fmt: skip
        keys = self._keys(t, tokens, walker)
        for key in keys:
            if key in self._seen and self._skip(self._seen[key], now, key.shapes):
                return
        if len(self._seen) >= MOST_STATES:
            self._seen.clear()
        self._seen.update(dict.fromkeys(keys, now))

    def _keys(self, t: int, tokens: Sequence[int], walker: Walker) -> list[_Key]:
        """Return the ways to look at a state.

        Bursts repeat at the latest where all registers do modulo a page, often much earlier.
        """
        exact = self._state(t, tokens, self._exact)
        places = tuple(r % BOUNDARY_BYTES for r in walker.registers)
        keys = [_Key(self._exact, exact, places), _Key(self._exact, exact)]
        if self._load.is_alone:
            keys.insert(0, _Key(self._smooth, self._state(t, tokens, self._smooth)))
        return keys

    def _state(self, t: int, tokens: Sequence[int], shapes: Shapes) -> Hashable:
        return (
            tuple(tokens),
            self._sequencer.timing_state(t),
            *(tuple(u.timing_state(t, shapes).items()) for u in self._units),
        )

    def _skip(self, before: _Snapshot, now: _Snapshot, shapes: Shapes) -> bool:
        """Skip as many repetitions of what lies between two equal states as there will be."""
        period = now.instructions - before.instructions
        if shapes is self._smooth and before.crowded != now.crowded:
            return False
        if 0 <= self._differs.get((period, shapes), 0) - now.instructions <= period:
            return False  # a walk has been here
        found = deque(self._repetitions(before, period, shapes), maxlen=1)
        if not found:
            return False
        [(n, walker)] = found
        self.skipped += n * (now.cycle - before.cycle)
        for part, a, b in zip(self._parts, before.counts, now.counts, strict=True):
            part.add_counts(n * (y - x) for x, y in zip(a, b, strict=True))
        self._sequencer.walker, self._turns = walker, walker.turns
        return True

    def _repetitions(
        self, before: _Snapshot, period: int, shapes: Shapes
    ) -> Iterator[tuple[int, Walker]]:
        """Walk on from `before`: yield how often the period repeats after its end, and where.

        The place is behind the instruction that acts after that many repetitions.
        """
        walker, events = before.walker.copy(), list[_Event]()
        for k in count():
            if k < period:
                events.append(self._event(walker, shapes))
            else:
                expected = events[k % period]
                if walker.taken.pc != expected.pc or self._event(walker, shapes) != expected:
                    break
                if k > period and k % period == 0:
                    yield k // period - 1, walker.copy()
            try:
                walker.execute()
                walker.take()
            except MachineError:
                break
        self._differs[period, shapes] = before.instructions + k

    def _event(self, walker: Walker, shapes: Shapes) -> _Event:
        """Return what the instruction that the walker stands behind is to the machine."""
        pc, i, skipped = walker.taken
        if skipped or not isinstance(i, UnitInstruction):
            return _Event(pc, skipped)
        try:
            return _Event(pc, shapes.of(self._prepare(Step(pc, i, walker.registers))))
        except MachineError:
            return _Event(pc, object())
