"""A bench for the array unit between two real scratchpads, random CONTRACTs, and the timing rules.

`Rules` is a second, deliberately plain statement of docs/timing.md, section "Array": one Python
loop over cycles. It shares no code with the RTL.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from amaranth import Module
from amaranth.lib import wiring

from einchip.accesses import first
from einchip.arch import Architecture
from einchip.hw.array_unit import ArrayUnit
from einchip.hw.interfaces import READ_CLIENTS
from einchip.hw.scratchpad import Scratchpad
from einchip.program import Act, Contract
from einchip.reference import Memory
from tests.hw.simulator import bench_of

#: Which tokens are positive in a cycle, and which scratchpads the vector unit reads, as bit masks.
Schedule = Callable[[int], int]
NO_REGISTERS = (0,) * 8
#: What counts as an activation.
CURVED = (Act.SIGMOID, Act.TANH)


class Machine(wiring.Component):
    """The array unit with both scratchpads; the vector unit's read ports are free."""

    def __init__(self, arch: Architecture) -> None:
        self.arch = arch
        self.unit = ArrayUnit(arch)
        self.pads: list[Any] = [Scratchpad(arch, s, check_conflicts=True) for s in (0, 1)]
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = self.unit
        for name, pad in zip("xy", self.pads, strict=True):
            m.submodules[f"pad_{name}"] = pad
            wiring.connect(m, getattr(self.unit, f"read_{name}"), pad.read_array)
            wiring.connect(m, getattr(self.unit, f"drain_read_{name}"), pad.read_drain)
            wiring.connect(m, getattr(self.unit, f"drain_write_{name}"), pad.write_drain)
            m.d.comb += pad.stop.eq(self.unit.stop)
        for space in self.arch.windows:
            unit: Any = self.unit
            port = getattr(unit, f"drain_read_{'xy'[space]}_window")
            wiring.connect(m, port, self.pads[space].window_drain)
        return m


@dataclass
class Cycle:
    """What the unit shows in one cycle."""

    activity: str
    macs: int
    drained: int
    activations: int
    give: int
    take: int
    idle: bool
    writes: int  # bit mask of scratchpads
    reads: int  # lanes read from X, by any client


ACTIVITIES = ("issue", "stall_port", "stall_drain", "stall_token", "stall_setup", "idle")


def load(ctx: Any, machine: Machine, memory: Memory) -> None:
    """Put the scratchpads' contents into the banks."""
    for s, pad in enumerate(machine.pads):
        for a in np.flatnonzero(memory.space(s)):
            row, bank = divmod(int(a), machine.arch.lanes)
            ctx.set(pad.banks[bank].data[row], int(memory.space(s)[a]))


