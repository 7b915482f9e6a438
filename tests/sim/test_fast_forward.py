"""Loops that are skipped: the oracle is the same simulation with every iteration gone through."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.arch import PORT_SPACES, PRESETS, READ_BURSTS, WRITE_BURSTS, Architecture
from einchip.compiler.compiled import Places, map_model
from einchip.models import ModelSpec, load_model
from einchip.program import (
    REGISTERS,
    Contract,
    Copy,
    EndLoop,
    Error,
    Fill,
    Give,
    Halt,
    Instruction,
    Load,
    Loop,
    Program,
    SetMode,
    SetRegister,
    Store,
    Sync,
    UnitInstruction,
)
from einchip.reference import Host, Memory, Step
from einchip.sim import Run, machine, simulate
from einchip.sim.load import LoadUnit
from einchip.sim.ports import Spans
from einchip.sim.shape import Shapes
from einchip.sim.store import StoreUnit
from einchip.sim.unit import Job
from einchip.sim.work import Work, prepare
from tests.compiler.cases import recurrent
from tests.sim.programs import (
    MACHINES,
    TOKENS,
    UNITS,
    contracts,
    enliven,
    owned,
    transfers,
    vectors,
)
from tests.system.machines import MACHINES as SYSTEM_MACHINES
from tests.system.programs import random_case

UCF11 = Path(__file__).parents[2] / "examples" / "ucf11_tt_lstm.yaml"
PORT = 16
N_STEPS = 70
BASE = PRESETS["base"]
SHORT_BURSTS = BASE.override(burst_beats=16)


def both(program: Program, arch: Architecture, **how: Any) -> Run:
    """Check that a run with and without skipping say the same; return it."""
    whole = simulate(program, arch, check_banks=False, **how)
    fast = simulate(program, arch, check_banks=False, timeline=False, **how)
    assert fast == replace(whole, timeline=[], given=())
    return fast


def work_of(i: UnitInstruction, arch: Architecture = BASE) -> Work:
    """Return the work of an instruction with all registers 0."""
    return prepare(Step(0, i, (0,) * REGISTERS), arch, Host(), 1 << 20)


def unit_of(kind: type[UnitInstruction]) -> LoadUnit | StoreUnit:
    """Return the unit of a transfer, alone."""
    return LoadUnit(SHORT_BURSTS, [], 20) if kind is Load else StoreUnit(SHORT_BURSTS, [], 20)


@pytest.fixture
def stretches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by one for every stretch gone through."""
    found: list[int] = []
    plain = machine._Machine.stretch

    def counted(self: machine._Machine, t: int) -> int:
        found.append(t)
        return plain(self, t)

    monkeypatch.setattr(machine._Machine, "stretch", counted)
    return found


# --- any programs ---------------------------------------------------------------------------
#: Register 1 moves transfers in external memory, 2 in a scratchpad, 3 alternates, 4 operands.
STEPS = st.tuples(
    st.integers(0, 70),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([0, 16, 64]),
    st.sampled_from([0, 0, 1, 3]),
)


@st.composite
def unit_instructions(draw: st.DrawFn, arch: Architecture) -> Instruction:
    kind = draw(st.sampled_from([contracts, vectors, transfers, transfers]))
    i = draw(kind(arch))
    if isinstance(i, Load | Store):
        registers = st.sampled_from([(1, 0), (1, 2), (1, 3), (0, 3)])
        ext_reg, addr_reg = draw(registers)
        skip = draw(st.sampled_from([0, 0, 1, 2]))
        return replace(i, ext_reg=ext_reg, addr_reg=addr_reg, skip_last=skip)
    if isinstance(i, Contract):
        return replace(i, x_reg=draw(st.sampled_from([0, 3, 4])), z_reg=0)
    return i


@st.composite
def loops(draw: st.DrawFn, arch: Architecture, live: bool, depth: int = 2) -> list[Instruction]:
    """Return the instructions of a loop of many iterations, perhaps with another one inside."""
    unit = unit_instructions(arch)
    other = st.one_of(st.builds(Give, mask=st.integers(0, 15)), st.just(Sync()))
    body = draw(st.lists(st.one_of(unit, unit, unit, unit, other), min_size=1, max_size=6))
    owners = st.lists(st.sampled_from(UNITS), min_size=TOKENS, max_size=TOKENS)
    body = owned(body, draw(owners), draw(owners))
    if live:
        body = enliven(body)
        if draw(st.booleans()):
            body = without_surplus(body)
    if depth > 1 and draw(st.integers(0, 3)) == 0:
        body += draw(loops(arch, live, depth - 1))
    if draw(st.booleans()):
        body.append(Sync())
    record, rows, toggle, operand = draw(STEPS)
    body += [
        SetRegister(1, SetMode.ADD, record * arch.port_bytes),
        SetRegister(2, SetMode.ADD, rows * arch.port_elements),
        SetRegister(3, SetMode.TOGGLE, toggle),
        SetRegister(4, SetMode.ADD, operand),
    ]
    return [Loop(count=draw(st.sampled_from([2, 7, 30, 61]))), *body, EndLoop()]


