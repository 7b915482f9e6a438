"""A trace in the Chrome trace-event format, which ui.perfetto.dev opens; one event a line.

A cycle is a microsecond there. Every unit has a track of its states by cause and tracks of its
instructions from launch to completion, as many as overlap; the sequencer has one of its
instructions and one of its phases. Counter tracks show tokens and how busy the units are. The text
is a function of the trace alone but for one line, the `source` in `otherData`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einchip.arch import Architecture
from einchip.program import TOKENS
from einchip.trace.model import STATES, UNITS, Executed, Phase, Trace

#: Version of what is documented in docs/traces.md.
FORMAT: Final = 1
#: Windows over which counter tracks average, at most, and the shortest one in cycles.
MOST_WINDOWS: Final = 512
LEAST_WINDOW: Final = 16
PID: Final = 1

Event = dict[str, Any]


def chrome(trace: Trace, arch: Architecture, source: str, program: str) -> str:
    """Return the text of a file.

    `source` says who saw it, and is all in which the files of simulator and RTL differ; `program`
    names what ran.
    """
    head = {
        "format": f"einchip trace {FORMAT}",
        "source": source,
        "program": program,
        "machine": arch.name,
        "config_hash": f"{arch.config_hash:#010x}",
        "time": "1 us is 1 cycle",
        "cycles": trace.cycles,
        "counters": trace.counters,
    }
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    events = [json.dumps(e, separators=(",", ":")) for e in _events(trace, arch)]
    return "".join(
        [
            '{"displayTimeUnit": "ns",\n"otherData": {\n', ",\n".join(lines),
            '\n},\n"traceEvents": [\n', ",\n".join(events), "\n]}\n",
        ]
    )  # fmt: skip


def _events(trace: Trace, arch: Architecture) -> Iterator[Event]:
    """Yield names, slices, counters."""
    yield _named("process_name", 0, f"einchip {arch.name}")
    for number, (name, slices) in enumerate(_tracks(trace), 1):
        yield _named("thread_name", number, name)
        yield {"ph": "M", "pid": PID, "tid": number, "name": "thread_sort_index",
               "args": {"sort_index": number}}  # fmt: skip
        for s in slices:
            yield {"ph": "X", "pid": PID, "tid": number, **s}
    yield from _token_counts(trace)
    yield from _utilisation(trace, arch)


def _named(what: str, tid: int, name: str) -> Event:
    return {"ph": "M", "pid": PID, "tid": tid, "name": what, "args": {"name": name}}


def _slice(name: str, start: int, stop: int, **args: object) -> Event:
    """Return a slice of the cycles start .. stop - 1."""
    return {"ts": start, "dur": stop - start, "name": name, "args": args}


def _tracks(trace: Trace) -> Iterator[tuple[str, Iterator[Event]]]:
    """Yield the tracks and their slices, from top to bottom."""
    yield "sequencer", _decoded(trace)
    yield "sequencer: phase", _phases(trace)
    for unit in UNITS:
        yield f"{unit}: state", _states(trace, unit)
        mine = [e for e in trace.executed if e.unit == unit]
        for number, some in enumerate(_side_by_side(mine), 1):
            yield f"{unit}: instructions {number}", map(_instruction, some)
        if unit == "array":
            yield "drain", _drain(trace)


def _runs(values: NDArray[Any]) -> Iterator[tuple[int, int, int]]:
    """Yield the runs of equal values: first cycle, the one after the last, value."""
    edges = np.flatnonzero(np.diff(values)) + 1
    starts = np.concatenate(([0], edges)) if values.size else edges
    stops = np.append(edges, values.size)
    yield from zip(starts.tolist(), stops.tolist(), values[starts].tolist(), strict=False)


def _decoded(trace: Trace) -> Iterator[Event]:
    """Yield what the sequencer did, each from its FETCH to the next one's."""
    ends = [*(d.cycle - 1 for d in trace.decoded[1:]), trace.cycles]
    for d, end in zip(trace.decoded, ends, strict=True):
        yield _slice(d.kind, d.cycle - 1, end, pc=d.pc)


