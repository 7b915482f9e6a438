"""Static verification of a program: named rules, each a sentence.

A program that breaks no rule never stops with an error of its own making, never meets a bank
conflict and never overflows an accumulator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from einchip.accesses import VECTORS, Access, accesses, first_addresses, streams, vector_accesses
from einchip.arch import Architecture
from einchip.program import (
    TOKEN_MAX,
    TOKENS,
    Contract,
    Give,
    Halt,
    Load,
    Program,
    ProgramError,
    Store,
    Sync,
    Unit,
    UnitInstruction,
)
from einchip.reference import Host, MachineError, Step, check_fields, walk

#: Iterations of a loop whose count the host gives that are followed, where no host is given.
DEFAULT_ARGUMENT: Final = 3


class Violation(NamedTuple):
    """One broken rule: its name, the word index of the instruction, and what was found."""

    rule: str
    pc: int
    found: str

    def __str__(self) -> str:
        return f"word {self.pc}: {self.rule}: {self.found}"


def _fields(step: Step, arch: Architecture) -> Iterator[str]:
    """Every count is at least 1 and the lanes fit the machine."""
    if isinstance(step.instruction, UnitInstruction):
        try:
            check_fields(step.instruction, arch, step.pc)
        except MachineError:
            yield f"{step.instruction} does not fit {arch.name}"


def _range(step: Step, arch: Architecture) -> Iterator[str]:
    """Every element touched lies inside its scratchpad."""
    for a in _accesses(step, arch):
        if a.last >= arch.capacity(a.space):
            end = f"scratchpad {'XY'[a.space]} has {arch.capacity(a.space)}"
            yield f"{a.what}: address {a.last}, {end}"


def _banks(step: Step, arch: Architecture) -> Iterator[str]:
    """The lanes of one access lie in different banks."""
    for a in _accesses(step, arch):
        residues = a.residues(arch.lanes)
        if len(set(residues)) != len(residues):
            yield f"{a.what}: lanes {a.lanes} share a bank"


def _accesses(step: Step, arch: Architecture) -> list[Access]:
    i = step.instruction
    return accesses(i, step.registers, arch) if isinstance(i, UnitInstruction) else []


def _alignment(step: Step, arch: Architecture) -> Iterator[str]:
    """Transfers start at a whole beat, states and packed sources at a whole row."""
    i = step.instruction
    if isinstance(i, Load | Store):
        _, address = first_addresses(i, step.registers)[0]
        if address % arch.port_elements:
            yield f"scratchpad address {i.addr} is no multiple of {arch.port_elements}"
    elif isinstance(i, VECTORS):
        rows = {"cell"} | ({"aux"} if any(r.source == "packed" for r in i.READS) else set())
        found = zip(streams(i), first_addresses(i, step.registers), strict=True)
        for name, (_, address) in found:
            if name in rows and address % arch.lanes:
                yield f"{name} at {address} is no multiple of {arch.lanes}"


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
    if isinstance(i, Contract):
        strides = i.loop_z[i.n_hold : i.n_tile_loops]
        if any(strides):
            yield f"z strides {strides} of the reduction loops, expected 0"


def _overlap(step: Step, arch: Architecture) -> Iterator[str]:
    """A vector instruction does not read what it writes: it reads ahead of its pending writes.

    Only the state is read and written in one place.
    """
    i = step.instruction
    if not isinstance(i, VECTORS):
        return
    reads, writes = vector_accesses(i, step.registers, arch)
    elements = {a: a.elements() for a in (*reads, *writes)}
    for a, b in itertools.product(writes, elements):
        if a.what != b.what and a.space == b.space and not elements[a].isdisjoint(elements[b]):
            yield f"{b.what} and {a.what} share elements"


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
    registers and counts are legal, HALT is reached), *tokens* (from one SYNC to the next, each has
    one giving and one taking unit, is not taken more often than given, and not TOKEN_MAX times
    less).
    """
    found: dict[Violation, None] = {}
    if program.n_words > arch.program_words:
        text = f"{program.n_words} words, {arch.name} holds {arch.program_words}"
        found[Violation("memory", 0, text)] = None
    host = host or Host(args=(DEFAULT_ARGUMENT,) * len(Host().args))
    seen: set[tuple[int, tuple[int, ...]]] = set()
    phase = _Phase()
    try:
        for step in walk(program, host):
            found.update(dict.fromkeys(phase.violations(step)))
            if isinstance(step.instruction, Sync):
                phase = _Phase()
            if (step.pc, step.registers) not in seen:
                seen.add((step.pc, step.registers))
                found.update(dict.fromkeys(_broken(step, arch)))
    except MachineError as error:
        found[Violation("sequence", error.address, f"stops with {error.code.name}")] = None
    return list(found)


def _broken(step: Step, arch: Architecture) -> Iterator[Violation]:
    for name, rule in RULES.items():
        for text in rule(step, arch):
            yield Violation(name, step.pc, text)


class _Phase:
    """What gives and takes each token, since the last SYNC."""

    def __init__(self) -> None:
        self._units: dict[tuple[int, str], Unit] = {}
        self._left = [0] * TOKENS
        self._last_taker = [0] * TOKENS

    def violations(self, step: Step) -> Iterator[Violation]:
        """Take note of one step; yield what it breaks, at the end of a phase what is missing."""
        i = step.instruction
        if isinstance(i, Give):
            self._count(i.mask, 1)
        elif isinstance(i, UnitInstruction):
            yield from self._of_other_units(i, step.pc)
            self._count(i.signal, 1)
            self._count(i.wait, -1)
            for t in _bits(i.wait):
                self._last_taker[t] = step.pc
        elif isinstance(i, Sync | Halt):
            yield from self._end(step.pc)

    def _count(self, mask: int, n: int) -> None:
        for t in _bits(mask):
            self._left[t] += n

    def _of_other_units(self, i: UnitInstruction, pc: int) -> Iterator[Violation]:
        for mask, verb in ((i.signal, "given"), (i.wait, "taken")):
            for t in _bits(mask):
                owner = self._units.setdefault((t, verb), i.UNIT)
                if owner is not i.UNIT:
                    text = f"token {t} is {verb} by {owner.name} and {i.UNIT.name}"
                    yield Violation("tokens", pc, text)

    def _end(self, pc: int) -> Iterator[Violation]:
        for t, n in enumerate(self._left):
            if n < 0:
                text = f"token {t} is taken {-n} times more than given up to word {pc}"
                yield Violation("tokens", self._last_taker[t], text)
            if n > TOKEN_MAX:
                yield Violation("tokens", pc, f"token {t} is left {n} times, at most {TOKEN_MAX}")


def _bits(mask: int) -> Iterator[int]:
    return (t for t in range(TOKENS) if mask >> t & 1)


def require(program: Program, arch: Architecture, host: Host | None = None) -> None:
    """Raise ProgramError with the first broken rule, if there is one."""
    for violation in verify(program, arch, host):
        raise ProgramError(str(violation))
