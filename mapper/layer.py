"""The operations of an LSTM layer: setup, and a sequence before, in and after its loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper.allocate import allocate
from einchip.mapper.cell import cell_elements, lstm_cycles, lstm_instructions, lstm_op
from einchip.mapper.image import Region
from einchip.mapper.network import with_tokens
from einchip.mapper.parts import Parts
from einchip.mapper.plan import Tensor
from einchip.mapper.schedule import schedule
from einchip.mapper.tokens import Masks, Plan, copy_name, looped
from einchip.mapper.tree import ONE
from einchip.program import (
    Copy,
    EndLoop,
    Give,
    Halt,
    Instruction,
    Loop,
    Lstm,
    Program,
    SetMode,
    SetRegister,
    Space,
    Unit,
    UnitInstruction,
)

WEIGHTS_BASE, INPUT_BASE, OUTPUT_BASE = 0, 1, 2
STEP_REGISTER, X_REGISTER, NEXT_X_REGISTER = 1, 2, 3
#: The copy of x into which the next time step's input is loaded, where x is not sliced.
NEXT_X = "x.next"
#: The LOOP's field for host register ARG0: the number of time steps.
STEPS_ARGUMENT = 1
CELL = "cell"
OUT = "h_out"


@dataclass(frozen=True)
class Layer:
    """A layer with operations and addresses; its scales are still open."""

    parts: Parts
    arch: Architecture
    setup: tuple[op.Op, ...]
    before: tuple[op.Op, ...]
    body: tuple[op.Op, ...]
    after: tuple[op.Op, ...]
    tokens: Plan
    bases: Mapping[str, int]
    weights: Mapping[str, Region]
    x: Region
    out: Region

    @property
    def step_bytes(self) -> int:
        """Bytes of one time step's input in external memory."""
        return self.x.n_bytes(self.arch)

    @property
    def ahead_bytes(self) -> int:
        """Bytes behind the last time step that a run reads: none, the last loads are skipped."""
        return 0

    def programs(self, fracs: Mapping[str, int] | None) -> tuple[Program, Program]:
        """Return the programs of setup and run, with these fractional bits.

        Raises MappingError for scales that a shift cannot reach.
        """
        registers = {} if self.parts.x.sliced else {"x": X_REGISTER, NEXT_X: NEXT_X_REGISTER}
        place = op.Place(self.bases, registers, fracs)
        setup = [i for o in self.setup for i in o.build(place)]
        run: list[Instruction] = [Give(mask) for mask in self.tokens.credits]
        run += _emitted(self.before, self.tokens.before, place)
        elements = op.whole_vectors(self.parts.x.layout.extent, self.arch)
        if registers:
            run.append(SetRegister(NEXT_X_REGISTER, SetMode.SET, elements))
        run.append(Loop(arg=STEPS_ARGUMENT))
        run += _emitted(self.body, self.tokens.body, place)
        run.append(SetRegister(STEP_REGISTER, SetMode.ADD, self.step_bytes))
        run += [SetRegister(r, SetMode.TOGGLE, elements) for r in registers.values()]
        run.append(EndLoop())
        run += _emitted(self.after, self.tokens.after, place)
        return Program((*setup, Halt())), Program((*run, Halt()))


def _emitted(ops: tuple[op.Op, ...], masks: Masks, place: op.Place) -> list[Instruction]:
    found: list[Instruction] = []
    for o, wait, signal in zip(ops, masks.wait, masks.signal, strict=True):
        found += with_tokens(o.build(place), wait, signal)
    return found


