"""An oracle for tokens: every two operations that touch the same memory must be ordered.

The machine's rules as a graph of events: an instruction starts after its unit's earlier ones have
let it and after the tokens it takes were given; it is complete later. Two instructions conflict if
one writes what the other touches. They are in order only if the graph says so, whatever the cycles.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from math import prod

import numpy as np

from einchip import reference
from einchip.accesses import vector_accesses
from einchip.arch import Architecture
from einchip.program import (
    TOKENS,
    Contract,
    Fill,
    Give,
    Load,
    Program,
    Store,
    Sync,
    Unit,
    UnitInstruction,
    Vector,
)

#: (space, elements) sets that an instruction reads and writes.
Touched = tuple[set[tuple[int, int]], set[tuple[int, int]]]


def _elements(space: int, addresses: np.ndarray) -> set[tuple[int, int]]:
    return {(space, int(a)) for a in np.unique(addresses)}


def touched(
    i: UnitInstruction, registers: tuple[int, ...], arch: Architecture, host: reference.Host
) -> Touched:
    """Return the elements that an instruction reads and writes; space 2 has the external beats."""
    if isinstance(i, Contract):
        a = reference.contract_addresses(i, registers)
        reads = _elements(0, a.x) | _elements(1, a.y)
        if i.has_addend:
            reads |= _elements(i.d_space, a.d)
        return reads, _elements(i.z_space, a.z)
    if isinstance(i, Load | Store):
        first = i.addr + registers[i.addr_reg]
        span = _elements(i.space, np.arange(first, first + i.beats * arch.port_elements))
        start = host.bases[i.ext_base] + registers[i.ext_reg] + i.ext_offset
        start = start % (1 << 32) // arch.port_bytes
        external = _elements(2, np.arange(start, start + i.beats))
        return (external, span) if isinstance(i, Load) else (span, external)
    assert isinstance(i, Vector)
    found, results = vector_accesses(i, registers, arch)
    reads, writes = (
        set().union(*(_elements(a.space, a.addresses()) for a in accesses))
        for accesses in (found, results)
    )
    return reads, writes


def races(program: Program, arch: Architecture, host: reference.Host) -> list[tuple[str, str]]:
    """Return pairs of instructions that conflict and are not ordered.

    Also fails on a token that is taken and never given, and on a counter that may overflow.
    """
    found: list[tuple[str, str]] = []
    phase: list[reference.Step] = []
    for step in reference.walk(program, host):
        if isinstance(step.instruction, Sync):
            found += _races_of_phase(phase, arch, host)
            phase = []
        phase.append(step)
    return found + _races_of_phase(phase, arch, host)


def _races_of_phase(
    walked: list[reference.Step], arch: Architecture, host: reference.Host
) -> list[tuple[str, str]]:
    """Return the races between two SYNCs, which order everything and clear all tokens."""
    gives: dict[int, deque[int]] = defaultdict(deque)
    steps: list[reference.Step] = []
    for s in walked:
        if isinstance(s.instruction, Give):
            for token in _bits(s.instruction.mask):
                gives[token].append(-1)
        elif isinstance(s.instruction, UnitInstruction):
            steps.append(s)
    before: list[set[int]] = []  # for each instruction: those complete before it starts
    last: dict[Unit, list[int]] = defaultdict(list)
    found = []
    memory = [touched(_unit(s), s.registers, arch, host) for s in steps]
    for j, step in enumerate(steps):
        instruction = _unit(step)
        done: set[int] = set()
        for earlier in last[instruction.UNIT][-1:]:
            done |= before[earlier]
        if isinstance(instruction, Vector):
            done |= set(last[Unit.VECTOR][: -1 if instruction.overlaps else None])
        for token in _bits(instruction.wait):
            assert gives[token], f"{instruction} takes token {token}, which nothing before it gives"
            giver = gives[token].popleft()
            if giver >= 0:
                done |= before[giver] | {giver}
                done |= _earlier(steps, giver)
        before.append(done)
        last[instruction.UNIT].append(j)
        for token in _bits(instruction.signal):
            gives[token].append(j)
        found += [
            (str(_unit(steps[i])), str(instruction))
            for i in range(j)
            if i not in done and _conflict(steps, memory, i, j)
        ]
    return found


def _unit(step: reference.Step) -> UnitInstruction:
    assert isinstance(step.instruction, UnitInstruction)
    return step.instruction


def _earlier(steps: list[reference.Step], giver: int) -> set[int]:
    """Return the earlier instructions of the giver's unit: complete before it, in order."""
    unit = _unit(steps[giver]).UNIT
    return {i for i in range(giver) if unit == _unit(steps[i]).UNIT}


def _conflict(steps: list[reference.Step], memory: list[Touched], i: int, j: int) -> bool:
    (reads_i, writes_i), (reads_j, writes_j) = memory[i], memory[j]
    if _unit(steps[i]).UNIT == _unit(steps[j]).UNIT in (Unit.LOAD, Unit.STORE):
        return False  # beats move in order
    if _unit(steps[i]).UNIT == _unit(steps[j]).UNIT in (Unit.ARRAY, Unit.VECTOR):
        return bool(writes_i & reads_j)
    return bool(writes_i & reads_j or writes_i & writes_j or reads_i & writes_j)


def _bits(mask: int) -> Iterator[int]:
    return (t for t in range(TOKENS) if mask >> t & 1)


def conflicts(i: UnitInstruction, registers: tuple[int, ...], arch: Architecture) -> bool:
    """Tell whether any access of an instruction has two lanes in one bank."""

    def bad(addresses: np.ndarray) -> bool:
        ordered = np.sort(addresses % arch.lanes, axis=-1)
        return bool((ordered[..., 1:] == ordered[..., :-1]).any())

    if isinstance(i, Contract):
        a = reference.contract_addresses(i, registers)
        x, y = (v.reshape(-1, prod(v.shape[3:])) for v in (a.x, a.y))
        tiles, q, h, n_b, m, n = a.z.shape
        z = np.moveaxis(a.z, 4, 2).reshape(tiles * q * m, h * n_b * n)
        return bad(x) or bad(y) or bad(z)
    if isinstance(i, Vector):
        source, target = reference.vector_addresses(i, registers)
        return bad(target) or (not isinstance(i, Fill) and bad(source))
    return False
