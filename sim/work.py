"""What each unit has to do for one instruction, as plain numbers: counts, lanes, spaces, faults.

A *fault* is the first access of a stream that leaves its scratchpad: the number of the access in
the stream's order and the address of its lowest offending lane.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from einchip import reference
from einchip.accesses import (
    VECTORS,
    Access,
    first_addresses,
    operations,
    read_streams,
    streams,
    vector_accesses,
)
from einchip.arch import Architecture
from einchip.numeric import Ints
from einchip.program import (
    WORD_BYTES,
    Act,
    Contract,
    Load,
    Store,
    UnitInstruction,
    Vector,
)
from einchip.reference import Host, check_first_addresses
from einchip.sim.ports import Span
from einchip.sim.run import SimulationError

BOUNDARY_BYTES = 4096
NEVER = 1 << 62


class Fault(NamedTuple):
    """The first access of a stream that is out of range."""

    access: int
    address: int


NO_FAULT = Fault(NEVER, 0)


@dataclass(frozen=True, slots=True)
class Work:
    """One instruction; jobs that see the same addresses may share it."""

    #: Fields of no influence on the time of an instruction that is not `faulty`, beyond the others.
    TIMELESS: ClassVar[frozenset[str]] = frozenset(("instruction",))

    pc: int
    instruction: UnitInstruction

    @property
    def faulty(self) -> bool:
        """Whether any access is out of range."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ContractWork(Work):
    """A CONTRACT: tiles of iterations, each drained in rows.

    An iteration takes `period` slots, the last of all only `passed`; `first` slots come before. Its
    first `passed` slots are issues, which read Y. X is read in the first `held` slots of the period
    before (`first` slots where there is none), or in the issue itself where none is held.

    `addend_port` is the read port of the addend, if there is one. Faults count the accesses of
    their stream.
    """

    TIMELESS = Work.TIMELESS | {"x_fault", "y_fault", "z_fault", "addend_fault", "faulty"}

    tiles: int
    iterations: int
    rows: int
    held: int
    passed: int
    first: int
    period: int
    x_lanes: int
    y_lanes: int
    row_lanes: int
    macs: int
    activates: bool
    z_space: int
    addend_port: int | None
    x_fault: Fault
    y_fault: Fault
    z_fault: Fault
    addend_fault: Fault
    faulty: bool

    @property
    def slots(self) -> int:
        """Slots of the whole instruction."""
        return self.first + (self.tiles * self.iterations - 1) * self.period + self.passed

    def first_issue(self, tile: int) -> int:
        """Return the slot in which a tile begins."""
        return self.first + tile * self.iterations * self.period

    @property
    def tile_slots(self) -> int:
        """Slots from a tile's first issue to its last one."""
        return (self.iterations - 1) * self.period + self.passed

    def n_reads(self, space: int) -> int:
        """Return how many vectors of X (0) or Y (1) the instruction reads."""
        return self.tiles * self.iterations * (self.passed if space else self.held)

    def read_slot(self, space: int, access: int) -> int:
        """Return the slot of a read of X (0) or Y (1)."""
        iteration, k = divmod(access, self.passed if space else self.held)
        early = self.period if self.first and not space else 0
        return max(0, self.first + iteration * self.period - early) + k

    def reading(self, space: int, slot: int) -> tuple[bool, int]:
        """Return whether a slot reads X (0) or Y (1), and the first slot of which that is not so.

        It may be later than the last one.
        """
        if not self.first:
            return True, NEVER
        if slot < self.first:
            return space == 0, self.first
        iteration, k = divmod(slot - self.first, self.period)
        reads = self.passed if space else self.held
        if not space and iteration == self.tiles * self.iterations - 1:
            reads = 0
        start = slot - k
        return (True, start + reads) if k < reads else (False, start + self.period)

    def reads_within(self, space: int, start: int, stop: int) -> Iterator[Span]:
        """Yield the slots of start .. stop - 1 that read X (0) or Y (1)."""
        while start < stop:
            reads, end = self.reading(space, start)
            if reads:
                yield start, min(end, stop)
            start = end


@dataclass(frozen=True, slots=True)
class VectorWork(Work):
    """A vector unit's instruction: its operations and writes of each vector, in order.

    An operation is the ports of its reads (that of a FILL reads nothing), and `read_faults` has of
    each read the first vector that is at fault. A write is its scratchpad, ready so many cycles
    after the vector's last operation as `latencies` says; `write_fault` counts those of all
    vectors. `overlaps` if it may launch while the one before it still writes, `likeness` what that
    one must have in common with it.
    """

    TIMELESS = Work.TIMELESS | {"read_faults", "write_fault"}

    vectors: int
    lanes: int
    operations: tuple[tuple[int, ...], ...]
    writes: tuple[int, ...]
    latencies: tuple[int, ...]
    activations: int
    read_faults: tuple[tuple[Fault, ...], ...]
    write_fault: Fault
    overlaps: bool
    likeness: tuple[Hashable, ...]

    @property
    def faulty(self) -> bool:
        faults = (*itertools.chain(*self.read_faults), self.write_fault)
        return any(fault is not NO_FAULT for fault in faults)


