"""Traces that the tests share."""

from __future__ import annotations

from dataclasses import replace

from einchip.arch import Architecture
from einchip.trace.model import Rises, Trace
from einchip.trace.rtl import from_rtl
from einchip.trace.simulator import from_simulator
from einchip.verify.machine import RtlMachine, Start, Work
from tests.system.programs import random_case


def both(seed: int, machine: RtlMachine, latency: int = 8) -> tuple[Trace, Trace]:
    """Return the traces of a random program, of the simulator and of the RTL."""
    case = random_case(seed, machine.arch)
    rtl, _ = from_rtl(machine, Work([Start(case.program, case.host)], case.memory, latency=latency))
    return simulated(seed, machine.arch, latency), rtl


def simulated(seed: int, arch: Architecture, latency: int = 8) -> Trace:
    """Return the simulator's trace of a random program."""
    case = random_case(seed, arch)
    return from_simulator(
        case.program, arch, case.host, external_bytes=len(case.memory.external), latency=latency
    )


def with_rises(trace: Trace, counter: str, rises: Rises) -> Trace:
    """Return a trace in which a counter rises otherwise."""
    return replace(trace, rises={**trace.rises, counter: rises})
