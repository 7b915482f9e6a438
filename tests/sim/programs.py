"""Random programs for the timing tests: legal fields, any tokens, few addresses out of range."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from einchip.arch import Architecture
from einchip.program import (
    Contract,
    Copy,
    EndLoop,
    Fill,
    Give,
    Gru,
    GruReset,
    GruUpdate,
    Halt,
    Instruction,
    Load,
    Loop,
    Lstm,
    Peephole,
    Program,
    SetRegister,
    Store,
    Sync,
    Unit,
    UnitInstruction,
    Vector,
)

MACHINES = (
    Architecture(name="a", rows=4, cols=4, lanes=4, x_depth=64, y_depth=64, port_bytes=4,
                 burst_beats=4, program_words=512),
    Architecture(name="b", rows=8, cols=4, lanes=8, x_depth=64, y_depth=32, port_bytes=16,
                 burst_beats=8, data_bits=16, program_words=512),
    Architecture(name="c", rows=4, cols=16, lanes=16, x_depth=64, y_depth=64, y_window=16,
                 port_bytes=8, program_words=512),
    Architecture(name="f", fold="flex", rows=4, cols=8, lanes=8, x_depth=64, y_depth=64,
                 x_window=32, y_window=16, port_bytes=4, burst_beats=4, program_words=512),
    Architecture(name="g", fold="flex", accumulators=4, rows=16, cols=4, lanes=16, data_bits=16,
                 x_depth=64, y_depth=32, port_bytes=16, program_words=512),
    Architecture(name="i", fold="ip", rows=8, cols=4, lanes=8, x_depth=64, y_depth=64,
                 x_window=8, port_bytes=8, program_words=512),
    Architecture(name="o", fold="op", rows=4, cols=8, lanes=8, x_depth=64, y_depth=64,
                 port_bytes=8, program_words=512),
)  # fmt: skip
TOKENS = 4
UNITS = (Unit.LOAD, Unit.STORE, Unit.ARRAY, Unit.VECTOR)

masks = st.integers(0, 15)
spaces = st.integers(0, 1)
counts = st.sampled_from([1, 1, 1, 2, 3, 5])
strides = st.sampled_from([0, 1, 1, 2, 3])


@st.composite
def contracts(draw: st.DrawFn, arch: Architecture) -> Contract:
    shape = draw(folds(arch))
    n_hold, n_reduce = shape.pop("n_hold"), draw(st.integers(0, 6))
    n_reduce = min(n_reduce, 6 - n_hold)
    loops = (*shape.pop("hold"), *(draw(counts) for _ in range(6 - n_hold)))
    moves = [2] * n_hold + [0] * n_reduce + [2] * (6 - n_hold - n_reduce)
    return Contract(
        wait=draw(masks), signal=draw(masks), **shape,
        xs_m0=1, xs_k0=draw(strides), xs_h=draw(strides), ys_n0=1, ys_k0=draw(strides),
        zs_m0=draw(strides), zs_n0=1, zs_h=draw(strides),
        x_base=draw(st.integers(0, 20)), z_space=draw(spaces), z_base=draw(st.integers(0, 20)),
        z_reg=draw(st.integers(0, 2)), n_hold=n_hold, n_reduce=n_reduce, loop_count=loops,
        loop_x=tuple(draw(strides) for _ in range(6)),
        loop_y=tuple(draw(strides) for _ in range(6)), loop_z=tuple(moves),
        has_addend=draw(st.integers(0, 1)), act=draw(st.integers(0, 3)),
        **draw(places(arch, "d", 3)),
    )  # fmt: skip


@st.composite
def places(draw: st.DrawFn, arch: Architecture, stream: str, most: int) -> dict[str, Any]:
    """Return space and base of what is read: near the start, in a window, or just before it."""
    space, base = draw(spaces), draw(st.integers(0, most))
    if space in arch.windows and draw(st.booleans()):
        base += arch.window_base(space) - draw(st.sampled_from([0, 0, arch.lanes]))
    return {f"{stream}_space": space, f"{stream}_base": base}


@st.composite
def folds(draw: st.DrawFn, arch: Architecture) -> dict[str, Any]:
    """Return lane counts that fit a machine's fold, `n_hold`, and the counts of so many loops."""
    holding = arch.holds and draw(st.booleans())
    first = draw(st.integers(1, arch.tile_accumulators if holding else 1))
    second = draw(st.integers(1, arch.tile_accumulators // first if holding else 1))
    n_hold = draw(st.integers(0, 2 if holding else 0))
    held = {"n_hold": n_hold, "hold": (first, second)[:n_hold]}
    if arch.fold == "ip":
        nh = draw(st.integers(1, arch.cols if holding else 1))
        return {**held, "nh": nh, "nk0": draw(st.integers(1, arch.rows))}
    blocks = [(1, 1)] if arch.fold == "op" else [(1, 1), (1, 1), (2, 1), (1, 2), (3, 1), (1, 4)]
    k, b = draw(st.sampled_from(blocks))
    n_blocks = (1 << (k - 1).bit_length()) * (1 << (b - 1).bit_length())
    nh = draw(st.integers(1, arch.cols // n_blocks if holding else 1))
    m = draw(st.integers(1, arch.rows // n_blocks))
    n = draw(st.integers(1, arch.cols // n_blocks >> (nh - 1).bit_length()))
    return {**held, "nh": nh, "nm0": m, "nn0": n, "nk0": k, "nb": b}


@st.composite
def vectors(draw: st.DrawFn, arch: Architecture) -> Instruction:
    kind = draw(st.sampled_from([Lstm, Peephole, Gru, GruReset, GruUpdate, Copy, Fill]))
    return kind(
        wait=draw(masks), signal=draw(masks), overlaps=draw(st.integers(0, 1)),
        nl0=draw(st.integers(1, arch.lanes)),
        loop_count=tuple(draw(counts) for _ in range(4)),
        dst_space=draw(spaces), src_l0=1, dst_l0=1, dst_reg=draw(st.integers(0, 2)),
        gate_stride=arch.lanes, aux_reg=draw(st.integers(0, 2)), loop_src=(arch.lanes, 0, 0, 0),
        **draw(places(arch, "src", 20)), **draw(places(arch, "aux", 20)),
        **draw(places(arch, "cell", 3)),
    )  # fmt: skip


@st.composite
def with_twins(draw: st.DrawFn, part: list[Instruction], arch: Architecture) -> list[Instruction]:
    """Return instructions; behind those of the vector unit up to two each that may overlap them."""
    found: list[Instruction] = []
    for i in part:
        found.append(i)
        if not isinstance(i, Vector):
            continue
        for _ in range(draw(st.integers(0, 2))):
            places = {
                f"{name}_base": getattr(i, f"{name}_base") + draw(st.integers(0, 2)) * arch.lanes
                for name in ("src", "dst", "cell", "aux")
            }
            found.append(replace(
                i, overlaps=1, wait=draw(masks), signal=draw(masks),
                loop_count=tuple(draw(counts) for _ in range(4)), **places,
            ))  # fmt: skip
    return found


@st.composite
def transfers(draw: st.DrawFn, arch: Architecture) -> Instruction:
    kind = draw(st.sampled_from([Load, Load, Store]))
    space = draw(spaces)
    windowed = space in arch.windows and draw(st.booleans())
    return kind(
        wait=draw(masks), signal=draw(masks), space=space,
        ext_offset=draw(st.integers(0, 2100)) * arch.port_bytes,
        addr=draw(st.integers(0, 3)) * arch.port_elements + windowed * arch.window_base(space),
        beats=draw(st.sampled_from([1, 2, 7, 20, 60])),
    )  # fmt: skip


@st.composite
def programs(draw: st.DrawFn, arch: Architecture, live: bool = True) -> Program:
    """Return a program with a loop; every token has one unit that gives it, one that takes it.

    A `live` one waits for no token that an instruction before it in the same part does not give, so
    that it cannot wait for ever.
    """
    unit = st.one_of(contracts(arch), contracts(arch), vectors(arch), transfers(arch))
    other = st.one_of(
        st.builds(Give, mask=masks),
        st.builds(SetRegister, reg=st.just(1), mode=st.integers(0, 2), value=st.integers(0, 30)),
        st.just(Sync()),
    )
    start = draw(st.lists(st.one_of(st.builds(Give, mask=st.just(7)), unit), max_size=4))
    body = draw(st.lists(st.one_of(unit, unit, unit, other), min_size=1, max_size=10))
    start, body = (draw(with_twins(part, arch)) for part in (start, body))
    owners = st.lists(st.sampled_from(UNITS), min_size=TOKENS, max_size=TOKENS)
    givers, takers = draw(owners), draw(owners)
    start, body = (owned(part, givers, takers) for part in (start, body))
    if live:
        start, body = enliven(start), enliven(body)
    times = draw(st.integers(1, 3))
    return Program((*start, Loop(count=times), *body, EndLoop(), Halt()))


def owned(
    instructions: list[Instruction], givers: list[Unit], takers: list[Unit]
) -> list[Instruction]:
    """Let only the giver of a token signal it, and only its taker wait for it."""
    found: list[Instruction] = []
    for i in instructions:
        if isinstance(i, UnitInstruction):
            wait, signal = (
                sum(1 << k for k in range(TOKENS) if mask >> k & 1 and owners[k] is i.UNIT)
                for mask, owners in ((i.wait, takers), (i.signal, givers))
            )
            i = replace(i, wait=wait, signal=signal)
        found.append(i)
    return found


def enliven(instructions: list[Instruction]) -> list[Instruction]:
    """Drop each wait for a token that was not given before."""
    tokens = [0] * TOKENS
    found: list[Instruction] = []
    for i in instructions:
        given = i.mask if isinstance(i, Give) else 0
        tokens = [0] * TOKENS if isinstance(i, Sync) else tokens
        if isinstance(i, UnitInstruction):
            taken = sum(1 << k for k in range(TOKENS) if tokens[k] and i.wait >> k & 1)
            i, given = replace(i, wait=taken), i.signal
            tokens = [n - (taken >> k & 1) for k, n in enumerate(tokens)]
        tokens = [n + (given >> k & 1) for k, n in enumerate(tokens)]
        found.append(i)
    return found