class Burst(NamedTuple):
    """One burst of the memory port."""

    address: int
    beats: int


@dataclass(frozen=True, slots=True)
class TransferWork(Work):
    """A LOAD or STORE: its bursts, and the beats that leave scratchpad or external memory."""

    #: Of the bursts only their lengths matter.
    TIMELESS = Work.TIMELESS | {"bursts", "fault", "bus_fault", "external"}

    space: int
    bursts: tuple[Burst, ...]
    fault: Fault
    bus_fault: int
    external: tuple[int, int]  # first byte, and the one after the last
    port: int  # of a STORE's reads

    @property
    def faulty(self) -> bool:
        return self.fault is not NO_FAULT or self.bus_fault != NEVER


def split_bursts(address: int, beats: int, arch: Architecture) -> tuple[Burst, ...]:
    """Return the bursts of a range: at most `burst_beats`, none across a 4 KiB boundary."""
    bursts = []
    while beats:
        to_boundary = (BOUNDARY_BYTES - address % BOUNDARY_BYTES) // arch.port_bytes
        n = min(beats, arch.burst_beats, to_boundary)
        bursts.append(Burst(address, n))
        address += n * arch.port_bytes
        beats -= n
    return tuple(bursts)


def prepare(step: reference.Step, arch: Architecture, host: Host, external_bytes: int) -> Work:
    """Return the work of one unit instruction.

    Raises MachineError for what RESOLVE checks: FIELD, ADDRESS, ALIGNMENT.
    """
    i = step.instruction
    if not isinstance(i, UnitInstruction):
        raise TypeError(f"{type(i).__name__} is no unit instruction")
    reference.check_fields(i, arch, step.pc)
    check_first_addresses(i, step.registers, arch)
    if isinstance(i, Contract):
        return _contract(i, step, arch)
    if isinstance(i, Load | Store):
        return _transfer(i, step, arch, host, external_bytes)
    if isinstance(i, VECTORS):
        return _vector(i, step, arch)
    raise TypeError(f"{type(i).__name__} is no unit instruction")


