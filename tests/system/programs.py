"""Random sound programs, made without the mapper: every instruction, loops, registers, tokens.

`random_case(seed, arch)` and `cases(arch)` (for hypothesis) give a program with the memory and the
host that it runs with. Every program keeps the rules of `einchip.check` and has no data races, so
what it leaves in memory does not depend on time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, Self

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from numpy.random import Generator

from einchip import check, numeric
from einchip.arch import Architecture
from einchip.numeric import Ints
from einchip.program import (
    HOST_ARGS,
    HOST_BASES,
    REGISTER_BITS,
    REGISTERS,
    TOKEN_MAX,
    TOKENS,
    EndLoop,
    Fill,
    Give,
    Halt,
    Instruction,
    Load,
    Loop,
    Program,
    SetMode,
    SetRegister,
    Store,
    Sync,
    Unit,
    UnitInstruction,
    Vector,
)
from einchip.reference import Host, Memory, trace, walk
from tests.system import instructions, ordering
from tests.system.instructions import Footprint, Span, Surroundings, touched
from tests.system.ordering import Edge, Node
from tests.system.recipes import RECIPES, Block, Op, Recipe, random_recipe

#: Several pages, so that transfers cross their boundaries.
EXTERNAL_BYTES: Final = 3 * 4096
#: Executed unit instructions, at most: some hundred to few thousand cycles.
MOST_EXECUTED: Final = 120
#: Rows of each scratchpad that belong to one unit: load, store, array (read, written), vector unit.
PRIVATE_ROWS: Final = 5
#: External bytes that only private transfers touch, at the end: those of LOADs, then of STOREs.
PRIVATE_BYTES: Final = 512


@dataclass(frozen=True)
class Case:
    """A program and what it runs with; `recipe` says how it was made."""

    recipe: Recipe
    arch: Architecture
    program: Program
    host: Host
    memory: Memory

    def __repr__(self) -> str:
        return f"Case({self.arch.name}, {self.recipe})"


@dataclass(frozen=True)
class _Place:
    """Where a unit instruction will stand; `private` to its unit, or with all rows of all.

    A transfer that the last `skip_last` iterations of its loop skip is `loose`: private, and
    without tokens, of which it would give too few.
    """

    op: Op
    segment: int
    private: bool = False
    pivot: bool = False
    loose: bool = False
    skip_last: int = 0


@dataclass(frozen=True)
class _Barrier:
    """A SYNC, behind which a phase goes on or begins.

    With `surplus`, GIVEs of these tokens follow, and one more SYNC, which takes them away.
    """

    phase: int
    surplus: int = 0


@dataclass
class _Skeleton:
    """A program without its unit instructions.

    `overlapping`: segments without a fence; `phases`: the phase of each segment.
    """

    items: list[Instruction | _Place | _Barrier] = field(default_factory=list)
    phases: list[int] = field(default_factory=list)
    overlapping: set[int] = field(default_factory=set)
    args: list[int] = field(default_factory=list)
    phase: int = 0
    loops: int = 0  # open

    @property
    def segments(self) -> int:
        """Segments so far: the number of the one that is filled."""
        return len(self.phases)

    def end_segment(self) -> None:
        """Let the next segment begin."""
        self.phases.append(self.phase)

    @property
    def has_barriers(self) -> bool:
        """Whether any SYNC takes tokens away."""
        return any(isinstance(item, _Barrier) for item in self.items)


def random_case(seed: int, arch: Architecture) -> Case:
    """Return the program of a seed."""
    rng = np.random.default_rng(seed)
    while True:
        recipe = random_recipe(int(rng.integers(1 << 32)))
        case = build(replace(recipe, seed=seed), arch)
        if case:
            return case


@st.composite
def cases(draw: st.DrawFn, arch: Architecture) -> Case:
    """Draw a program; it shrinks to the few operations that matter."""
    case = build(draw(RECIPES), arch)
    if case is None:
        reject()
    return case


def build(recipe: Recipe, arch: Architecture) -> Case | None:
    """Return the program of a recipe, None where it is too long or needs too many tokens."""
    rng = np.random.default_rng(recipe.seed)
    skeleton = _skeleton(recipe)
    port = arch.port_bytes
    host = Host(
        bases=tuple(port * int(n) for n in rng.integers((1 << 32) // port, size=HOST_BASES)),
        args=(*skeleton.args, *(int(n) for n in rng.integers(100, size=HOST_ARGS)))[:HOST_ARGS],
    )
    memory = Memory(
        _random_elements(rng, arch, 0),
        _random_elements(rng, arch, 1),
        bytearray(rng.bytes(EXTERNAL_BYTES)),
    )
    registers = _registers(skeleton, host)
    if registers is None:
        return None
    windows = [_window(rng, arch, space) for space in (0, 1)]
    filled = _fill_places(skeleton, registers, arch, host, windows)
    try:
        program = _order(skeleton, filled, registers, arch, host, rng)
        ordering.check_counts(program, host)
    except ordering.TooManyTokensError:
        return None
    if program.n_words > arch.program_words:
        return None
    check.require(program, arch, host)
    return Case(recipe, arch, program, host, memory)


def _random_elements(rng: Generator, arch: Architecture, space: int) -> Ints:
    low, high = numeric.limits(arch.data_bits)
    return rng.integers(low, high, arch.capacity(space), endpoint=True)


# --- the skeleton --------------------------------------------------------------------------
def _skeleton(recipe: Recipe) -> _Skeleton:
    skeleton = _Skeleton()
    for block in recipe.blocks:
        _add_block(skeleton, block)
    skeleton.items.append(Halt())
    return skeleton


def _add_block(skeleton: _Skeleton, block: Block) -> None:
    rng = np.random.default_rng(block.seed)
    overlaps = bool(block.count) and not block.fenced and not block.inner
    if overlaps:
        _add_border(skeleton, rng, closes=True)
    steps: list[Instruction] = []
    if block.count:
        for register in rng.choice(range(1, REGISTERS), size=rng.integers(3), replace=False):
            first, step = _register_steps(rng, int(register))
            skeleton.items.append(first)
            steps.append(step)
        skeleton.items.append(_loop(skeleton, block, rng))
        skeleton.loops += 1
    n_before = int(rng.integers(len(steps) + 1))
    skeleton.items += steps[:n_before]
    if not overlaps:
        _add_border(skeleton, rng)
    else:
        skeleton.overlapping.add(skeleton.segments)
    skeleton.items += [_place(skeleton, op) for op in block.ops]
    skeleton.end_segment()
    for inner in block.inner:
        _add_block(skeleton, inner)
    skeleton.items += steps[n_before:]
    if block.count:
        skeleton.items.append(EndLoop())
        skeleton.loops -= 1


def _place(skeleton: _Skeleton, op: Op) -> _Place:
    rng = np.random.default_rng(op.seed + 1)
    if op.kind not in ("load", "store") or rng.random() < 0.5:
        return _Place(op, skeleton.segments)
    loose = bool(skeleton.loops)
    skip_last = int(rng.integers(1, 4))  # means nothing outside of loops
    return _Place(op, skeleton.segments, private=loose, loose=loose, skip_last=skip_last)


def _loop(skeleton: _Skeleton, block: Block, rng: Generator) -> Loop:
    known = skeleton.args
    if block.argument and block.count not in known and len(known) < HOST_ARGS:
        known.append(block.count)
    if block.argument and block.count in known:
        return Loop(count=int(rng.integers(1 << 32)), arg=1 + known.index(block.count))
    return Loop(count=block.count)


def _register_steps(rng: Generator, register: int) -> tuple[SetRegister, SetRegister]:
    """Return how a register starts before a loop, and how its body changes it.

    Units of 64 elements are rows, and whole beats, of every machine; few of the others are.
    """
    unit = int(rng.choice([1, 4, 16, 64]))
    start, step = (unit * int(n) for n in rng.integers(-3, 4, size=2))
    mode = SetMode(int(rng.integers(3)))
    value = {SetMode.SET: step, SetMode.ADD: step, SetMode.TOGGLE: 2 * start + step}[mode]
    return (
        SetRegister(register, SetMode.SET, start % (1 << REGISTER_BITS)),
        SetRegister(register, mode, value % (1 << REGISTER_BITS)),
    )


def _add_border(skeleton: _Skeleton, rng: Generator, *, closes: bool = False) -> None:
    """Add a fence or a SYNC. At the program's very start there is none."""
    if rng.random() < 0.7:
        _add_fence(skeleton, rng, closes=closes)
    elif skeleton.items:
        skeleton.phase += not skeleton.loops
        surplus = int(rng.integers(1 << TOKENS)) if rng.random() < 0.3 else 0
        skeleton.items.append(_Barrier(skeleton.phase, surplus))


