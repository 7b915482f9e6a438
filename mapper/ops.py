"""Operations: what a program does, before addresses, tokens and scales are known.

An operation is a few instructions of one unit that start together and end together. It names the
buffers that it reads and writes; order, tokens and addresses follow from these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from einchip.arch import Architecture
from einchip.mapper.emit import contracts
from einchip.mapper.errors import MappingError
from einchip.mapper.plan import Part, Step, Tensor
from einchip.numeric import ACT_IN_FRAC, ACT_OUT_FRAC
from einchip.program import Act, Contract, Fill, Load, Space, Store, Unit, UnitInstruction

#: Greatest right shift of an accumulator, and left shift of an addend.
MAX_SHIFT = 63


@dataclass(frozen=True)
class Buffer:
    """A range of a scratchpad. A toggled one exists twice and alternates by iteration.

    `reads`: cycles for which addends, the vector unit or STOREs read it in an iteration, which is
    what a place in a window is worth.
    """

    name: str
    space: int
    elements: int
    toggled: bool = False
    permanent: bool = True
    reads: int = 0


@dataclass(frozen=True)
class Place:
    """What operations need to become instructions: addresses, registers, fractional bits."""

    bases: Mapping[str, int]
    registers: Mapping[str, int] = field(default_factory=dict)
    fracs: Mapping[str, int] | None = None
    _made: dict[int, tuple[Op, list[UnitInstruction]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def instructions(self, op: Op) -> list[UnitInstruction]:
        """Return the instructions of an operation, which are made once."""
        if id(op) not in self._made:
            self._made[id(op)] = op, op.build(self)
        return self._made[id(op)][1]

    def register(self, buffer: str) -> int:
        """Return the sequencer register that is added to a buffer's address, 0 for none."""
        return self.registers.get(buffer, 0)

    def shift(self, operands: tuple[str, str], result: str, what: str) -> int:
        """Return by how much a product of two tensors is shifted to become `result`."""
        return self.shift_to(operands, self.frac(result), what, result)

    def shift_to(self, operands: tuple[str, str], frac: int, what: str, scale: str) -> int:
        """Return by how much a product of two tensors is shifted to have `frac` fractional bits."""
        if self.fracs is None:
            return 0
        shift = self.frac(operands[0]) + self.frac(operands[1]) - frac
        if not 0 <= shift <= MAX_SHIFT:
            raise MappingError(
                f"{what}: found fractional bits {self.frac(operands[0])} + "
                f"{self.frac(operands[1])} - {frac} = {shift}, expected 0 to {MAX_SHIFT}; "
                f"change the scale of {scale}"
            )
        return shift

    def frac(self, name: str) -> int:
        """Return the fractional bits of a tensor; the scalar 1 has none."""
        if name.startswith("@one"):
            return 0
        if self.fracs is None:
            return 0
        if name not in self.fracs:
            raise MappingError(f"fracs: found no fractional bits for {name}, expected a number")
        return self.fracs[name]


@dataclass(frozen=True)
class Op:
    """Instructions of one unit, with the buffers they touch and an estimate of their cycles.

    `reading`: cycles for which buffers are read as anything but an operand of the array.
    `disjoint`: none of its instructions reads what another one of them writes.
    """

    name: str
    unit: Unit
    reads: frozenset[str]
    writes: frozenset[str]
    cycles: int
    build: Callable[[Place], list[UnitInstruction]]
    result_latency: int = 0
    reading: Mapping[str, int] = field(default_factory=dict)
    disjoint: bool = False

    @property
    def buffers(self) -> frozenset[str]:
        """All buffers that are touched."""
        return self.reads | self.writes

    def into(self, buffer: str, other: str, offset: int) -> Op:
        """Return the same that writes another buffer, `offset` elements further."""
        writes = frozenset(other if b == buffer else b for b in self.writes)

        def build(place: Place) -> list[UnitInstruction]:
            bases = {**place.bases, buffer: place.bases[other] + offset}
            return self.build(replace(place, bases=bases))

        return replace(self, name=other, writes=writes, build=build)


