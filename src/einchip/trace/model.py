"""A run in every cycle: what each counter counted, where the sequencer was, which instructions ran.

The same whoever saw it: `simulator` and `rtl` make a `Trace` each, and `difference` compares them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from einchip.program import BY_OPCODE, TOKENS
from einchip.registers import COUNTERS
from einchip.sim.states import STATES as STATES
from einchip.sim.states import UNITS as UNITS
from einchip.sim.states import Rises as Rises

#: Names of instructions by opcode.
KINDS: Final = {opcode: kind.__name__ for opcode, kind in BY_OPCODE.items()}
#: Bytes that a cycle takes in a `Trace`.
CYCLE_BYTES: Final = 2 * len(COUNTERS) + TOKENS + 1


class TraceError(ValueError):
    """What was seen is not a run that can be traced; one line."""


class Phase(enum.IntEnum):
    """Where the sequencer is, as docs/timing.md names it; LAUNCH and LOAD: the program's fetch."""

    LAUNCH = 0
    LOAD = 1
    FETCH = 2
    DECODE = 3
    COPY = 4
    RESOLVE = 5
    SYNC = 6
    STOP = 7


@dataclass(frozen=True)
class Decoded:
    """An instruction that the sequencer decoded: cycle of its DECODE, word, opcode."""

    cycle: int
    pc: int
    opcode: int

    @property
    def kind(self) -> str:
        """The instruction's name."""
        return KINDS.get(self.opcode, f"opcode {self.opcode}")


@dataclass(frozen=True)
class Executed:
    """An instruction that a unit executed.

    `index` counts them in program order; `registers` are the sequencer's, register 0 first, when
    the instruction was committed in cycle `issued`; `wait` and `signal` are masks of the tokens
    that it took and gave.
    """

    index: int
    unit: str
    pc: int
    opcode: int
    registers: tuple[int, ...]
    issued: int
    launch: int
    completion: int
    wait: int
    signal: int

    @property
    def kind(self) -> str:
        """The instruction's name."""
        return KINDS[self.opcode]


@dataclass(frozen=True)
class Trace:
    """A run, from the first cycle with RUNNING to the last.

    Members
    -------
    rises : by counter; reads and writes of scratchpads in the cycles of their grants.
    phases : of the sequencer, `Phase`: (cycles,).
    tokens : their counts: (cycles, TOKENS).
    decoded : in order.
    executed : by `index`.
    """

    rises: Mapping[str, Rises]
    phases: NDArray[np.uint8]
    tokens: NDArray[np.uint8]
    decoded: Sequence[Decoded]
    executed: Sequence[Executed]

    @property
    def cycles(self) -> int:
        """How long the run took."""
        return len(self.phases)

    @property
    def counters(self) -> dict[str, int]:
        """What each counter showed at the end."""
        return {c.name: int(self.rises[c.name].sum(dtype=np.int64)) for c in COUNTERS}

    def awaited(self, unit: str) -> NDArray[np.uint16]:
        """Return the mask of tokens that a unit waits for in each cycle: (cycles,).

        0 but where its state is `stall_token`; then the tokens that its next instruction takes and
        that are not there.
        """
        waits = self.rises[f"{unit}_stall_token"].astype(bool)
        mine = sorted((e for e in self.executed if e.unit == unit), key=lambda e: e.launch)
        launches = np.array([e.launch for e in mine], dtype=np.int64)
        masks = np.array([*(e.wait for e in mine), 0], dtype=np.uint16)
        following = np.searchsorted(launches, np.arange(self.cycles))
        weights = np.uint16(1) << np.arange(TOKENS, dtype=np.uint16)
        missing = (self.tokens == 0).astype(np.uint16) @ weights
        return np.where(waits, masks[following] & missing, 0).astype(np.uint16)

    def check(self) -> None:
        """Check that every unit has one state in each cycle.

        Raises TraceError: unit and cycle.
        """
        for unit, states in STATES.items():
            total = np.sum([self.rises[s] for s in states], axis=0)
            if (wrong := np.flatnonzero(total != 1)).size:
                raise TraceError(f"cycle {wrong[0]}: {unit}: {total[wrong[0]]} states, expected 1")
