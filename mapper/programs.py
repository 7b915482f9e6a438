"""Programs: instructions with tokens, and whether they fit program memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper.errors import MappingError
from einchip.mapper.tokens import Masks
from einchip.program import Instruction, Program, UnitInstruction


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
    for o, wait, signal in zip(ops, masks.wait, masks.signal, strict=True):
        found += with_tokens(place.instructions(o), wait, signal)
    return found