def _add_fence(skeleton: _Skeleton, rng: Generator, *, closes: bool = False) -> None:
    """Add private instructions that order all before them and all after.

    `closes`: the fence is a segment of its own. At the program's very start there is none.
    """
    if not skeleton.items:
        return
    kinds = [("load",), ("store",), ("contract",), ("copy", "fill")]
    choices = [kinds[k] for k in rng.permutation(len(kinds))]
    *others, pivot = (Op(str(rng.choice(c)), int(rng.integers(1 << 32))) for c in choices)
    here = skeleton.segments
    skeleton.items += [_Place(op, here, private=True) for op in others]
    skeleton.items.append(_Place(pivot, here, private=True, pivot=True))
    if closes:
        # The array starts instructions before earlier ones are complete, its own pivot too.
        waiting = [*others, *([pivot] if pivot.kind == "contract" else [])]
        again = [replace(op, seed=op.seed + 1) for op in waiting]
        skeleton.items += [_Place(op, here, private=True) for op in again]
        skeleton.end_segment()


def _registers(skeleton: _Skeleton, host: Host) -> dict[int, list[tuple[int, ...]]] | None:
    """Return what the registers hold at each execution of each place, None if there are many."""
    stub = Program(tuple(_stub(i) for i in skeleton.items))
    index = {pc: k for k, (pc, _) in enumerate(stub.addresses())}
    found: dict[int, list[tuple[int, ...]]] = {k: [] for k in index.values()}
    for n, step in enumerate(trace(stub, host)):
        found[index[step.pc]].append(step.registers)
        if n > MOST_EXECUTED:
            return None
    return found


