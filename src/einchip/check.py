"""Static verification of a program: named rules, each a sentence.

A program that breaks no rule never stops with an error of its own making, never meets a bank
conflict and never overflows an accumulator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from einchip.arch import Architecture
from einchip.program import (
    TOKENS,
    Contract,
    Copy,
    Fill,
    Load,
    Lstm,
    Program,
    ProgramError,
    Store,
    UnitInstruction,
)
from einchip.reference import Host, MachineError, Step, check_fields, first, trace

#: Iterations of a loop whose count the host gives that are followed, where no host is given.
DEFAULT_ARGUMENT: Final = 3


class Violation(NamedTuple):
    """One broken rule: its name, the word index of the instruction, and what was found."""

    rule: str
    pc: int
    found: str

    def __str__(self) -> str:
        return f"word {self.pc}: {self.rule}: {self.found}"


class Access(NamedTuple):
    """One strided access of an instruction: scratchpad, first address, temporal and lane terms.

    Each term is (count, stride): the access touches base + sum_t i_t * stride_t.
    """

    what: str
    space: int
    base: int
    temporal: tuple[tuple[int, int], ...]
    lanes: tuple[tuple[int, int], ...]

    @property
    def last(self) -> int:
        """The greatest address touched (strides are never negative)."""
        return self.base + sum((n - 1) * s for n, s in (*self.temporal, *self.lanes))

    def elements(self) -> set[int]:
        """Return every address touched."""
        found = {self.base}
        for count, stride in (*self.temporal, *self.lanes):
            found = {a + k * stride for k in range(count) for a in found}
        return found

    def residues(self, n_banks: int) -> list[int]:
        """Return the bank of every lane, relative to the first lane's."""
        found = [0]
        for count, stride in self.lanes:
            found = [(r + k * stride) % n_banks for k in range(count) for r in found]
        return found


def _contract(i: Contract, r: tuple[int, ...]) -> Iterator[Access]:
    loops = i.loop_count
    m, k = ((i.nm0, i.xs_m0), (i.nm1, i.xs_m1)), ((i.nk0, i.xs_k0), (i.nk1, i.xs_k1))
    x = tuple(zip(loops, i.loop_x, strict=True))
    yield Access("X operand", 0, first(i.x_base, i.x_reg, r), x, (*m, *k, (i.nb, i.xs_b)))
    n, k = ((i.nn0, i.ys_n0), (i.nn1, i.ys_n1)), ((i.nk0, i.ys_k0), (i.nk1, i.ys_k1))
    y = tuple(zip(loops, i.loop_y, strict=True))
    yield Access("Y operand", 1, first(i.y_base, i.y_reg, r), y, (*n, *k, (i.nb, i.ys_b)))
    rows = (*zip(loops, i.loop_z, strict=True), (i.nm0, i.zs_m0), (i.nm1, i.zs_m1))
    lanes = ((i.nn0, i.zs_n0), (i.nn1, i.zs_n1), (i.nb, i.zs_b))
    yield Access("result", i.z_space, first(i.z_base, i.z_reg, r), rows, lanes)
    if i.has_addend:
        yield Access("addend", i.d_space, first(i.d_base, i.d_reg, r), rows, lanes)


def _vector(i: Lstm | Copy | Fill, r: tuple[int, ...], arch: Architecture) -> Iterator[Access]:
    if not isinstance(i, Fill):
        loops = tuple(zip(i.loop_count, i.loop_src, strict=True))
        gates = ((4, i.gate_stride),) if isinstance(i, Lstm) else ()
        lanes = ((i.nl0, i.src_l0), (i.nl1, i.src_l1))
        base = first(i.src_base, i.src_reg, r)
        yield Access("source", i.src_space, base, (*loops, *gates), lanes)
    loops = tuple(zip(i.loop_count, i.loop_dst, strict=True))
    lanes = ((i.nl0, i.dst_l0), (i.nl1, i.dst_l1))
    yield Access("destination", i.dst_space, first(i.dst_base, i.dst_reg, r), loops, lanes)
    if isinstance(i, Lstm):
        rows = ((i.vectors * arch.cell_planes, arch.lanes),)
        base = first(i.cell_base, i.cell_reg, r)
        yield Access("cell state", i.cell_space, base, rows, ((i.n_lanes, 1),))


def accesses(step: Step, arch: Architecture) -> list[Access]:
    """Return every scratchpad access of an executed instruction."""
    i, r = step.instruction, step.registers
    if isinstance(i, Contract):
        return list(_contract(i, r))
    if isinstance(i, Lstm | Copy | Fill):
        return list(_vector(i, r, arch))
    if isinstance(i, Load | Store):
        beats = ((i.beats, arch.port_elements),)
        lanes = ((arch.port_elements, 1),)
        return [Access("transfer", i.space, first(i.addr, i.addr_reg, r), beats, lanes)]
    return []


def _fields(step: Step, arch: Architecture) -> Iterator[str]:
    """Every count is at least 1 and the lanes fit the machine."""
    if isinstance(step.instruction, UnitInstruction):
        try:
            check_fields(step.instruction, arch, step.pc)
        except MachineError:
            yield f"{step.instruction} does not fit {arch.name}"


