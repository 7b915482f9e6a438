"""Programs: instructions with tokens, and whether they fit program memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper.errors import MappingError
from einchip.mapper.tokens import Masks
from einchip.program import Instruction, Program, Unit, UnitInstruction, Vector


@dataclass(frozen=True)
class Programs:
    """`setup` loads what stays; `run` does the work, as often as wanted."""

    setup: Program
    run: Program


def with_tokens(made: Sequence[UnitInstruction], wait: int, signal: int) -> list[Instruction]:
    """Return an operation's instructions: the first one waits, the last one signals."""
    found = list(made)
    if wait:
        found[0] = replace(found[0], wait=wait)
    if signal:
        found[-1] = replace(found[-1], signal=signal)
    return list[Instruction](found)


def overlapping(
    o: op.Op, made: Sequence[Instruction], before: tuple[op.Op, Vector] | None
) -> list[Instruction]:
    """Return a vector unit's operation whose instructions start while the alike ones before write.

    Each of which that one writes nothing that it reads. `before`: the unit's operation before this
    one, with its last instruction.
    """
    last, apart = None, False
    if before is not None:
        last, apart = before[1], before[0].writes.isdisjoint(o.reads)
    found = list[Instruction]()
    for i in made:
        if not isinstance(i, Vector):
            raise TypeError(f"the vector unit cannot execute {i}")
        if last is not None and apart and i.likeness == last.likeness:
            i = replace(i, overlaps=1)
        found.append(i)
        last, apart = i, o.disjoint
    return found


def check_words(program: Program, arch: Architecture) -> None:
    """Raise MappingError for a program that is larger than program memory."""
    words = program.n_words
    if words > arch.program_words:
        raise MappingError(
            f"program: found {words} words, expected at most {arch.program_words}; "
            f"set program_words to {1 << (words - 1).bit_length()}",
            words - arch.program_words,
        )


def emitted(ops: Sequence[op.Op], masks: Masks, place: op.Place) -> list[Instruction]:
    """Return the instructions of operations in order, with their tokens."""
    found: list[Instruction] = []
    before: tuple[op.Op, Vector] | None = None  # in the vector unit
    for o, wait, signal in zip(ops, masks.wait, masks.signal, strict=True):
        made = with_tokens(place.instructions(o), wait, signal)
        if o.unit is Unit.VECTOR:
            made = overlapping(o, made, before)
            last = made[-1]
            assert isinstance(last, Vector)
            before = o, last
        found += made
    return found
