"""A trace from the simulator: its record of what is counted when, and its timeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from einchip.arch import Architecture
from einchip.program import TOKENS, Program, Sync, UnitInstruction
from einchip.reference import Host
from einchip.sim import Record, Run, simulate
from einchip.sim.record import Fetched
from einchip.sim.states import rises
from einchip.trace.model import Decoded, Executed, Phase, Trace, TraceError


def from_simulator(
    program: Program,
    arch: Architecture,
    host: Host | None = None,
    *,
    external_bytes: int | None = None,
    latency: int = 8,
    fetch: bool = True,
    program_address: int = 0,
) -> Trace:
    """Simulate a program without values; the arguments are those of `sim.simulate`.

    Raises TraceError where the machine stops with an error.
    """
    record = Record()
    run = simulate(
        program, arch, host=host, external_bytes=external_bytes, latency=latency, fetch=fetch,
        program_address=program_address, record=record,
    )  # fmt: skip
    if run.error is not None:
        raise TraceError(f"the machine stopped with {run.error[0].name} in cycle {run.cycles - 1}")
    trace = Trace(
        rises(record, run.cycles),
        _phases(record.fetched, run.cycles),
        _tokens(record.tokens, run.cycles),
        [Decoded(f.cycle + 1, f.pc, f.instruction.OPCODE) for f in record.fetched],
        list(_executed(run, record.issued)),
    )
    if trace.counters != run.counters:
        raise AssertionError("the simulator recorded other than it counted")
    return trace


def _phases(fetched: Sequence[Fetched], cycles: int) -> NDArray[np.uint8]:
    """Return where the sequencer is, from the cycles in which it came on instructions."""
    phases = np.full(cycles, Phase.LOAD, dtype=np.uint8)
    phases[:1] = Phase.LAUNCH
    ends = [*(f.cycle for f in fetched[1:]), cycles]
    for f, end in zip(fetched, ends, strict=True):
        i, t = f.instruction, f.cycle
        phases[t : t + 2] = Phase.FETCH, Phase.DECODE
        if isinstance(i, UnitInstruction) and not f.skipped:
            phases[t + 2 : t + 1 + i.WORDS] = Phase.COPY
            phases[t + 1 + i.WORDS : end] = Phase.RESOLVE
        else:
            phases[t + 2 : end] = Phase.SYNC if isinstance(i, Sync) else Phase.STOP
    return phases


def _tokens(changes: Sequence[tuple[int, tuple[int, ...]]], cycles: int) -> NDArray[np.uint8]:
    """Return the counts of all tokens in each cycle."""
    counts = np.zeros((cycles, TOKENS), dtype=np.uint8)
    ends = [*(t for t, _ in changes[1:]), cycles]
    for (t, count), end in zip(changes, ends, strict=True) if changes else ():
        counts[t:end] = count
    return counts


def _executed(run: Run, issued: Sequence[int]) -> Iterator[Executed]:
    """Yield what the units executed, in program order."""
    for e, cycle in zip(sorted(run.timeline, key=lambda e: e.index), issued, strict=True):
        if e.completion is None:
            raise AssertionError("a run without an error has an instruction without an end")
        i = e.instruction
        yield Executed(
            e.index, e.unit.name.lower(), e.pc, i.OPCODE, e.registers, cycle, e.launch,
            e.completion, i.wait, i.signal,
        )  # fmt: skip
