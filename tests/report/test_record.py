"""Recorded runs: every cycle of every unit, as the literal machine has it."""

from __future__ import annotations

from collections import Counter

import pytest

from einchip.arch import PRESETS
from einchip.program import Fill, Halt, Program, Unit
from einchip.reference import Host
from einchip.report.record import STATES, UNITS, WORK, Record, record
from einchip.sim import simulate
from tests.report.helpers import Example
from tests.sim.stepped import Stepped
from tests.system.machines import MACHINES
from tests.system.programs import Case, random_case

LATENCY = 8
SEEDS = range(3)


class Watched(Stepped):
    """The literal machine, which notes each unit's state in each cycle, and for whom."""

    def __init__(self, case: Case) -> None:
        size = len(case.memory.external)
        super().__init__(case.program, case.arch, case.host, LATENCY, size)
        self.states: dict[str, list[str]] = {u: [] for u in UNITS}
        self.words: dict[str, list[int | None]] = {u: [] for u in UNITS}

    def cycle(self, t: int) -> None:
        before = Counter(self.counters)
        executed = {"array": self.array.work, "vector": self.vector.last}
        staged = {u: self.fronts[unit].stage for u, unit in UNITS.items()}
        super().cycle(t)
        for unit, states in STATES.items():
            grown = [s for s in states if self.counters[f"{unit}_{s}"] > before[f"{unit}_{s}"]]
            assert len(grown) == 1
            self.states[unit] += grown
            job = staged[unit]
            word = None
            if unit in executed:
                work = executed[unit]
                if grown[0] in ("stall_token", "stall_setup"):
                    word = job.work.pc if job else None
                elif grown[0] != "idle" and work is not None:
                    word = work.pc
            self.words[unit].append(word)


def recorded(case: Case, detail: int = 1 << 20, n_bins: int = 7) -> Record:
    size = len(case.memory.external)
    return record(case.program, case.arch, case.host, size, LATENCY, detail=detail, n_bins=n_bins)


@pytest.mark.parametrize("machine", ["nano", "flex", "least"])
def test_every_cycle_is_in_the_state_that_the_literal_machine_is_in(machine: str) -> None:
    """Oracle: `stepped`, cycle by cycle, on random programs; so is the instruction in question."""
    for seed in SEEDS:
        case = random_case(seed, MACHINES[machine])
        made, literal = recorded(case), Watched(case)
        literal.run(True, 0)
        for unit, segments in made.segments.items():
            found = [(s.state, s.pc) for s in segments for _ in range(s.cycles)]
            assert [state for state, _ in found] == literal.states[unit]
            for (_, pc), word in zip(found, literal.words[unit], strict=True):
                assert word in (None, pc)


@pytest.mark.parametrize("detail", [0, 37, 1 << 20])
def test_states_of_a_unit_add_up_to_the_cycles(detail: int) -> None:
    """Oracle: the simulator's counters; however many cycles are gone through one by one."""
    for seed in SEEDS:
        case = random_case(seed, MACHINES["nano"])
        made = recorded(case, detail)
        counters = made.run.counters
        whole = simulate(
            case.program, case.arch, host=case.host, external_bytes=len(case.memory.external),
            latency=LATENCY, timeline=False,
        )  # fmt: skip
        assert counters == whole.counters
        assert made.detail == min(detail, made.run.cycles)
        for unit in UNITS:
            totals = made.totals(unit)
            assert totals == {s: counters[f"{unit}_{s}"] for s in STATES[unit]}
            assert sum(totals.values()) == made.run.cycles
            assert sum(s.cycles for s in made.segments[unit]) == made.detail
            waited = sum(w.cycles for w in made.waits if w.unit == unit)
            assert waited == totals["stall_token"]


def test_bins_have_the_cycles_of_their_time() -> None:
    """Oracle: the segments, cut at the borders of the bins."""
    case = random_case(3, MACHINES["nano"])
    made = recorded(case)
    for unit in UNITS:
        at = 0
        expected = {s: [0] * len(made.bins[unit, s]) for s in STATES[unit]}
        for s in made.segments[unit]:
            assert s.start == at
            for t in range(s.start, s.start + s.cycles):
                expected[s.state][t // made.bin_cycles] += 1
            at += s.cycles
        assert {s: list(made.bins[unit, s]) for s in STATES[unit]} == expected
    issues = Counter[int]()
    for values in made.issues.values():
        issues.update(dict(enumerate(values)))
    assert [issues[k] for k in range(len(made.bins["array", "issue"]))] == list(
        made.bins["array", "issue"]
    )


def test_waits_name_who_gave_the_last_token(made: Example) -> None:
    """Oracle: the timeline of the simulator: the giver completes in the cycle before the launch."""
    _, found = made.runs.drawn
    lines = made.steps.code.lines
    completions = {j.completion for j in found.run.timeline}
    for wait in found.waits:
        if wait.giver < 0:
            continue
        giver, taker = lines[wait.giver].instruction, lines[wait.pc].instruction
        assert giver.signal & taker.wait
        assert taker.UNIT is UNITS[wait.unit]
        launches = {j.launch for j in found.run.timeline if j.pc == wait.pc}
        assert {launch - 1 for launch in launches} & completions


def test_a_run_with_an_error_is_refused() -> None:
    """Oracle: the message: the program waits for a token that nobody gives."""
    program = Program((Fill(wait=1), Halt()))
    with pytest.raises(ValueError, match="the machine stopped with TIMEOUT"):
        record(program, PRESETS["nano"], Host(), 0, LATENCY, detail=0, n_bins=1)


def test_states_are_those_of_the_register_map() -> None:
    """Oracle: docs/timing.md: groups of counters of which exactly one counts in every cycle."""
    assert set(UNITS.values()) == {Unit.ARRAY, Unit.VECTOR, Unit.LOAD, Unit.STORE}
    for unit, states in STATES.items():
        assert "idle" in states
        assert len([s for s in states if s in WORK]) == 1, unit
