"""What a run counted, cycle by cycle, from its record: so the state of each unit in every cycle."""

from __future__ import annotations

from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

from einchip.program import Unit
from einchip.registers import COUNTERS
from einchip.sim.record import Record

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
    found = state_rises(record, cycles)
    others = {c.name: _column(record, c.name, cycles) for c in COUNTERS if c.name not in found}
    others["cycles"][:] = 1
    return found | others


def state_rises(record: Record, cycles: int) -> dict[str, Rises]:
    """Return the same of the counters in STATES alone: 1 where a unit is in a state, else 0."""
    found = {s: _column(record, s, cycles) for own in STATES.values() for s in own}
    for unit, left in LEFT.items():
        others = np.stack([found[s] for s in STATES[unit] if s != left])
        found[left] = np.uint16(1) - others.sum(axis=0, dtype=np.uint16)
    return found


def _column(record: Record, counter: str, cycles: int) -> Rises:
    """Return the sum of what was counted in each cycle."""
    counted = record.counted.get(counter, ())
    flat = np.fromiter(chain.from_iterable(counted), dtype=np.int64, count=3 * len(counted))
    starts, stops, n = flat.reshape(-1, 3).T
    change = np.zeros(cycles + 1, dtype=np.int64)
    np.add.at(change, starts, n)
    np.subtract.at(change, stops, n)
    return np.cumsum(change[:-1]).astype(np.uint16)
