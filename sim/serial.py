"""The simulator of a serial machine: one instruction after the other (docs/serial.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from einchip import numeric, reference, serial
from einchip.accesses import VECTORS, read_streams, vector_accesses
from einchip.arch import Architecture
from einchip.numeric import Ints
from einchip.program import (
    TOKENS,
    WORD_BYTES,
    Act,
    Contract,
    EndLoop,
    Error,
    Give,
    Gru,
    GruReset,
    GruUpdate,
    Halt,
    Load,
    Loop,
    Lstm,
    Peephole,
    Program,
    SetRegister,
    Store,
    Sync,
    UnitInstruction,
    Vector,
)
from einchip.reference import Host, MachineError
from einchip.registers import COUNTERS
from einchip.serial import shifts
from einchip.sim.run import Executed, Run
from einchip.sim.walker import Walker, registers_of
from einchip.sim.work import BOUNDARY_BYTES, split_bursts

#: The reads of an element of each class, in the order of the microprogram: "src 2" is gate 2.
_ORDER: dict[type[Vector], tuple[str, ...]] = {
    Lstm: ("src 0", "src 1", "src 3", "src 2", "state", "write", "dst"),
    Peephole: (
        "state", "packed 0", "src 0", "packed 1", "src 1", "src 2", "write", "packed 2", "src 3",
        "dst",
    ),
    Gru: ("src 0", "aux 0", "src 1", "aux 1", "src 2", "aux 2", "state", "write", "dst"),
    GruReset: ("src 0", "state", "dst"),
    GruUpdate: ("src 0", "aux 0", "state", "write", "dst"),
}  # fmt: skip


@dataclass(frozen=True)
class _Cost:
    """What an instruction takes behind NEXT: cycles, and what its counters rise by.

    `launch`, `completion`: cycles behind its first one; `external`: as of `Executed`.
    """

    cycles: int
    counted: Counter[str]
    launch: int = 0
    completion: int = 0
    external: tuple[int, int] = (0, 0)


def simulate(
    program: Program,
    arch: Architecture,
    host: Host,
    external_bytes: int,
    latency: int,
    fetch: bool,
    program_address: int,
) -> Run:
    """Run a program; see `machine.simulate`. The timeline is always there."""
    return _Machine(program, arch, host, external_bytes, max(1, latency)).run(
        fetch, program_address
    )


class _Machine:
    def __init__(
        self, program: Program, arch: Architecture, host: Host, external_bytes: int, latency: int
    ) -> None:
        self.program, self.arch, self.host = program, arch, host
        self.external_bytes, self.latency = external_bytes, latency
        self.walker = Walker(program, host)
        self.counted: Counter[str] = Counter()
        self.timeline: list[Executed] = []
        self.given = [[0] * TOKENS]
        self._costs: dict[tuple[int, ...], _Cost] = {}
        self._used: dict[int, tuple[int, ...]] = {}  # registers that an instruction reads

    def run(self, fetch: bool, program_address: int) -> Run:
        """Run to the end."""
        t = 0
        try:
            t = self._start(fetch, program_address)
            while True:
                pc, i, skipped = self.walker.take()
                self.counted["instructions"] += 1
                t += serial.NEXT
                if isinstance(i, Halt):
                    return self._result(t + 1, None)
                t += self._execute(pc, i, skipped, t)
        except MachineError as error:
            return self._result(t + 1, (error.code, error.address))

    def _result(self, cycles: int, error: tuple[Error, int] | None) -> Run:
        n = self.counted
        n["cycles"] = cycles
        n["array_idle"] = cycles - sum(
            n[f"array_{k}"] for k in ("issue", "stall_port", "stall_setup")
        )
        n["vector_idle"] = cycles - sum(
            n[f"vector_{k}"] for k in ("issue", "stall_port", "stall_setup")
        )
        for unit in ("load", "store"):
            busy = sum(n[f"{unit}_{k}"] for k in ("transfer", "stall_port", "stall_memory"))
            n[f"{unit}_idle"] = cycles - busy
        counters = {c.name: n[c.name] for c in COUNTERS}
        given = tuple(tuple(g) for g in self.given)
        return Run(cycles, counters, error, self.timeline, given)

    def _start(self, fetch: bool, program_address: int) -> int:
        """Return the cycle in which the first instruction begins."""
        arch, n_words = self.arch, self.program.n_words
        if n_words > arch.program_words:
            raise MachineError(Error.FIELD, 0)
        if not fetch:
            return serial.START
        if not n_words:
            raise MachineError(Error.NO_HALT, 0)
        if program_address % WORD_BYTES:
            raise MachineError(Error.ALIGNMENT, 0)
        beats = n_words * WORD_BYTES // arch.port_bytes
        moved, waits = self._bursts(program_address, beats, loads=True)
        before = serial.FETCH[arch.port_bytes]
        loading = before - serial.FETCH_LOADING + moved + serial.TRANSFER_END - 1
        self._count_transfer(self.counted, "load", loading, beats, waits)
        return serial.START_FETCH + before + moved + serial.TRANSFER_END

    # --- instructions ----------------------------------------------------------------------
    def _execute(self, pc: int, i: object, skipped: bool, t: int) -> int:
        """Execute an instruction that was told by cycle t; return its cycles."""
        if skipped:
            return serial.TRANSFER_SKIPPED
        if isinstance(i, UnitInstruction):
            return self._execute_unit(pc, i, t)
        turns = self.walker.turns
        self.walker.execute()
        if isinstance(i, Loop):
            return serial.LOOP_BY_ARGUMENT if i.arg else serial.LOOP
        if isinstance(i, EndLoop):
            return serial.ENDLOOP_AGAIN if self.walker.turns > turns else serial.ENDLOOP
        if isinstance(i, SetRegister):
            return serial.SETR[i.mode]
        if isinstance(i, Give):
            self.given[-1] = [n + (i.mask >> k & 1) for k, n in enumerate(self.given[-1])]
        elif isinstance(i, Sync):
            self.given.append([0] * TOKENS)
        return serial.END

    def _execute_unit(self, pc: int, i: UnitInstruction, t: int) -> int:
        registers, in_loop = self.walker.registers, bool(self.walker.bodies)
        used = self._used.get(pc)
        if used is None:
            used = self._used[pc] = registers_of(i)
        key = (pc, in_loop, *(registers[k] for k in used))
        cost = self._costs.get(key)
        if cost is None:
            cost = self._costs[key] = self._cost(pc, i, registers, in_loop)
        self.counted.update(cost.counted)
        self.timeline.append(
            Executed(
                len(self.timeline), pc, i, registers, t + cost.launch, t + cost.completion,
                len(self.given) - 1, cost.external,
            )
        )  # fmt: skip
        return cost.cycles

    def _cost(
        self, pc: int, i: UnitInstruction, registers: tuple[int, ...], in_loop: bool
    ) -> _Cost:
        """Return what an instruction takes. Raises MachineError with the first error in time."""
        if isinstance(i, (Contract, *VECTORS)) and pc + i.WORDS > self.program.n_words:
            raise MachineError(Error.NO_HALT, self.program.n_words)
        reference.check_fields(i, self.arch, pc)
        reference.check_first_addresses(i, registers, self.arch)
        if isinstance(i, Load | Store):
            return self._transfer(pc, i, registers, in_loop)
        if isinstance(i, Contract):
            self._check_contract(i, registers)
            return self._contract(i)
        assert isinstance(i, VECTORS)
        self._check_vector(i, registers)
        return self._vector(i)

    # --- transfers -------------------------------------------------------------------------
    def _transfer(
        self, pc: int, i: Load | Store, registers: tuple[int, ...], in_loop: bool
    ) -> _Cost:
        arch, loads = self.arch, isinstance(i, Load)
        external, address = reference.transfer_addresses(i, registers, arch, self.host, pc)
        self._check_transfer(i, external, address)
        several = serial.SEVERAL_WORDS if arch.port_bytes > 2 else 0
        before = (serial.TRANSFER_IN_LOOP if in_loop else serial.TRANSFER) + several
        moved, waits = self._bursts(external, i.beats, loads)
        counted: Counter[str] = Counter()
        busy = several + moved + serial.TRANSFER_END - 1
        self._count_transfer(counted, "load" if loads else "store", busy, i.beats, waits)
        n = i.beats * arch.port_elements
        counted[f"{'xy'[i.space]}_{'writes' if loads else 'reads'}"] += n
        last = before + moved
        return _Cost(
            last + serial.TRANSFER_END + serial.END, counted, before, last,
            (external, external + i.beats * arch.port_bytes),
        )  # fmt: skip

    def _count_transfer(
        self, counted: Counter[str], unit: str, busy: int, beats: int, waits: int
    ) -> None:
        counted[f"{unit}_transfer"] += beats
        counted[f"{unit}_stall_memory"] += waits
        counted[f"{unit}_stall_port"] += busy - beats - waits
        counted[f"dma_{'read' if unit == 'load' else 'write'}_beats"] += beats
        counted["sequencer_stall"] += busy

    def _lengths(self, external: int, beats: int) -> Iterator[tuple[int, int]]:
        """Yield the beats of each burst, and how many of its two limits it reaches."""
        arch = self.arch
        for burst in split_bursts(external, beats, arch):
            end = burst.address + burst.beats * arch.port_bytes
            yield burst.beats, (beats >= arch.burst_beats) + (end % BOUNDARY_BYTES == 0)
            beats -= burst.beats

    def _bursts(self, external: int, beats: int, loads: bool) -> tuple[int, int]:
        """Return the cycles of all bursts of a transfer, and those in which it waits."""
        doublings = self.arch.port_bytes.bit_length() - 1
        words = self.arch.port_bytes // 2
        total = waits = 0
        for n, limits in self._lengths(external, beats):
            total += serial.BURST + limits + shifts(doublings)
            if loads:
                # the first beat is wanted so long behind its address
                waited = max(0, self.latency - serial.BEHIND_ADDRESS - (words == 1))
                total += n * (words + serial.BEAT_IN)
            else:
                waited = max(0, self.latency - serial.BEHIND_ADDRESS)
                total += n * (words + serial.BEAT_OUT) + serial.RESPONSE
            total += waited + serial.BURST_END + 2 * doublings
            waits += waited
        return total, waits

    def _check_transfer(self, i: Load | Store, external: int, address: int) -> None:
        """Raise the first error of a transfer's beats."""
        arch = self.arch
        inside = (arch.capacity(i.space) - address) // arch.port_elements
        answered = max(0, self.external_bytes - external) // arch.port_bytes
        loads = isinstance(i, Load)
        start = 0
        for n, _ in self._lengths(external, i.beats):
            end = start + n
            leaves = inside < end and (not loads or inside < answered)
            if leaves:
                raise MachineError(Error.ADDRESS, i.space << 31 | arch.capacity(i.space))
            if answered < end:
                burst = external + start * arch.port_bytes & 0xFFFF_FFFF
                raise MachineError(Error.AXI_READ if loads else Error.AXI_WRITE, burst)
            start = end

    # --- the nest --------------------------------------------------------------------------
    @staticmethod
    def _levels(counts: tuple[int, ...], levels: range, leaf: int, vector: int = 0) -> int:
        """Return the cycles of some levels, the innermost first, around a leaf.

        `vector`: more cycles at the end of level 1.
        """
        total = leaf
        for k in levels:
            go_on = serial.GO_ON + serial.GO_ON_BELOW * k if k else serial.GO_ON_INNERMOST
            total = counts[k] * total + (counts[k] - 1) * go_on + serial.LEVEL_END
            total += vector * (k == 1)
        return total

    def _contract(self, i: Contract) -> _Cost:
        n = i.n_reduce
        before = serial.CONTRACT + i.has_addend * serial.CONTRACT_ADDEND
        if n:
            before += serial.CONTRACT_REDUCES + n * serial.CONTRACT_LEVEL
        tile = serial.ADDEND + shifts(i.d_shift) if i.has_addend else serial.SUM
        if n:
            innermost = i.loop_count[0] * serial.PRODUCT + serial.PRODUCTS_END
            inner = self._levels(i.loop_count, range(1, n), innermost)
        else:
            inner = serial.ONE_PRODUCT
        tile += inner + serial.DRAIN[i.act] + shifts(i.shift)
        activates = i.act in (Act.SIGMOID, Act.TANH)
        if activates:
            tile += shifts(numeric.INTERPOLATION_BITS) + shifts(i.act_shift)
        nest = serial.NEST + self._levels(i.loop_count, range(n, serial.LEVELS), tile)
        setup = before - 1 - serial.CONTRACT_BEFORE
        busy = 1 + nest + 1
        tiles, products = i.tiles, i.macs
        counted = Counter(
            macs=products, array_issue=products, x_reads=products, y_reads=products,
            array_stall_port=busy - products, array_stall_setup=setup, drained=tiles,
            activations=tiles * activates, sequencer_stall=busy,
        )  # fmt: skip
        counted[f"{'xy'[i.z_space]}_writes"] += tiles
        if i.has_addend:
            counted[f"{'xy'[i.d_space]}_reads"] += tiles
        return _Cost(before + nest + serial.DONE, counted, before, before + nest)

    def _vector(self, i: Vector) -> _Cost:
        kind = type(i)
        counts = (i.nl0, i.nl1, *i.loop_count)
        before = serial.VECTOR[kind.__name__]
        every = range(serial.LEVELS)
        nest = serial.NEST
        nest += self._levels(counts, every, self._element(i), serial.NEXT_VECTOR)
        elements = prod(counts)
        busy = nest + 1
        issues = elements * max(1, len(self._reads(i)))
        counted = Counter(
            vector_issue=issues, vector_stall_port=busy - issues,
            vector_stall_setup=before - serial.VECTOR_BEFORE, vector_ops=elements,
            activations=elements * kind.ACTIVATIONS, sequencer_stall=busy,
        )  # fmt: skip
        for space in self._reads(i):
            counted[f"{'xy'[space]}_reads"] += elements
        if kind.WRITES_STATE:
            counted[f"{'xy'[i.cell_space]}_writes"] += elements * self.arch.cell_planes
        counted[f"{'xy'[i.dst_space]}_writes"] += elements
        return _Cost(before + nest + serial.DONE, counted, before, before + nest)

    def _reads(self, i: Vector) -> list[int]:
        """Return the scratchpads of all reads of an element."""
        return [getattr(i, f"{stream}_space") for stream in read_streams(i, self.arch)]

    def _element(self, i: Vector) -> int:
        """Return the cycles of an element."""
        total = serial.ELEMENT[type(i).__name__]
        if self.arch.cell_planes > 1 and i.READS and any(r.source == "state" for r in i.READS):
            total += serial.PLANE_READ
            if i.WRITES_STATE:
                total += serial.PLANE_WRITTEN + shifts(self.arch.data_bits)
        one, into = numeric.ACT_OUT_FRAC, numeric.ACT_IN_FRAC
        activation = shifts(numeric.INTERPOLATION_BITS)

        def to(found: int, wanted: int) -> int:
            """Return the cycles of shifting from fractional bits to others, either way."""
            return shifts(wanted - found) + shifts(found - wanted)

        gate, aux = to(i.gate_frac, into), to(i.aux_frac, into)
        state, to_sum = to(i.cell_frac, into), shifts(one - i.cell_frac)
        hidden, rounded = shifts(2 * one - i.hidden_frac), shifts(one)
        if isinstance(i, Lstm | Peephole):
            total += 5 * activation + 4 * gate + to_sum + rounded + state + hidden
        if isinstance(i, Peephole):
            total += 3 * to(i.aux_frac + i.cell_frac, into)
        if isinstance(i, Gru):
            total += 3 * (activation + gate + aux) + rounded
        if isinstance(i, GruUpdate):
            total += 2 * activation + gate + aux
        if isinstance(i, Gru | GruUpdate):
            total += to_sum + rounded + to(i.cell_frac, i.hidden_frac)
        if isinstance(i, GruReset):
            total += activation + gate + shifts(one + i.cell_frac - i.hidden_frac)
        return total

    # --- the first error in time -----------------------------------------------------------
    def _check_contract(self, i: Contract, registers: tuple[int, ...]) -> None:
        """Raise the first ADDRESS error of a CONTRACT: addends, operands, results of its tiles."""
        a = reference.contract_addresses(i, registers)
        n, tiles = i.tile_iterations, i.tiles
        streams = [
            (0, a.x.reshape(tiles, n), 1), (1, a.y.reshape(tiles, n), 2),
            (i.z_space, a.z.reshape(tiles, 1), 3),
        ]  # fmt: skip
        if i.has_addend:
            streams.append((i.d_space, a.d.reshape(tiles, 1), 0))
        found = []
        for space, addresses, order in streams:
            bad = np.flatnonzero(addresses >= self.arch.capacity(space))
            if bad.size:
                tile, iteration = divmod(int(bad[0]), addresses.shape[1])
                at = {0: -1, 3: n}.get(order, iteration)
                address = int(addresses[tile, iteration])
                found.append(((tile, at, order), space << 31 | address))
        if found:
            raise MachineError(Error.ADDRESS, min(found)[1])

    def _check_vector(self, i: Vector, registers: tuple[int, ...]) -> None:
        """Raise the first ADDRESS error of an instruction of the vector unit."""
        reads, writes = vector_accesses(i, registers, self.arch)
        named: dict[str, list[tuple[int, Ints]]] = {}
        given = iter(reads)
        for read in i.READS:
            n = self.arch.cell_planes if read.source == "state" else 1
            name = read.source if read.source == "state" else f"{read.source} {read.gate}"
            named[name] = [(x.space, x.addresses()) for x in (next(given) for _ in range(n))]
        *states, target = [(x.space, x.addresses()) for x in writes]
        named |= {"write": states, "dst": [target]}
        order = _ORDER.get(type(i), (*named,))
        found = []
        steps = [stream for name in order for stream in named[name]]
        for step, (space, addresses) in enumerate(steps):
            bad = np.flatnonzero(addresses.ravel() >= self.arch.capacity(space))
            if bad.size:
                at = int(bad[0])
                found.append(((at, step), space << 31 | int(addresses.ravel()[at])))
        if found:
            raise MachineError(Error.ADDRESS, min(found)[1])