def assemble(parts: Parts, arch: Architecture) -> Layer:
    """Return the layer's operations in order, placed.

    Raises MappingError when a scratchpad is too small or the tokens are not enough.
    """
    lstm = lstm_instructions(parts.units, parts.lanes, parts.gates.layout, parts.h.layout, arch)
    parts = _balanced(parts, cell_elements(lstm, arch), arch)
    cell = op.Buffer(CELL, parts.spaces[CELL], cell_elements(lstm, arch))
    x_region = _x_region(parts)
    busy = lstm_cycles(sum(i.vectors for i in lstm), arch)
    body = schedule(_body(parts, x_region, lstm, cell, arch), {parts.h.name: busy})
    before = _before(parts, x_region, cell, arch)
    after, out_region = _after(parts, arch)
    toggles = {} if parts.x.sliced else {"x": ("x", 0), NEXT_X: ("x", 1)}
    tokens = looped(before, body, after, toggles)
    bases = allocate(_buffers(parts, cell, arch), op.touched(body), arch)
    if toggles:
        bases |= dict.fromkeys((NEXT_X, copy_name("x", 0)), bases["x"])
    weights = _weights(parts, arch)
    setup = [*_weight_loads(parts, weights, arch), *_ones(parts, arch)]
    return Layer(
        parts, arch, tuple(setup), tuple(before), tuple(body), tuple(after), tokens, bases,
        weights, x_region, out_region,
    )  # fmt: skip


def _balanced(parts: Parts, cell: int, arch: Architecture) -> Parts:
    """Return the parts with results, biases and cell states where there is most room."""
    results = {p.result: p.tensors[p.result].layout.extent for p in parts.all}
    free = {**results, "bias": results["gates"], CELL: cell}
    if parts.head:
        free["head.bias"] = results["logits"]
    trial = parts.in_spaces(dict.fromkeys(free, 0))
    fixed = [b for b in _buffers(trial, op.Buffer(CELL, 0, 0), arch) if b.name not in free]
    room = [arch.capacity(s) - _total(fixed, s) for s in (0, 1)]
    spaces: dict[str, int] = {}
    for name, elements in sorted(free.items(), key=lambda f: -f[1]):
        space = int(room[1] > room[0])
        spaces[name] = space
        room[space] -= op.whole_vectors(elements, arch)
    return parts.in_spaces(spaces)


def _total(buffers: list[op.Buffer], space: int) -> int:
    return sum(b.elements * (1 + b.toggled) for b in buffers if b.space == space)


def _weight_loads(
    parts: Parts, weights: Mapping[str, Region], arch: Architecture
) -> Iterator[op.Op]:
    """Yield the LOADs of all weights."""
    for name, tensor in _resident(parts).items():
        source = op.External(WEIGHTS_BASE, weights[name].offset)
        yield op.load(name, tensor.space, tensor.layout.extent, arch, source)


def _resident(parts: Parts) -> dict[str, Tensor]:
    """Return the tensors that setup loads."""
    found = {
        t.name: t
        for part in parts.all
        for t in part.tensors.values()
        if t.is_input and t.name not in ("x", "h") and not t.name.startswith(ONE)
    }
    return found | parts.biases


def _weights(parts: Parts, arch: Architecture) -> dict[str, Region]:
    """Return the places of all weights in external memory."""
    regions: dict[str, Region] = {}
    at = 0
    for name, t in _resident(parts).items():
        sizes = {i: t.layout.sizes.get(i, 1) for i in t.indices}
        regions[name] = Region(at, t.indices, sizes, t.layout)
        at += regions[name].n_bytes(arch)
    return regions


def _ones(parts: Parts, arch: Architecture) -> list[op.Op]:
    """Return the FILLs of the scalars 1."""
    names = {t.name: t for p in parts.all for t in p.tensors.values() if t.name.startswith(ONE)}
    return [op.fill(t.name, t.space, 1, arch, 1) for t in names.values()]


def _x_region(parts: Parts) -> Region:
    """Return the place of one time step's input."""
    s = parts.inputs.slicing
    sizes = {i: parts.x.layout.sizes.get(i, 1) for i in parts.x.indices}
    if parts.x.sliced:
        sizes[s.index] = sizes[s.index] * s.count
        return Region(0, parts.x.indices, sizes, parts.x.layout, (s.index, s.count))
    return Region(0, parts.x.indices, sizes, parts.x.layout)


def _load_x(parts: Parts, region: Region, number: int, buffer: str, arch: Architecture) -> op.Op:
    """Return the LOAD of slice `number`, counted from the first of the loop's time step.

    Slices of the next time step are not loaded in the last one.
    """
    n_bytes = region.slice_elements(arch) * arch.element_bytes
    source = op.External(INPUT_BASE, number * n_bytes, STEP_REGISTER)
    ahead = number // region.sliced[1]
    return op.load(buffer, parts.x.space, parts.x.layout.extent, arch, source, ahead)


