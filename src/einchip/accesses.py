"""Which scratchpad elements an instruction touches: strided accesses, derived from its fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from einchip.arch import Architecture
from einchip.numeric import Ints
from einchip.program import (
    REGISTER_BITS,
    Contract,
    Copy,
    Fill,
    Gru,
    GruReset,
    GruUpdate,
    Load,
    Lstm,
    Peephole,
    Read,
    Store,
    UnitInstruction,
    Vector,
)

#: Accesses whose offsets are kept: the time steps of a sequence use the same ones.
OFFSET_CACHE: Final = 512
#: The stream (`streams`) in which each source of a `Read` lies.
_SOURCE_STREAMS: Final = {"src": "src", "aux": "aux", "packed": "aux", "state": "cell"}
#: The classes of `Vector`, for isinstance.
VECTORS: Final = (Lstm, Peephole, Gru, GruReset, GruUpdate, Copy, Fill)
_MASK: Final = (1 << REGISTER_BITS) - 1

Terms = tuple[tuple[int, int], ...]
"""Pairs (count, stride), the first one's index fastest."""


class Access(NamedTuple):
    """One strided access of an instruction: scratchpad, first address, temporal and lane terms.

    It touches base + sum_t i_t * stride_t, in one cycle all that differ in the lanes' indices only.
    """

    what: str
    space: int
    base: int
    temporal: Terms
    lanes: Terms
    write: bool

    @property
    def last(self) -> int:
        """The greatest address touched (strides are never negative)."""
        return self.base + sum((n - 1) * s for n, s in (*self.temporal, *self.lanes))

    def addresses(self) -> Ints:
        """Return every address, one row for each temporal index, one column for each lane."""
        return self.base + _offsets(self.temporal)[:, None] + _offsets(self.lanes)

    def elements(self) -> set[int]:
        """Return every address touched."""
        found = {self.base}
        for count, stride in (*self.temporal, *self.lanes):
            found = {a + k * stride for k in range(count) for a in found}
        return found

    def residues(self, n_banks: int) -> list[int]:
        """Return the bank of every lane, relative to the first lane's."""
        return [int(r) for r in _offsets(self.lanes) % n_banks]


@lru_cache(maxsize=OFFSET_CACHE)
def _offsets(terms: Terms) -> Ints:
    """Return sum_t i_t * stride_t for all indices, flat, the first term's index fastest."""
    total = np.zeros(1, dtype=np.int64)
    for count, stride in reversed(terms):
        total = (total[:, None] + np.arange(count, dtype=np.int64) * stride).ravel()
    total.flags.writeable = False
    return total


def first(base: int, reg: int, registers: tuple[int, ...]) -> int:
    """Return an instruction's first address: its base field plus a register, modulo 2**32."""
    return (base + registers[reg]) & _MASK


def streams(i: UnitInstruction) -> list[str]:
    """Return the names of an instruction's address fields, in the order of RESOLVE's checks.

    `x_base` and `x_reg` make the first address of stream "x" and so on; that of a transfer is "".
    """
    if isinstance(i, Contract):
        return ["x", "y", "z", *(["d"] if i.has_addend else [])]
    if not isinstance(i, VECTORS):
        return [""]
    sources = {read.source for read in i.READS}
    found = [*(["src"] if "src" in sources else []), "dst"]
    found += ["cell"] if "state" in sources else []
    return found + (["aux"] if sources & {"aux", "packed"} else [])


