"""Chrome JSON: what a viewer needs of it, and that it adds up; oracles: the trace, its counters."""

import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from einchip.arch import PRESETS
from einchip.trace.chrome import FORMAT, chrome
from einchip.trace.model import STATES, UNITS, Trace
from tests.trace.helpers import simulated

NANO = PRESETS["nano"]
Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def trace() -> Trace:
    return simulated(10, NANO)


@pytest.fixture(scope="module")
def text(trace: Trace) -> str:
    return chrome(trace, NANO, "simulator", "random")


def tracks(text: str) -> dict[str, Events]:
    """Return the slices of each track by its name."""
    events: Events = json.loads(text)["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    found: dict[str, Events] = {name: [] for name in names.values()}
    for e in events:
        if e["ph"] == "X":
            found[names[e["tid"]]].append(e)
    return found


def test_head_says_what_it_is_and_the_source_is_a_line_of_its_own(trace: Trace, text: str) -> None:
    head = json.loads(text)["otherData"]
    assert head["format"] == f"einchip trace {FORMAT}"
    assert (head["source"], head["program"], head["machine"]) == ("simulator", "random", "nano")
    assert (head["cycles"], head["counters"]) == (trace.cycles, trace.counters)
    other = chrome(trace, NANO, "rtl", "random").splitlines()
    assert sum(a != b for a, b in zip(text.splitlines(), other, strict=True)) == 1


def test_every_event_is_a_line(text: str) -> None:
    n_events = len(json.loads(text)["traceEvents"])
    assert sum(line.startswith('{"ph":') for line in text.splitlines()) == n_events


def test_slices_of_a_track_follow_one_another(trace: Trace, text: str) -> None:
    for name, slices in tracks(text).items():
        ends = [0, *(s["ts"] + s["dur"] for s in slices)]
        assert all(s["ts"] >= end for s, end in zip(slices, ends, strict=False)), name
        assert all(s["dur"] > 0 for s in slices), name
        assert ends[-1] <= trace.cycles, name


def test_states_last_as_long_as_their_counters_say(trace: Trace, text: str) -> None:
    for unit in UNITS:
        lasted: dict[str, int] = defaultdict(int)
        for s in tracks(text)[f"{unit}: state"]:
            lasted[s["name"].split()[0]] += s["dur"]
        expected = {s: trace.counters[s] for s in STATES[unit] if s != f"{unit}_idle"}
        assert dict(lasted) == {s: n for s, n in expected.items() if n}


def test_phases_of_the_sequencer_fill_the_run_and_its_waits_count(trace: Trace, text: str) -> None:
    slices = tracks(text)["sequencer: phase"]
    assert sum(s["dur"] for s in slices) == trace.cycles
    waits = sum(s["dur"] for s in slices if s["name"].endswith(": waits"))
    assert waits == trace.counters["sequencer_stall"]


def test_instructions_are_all_there(trace: Trace, text: str) -> None:
    for unit in UNITS:
        found = [
            (s["args"]["index"], s["name"], s["ts"], s["ts"] + s["dur"] - 1, s["args"]["pc"])
            for name, slices in tracks(text).items()
            if name.startswith(f"{unit}: instructions")
            for s in slices
        ]
        assert sorted(found) == [
            (e.index, e.kind, e.launch, e.completion, e.pc)
            for e in trace.executed
            if e.unit == unit
        ]


def test_rows_that_drain_carry_their_results(trace: Trace, text: str) -> None:
    drained = sum(s["dur"] * s["args"]["results"] for s in tracks(text)["drain"])
    assert drained == trace.counters["drained"]


def test_counter_tracks_average_what_the_machine_did(trace: Trace, text: str) -> None:
    events = json.loads(text)["traceEvents"]
    shares = [e for e in events if e["ph"] == "C" and e["name"] == "array issues, %"]
    starts = np.array([e["ts"] for e in shares])
    assert starts[0] == 0
    assert starts[-1] == trace.cycles
    lengths = np.diff(starts)
    mean = sum(e["args"]["value"] * n for e, n in zip(shares[:-1], lengths, strict=True))
    expected = 100 * trace.counters["array_issue"]
    assert mean == pytest.approx(expected, abs=0.05 * trace.cycles)
    tokens = [e["args"]["value"] for e in events if e["name"].startswith("token ")]
    assert max(tokens) == trace.tokens.max() > 0
