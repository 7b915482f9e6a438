"""A folded network placed: loads, steps and the store in order, buffers with addresses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from einchip.arch import Architecture
from einchip.mapper import ops as op
from einchip.mapper import tree
from einchip.mapper.allocate import allocate
from einchip.mapper.image import Region
from einchip.mapper.layout import Layout
from einchip.mapper.plan import Part, Tensor
from einchip.mapper.programs import Programs, emitted
from einchip.mapper.schedule import schedule
from einchip.mapper.timeline import predict
from einchip.mapper.tokens import straight
from einchip.mapper.vector import Operand, copy_op, copy_sweeps
from einchip.mapper.wires import View, view
from einchip.program import Halt, Program


@dataclass(frozen=True)
class PlacedNetwork:
    """A part with its buffers placed and its operations in order; `setup` loads the residents."""

    part: Part
    setup: tuple[op.Op, ...]
    operations: tuple[op.Op, ...]
    bases: Mapping[str, int]

    def programs(self, fracs: Mapping[str, int] | None) -> Programs:
        """Return the programs of setup and run, with their tokens."""
        place = op.Place(self.bases, {}, fracs)
        setup = [i for o in self.setup for i in o.build(place)]
        run = emitted(self.operations, straight(self.operations), place)
        return Programs(Program((*setup, Halt())), Program((*run, Halt())))

    def cycles(self, arch: Architecture) -> int:
        """Return the predicted cycles of a run."""
        return predict(self.programs(None).run, arch)


def external_regions(part: Part, sizes: Mapping[str, int], arch: Architecture) -> dict[str, Region]:
    """Return the places in external memory of all inputs, then of the result."""
    regions: dict[str, Region] = {}
    at = 0
    result = part.tensors[part.result]
    for t in [t for t in part.tensors.values() if t.is_input] + [result]:
        if t.name.startswith(tree.ONE):
            continue
        whole = {i: sizes[i] for i in t.indices}
        sliced = (part.slicing.index, part.slicing.count) if t.sliced else ("", 1)
        regions[t.name] = Region(at, t.indices, whole, t.layout, sliced)
        at += regions[t.name].n_bytes(arch)
    return regions


def load_op(tensor: Tensor, piece: int, region: Region, arch: Architecture) -> op.Op:
    """Return the LOAD of an input, or of one slice of it."""
    n_bytes = region.slice_elements(arch) * arch.element_bytes
    source = op.External(0, region.offset + piece * n_bytes)
    return op.load(tensor.buffer(piece), tensor.space, tensor.layout.extent, arch, source)


def input_ops(
    part: Part, regions: Mapping[str, Region], arch: Architecture
) -> dict[tuple[str, int], op.Op]:
    """Return what brings each input (or slice of one) and each copy into its scratchpad."""
    found: dict[tuple[str, int], op.Op] = {}
    for t in part.tensors.values():
        if t.name.startswith(tree.ONE):
            found[t.name, 0] = op.fill(t.name, t.space, 1, arch, 1)
        elif t.is_input:
            for piece in range(part.slicing.count if t.sliced else 1):
                found[t.name, piece] = load_op(t, piece, regions[t.name], arch)
    for name, source in part.copies.items():
        found[name, 0] = relayout(part.tensors[source], part.tensors[name], arch)
    return found


def relayout(source: Tensor, target: Tensor, arch: Architecture) -> op.Op:
    """Return the copy of a whole tensor into another layout."""
    before, after = (axes(t.layout, source.indices) for t in (source, target))
    found = copy_sweeps(before, after, arch)
    ends = [Operand(t.name, t.space) for t in (source, target)]
    return copy_op(target.name, found, ends[0], ends[1], arch)


def axes(layout: Layout, indices: Sequence[str]) -> View:
    """Return a tensor's elements, row-major over its indices, as a vector."""
    return view([i for i in indices if i in layout.sizes], layout.sizes, layout)


def with_inputs(
    executions: Sequence[op.Execution], part: Part, inputs: Mapping[tuple[str, int], op.Op]
) -> list[op.Op]:
    """Return all executions, each after the loads of what it is the first to read."""
    left, found = dict(inputs), list[op.Op]()
    for step, piece, execution in executions:
        for tensor in (part.tensors[step.x], part.tensors[step.y]):
            load = left.pop((tensor.name, piece if tensor.sliced else 0), None)
            found += [load] if load else []
        found.append(execution)
    return found


def place_network(
    part: Part, regions: Mapping[str, Region], resident: Collection[str], arch: Architecture
) -> PlacedNetwork:
    """Order and place a whole program. Raises MappingError when it does not fit."""
    inputs = input_ops(part, regions, arch)
    setup = [o for (name, _), o in inputs.items() if name in resident]
    loaded = {key: o for key, o in inputs.items() if key[0] not in resident}
    result = part.tensors[part.result]
    target = op.External(0, regions[result.name].offset)
    last = op.store(result.name, result.space, result.layout.extent, arch, target)
    ordered = schedule([*with_inputs(op.executions(part, arch), part, loaded), last])
    names = {t.name for t in part.tensors.values() if t.is_input and not t.sliced}
    buffers = [
        replace(b, permanent=b.permanent and (b.name not in names or b.name in resident))
        for b in op.part_buffers(part, arch)
    ]
    lifetimes = {
        name: (0 if name in names else first, last)
        for name, (first, last) in op.touched(ordered).items()
    }
    bases = allocate(buffers, lifetimes, arch)
    return PlacedNetwork(part, tuple(setup), tuple(ordered), bases)
