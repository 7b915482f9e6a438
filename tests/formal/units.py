"""What is proved, of which unit, on which machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from einchip.arch import Architecture
from tests.formal.benches import Bench, lite_bench, load_bench, store_bench
from tests.formal.machine import machine_bench
from tests.system.machines import MACHINES

#: The benches by the names of their units.
UNITS: Final[dict[str, Callable[[Architecture], Bench]]] = {
    "load": load_bench,
    "store": store_bench,
    "axi_lite": lite_bench,
    "machine": machine_bench,
}
#: The presets; the shortest bursts and narrowest port; the longest bursts; windows of one memory.
_ON: Final = ("pico", "nano", "small", "base", "least", "wordy", "low")
#: The units of machines that are proved; the slave of the registers is the same in all.
PROOFS: Final = (
    *((unit, machine) for unit in ("load", "store") for machine in _ON),
    *(("machine", machine) for machine in ("pico", "small", "wordy")),
    ("axi_lite", "nano"),
)
#: Those that every change must pass, and on whose machines broken units are looked at.
QUICK: Final = {"load": "nano", "store": "nano", "axi_lite": "nano", "machine": "pico"}


def bench(unit: str, machine: str) -> Bench:
    """Return the bench of a unit of a machine."""
    return UNITS[unit](MACHINES[machine])