def _stub(item: Instruction | _Place | _Barrier) -> Instruction:
    if isinstance(item, Instruction):
        return item
    return Sync() if isinstance(item, _Barrier) else Fill()


# --- unit instructions ---------------------------------------------------------------------
@dataclass(frozen=True)
class _Window:
    """The rows of one scratchpad that a program uses, as addresses."""

    shared: Span
    load: Span
    store: Span
    array_reads: Span
    array_writes: Span
    vector: Span


def _window(rng: Generator, arch: Architecture, space: int) -> _Window:
    depth = arch.capacity(space) // arch.lanes
    rows = min(depth, int(rng.choice([16, 32, 128, depth, depth])))
    first = int(rng.choice([0, depth - rows, int(rng.integers(depth - rows + 1))]))
    ends = [first, *range(first + rows - PRIVATE_ROWS, first + rows + 1)]
    spans = [(arch.lanes * a, arch.lanes * b) for a, b in pairwise(ends)]
    return _Window(*spans)


def _fill_places(
    skeleton: _Skeleton,
    registers: dict[int, list[tuple[int, ...]]],
    arch: Architecture,
    host: Host,
    windows: Sequence[_Window],
) -> dict[int, UnitInstruction]:
    """Return the unit instruction of every place."""
    x, y = windows
    filled: dict[int, UnitInstruction] = {}
    before: Vector | None = None
    for k, place in enumerate(skeleton.items):
        if not isinstance(place, _Place):
            continue
        reads = writes = x.shared, y.shared
        kind, external = place.op.kind, (0, EXTERNAL_BYTES - 2 * PRIVATE_BYTES)
        if place.private and kind == "contract":
            reads, writes = (x.array_reads, y.array_reads), (x.array_writes, y.array_writes)
        elif place.private and kind in ("load", "store"):
            reads = writes = getattr(x, kind), getattr(y, kind)
            end = EXTERNAL_BYTES - PRIVATE_BYTES * (kind == "load")
            external = end - PRIVATE_BYTES, end
        elif place.private:
            reads = writes = x.vector, y.vector
        near = Surroundings(arch, host, external, reads, writes, tuple(registers[k]))
        rng = np.random.default_rng(place.op.seed)
        i = instructions.draw(place.op.kind, rng, near)
        if isinstance(i, Vector):
            # some are alike to the one before, where that can be
            if before is not None and rng.random() < (0.8 if type(before) is type(i) else 0.3):
                i = instructions.twin(before, rng, near) or i
            before = i
        filled[k] = replace(i, skip_last=place.skip_last) if isinstance(i, Load | Store) else i
    return filled


