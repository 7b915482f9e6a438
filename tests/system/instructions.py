"""Random unit instructions that a sound program may hold.

`draw` returns an instruction whose every access stays inside the rows it is given, meets no bank
conflict, cannot overflow an accumulator and never writes what it reads itself (its accesses overlap
in time); apart from that everything is random: folds, strides, loops, registers, formats.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial, reduce
from operator import or_
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.random import Generator

from einchip import check
from einchip.accesses import VECTORS, Access, accesses
from einchip.arch import Architecture
from einchip.program import (
    ADDRESS_BITS,
    ARRAY_LOOPS,
    HOLD_LOOPS,
    HOST_BASES,
    REGISTER_BITS,
    REGISTERS,
    VECTOR_LOOPS,
    Act,
    Cell,
    Contract,
    Copy,
    Fill,
    Gru,
    GruReset,
    GruUpdate,
    Load,
    Lstm,
    Peephole,
    Store,
    UnitInstruction,
    Vector,
    is_built,
)
from einchip.reference import Host, Step

#: Draws before giving up; later ones are smaller, the last ones a single element.
ATTEMPTS: Final = 200
#: Draws of a twin before there is none.
TWIN_ATTEMPTS: Final = 12
PAGE_BYTES: Final = 4096
_WRAP: Final = 1 << REGISTER_BITS

Span = tuple[int, int]
"""Addresses from the first number up to, not including, the second."""


@dataclass(frozen=True)
class Surroundings:
    """What an instruction may touch: addresses of X and Y, by reading and by writing; outside.

    `registers` holds the sequencer's registers at each of its executions.
    """

    arch: Architecture
    host: Host
    external: Span
    reads: tuple[Span, Span]
    writes: tuple[Span, Span]
    registers: tuple[tuple[int, ...], ...]


class Footprint(NamedTuple):
    """The elements read and written, bit a for address a of X, then those of Y.

    `touched` adds a bit for each beat of external memory.
    """

    reads: int
    writes: int


class _Stream(NamedTuple):
    """Where one operand lies: strides of its lanes and rows, of its loops; base and register."""

    lanes: tuple[int, ...]
    rows: tuple[int, ...]
    loops: tuple[int, ...]
    base: int
    reg: int


class _UnfitError(Exception):
    """What was drawn does not fit."""


def draw(kind: str, rng: Generator, near: Surroundings) -> UnitInstruction:
    """Return a random instruction of a kind; its tokens are not set.

    That is a COPY in place of a cell that the machine lacks.
    """
    if kind in _CELLS and not is_built(_CELLS[kind], near.arch):
        kind = "copy"
    for attempt in range(ATTEMPTS):
        scale = max(0.0, 1 - attempt / (ATTEMPTS // 2))
        try:
            found = _cut(_DRAW[kind](rng, near, scale), near.arch.stride_bits)
        except _UnfitError:
            continue
        steps = [Step(0, found, registers) for registers in sorted(set(near.registers))]
        if all(_sound(step, near.arch) for step in steps):
            return found
    raise AssertionError(f"no {kind} fits {near}")


def twin(i: Vector, rng: Generator, near: Surroundings) -> Vector | None:
    """Return an instruction that is alike, with loops and addresses of its own; None: none fits."""
    for _ in range(TWIN_ATTEMPTS):
        moved = {
            f"{stream}_base": getattr(i, f"{stream}_base") + near.arch.lanes * int(n)
            for stream, n in zip(("src", "dst", "cell", "aux"), rng.integers(-6, 7, 4), strict=True)
        }
        counts = tuple(int(rng.integers(1, n + 1)) for n in i.loop_count)
        if min(moved.values()) < 0 or max(moved.values()) >= 1 << ADDRESS_BITS:
            continue
        found = replace(i, loop_count=counts, **moved)
        steps = [Step(0, found, registers) for registers in sorted(set(near.registers))]
        if all(_sound(step, near.arch) and _inside(step, near) for step in steps):
            return found
    return None


def _inside(step: Step, near: Surroundings) -> bool:
    """Tell whether an instruction of the vector unit stays in the rows that it is given."""
    low = near.arch.capacity(0)
    for access, mask in _masks(step, near.arch):
        first, end = (near.writes if access.write else near.reads)[access.space]
        allowed = ((1 << end) - (1 << first)) << (access.space * low)
        if mask & ~allowed:
            return False
    return True


def _cut(i: UnitInstruction, bits: int) -> UnitInstruction:
    """Return the instruction with its strides, which may be anything where unused, in range."""
    low = (1 << bits) - 1
    changed: dict[str, Any] = {}
    for name in (s.name for s in i.layout() if s.stride):
        given = getattr(i, name)
        changed[name] = tuple(n & low for n in given) if isinstance(given, tuple) else given & low
    return replace(i, **changed)


def footprint(i: UnitInstruction, registers: tuple[int, ...], arch: Architecture) -> Footprint:
    """Return what one execution of an instruction touches inside the scratchpads."""
    reads = writes = 0
    for access, mask in _masks(Step(0, i, registers), arch):
        if access.write:
            writes |= mask
        else:
            reads |= mask
    return Footprint(reads, writes)


def touched(
    i: UnitInstruction, registers: tuple[int, ...], arch: Architecture, host: Host
) -> Footprint:
    """Return what one execution of an instruction touches, external memory included."""
    found = footprint(i, registers, arch)
    if not isinstance(i, Load | Store):
        return found
    at = (host.bases[i.ext_base] + registers[i.ext_reg] + i.ext_offset) % _WRAP
    first = arch.capacity(0) + arch.capacity(1) + at // arch.port_bytes
    beats = (1 << i.beats) - 1 << first
    if isinstance(i, Load):
        return Footprint(found.reads | beats, found.writes)
    return Footprint(found.reads, found.writes | beats)


def _masks(step: Step, arch: Architecture) -> Iterator[tuple[Access, int]]:
    i = step.instruction
    assert isinstance(i, UnitInstruction)
    for access in accesses(i, step.registers, arch):
        offsets = _offsets((*access.temporal, *access.lanes))
        touched = np.zeros(arch.capacity(access.space), dtype=bool)
        addresses = access.base + offsets
        touched[addresses[addresses < len(touched)]] = True
        mask = int.from_bytes(np.packbits(touched, bitorder="little").tobytes(), "little")
        yield access, mask << (access.space * arch.capacity(0))


@lru_cache(maxsize=4096)
def _offsets(terms: tuple[tuple[int, int], ...]) -> np.ndarray:
    total = np.zeros(1, dtype=np.int64)
    for count, stride in terms:
        total = np.unique(np.add.outer(total, np.arange(count) * stride))
    return total


def _sound(step: Step, arch: Architecture) -> bool:
    """Tell whether an execution keeps the rules, and whether it writes nothing that it reads."""
    if any(text for rule in check.RULES.values() for text in rule(step, arch)):
        return False
    i, masks = step.instruction, list(_masks(step, arch))

    def of(*names: str, write: bool = False) -> int:
        found = [m for a, m in masks if a.write == write and (not names or a.what in names)]
        return reduce(or_, found, 0)

    if isinstance(i, Contract):
        operands = of("X operand", "Y operand")
        if i.has_addend and not (_in_place(i) and _is_injective(i, over_tiles=True)):
            operands |= of("addend")
        return not operands & of("result", write=True) and _is_injective(i, over_tiles=False)
    if isinstance(i, VECTORS):
        state = of("state") | of("state", write=True)
        sources = of("source", "second source", "packed source")
        target = of("destination", write=True)
        return not sources & of(write=True) and not state & target
    return True


def _in_place(i: Contract) -> bool:
    return (i.d_space, i.d_base, i.d_reg) == (i.z_space, i.z_base, i.z_reg)


def _is_injective(i: Contract, *, over_tiles: bool) -> bool:
    """Tell whether the results of one tile (of all tiles) have different addresses."""
    terms = [*_result_lanes(i), *zip(i.loop_count[: i.n_hold], i.loop_z[: i.n_hold], strict=True)]
    if over_tiles:
        n = i.n_tile_loops
        terms += zip(i.loop_count[n:], i.loop_z[n:], strict=True)
    return len(_offsets(tuple(terms))) == int(np.prod([count for count, _ in terms]))


def _result_lanes(i: Contract) -> list[tuple[int, int]]:
    """Return counts and strides of the result's rows and lanes."""
    rows, columns = ((i.nm0, i.zs_m0), (i.nm1, i.zs_m1)), ((i.nn0, i.zs_n0), (i.nn1, i.zs_n1))
    return [*rows, *columns, (i.nb, i.zs_b), (i.nh, i.zs_h)]


