"""Why it is not faster: the unit that is busy longest, and what all its cycles go into, by cause.

The machine counts every cycle of a unit in one state, so work and states without work add up to all
cycles. The array's work is split further, step by step, by the roofline's own terms:

    work = sum of MACs / P                                        the floor
         + sum of max(MACs / P, |X| / L, |Y| / L) - MACs / P      "operands"
         + what is left                                           "lanes"

with P multipliers, and L elements a cycle from each scratchpad. What a cause takes is at most what
would be won without it: what waits behind it may begin to wait for something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from einchip.report.data import Bottleneck, Loss, TokenWait, percent
from einchip.report.record import STATES, UNITS, WAITING, WORK
from einchip.report.steps import Steps

#: Names of units in sentences.
UNIT_NAMES: Final = {
    "array": "the array", "vector": "the vector unit", "load": "the load unit",
    "store": "the store unit", "sequencer": "the sequencer",
}  # fmt: skip
#: What a loss comes from, in words that follow "that".
CAUSES: Final = {
    "operands": "a scratchpad gives fewer operands a cycle than the multipliers could take",
    "lanes": "folds leave lanes empty, or slots only bring operands to hold",
    "stall_port": "another unit had the port of a scratchpad",
    "stall_drain": "both accumulator sets were still draining",
    "stall_write": "its writes were not done yet",
    "stall_memory": "external memory had not answered yet",
    "stall_token": "operands were not ready (it waits for tokens)",
    "stall_setup": "the lanes of its next instruction were not set up yet",
    "idle": "it had no instruction (program fetch, decoding, begin and end of a run)",
}
#: What a unit's floor is, where it is not the array's.
FLOORS: Final = {
    "vector": "its reads and fills, one a cycle",
    "load": "its beats, one a cycle",
    "store": "its beats, one a cycle",
}


class _Work(NamedTuple):
    """A unit's work split: the floor, and by loss the cycles of each operation."""

    floor: float
    text: str
    losses: dict[str, dict[str, float]]


def state_cycles(counters: Mapping[str, int], unit: str) -> dict[str, int]:
    """Return a unit's cycles by state, from the counters."""
    return {state: counters[f"{unit}_{state}"] for state in STATES[unit]}


def token_waits(steps: Steps) -> tuple[TokenWait, ...]:
    """Return who waited for whom, as recorded, the longest first."""
    found = Counter[tuple[str, str, str, str]]()
    names = {pc: (line.name, line.unit) for pc, line in steps.code.lines.items()}
    for _, times, made in steps.runs.records:
        for wait in made.waits:
            name, _ = names.get(wait.pc, ("", wait.unit))
            giver, unit = names.get(wait.giver, ("", "sequencer"))
            found[wait.unit, name, unit, giver] += times * wait.cycles
    return tuple(
        TokenWait(unit=u, operation=n, for_unit=f, for_operation=g, cycles=cycles)
        for (u, n, f, g), cycles in found.most_common()
    )


def bottleneck(steps: Steps) -> Bottleneck:
    """Return what all runs spend their cycles on."""
    counters = steps.runs.counters
    busy = {
        u: sum(n for s, n in state_cycles(counters, u).items() if s not in WAITING) for u in UNITS
    }
    unit = max(UNITS, key=lambda u: busy[u])
    states = state_cycles(counters, unit)
    work = sum(n for s, n in states.items() if s in WORK)
    split = _array_work(steps) if unit == "array" else _Work(work, FLOORS[unit], {})
    waits = token_waits(steps)
    losses = [_loss(name, parts, counters["cycles"]) for name, parts in split.losses.items()]
    losses += [
        _loss(s, _where(steps, unit, s, n), counters["cycles"])
        for s, n in states.items()
        if s not in WORK
    ]
    worst = max(losses, key=lambda loss: loss.cycles)
    return Bottleneck(
        unit=unit,
        work_cycles=work,
        busy_cycles=busy[unit],
        floor_cycles=split.floor,
        floor=split.text,
        cause=worst.cause,
        won_cycles=worst.cycles,
        sentence=_sentence(unit, work, split, worst, counters["cycles"], waits),
        losses=tuple(losses),
        waits=waits,
    )


def _array_work(steps: Steps) -> _Work:
    """Return the array's work split by the terms of the roofline."""
    arch, total = steps.arch, 0.0
    losses: dict[str, dict[str, float]] = {"operands": {}, "lanes": {}}
    for step in steps.mapped.steps:
        name, d = step.name, step.described
        if name not in steps.lines:
            continue
        counted, read = steps.counted(name), max(step.elements(d["x"]), step.elements(d["y"]))
        floor = counted["macs"] / arch.n_pes
        paced = max(floor, steps.whole(name, steps.executions) * read / arch.lanes)
        total += floor
        losses["operands"][name] = paced - floor
        losses["lanes"][name] = counted["array_issue"] - paced
    macs = steps.runs.counters["macs"]
    return _Work(total, f"{macs:,} MACs on {arch.n_pes} multipliers", losses)


def _where(steps: Steps, unit: str, state: str, cycles: int) -> dict[str, float]:
    """Return a state's cycles by operation, in the proportion in which they are recorded."""
    own = {
        name: found[state]
        for name, found in steps.cycles.items()
        if steps.lines[name][0].unit == unit and found[state]
    }
    recorded = sum(own.values())
    if not recorded:
        return {"": cycles}
    return {name: cycles * n / recorded for name, n in own.items()}


def _loss(name: str, parts: Mapping[str, float], cycles: int) -> Loss:
    total = sum(parts.values())
    most = max(parts, key=lambda n: parts[n], default="")
    return Loss(
        name=name,
        cause=CAUSES[name],
        cycles=total,
        share=total / cycles,
        operation=most if total > 0 else "",
    )


def _sentence(
    unit: str, work: int, split: _Work, worst: Loss, cycles: int, waits: tuple[TokenWait, ...]
) -> str:
    name = UNIT_NAMES[unit]
    first = (
        f"{name[0].upper()}{name[1:]} is the bottleneck: it works in {percent(work / cycles)} "
        f"of {cycles:,} cycles. {split.text[0].upper()}{split.text[1:]} would take "
        f"{split.floor:,.0f} cycles ({percent(split.floor / cycles)}) if nothing held them up."
    )
    if worst.cycles <= 0:
        return f"{first} Nothing else takes a cycle."
    where = f", most in {worst.operation}" if worst.operation else ""
    whom = _whom(unit, worst, waits)
    return (
        f"{first} The largest loss is that {worst.cause}: {worst.cycles:,.0f} cycles "
        f"({percent(worst.share)}){where}{whom}. Without it at most as many would be won, and "
        f"{cycles - worst.cycles:,.0f} would be left."
    )


def _whom(unit: str, worst: Loss, waits: tuple[TokenWait, ...]) -> str:
    """Return for whom a unit waits most, in words."""
    by = Counter[tuple[str, str]]()
    for w in waits:
        if w.unit == unit:
            by[w.for_unit, w.for_operation] += w.cycles
    if worst.name != "stall_token" or not by:
        return ""
    (giver, operation), n = by.most_common(1)[0]
    what = f" ({operation})" if operation else ""
    return f"; {percent(n / by.total())} of it for {UNIT_NAMES[giver]}{what}"
