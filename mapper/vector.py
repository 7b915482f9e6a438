"""Operations of the vector unit: cells over the hidden units, and copies between layouts."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple, TypeVar

import numpy as np

from einchip.accesses import operations, read_streams
from einchip.arch import Architecture
from einchip.mapper.emit import Loop, merge, pad_loops, unroll
from einchip.mapper.errors import MappingError
from einchip.mapper.factors import runs
from einchip.mapper.ops import Op, Place
from einchip.mapper.wires import Lanes, View, vector_lanes
from einchip.numeric import Ints
from einchip.program import VECTOR_LOOPS, Cell, Copy, Peephole, Space, Unit, UnitInstruction, Vector

V = TypeVar("V", bound=Vector)

#: Peephole weights of one unit.
N_PEEPHOLES = 3
#: Most fractional bits of what a cell reads and writes.
MAX_FRAC = 15


class Sweep(NamedTuple):
    """Vectors that cover all elements once, addresses relative to each operand's base."""

    counts: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]  # of each loop, one for each operand
    lanes: tuple[int, ...]
    lane_strides: tuple[tuple[int, ...], ...]
    bases: tuple[int, ...]
    first: int  # vectors before it

    @property
    def vectors(self) -> int:
        """Vectors of the sweep."""
        return prod(self.counts)

    def moved(self, steps: Sequence[int], vectors: int, times: int) -> Sweep:
        """Return the same so many times `steps` further in each operand, behind more vectors."""
        bases = tuple(b + times * s for b, s in zip(self.bases, steps, strict=True))
        return self._replace(bases=bases, first=self.first + times * vectors)

    def offsets(self, operand: int) -> Ints:
        """Return the offset of every element of an operand, (vectors, lanes)."""

        def grid(terms: Sequence[tuple[int, int]]) -> Ints:
            found = np.zeros(1, dtype=np.int64)
            for count, stride in terms:
                found = (np.arange(count)[:, None] * stride + found).ravel()
            return found

        loops = [(n, s[operand]) for n, s in zip(self.counts, self.strides, strict=True)]
        inner = [(n, s[operand]) for n, s in zip(self.lanes, self.lane_strides, strict=True)]
        return self.bases[operand] + grid(loops)[:, None] + grid(inner)


def sweeps(sizes: Sequence[int], lanes: Lanes, operands: Sequence[tuple[int, ...]]) -> list[Sweep]:
    """Return the vectors over some factors; `operands` gives for each operand its strides.

    Where a count of lanes does not divide its factor, the rest is a sweep of its own.
    """
    counts, n = dict(lanes), len(operands)
    laned = [p for p in range(len(sizes)) if counts.get(p, 1) > 1]
    strides = [tuple(o[p] for o in operands) for p in range(len(sizes))]
    found: list[Sweep] = []
    first = 0
    for parts in itertools.product(*(runs(sizes[p], counts[p]) for p in laned)):
        chosen = dict(zip(laned, parts, strict=True))
        loops = [
            Loop(
                chosen[p].iterations if p in chosen else sizes[p],
                tuple(s * counts.get(p, 1) for s in strides[p]),
            )
            for p in range(len(sizes))
        ]
        base = [sum(r.start * strides[p][t] for p, r in chosen.items()) for t in range(n)]
        kept, starts = unroll(merge(loops), VECTOR_LOOPS, n)
        nest = pad_loops(kept, VECTOR_LOOPS, n)
        for at in starts:
            found.append(
                Sweep(
                    tuple(loop.count for loop in nest), tuple(loop.strides for loop in nest),
                    tuple(chosen[p].lanes for p in laned), tuple(strides[p] for p in laned),
                    tuple(b + o for b, o in zip(base, at, strict=True)), first,
                )
            )  # fmt: skip
            first += found[-1].vectors
    return found


def _placed(made: V, sweep: Sweep, source: int, target: int) -> V:
    """Return an instruction with the loops, lanes and addresses of a sweep."""
    lanes: dict[str, int] = {}
    for k, (count, (src, dst)) in enumerate(
        zip(sweep.lanes, (s[:2] for s in sweep.lane_strides), strict=True)
    ):
        lanes |= {f"nl{k}": count, f"src_l{k}": src, f"dst_l{k}": dst}
    return replace(
        made, loop_count=sweep.counts, loop_src=tuple(s[0] for s in sweep.strides),
        loop_dst=tuple(s[1] for s in sweep.strides), src_base=source + sweep.bases[0],
        dst_base=target + sweep.bases[1], **lanes,
    )  # fmt: skip


def cycles(kind: type[Vector], vectors: int, arch: Architecture, apart: bool = False) -> int:
    """Estimate the cycles of an instruction from its launch to its last write.

    `apart`: source and state are read through different ports.
    """
    each = len(operations(kind, {"src": 0, "cell": int(apart)}, arch))
    return vectors * each + kind.LATENCY + 1


class Operand(NamedTuple):
    """A place of a cell: a buffer, its scratchpad, an offset into it, the name of its scale."""

    name: str
    space: int
    offset: int = 0