def without_surplus(body: list[Instruction]) -> list[Instruction]:
    """Give only tokens that the same body takes, so that no counter ever overflows."""
    taken = 0
    found: list[Instruction] = []
    for i in reversed(body):
        if isinstance(i, UnitInstruction):
            i, taken = replace(i, signal=i.signal & taken), taken & ~i.signal | i.wait
        elif isinstance(i, Give):
            i, taken = replace(i, mask=i.mask & taken), taken & ~i.mask
        found.append(i)
    return found[::-1]


@st.composite
def runs(draw: st.DrawFn, live: bool) -> tuple[Architecture, Program, dict[str, Any]]:
    arch = draw(st.sampled_from(MACHINES))
    code = [i for _ in range(draw(st.integers(1, 2))) for i in draw(loops(arch, live))]
    how = {
        "latency": draw(st.sampled_from([1, 8, 8, 40])),
        "fetch": draw(st.booleans()),
        "external_bytes": draw(st.sampled_from([None, None, 1 << 14, 1 << 15])),
    }
    return arch, Program((*code, Halt())), how


@given(runs(live=True))
def test_random_loops_take_the_same_time(run: tuple[Architecture, Program, dict[str, Any]]) -> None:
    arch, program, how = run
    both(program, arch, **how)


@given(runs(live=False))
def test_deadlocks_come_at_the_same_time(run: tuple[Architecture, Program, dict[str, Any]]) -> None:
    arch, program, how = run
    both(program, arch, **how)


@pytest.mark.parametrize("name", SYSTEM_MACHINES)
def test_sound_random_programs_take_the_same_time(name: str) -> None:
    for seed in range(12):
        case = random_case(seed, SYSTEM_MACHINES[name])
        both(case.program, case.arch, host=case.host)


# --- models ---------------------------------------------------------------------------------
@pytest.mark.parametrize(("n_in", "n_hidden"), [(5, 6), (37, 10)])
@pytest.mark.parametrize("preset", ["nano", "base"])
@pytest.mark.parametrize("output", ["last", "sequence"])
def test_models_with_odd_records_take_the_same_time(
    output: str, preset: str, n_in: int, n_hidden: int
) -> None:
    layers = [recurrent("lstm", n_in=n_in, n_hidden=n_hidden)]
    spec = ModelSpec.model_validate(
        {"version": 2, "name": "odd", "output": output, "layers": layers}
    )
    mapping = map_model(spec, PRESETS[preset])
    places = Places.of_mapping(mapping, N_STEPS)
    for latency in (1, 40):
        both(mapping.emit(None).run, mapping.arch, host=places.host(N_STEPS), latency=latency)


def test_1500_steps_of_a_published_model_take_two_seconds() -> None:
    """UCF11: the oracle is a short sequence, whose last steps each take as long as any other."""
    mapping = map_model(load_model(UCF11).spec, BASE)
    program, places = mapping.emit(None).run, Places.of_mapping(mapping, 1500)
    began = time.process_time()
    found = simulate(
        program, BASE, host=places.host(1500), external_bytes=places.size, timeline=False
    )
    assert time.process_time() - began < 2
    assert found.error is None
    plain = {n: simulate(program, BASE, host=places.host(n)).counters for n in (8, 10)}
    for name, value in found.counters.items():
        each = plain[10][name] - plain[8][name]
        assert value == plain[10][name] + (1500 - 10) // 2 * each


# --- what is skipped ------------------------------------------------------------------------
def streamed(n: int, record: int = 17, **fields: int) -> Program:
    """Return a loop that loads a record ahead and works on the one before."""
    load = Load(ext_reg=1, beats=record, **fields)
    body = [
        replace(load, wait=2, signal=1, skip_last=1),
        Contract(wait=1, signal=4, loop_count=(60, 1, 1, 1, 1, 1), loop_x=(16, 0, 0, 0, 0, 0),
                 n_reduce=1, z_space=1),
        Copy(wait=4, signal=2, loop_count=(3, 1, 1, 1), src_space=1, dst_base=512),
        SetRegister(1, SetMode.ADD, record * PORT),
    ]  # fmt: skip
    return Program((Give(mask=2), replace(load, signal=1), Loop(count=n), *body, EndLoop(), Halt()))