def _before(parts: Parts, x_region: Region, cell: op.Buffer, arch: Architecture) -> list[op.Op]:
    """Return what runs before the loop: state 0, the first inputs."""
    h = parts.h
    found = [
        op.fill(h.name, h.space, h.layout.extent, arch, 0),
        op.fill(cell.name, cell.space, cell.elements, arch, 0),
    ]
    for c in range(parts.x.slots):
        name = parts.x.buffer(c) if parts.x.sliced else copy_name("x", c)
        found.append(_load_x(parts, x_region, c, name, arch))
    return found


def _body(
    parts: Parts, x_region: Region, lstm: list[Lstm], cell: op.Buffer, arch: Architecture
) -> list[op.Op]:
    """Return one time step.

    It begins with the load of the next one's x; or each slice of x is followed by the load of one
    further on into the same place.
    """
    x = parts.x
    found = [] if x.sliced else [_load_x(parts, x_region, 1, NEXT_X, arch)]
    for step, piece, execution in op.executions(parts.inputs, arch, _addend(parts.biases["bias"])):
        found.append(execution)
        if x.sliced and x.name in (step.x, step.y):
            found.append(_load_x(parts, x_region, piece + x.slots, x.buffer(piece), arch))
    addend = parts.inputs.tensors["gates_input"]
    found += [e.op for e in op.executions(parts.hidden, arch, _addend(addend))]
    found.append(lstm_op(lstm, parts.gates, parts.h, cell.space, arch))
    return found


def _after(parts: Parts, arch: Architecture) -> tuple[list[op.Op], Region]:
    """Return what runs after the loop: the head, or a copy of h; and the place of the result."""
    if parts.head:
        found = [e.op for e in op.executions(parts.head, arch, _addend(parts.biases["head.bias"]))]
        result = parts.head.tensors["logits"]
    else:
        result = replace(parts.h, name=OUT)
        found = [_copy_h(parts.h, result, arch)]
    sizes = {i: result.layout.sizes.get(i, 1) for i in result.indices}
    target = op.External(OUTPUT_BASE)
    found.append(op.store(result.name, result.space, result.layout.extent, arch, target))
    return found, Region(0, result.indices, sizes, result.layout)


def _addend(tensor: Tensor) -> op.Addend:
    return op.Addend(tensor.name, tensor.space)


def _copy_h(h: Tensor, result: Tensor, arch: Architecture) -> op.Op:
    """Return a COPY of h, row by row, which a STORE can wait for."""
    rows = op.whole_vectors(h.layout.extent, arch) // arch.lanes

    def build(place: op.Place) -> list[UnitInstruction]:
        return [
            Copy(
                nl0=arch.lanes, loop_count=(rows, 1, 1, 1), loop_src=(arch.lanes, 0, 0, 0),
                loop_dst=(arch.lanes, 0, 0, 0), src_space=Space(h.space), dst_space=Space(h.space),
                src_base=place.bases[h.name], dst_base=place.bases[result.name], src_l0=1, dst_l0=1,
            )
        ]  # fmt: skip

    return op.Op("copy h", Unit.VECTOR, frozenset({h.name}), frozenset({result.name}), rows, build)


def _buffers(parts: Parts, cell: op.Buffer, arch: Architecture) -> list[op.Buffer]:
    """Return all buffers; only what the array alone uses may share its place."""
    found: dict[str, op.Buffer] = {cell.name: cell}
    for part in parts.all:
        for b in op.part_buffers(part, arch):
            found[b.name] = replace(b, permanent=b.permanent or b.name in ("gates", "logits"))
    for name, t in parts.biases.items():
        found[name] = op.Buffer(name, t.space, op.whole_vectors(t.layout.extent, arch))
    if not parts.x.sliced:
        found["x"] = replace(found["x"], toggled=True)
    if not parts.head:
        found[OUT] = replace(found["h"], name=OUT)
    return list(found.values())
