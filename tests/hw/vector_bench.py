"""A bench for hw.vector: scratchpads with contention, and the rules of docs/timing.md."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from einchip.accesses import vector_accesses
from einchip.arch import READ_LATENCY, VECTOR_WRITES, Architecture
from einchip.hw.vector import VectorUnit
from einchip.program import (
    REGISTERS,
    Copy,
    Fill,
    Gru,
    GruReset,
    GruUpdate,
    Lstm,
    Peephole,
    Vector,
)
from einchip.reference import Memory
from tests.hw.simulator import bench_of

Outputs = dict[str, int | None]
NO_REGISTERS = (0,) * REGISTERS
EVENTS = (
    "vector_ops", "activations", "vector_issue", "vector_stall_port", "vector_stall_write",
    "vector_stall_token", "vector_stall_setup", "vector_idle",
)  # fmt: skip
READS = ("read_x", "read_y", "read_x_window", "read_y_window")
WRITES = ("write_x", "write_y")
PORTS = (*READS, *WRITES)
#: Cycles from a vector's last micro-operation to the state's first plane, and to the destination.
LATENCIES: dict[type[Vector], tuple[int, int]] = {
    Lstm: (19, 22), Peephole: (21, 23), Gru: (18, 20), GruReset: (0, 12), GruUpdate: (14, 16),
    Copy: (0, 3), Fill: (0, 3),
}  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """One cycle's inputs: which ports are free, which tokens positive, whether to offer more."""

    ready: tuple[bool, ...] = (True,) * len(PORTS)
    positive: int = 0xFFFF
    offer: bool = True
    stop: bool = False


@dataclass
class Access:
    """A micro-operation or a write: its ports (None: no access) and lane 0's address in each."""

    ports: dict[str, int]
    starts: bool = False
    ends: bool = False
    ready_at: int | None = None


def accesses(i: Vector, arch: Architecture) -> tuple[list[Access], list[list[Access]]]:
    """Return an instruction's micro-operations, and its writes vector by vector, in order."""
    found = vector_accesses(i, NO_REGISTERS, arch)
    sources = [
        read.source
        for read in i.READS
        for _ in range(arch.cell_planes if read.source == "state" else 1)
    ]
    ports = [
        [read_port(i, source, arch) for source in sources],
        [WRITES[a.space] for a in found.writes],
    ]
    each = [
        [(port, a.addresses()[:, 0].tolist()) for port, a in zip(its, accesses, strict=True)]
        for its, accesses in zip(ports, found, strict=True)
    ]
    reads: list[Access] = []
    writes: list[list[Access]] = []
    for v in range(i.vectors):
        vector = [Access({port: bases[v]}) for port, bases in each[0]] or [Access({})]
        if isinstance(i, Lstm) and read_port(i, "src", arch) != read_port(i, "state", arch):
            planes, vector = vector[: arch.cell_planes], vector[arch.cell_planes :]
            for plane, gate in zip(planes, vector, strict=False):
                gate.ports |= plane.ports
        vector[0].starts = vector[-1].ends = True
        reads += vector
        writes.append([Access({port: bases[v]}) for port, bases in each[1]])
    return reads, writes


def read_port(i: Vector, source: str, arch: Architecture) -> str:
    """Return the port of a source: a scratchpad's, or its window's with the first address there."""
    name = {"src": "src", "state": "cell"}.get(source, "aux")
    pad = "xy"[getattr(i, f"{name}_space")]
    n_rows, n_window = getattr(arch, f"{pad}_depth"), getattr(arch, f"{pad}_window")
    in_window = getattr(i, f"{name}_base") // arch.lanes >= n_rows - n_window
    return f"read_{pad}" + "_window" * in_window