def _phases(trace: Trace) -> Iterator[Event]:
    """Yield the sequencer's phases; one in which it waits says so."""
    stalls = trace.rises["sequencer_stall"].astype(np.int64)
    for start, stop, value in _runs(2 * trace.phases.astype(np.int64) + stalls):
        name = Phase(value // 2).name
        yield _slice(f"{name}: waits" if value % 2 else name, start, stop)


def _states(trace: Trace, unit: str) -> Iterator[Event]:
    """Yield a unit's states but idleness; the tokens that it waits for are named."""
    names = STATES[unit]
    numbers = np.argmax([trace.rises[s] for s in names], axis=0)
    for start, stop, value in _runs(numbers << TOKENS | trace.awaited(unit)):
        name, tokens = names[value >> TOKENS], _tokens(value % (1 << TOKENS))
        if name == f"{unit}_idle":
            continue
        if tokens:
            yield _slice(f"{name} {', '.join(map(str, tokens))}", start, stop, tokens=tokens)
        else:
            yield _slice(name, start, stop)


def _drain(trace: Trace) -> Iterator[Event]:
    """Yield when rows drain, with the results of a row."""
    for start, stop, n in _runs(trace.rises["drained"]):
        if n:
            yield _slice("rows", start, stop, results=n)


def _side_by_side(executed: Sequence[Executed]) -> list[list[Executed]]:
    """Return instructions on as many tracks as overlap, each on the first that is free."""
    tracks: list[list[Executed]] = []
    for e in sorted(executed, key=lambda e: e.launch):
        free = (t for t in tracks if t[-1].completion < e.launch)
        track = next(free, None)
        if track is None:
            tracks.append([e])
        else:
            track.append(e)
    return tracks


def _instruction(e: Executed) -> Event:
    used = {f"r{k}": value for k, value in enumerate(e.registers) if value}
    return _slice(
        e.kind, e.launch, e.completion + 1, index=e.index, pc=e.pc, issued=e.issued,
        takes=_tokens(e.wait), gives=_tokens(e.signal), **used,
    )  # fmt: skip


def _tokens(mask: int) -> list[int]:
    """Return the numbers of a mask's tokens."""
    return [k for k in range(TOKENS) if mask >> k & 1]


def _counter(name: str, t: int, value: float) -> Event:
    return {"ph": "C", "pid": PID, "ts": t, "name": name, "args": {"value": value}}


def _token_counts(trace: Trace) -> Iterator[Event]:
    """Yield the counts of the tokens that are ever given."""
    for k in range(TOKENS):
        column = trace.tokens[:, k]
        if column.any():
            yield from (_counter(f"token {k}", t, n) for t, _, n in _runs(column))


def busy(arch: Architecture) -> Mapping[str, tuple[str, int]]:
    """Return the counter tracks: the counter that each shows, and the most that it rises by."""
    return {
        "PEs busy, %": ("macs", arch.n_pes),
        "array issues, %": ("array_issue", 1),
        "vector issues, %": ("vector_issue", 1),
        "load transfers, %": ("load_transfer", 1),
        "store transfers, %": ("store_transfer", 1),
    }


def _utilisation(trace: Trace, arch: Architecture) -> Iterator[Event]:
    """Yield how busy units are, averaged over windows of equal length."""
    window = max(LEAST_WINDOW, -(-trace.cycles // MOST_WINDOWS))
    starts = np.arange(0, trace.cycles, window)
    lengths = np.diff(np.append(starts, trace.cycles))
    for name, (counter, most) in busy(arch).items():
        totals = np.add.reduceat(trace.rises[counter].astype(np.int64), starts)
        shares = (100 * totals / (most * lengths)).round(1)
        for t, share in zip(starts.tolist(), shares.tolist(), strict=True):
            yield _counter(name, t, share)
        yield _counter(name, trace.cycles, 0.0)
