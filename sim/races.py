"""Races: instructions that meet in a scratchpad or in external memory without an order.

Two instructions i before j in program order meet when one writes what the other reads or writes.
The result is that of the program order, for certain, only if i is complete before j is launched.
Within one unit less is enough:

* The vector unit launches only when the instruction before is complete; or, where the later one
  `overlaps` it, when that one has read everything. Writes stay in order, so that, as in the array,
  only what i writes and j reads needs the order.
* LOADs run into one another, but their beats come in order, and so do the bursts of STOREs.
* The array launches j while i still drains. Operands of i were read by then, its rows (addends and
  writes) come before those of j: so only what i writes and j reads needs the order.
* Inside one instruction, a read of what an earlier tile, row or vector wrote has no order.

"Complete before launched" is looked at in one of two ways: by `Order.TIME` it was so in this very
run, by `Order.TOKENS` it is so in every run whatever the latency of the memory, because a chain of
tokens and of the units' own order leads from i to j, or a SYNC lies between them. Tokens are
matched by number: in a phase (from one SYNC to the next), the n-th instruction that takes a token
runs after the (n - g)-th that gives it, where g counts all that GIVE gave in the phase; of a token
that two units give, nothing is concluded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from einchip.accesses import VECTORS
from einchip.arch import Architecture
from einchip.program import TOKENS, Unit
from einchip.sim.footprint import Footprint, footprint, key, overlaps_itself
from einchip.sim.run import Executed, Run, SimulationError


class Order(Enum):
    """What counts as an order."""

    TIME = auto()
    TOKENS = auto()


@dataclass(frozen=True)
class Race:
    """Two instructions (or one with itself), and what both access: an element, or a byte."""

    first: Executed
    second: Executed
    space: int
    address: int

    def __str__(self) -> str:
        names = [f"word {e.pc}: {e.kind} ({e.launch} .. {e.completion})" for e in self._pair]
        where = f"{('X', 'Y', 'external memory')[self.space]}[{self.address}]"
        return f"{' and '.join(names)} meet in {where} without an order"

    @property
    def _pair(self) -> tuple[Executed, ...]:
        return (self.first,) if self.first is self.second else (self.first, self.second)


Ordered = Callable[[Executed, Executed], bool]


def races(run: Run, arch: Architecture, order: Order = Order.TIME) -> list[Race]:
    """Return the races of a run without error, one for each pair of places in the program."""
    executed = sorted(run.timeline, key=lambda e: e.index)
    ordered = _in_time if order is Order.TIME else _by_tokens(run)
    found: dict[tuple[int, int], Race] = {}
    for race in _all(executed, arch, ordered):
        found.setdefault((race.first.pc, race.second.pc), race)
    return list(found.values())


def check_races(run: Run, arch: Architecture, order: Order = Order.TIME) -> None:
    """Raise SimulationError naming the first race and the number of all."""
    found = races(run, arch, order)
    if found:
        raise SimulationError(f"found {len(found)} races: {found[0]}")


def _overlaps(e: Executed) -> bool:
    """Return whether an instruction may launch before the one before it in its unit is complete."""
    return isinstance(e.instruction, VECTORS) and bool(e.instruction.overlaps)


def _in_time(i: Executed, j: Executed) -> bool:
    return i.completion is not None and i.completion < j.launch


class _Group:
    """All executions of one instruction with one footprint."""

    def __init__(self, unit: Unit, elements: Footprint, overlaps: bool) -> None:
        self.unit, self.elements, self.overlaps = unit, elements, overlaps
        self.members: list[Executed] = []
        self.meets: dict[int, tuple[int, int] | None] = {}  # by the other group's identity

    def last_before(self, index: int) -> Executed | None:
        """Return the last member before the instruction of that index in program order."""
        at = bisect_left(self.members, index, key=lambda e: e.index)
        return self.members[at - 1] if at else None

    def meeting(self, later: _Group) -> tuple[int, int] | None:
        """Return what needs an order between a member and one of `later`."""
        if id(later) not in self.meets:
            same = self.unit == later.unit
            none = same and self.unit is not Unit.ARRAY and not later.overlaps
            self.meets[id(later)] = (
                None if none else self.elements.meets(later.elements, reads_of_other_only=same)
            )
        return self.meets[id(later)]


def _all(executed: list[Executed], arch: Architecture, ordered: Ordered) -> Iterator[Race]:
    groups: dict[object, _Group] = {}
    for j in executed:
        name = (j.pc, *key(j))
        group = groups.get(name)
        if group is None:
            group = groups[name] = _Group(j.unit, footprint(j, arch), _overlaps(j))
            own = overlaps_itself(j.instruction, j.registers, arch)
            if own is not None:
                yield Race(j, j, *own)
        for other in groups.values():
            i = other.last_before(j.index)
            if i is not None and not ordered(i, j):
                element = other.meeting(group)
                if element is not None:
                    yield Race(i, j, *element)
        group.members.append(j)


def _by_tokens(run: Run) -> Ordered:
    """Return the order that SYNCs, tokens and the units' own order make."""
    place: dict[int, int] = {}  # number within its unit
    numbers: dict[Unit, int] = defaultdict(int)
    for e in sorted(run.timeline, key=lambda e: e.index):
        place[e.index] = numbers[e.unit]
        numbers[e.unit] += 1
    done: dict[int, dict[Unit, int]] = {}
    for phase, given in enumerate(run.given):
        members = [e for e in run.timeline if e.phase == phase]
        done |= _completed_before(members, given, place)

    def ordered(i: Executed, j: Executed) -> bool:
        return i.phase < j.phase or place[i.index] < done[j.index].get(i.unit, 0)

    return ordered


def _completed_before(
    timeline: list[Executed], given: tuple[int, ...], place: dict[int, int]
) -> dict[int, dict[Unit, int]]:
    """Return, for each of a phase, how many of each unit are complete whenever it launches."""
    givers = [_givers(timeline, token) for token in range(TOKENS)]
    taken = [0] * TOKENS
    previous: dict[Unit, Executed] = {}
    done: dict[int, dict[Unit, int]] = {}
    for j in timeline:  # in the order of launches: givers come before takers
        known: dict[Unit, int] = {}
        sources = []
        if j.unit in previous:
            _join(known, done[previous[j.unit].index])
            before = previous[j.unit]
            if _overlaps(j):
                # of the vector unit's own, all but the one before it
                _join(known, {Unit.VECTOR: place[before.index]})
            elif j.unit is Unit.VECTOR:
                sources.append(before)
        for token in range(TOKENS):
            if j.instruction.wait >> token & 1:
                n = taken[token] - given[token]
                taken[token] += 1
                if 0 <= n < len(givers[token]):
                    sources.append(givers[token][n])
        for i in sources:
            _join(known, {**done[i.index], i.unit: place[i.index] + 1})
        previous[j.unit] = j
        done[j.index] = known
    return done


def _join(known: dict[Unit, int], more: dict[Unit, int]) -> None:
    for unit, n in more.items():
        known[unit] = max(known.get(unit, 0), n)


def _givers(timeline: list[Executed], token: int) -> list[Executed]:
    """Return the instructions that give a token, in order; none if two units do."""
    found = [e for e in timeline if e.instruction.signal >> token & 1]
    return [] if any(a.unit != b.unit for a, b in pairwise(found)) else found