@dataclass
class Model:
    """The vector unit's rules, one cycle at a time."""

    arch: Architecture
    slot: Vector | None = None
    stage: Vector | None = None
    moved: int = 0
    now: list[Vector] = field(default_factory=list)  # not complete, the last of which reads
    reads: list[Access] = field(default_factory=list)
    unstarted: list[list[Access]] = field(default_factory=list)
    started: list[list[Access]] = field(default_factory=list)
    vectors: list[int] = field(default_factory=list)  # of each of `now`, not written

    def cycle(self, t: int, inputs: Inputs, offered: Vector | None) -> Outputs:
        """Return the outputs of cycle t: bases of requests (None: no request), events, tokens."""
        if inputs.stop:
            self.slot = self.stage = None
            self.now, self.vectors = [], []
            self.reads, self.unstarted, self.started = [], [], []
            return dict.fromkeys(PORTS) | {"take": 0, "give": 0}
        slot, stage = self.slot, self.stage
        out: Outputs = dict.fromkeys(PORTS)
        out |= dict.fromkeys(("take", "give", *EVENTS), 0)
        out |= {"free": slot is None, "idle": self.idle}
        counter = self._execute(t, inputs, out) if self.now else self._wait(t, inputs, out)
        if slot and not stage:
            self.stage, self.slot, self.moved = slot, None, t
        if not slot and inputs.offer:
            self.slot = offered
        return out | {counter: 1}

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not (self.slot or self.stage or self.now)

    def _wait(self, t: int, inputs: Inputs, out: Outputs) -> str:
        """A cycle without execution; launch where it may. Return the counter."""
        if self.stage is None:
            return "vector_idle"
        if t <= self.moved + self.arch.setup_cycles:
            return "vector_stall_setup"
        if self.stage.wait & ~inputs.positive:
            return "vector_stall_token"
        self._launch(self.stage, out)
        return "vector_stall_setup"

    def _launch(self, stage: Vector, out: Outputs) -> None:
        out["take"] = stage.wait
        self.now.append(stage)
        self.vectors.append(stage.vectors)
        self.stage = None
        self.reads, unstarted = accesses(stage, self.arch)
        self.unstarted += unstarted

    def _overlaps(self, t: int, inputs: Inputs) -> bool:
        """Whether the instruction in the stage launches while the only one before it writes."""
        if self.stage is None or self.reads or len(self.now) > 1:
            return False
        if t <= self.moved + self.arch.setup_cycles or self.stage.wait & ~inputs.positive:
            return False
        ports = [[{*a.ports} for a in accesses(i, self.arch)[0]] for i in (self.now[0], self.stage)]
        n = len(ports[0]) // self.now[0].vectors
        alike = self.stage.likeness == self.now[0].likeness and ports[0][:n] == ports[1][:n]
        return alike and bool(self.stage.overlaps)

    def _execute(self, t: int, inputs: Inputs, out: Outputs) -> str:
        """A cycle of execution. Return the counter."""
        overlaps = self._overlaps(t, inputs)
        pending = sum(len(vector) for vector in self.started)
        counter = self._issue(t, inputs, out, pending)
        if self.started and (ready_at := self.started[0][0].ready_at) and ready_at <= t:
            self._write(inputs, out)
        if overlaps and self.stage:
            self._launch(self.stage, out)
        return counter

    def _issue(self, t: int, inputs: Inputs, out: Outputs, pending: int) -> str:
        if not self.reads:
            return "vector_stall_write"
        op = self.reads[0]
        if op.starts and pending + len(self.unstarted[0]) > VECTOR_WRITES:
            return "vector_stall_write"
        if not all(inputs.ready[PORTS.index(port)] for port in op.ports):
            return "vector_stall_port"
        out.update(op.ports)
        self.reads.pop(0)
        if op.starts:
            self.started.append(self.unstarted.pop(0))
        if op.ends:
            state, target = LATENCIES[type(self.now[-1])]
            for k, write in enumerate(self.started[-1]):
                write.ready_at = t + state + k
            self.started[-1][-1].ready_at = t + target
            out["vector_ops"] = self.now[-1].n_lanes
            out["activations"] = self.now[-1].ACTIVATIONS * self.now[-1].n_lanes
        return "vector_issue"

    def _write(self, inputs: Inputs, out: Outputs) -> None:
        write = self.started[0][0]
        ((port, base),) = write.ports.items()
        out[port] = base
        if not inputs.ready[PORTS.index(port)]:
            return
        self.started[0].pop(0)
        if self.started[0]:
            return
        self.started.pop(0)
        self.vectors[0] -= 1
        if not self.vectors[0]:
            out["give"] = self.now.pop(0).signal
            self.vectors.pop(0)


def ports_of(arch: Architecture, ports: Sequence[str]) -> list[str]:
    """Return those that a machine has."""
    missing = {f"read_{pad}_window" for pad in "xy" if not getattr(arch, f"{pad}_window")}
    return [port for port in ports if port not in missing]