def dump(ctx: Any, machine: Machine) -> Memory:
    """Read the banks."""
    arch = machine.arch
    memory = Memory.empty(arch, 0)
    sign = 1 << (arch.data_bits - 1)
    for s, pad in enumerate(machine.pads):
        for a in range(arch.capacity(s)):
            raw = ctx.get(pad.banks[a % arch.lanes].data[a // arch.lanes])
            memory.space(s)[a] = ((int(raw) & (2 * sign - 1)) ^ sign) - sign
    return memory


def sample(ctx: Any, machine: Machine) -> Cycle:
    """Read the unit's outputs."""
    unit, events = machine.unit, machine.unit.events
    active = [a for a in ACTIVITIES if ctx.get(getattr(events, f"array_{a}"))]
    assert len(active) == 1, active
    return Cycle(
        activity=active[0],
        macs=ctx.get(events.macs),
        drained=ctx.get(events.drained),
        activations=ctx.get(events.activations),
        give=ctx.get(unit.tokens.give),
        take=ctx.get(unit.tokens.take),
        idle=bool(ctx.get(unit.idle)),
        writes=sum(
            int(ctx.get(p.write_drain.valid & p.write_drain.ready)) << s
            for s, p in enumerate(machine.pads)
        ),
        reads=sum(
            ctx.get(port.enable).bit_count()
            for port in (getattr(machine.pads[0], f"read_{c}") for c in READ_CLIENTS)
            if ctx.get(port.valid & port.ready)
        ),
    )


def offer(ctx: Any, machine: Machine, i: Contract | None) -> None:
    """Drive the issue port."""
    issue = machine.unit.issue
    ctx.set(issue.valid, i is not None)
    if i is None:
        return
    ctx.set(issue.payload.raw.as_value(), int.from_bytes(i.encode(), "little"))
    for name in "xyzd":
        base, reg = getattr(i, f"{name}_base"), getattr(i, f"{name}_reg")
        ctx.set(getattr(issue.payload, name), first(base, reg, NO_REGISTERS))


@dataclass
class Run:
    """What a run showed, cycle by cycle, and what it left in the scratchpads."""

    cycles: list[Cycle]
    memory: Memory


def run(
    arch: Architecture,
    contracts: list[Contract],
    memory: Memory,
    positive: Schedule = lambda t: 0xFFFF,
    vector: Schedule = lambda t: 0,
    pause: Schedule = lambda t: 0,
    limit: int = 20_000,
) -> Run:
    """Run CONTRACTs on the RTL, offered in every cycle in which `pause` is 0."""
    simulated = bench_of(Machine, arch)
    machine = simulated.dut
    cycles: list[Cycle] = []
    result = [memory]

    async def bench(ctx: Any) -> None:
        load(ctx, machine, memory)
        waiting = list(contracts)
        for t in range(limit):
            offered = waiting[0] if waiting and not pause(t) else None
            offer(ctx, machine, offered)
            ctx.set(machine.unit.tokens.positive, positive(t))
            for s, pad in enumerate(machine.pads):
                ctx.set(pad.read_vector.valid, vector(t) >> s & 1)
            cycles.append(sample(ctx, machine))
            if offered and ctx.get(machine.unit.issue.ready):
                waiting.pop(0)
            elif not waiting and cycles[-1].idle:
                break
            await ctx.tick()
        else:
            raise AssertionError("the unit does not end")
        await ctx.tick().repeat(2)
        result[0] = dump(ctx, machine)

    simulated.run(bench)
    return Run(cycles, result[0])


@dataclass
class Rules:
    """The rules, cycle by cycle: what the unit must show."""

    arch: Architecture
    contracts: list[Contract]
    positive: Schedule
    vector: Schedule
    pause: Schedule
    cycles: list[Cycle] = field(default_factory=list)

    def taken_by_addend(self, i: Contract) -> int:
        """Return the mask of the scratchpads whose own ports an addend takes."""
        base = first(i.d_base, i.d_reg, NO_REGISTERS)
        row = base // self.arch.lanes
        rows = (self.arch.x_depth, self.arch.y_depth)[i.d_space]
        in_window = row >= rows - (self.arch.x_window, self.arch.y_window)[i.d_space]
        return 0 if in_window else 1 << i.d_space

    def run(self) -> list[Cycle]:
        slot: Contract | None = None
        stage: Contract | None = None
        current: Contract | None = None
        ready = 0
        waiting = list(self.contracts)
        done: list[int] = [0, 0]  # f(j) of all tiles so far, two fictitious before
        rows: dict[int, tuple[Contract, bool]] = {}  # by cycle of issue; last of its instruction?
        slots: list[Slot] = []
        t = 0
        while True:
            row = rows.get(t)
            written = rows.get(t - self.arch.drain_latency)
            addend = row is not None and row[0].has_addend
            taken = self.vector(t)
            if row is not None and addend:
                taken |= self.taken_by_addend(row[0])
            activity, end, reads, macs = "idle", False, 0, 0
            idle = not (slot or stage or current) and not any(
                d + self.arch.drain_latency >= t for d in rows
            )
            if current and slots[0].first and t + self.arch.accumulate_latency < done[-2]:
                activity = "stall_drain"
            elif current and taken & (slots[0].reads_x | slots[0].issues << 1):
                activity = "stall_port"
            elif current:
                activity = "issue"
                now = slots.pop(0)
                end = not slots
                reads = current.n_m * current.n_k * current.nb if now.reads_x else 0
                macs = current.n_m * current.n_k * current.nb * current.n_n * current.nh
                macs = macs if now.issues else 0
                if now.last:
                    start = max(t + self.arch.accumulate_latency, done[-1])
                    done.append(start + current.tile_rows)
                    for r in range(start, done[-1]):
                        rows[r] = (current, end and r == done[-1] - 1)
            is_ready = stage is not None and t >= ready
            present = stage is not None and not stage.wait & ~self.positive(t)
            launch = is_ready and present and (current is None or end)
            if current is None and stage:
                waits = is_ready and not present
                activity = "stall_token" if waits else "stall_setup"
            results = row[0].n_n * row[0].nb * row[0].nh if row else 0
            if row and addend and row[0].d_space == 0:
                reads = results
            self.cycles.append(
                Cycle(
                    activity=activity,
                    macs=macs,
                    drained=results,
                    activations=results if row and row[0].act in CURVED else 0,
                    give=written[0].signal if written and written[1] else 0,
                    take=stage.wait if launch and stage else 0,
                    idle=idle,
                    writes=1 << written[0].z_space if written else 0,
                    reads=reads,
                )
            )
            if idle and not waiting:
                return self.cycles
            move = slot is not None and stage is None
            accepted = slot is None and waiting and not self.pause(t)
            if end:
                current = None
            if launch:
                current, stage = stage, None
                assert current is not None
                slots = slots_of(current)
            if move:
                stage, slot, ready = slot, None, t + self.arch.setup_cycles + 1
            if accepted:
                slot = waiting.pop(0)
            t += 1


class Slot(NamedTuple):
    """A slot: whether it reads X, whether it is an issue, and then the first or last of a tile."""

    reads_x: bool
    issues: bool
    first: bool = False
    last: bool = False


def slots_of(i: Contract) -> list[Slot]:
    """Return the slots of an instruction, as docs/timing.md lists them."""
    passing, n = i.held_issues, i.tiles * i.tile_iterations
    holds = i.nh > 1 or i.n_hold > 0
    slots = [Slot(True, False)] * i.nh if holds else []
    for k in range(n):
        first = k % i.tile_iterations == 0
        last = k % i.tile_iterations == i.tile_iterations - 1
        for p in range(max(passing, i.nh) if k < n - 1 else passing):
            reads_x = p < i.nh and k < n - 1 if holds else True
            issues = p < passing
            slots.append(
                Slot(reads_x, issues, issues and first and p == 0, last and p == passing - 1)
            )
    return slots


def memory(arch: Architecture, rng: np.random.Generator) -> Memory:
    """Return scratchpads whose lower halves, the operands, are random."""
    m = Memory.empty(arch, 0)
    top = 1 << (arch.data_bits - 1)
    for s in (0, 1):
        half = arch.capacity(s) // 2
        m.space(s)[:half] = rng.integers(-top, top, half)
    return m


def lane_strides(rng: np.random.Generator, counts: list[int], lanes: int) -> list[int]:
    """Return strides that put all lanes of these factors into different banks."""
    strides, size = [0] * len(counts), 1
    for f in rng.permutation(len(counts)):
        strides[f] = size + lanes * int(rng.integers(0, 3))
        size *= counts[f]
    odd = int(rng.integers(0, 2)) * 2 + 1
    return [s * odd for s in strides]


def counts_within(rng: np.random.Generator, limit: int) -> tuple[int, int]:
    """Return two factors with a product of at most `limit`."""
    a = int(rng.integers(1, limit + 1))
    b = int(rng.integers(1, limit // a + 1))
    return (a, b) if rng.integers(2) else (b, a)


@dataclass(frozen=True)
class Shape:
    """Lane factors (m0, m1), (n0, n1), (k0, k1), b, h, and the loops of a CONTRACT."""

    nm: tuple[int, int]
    nn: tuple[int, int]
    nk: tuple[int, int]
    nb: int
    loops: tuple[int, ...]
    n_reduce: int
    nh: int = 1
    n_hold: int = 0


def shape(
    rng: np.random.Generator, arch: Architecture, fold: tuple[int, int] | None = None
) -> Shape:
    """Draw a shape that the machine's fold allows; `fold` is (log2(K), log2(B)) where given."""
    loops = [int(n) for n in rng.choice([1, 1, 1, 2, 2, 3, 4], 6)]
    n_hold = log_h = 0
    if arch.holds and rng.integers(3):
        n_hold = int(rng.integers(0, 3))
        log_h = int(rng.integers(0, arch.cols.bit_length()))
        loops[:n_hold] = counts_within(rng, arch.tile_accumulators)[:n_hold]
    n_reduce = int(rng.integers(0, 7 - n_hold))
    if arch.fold == "ip":
        nk = counts_within(rng, arch.rows)
        nh = within_log2(rng, log_h)
        return Shape((1, 1), (1, 1), nk, 1, tuple(loops), n_reduce, nh, n_hold)
    rows, cols = (n.bit_length() - 1 for n in (arch.rows, arch.cols))
    folds = 1 + (min(rows, cols) if arch.blocks else 0)
    log_k = int(rng.integers(0, folds)) if fold is None else fold[0]
    log_b = int(rng.integers(0, folds - log_k)) if fold is None else fold[1]
    log_h = min(log_h, cols - log_k - log_b)
    nk = counts_within(rng, 1 << log_k)
    while fold and nk[0] * nk[1] <= (1 << log_k) // 2:
        nk = counts_within(rng, 1 << log_k)
    return Shape(
        nm=counts_within(rng, arch.rows >> log_k + log_b),
        nn=counts_within(rng, arch.cols >> log_k + log_b + log_h),
        nk=nk,
        nb=within_log2(rng, log_b) if fold else int(rng.integers(1, (1 << log_b) + 1)),
        loops=tuple(loops),
        n_reduce=n_reduce,
        nh=within_log2(rng, log_h),
        n_hold=n_hold,
    )


def within_log2(rng: np.random.Generator, log: int) -> int:
    """Return a count of so many bits: one whose ceil(log2) is `log`."""
    return int(rng.integers((1 << log) // 2 + 1, (1 << log) + 1))


def contract(
    rng: np.random.Generator, arch: Architecture, form: Shape | None = None, **fixed: Any
) -> Contract:
    """Draw a CONTRACT: operands and addend in the lower halves, the result in an upper half.

    Results of one instruction never lie upon one another. What has no effect is noise: strides in X
    of loops that hold, and of the result in loops that reduce.
    """
    while True:
        s = form or shape(rng, arch)
        zs = lane_strides(rng, [*s.nn, s.nb, s.nh], arch.lanes)
        step = -(-extent([*s.nn, s.nb, s.nh], zs) // arch.lanes) * arch.lanes
        size = step * s.nm[0] * s.nm[1]
        zl = [int(v) for v in rng.integers(0, 99, 6)]
        for k in (*range(s.n_hold), *range(s.n_hold + s.n_reduce, 6)):
            zl[k], size = size, size * s.loops[k]
        if size <= min(arch.capacity(0), arch.capacity(1)) // 2:
            break
    xs = lane_strides(rng, [*s.nm, *s.nk, s.nb], arch.lanes)
    xs_h = int(rng.integers(0, 9))
    ys = lane_strides(rng, [*s.nn, *s.nk, s.nb], arch.lanes)
    xl, yl = ([int(v) for v in rng.integers(0, 9, 6)] for _ in range(2))
    z_space, d_space = (int(v) for v in rng.integers(0, 2, 2))
    x_half, y_half, z_half, d_half = (arch.capacity(k) // 2 for k in (0, 1, z_space, d_space))
    # addends that are not written may lie in the half that is
    d_first = d_half * int(z_space != d_space and rng.integers(2))
    x_size = extent([*s.nm, *s.nk, s.nb, s.nh, *s.loops[s.n_hold :]], [*xs, xs_h, *xl[s.n_hold :]])
    y_size = extent([*s.nn, *s.nk, s.nb, *s.loops], [*ys, *yl])
    xl[: s.n_hold] = (int(v) for v in rng.integers(0, 1 << 20, s.n_hold))
    fields: dict[str, Any] = {
        "nm0": s.nm[0], "nm1": s.nm[1], "nn0": s.nn[0], "nn1": s.nn[1],
        "nk0": s.nk[0], "nk1": s.nk[1], "nb": s.nb, "nh": s.nh,
        "xs_m0": xs[0], "xs_m1": xs[1], "xs_k0": xs[2], "xs_k1": xs[3], "xs_b": xs[4],
        "xs_h": xs_h,
        "ys_n0": ys[0], "ys_n1": ys[1], "ys_k0": ys[2], "ys_k1": ys[3], "ys_b": ys[4],
        "zs_m0": step, "zs_m1": step * s.nm[0], "zs_n0": zs[0], "zs_n1": zs[1], "zs_b": zs[2],
        "zs_h": zs[3],
        "x_base": int(rng.integers(0, x_half - x_size + 1)),
        "y_base": int(rng.integers(0, y_half - y_size + 1)),
        "z_base": z_half + int(rng.integers(0, z_half - size + 1)),
        "d_base": d_first + int(rng.integers(0, d_half - size + 1)),
        "z_space": z_space, "d_space": d_space, "n_hold": s.n_hold, "n_reduce": s.n_reduce,
        "loop_count": s.loops, "loop_x": tuple(xl), "loop_y": tuple(yl), "loop_z": tuple(zl),
        "has_addend": int(rng.integers(0, 2)), "d_shift": int(rng.integers(0, 11)),
        "shift": int(rng.integers(0, arch.data_bits + 4)), "act": int(rng.integers(len(Act))),
        "act_shift": int(rng.integers(0, 16)), "signal": int(rng.integers(1, 1 << 16)),
    }  # fmt: skip
    return Contract(**{**fields, **fixed})


def extent(counts: Sequence[int], strides: Sequence[int]) -> int:
    """Return how many elements lie between the first and the last of these factors, both with."""
    return 1 + sum((c - 1) * s for c, s in zip(counts, strides, strict=True))
