"""Tokens for programs with no data races: which instruction gives and takes what.

Instructions lie in *segments*: straight runs that execute as a whole, again and again where a loop
surrounds them. Within a segment every conflict between units (and every read by the array of what
the array wrote) is ordered by an edge from the earlier instruction to the later one; one pass over
the segment with vector clocks leaves out the edges that others imply. All edges of a pair of units
share one token: their gives and takes pair up in order.

In a segment whose iterations overlap, each pair of units with a conflict between one iteration and
the next (or the next but one) has a token more, which the segment gives and takes once, with one
(or two) credits from a GIVE at the program's start. Between segments everything waits for a
*fence*: private instructions that conflict with nothing, but for one, the pivot, that orders all
before it and all after it; or for a SYNC. A SYNC outside of all loops begins a *phase*, whose
tokens have nothing to do with those of the one before; any SYNC takes the credits away, so they are
given again behind it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from numpy.random import Generator

from einchip.arch import Architecture
from einchip.program import (
    TOKEN_MAX,
    TOKENS,
    Give,
    Program,
    Sync,
    Unit,
    UnitInstruction,
    Vector,
)
from einchip.reference import Host, walk
from tests.system.instructions import Footprint, touched

UNITS: Final = (Unit.LOAD, Unit.STORE, Unit.ARRAY, Unit.VECTOR)
#: Instructions of a unit that the sequencer has issued and that may not have started.
ISSUED: Final = 3


@dataclass(frozen=True)
class Node:
    """An instruction as ordering sees it: its unit and what each of its executions touches."""

    unit: Unit
    prints: tuple[Footprint, ...]
    pivot: bool = False
    phase: int = 0


class Edge(NamedTuple):
    """`giver` and `taker` are indices of nodes; `distance`: iterations that lie between."""

    giver: int
    taker: int
    distance: int = 0


class TooManyTokensError(Exception):
    """More pairs of units than tokens, or more tokens given than a counter holds."""


def collide(a: Footprint, b: Footprint, units: tuple[Unit, Unit]) -> bool:
    """Tell whether two executions, the first of them earlier, need an order of their own."""
    if units[0] != units[1]:
        return bool(a.writes & (b.reads | b.writes) or a.reads & b.writes)
    return units[0] is Unit.ARRAY and bool(a.writes & b.reads)


def _conflict(a: Node, b: Node, distance: int) -> bool:
    units = a.unit, b.unit
    if a.pivot or b.pivot:
        return a.unit != b.unit or a.unit is Unit.ARRAY
    pairs = zip(a.prints, b.prints[distance:], strict=False)
    return any(collide(p, q, units) for p, q in pairs)


def segment_edges(nodes: Sequence[Node], rng: Generator) -> Iterator[Edge]:
    """Yield the edges inside a segment, and now and then one that nothing needs."""
    clocks: list[dict[Unit, int]] = []  # per node: last node of each unit that is known complete
    known = {unit: dict.fromkeys(UNITS, -1) for unit in UNITS}
    for j, b in enumerate(nodes):
        clock = known[b.unit]
        for unit in UNITS:
            earlier = [i for i in range(clock[unit] + 1, j) if nodes[i].unit is unit]
            needed = [i for i in earlier if _conflict(nodes[i], b, 0) or rng.random() < 0.03]
            if needed:
                i = needed[-1]
                yield Edge(i, j)
                clock = {u: max(clock[u], clocks[i][u]) for u in UNITS}
                clock[unit] = max(clock[unit], i)
        clocks.append(clock)
        known[b.unit] = {**clock, b.unit: j} if b.unit is Unit.VECTOR else clock


def carried_edges(nodes: Sequence[Node]) -> Iterator[Edge]:
    """Yield an edge for each pair of units with a conflict between iterations of a segment."""
    n_runs = max((len(node.prints) for node in nodes), default=0)
    for first in UNITS:
        for second in UNITS:
            pairs = [
                (i, j, distance)
                for i, a in enumerate(nodes)
                for j, b in enumerate(nodes)
                if a.unit is first and b.unit is second
                for distance in range(1, n_runs)
                if _conflict(a, b, distance)
            ]
            if pairs:
                givers, takers, distances = zip(*pairs, strict=True)
                yield Edge(max(givers), min(takers), min(2, *distances))


@dataclass
class Masks:
    """The token masks of every node, the GIVEs with which each phase starts, unused tokens."""

    wait: list[int]
    signal: list[int]
    credits: list[list[Give]]
    free: list[int]


def masks(nodes: Sequence[Node], edges: Sequence[Edge], n_phases: int, rng: Generator) -> Masks:
    """Number the tokens of each phase and return the masks. Raises TooManyTokensError."""
    found = Masks([0] * len(nodes), [0] * len(nodes), [], [])
    most = 0
    for phase in range(n_phases):
        numbers: dict[tuple[Unit, Unit, int], int] = {}
        here = [e for e in edges if nodes[e.giver].phase == phase]
        for edge in here:
            key = nodes[edge.giver].unit, nodes[edge.taker].unit, edge.distance
            numbers.setdefault(key, len(numbers))
        most = max(most, len(numbers))
        if most > TOKENS:
            raise TooManyTokensError
        order = [int(n) for n in rng.permutation(len(numbers))]
        for edge in here:
            key = nodes[edge.giver].unit, nodes[edge.taker].unit, edge.distance
            found.signal[edge.giver] |= 1 << order[numbers[key]]
            found.wait[edge.taker] |= 1 << order[numbers[key]]
        found.credits.append(list(_gives({order[n]: key[2] for key, n in numbers.items()})))
    found.free = list(range(most, TOKENS))
    return found


def _gives(credit: Mapping[int, int]) -> Iterator[Give]:
    """Yield the GIVEs that give each token so often."""
    for least in (1, 2):
        mask = sum(1 << token for token, n in credit.items() if n >= least)
        if mask:
            yield Give(mask)


def check_counts(program: Program, host: Host) -> None:
    """Raise TooManyTokensError when a token's counter may overflow, whatever the units' speeds.

    The worst: all givers are done, and of each unit the last `ISSUED` instructions wait.
    """
    given, tokens = [0] * TOKENS, _unit_tokens(program)
    waiting: dict[Unit, list[int]] = {unit: [] for unit in UNITS}
    for step in walk(program, host):
        i = step.instruction
        if isinstance(i, Give):
            _add(given, i.mask & tokens)
        elif isinstance(i, Sync):
            given, waiting = [0] * TOKENS, {unit: [] for unit in UNITS}
        elif isinstance(i, UnitInstruction):
            _add(given, i.signal)
            waiting[i.UNIT].append(i.wait & tokens)
            if len(waiting[i.UNIT]) > ISSUED:
                _add(given, waiting[i.UNIT].pop(0), -1)
        if max(given) > TOKEN_MAX:
            raise TooManyTokensError


def _add(counts: list[int], mask: int, n: int = 1) -> None:
    for token in range(TOKENS):
        counts[token] += n * (mask >> token & 1)


class _Run(NamedTuple):
    """An executed instruction; `clock`: per unit, how many were complete when it started."""

    pc: int
    unit: Unit
    number: int
    clock: dict[Unit, int]
    touched: Footprint


def races(program: Program, arch: Architecture, host: Host) -> list[tuple[int, int]]:
    """Return the word indices of instructions that conflict with nothing to order them.

    Brute force, with none of the reasoning above: run the program's tokens, k-th take after k-th
    give, and compare every pair of executions.
    """
    runs: list[_Run] = []
    tokens = _unit_tokens(program)
    given: list[list[_Run | None]] = [[] for _ in range(TOKENS)]
    known = {unit: dict.fromkeys(UNITS, 0) for unit in UNITS}
    numbers = dict.fromkeys(UNITS, 0)
    found = []
    for pc, i, registers in walk(program, host):
        if isinstance(i, Give):
            for token in _bits(i.mask & tokens):
                given[token].append(None)
        if isinstance(i, Sync):
            given = [[] for _ in range(TOKENS)]
            known = {unit: dict(numbers) for unit in UNITS}
        if not isinstance(i, UnitInstruction):
            continue
        unit, clock = i.UNIT, dict(known[i.UNIT])
        overlaps = isinstance(i, Vector) and i.overlaps
        clock[Unit.VECTOR] -= bool(overlaps)  # the one before may not be complete
        for token in _bits(i.wait & tokens):
            giver = given[token].pop(0)
            if giver:
                clock = {u: max(clock[u], giver.clock[u]) for u in UNITS}
                clock[giver.unit] = max(clock[giver.unit], giver.number)
        numbers[unit] += 1
        run = _Run(pc, unit, numbers[unit], clock, touched(i, registers, arch, host))
        for token in _bits(i.signal):
            given[token].append(run)
        known[unit] = {**clock, unit: run.number} if unit is Unit.VECTOR else clock
        found += [
            (r.pc, pc)
            for r in runs
            if r.number > clock[r.unit]
            and (
                collide(r.touched, run.touched, (r.unit, unit))
                or (unit is r.unit is Unit.VECTOR and r.touched.writes & run.touched.reads)
            )
        ]
        runs.append(run)
    return found


def _unit_tokens(program: Program) -> int:
    """Return the mask of the tokens that units give; others only wait for the sequencer."""
    mask = 0
    for i in program.instructions:
        mask |= i.signal if isinstance(i, UnitInstruction) else 0
    return mask


def _bits(mask: int) -> Iterator[int]:
    return (token for token in range(TOKENS) if mask >> token & 1)