def _order(
    skeleton: _Skeleton,
    filled: dict[int, UnitInstruction],
    registers: dict[int, list[tuple[int, ...]]],
    arch: Architecture,
    host: Host,
    rng: Generator,
) -> Program:
    """Return the program with tokens that leave no races. Raises TooManyTokensError."""
    places = {k: p for k, p in enumerate(skeleton.items) if isinstance(p, _Place) and not p.loose}
    index = list(places)
    nodes = [
        Node(
            filled[k].UNIT,
            tuple(touched(filled[k], r, arch, host) for r in registers[k]),
            p.pivot,
            skeleton.phases[p.segment],
        )
        for k, p in places.items()
    ]
    edges: list[Edge] = []
    for segment in range(skeleton.segments):
        here = [n for n, k in enumerate(index) if places[k].segment == segment]
        members = [nodes[n] for n in here]
        found = list(ordering.segment_edges(members, rng))
        if segment in skeleton.overlapping:
            found += ordering.carried_edges(members)
        edges += [Edge(here[e.giver], here[e.taker], e.distance) for e in found]
    masks = ordering.masks(nodes, edges, skeleton.phase + 1, rng)
    gives = _Gives.draw(rng, masks.free, hoards=not skeleton.has_barriers)
    code: list[Instruction] = []
    for k, item in enumerate(skeleton.items):
        if isinstance(item, _Barrier):
            code += [Sync(), *([Give(item.surplus), Sync()] if item.surplus else [])]
            code += masks.credits[item.phase]
            continue
        if k not in places:
            code.append(filled[k] if isinstance(item, _Place) else item)
            continue
        n, i = index.index(k), filled[k]
        before, wait = gives.before(i.UNIT, len(registers[k]))
        code += before
        code.append(replace(i, wait=masks.wait[n] | wait, signal=masks.signal[n]))
    program = Program((*masks.credits[0], *gives.at_start(), *code))
    return _overlapping(program, arch, host)


def _overlapping(program: Program, arch: Architecture, host: Host) -> Program:
    """Return the program whose vector instructions overlap the ones before where they may.

    Where none reads what the one before it in the unit has written, in no execution.
    """
    apart: dict[int, bool] = {}
    before: Footprint | None = None
    for pc, i, registers in walk(program, host):
        if isinstance(i, Vector):
            now = touched(i, registers, arch, host)
            meets = before is not None and before.writes & now.reads
            apart[pc], before = apart.get(pc, True) and not meets, now
    return Program(
        tuple(
            replace(i, overlaps=1) if isinstance(i, Vector) and apart.get(pc) else i
            for pc, i in program.addresses()
        )
    )


@dataclass
class _Gives:
    """Tokens that the sequencer gives: to a unit just before some instructions, or as a hoard.

    `tokens` has a unit's token; `hoards` how many it is given at the program's start.
    """

    rng: Generator
    tokens: dict[Unit, int]
    hoards: dict[Unit, int]

    @classmethod
    def draw(cls, rng: Generator, free: Sequence[int], *, hoards: bool) -> Self:
        """Return a token for as many units as there are free ones; `hoards`: some may be such."""
        units = [ordering.UNITS[k] for k in rng.permutation(len(ordering.UNITS))]
        tokens = dict(zip(units, free, strict=False))
        return cls(rng, tokens, {u: 0 for u in tokens if hoards and rng.random() < 0.5})

    def before(self, unit: Unit, executions: int) -> tuple[list[Give], int]:
        """Return what comes before an instruction, and the tokens that it takes."""
        if unit not in self.tokens or self.rng.random() < 0.6:
            return [], 0
        mask = 1 << self.tokens[unit]
        if unit not in self.hoards:
            return [Give(mask)], mask
        if self.hoards[unit] + executions > TOKEN_MAX:
            return [], 0
        self.hoards[unit] += executions
        return [], mask

    def at_start(self) -> list[Give]:
        """Return the GIVEs of the hoards."""
        hoards = {self.tokens[unit]: n for unit, n in self.hoards.items()}
        masks = [sum(1 << token for token, n in hoards.items() if n > k) for k in range(TOKEN_MAX)]
        return [Give(mask) for mask in masks if mask]
