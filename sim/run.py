"""What a simulation gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from einchip.program import TOKENS, Error, Unit, UnitInstruction


class SimulationError(ValueError):
    """A program that the machine would run without a defined result; one line."""


@dataclass(frozen=True)
class Executed:
    """One executed instruction of a unit, with the cycles of its launch and of its completion.

    `index` counts the unit instructions in program order, `phase` the SYNCs before it; `completion`
    is None for an instruction that an error cut off; `external` has the first external byte of a
    transfer and the one after its last, of others twice the same.
    """

    index: int
    pc: int
    instruction: UnitInstruction
    registers: tuple[int, ...]
    launch: int
    completion: int | None
    phase: int = 0
    external: tuple[int, int] = (0, 0)

    @property
    def kind(self) -> str:
        """The instruction's name."""
        return type(self.instruction).__name__

    @property
    def unit(self) -> Unit:
        """The unit that executed it."""
        return self.instruction.UNIT


@dataclass(frozen=True)
class Run:
    """A finished run: `counters` has every name of `registers.COUNTERS`.

    `error` is None, or the code and the address that the machine would show; then the counters hold
    what was counted up to there, and are not part of the contract.
    `timeline` lists the unit instructions that launched, in the order of their launches; `given`
    how often GIVE gave each token in each phase. Both are empty where they were not asked for.
    """

    cycles: int
    counters: dict[str, int]
    error: tuple[Error, int] | None = None
    timeline: list[Executed] = field(default_factory=list)
    given: tuple[tuple[int, ...], ...] = ((0,) * TOKENS,)
