"""Errors of the machine: code and address against what docs/timing.md and `reference` say."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from einchip import reference
from einchip.arch import PRESETS, Architecture
from einchip.program import (
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
    Lstm,
    Program,
    SetRegister,
    Store,
    UnitInstruction,
)
from einchip.reference import Host, MachineError, Memory, Step
from einchip.sim import SimulationError, simulate
from einchip.sim.work import NO_FAULT, ContractWork, Fault, VectorWork, prepare
from tests.sim import stepped
from tests.sim.programs import MACHINES, contracts, vectors

NANO = PRESETS["nano"]
TOP = NANO.capacity(0)
SOUND = Contract(nm0=4, nn0=4, xs_m0=1, ys_n0=1, zs_m0=4, zs_n0=1, z_base=64)


def error_of(*instructions: Instruction, memory: Memory | None = None) -> tuple[Error, int] | None:
    return simulate(Program(instructions), NANO, memory=memory, fetch=False).error


@pytest.mark.parametrize(
    ("instructions", "error"),
    [
        ((Loop(count=0), Halt()), (Error.FIELD, 0)),
        ((SetRegister(reg=0), Halt()), (Error.FIELD, 0)),
        ((Halt(), replace(SOUND, nm0=0)), None),
        ((SetRegister(reg=1), replace(SOUND, nm0=5), Halt()), (Error.FIELD, 1)),
        ((EndLoop(), Halt()), (Error.LOOP, 0)),
        ((Loop(count=1),) * 5, (Error.LOOP, 4)),
        ((SetRegister(reg=1), SetRegister(reg=1)), (Error.NO_HALT, 2)),
        ((Load(beats=1, addr=2), Halt()), (Error.ALIGNMENT, 0)),
        ((Load(beats=1, addr=TOP), Halt()), (Error.ADDRESS, TOP)),
        ((Load(beats=3, addr=TOP - 4, space=1), Halt()), (Error.ADDRESS, 1 << 31 | TOP)),
        ((replace(SOUND, z_base=TOP - 14, z_space=1), Halt()), (Error.ADDRESS, 1 << 31 | TOP)),
        ((Store(beats=1), Load(beats=1, wait=1), Halt()), (Error.TIMEOUT, 2)),
        ((*[Give(mask=4)] * 16, Halt()), (Error.TOKEN, 2)),
    ],
)
def test_error(instructions: tuple[Instruction, ...], error: tuple[Error, int] | None) -> None:
    assert error_of(*instructions) == error


@pytest.mark.parametrize("kind", [Load, Store])
def test_bus_error_names_the_burst(kind: type[Load | Store]) -> None:
    # 64 beats of 4 bytes a burst; the memory ends inside the second
    memory = Memory.empty(NANO, 300)
    code = Error.AXI_READ if kind is Load else Error.AXI_WRITE
    assert error_of(kind(beats=100), Halt(), memory=memory) == (code, 256)
    slow = stepped.simulate(
        Program((kind(beats=100), Halt())), NANO, fetch=False, external_bytes=300
    )
    assert slow.error == (code, 256)


def test_program_too_long_for_program_memory_is_a_field_error() -> None:
    program = Program((SetRegister(reg=1),) * NANO.program_words + (Halt(),))
    assert simulate(program, NANO).error == (Error.FIELD, 0)


def test_program_fetched_from_the_middle_of_a_word_is_an_alignment_error() -> None:
    assert simulate(Program((Halt(),)), NANO, program_address=8).error == (Error.ALIGNMENT, 0)


def test_empty_program_has_no_halt() -> None:
    for fetch, at in ((False, 0), (True, 0), (True, 8)):  # of which nothing is fetched
        run = simulate(Program(()), NANO, fetch=fetch, program_address=at)
        assert run.error == (Error.NO_HALT, 0)


def test_deadlock_in_a_full_slot_names_the_waiting_instruction() -> None:
    load = Load(beats=1, wait=1)
    assert error_of(load, load, load, Halt()) == (Error.TIMEOUT, 2)


def test_incomplete_instructions_leave_no_values() -> None:
    memory = Memory.empty(NANO, 64)
    fill = Fill(nl0=4, dst_l0=1, value=7)
    bad = Load(beats=100, space=1)
    assert error_of(fill, Load(beats=1, wait=1), bad, Halt(), memory=memory) is not None
    assert memory.x[:4].tolist() == [7] * 4
    assert not memory.y.any()


def test_lanes_in_one_bank_are_refused() -> None:
    program = Program((replace(SOUND, xs_m0=4), Halt()))
    with pytest.raises(SimulationError, match=r"word 0: Contract: two lanes of x lie in one bank"):
        simulate(program, NANO)
    assert simulate(program, NANO, check_banks=False).error is None


def first_fault(arch: Architecture, streams: list[tuple[int, np.ndarray]]) -> Fault:
    """Find the first fault of (accesses, lanes) address tables that take turns, one by one."""
    for access in range(len(streams[0][1])):
        for k, (space, addresses) in enumerate(streams):
            bad = addresses[access][addresses[access] >= arch.capacity(space)]
            if len(bad):
                return Fault(access * len(streams) + k, int(bad[0]))
    return NO_FAULT


@st.composite
def far(draw: st.DrawFn) -> tuple[Architecture, UnitInstruction]:
    """Return an instruction whose bases lie near the top of the scratchpads."""
    arch = draw(st.sampled_from(MACHINES))
    i = draw(st.one_of(contracts(arch), vectors(arch)))
    low = min(arch.capacity(0), arch.capacity(1)) - 1
    bases = [s.name for s in i.layout() if s.name.endswith("_base")]
    near = {name: draw(st.integers(max(0, low - 120), low)) for name in bases}
    assert isinstance(i, UnitInstruction)
    return arch, replace(i, **near)


@given(far())
def test_first_fault_is_the_one_that_brute_force_finds(
    drawn: tuple[Architecture, UnitInstruction],
) -> None:
    arch, i = drawn
    registers = (0,) * 8
    try:
        work = prepare(Step(0, i, registers), arch, Host(), 0)
    except MachineError:
        assume(False)
    if isinstance(i, Contract) and isinstance(work, ContractWork):
        a = reference.contract_addresses(i, registers)
        # rows are (tile, q, m), their lanes (b, n, h)
        rows = (v.transpose(0, 1, 4, 3, 5, 2) for v in (a.z, a.d))
        z, d = (v.reshape(i.tiles * i.tile_rows, -1) for v in rows)
        n = i.tiles * i.tile_iterations
        assert work.x_fault == first_fault(arch, [(0, a.x.reshape(n * i.nh, -1))])
        assert work.y_fault == first_fault(arch, [(1, a.y.reshape(n * i.held_issues, -1))])
        assert work.z_fault == first_fault(arch, [(i.z_space, z)])
        if i.has_addend:
            assert work.addend_fault == first_fault(arch, [(i.d_space, d)])
    elif isinstance(i, Lstm | Copy | Fill) and isinstance(work, VectorWork):
        source, target = reference.vector_addresses(i, registers)
        reads = [[]] if isinstance(i, Fill) else [[(i.src_space, source)]]
        writes = [(i.dst_space, target)]
        if isinstance(i, Lstm):
            planes = arch.cell_planes
            first = np.arange(i.vectors)[:, None] * planes * arch.lanes + np.arange(i.n_lanes)
            cells = [(i.cell_space, i.cell_base + first + p * arch.lanes) for p in range(planes)]
            gates = [(i.src_space, source + q * i.gate_stride) for q in range(4)]
            reads = [[read] for read in [*cells, *gates]]
            if arch.read_port(i.src_space, i.src_base) != arch.read_port(i.cell_space, i.cell_base):
                beside = itertools.zip_longest(gates, cells)
                reads = [[cell, gate] if cell else [gate] for gate, cell in beside]
            writes = [*cells, *writes]
        assert work.write_fault == first_fault(arch, writes)
        found = tuple(tuple(first_fault(arch, [read]) for read in its) for its in reads)
        assert work.read_faults == found