def _range(step: Step, arch: Architecture) -> Iterator[str]:
    """Every element touched lies inside its scratchpad."""
    for a in accesses(step, arch):
        if a.last >= arch.capacity(a.space):
            end = f"scratchpad {'XY'[a.space]} has {arch.capacity(a.space)}"
            yield f"{a.what}: address {a.last}, {end}"


def _banks(step: Step, arch: Architecture) -> Iterator[str]:
    """The lanes of one access lie in different banks."""
    for a in accesses(step, arch):
        residues = a.residues(arch.lanes)
        if len(set(residues)) != len(residues):
            yield f"{a.what}: lanes {a.lanes} share a bank"


def _alignment(step: Step, arch: Architecture) -> Iterator[str]:
    """Transfers start at a whole beat, cell states at a whole row."""
    i = step.instruction
    if (
        isinstance(i, Load | Store)
        and first(i.addr, i.addr_reg, step.registers) % arch.port_elements
    ):
        yield f"scratchpad address {i.addr} is no multiple of {arch.port_elements}"
    if isinstance(i, Lstm) and first(i.cell_base, i.cell_reg, step.registers) % arch.lanes:
        yield f"cell state at {i.cell_base} is no multiple of {arch.lanes}"


def _accumulator(step: Step, arch: Architecture) -> Iterator[str]:
    """No accumulator can overflow, whatever the operands."""
    i = step.instruction
    if not isinstance(i, Contract):
        return
    worst = i.tile_iterations * i.n_k << 2 * (arch.data_bits - 1)
    if i.has_addend:
        worst += 1 << arch.data_bits - 1 + i.d_shift
    if worst >= 1 << arch.acc_bits - 1:
        yield f"a sum may reach {worst}, accumulators have {arch.acc_bits} bits"


def _reduction(step: Step, arch: Architecture) -> Iterator[str]:
    """Reduction loops do not move the result."""
    i = step.instruction
    if isinstance(i, Contract) and any(i.loop_z[: i.n_reduce]):
        yield f"z strides {i.loop_z[: i.n_reduce]} of the reduction loops, expected 0"


def _overlap(step: Step, arch: Architecture) -> Iterator[str]:
    """A vector instruction does not read what it writes: it reads ahead of its pending writes."""
    i = step.instruction
    if not isinstance(i, Lstm | Copy):
        return
    touched = {a.what: a for a in _vector(i, step.registers, arch)}
    written = [touched[w] for w in ("destination", "cell state") if w in touched]
    for a, b in itertools.combinations((touched["source"], *reversed(written)), 2):
        if a.space == b.space and not a.elements().isdisjoint(b.elements()):
            yield f"{a.what} and {b.what} share elements"


Rule = Callable[[Step, Architecture], Iterator[str]]
RULES: Final[dict[str, Rule]] = {
    "fields": _fields,
    "range": _range,
    "banks": _banks,
    "alignment": _alignment,
    "accumulator": _accumulator,
    "reduction": _reduction,
    "overlap": _overlap,
}


def verify(program: Program, arch: Architecture, host: Host | None = None) -> list[Violation]:
    """Return the broken rules of `program` on `arch`, empty when it is sound.

    Loops are followed with the host's arguments (without a host: `DEFAULT_ARGUMENT` iterations).
    Beside the rules of `RULES`: *memory* (it fits program memory), *sequence* (loops match,
    registers and counts are legal, HALT is reached), *tokens* (one giving and one taking unit).
    """
    found: list[Violation] = []
    if program.n_words > arch.program_words:
        text = f"{program.n_words} words, {arch.name} holds {arch.program_words}"
        found.append(Violation("memory", 0, text))
    host = host or Host(args=(DEFAULT_ARGUMENT,) * len(Host().args))
    seen: set[tuple[int, str, str]] = set()
    try:
        for step in trace(program, host):
            for name, rule in RULES.items():
                for text in rule(step, arch):
                    if (step.pc, name, text) not in seen:
                        seen.add((step.pc, name, text))
                        found.append(Violation(name, step.pc, text))
    except MachineError as error:
        found.append(Violation("sequence", error.address, f"stops with {error.code.name}"))
    return found + list(_tokens(program))


def _tokens(program: Program) -> Iterator[Violation]:
    units = [(pc, i) for pc, i in program.addresses() if isinstance(i, UnitInstruction)]
    for t in range(TOKENS):
        for mask, verb in (("signal", "given"), ("wait", "taken")):
            users = {i.UNIT.name: pc for pc, i in units if getattr(i, mask) >> t & 1}
            if len(users) > 1:
                text = f"token {t} is {verb} by {' and '.join(users)}"
                yield Violation("tokens", max(users.values()), text)


def require(program: Program, arch: Architecture, host: Host | None = None) -> None:
    """Raise ProgramError with the first broken rule, if there is one."""
    for violation in verify(program, arch, host):
        raise ProgramError(str(violation))
