"""What a trace tells, and where two differ; oracles: counters, cycles changed on purpose, loops."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from einchip.arch import PRESETS
from einchip.program import (
    Fill,
    Give,
    Halt,
    Load,
    Program,
)
from einchip.registers import COUNTERS
from einchip.sim import simulate
from einchip.trace.difference import first_difference
from einchip.trace.model import STATES, UNITS, Phase, Trace, TraceError
from einchip.trace.simulator import from_simulator
from tests.system.programs import random_case
from tests.trace.helpers import simulated, with_rises

NANO = PRESETS["nano"]


@pytest.fixture(scope="module")
def trace() -> Trace:
    return simulated(10, NANO)


def test_states_of_a_unit_are_the_counters_of_its_group() -> None:
    assert STATES["load"] == (
        "load_transfer", "load_stall_port", "load_stall_memory", "load_stall_token", "load_idle",
    )  # fmt: skip
    assert {s for states in STATES.values() for s in states} <= {c.name for c in COUNTERS}
    assert "vector_ops" not in STATES["vector"]


def test_a_trace_adds_up_to_the_counters_and_the_timeline(trace: Trace) -> None:
    case = random_case(10, NANO)
    size = len(case.memory.external)
    run = simulate(case.program, NANO, host=case.host, external_bytes=size)
    assert trace.counters == run.counters
    assert [(e.launch, e.completion, e.pc, e.registers) for e in trace.executed] == [
        (e.launch, e.completion, e.pc, e.registers)
        for e in sorted(run.timeline, key=lambda e: e.index)
    ]
    n_decoded = np.count_nonzero(trace.phases == Phase.DECODE)
    assert n_decoded == len(trace.decoded) == run.counters["instructions"]


def test_recording_changes_nothing(trace: Trace) -> None:
    case = random_case(10, NANO)
    size = len(case.memory.external)
    quick = simulate(case.program, NANO, host=case.host, external_bytes=size, timeline=False)
    assert quick.counters == trace.counters


def test_the_tokens_that_a_unit_waits_for_are_named() -> None:
    # the load takes token 3, which the fill gives, and 5, which is there from the start
    program = Program(
        (Give(mask=1 << 5), Fill(signal=1 << 3, loop_count=(8, 1, 1, 1)),
         Load(wait=1 << 3 | 1 << 5, beats=1), Halt())
    )  # fmt: skip
    trace = from_simulator(program, NANO)
    [fill, load] = trace.executed
    awaited = trace.awaited("load")
    waits = trace.rises["load_stall_token"].astype(bool)
    assert waits.sum() > 0
    assert (awaited[waits] == 1 << 3).all()
    assert not awaited[~waits].any()
    assert load.launch == fill.completion + 1
    assert trace.tokens[fill.completion + 1].tolist() == [int(k in (3, 5)) for k in range(16)]
    assert not trace.tokens[load.launch + 1].any()
    assert not any(trace.awaited(unit).any() for unit in UNITS if unit != "load")


def _rise(name: str, at: int) -> Callable[[Trace], Trace]:
    def change(trace: Trace) -> Trace:
        rises = trace.rises[name].copy()
        rises[at] += 1
        return with_rises(trace, name, rises)

    return change


def _other(number: int, **changed: Any) -> Callable[[Trace], Trace]:
    def change(trace: Trace) -> Trace:
        executed = list(trace.executed)
        executed[number] = replace(executed[number], **changed)
        return replace(trace, executed=executed)

    return change


def _phase(trace: Trace) -> Trace:
    phases = trace.phases.copy()
    phases[0] = Phase.STOP
    return replace(trace, phases=phases)


def _token(trace: Trace) -> Trace:
    tokens = trace.tokens.copy()
    tokens[7, 11] += 2
    return replace(trace, tokens=tokens)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_rise("array_stall_port", 40), "cycle 40: array: array_stall_port: 0 in A, 1 in B"),
        (_rise("sequencer_stall", 0), "cycle 0: sequencer: sequencer_stall: 0 in A, 1 in B"),
        (_rise("x_reads", 3), "cycle 3: machine: x_reads: 0 in A, 1 in B"),
        (_phase, "cycle 0: sequencer: phase: LAUNCH in A, STOP in B"),
        (_token, "cycle 7: tokens: token 11: 0 in A, 2 in B"),
        (lambda t: replace(t, decoded=t.decoded[:-1]), "sequencer: decoded instructions: "),
        (lambda t: replace(t, executed=t.executed[:-1]), ": executed instructions: "),
        (_other(2, pc=99), "executed instruction 2: pc: "),
        (_other(2, signal=9), "executed instruction 2: signal: "),
        (_other(2, completion=1), "executed instruction 2: completion: "),
    ],
)
def test_the_first_difference_is_found(
    trace: Trace, change: Callable[[Trace], Trace], expected: str
) -> None:
    assert first_difference(trace, trace) is None
    found = first_difference(trace, change(trace))
    assert found is not None
    assert expected in found.text(("A", "B"))
    back = first_difference(change(trace), trace)
    assert back is not None
    assert back.values == found.values[::-1]


def test_the_earliest_of_several_differences_counts(trace: Trace) -> None:
    found = first_difference(trace, _rise("macs", 9)(_rise("cycles", 12)(trace)))
    assert found is not None
    assert (found.cycle, found.field) == (9, "macs")


def test_a_shorter_run_differs_where_it_ends(trace: Trace) -> None:
    n = trace.cycles - 1
    short = replace(
        trace,
        rises={name: r[:n] for name, r in trace.rises.items()},
        phases=trace.phases[:n],
        tokens=trace.tokens[:n],
    )
    found = first_difference(trace, short)
    assert found is not None
    assert (found.cycle, found.unit, found.values) == (n, "machine", (n + 1, n))


def test_two_states_in_a_cycle_are_an_error(trace: Trace) -> None:
    trace.check()
    busy = trace.rises["load_transfer"].copy()
    busy[5] += 1
    with pytest.raises(TraceError, match="cycle 5: load: 2 states, expected 1"):
        with_rises(trace, "load_transfer", busy).check()