class _Stream(NamedTuple):
    """Accesses in order: first addresses of a nest, loop 0 fastest, plus the lanes' offsets."""

    space: int
    base: int
    counts: tuple[int, ...]
    strides: tuple[int, ...]
    lanes: Ints

    def fault(self, arch: Architecture) -> Fault:
        """Return the first access that leaves the scratchpad.

        Strides are never negative, so the largest address of a loop's body grows with the loop's
        index: from the outermost loop inwards, the first index that reaches too far is taken.
        """
        capacity = arch.capacity(self.space)
        inner = [(n - 1) * s for n, s in zip(self.counts, self.strides, strict=True)]
        reach, at, access = int(self.lanes.max()) + sum(inner), self.base, 0
        if at + reach < capacity:
            return NO_FAULT
        for k in reversed(range(len(inner))):
            reach -= inner[k]
            missing = capacity - at - reach
            index = -(-missing // self.strides[k]) if missing > 0 else 0
            at += index * self.strides[k]
            access = access * self.counts[k] + index
        addresses = at + self.lanes
        return Fault(access, int(addresses[np.argmax(addresses >= capacity)]))


def _contract(i: Contract, step: reference.Step, arch: Architecture) -> ContractWork:
    hold, tile, bases = i.n_hold, i.n_tile_loops, first_addresses(i, step.registers)
    offsets = dict(lane_offsets(i))
    rows = (i.nm0, i.nm1, *i.loop_count[:hold], *i.loop_count[tile:])
    row_strides = (i.zs_m0, i.zs_m1, *i.loop_z[:hold], *i.loop_z[tile:])
    vectors, strides = (i.nh, *i.loop_count[hold:]), (i.xs_h, *i.loop_x[hold:])
    faults = [
        _Stream(*bases[0], vectors, strides, offsets["x"]).fault(arch),
        _Stream(*bases[1], i.loop_count, i.loop_y, offsets["y"]).fault(arch),
        *(_Stream(*base, rows, row_strides, offsets["z"]).fault(arch) for base in bases[2:]),
    ]
    x_lanes, y_lanes = len(offsets["x"]), len(offsets["y"])
    activates = i.act in (Act.SIGMOID, Act.TANH)
    return ContractWork(
        step.pc, i, i.tiles, i.tile_iterations, i.tile_rows, i.nh, i.held_issues, i.first_slots,
        i.iteration_slots, x_lanes, y_lanes, len(offsets["z"]), x_lanes * i.n_n * i.nh, activates,
        i.z_space, arch.read_port(*bases[3]) if i.has_addend else None,
        faults[0], faults[1], faults[2], faults[3] if i.has_addend else NO_FAULT,
        any(f is not NO_FAULT for f in faults),
    )  # fmt: skip


def _vector(i: Vector, step: reference.Step, arch: Architecture) -> VectorWork:
    reads, writes = vector_accesses(i, step.registers, arch)
    bases = dict(zip(streams(i), first_addresses(i, step.registers), strict=True))
    of_stream = {stream: arch.read_port(*bases[stream]) for stream in bases}
    ports = [of_stream[stream] for stream in read_streams(i, arch)]
    faults = [_stream(access).fault(arch) for access in reads]
    numbers = operations(i, of_stream, arch)
    its_ports = tuple(tuple(ports[k] for k in its) for its in numbers)
    return VectorWork(
        step.pc, i, i.vectors, i.n_lanes, its_ports, tuple(a.space for a in writes),
        i.latencies(arch.cell_planes), i.ACTIVATIONS * i.n_lanes,
        tuple(tuple(faults[k] for k in its) for its in numbers), _first_of(writes, arch),
        bool(i.overlaps), (*i.likeness, its_ports),
    )  # fmt: skip


def _stream(a: Access) -> _Stream:
    counts, strides = zip(*a.temporal, strict=True)
    return _Stream(a.space, a.base, counts, strides, _offsets(*reversed(a.lanes)))


def _first_of(turns: tuple[Access, ...], arch: Architecture) -> Fault:
    """Return the first fault of accesses that take turns."""
    found = [NO_FAULT]
    for k, access in enumerate(turns):
        fault = _stream(access).fault(arch)
        if fault is not NO_FAULT:
            found.append(Fault(fault.access * len(turns) + k, fault.address))
    return min(found)


def _transfer(
    i: Load | Store,
    step: reference.Step,
    arch: Architecture,
    host: Host,
    external_bytes: int,
) -> TransferWork:
    external, address = reference.transfer_addresses(i, step.registers, arch, host, step.pc)
    room = (arch.capacity(i.space) - address) // arch.port_elements
    fault = Fault(room, arch.capacity(i.space)) if room < i.beats else NO_FAULT
    bus_fault = max(0, external_bytes - external) // arch.port_bytes
    return TransferWork(
        step.pc, i, i.space, split_bursts(external, i.beats, arch), fault,
        bus_fault if bus_fault < i.beats else NEVER,
        (external, external + i.beats * arch.port_bytes),
        arch.read_port(i.space, address) if isinstance(i, Store) else 0,
    )  # fmt: skip


def program_fetch(n_words: int, address: int, arch: Architecture) -> tuple[Burst, ...]:
    """Return the bursts of a program fetch."""
    return split_bursts(address, n_words * WORD_BYTES // arch.port_bytes, arch)


def check_banks(work: Work, arch: Architecture) -> None:
    """Check that the enabled lanes of every access of an instruction lie in different banks.

    The lanes' offsets do not change from access to access, so one check per stream is enough.
    Raises SimulationError naming the stream.
    """
    for name, offsets in lane_offsets(work.instruction):
        if len(np.unique(offsets % arch.lanes)) < len(offsets):
            raise SimulationError(
                f"word {work.pc}: {type(work.instruction).__name__}: two lanes of {name} lie in "
                f"one bank (of {arch.lanes}); change its strides"
            )


@lru_cache(maxsize=4096)
def lane_offsets(i: UnitInstruction) -> tuple[tuple[str, Ints], ...]:
    """Return the offsets of each stream's lanes, lane 0 first; the others are consecutive."""
    if isinstance(i, Contract):
        return (
            ("x", _offsets((i.nk1, i.xs_k1), (i.nk0, i.xs_k0), (i.nb, i.xs_b),
                           (i.nm1, i.xs_m1), (i.nm0, i.xs_m0))),
            ("y", _offsets((i.nk1, i.ys_k1), (i.nk0, i.ys_k0), (i.nb, i.ys_b),
                           (i.nn1, i.ys_n1), (i.nn0, i.ys_n0))),
            ("z", _offsets((i.nb, i.zs_b), (i.nn1, i.zs_n1), (i.nn0, i.zs_n0), (i.nh, i.zs_h))),
        )  # fmt: skip
    if isinstance(i, VECTORS):  # those of aux are the source's, those of state and packed rows
        return tuple(
            (n, _offsets((i.nl1, getattr(i, f"{n}_l1")), (i.nl0, getattr(i, f"{n}_l0"))))
            for n in streams(i)
            if n in ("src", "dst")
        )
    return ()


def _offsets(*factors: tuple[int, int]) -> Ints:
    """Return all sums of one multiple per (count, stride), the last factor's fastest."""
    total = np.zeros(1, dtype=np.int64)
    for count, stride in factors:
        total = (total[:, None] + np.arange(count, dtype=np.int64) * stride).ravel()
    return total