def first_addresses(i: UnitInstruction, registers: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return (space, first address) of every stream of an instruction, in the order of checks."""
    if isinstance(i, Load | Store):
        return [(i.space, first(i.addr, i.addr_reg, registers))]
    return [_first_of(i, name, registers) for name in streams(i)]


def _first_of(i: UnitInstruction, name: str, registers: tuple[int, ...]) -> tuple[int, int]:
    space = {"x": 0, "y": 1}.get(name)
    if space is None:
        space = getattr(i, f"{name}_space")
    return space, first(getattr(i, f"{name}_base"), getattr(i, f"{name}_reg"), registers)


def read_streams(kind: Vector | type[Vector], arch: Architecture) -> list[str]:
    """Return the stream of each read of a vector, in order: the state's once for every plane."""
    return [
        _SOURCE_STREAMS[read.source]
        for read in kind.READS
        for _ in range(arch.cell_planes if read.source == "state" else 1)
    ]


def operations(
    kind: Vector | type[Vector], ports: Mapping[str, int], arch: Architecture
) -> tuple[tuple[int, ...], ...]:
    """Return the micro-operations of a vector: of each the numbers of its reads, or none (FILL).

    `ports` are the read ports of the streams. A micro-operation has one read, or two where the
    state is read beside the source (`STATE_BESIDE`).
    """
    n, planes = len(read_streams(kind, arch)), arch.cell_planes
    if not (kind.STATE_BESIDE and ports["cell"] != ports["src"]):
        return tuple((k,) for k in range(n)) or ((),)
    return tuple((k, planes + k) if k < planes else (planes + k,) for k in range(n - planes))


class VectorAccesses(NamedTuple):
    """The accesses of one vector, each once per vector, in order; the state plane by plane."""

    reads: tuple[Access, ...]
    writes: tuple[Access, ...]


def vector_accesses(i: Vector, registers: tuple[int, ...], arch: Architecture) -> VectorAccesses:
    """Return what an instruction of the vector unit reads and writes, from its class's READS."""
    reads = tuple(a for read in i.READS for a in _reads(i, read, registers, arch))
    space, base = _first_of(i, "dst", registers)
    loops = tuple(zip(i.loop_count, i.loop_dst, strict=True))
    lanes = ((i.nl0, i.dst_l0), (i.nl1, i.dst_l1))
    target = Access("destination", space, base, loops, lanes, True)
    state = (a._replace(write=True) for a in _state(i, registers, arch) if i.WRITES_STATE)
    return VectorAccesses(reads, (*state, target))


def _reads(
    i: Vector, read: Read, registers: tuple[int, ...], arch: Architecture
) -> Iterator[Access]:
    if read.source == "state":
        yield from _state(i, registers, arch)
    elif read.source == "packed":
        n = sum(r.source == "packed" for r in i.READS)
        space, base = _first_of(i, "aux", registers)
        yield _rows("packed source", space, base, i, n, read.gate, arch)
    else:
        space, base = _first_of(i, read.source, registers)
        what = "source" if read.source == "src" else "second source"
        loops = tuple(zip(i.loop_count, i.loop_src, strict=True))
        lanes = ((i.nl0, i.src_l0), (i.nl1, i.src_l1))
        yield Access(what, space, base + read.gate * i.gate_stride, loops, lanes, False)


def _state(i: Vector, registers: tuple[int, ...], arch: Architecture) -> Iterator[Access]:
    space, base = _first_of(i, "cell", registers)
    for plane in range(arch.cell_planes):
        yield _rows("state", space, base, i, arch.cell_planes, plane, arch)


def _rows(
    what: str, space: int, base: int, i: Vector, n: int, k: int, arch: Architecture
) -> Access:
    """Return the access of row k of the n rows of `lanes` elements that each vector has."""
    rows = ((i.vectors, n * arch.lanes),)
    return Access(what, space, base + k * arch.lanes, rows, ((i.n_lanes, 1),), False)


def _contract(i: Contract, r: tuple[int, ...]) -> Iterator[Access]:
    bases = {name: _first_of(i, name, r) for name in streams(i)}
    m, k = ((i.nm0, i.xs_m0), (i.nm1, i.xs_m1)), ((i.nk0, i.xs_k0), (i.nk1, i.xs_k1))
    hold, tile = i.n_hold, i.n_tile_loops
    x = ((i.nh, i.xs_h), *zip(i.loop_count[hold:], i.loop_x[hold:], strict=True))
    yield Access("X operand", *bases["x"], x, (*m, *k, (i.nb, i.xs_b)), False)
    n, k = ((i.nn0, i.ys_n0), (i.nn1, i.ys_n1)), ((i.nk0, i.ys_k0), (i.nk1, i.ys_k1))
    y = tuple(zip(i.loop_count, i.loop_y, strict=True))
    yield Access("Y operand", *bases["y"], y, (*n, *k, (i.nb, i.ys_b)), False)
    loops = tuple(zip(i.loop_count, i.loop_z, strict=True))
    rows = ((i.nm0, i.zs_m0), (i.nm1, i.zs_m1), *loops[:hold], *loops[tile:])
    lanes = ((i.nh, i.zs_h), (i.nn0, i.zs_n0), (i.nn1, i.zs_n1), (i.nb, i.zs_b))
    yield Access("result", *bases["z"], rows, lanes, True)
    if i.has_addend:
        yield Access("addend", *bases["d"], rows, lanes, False)


def accesses(i: UnitInstruction, registers: tuple[int, ...], arch: Architecture) -> list[Access]:
    """Return every scratchpad access of an executed instruction."""
    if isinstance(i, Contract):
        return list(_contract(i, registers))
    if isinstance(i, Load | Store):
        beats, lanes = ((i.beats, arch.port_elements),), ((arch.port_elements, 1),)
        return [
            Access("transfer", *first_addresses(i, registers)[0], beats, lanes, isinstance(i, Load))
        ]
    if isinstance(i, VECTORS):
        reads, writes = vector_accesses(i, registers, arch)
        return [*reads, *writes]
    raise TypeError(f"{type(i).__name__} accesses no scratchpad")
