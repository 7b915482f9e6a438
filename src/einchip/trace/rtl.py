"""A trace from the RTL's own activity: signals sampled in every cycle of a run under Verilator."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einchip.arch import Architecture
from einchip.hw.counters import increments
from einchip.hw.sequencer import State
from einchip.hw.tokens import LESS_1
from einchip.program import REGISTERS, TOKENS
from einchip.trace.model import UNITS, Decoded, Executed, Phase, Rises, Trace, TraceError
from einchip.verify.machine import RtlMachine, RtlResult, Work
from einchip.verify.probes import read_samples

#: The machine counts an access of a scratchpad in the cycle after its grant.
AFTER_GRANT: Final = ("x_reads", "x_writes", "y_reads", "y_writes")
#: The cycle of an instruction's end, by unit: all of the first are 1, and none of the second.
ENDS: Final = {
    "load": (("load/done",), ("load/fetch__done",)),
    "store": (("store/ended", "store/answering.last"), ()),
    "array": (("array/drain/done",), ()),
    "vector": (("vector/writes/ends",), ()),
}

Bytes = NDArray[np.uint8]
"""A signal in each cycle: (cycles, bytes), little endian."""


def from_rtl(
    machine: RtlMachine, work: Work, *, waves: Path | None = None
) -> tuple[Trace, RtlResult]:
    """Run a job; return the trace of its last start, and what `RtlMachine.run` returns.

    With `waves`, the machine records them there, too, if it was built so.
    Raises TraceError where that start stops with an error, RtlError as `RtlMachine.run` does.
    """
    with tempfile.TemporaryDirectory() as directory:
        samples = Path(directory) / "samples"
        result = machine.record(work, samples=samples, waves=waves)
        last = result.runs[-1]
        if last.error is not None:
            code, address = last.error
            raise TraceError(f"the RTL stopped with {code.name}, address {address:#x}")
        signals = read_samples(samples, list(machine.probes.values()))
    by_place = {place: signals[probe] for place, probe in machine.probes.items()}
    return from_samples(by_place, machine.arch), result


def from_samples(signals: Mapping[str, Bytes], arch: Architecture) -> Trace:
    """Return the trace of the cycles in which the machine ran.

    `signals` are those of `verify.machine.ACTIVITY`, by place. Raises TraceError where these cycles
    do not follow one another.
    """
    running = np.flatnonzero(signals["control/counters/running"][:, 0])
    if not running.size or running[-1] - running[0] + 1 != running.size:
        raise TraceError("the samples do not hold one run")
    seen = {place: s[running[0] : running[-1] + 1] for place, s in signals.items()}
    decoded = list(_decoded(seen))
    counts = [_number(seen[f"tokens/less_1_{k}"]) + 1 for k in range(TOKENS)]
    return Trace(
        _rises(seen["control/counters/events"], arch),
        _phases(seen["sequencer/_state"]),
        (np.stack(counts, axis=1) % (1 << LESS_1.width)).astype(np.uint8),
        decoded,
        sorted(_executed(seen, decoded), key=lambda e: e.index),
    )


def _number(signal: Bytes) -> NDArray[np.int64]:
    """Return a signal of up to 56 bits as numbers: (cycles,)."""
    weights = np.int64(1) << 8 * np.arange(signal.shape[1], dtype=np.int64)
    return signal.astype(np.int64) @ weights


def _is_one(signal: Bytes) -> NDArray[np.bool_]:
    return signal[:, 0].astype(bool)


def _rises(events: Bytes, arch: Architecture) -> dict[str, Rises]:
    """Take the increments of all counters apart."""
    bits = np.unpackbits(events, axis=1, bitorder="little")
    rises = {}
    for name, field in increments(arch):
        weights = np.uint16(1) << np.arange(field.width, dtype=np.uint16)
        column = bits[:, field.offset : field.offset + field.width] @ weights
        if name in AFTER_GRANT:
            column = np.append(column[1:], 0)
        rises[name] = column.astype(np.uint16)
    return rises


def _phases(state: Bytes) -> NDArray[np.uint8]:
    """Return where the sequencer is."""
    names = {s.value: s.name for s in State}
    known = np.full(256, 255, dtype=np.uint8)
    for value, name in names.items():
        known[value] = Phase[name] if name in Phase.__members__ else 255
    return known[state[:, 0]]


def _decoded(seen: Mapping[str, Bytes]) -> Iterator[Decoded]:
    """Yield the instructions in the cycles of their DECODE."""
    at = np.flatnonzero(seen["sequencer/_state"][:, 0] == State.DECODE.value)
    pc, opcodes = _number(seen["sequencer/_pc"][at]), seen["sequencer/word"][at, 0]
    for t, word, opcode in zip(at.tolist(), pc.tolist(), opcodes.tolist(), strict=True):
        yield Decoded(t, word, opcode)


def _executed(seen: Mapping[str, Bytes], decoded: list[Decoded]) -> Iterator[Executed]:
    """Yield what the units executed: each is first in, first out."""
    commits = sorted(
        (int(t), unit)
        for unit in UNITS
        for t in np.flatnonzero(
            _is_one(seen[f"sequencer/{unit}__valid"]) & _is_one(seen[f"sequencer/{unit}__ready"])
        )
    )
    cycles_decoded = np.array([d.cycle for d in decoded])
    launches = {unit: _launches(seen, unit) for unit in UNITS}
    ends = {unit: _ends(seen, unit) for unit in UNITS}
    held = _registers(seen, [t for t, _ in commits])
    for index, ((t, unit), registers) in enumerate(zip(commits, held, strict=True)):
        d = decoded[int(np.searchsorted(cycles_decoded, t)) - 1]
        if not launches[unit] or not ends[unit]:
            raise TraceError(f"cycle {t}: {unit}: an instruction was committed that never ended")
        launch, wait = launches[unit].popleft()
        end, signal = ends[unit].popleft()
        yield Executed(index, unit, d.pc, d.opcode, registers, t, launch, end, wait, signal)


def _registers(seen: Mapping[str, Bytes], cycles: Iterable[int]) -> Iterator[tuple[int, ...]]:
    """Yield the sequencer's registers in some cycles, in order: 0 at the start, then as written."""
    enable, number, value = (
        seen[f"sequencer/registers/write__{part}"] for part in ("en", "addr", "data")
    )
    at = np.flatnonzero(_is_one(enable))
    writes = deque(zip(at.tolist(), _number(number[at]).tolist(), _number(value[at]), strict=True))
    held = [0] * REGISTERS
    for t in cycles:
        while writes and writes[0][0] < t:
            _, register, written = writes.popleft()
            held[register] = int(written)
        yield tuple(held)


def _launches(seen: Mapping[str, Bytes], unit: str) -> deque[tuple[int, int]]:
    """Return the cycles of a unit's launches, with the tokens that each takes."""
    at = np.flatnonzero(_is_one(seen[f"{unit}/front/launch"]))
    return _with_tokens(at, seen[f"{unit}/tokens__take"])


def _ends(seen: Mapping[str, Bytes], unit: str) -> deque[tuple[int, int]]:
    """Return the cycles in which a unit's instructions are complete, with the tokens given."""
    ones, zeros = ENDS[unit]
    ended = np.all([_is_one(seen[p]) for p in ones], axis=0)
    for place in zeros:
        ended &= ~_is_one(seen[place])
    return _with_tokens(np.flatnonzero(ended), seen[f"{unit}/tokens__give"])


def _with_tokens(at: NDArray[Any], tokens: Bytes) -> deque[tuple[int, int]]:
    return deque(zip(at.tolist(), _number(tokens[at]).tolist(), strict=True))