def test_a_long_loop_costs_no_more_than_a_short_one(stretches: list[int]) -> None:
    simulate(streamed(30), BASE, timeline=False)
    short = len(stretches)
    stretches.clear()
    found = simulate(streamed(3000), BASE, timeline=False)
    assert len(stretches) < short + 20
    less, more = (simulate(streamed(n), BASE, timeline=False).cycles for n in (2990, 2999))
    assert found.cycles - more == (more - less) / 9


def test_values_and_timelines_are_of_every_iteration(stretches: list[int]) -> None:
    program = streamed(40)
    plain = simulate(program, BASE)
    assert len(plain.timeline) == 1 + 3 * 40 - 1
    assert plain.given[0][1] == 1
    n = len(stretches)
    simulate(program, BASE, memory=Memory.empty(BASE, 1 << 15), timeline=False)
    assert len(stretches) == 2 * n
    simulate(program, BASE, check_races=False, timeline=False)
    assert len(stretches) < 3 * n


def test_bursts_that_make_themselves_felt_repeat_with_the_page(stretches: list[int]) -> None:
    program, arch = streamed(600, record=30), BASE.override(burst_beats=4)
    whole = simulate(program, arch, latency=40)
    n = len(stretches)
    fast = simulate(program, arch, latency=40, timeline=False)
    assert fast.counters == whole.counters
    assert len(stretches) - n < 0.75 * n


@pytest.mark.parametrize("latency", [1, 8, 40])
@pytest.mark.parametrize("records", [(71,), (17, 17), (17, 3), (1, 33), (40, 5, 17), (70, 2)])
@pytest.mark.parametrize("burst_beats", [4, 16])
def test_loads_that_run_into_one_another_take_the_same_time(
    burst_beats: int, records: tuple[int, ...], latency: int
) -> None:
    """How many bursts a LOAD makes of its beats decides when the next can be launched."""
    arch = BASE.override(burst_beats=burst_beats)
    loads = [Load(ext_reg=1, ext_offset=PORT * sum(records[:k]), beats=n)
             for k, n in enumerate(records)]  # fmt: skip
    for last in ((), (Fill(loop_count=(50, 1, 1, 1)), Sync())):
        body = (*loads, *last, SetRegister(1, SetMode.ADD, PORT * sum(records)))
        both(Program((Loop(count=300), *body, EndLoop(), Halt())), arch, latency=latency)


def test_a_load_behind_another_is_not_alone() -> None:
    """Seen by the first load's shape alone, the unit looks the same with and without the second."""
    unit, shapes = LoadUnit(BASE, [], 8), Shapes(8)
    job = Job(0, work_of(Load(beats=17)), (0,) * REGISTERS, 0, 0)
    unit.start(job, 0)
    assert unit.is_alone
    plain = unit.timing_state(3, shapes)
    unit.start(Job(1, job.work, job.registers, 0, 0), 3)
    assert not unit.is_alone
    assert unit.timing_state(4, shapes)["flights"] != plain["flights"]
    assert unit.timing_state(3, shapes) == plain
    unit.advance(4, 200, [])
    assert unit.is_alone


@pytest.mark.parametrize("i", [Load(beats=90), Store(beats=90, space=1)])
def test_a_transfer_looks_different_in_every_cycle(i: UnitInstruction) -> None:
    """A unit that looked as before while nothing stalls would stand still for ever."""
    unit = unit_of(type(i))
    job, seen, t = Job(0, work_of(i, SHORT_BURSTS), (0,) * REGISTERS, 0, 0), set[Hashable](), 0
    unit.start(job, 0)
    while not unit.empty:
        t += 1
        seen.add(tuple(unit.timing_state(t, Shapes()).items()))
        if isinstance(unit, LoadUnit):
            unit.advance(t, t + 1, [])
        else:
            unit.advance(t, t + 1, [Spans() for _ in PORT_SPACES])
    assert len(seen) == t >= 90 + 20


@pytest.mark.parametrize("kind", [Load, Store])
def test_a_transfer_without_an_address_is_seen(kind: type[Load | Store]) -> None:
    unit = unit_of(kind)
    job = Job(0, work_of(kind(beats=64), SHORT_BURSTS), (0,) * REGISTERS, 0, 0)
    unit.start(job, 0)
    assert unit.in_flight == READ_BURSTS == WRITE_BURSTS
    before = unit.timing_state(9, Shapes())
    unit.start(job, 8)
    assert unit.timing_state(9, Shapes()) != before


