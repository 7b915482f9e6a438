"""How a mapping is measured: here alone is decided what an execution and the steady state are.

An execution loads the input, contracts it, and stores the result; weights and program are there. In
the steady state executions follow one another: the input of the next one is loaded meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from einchip import energy
from einchip.arch import Architecture
from einchip.compare.build import Built
from einchip.mapper import ops as op
from einchip.mapper.network_place import PlacedNetwork
from einchip.mapper.programs import emitted
from einchip.mapper.tokens import straight
from einchip.program import Halt, Program, ProgramError, Unit
from einchip.sim import Run, simulate

#: Program memory for executions that follow one another: a loop would hold one of them only.
WORDS = 1 << 16


@dataclass(frozen=True)
class Measured:
    """Figures of one execution.

    Attributes
    ----------
    cycles : of a cold execution, the load of its input and the store of its result included.
    steady_cycles : of an execution among many: those of the chip, or those of the memory port if
        these are more.
    chip_cycles : of an execution among many with its input there: all that does not overlap.
    copy_cycles : of COPY instructions, from launch to last write.
    words : elements read and written in both scratchpads.
    external_bytes : through the memory port.
    energy_pj : of the cold execution, external memory included.
    """

    cycles: int
    steady_cycles: int
    chip_cycles: int
    copy_cycles: int
    macs: int
    words: int
    external_bytes: int
    energy_pj: float


def measure(built: Built, arch: Architecture, table: energy.Table) -> Measured:
    """Measure a mapping in the simulator. Raises ProgramError where the machine stops."""
    first, two = run(built.cold.programs(None).run, arch), repeated(built.standing, 2, arch)
    step, more = period(two), built.times - 1
    counters = {name: n + more * two.counters[name] // 2 for name, n in first.counters.items()}
    counters["cycles"] = first.cycles + more * step
    return Measured(
        cycles=counters["cycles"],
        steady_cycles=max(built.times * step, port_cycles(built, arch)),
        chip_cycles=built.times * step,
        copy_cycles=copy_cycles(first) + more * copy_cycles(two) // 2,
        macs=counters["macs"],
        words=words(counters),
        external_bytes=arch.port_bytes * (counters["dma_read_beats"] + counters["dma_write_beats"]),
        energy_pj=energy.energy(counters, arch, table).total_pj,
    )


def run(program: Program, arch: Architecture) -> Run:
    """Simulate a program that is in program memory. Raises ProgramError where it stops."""
    found = simulate(program, arch, fetch=False)
    if found.error:
        raise ProgramError(f"the machine stops with {found.error[0].name}")
    return found


def repeated(placed: PlacedNetwork, times: int, arch: Architecture) -> Run:
    """Simulate executions that follow one another, their input resident."""
    operations = list(placed.operations) * times
    place = op.Place(placed.bases, {}, None)
    program = Program((*emitted(operations, straight(operations), place), Halt()))
    return run(program, arch.override(program_words=WORDS))


def period(found: Run) -> int:
    """Return the cycles from the array's end of the first of two executions to that of the second.

    Stores are left out: they may wait for a port that the array reads, and hold nothing up.
    """
    steps = sorted((e for e in found.timeline if e.unit is Unit.ARRAY), key=lambda e: e.index)
    ends = [e.completion or 0 for e in steps]
    return max(ends) - max(ends[: len(ends) // 2])


def port_cycles(built: Built, arch: Architecture) -> int:
    """Return the beats of all loads and stores of an execution."""
    operations = built.cold.operations
    beats = sum(o.cycles for o in operations if o.unit is Unit.DMA)
    again = sum(o.cycles for o in built.standing.operations if o.unit is Unit.DMA)
    return beats + (built.times - 1) * again


def copy_cycles(found: Run) -> int:
    """Return the cycles of all COPYs, from launch to last write."""
    return sum(
        e.completion - e.launch
        for e in found.timeline
        if e.kind == "Copy" and e.completion is not None
    )


def words(counters: Mapping[str, int]) -> int:
    """Return the elements that were read from and written to the scratchpads."""
    return sum(counters[f"{space}_{action}"] for space in "xy" for action in ("reads", "writes"))
