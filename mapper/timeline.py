"""Predicted cycles of a program, by the rules of `docs/timing.md`, instruction by instruction.

Sequencer, slots, setup stages, tokens, tiles, drains, bursts and the read and write ports of array,
drain path and vector unit follow the rules. Left out are the ports for which a load or a store
waits (`step_cycles` counts the writes); external bases are taken to be multiples of 4 KiB.

Instructions are taken in program order. The vector unit's reads hold up what the array is given
behind them; its waits for the drain path are found where its token is taken, when all that the
array does until then is known.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from einchip.accesses import operations, read_streams
from einchip.arch import READ_BURSTS, WRITE_BURSTS, Architecture
from einchip.mapper import serial
from einchip.mapper.bursts import MEMORY_LATENCY, bursts
from einchip.mapper.timeline_units import ArrayCycles, VectorCycles, VectorRun
from einchip.program import (
    REGISTER_BITS,
    TOKENS,
    Contract,
    EndLoop,
    Give,
    Instruction,
    Load,
    Loop,
    Program,
    SetMode,
    SetRegister,
    Store,
    Sync,
    Unit,
    UnitInstruction,
    Vector,
)

#: Cycles of a store between a beat's read and its offer.
STORE_LATENCY = 4
#: Time steps before the steady state is measured, and those measured.
WARM, MEASURED = 2, 4


def executed(program: Program, n_steps: int) -> Iterator[Instruction]:
    """Yield the instructions as the sequencer decodes them; LOOPs by host count run `n_steps`.

    A skipped transfer costs as much as a LOOP, and comes out as one.
    """
    code, stack, at = program.instructions, list[list[int]](), 0
    while at < len(code):
        i = code[at]
        at += 1
        left = stack[-1][1] if stack else 0
        yield Loop() if isinstance(i, Load | Store) and i.skipped(left) else i
        if isinstance(i, Loop):
            stack.append([at, n_steps if i.arg else i.count])
        elif isinstance(i, EndLoop):
            stack[-1][1] -= 1
            if stack[-1][1]:
                at = stack[-1][0]
            else:
                stack.pop()


def predict(program: Program, arch: Architecture, n_steps: int = 1) -> int:
    """Return the cycles of a run without program fetch."""
    if arch.serial:
        return serial.predict(program, arch, n_steps)
    machine = _Machine(arch)
    for i in executed(program, n_steps):
        machine.decode(i)
    return machine.cycles()


def pace(
    program: Program, arch: Architecture, warm: int = WARM, measured: int = MEASURED
) -> tuple[int, float]:
    """Return the predicted cycles of `warm` time steps of all loops, and of each further one."""
    first = predict(program, arch, warm)
    return first, (predict(program, arch, warm + measured) - first) / measured


def step_cycles(
    program: Program, arch: Architecture, warm: int = WARM, measured: int = MEASURED
) -> float:
    """Return the predicted cycles of one time step of all loops, behind `warm` steps.

    At least those in which a scratchpad is written: loads and results take turns there.
    """
    _, period = pace(program, arch, warm, measured)
    return max(period, write_cycles(program, arch, warm, measured))


def write_cycles(
    program: Program, arch: Architecture, warm: int = WARM, measured: int = MEASURED
) -> float:
    """Return the cycles of a time step in which a scratchpad is written, the greater of both."""
    short, long = (_writes(program, arch, n) for n in (warm, warm + measured))
    return max(long[space] - short[space] for space in (0, 1)) / measured


def _writes(program: Program, arch: Architecture, n_steps: int) -> Counter[int]:
    """Return the vectors and beats that are written, per scratchpad."""
    found = Counter[int]()
    for i in executed(program, n_steps):
        if isinstance(i, Contract):
            found[i.z_space] += i.tiles * i.tile_rows
        elif isinstance(i, Load):
            found[i.space] += i.beats
        elif isinstance(i, Vector):
            found[i.dst_space] += i.vectors
            found[i.cell_space] += i.vectors * arch.cell_planes * i.WRITES_STATE
    return found


@dataclass
class _Bursts:
    """The bursts of load or store unit, one behind the other.

    `wait` cycles lie between an address and the first beat, `tail` between the last beat and the
    end, which makes room for another burst.
    """

    wait: int
    tail: int
    ends: deque[int]
    next_address: int = 0
    last_beat: int = -1

    def run(self, lengths: Iterator[int], launch: int) -> tuple[int, int]:
        """Return (first cycle of the next launch, cycle of the last end)."""
        for beats in lengths:
            full = len(self.ends) == self.ends.maxlen
            room = self.ends[0] + 1 if full else 0
            address = max(launch + 1, self.next_address, room)
            self.next_address = address + 1
            self.last_beat = max(address + self.wait, self.last_beat + 1) + beats - 1
            self.ends.append(self.last_beat + self.tail)
        return self.next_address, self.ends[-1]


class _Machine:
    """The state of the prediction: when each unit can take what."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.setup_cycles = arch.setup_cycles
        self.fetch = 0
        self.registers: dict[int, int] = defaultdict(int)
        self.moved: dict[Unit, int] = defaultdict(lambda: -1)
        self.launched: dict[Unit, int] = defaultdict(lambda: -1)
        self.free: dict[Unit, int] = defaultdict(lambda: -1)
        self.given: list[deque[int]] = [deque() for _ in range(TOKENS)]
        self.array = ArrayCycles(arch)
        self.vectors = deque[VectorCycles]()  # in execution, in the stage, in the slot
        self.estimate = VectorRun()  # of the last of these
        self.ran, self.ran_before = VectorRun(), VectorRun()  # the last two that are complete
        self.loads = _Bursts(MEMORY_LATENCY, 0, deque(maxlen=READ_BURSTS))
        self.stores = _Bursts(1, STORE_LATENCY + MEMORY_LATENCY, deque(maxlen=WRITE_BURSTS))
        self.end = 0

    def cycles(self) -> int:
        """Return the number of cycles, HALT's last one included."""
        self._settle_all()
        return max(self.end + 1, self.fetch) + 1

    def decode(self, i: Instruction) -> None:
        """Advance by one instruction."""
        if isinstance(i, Vector):
            self._decode_vectors(i)
        elif isinstance(i, UnitInstruction):
            self._commit(i, self.moved[i.UNIT])
            tokens = self._taken(i.wait)
            self._launch(i.UNIT, self.fetch - 1, tokens)
            self.free[i.UNIT], done = self._execute(i, self.launched[i.UNIT])
            self._complete(i, done)
        else:
            self._sequence(i)

    def _commit(self, i: UnitInstruction, slot_free: int) -> None:
        """Copy and resolve an instruction, whose slot is empty from the cycle after `slot_free`."""
        self.fetch = max(self.fetch + 1 + i.WORDS, slot_free + 1) + 1

    def _launch(self, unit: Unit, commit: int, tokens: int) -> None:
        """Bring an instruction of a unit from slot to launch."""
        self.moved[unit] = max(commit + 1, self.launched[unit] + 1)
        ready = self.moved[unit] + self._setup(unit) + 1
        self.launched[unit] = max(ready, self.free[unit], tokens)

    def _setup(self, unit: Unit) -> int:
        return 0 if unit in (Unit.LOAD, Unit.STORE) else self.setup_cycles

    def _sequence(self, i: Instruction) -> None:
        """Advance by an instruction of the sequencer."""
        if isinstance(i, Give):
            self._give(i.mask, self.fetch + 1)
        elif isinstance(i, SetRegister):
            old = self.registers[i.reg]
            new = {SetMode.SET: i.value, SetMode.ADD: old + i.value, SetMode.TOGGLE: i.value - old}
            self.registers[i.reg] = new[SetMode(i.mode)] % (1 << REGISTER_BITS)
        self.fetch += 2
        if isinstance(i, Sync):
            self._sync()

    def _sync(self) -> None:
        """Wait until every unit is idle; all tokens are lost."""
        self._settle_all()
        self.fetch = max(self.fetch, self.end + 1) + 1
        self.given = [deque() for _ in range(TOKENS)]

    def _taken(self, mask: int) -> int:
        """Return the cycle from which the tokens of a mask are positive, and take them."""
        found = -1
        for t in range(TOKENS):
            if mask >> t & 1:
                while self.vectors and not self.given[t]:
                    self._settle()
                found = max(found, self.given[t].popleft() + 1)
        return found

    def _give(self, mask: int, cycle: int) -> None:
        for t in range(TOKENS):
            if mask >> t & 1:
                self.given[t].append(cycle)

    def _complete(self, i: UnitInstruction, done: int) -> None:
        self._give(i.signal, done)
        self.end = max(self.end, done)

    def _execute(self, i: UnitInstruction, launch: int) -> tuple[int, int]:
        """Return the first cycle of the next launch, and the cycle of completion."""
        if isinstance(i, Contract):
            addend = self._port(i, "d") if i.has_addend else None
            return self.array.run(i, launch, addend)
        assert isinstance(i, Load | Store)
        port = self.loads if isinstance(i, Load) else self.stores
        return port.run(bursts(i.ext_offset, i.beats, self.arch), launch)

    def _port(self, i: UnitInstruction, stream: str) -> int:
        """Return the read port of an instruction's stream."""
        space, base, register = (getattr(i, f"{stream}_{f}") for f in ("space", "base", "reg"))
        return self.arch.read_port(space, (base + self.registers[register]) % (1 << REGISTER_BITS))

    # --- vector unit -----------------------------------------------------------------------
    def _decode_vectors(self, i: Vector) -> None:
        """Commit a vector instruction, and note when it reads, so far as is known."""
        while len(self.vectors) > 2:
            self._settle()
        slot_free = self.moved[Unit.VECTOR]
        if len(self.vectors) == 2:
            slot_free = max(self.vectors[1].commit, self.launched[Unit.VECTOR]) + 1
        self._commit(i, slot_free)
        found = self._vector(i, self._taken(i.wait))
        self.vectors.append(found)
        if len(self.vectors) == 1:
            self._launch(Unit.VECTOR, found.commit, found.tokens)
            launch, before = self.launched[Unit.VECTOR], self.ran
        else:
            ready, before = found.commit + self._setup(Unit.VECTOR) + 2, self.estimate
            free = before.issued if found.overlaps(self.vectors[-2]) else before.done + 1
            launch = max(ready, free, found.tokens)
        self.estimate = found.run(launch, self.array, before, self.array.taken)

    def _vector(self, i: Vector, tokens: int) -> VectorCycles:
        """Return a vector instruction that was committed, and has its tokens from a cycle on."""
        streams, planes = read_streams(i, self.arch), self.arch.cell_planes
        ports = {stream: self._port(i, stream) for stream in streams}
        issued = tuple(
            tuple(ports[streams[k]] for k in reads) for reads in operations(i, ports, self.arch)
        )
        state = [i.cell_space] * (planes * i.WRITES_STATE)
        writes = tuple(zip(i.latencies(planes), [*state, i.dst_space], strict=True))
        return VectorCycles(i, issued, writes, self.fetch - 1, tokens)

    def _settle(self) -> None:
        """Complete the vector instruction in execution, and launch the next one."""
        found, launch = self.vectors.popleft(), self.launched[Unit.VECTOR]
        self.array.forget(launch)
        self.ran_before, self.ran = self.ran, found.run(launch, self.array, self.ran)
        self.free[Unit.VECTOR] = self.ran.done + 1
        self._complete(found.instruction, self.ran.done)
        if self.vectors and self.vectors[0].overlaps(found):
            self.free[Unit.VECTOR] = max(self.ran.issued, self.ran_before.done + 1)
        if self.vectors:
            self._launch(Unit.VECTOR, self.vectors[0].commit, self.vectors[0].tokens)

    def _settle_all(self) -> None:
        while self.vectors:
            self._settle()
