"""Predicted cycles of a program on a serial machine, in closed form (docs/serial.md).

External bases are taken to be multiples of 4 KiB, as in `timeline`.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

from einchip import numeric, serial
from einchip.arch import Architecture
from einchip.mapper.bursts import BURST_BOUNDARY, MEMORY_LATENCY, bursts
from einchip.program import (
    Act,
    Cell,
    Contract,
    EndLoop,
    Gru,
    GruReset,
    GruUpdate,
    Halt,
    Load,
    Loop,
    Lstm,
    Peephole,
    Program,
    SetRegister,
    Store,
    Vector,
)


def predict(program: Program, arch: Architecture, n_steps: int = 1) -> int:
    """Return the cycles of a run without program fetch; LOOPs by host count run `n_steps`."""
    code, stack, at, total = program.instructions, list[list[int]](), 0, serial.START
    while True:
        i = code[at]
        at += 1
        total += serial.NEXT
        if isinstance(i, Halt):
            return total + 1
        if isinstance(i, Loop):
            stack.append([at, n_steps if i.arg else i.count])
            total += serial.LOOP_BY_ARGUMENT if i.arg else serial.LOOP
        elif isinstance(i, EndLoop):
            stack[-1][1] -= 1
            total += serial.ENDLOOP_AGAIN if stack[-1][1] else serial.ENDLOOP
            if stack[-1][1]:
                at = stack[-1][0]
            else:
                stack.pop()
        elif isinstance(i, SetRegister):
            total += serial.SETR[i.mode]
        elif isinstance(i, Load | Store):
            left = stack[-1][1] if stack else 0
            total += serial.TRANSFER_SKIPPED if i.skipped(left) else _transfer(i, arch, bool(stack))
        elif isinstance(i, Contract):
            total += contract(i)
        elif isinstance(i, Vector):
            total += vector(i, arch)
        else:
            total += serial.END


@lru_cache(maxsize=1024)
def _transfer(i: Load | Store, arch: Architecture, in_loop: bool) -> int:
    """Return the cycles of a transfer."""
    words, doublings = arch.port_bytes // 2, arch.port_bytes.bit_length() - 1
    each, answer, wait = serial.BEAT_IN, 0, MEMORY_LATENCY - serial.BEHIND_ADDRESS
    if isinstance(i, Store):
        each, answer = serial.BEAT_OUT, serial.RESPONSE
    elif words == 1:
        wait -= 1
    burst = serial.BURST + serial.BURST_END + 2 * doublings + serial.shifts(doublings)
    total = i.beats * (words + each)
    left, end = i.beats, i.ext_offset
    for beats in bursts(i.ext_offset, i.beats, arch):
        end += beats * arch.port_bytes
        total += burst + answer + wait + (left >= arch.burst_beats) + (end % BURST_BOUNDARY == 0)
        left -= beats
    total += serial.TRANSFER_IN_LOOP if in_loop else serial.TRANSFER
    total += serial.SEVERAL_WORDS if words > 1 else 0
    return total + serial.TRANSFER_END + serial.END


def _levels(counts: tuple[int, ...], first: int) -> int:
    """Return the cycles in which levels from `first` on go on and end, in a nest of LEVELS."""
    total = 0
    for k in range(first, serial.LEVELS):
        ends = prod(counts[k + 1 :])
        goes_on = (counts[k] - 1) * ends
        one = serial.GO_ON + serial.GO_ON_BELOW * k if k else serial.GO_ON_INNERMOST
        total += goes_on * one + ends * serial.LEVEL_END
    return total


def contract(i: Contract) -> int:
    """Return the cycles of a CONTRACT."""
    sums = prod(i.loop_count[1:]) if i.n_reduce else i.tiles
    products = i.macs * serial.PRODUCT + sums * serial.PRODUCTS_END
    if not i.n_reduce:
        products = i.tiles * serial.ONE_PRODUCT
    tile = serial.DRAIN[i.act] + serial.shifts(i.shift)
    tile += serial.ADDEND + serial.shifts(i.d_shift) if i.has_addend else serial.SUM
    if i.act in (Act.SIGMOID, Act.TANH):
        tile += numeric.INTERPOLATION_BITS + serial.shifts(i.act_shift)
    setup = serial.CONTRACT + serial.CONTRACT_ADDEND * i.has_addend
    if i.n_reduce:
        setup += serial.CONTRACT_REDUCES + serial.CONTRACT_LEVEL * i.n_reduce
    around = serial.NEST + serial.DONE + _levels(i.loop_count, 1 if i.n_reduce else 0)
    return setup + around + products + i.tiles * tile


def least_contract(tiles: int, iterations: int, addend: bool) -> int:
    """Return a lower bound of the cycles of a CONTRACT of so many tiles: what its levels add is 0.

    What they add depends on their number and order: 13 to 29 cycles each time that one goes on
    behind a tile.
    """
    tile = serial.ADDEND + 1 if addend else serial.SUM
    tile += serial.DRAIN[Act.NONE] + 1 + serial.PRODUCTS_END
    return serial.CONTRACT + tiles * (tile + iterations * serial.PRODUCT)


def vector(i: Vector, arch: Architecture) -> int:
    """Return the cycles of an instruction of the vector unit."""
    counts = (i.nl0, i.nl1, *i.loop_count)
    around = serial.NEST + serial.DONE + _levels(counts, 0) + i.vectors * serial.NEXT_VECTOR
    return serial.VECTOR[type(i).__name__] + around + prod(counts) * _element(i, arch)


def _element(i: Vector, arch: Architecture) -> int:
    """Return the cycles of one element."""
    total = serial.ELEMENT[type(i).__name__] + i.ACTIVATIONS * numeric.INTERPOLATION_BITS
    if not isinstance(i, Cell):
        return total
    if arch.cell_planes > 1:
        total += serial.PLANE_READ
        if i.WRITES_STATE:
            total += serial.PLANE_WRITTEN + arch.data_bits
    one = numeric.ACT_OUT_FRAC
    gates, others = {Lstm: (4, 0), Peephole: (4, 0), Gru: (3, 3), GruReset: (1, 0),
                     GruUpdate: (1, 1)}[type(i)]  # fmt: skip
    total += gates * _between(i.gate_frac, numeric.ACT_IN_FRAC)
    total += others * _between(i.aux_frac, numeric.ACT_IN_FRAC)
    if isinstance(i, GruReset):
        return total + serial.shifts(one + i.cell_frac - i.hidden_frac)
    total += serial.shifts(one - i.cell_frac) + one  # the new state's sum
    if isinstance(i, Lstm | Peephole):
        total += _between(i.cell_frac, numeric.ACT_IN_FRAC) + 2 * one - i.hidden_frac
    else:
        total += _between(i.cell_frac, i.hidden_frac)
    if isinstance(i, Peephole):
        total += 3 * _between(i.aux_frac + i.cell_frac, numeric.ACT_IN_FRAC)
    return total + (one if isinstance(i, Gru) else 0)


def _between(found: int, wanted: int) -> int:
    """Return the cycles of the shifts from fractional bits to others: left, then right."""
    return max(1, abs(found - wanted)) + 1
