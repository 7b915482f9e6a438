"""Tokens: who waits for whom, derived from what operations read and write.

For each ordered pair of units there is one token. The operations of the taking unit are visited in
order; one that needs an operation of the giving unit which is later than the last one waited for
makes that operation give, and takes. Since every unit works in order, the k-th token given is the
k-th taken. Inside a loop needs may reach into earlier iterations; the tokens that the first
iterations take are given by the operations before the loop, or by GIVE.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from einchip.mapper.errors import MappingError
from einchip.mapper.ops import Op
from einchip.program import TOKEN_MAX, TOKENS, Unit

#: Copies of a loop's body that are looked at; the third one is the steady state.
COPIES = 6
STEADY = 3

Pair = tuple[Unit, Unit]
UNITS = (Unit.LOAD, Unit.STORE, Unit.ARRAY, Unit.VECTOR)
#: Pairs between which the order of the units' own work says nothing.
PAIRS: tuple[Pair, ...] = (
    *((u, v) for u in UNITS for v in UNITS if u != v),
    (Unit.ARRAY, Unit.ARRAY),
)
#: The same, with what holds loads back before what loads give.
STRAIGHT_PAIRS = sorted(PAIRS, key=lambda p: p[0] == Unit.LOAD)


class Instance(NamedTuple):
    """One operation in one section: -1 before the loop, 0.. iterations, COPIES after it."""

    op: Op
    place: tuple[int, int]  # (section, position in it)


@dataclass
class Masks:
    """Tokens of the operations of one section."""

    wait: list[int] = field(default_factory=list)
    signal: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, ops: Sequence[Op]) -> Masks:
        return cls([0] * len(ops), [0] * len(ops))


@dataclass
class Plan:
    """Tokens of a whole program: of each section, and the credits given before the loop.

    The units may wait until all are idle: `settled` before the loop, `closed` after it, `synced`
    between the iterations too.
    """

    before: Masks
    body: Masks
    after: Masks
    credits: list[int] = field(default_factory=list)
    settled: bool = False
    closed: bool = False
    synced: bool = False


class _Take(NamedTuple):
    """`taker` waits for `giver`."""

    giver: Instance
    taker: Instance


#: Names that stand for one of two buffers: name -> (buffer, its number in iteration 0).
Toggles = Mapping[str, tuple[str, int]]


def copy_name(buffer: str, number: int) -> str:
    """Return the name of one of the two copies of a toggled buffer."""
    return f"{buffer}@{number % 2}"


def _touches(op: Op, section: int, toggles: Toggles) -> tuple[set[str], set[str]]:
    """Return (reads, writes) with toggled buffers told apart by iteration."""

    def name(buffer: str) -> str:
        if buffer not in toggles:
            return buffer
        copied, phase = toggles[buffer]
        return copy_name(copied, section + phase)

    def names(buffers: frozenset[str]) -> set[str]:
        return {name(b) for b in buffers}

    return names(op.reads), names(op.writes)


class _Needs:
    """Which instance each instance needs, over the unrolled program."""

    def __init__(self, instances: Sequence[Instance], toggles: Toggles) -> None:
        self.instances = instances
        known: dict[tuple[int, int], tuple[set[str], set[str]]] = {}
        self.touched = []
        self.of_unit: dict[Unit, list[int]] = {unit: [] for unit in UNITS}
        for k, (op, (section, _)) in enumerate(instances):
            key = id(op), section % 2  # toggled buffers alternate
            if key not in known:
                known[key] = _touches(op, section, toggles)
            self.touched.append(known[key])
            self.of_unit[op.unit].append(k)

    def latest(self, j: int, giver: Unit, behind: int) -> int | None:
        """Return the latest earlier instance of `giver` that instance j needs, behind another."""
        reads, writes = self.touched[j]
        same = giver == self.instances[j].op.unit
        given = self.of_unit[giver]
        for i in reversed(given[bisect_right(given, behind) : bisect_left(given, j)]):
            read, written = self.touched[i]
            if not written.isdisjoint(reads):
                return i
            if not (same or (read.isdisjoint(writes) and written.isdisjoint(writes))):
                return i
        return None

    def takes(self, pair: Pair) -> list[_Take]:
        """Return the takes of a pair of units in order, each later than the one before."""
        giver, taker = pair
        found, synchronised = [], -1
        for j in self.of_unit[taker]:
            i = self.latest(j, giver, synchronised)
            if i is not None:
                found.append(_Take(self.instances[i], self.instances[j]))
                synchronised = i
        return found


def straight(ops: Sequence[Op]) -> Masks:
    """Return the tokens of a program without a loop."""
    masks = Masks.of(ops)
    needs = _Needs([Instance(op, (0, k)) for k, op in enumerate(ops)], {})
    token = 0
    for pair in STRAIGHT_PAIRS:
        takes = needs.takes(pair)
        if takes:
            free = _unheld(ops, masks) if pair[0] == Unit.LOAD else 0
            _mark(masks, masks, token, _coarse(takes, free))
            token += 1
    return masks


def _unheld(ops: Sequence[Op], masks: Masks) -> int:
    """Return up to which operation nothing holds loads back."""
    held = (k for k, op in enumerate(ops) if op.unit == Unit.LOAD and masks.wait[k])
    return next(held, len(ops))


def _coarse(takes: Sequence[_Take], free: int) -> list[_Take]:
    """Wait for several operations at once where more could be complete than a counter holds.

    Only takes of operations before `free`, which wait for nothing, are joined. Raises MappingError
    where an operation would wait for a later one.
    """
    n = sum(t.giver.place[1] < free for t in takes)
    every = -(-n // TOKEN_MAX)
    if every <= 1:
        return list(takes)
    joined = [_Take(takes[min(k + every, n) - 1].giver, takes[k].taker) for k in range(0, n, every)]
    if any(t.giver.place > t.taker.place for t in joined):
        raise MappingError(f"tokens: found {n} loads ahead, expected at most {TOKEN_MAX}")
    return joined + list(takes[n:])


def _mark(givers: Masks, takers: Masks, token: int, takes: Sequence[_Take]) -> None:
    """Set a token's bits."""
    for t in takes:
        givers.signal[t.giver.place[1]] |= 1 << token
        takers.wait[t.taker.place[1]] |= 1 << token


