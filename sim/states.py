"""What a run counted, cycle by cycle, from its record: so the state of each unit in every cycle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from einchip.program import Unit
from einchip.registers import COUNTERS
from einchip.sim.record import Counted, Record

Rises = NDArray[np.uint16]
"""By how much a counter rises in each cycle: (cycles,)."""

#: The units that execute instructions, as they stand in the names of their counters.
UNITS: Final = tuple(u.name.lower() for u in Unit if u is not Unit.SEQUENCER)
#: The states of each unit, exactly one in every cycle: the counters marked with its name.
STATES: Final = {
    unit: tuple(c.name for c in COUNTERS if c.doc.startswith(f"{unit}: ")) for unit in UNITS
}
#: The state of a unit that is recorded as what is left of its cycles.
LEFT: Final = {
    "load": "load_stall_memory", "store": "store_stall_memory", "vector": "vector_stall_write",
}  # fmt: skip


def rises(record: Record, cycles: int) -> dict[str, Rises]:
    """Return by how much each counter of `registers.COUNTERS` rose in each cycle of a run."""
    found = {c.name: _column(record.counted.get(c.name, ()), cycles) for c in COUNTERS}
    found["cycles"][:] = 1
    for unit, left in LEFT.items():
        others = np.stack([found[s] for s in STATES[unit] if s != left])
        found[left] = np.uint16(1) - others.sum(axis=0, dtype=np.uint16)
    return found


def _column(counted: Sequence[Counted], cycles: int) -> Rises:
    """Return the sum of what was counted in each cycle."""
    change = np.zeros(cycles + 1, dtype=np.int64)
    if counted:
        starts, stops, n = np.array(counted, dtype=np.int64).T
        np.add.at(change, starts, n)
        np.subtract.at(change, stops, n)
    return np.cumsum(change[:-1]).astype(np.uint16)