# --- strides -------------------------------------------------------------------------------
def _below(rng: Generator, n: int) -> int:
    """Return one of 0 .. n - 1."""
    return int(rng.integers(max(1, n)))


def _chance(rng: Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _unused(rng: Generator) -> int:
    """Return a stride that a count of 1 makes meaningless."""
    return _below(rng, 1 << ADDRESS_BITS) if _chance(rng, 0.5) else 0


def _lane_strides(rng: Generator, counts: Sequence[int], lanes: int, room: int) -> tuple[int, ...]:
    """Return strides below `room` in all that spread the lanes over different banks."""
    strides = [_unused(rng) if n == 1 else 0 for n in counts]
    real = [k for k, n in enumerate(counts) if n > 1]
    odd, radix = 1 + 2 * _below(rng, lanes // 2) if room >= lanes else 1, 1
    for k in rng.permutation(real):
        strides[k] = odd * radix % lanes if room >= lanes else radix
        radix *= counts[k]
    if room >= lanes and _chance(rng, 0.3):
        other = [_below(rng, lanes) for _ in counts]
        if _spread([(counts[k], other[k]) for k in real], lanes):
            strides = [other[k] if k in real else s for k, s in enumerate(strides)]
    room -= sum((counts[k] - 1) * strides[k] for k in real)
    for k in rng.permutation(real):
        more = lanes * _below(rng, room // (lanes * (counts[k] - 1)) + 1)
        strides[k] += more if _chance(rng, 0.5) else 0
        room -= (counts[k] - 1) * more
    return tuple(int(s) for s in strides)


def _spread(terms: Sequence[tuple[int, int]], lanes: int) -> bool:
    residues = [0]
    for count, stride in terms:
        residues = [(r + k * stride) % lanes for r in residues for k in range(count)]
    return len(set(residues)) == len(residues)


def _loop_strides(rng: Generator, counts: Sequence[int], lanes: int, room: int) -> tuple[int, ...]:
    """Return strides below `room` in all: 0, whole rows, or any."""
    strides = [_unused(rng) if n == 1 else 0 for n in counts]
    for k in rng.permutation(len(counts)):
        if counts[k] > 1 and not _chance(rng, 0.2):
            stride = _below(rng, max(0, room) // (counts[k] - 1) + 1)
            strides[k] = stride - stride % lanes if _chance(rng, 0.4) else stride
            room -= strides[k] * (counts[k] - 1)
    return tuple(strides)


def _reach(counts: Sequence[int], strides: Sequence[int]) -> int:
    return sum((n - 1) * s for n, s in zip(counts, strides, strict=True))


def _place(
    rng: Generator, near: Surroundings, span: Span, reach: int, align: int = 1
) -> tuple[int, int]:
    """Return a random base and register that keep base .. base + reach inside `span`."""
    for reg in (_below(rng, REGISTERS), 0):
        values = [_signed(registers[reg]) for registers in near.registers]
        low = -(-max(0, span[0] - min(values)) // align)
        high = (span[1] - 1 - reach - max(values)) // align
        if low <= high and not any(value % align for value in values):
            return align * (low + _below(rng, high - low + 1)), reg
    raise _UnfitError


def _signed(value: int) -> int:
    return value - _WRAP if value >> (REGISTER_BITS - 1) else value


def _stream(
    rng: Generator,
    near: Surroundings,
    span: Span,
    scale: float,
    *,
    lanes: Sequence[int],
    loops: Sequence[int],
    rows: Sequence[int] = (),
    still: slice = slice(0, 0),
    also: int = 0,
) -> _Stream:
    """Return where an operand with these counts lies; the loops of `still` do not move it.

    `also` is what the instruction reaches beyond it by other means.
    """
    room = int((span[1] - span[0] - 1 - also) * scale * 0.5 ** rng.uniform(0, 3))
    lane_strides = _lane_strides(rng, lanes, near.arch.lanes, room)
    room -= _reach(lanes, lane_strides)
    row_strides = _loop_strides(rng, rows, near.arch.lanes, room)
    room -= _reach(rows, row_strides)
    moving = _loop_strides(
        rng, (*loops[: still.start], *loops[still.stop :]), near.arch.lanes, room
    )
    n_still = still.stop - still.start
    loop_strides = (*moving[: still.start], *(0,) * n_still, *moving[still.start :])
    counts, strides = (*lanes, *rows, *loops), (*lane_strides, *row_strides, *loop_strides)
    base, reg = _place(rng, near, span, _reach(counts, strides) + also)
    return _Stream(lane_strides, row_strides, loop_strides, base, reg)


def _counts(rng: Generator, n: int, most: int) -> tuple[int, ...]:
    """Return the counts of n loops; their product is at most `most`."""
    counts, left = [1] * n, max(1, most)
    for k in rng.permutation(n)[: _below(rng, n + 1)]:
        counts[k] = 1 + _below(rng, min(left, 5 if _chance(rng, 0.8) else 24))
        left //= counts[k]
    return tuple(counts)


def _split(rng: Generator, n: int) -> tuple[int, int]:
    """Return two factors of at most n lanes."""
    first = n if _chance(rng, 0.5) else 1 + _below(rng, n)
    return (first, n // first) if _chance(rng, 0.7) else (n // first, first)


# --- instructions --------------------------------------------------------------------------
def _fold(rng: Generator, arch: Architecture, scale: float) -> dict[str, Any]:
    """Return the lane counts of a CONTRACT: any number of blocks, filled or not, held or not."""
    if not scale:
        return {}
    holds = arch.holds and _chance(rng, 0.7)
    if arch.fold == "ip":
        nk0, nk1 = _split(rng, _upto(rng, arch.rows))
        return {"nk0": nk0, "nk1": nk1, "nh": _upto(rng, arch.cols) if holds else 1}
    most = 1 if arch.fold == "op" else min(arch.rows, arch.cols)
    log_blocks = _below(rng, most.bit_length())
    log_k = _below(rng, log_blocks + 1)
    blocks = 1 << log_blocks
    log_h = _below(rng, (arch.cols // blocks).bit_length()) if holds else 0
    n_k, n_b, n_h = (_half_full(rng, 1 << log) for log in (log_k, log_blocks - log_k, log_h))
    rows, cols = arch.rows // blocks, (arch.cols // blocks) >> log_h
    (nm0, nm1), (nn0, nn1) = (_split(rng, _upto(rng, n)) for n in (rows, cols))
    nk0, nk1 = _split(rng, n_k)
    lanes = {"nm0": nm0, "nm1": nm1, "nn0": nn0, "nn1": nn1, "nk0": nk0, "nk1": nk1}
    return {**lanes, "nb": n_b, "nh": n_h}


def _upto(rng: Generator, n: int) -> int:
    return 1 + _below(rng, n) if _chance(rng, 0.5) else n


def _half_full(rng: Generator, n: int) -> int:
    """Return a count that takes n blocks: more than half of them, or all."""
    return n // 2 + 1 + _below(rng, n - n // 2) if n > 1 else 1


def _nest(rng: Generator, arch: Architecture, scale: float) -> dict[str, Any]:
    """Return the loops of a CONTRACT: their counts, how many hold, how many reduce."""
    n_hold = _below(rng, HOLD_LOOPS + 1) if arch.holds and scale else 0
    # few reductions make many tiles, whose drains then hold up the next ones
    n_reduce = _below(rng, 3 if _chance(rng, 0.4) else ARRAY_LOOPS + 1 - n_hold)
    most = 1 + int((12 if _chance(rng, 0.5) else 80) * scale)
    passing = _upto(rng, arch.tile_accumulators)
    held = _split(rng, passing) if n_hold > 1 else (passing,)[:n_hold]
    others = _counts(rng, ARRAY_LOOPS - n_hold, most // (passing if n_hold else 1))
    return {"n_hold": n_hold, "n_reduce": n_reduce, "loop_count": (*held, *others)}


def _contract(rng: Generator, near: Surroundings, scale: float) -> Contract:
    arch, z_space = near.arch, _below(rng, 2)
    f = Contract(**_nest(rng, arch, scale), **_fold(rng, arch, scale))
    m, n, k, counts = (f.nm0, f.nm1), (f.nn0, f.nn1), (f.nk0, f.nk1), f.loop_count
    passing, reducing = slice(0, f.n_hold), slice(f.n_hold, f.n_tile_loops)
    x = _stream(
        rng, near, near.reads[0], scale,
        lanes=(*m, *k, f.nb), rows=(f.nh,), loops=counts, still=passing,
    )  # fmt: skip
    y = _stream(rng, near, near.reads[1], scale, lanes=(*n, *k, f.nb), loops=counts)
    z = _stream(
        rng, near, near.writes[z_space], scale,
        lanes=(*n, f.nb, f.nh), rows=m, loops=counts, still=reducing,
    )  # fmt: skip
    places: dict[str, Any] = {
        f"{prefix}_{name}": value
        for prefix, s in (("x", x), ("y", y), ("z", z))
        for name, value in (("base", s.base), ("reg", s.reg))
    }
    names = (
        "xs_m0 xs_m1 xs_k0 xs_k1 xs_b xs_h ys_n0 ys_n1 ys_k0 ys_k1 ys_b "
        "zs_n0 zs_n1 zs_b zs_h zs_m0 zs_m1"
    )
    strides: dict[str, Any] = dict(
        zip(names.split(), (*x.lanes, *x.rows, *y.lanes, *z.lanes, *z.rows), strict=True)
    )
    # strides of X along loops that hold have no effect
    loop_x = (*(_unused(rng) for _ in range(f.n_hold)), *x.loops[f.n_hold :])
    unfinished = replace(
        f, **places, **strides, z_space=z_space, loop_x=loop_x, loop_y=y.loops, loop_z=z.loops
    )
    return replace(unfinished, **_addend(rng, near, unfinished), **_formats(rng, arch, unfinished))


def _addend(rng: Generator, near: Surroundings, i: Contract) -> dict[str, Any]:
    """Return the addend's fields: none, in place of the result, or elsewhere."""
    arch = near.arch
    left = (1 << (arch.acc_bits - 1)) - 1 - (i.tile_iterations * i.n_k << 2 * (arch.data_bits - 1))
    if left < 0:
        raise _UnfitError
    most = min(left.bit_length() - arch.data_bits, 63)
    if most < 0 or not _chance(rng, 0.5):
        return {}
    shift = {"has_addend": 1, "d_shift": _below(rng, most + 1)}
    if near.reads == near.writes and _chance(rng, 0.3):
        return {**shift, "d_space": i.z_space, "d_base": i.z_base, "d_reg": i.z_reg}
    counts, strides = zip(*zip(i.loop_count, i.loop_z, strict=True), *_result_lanes(i), strict=True)
    space = _below(rng, 2)
    base, reg = _place(rng, near, near.reads[space], _reach(counts, strides))
    return {**shift, "d_space": space, "d_base": base, "d_reg": reg}


def _formats(rng: Generator, arch: Architecture, i: Contract) -> dict[str, Any]:
    """Return shifts that mostly keep a good part of the result, and an activation."""
    act = Act(_below(rng, 4))
    sum_bits = 2 * (arch.data_bits - 1) - 1 + (i.tile_iterations * i.n_k).bit_length() // 2
    target_bits = 14 if act in (Act.SIGMOID, Act.TANH) else arch.data_bits - 2
    shift = max(0, sum_bits - target_bits + _below(rng, 5) - 2)
    act_shift = 16 - arch.data_bits + _below(rng, 3) - 1
    wild = _chance(rng, 0.1)
    return {
        "act": act,
        "shift": _below(rng, 64) if wild else shift,
        "act_shift": _below(rng, 16) if wild else max(0, min(15, act_shift)),
    }


def _lanes(rng: Generator, arch: Architecture, scale: float) -> tuple[int, int]:
    return _split(rng, 1 + _below(rng, arch.lanes)) if scale else (1, 1)


def _vector_stream(
    rng: Generator, near: Surroundings, scale: float, what: str, i: Fill, also: int = 0
) -> dict[str, Any]:
    """Return the fields of a source ("src") or destination ("dst")."""
    space = _below(rng, 2)
    span = (near.reads if what == "src" else near.writes)[space]
    s = _stream(rng, near, span, scale, lanes=(i.nl0, i.nl1), loops=i.loop_count, also=also)
    fields = {"space": space, "base": s.base, "reg": s.reg, "l0": s.lanes[0], "l1": s.lanes[1]}
    return {f"loop_{what}": s.loops, **{f"{what}_{name}": v for name, v in fields.items()}}


def _shape(rng: Generator, near: Surroundings, scale: float, most: int) -> Fill:
    nl0, nl1 = _lanes(rng, near.arch, scale)
    counts = _counts(rng, VECTOR_LOOPS, 1 + int(most * scale))
    return Fill(nl0=nl0, nl1=nl1, loop_count=counts, value=_below(rng, 1 << 16))


def _fill(rng: Generator, near: Surroundings, scale: float) -> Fill:
    i = _shape(rng, near, scale, 24)
    return Fill(**{**i.__dict__, **_vector_stream(rng, near, scale, "dst", i)})


def _copy(rng: Generator, near: Surroundings, scale: float) -> Copy:
    i = _shape(rng, near, scale, 24)
    source, target = (_vector_stream(rng, near, scale, w, i) for w in ("src", "dst"))
    return Copy(**{**i.__dict__, **source, **target})


def _cell(kind: type[Cell], rng: Generator, near: Surroundings, scale: float) -> Cell:
    arch, i = near.arch, _shape(rng, near, scale, 24)
    space = _below(rng, 2)
    low, high = near.writes[space]
    base, reg = _rows(rng, near, (low, high), i, arch.cell_planes)
    gate = _below(rng, int((high - low) * scale / 6) + 1)
    names = ("gate", "cell", "hidden", "aux")
    formats = {f"{name}_frac": _below(rng, 16) for name in names}
    last = max(read.gate for read in kind.READS if read.source == "src")
    source = _vector_stream(rng, near, scale, "src", i, also=last * gate)
    target = _vector_stream(rng, near, scale, "dst", i)
    cell = {"cell_space": space, "cell_base": base, "cell_reg": reg}
    fields = {**i.__dict__, **source, **target, **cell, **formats, "gate_stride": gate}
    return kind(**{**fields, **_aux(rng, near, kind(**fields))})


def _aux(rng: Generator, near: Surroundings, i: Cell) -> dict[str, int]:
    """Return where the second source lies: as the source, packed, or (not read) anywhere."""
    space = _below(rng, 2)
    gates = [read.gate for read in i.READS if read.source == "aux"]
    n_packed = sum(read.source == "packed" for read in i.READS)
    if n_packed:
        base, reg = _rows(rng, near, near.reads[space], i, n_packed)
    elif gates:
        counts = (*i.loop_count, i.nl0, i.nl1, max(gates) + 1)
        strides = (*i.loop_src, i.src_l0, i.src_l1, i.gate_stride)
        base, reg = _place(rng, near, near.reads[space], _reach(counts, strides))
    else:
        base, reg = _unused(rng), _below(rng, REGISTERS)
    return {"aux_space": space, "aux_base": base, "aux_reg": reg}


def _rows(
    rng: Generator, near: Surroundings, span: Span, i: Fill | Cell, n: int
) -> tuple[int, int]:
    """Return base and register of n rows of all lanes for each vector."""
    reach = (i.vectors * n - 1) * near.arch.lanes + i.n_lanes - 1
    return _place(rng, near, span, reach, align=near.arch.lanes)


def _transfer(
    kind: type[Load | Store], rng: Generator, near: Surroundings, scale: float
) -> Load | Store:
    arch, space = near.arch, _below(rng, 2)
    span = (near.writes if kind is Load else near.reads)[space]
    room = int((span[1] - span[0]) * scale) // arch.port_elements
    beats = 1 + _below(rng, min(room, 100 if _chance(rng, 0.3) else 24))
    reach = beats * arch.port_elements - 1
    addr, addr_reg = _place(rng, near, span, reach, align=arch.port_elements)
    external = _external(rng, near, beats * arch.port_bytes)
    return kind(space=space, addr=addr, addr_reg=addr_reg, beats=beats, **external)


def _external(rng: Generator, near: Surroundings, n_bytes: int) -> dict[str, int]:
    """Return the fields of an external address; half of them lie before a 4 KiB boundary."""
    port, ext_base = near.arch.port_bytes, _below(rng, HOST_BASES)
    start, stop = near.external
    last = (stop - start - n_bytes) // port
    if last < 0:
        raise _UnfitError
    at = start + port * _below(rng, last + 1)
    pages = range((start // PAGE_BYTES + 1) * PAGE_BYTES, stop, PAGE_BYTES)
    if pages and _chance(rng, 0.5):
        page = pages[_below(rng, len(pages))]
        at = min(start + port * last, page - port * (1 + _below(rng, n_bytes // port)))
        at = max(at, start)
    for reg in (_below(rng, REGISTERS), 0):
        values = [_signed(registers[reg]) for registers in near.registers]
        low, high = at + min(values) - values[0], at + max(values) - values[0]
        if start <= low and high + n_bytes <= stop and not any(v % port for v in values):
            offset = (at - near.host.bases[ext_base] - values[0]) % _WRAP
            return {"ext_base": ext_base, "ext_reg": reg, "ext_offset": offset}
    raise _UnfitError


_CELLS: Final[dict[str, type[Cell]]] = {
    "lstm": Lstm,
    "peephole": Peephole,
    "gru": Gru,
    "gru reset": GruReset,
    "gru update": GruUpdate,
}
_DRAW: Final[dict[str, Callable[[Generator, Surroundings, float], UnitInstruction]]] = {
    "contract": _contract,
    **{kind: partial(_cell, cell) for kind, cell in _CELLS.items()},
    "copy": _copy,
    "fill": _fill,
    "load": lambda rng, near, scale: _transfer(Load, rng, near, scale),
    "store": lambda rng, near, scale: _transfer(Store, rng, near, scale),
}