def whole_vectors(elements: int, arch: Architecture) -> int:
    """Return `elements` rounded up to whole rows of banks (a whole number of beats too)."""
    return -(-elements // arch.lanes) * arch.lanes


def beats(elements: int, arch: Architecture) -> int:
    """Return the beats that whole rows of banks take."""
    return whole_vectors(elements, arch) // arch.port_elements


def load(
    buffer: str,
    space: int,
    elements: int,
    arch: Architecture,
    source: External,
    skip_last: int = 0,
) -> Op:
    """Return a LOAD of a whole buffer from external memory, skipped in a loop's last iterations."""
    n = beats(elements, arch)

    def build(place: Place) -> list[UnitInstruction]:
        return [
            Load(
                ext_base=source.base, ext_reg=source.register, ext_offset=source.offset,
                space=Space(space), addr=place.bases[buffer], addr_reg=place.register(buffer),
                beats=n, skip_last=skip_last,
            )
        ]  # fmt: skip

    return Op(f"load {buffer}", Unit.LOAD, frozenset(), frozenset({buffer}), n, build)


def store(buffer: str, space: int, elements: int, arch: Architecture, target: External) -> Op:
    """Return a STORE of a whole buffer to external memory."""
    n = beats(elements, arch)

    def build(place: Place) -> list[UnitInstruction]:
        return [
            Store(
                ext_base=target.base, ext_reg=target.register, ext_offset=target.offset,
                space=Space(space), addr=place.bases[buffer], addr_reg=place.register(buffer),
                beats=n,
            )
        ]  # fmt: skip

    return Op(
        f"store {buffer}", Unit.STORE, frozenset({buffer}), frozenset(), n, build,
        reading={buffer: n},
    )  # fmt: skip


def fill(buffer: str, space: int, elements: int, arch: Architecture, value: int) -> Op:
    """Return a FILL of a whole buffer with one value."""
    rows = whole_vectors(elements, arch) // arch.lanes

    def build(place: Place) -> list[UnitInstruction]:
        return [
            Fill(
                nl0=arch.lanes, loop_count=(rows, 1, 1, 1), loop_dst=(arch.lanes, 0, 0, 0),
                dst_space=Space(space), dst_base=place.bases[buffer], dst_l0=1, value=value,
            )
        ]  # fmt: skip

    return Op(f"fill {buffer}", Unit.VECTOR, frozenset(), frozenset({buffer}), rows, build)


@dataclass(frozen=True)
class External:
    """A place in external memory: host base, sequencer register, byte offset."""

    base: int
    offset: int = 0
    register: int = 0


class Addend(NamedTuple):
    """What a last step adds: a buffer with the result's strides, from an element of it on."""

    name: str
    space: int
    offset: int = 0


@dataclass(frozen=True)
class Portion:
    """Values of an index: run `number` of `n` equal ones."""

    index: str
    number: int
    n: int


def contract(
    part: Part,
    step: Step,
    piece: int,
    addend: Addend | None,
    arch: Architecture,
    act: Act = Act.NONE,
    portion: Portion | None = None,
    plain: Sequence[Contract] = (),
) -> Op:
    """Return one execution of a step, or a portion of it; `piece` is the slice.

    `plain` are its CONTRACTs without addresses, the same for each slice, where they are known.
    """
    x, y, z = (part.tensors[n] for n in (step.x, step.y, step.name))
    offsets = [_slice_offset(t, part, step, piece) for t in (x, y, z)]
    if portion:
        step, first = _portion_of(step, portion)
        offsets = [
            o + first * t.layout.stride(portion.index)
            for o, t in zip(offsets, (x, y, z), strict=True)
        ]
    plain = plain or contracts(step, x.layout, y.layout, z.layout)
    names = [t.buffer(piece) for t in (x, y, z)]
    extra = frozenset({addend.name}) if addend else frozenset[str]()

    def build(place: Place) -> list[UnitInstruction]:
        bx, by, bz = (place.bases[n] + o for n, o in zip(names, offsets, strict=True))
        shift, act_shift = _shifts(step, act, place)
        found: list[UnitInstruction] = []
        for c in plain:
            made = replace(
                c, x_base=c.x_base + bx, y_base=c.y_base + by, z_base=c.z_base + bz, shift=shift,
                x_reg=place.register(names[0]), y_reg=place.register(names[1]),
                z_reg=place.register(names[2]), z_space=Space(z.space), d_base=0, act=act,
                act_shift=act_shift,
            )  # fmt: skip
            if addend:
                made = _with_addend(made, c.d_base + offsets[2], step, addend, place)
            found.append(made)
        return found

    latency = max(c.tile_rows for c in plain) + arch.drain_latency + 8
    rows = sum(c.tiles * c.tile_rows for c in plain)
    return Op(
        f"{step.name}.{piece}" if step.executions > 1 else step.name,
        Unit.ARRAY, frozenset(names[:2]) | extra, frozenset(names[2:]),
        step.cycles - latency, build, latency, {addend.name: rows} if addend else {},
    )  # fmt: skip


def _portion_of(step: Step, portion: Portion) -> tuple[Step, int]:
    """Return the step over some values of an index, and the first of these."""
    n = step.extents[portion.index] // portion.n
    extents = {**step.extents, portion.index: n}
    return replace(step, extents=extents, cycles=step.cycles // portion.n), portion.number * n


def _shifts(step: Step, act: Act, place: Place) -> tuple[int, int]:
    """Return the shifts of the accumulator and of the activation's result."""
    operands = (step.x, step.y)
    if act in (Act.NONE, Act.RELU) or place.fracs is None:
        return place.shift(operands, step.name, step.name), 0
    act_shift = ACT_OUT_FRAC - place.frac(step.name)
    if not 0 <= act_shift <= ACT_OUT_FRAC:
        raise MappingError(
            f"{step.name}: found {place.frac(step.name)} fractional bits of an activation, "
            f"expected 0 to {ACT_OUT_FRAC}; change the scale of {step.name}"
        )
    return place.shift_to(operands, ACT_IN_FRAC, step.name, step.name), act_shift


def _with_addend(made: Contract, offset: int, step: Step, addend: Addend, place: Place) -> Contract:
    d_shift = place.shift((step.x, step.y), addend.name, f"{step.name}: addend {addend.name}")
    return replace(
        made, has_addend=1, d_space=Space(addend.space),
        d_base=place.bases[addend.name] + addend.offset + offset, d_shift=d_shift,
    )  # fmt: skip


def _slice_offset(tensor: Tensor, part: Part, step: Step, piece: int) -> int:
    """Return where slice `piece` of a whole tensor starts."""
    if step.executions == 1 or tensor.sliced or part.slicing.index not in tensor.indices:
        return 0
    return piece * step.extents[part.slicing.index] * tensor.layout.stride(part.slicing.index)


class Execution(NamedTuple):
    """One execution of a step: of slice `piece`, where the step is sliced."""

    step: Step
    piece: int
    op: Op


def executions(
    part: Part, arch: Architecture, addend: Addend | None = None, act: Act = Act.NONE
) -> list[Execution]:
    """Return the executions of all steps, each after those it needs: slice by slice.

    The last step adds `addend` and applies `act`.
    """
    last = max((k for k, s in enumerate(part.steps) if s.executions > 1), default=-1)
    sliced = [s for s in part.steps if s.executions > 1]
    before = [s for s in part.steps[: last + 1] if s.executions == 1]
    order = [(s, 0) for s in before]
    order += [(s, c) for c in range(part.slicing.count) for s in sliced]
    order += [(s, 0) for s in part.steps[last + 1 :]]
    layouts = {name: t.layout for name, t in part.tensors.items()}
    plain = {s.name: contracts(s, layouts[s.x], layouts[s.y], layouts[s.name]) for s in part.steps}
    found = []
    for s, c in order:
        added, applied = (addend, act) if s is part.steps[-1] else (None, Act.NONE)
        made = contract(part, s, c, added, arch, applied, plain=plain[s.name])
        found.append(Execution(s, c, made))
    return found


def part_buffers(part: Part, arch: Architecture) -> list[Buffer]:
    """Return the buffers of a part; inputs, slices, copies and what they copy are permanent.

    The array is in order, so that places can be used again; the vector unit is not in its order.
    """
    copied = {*part.copies, *part.copies.values()}
    found = []
    for t in part.tensors.values():
        pieces = min(t.slots, part.slicing.count) if t.sliced else 1
        for piece in range(pieces):
            elements = whole_vectors(t.layout.extent, arch)
            permanent = t.is_input or t.sliced or t.name in copied
            found.append(Buffer(t.buffer(piece), t.space, elements, False, permanent))
    return found


def reading(ops: Iterable[Op]) -> Counter[str]:
    """Return the cycles for which buffers are read as anything but an operand of the array."""
    found = Counter[str]()
    for op in ops:
        found.update(op.reading)
    return found


def touched(ops: Iterable[Op]) -> dict[str, tuple[int, int]]:
    """Return for each buffer the first and the last operation that touches it."""
    spans: dict[str, tuple[int, int]] = {}
    for k, op in enumerate(ops):
        for name in op.buffers:
            spans[name] = (spans.get(name, (k, k))[0], k)
    return spans
