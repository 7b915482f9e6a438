"""What each counter counts in which cycle: `simulate(..., record=Record())` fills it."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from einchip.program import Instruction


class Counted(NamedTuple):
    """A counter rises by `n` in each of the cycles start .. stop - 1."""

    start: int
    stop: int
    n: int


class Fetched(NamedTuple):
    """The sequencer came on an instruction: cycle of its FETCH, word, whether it is skipped."""

    cycle: int
    pc: int
    instruction: Instruction
    skipped: bool


class Record:
    """Filled by a run without an error.

    Members
    -------
    counted : by the names of `registers.COUNTERS`, all but `cycles` and those of waiting for memory
        and of the vector unit's writes, which are what is left of a unit's cycles. Reads and writes
        of scratchpads in the cycles of their grants.
    fetched : in order.
    issued : the cycles in which instructions were handed to their units, in program order.
    tokens : the counts of all tokens, with the first cycle in which they stand so.
    """

    def __init__(self) -> None:
        self.counted: dict[str, list[Counted]] = defaultdict(list)
        self.fetched: list[Fetched] = []
        self.issued: list[int] = []
        self.tokens: list[tuple[int, tuple[int, ...]]] = []

    def add(self, counter: str, start: int, stop: int, n: int = 1) -> None:
        """Note that a counter rises."""
        if stop > start:
            self.counted[counter].append(Counted(start, stop, n))

    def access(self, kind: str, space: int, start: int, stop: int, lanes: int) -> None:
        """Note `reads` or `writes` of a scratchpad."""
        self.add(f"{'xy'[space]}_{kind}", start, stop, lanes)