def looped(before: Sequence[Op], body: Sequence[Op], after: Sequence[Op], toggles: Toggles) -> Plan:
    """Return the tokens of a program with one loop.

    Raises MappingError where one counter for each pair of units is not enough.
    """
    sections = [(-1, before), *((k, body) for k in range(COPIES)), (COPIES, after)]
    instances = [
        Instance(op, (section, k)) for section, ops in sections for k, op in enumerate(ops)
    ]
    needs = _Needs(instances, toggles)
    plan = Plan(Masks.of(before), Masks.of(body), Masks.of(after))
    token = 0
    for pair in PAIRS:
        takes = needs.takes(pair)
        if takes:
            token = _Pair(plan, token, takes).mark()
    if token > TOKENS:
        raise MappingError(f"tokens: found {token} needed, expected at most {TOKENS}")
    return plan


def ordered(
    before: Sequence[Op], body: Sequence[Op], after: Sequence[Op], toggles: Toggles
) -> Plan:
    """Return the tokens of a program with one loop, with as little waiting as can be told.

    Where the tokens of the first iterations or those that the last ones leave cannot be told, the
    units settle before or after the loop; where those of the iterations cannot, between them.
    """
    for settled, closed in ((False, False), (True, False), (False, True), (True, True)):
        with contextlib.suppress(MappingError):
            plan = looped([] if settled else before, body, [] if closed else after, toggles)
            plan.before = straight(before) if settled else plan.before
            plan.after = straight(after) if closed else plan.after
            plan.settled, plan.closed = settled, closed
            return plan
    plan = Plan(straight(before), straight(body), straight(after))
    plan.settled = plan.closed = plan.synced = True
    return plan


