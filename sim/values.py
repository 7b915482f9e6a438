"""What instructions leave in memory: `reference`, one instruction at a time, in program order."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from einchip import reference
from einchip.accesses import VECTORS
from einchip.arch import Architecture
from einchip.program import Contract, Load, Store
from einchip.reference import Host, MachineError, Memory
from einchip.sim.run import Executed


def execute(executed: Iterable[Executed], arch: Architecture, memory: Memory, host: Host) -> None:
    """Change `memory` as the completed instructions do.

    The order of time differs from that of the program only where the instructions do not meet in
    memory, or the program has a race (`races`). The instruction that stopped the machine by an
    error leaves nothing here.
    """
    for e in sorted(executed, key=lambda e: e.index):
        if e.completion is not None:
            with suppress(MachineError):
                _execute(e, arch, memory, host)


def _execute(e: Executed, arch: Architecture, memory: Memory, host: Host) -> None:
    i = e.instruction
    if isinstance(i, Contract):
        reference.run_contract(i, e.registers, arch, memory)
    elif isinstance(i, Load | Store):
        reference.run_transfer(i, e.registers, arch, memory, host, e.pc)
    elif isinstance(i, VECTORS):
        reference.run_vector(i, e.registers, arch, memory)
