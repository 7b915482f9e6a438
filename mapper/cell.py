"""The LSTM's pointwise part: how units lie on vectors, and the instructions for it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from einchip.arch import LSTM_LATENCY, Architecture
from einchip.mapper.emit import Loop, Run, merge, pad_loops, runs, unroll
from einchip.mapper.errors import MappingError
from einchip.mapper.lanes import Factor, group_options
from einchip.mapper.layout import Layout
from einchip.mapper.ops import Op, Place
from einchip.mapper.plan import Tensor
from einchip.program import VECTOR_LOOPS, Lstm, Space, Unit, UnitInstruction

GATE = "@gate"
N_GATES = 4


@dataclass(frozen=True)
class Units:
    """The hidden units as factors, slowest first: names in the gates and in h, and sizes."""

    gates: tuple[str, ...]
    hidden: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def all_sizes(self) -> dict[str, int]:
        """Sizes of the indices of the gates and of h, the gate included."""
        own = dict(zip(self.gates, self.sizes, strict=True))
        return {GATE: N_GATES, **own, **dict(zip(self.hidden, self.sizes, strict=True))}

    def in_hidden(self, lanes: tuple[Factor, ...]) -> tuple[Factor, ...]:
        """Return lanes of the gates as lanes of h."""
        names = dict(zip(self.gates, self.hidden, strict=True))
        return tuple(Factor(names[f.index], f.count) for f in lanes)


def lane_choices(units: Units, arch: Architecture) -> list[tuple[Factor, ...]]:
    """Return the ways to put units on lanes, those with the fewest vectors first."""
    options = sorted(group_options(units.sizes, arch.lanes), key=lambda o: (o.steps, o.tails))
    return [tuple(Factor(units.gates[p], c) for p, c in o.factors) for o in options]


def lstm_instructions(
    units: Units, lanes: tuple[Factor, ...], gates: Layout, hidden: Layout, arch: Architecture
) -> list[Lstm]:
    """Return the LSTM instructions, all addresses relative to the bases of their tensors."""
    counts = {f.index: f.count for f in lanes}
    laned = [i for i in units.gates if i in counts]
    size = units.all_sizes
    found: list[Lstm] = []
    cell = 0
    for parts in itertools.product(*(runs(size[i], counts[i]) for i in laned)):
        chosen = dict(zip(laned, parts, strict=True))
        loops, base = [], [0, 0]
        for g, h in zip(units.gates, units.hidden, strict=True):
            run = chosen.get(g, Run(0, size[g], 1))
            strides = (gates.stride(g), hidden.stride(h))
            loops.append(Loop(run.iterations, tuple(s * counts.get(g, 1) for s in strides)))
            base = [b + run.start * s for b, s in zip(base, strides, strict=True)]
        kept, offsets = unroll(merge(loops), VECTOR_LOOPS, 2)
        plain = _vector(units, laned, chosen, gates, hidden)
        nest = pad_loops(kept, VECTOR_LOOPS, 2)
        for at in offsets:
            found.append(_placed(plain, nest, [b + o for b, o in zip(base, at, strict=True)], cell))
            cell += prod(n.count for n in kept) * arch.cell_planes * arch.lanes
    return found


def _vector(
    units: Units, laned: list[str], chosen: Mapping[str, Run], gates: Layout, hidden: Layout
) -> dict[str, int]:
    """Return the lane fields."""
    names = dict(zip(units.gates, units.hidden, strict=True))
    fields = {"gate_stride": gates.stride(GATE)}
    for k, index in enumerate(laned):
        fields[f"nl{k}"] = chosen[index].lanes
        fields[f"src_l{k}"] = gates.stride(index)
        fields[f"dst_l{k}"] = hidden.stride(names[index])
    return fields


def _placed(fields: Mapping[str, int], nest: list[Loop], base: list[int], cell: int) -> Lstm:
    return Lstm(
        loop_count=tuple(n.count for n in nest), loop_src=tuple(n.strides[0] for n in nest),
        loop_dst=tuple(n.strides[1] for n in nest), src_base=base[0], dst_base=base[1],
        cell_base=cell, **fields,
    )  # fmt: skip


def cell_elements(instructions: list[Lstm], arch: Architecture) -> int:
    """Return the elements that the cell states take."""
    return sum(i.vectors for i in instructions) * arch.cell_planes * arch.lanes


def lstm_op(
    instructions: list[Lstm], gates: Tensor, hidden: Tensor, cell_space: int, arch: Architecture
) -> Op:
    """Return the pointwise part of one time step."""

    def build(place: Place) -> list[UnitInstruction]:
        return [_with_addresses(i, gates, hidden, cell_space, place, arch) for i in instructions]

    vectors = sum(i.vectors for i in instructions)
    return Op(
        "lstm", Unit.VECTOR, frozenset({gates.name, "cell"}), frozenset({hidden.name, "cell"}),
        lstm_cycles(vectors, arch) - LSTM_LATENCY, build, LSTM_LATENCY,
    )  # fmt: skip


def lstm_cycles(vectors: int, arch: Architecture) -> int:
    """Estimate the cycles of an LSTM from its launch to its last write."""
    return vectors * (4 + arch.cell_planes) + LSTM_LATENCY + arch.cell_planes + 1


def _with_addresses(
    i: Lstm, gates: Tensor, hidden: Tensor, cell_space: int, place: Place, arch: Architecture
) -> Lstm:
    gate, cell, out = (place.frac(n) for n in (gates.name, "cell", hidden.name))
    for name, frac in ((gates.name, gate), ("cell", cell), (hidden.name, out)):
        if not 0 <= frac <= 15:
            raise MappingError(f"lstm: {name}: found {frac}, expected 0 to 15; change the scale")
    return replace(
        i, gate_frac=gate, cell_frac=cell, hidden_frac=out,
        src_space=Space(gates.space), src_base=place.bases[gates.name] + i.src_base,
        dst_space=Space(hidden.space), dst_base=place.bases[hidden.name] + i.dst_base,
        cell_space=Space(cell_space), cell_base=place.bases["cell"] + i.cell_base,
    )  # fmt: skip
