"""Which scratchpad elements and external bytes an instruction reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from einchip import reference
from einchip.accesses import VECTORS, first_addresses, vector_accesses
from einchip.arch import Architecture
from einchip.numeric import Ints
from einchip.program import Contract, Load, Store, UnitInstruction, Vector
from einchip.sim.run import Executed

Bits = NDArray[np.uint8]
#: The number that stands for external memory, behind those of the scratchpads.
EXTERNAL = 2


class Access(NamedTuple):
    """One stream of an instruction: row r of `addresses` is accessed in order `order[r]`.

    The machine makes every read of order o before every write of order o or more; whether before or
    after a write of a lower order depends on the pipeline.
    """

    space: int
    addresses: Ints
    order: Ints
    write: bool


@dataclass(frozen=True)
class Footprint:
    """Elements read and written, per scratchpad, one bit each.

    `loaded` and `stored`: first external byte read (written), and the one after the last.
    """

    reads: tuple[Bits, Bits]
    writes: tuple[Bits, Bits]
    loaded: tuple[int, int] = (0, 0)
    stored: tuple[int, int] = (0, 0)

    def meets(self, other: Footprint, reads_of_other_only: bool = False) -> tuple[int, int] | None:
        """Return the (space, address) of what both access, at least one writing it.

        With `reads_of_other_only`, of what this writes and the other reads.
        """
        for space in (0, 1):
            pairs = [(self.writes, other.reads)]
            if not reads_of_other_only:
                pairs += [(self.writes, other.writes), (self.reads, other.writes)]
            for mine, theirs in pairs:
                common = mine[space] & theirs[space]
                if common.any():
                    return space, int(np.argmax(np.unpackbits(common)))
        ranges = [(self.stored, other.loaded)]
        if not reads_of_other_only:
            ranges += [(self.stored, other.stored), (self.loaded, other.stored)]
        for one, two in ranges:
            first = max(one[0], two[0])
            if first < min(one[1], two[1]):
                return EXTERNAL, first
        return None


def key(e: Executed) -> tuple[object, ...]:
    """Return what decides an instruction's footprint, apart from its fields."""
    return (*first_addresses(e.instruction, e.registers), e.external)


def footprint(e: Executed, arch: Architecture) -> Footprint:
    """Return all that an instruction touches."""
    masks = {write: [np.zeros(arch.capacity(s), dtype=bool) for s in (0, 1)] for write in (0, 1)}
    for a in accesses(e.instruction, e.registers, arch):
        masks[a.write][a.space][a.addresses] = True
    packed = {w: (np.packbits(m[0]), np.packbits(m[1])) for w, m in masks.items()}
    if isinstance(e.instruction, Store):
        return Footprint(packed[0], packed[1], stored=e.external)
    return Footprint(packed[0], packed[1], loaded=e.external)


def accesses(i: UnitInstruction, registers: tuple[int, ...], arch: Architecture) -> list[Access]:
    """Return the streams of an instruction."""
    if isinstance(i, Contract):
        return _contract(i, registers)
    if isinstance(i, VECTORS):
        return _vector(i, registers, arch)
    if isinstance(i, Load | Store):
        _, start = first_addresses(i, registers)[0]
        addresses = start + np.arange(i.beats * arch.port_elements, dtype=np.int64)
        return [
            Access(i.space, addresses[None, :], np.zeros(1, dtype=np.int64), isinstance(i, Load))
        ]
    raise TypeError(f"{type(i).__name__} accesses no scratchpad")


def _contract(i: Contract, registers: tuple[int, ...]) -> list[Access]:
    """A tile's operands are read before its rows drain; each addend before its row is written."""
    a = reference.contract_addresses(i, registers)
    rows = np.arange(i.tiles * i.tile_rows)
    z, d = (np.moveaxis(v, 4, 2).reshape(len(rows), -1) for v in (a.z, a.d))
    found = [
        Access(0, a.x.reshape(i.tiles, -1), rows[:: i.tile_rows], False),
        Access(1, a.y.reshape(i.tiles, -1), rows[:: i.tile_rows], False),
        Access(i.z_space, z, rows, True),
    ]
    if i.has_addend:
        found.append(Access(i.d_space, d, rows, False))
    return found


def _vector(i: Vector, registers: tuple[int, ...], arch: Architecture) -> list[Access]:
    """Each vector is read before it is written."""
    reads, writes = vector_accesses(i, registers, arch)
    order = np.arange(i.vectors)
    return [Access(a.space, a.addresses(), order, a.write) for a in (*reads, *writes)]


def overlaps_itself(
    i: UnitInstruction, registers: tuple[int, ...], arch: Architecture
) -> tuple[int, int] | None:
    """Return (space, address) of an element that may be read before or after it is written.

    Such an element is written by a lower order than the highest that reads it.
    """
    streams = accesses(i, registers, arch)
    for space in (0, 1):
        here = [a for a in streams if a.space == space]
        if {a.write for a in here} != {False, True}:
            continue
        last_read = np.full(arch.capacity(space), -1, dtype=np.int64)
        first_write = np.full(arch.capacity(space), np.iinfo(np.int64).max, dtype=np.int64)
        for a in here:
            if a.write:
                np.minimum.at(first_write, a.addresses, a.order[:, None])
            else:
                np.maximum.at(last_read, a.addresses, a.order[:, None])
        bad = first_write < last_read
        if bad.any():
            return space, int(np.argmax(bad))
    return None