@dataclass(frozen=True)
class Pointwise:
    """One instruction class over all hidden units: what it reads, what it writes.

    `aux` is the second source (peephole weights, input part, candidate); `cell` the wide state.
    """

    kind: type[Cell]
    name: str
    sweeps: tuple[Sweep, ...]
    gate_stride: int
    source: Operand
    target: Operand
    cell: Operand
    aux: Operand | None = None

    @property
    def vectors(self) -> int:
        """Vectors of all sweeps."""
        return sum(s.vectors for s in self.sweeps)

    def op(self, arch: Architecture) -> Op:
        """Return the operation."""
        reads = {self.source.name, self.cell.name} | ({self.aux.name} if self.aux else set())
        writes = {self.target.name} | ({self.cell.name} if self.kind.WRITES_STATE else set())
        return Op(
            self.name, Unit.VECTOR, frozenset(reads), frozenset(writes),
            cycles(self.kind, self.vectors, arch, self._apart) - self.kind.LATENCY,
            lambda place: [self._instruction(s, place, arch) for s in self.sweeps],
            self.kind.LATENCY, self._reading(arch), disjoint=True,
        )  # fmt: skip

    def _reading(self, arch: Architecture) -> Counter[str]:
        """Return the reads of each operand's buffer."""
        operands = {"src": self.source, "aux": self.aux, "cell": self.cell}
        found = Counter[str]()
        for stream in read_streams(self.kind, arch):
            if operand := operands[stream]:
                found[operand.name] += self.vectors
        return found

    @property
    def _apart(self) -> bool:
        """Whether source and state are in different scratchpads; of windows nothing is known."""
        return self.source.space != self.cell.space

    @property
    def scales(self) -> tuple[str, ...]:
        """Names whose fractional bits the instruction holds."""
        operands = (self.source, self.target, self.cell, self.aux)
        return tuple(o.name for o in operands if o is not None)

    def _instruction(self, sweep: Sweep, place: Place, arch: Architecture) -> Cell:
        for name in self.scales:
            if not 0 <= place.frac(name) <= MAX_FRAC:
                raise MappingError(
                    f"{self.name}: {name}: found {place.frac(name)} fractional bits, expected 0 to "
                    f"{MAX_FRAC}; change the scale"
                )
        state = sweep.first * arch.cell_planes * arch.lanes
        made = self.kind(
            gate_stride=self.gate_stride, gate_frac=place.frac(self.source.name),
            hidden_frac=place.frac(self.target.name), cell_frac=place.frac(self.cell.name),
            src_space=Space(self.source.space), dst_space=Space(self.target.space),
            cell_space=Space(self.cell.space), cell_base=place.bases[self.cell.name] + state,
        )  # fmt: skip
        if self.aux:
            packed = sweep.first * N_PEEPHOLES * arch.lanes
            offset = packed if self.kind is Peephole else self.aux.offset + sweep.bases[0]
            made = replace(
                made, aux_space=Space(self.aux.space), aux_frac=place.frac(self.aux.name),
                aux_base=place.bases[self.aux.name] + offset,
            )  # fmt: skip
        source = place.bases[self.source.name] + self.source.offset
        return _placed(made, sweep, source, place.bases[self.target.name])


def copy_op(
    name: str, found: Sequence[Sweep], source: Operand, target: Operand, arch: Architecture
) -> Op:
    """Return the operation that copies the elements of some sweeps."""

    def build(place: Place) -> list[UnitInstruction]:
        plain = Copy(
            src_space=Space(source.space), src_reg=place.register(source.name),
            dst_space=Space(target.space), dst_reg=place.register(target.name),
        )  # fmt: skip
        src = place.bases[source.name] + source.offset
        dst = place.bases[target.name] + target.offset
        return [_placed(plain, s, src, dst) for s in found]

    vectors = sum(s.vectors for s in found)
    return Op(
        name, Unit.VECTOR, frozenset({source.name}), frozenset({target.name}),
        cycles(Copy, vectors, arch) - Copy.LATENCY, build, Copy.LATENCY, {source.name: vectors},
        source.name != target.name,
    )  # fmt: skip


def copy_sweeps(source: View, target: View, arch: Architecture) -> list[Sweep]:
    """Return the vectors of a copy between views of the same factors, in as few as there can be."""
    merged = merge(Loop(a.size, (a.stride, b.stride)) for a, b in zip(source, target, strict=True))
    sizes = [loop.count for loop in merged] or [1]
    strides = [loop.strides for loop in merged] or [(1, 1)]
    operands = (tuple(s[0] for s in strides), tuple(s[1] for s in strides))
    found = [dict(enumerate(o)) for o in operands]
    return sweeps(sizes, vector_lanes(sizes, found, arch.lanes), operands)


def peephole_addresses(found: Sequence[Sweep], numbers: int, arch: Architecture) -> Ints:
    """Return where the weights [3, hidden_size] lie: in the order in which the vectors read them.

    Operand `numbers` of the sweeps gives the number of each unit.
    """
    units = sum(s.vectors * prod(s.lanes) for s in found)
    at = np.zeros((N_PEEPHOLES, units), dtype=np.int64)
    for sweep in found:
        number = sweep.offsets(numbers)
        vector = sweep.first + np.arange(sweep.vectors)[:, None]
        lane = np.arange(number.shape[1])
        for q in range(N_PEEPHOLES):
            at[q, number] = (vector * N_PEEPHOLES + q) * arch.lanes + lane
    return at
