"""What a calibrator must know of a mapped model: networks in order, names of equal scales."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from einchip.mapper.phase import Phase
from einchip.mapper.plan import Part
from einchip.mapper.ports import INPUT
from einchip.program import Act


class Evaluation(NamedTuple):
    """A network's values over recorded time steps, for a calibrator.

    Contracting `part` with its weights and, for each tensor in `operands`, the rows of that wire,
    plus `addend` (row-major; elements `addend_from` to `addend_to`, or all if `addend_to` is 0),
    gives `result` before `act`. The result's axes are those of the network's output.
    """

    part: Part
    operands: Mapping[str, str]
    addend: str
    act: Act
    result: str
    addend_from: int = 0
    addend_to: int = 0


def evaluations(phases: Sequence[Phase]) -> list[Evaluation]:
    """Return what a calibrator must evaluate, in order."""
    found = []
    for phase in phases:
        size = phase.cell.units.size if phase.cell else 0
        for n in phase.nets.all:
            low = n.addend_gate * size
            found.append(
                Evaluation(
                    n.part, n.operands, n.addend, n.act, n.part.result, low,
                    low + n.addend_gates * size,
                )
            )  # fmt: skip
    return found


def same_scale(phases: Sequence[Phase]) -> tuple[tuple[str, ...], ...]:
    """Return groups of names whose fractional bits must be equal: copies of one another."""
    return _merged(_copies(phases))


def _copies(phases: Sequence[Phase]) -> Iterator[tuple[str, ...]]:
    """Yield names that are copies of one another."""
    inputs = [f.tensor.name for p in phases for f in p.ports.sources if f.base == INPUT]
    if len({p.number for p in phases if not p.nets.asked.group}) > 1:
        yield tuple(inputs)
    for phase in phases:
        cell = phase.cell
        if cell and not phase.state_name:
            yield cell.hidden.part.result, cell.h.name
        for sink in phase.ports.sinks:
            yield phase.produced.name, sink.field.tensor.name
        if phase.nets.asked.copied_in:
            states = phase.ports.states or ((cell.h,) if cell else ())
            yield (next(iter(phase.nets.behind[0].operands)), *(h.name for h in states))
        elif phase.ports.finals and not phase.nets.behind:
            yield tuple(h.name for h in phase.ports.states)
    yield tuple(s.field.tensor.name for p in phases for s in p.ports.sinks if s.piece is None)


def _merged(groups: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return disjoint groups of more than one name."""
    found: list[list[str]] = []
    for group in groups:
        touched = [g for g in found if not set(g).isdisjoint(group)]
        merged = list(dict.fromkeys([n for g in touched for n in g] + list(group)))
        found = [g for g in found if g not in touched] + [merged]
    return tuple(tuple(g) for g in found if len(g) > 1)