@pytest.mark.parametrize("record", [1, 5, 17, 70])
@pytest.mark.parametrize("latency", [1, 8, 40])
def test_stores_beside_loads_take_the_same_time(latency: int, record: int) -> None:
    load = Load(ext_reg=1, beats=record, space=0)
    store = Store(ext_reg=1, ext_offset=1 << 20, beats=record, space=1)
    step = SetRegister(1, SetMode.ADD, PORT * record)
    contract = Contract(loop_count=(90, 1, 1, 1, 1, 1), n_reduce=1)
    body = (load, store, contract, store, step)
    for arch in (BASE, BASE.override(burst_beats=4)):
        found = both(Program((Loop(count=300), *body, EndLoop(), Halt())), arch, latency=latency)
        assert found.counters["dma_write_beats"] == 600 * record


@pytest.mark.parametrize("name", [m.name for m in MACHINES if m.y_window])
def test_stores_that_walk_into_the_window_leave_the_arrays_port(name: str) -> None:
    [arch] = [m for m in MACHINES if m.name == name]
    n_rows = 2 * arch.y_window
    beats = arch.lanes // arch.port_elements
    body = (
        Contract(loop_count=(40, 1, 1, 1, 1, 1), n_reduce=1),
        Store(space=1, addr_reg=2, beats=beats),
        SetRegister(2, SetMode.ADD, arch.lanes),
    )
    start = SetRegister(2, SetMode.SET, arch.window_base(1) - n_rows // 2 * arch.lanes)
    program = Program((start, Loop(count=n_rows), *body, EndLoop(), Halt()))
    for latency in (1, 8):
        found = both(program, arch, latency=latency)
        assert found.error is None
        plain = both(program, arch.override(y_window=0), latency=latency)
        assert 0 < found.counters["store_stall_port"] < plain.counters["store_stall_port"]


@pytest.mark.parametrize("at", [100, 699])
def test_leaving_external_memory_late_stops_in_the_same_cycle(at: int) -> None:
    found = both(streamed(701), BASE, external_bytes=at * 17 * PORT)
    assert found.error is not None
    assert found.error[0] is Error.AXI_READ


def test_leaving_a_scratchpad_late_stops_in_the_same_cycle() -> None:
    walk = Fill(loop_count=(1, 1, 1, 1), dst_reg=2, nl0=16)
    body = (walk, SetRegister(2, SetMode.ADD, 16))
    arch = BASE.override(x_depth=256)
    fits = both(Program((Loop(count=256), *body, EndLoop(), Halt())), arch)
    assert fits.error is None
    found = both(Program((Loop(count=300), *body, EndLoop(), Halt())), arch)
    assert found.error == (Error.ADDRESS, arch.capacity(0))


def test_a_register_that_wraps_ends_up_where_it_does() -> None:
    start = SetRegister(2, SetMode.SET, (1 << 32) - 16 * 100)
    body = (Fill(dst_base=1600, dst_reg=2, nl0=16), SetRegister(2, SetMode.ADD, 16))
    found = both(Program((start, Loop(count=1000), *body, EndLoop(), Halt())), BASE)
    assert found.error is None


def test_tokens_that_pile_up_overflow_in_the_same_cycle() -> None:
    body = (Fill(signal=1, loop_count=(40, 1, 1, 1)), Fill(loop_count=(40, 1, 1, 1)))
    found = both(Program((Loop(count=100), *body, EndLoop(), Halt())), BASE)
    assert found.error == (Error.TOKEN, 0)


def test_loops_within_loops_are_skipped_at_every_depth(stretches: list[int]) -> None:
    inner = (Loop(count=500), Fill(loop_count=(3, 1, 1, 1)), EndLoop())
    program = Program((Loop(arg=1), *inner, Load(beats=40), Sync(), EndLoop(), Halt()))
    whole = both(program, BASE, host=Host(args=(3, 0, 0, 0)))
    stretches.clear()
    found = simulate(program, BASE, timeline=False, host=Host(args=(40, 0, 0, 0)))
    assert len(stretches) < 200
    more = simulate(program, BASE, timeline=False, host=Host(args=(41, 0, 0, 0)))
    each = more.cycles - found.cycles
    assert found.cycles == whole.cycles + 37 * each


def test_transfers_that_the_last_iterations_skip_are_skipped() -> None:
    body = (Load(beats=9, skip_last=3, ext_reg=1), SetRegister(1, SetMode.ADD, 9 * PORT))
    for n in (3, 4, 5, 100):
        found = both(Program((Loop(count=n), *body, EndLoop(), Halt())), BASE, fetch=False)
        assert found.counters["dma_read_beats"] == 9 * (n - 3)