class _Pair:
    """The tokens of one pair of units around a loop."""

    def __init__(self, plan: Plan, token: int, takes: Sequence[_Take]) -> None:
        self.plan, self.token = plan, token
        self.steady = [t for t in takes if t.taker.place[0] == STEADY]
        self.takes = takes
        self.ahead = 0

    def mark(self) -> int:
        """Set all bits; return the next free token."""
        last = [t for t in self.takes if t.taker.place[0] == COPIES]
        inner = [t for t in last if t.giver.place[0] == COPIES]
        if self.steady:
            self._body()
        self._check_start()
        self._out_of_loop([t for t in last if t.giver.place[0] < COPIES])
        used = self.token + bool(self.steady)
        if inner:
            _mark(self.plan.after, self.plan.after, used, inner)
            used += 1
        return used

    def _body(self) -> None:
        """Mark the loop, and give before it what its first iterations take."""
        bit, body = 1 << self.token, self.plan.body
        for t in self.steady:
            body.wait[t.taker.place[1]] |= bit
            body.signal[t.giver.place[1]] |= bit
        self.ahead = ahead = self._ahead()
        if ahead > TOKEN_MAX:
            raise MappingError(f"tokens: found {ahead} tokens ahead, expected at most {TOKEN_MAX}")
        for k, giver in enumerate(self._first_givers(ahead)):
            if giver is None:
                while len(self.plan.credits) <= k:
                    self.plan.credits.append(0)
                self.plan.credits[k] |= bit
            else:
                self.plan.before.signal[giver] |= bit

    def _check_start(self) -> None:
        """Raise MappingError if anything needs what came before and no token says so."""
        places = [t.taker.place[1] for t in self.steady]
        for t in self.takes:
            section, position = t.taker.place
            if section == -1:
                raise MappingError("tokens: an operation before the loop needs one before it")
            if t.giver.place[0] != -1 or section == COPIES:
                continue
            known = position in places and (
                section * len(places) + places.index(position) < self.ahead
            )
            if not known:
                raise MappingError("tokens: an iteration needs what only the first one waits for")

    def _ahead(self) -> int:
        """Return how many tokens stand between iterations."""
        gives = sorted(t.giver.place[1] for t in self.steady)
        ahead = {
            (STEADY - t.giver.place[0]) * len(gives) + q - gives.index(t.giver.place[1])
            for q, t in enumerate(self.steady)
        }
        if len(ahead) != 1 or len(set(gives)) != len(gives):
            raise MappingError("tokens: the order of the loop's dependencies is not periodic")
        return ahead.pop()

    def _first_givers(self, ahead: int) -> list[int | None]:
        """Return for each of the first takes the operation before the loop that gives, if any."""
        n = len(self.steady)
        positions = [t.taker.place[1] for t in self.steady]
        wanted: list[int | None] = []
        by_taker = {t.taker.place: t.giver.place for t in self.takes}
        for k in range(ahead):
            giver = by_taker.get((k // n, positions[k % n]), (0, 0))
            wanted.append(giver[1] if giver[0] == -1 else None)
        given = [g for g in wanted if g is not None]
        if None in wanted[wanted.index(given[0]) :] if given else False:
            raise MappingError("tokens: a credit would overtake a token from before the loop")
        return wanted

    def _out_of_loop(self, takes: Sequence[_Take]) -> None:
        """Let the operations after the loop take the tokens that the last iterations left."""
        if not takes:
            return
        gives = sorted({t.giver.place[1] for t in self.steady})
        if not self.steady or not self.ahead:
            raise MappingError("tokens: an operation after the loop needs one that gives no token")
        left = [
            (COPIES - 1 - k // len(gives), gives[-1 - k % len(gives)]) for k in range(self.ahead)
        ]
        left.reverse()
        for take in takes:
            enough = [place for place in left if place >= take.giver.place]
            if not enough or left.index(enough[0]) > 0:
                raise MappingError("tokens: an operation after the loop needs several tokens")
            left.pop(0)
            self.plan.after.wait[take.taker.place[1]] |= 1 << self.token
