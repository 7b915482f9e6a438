"""What every instruction and every buffer of a compiled model is: plan.json in its folder.

A program has addresses; the mapping has names. The plan joins them, for reports and traces: of each
instruction of a unit, in program order, the operation that it belongs to, and of each buffer its
place in a scratchpad. With it are the model's description and the sizes of all indices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from einchip.compiler.compiled import Compiled
from einchip.mapper import ops as op
from einchip.mapper.nets import Net
from einchip.mapper.phase import Phase
from einchip.mapper.phase_loop import PhaseLoop
from einchip.mapper.place import Mapped
from einchip.models import ModelSpec
from einchip.program import Unit

Part = Literal["before the loop", "time step", "after the loop", "setup"]
Role = Literal["weight", "data", "result"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Operation(_Strict):
    """The operation of one instruction; `step` is the contraction step that it executes, if any.

    `reads` and `writes` name buffers.
    """

    name: str
    phase: int
    part: Part
    step: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


class Buffer(_Strict):
    """Elements `base` .. `base + elements - 1` of scratchpad X (0) or Y (1).

    `copies` buffers of that size follow one another; `constant`: setup fills it, and it stays.
    """

    name: str
    space: int
    base: int
    elements: int
    copies: int
    constant: bool


class PlannedTensor(_Strict):
    """A tensor as the steps of a network see it: its indices with their sizes, of all slices."""

    role: Role
    indices: dict[str, int]


class PlannedNetwork(_Strict):
    """A mapped network; `constant` are the results that setup computes once."""

    phase: int
    tensors: dict[str, PlannedTensor]
    constant: tuple[str, ...]


class Plan(_Strict):
    """The plan of a compiled model; networks are in the order of the mapping's."""

    spec: ModelSpec
    networks: tuple[PlannedNetwork, ...]
    buffers: tuple[Buffer, ...]
    setup: tuple[Operation, ...]
    run: tuple[Operation, ...]


def plan_of(compiled: Compiled) -> Plan:
    """Return the plan of a compiled model."""
    mapped = compiled.mapping.mapped
    registers = {b: r for phase in mapped.phases for b, r in PhaseLoop(phase).registers.items()}
    place = op.Place(mapped.bases, registers, compiled.fracs)
    return Plan(
        spec=compiled.spec,
        networks=tuple(_network(net, p) for p in mapped.phases for net in p.nets.all),
        buffers=tuple(_buffers(mapped)),
        setup=tuple(_setup(mapped, place)),
        run=tuple(o for p in mapped.phases for o in _phase(p, place)),
    )


def _network(net: Net, phase: Phase) -> PlannedNetwork:
    part = net.part
    tensors = {}
    for name, t in part.tensors.items():
        sizes = {i: t.layout.sizes.get(i, 1) for i in t.indices}
        if t.sliced:
            sizes[part.slicing.index] *= part.slicing.count
        role: Role = "data" if name in net.operands else "weight" if t.is_input else "result"
        tensors[name] = PlannedTensor(role=role, indices=sizes)
    return PlannedNetwork(phase=phase.number, tensors=tensors, constant=tuple(sorted(net.constant)))


def _buffers(mapped: Mapped) -> Iterator[Buffer]:
    """Yield every buffer once, phase by phase."""
    found: dict[str, Buffer] = {}
    for phase in mapped.phases:
        for b in phase.buffers():
            made = Buffer(
                name=b.name, space=b.space, base=mapped.bases[b.name], elements=b.elements,
                copies=1 + b.toggled, constant=b.permanent,
            )  # fmt: skip
            found.setdefault(b.name, made)
    yield from found.values()


def _setup(mapped: Mapped, place: op.Place) -> Iterator[Operation]:
    """Yield the operations of the setup program, instruction by instruction."""
    steps = {s.name for p in mapped.phases for net in p.nets.all for s in net.part.steps}
    offsets = {name: region.offset for name, (_, region) in mapped.weights.items()}
    staying = [p for p in mapped.phases if not p.reloads]
    every = {o.name: (o, p) for p in staying for o in p.fetches(offsets)}
    order = (Unit.LOAD, Unit.VECTOR, Unit.ARRAY)
    for o, phase in sorted(every.values(), key=lambda pair: order.index(pair[0].unit)):
        yield from _instructions(o, phase.number, "setup", steps, place)


def _phase(phase: Phase, place: op.Place) -> Iterator[Operation]:
    """Yield the operations of a phase, instruction by instruction."""
    steps = {s.name for net in phase.nets.all for s in net.part.steps}
    sections: tuple[tuple[Part, list[op.Op]], ...] = (
        ("before the loop", phase.before),
        ("time step", phase.body),
        ("after the loop", phase.after),
    )
    for part, ops in sections:
        for o in ops:
            yield from _instructions(o, phase.number, part, steps, place)


def _instructions(
    o: op.Op, phase: int, part: Part, steps: set[str], place: op.Place
) -> list[Operation]:
    """Return an operation once for each of its instructions."""
    made = Operation(
        name=o.name, phase=phase, part=part, step=_step(o, steps),
        reads=tuple(sorted(o.reads)), writes=tuple(sorted(o.writes)),
    )  # fmt: skip
    return [made] * len(place.instructions(o))


def _step(o: op.Op, steps: set[str]) -> str:
    """Return the contraction step of an operation, whose name has slice and share behind it."""
    if o.unit is not Unit.ARRAY:
        return ""
    whole = re.sub(r"/\d+$", "", o.name)
    return whole if whole in steps else re.sub(r"\.\d+$", "", whole)