class Scratchpads:
    """Both scratchpads behind the vector unit's ports, without banks."""

    def __init__(self, arch: Architecture, memory: Memory) -> None:
        self.arch, self.memory = arch, memory
        self._reading = {port: [[0] * arch.lanes] * READ_LATENCY for port in ports_of(arch, READS)}

    def cycle(self, ctx: Any, dut: VectorUnit, inputs: Inputs) -> None:
        """Serve one cycle's requests; its write is seen by the reads of later cycles."""
        for name, reading in self._reading.items():
            values, data = self.memory.space(int("read_y" in name)), [0] * self.arch.lanes
            for p, a in self._granted(ctx, dut, name, inputs):
                data[p] = int(values[a])
            reading.append(data)
        for space, name in enumerate(WRITES):
            for p, a in self._granted(ctx, dut, name, inputs):
                self.memory.space(space)[a] = ctx.get(getattr(dut, name).data[p])

    def deliver(self, ctx: Any, dut: VectorUnit) -> None:
        """Put what was granted READ_LATENCY cycles ago on the ports."""
        for name, reading in self._reading.items():
            port = getattr(dut, name)
            for p, value in enumerate(reading.pop(0)):
                ctx.set(port.data[p], value)

    def _granted(
        self, ctx: Any, dut: VectorUnit, name: str, inputs: Inputs
    ) -> list[tuple[int, int]]:
        """Return (lane, address) of the enabled lanes of an access, if one is granted."""
        port = getattr(dut, name)
        if not ctx.get(port.valid) or not inputs.ready[PORTS.index(name)]:
            return []
        enable, base = ctx.get(port.enable), ctx.get(port.base)
        return [
            (p, base + ctx.get(port.offsets[p])) for p in range(self.arch.lanes) if enable >> p & 1
        ]


def outputs(ctx: Any, dut: VectorUnit) -> Outputs:
    """Return what `Model.cycle` predicts."""
    out: Outputs = {}
    for name in PORTS:
        port = getattr(dut, name, None)
        out[name] = ctx.get(port.base) if port is not None and ctx.get(port.valid) else None
    for name in EVENTS:
        out[name] = ctx.get(dut.events[name])
    out |= {"take": ctx.get(dut.tokens.take), "give": ctx.get(dut.tokens.give)}
    return out | {"free": ctx.get(dut.issue.ready), "idle": ctx.get(dut.idle)}


def offer(ctx: Any, dut: VectorUnit, i: Vector | None) -> None:
    """Offer an instruction, its first addresses those of register 0."""
    ctx.set(dut.issue.valid, i is not None)
    if i is not None:
        payload = dut.issue.payload
        ctx.set(payload.raw.as_value(), int.from_bytes(i.encode(), "little"))
        for name in ("src", "dst", "cell", "aux"):
            ctx.set(payload[name], getattr(i, f"{name}_base"))


def run(
    arch: Architecture,
    program: Sequence[Vector],
    memory: Memory,
    pattern: Callable[[int], Inputs],
) -> list[Outputs]:
    """Run to the end on `memory`; assert in every cycle what the model says. Return the cycles."""
    machine = bench_of(VectorUnit, arch)
    dut = machine.dut
    model, pads = Model(arch), Scratchpads(arch, memory)
    seen: list[Outputs] = []
    left = list(program)

    async def bench(ctx: Any) -> None:
        while left or not model.idle:
            inputs = pattern(len(seen))
            offered = left[0] if left and inputs.offer else None
            offer(ctx, dut, offered)
            ctx.set(dut.tokens.positive, inputs.positive)
            ctx.set(dut.stop, inputs.stop)
            for name in ports_of(arch, PORTS):
                ctx.set(getattr(dut, name).ready, inputs.ready[PORTS.index(name)])
            pads.deliver(ctx, dut)
            now = outputs(ctx, dut)
            expected = model.cycle(len(seen), inputs, offered)
            assert {name: now[name] for name in expected} == expected, f"cycle {len(seen)}"
            seen.append(now)
            if offered and now["free"]:
                left.pop(0)
            pads.cycle(ctx, dut, inputs)
            await ctx.tick()

    machine.run(bench)
    return seen
