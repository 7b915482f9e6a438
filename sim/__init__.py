"""The cycle-accurate machine: a program's cycles and activity, exactly as in the RTL."""

from einchip.reference import Host, Memory
from einchip.sim.machine import simulate
from einchip.sim.races import Order, Race, races
from einchip.sim.record import Record
from einchip.sim.run import Executed, Run, SimulationError

__all__ = [
    "Executed",
    "Host",
    "Memory",
    "Order",
    "Race",
    "Record",
    "Run",
    "SimulationError",
    "races",
    "simulate",
]
