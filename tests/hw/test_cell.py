"""hw.cell against the cells of einchip.numeric, and its schedule against LATENCY of each class."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from amaranth import Elaboratable, Module

from einchip import numeric
from einchip.arch import READ_LATENCY
from einchip.hw.cell import CellLane
from einchip.hw.cell_schedule import CellSchedule
from einchip.hw.vector_kinds import CELLS, Operation, operations
from einchip.numeric import Ints
from einchip.program import Gru, GruReset, GruUpdate, Lstm, Peephole, Read
from tests.hw.simulator import Bench

Values = dict[Read, Ints]  # what each read brings, vector by vector; the state 16 bit wide
STATE = Read("state")


def oracle(
    kind: Any, values: Values, fracs: dict[str, int], data_bits: int
) -> tuple[Ints | None, Ints]:
    """Return numeric's (new state, destination)."""
    state = values[STATE]
    aux = {"aux_frac": fracs["aux_frac"]}
    f: Any = {"data_bits": data_bits, **fracs}
    del f["aux_frac"]

    def src(*gates: int) -> Any:
        return tuple(values[Read("src", gate)] for gate in gates)

    def inputs(*gates: int) -> Any:
        return tuple(values[Read("aux", gate)] for gate in gates)

    if kind is Lstm:
        return numeric.lstm_cell(src(0, 1, 2, 3), state, **f)
    if kind is Peephole:
        p: Any = tuple(values[Read("packed", gate)] for gate in range(3))
        return numeric.peephole_cell(src(0, 1, 2, 3), p, state, peephole_frac=aux["aux_frac"], **f)
    if kind is Gru:
        return numeric.gru_cell(src(0, 1, 2), inputs(0, 1, 2), state, **aux, **f)
    if kind is GruReset:
        return None, numeric.gru_reset(src(0)[0], state, **f)
    assert kind is GruUpdate
    return numeric.gru_update(src(0)[0], inputs(0)[0], state, **aux, **f)


def plane(value: int, number: int, data_bits: int) -> int:
    """Return an element of a state."""
    return int(numeric.wrap(value >> (number * data_bits), data_bits))


