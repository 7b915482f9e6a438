"""How a mapping is measured: here alone is decided what an execution and the steady state are.

Weights and program are on the chip. A *cold* execution loads the input, contracts it, and stores
the result, and nothing else. In the *steady* state of a stream executions follow one another in a
loop, software-pipelined: loads, stores, copies and contractions of several of them overlap where
units, ports and buffers allow (`einchip.mapper.stream`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from einchip import energy
from einchip.arch import Architecture
from einchip.compare.build import Dense
from einchip.mapper import ops as op
from einchip.mapper.network_place import PlacedNetwork
from einchip.mapper.programs import emitted
from einchip.mapper.stream import Stream
from einchip.mapper.tokens import straight
from einchip.program import Halt, Program, ProgramError, Unit
from einchip.reference import Host
from einchip.sim import Run, simulate

#: Program memory for executions that follow one another without a loop.
WORDS: Final = 1 << 16
#: Executions before a stream is steady, and those over which it is measured.
WARM_UP, MEASURED = 4, 4


@dataclass(frozen=True)
class Measured:
    """Figures of one execution.

    Attributes
    ----------
    cycles : what it takes: alone, or of a stream (rounded up).
    copy_cycles : in which a COPY issues a vector.
    words : elements read and written in both scratchpads.
    external_bytes : through the memory port.
    energy_pj : external memory included.
    """

    cycles: int
    copy_cycles: int
    macs: int
    words: int
    external_bytes: int
    energy_pj: float

    @classmethod
    def of(
        cls, counters: Mapping[str, int], times: int, arch: Architecture, table: energy.Table
    ) -> Measured:
        """Return the figures of one of `times` executions."""

        def each(n: int) -> int:
            return -(-n // times)

        beats = counters["dma_read_beats"] + counters["dma_write_beats"]
        return cls(
            cycles=each(counters["cycles"]),
            copy_cycles=each(counters["vector_issue"]),
            macs=each(counters["macs"]),
            words=each(words(counters)),
            external_bytes=each(arch.port_bytes * beats),
            energy_pj=energy.energy(counters, arch, table).total_pj / times,
        )


def alone(program: Program, arch: Architecture, table: energy.Table) -> Measured:
    """Measure one cold execution. Raises ProgramError where the machine stops."""
    return Measured.of(run(program, arch).counters, 1, arch, table)


def steady(stream: Stream, table: energy.Table) -> Measured:
    """Measure an execution of a long stream: the difference of two runs of the simulator.

    Raises ProgramError where the machine stops.
    """
    program, arch = stream.programs().run, stream.arch
    few, many = (run(program, arch, stream.host(n)) for n in (WARM_UP, WARM_UP + MEASURED))
    more = {name: n - few.counters[name] for name, n in many.counters.items()}
    return Measured.of(more, MEASURED, arch, table)


def one_after_the_other(built: Dense, arch: Architecture, table: energy.Table) -> Measured:
    """Measure an execution among many of a dense product, its programs one after the other.

    It takes the array's period, or the beats of all loads and stores, whichever is more. Raises
    ProgramError where the machine stops.
    """
    two = repeated(built.standing, 2, arch)
    counters = {name: n * built.times // 2 for name, n in two.counters.items()}
    counters["cycles"] = max(built.times * period(two), port_cycles(built))
    counters["dma_read_beats"] += input_cycles(built)
    return Measured.of(counters, 1, arch, table)


def cold_dense(built: Dense, arch: Architecture) -> int:
    """Return the cycles of one cold execution. Raises ProgramError where the machine stops."""
    first = run(built.cold.programs(None).run, arch).cycles
    return first + (built.times - 1) * period(repeated(built.standing, 2, arch))


def run(program: Program, arch: Architecture, host: Host | None = None) -> Run:
    """Simulate a program that is in program memory. Raises ProgramError where it stops."""
    found = simulate(program, arch, fetch=False, host=host)
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


def input_cycles(built: Dense) -> int:
    """Return the beats of the load of an input."""
    return _beats(built.cold) - _beats(built.standing)


def port_cycles(built: Dense) -> int:
    """Return the beats of all loads and stores of an execution."""
    return input_cycles(built) + built.times * _beats(built.standing)


def _beats(placed: PlacedNetwork) -> int:
    return sum(o.cycles for o in placed.operations if o.unit in (Unit.LOAD, Unit.STORE))


def words(counters: Mapping[str, int]) -> int:
    """Return the elements that were read from and written to the scratchpads."""
    return sum(counters[f"{space}_{action}"] for space in "xy" for action in ("reads", "writes"))