class Scheduled(Elaboratable):
    """A lane, and the schedule that controls it."""

    def __init__(self, data_bits: int, cells: Sequence[Any]) -> None:
        self.schedule, self.lane = CellSchedule(16 // data_bits), CellLane(data_bits, cells)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.schedule, m.submodules.lane = self.schedule, self.lane
        m.d.comb += self.lane.control.eq(self.schedule.control)
        return m


@functools.cache
def bench_of(data_bits: int, cells: tuple[Any, ...]) -> Bench[Scheduled]:
    """Return the bench of a lane for some cells, compiled once."""
    return Bench(Scheduled(data_bits, cells))


def run(
    kind: Any,
    data_bits: int,
    reads: dict[int, tuple[int, int, int]],
    fracs: dict[str, int],
    cells: Sequence[Any],
    beside: bool,
) -> list[tuple[int, int, int]]:
    """Return (cycle, write, value) of every ready write.

    `reads`: to each cycle the operation, its element, and that of the state which it brings. The
    lane executes `cells`, one of which is `kind`.
    """
    machine = bench_of(data_bits, tuple(cells))
    schedule, lane = machine.dut.schedule, machine.dut.lane
    planes = 16 // data_bits
    ready: list[tuple[int, int, int]] = []

    async def bench(ctx: Any) -> None:
        ctx.set(schedule.kind, 1 << CELLS.index(kind))
        ctx.set(schedule.beside, beside)
        for name, frac in fracs.items():
            ctx.set(schedule.formats[name], frac)
        for t in range(max(reads) + kind.LATENCY + 1):
            ctx.set(schedule.granted, 1 << reads[t][0] if t in reads else 0)
            _, element, of_state = reads.get(t - READ_LATENCY, (0, 0, 0))
            ctx.set(lane.element, element)
            ctx.set(lane.plane, of_state)
            for k in range(planes + 1):
                if ctx.get(schedule.ready[k]):
                    state = plane(ctx.get(lane.state), k, data_bits)
                    ready.append((t, k, state if k < planes else ctx.get(lane.hidden)))
            await ctx.tick()

    machine.run(bench)
    return ready


def draw(kind: Any, data_bits: int, n: int, rng: np.random.Generator) -> Values:
    """Return what n vectors read: extreme values first, then random ones."""
    values: Values = {}
    for read in kind.READS:
        low, high = numeric.limits(16 if read == STATE else data_bits)
        values[read] = rng.integers(low, high, n, endpoint=True)
        values[read][:20] = rng.choice([low, high, 0, -1], 20)
    return values


def gaps(stalls: str, n: int, rng: np.random.Generator) -> list[int]:
    """Return how many cycles each of n reads waits."""
    if stalls == "never":
        return [0] * n
    if stalls == "some":
        return [int(g) for g in rng.integers(0, 4, n)]
    return [int(g) for g in rng.choice([0, 0, 0, 0, 0, 1, 9, 40], n)]


@pytest.mark.parametrize("data_bits", [8, 16])
@pytest.mark.parametrize("stalls", ["never", "some", "long"])
@pytest.mark.parametrize("kind", CELLS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("seed", range(2))
def test_each_write_is_exact_and_ready_on_time(
    kind: Any, data_bits: int, stalls: str, seed: int
) -> None:
    check(kind, data_bits, stalls, seed, CELLS)


@pytest.mark.parametrize("data_bits", [8, 16])
@pytest.mark.parametrize("stalls", ["never", "some", "long"])
@pytest.mark.parametrize("seed", range(2))
def test_with_the_state_beside_gates_the_same_comes_out(
    data_bits: int, stalls: str, seed: int
) -> None:
    assert [kind for kind in CELLS if kind.STATE_BESIDE] == [Lstm]
    check(Lstm, data_bits, stalls, seed, CELLS, beside=True)


@pytest.mark.parametrize("data_bits", [8, 16])
@pytest.mark.parametrize("kind", CELLS, ids=lambda kind: kind.__name__)
def test_a_lane_for_one_cell_alone_does_the_same(kind: Any, data_bits: int) -> None:
    check(kind, data_bits, "some", 0, (kind,))


def check(
    kind: Any, data_bits: int, stalls: str, seed: int, cells: Sequence[Any], beside: bool = False
) -> None:
    """Run 40 vectors of a cell on a lane for some cells, against numeric."""
    rng = np.random.default_rng([seed, data_bits])
    planes, n = 16 // data_bits, 40
    each: list[Operation] = operations(kind, planes)
    values = draw(kind, data_bits, n, rng)
    names = ("gate", "aux", "cell", "hidden")
    fracs = {f"{name}_frac": int(rng.integers(16)) for name in names}
    new, hidden = oracle(kind, values, fracs, data_bits)
    waits = iter(gaps(stalls, n * len(each), rng))
    reads: dict[int, tuple[int, int, int]] = {}
    expected, t = [], -1
    for v in range(n):
        state = [plane(int(values[STATE][v]), k, data_bits) for k in range(planes)]
        for k, (read, number) in enumerate(each):
            if beside and read == STATE:
                continue
            t += 1 + next(waits)
            if read == STATE:
                reads[t] = k, 0, state[number]
            else:
                brings = state[k - planes] if beside and k < 2 * planes else 0
                reads[t] = k, int(values[read][v]), brings
        results = [] if new is None else [plane(int(new[v]), k, data_bits) for k in range(planes)]
        first = planes - len(results)
        expected += [(t + kind.STATE_LATENCY + k, k, r) for k, r in enumerate(results)]
        expected.append((t + kind.LATENCY, first + len(results), int(hidden[v])))
    assert run(kind, data_bits, reads, fracs, cells, beside) == sorted(expected)
