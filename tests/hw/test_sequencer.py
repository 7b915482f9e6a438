"""hw.sequencer.Sequencer against einchip.reference (what it does) and docs/timing.md (when)."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pytest
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

from einchip import reference
from einchip.accesses import first
from einchip.arch import PRESETS, Architecture
from einchip.hw.program_memory import beats_per_word
from einchip.hw.sequencer import ISSUES, Sequencer
from einchip.program import (
    ADDRESS_BITS,
    HOST_ARGS,
    LOOP_DEPTH,
    REGISTERS,
    WORD_BYTES,
    Cell,
    Contract,
    Copy,
    EndLoop,
    Error,
    Fill,
    Give,
    Gru,
    Halt,
    Instruction,
    Load,
    Loop,
    Lstm,
    Program,
    SetMode,
    SetRegister,
    Store,
    Sync,
    Unit,
    UnitInstruction,
)
from tests.hw.simulator import bench_of

NANO = PRESETS["nano"].override(program_words=128)
FLAT = NANO.override(cols=16, lanes=16)
FLEX = NANO.override(fold="flex", accumulators=8)
INNER = NANO.override(fold="ip", accumulators=8)
LSTM = NANO.override(cells=("lstm",))
WIDE = PRESETS["base"].override(program_words=64, x_depth=64, y_depth=1024, data_bits=16)
MASK = (1 << ADDRESS_BITS) - 1


@dataclass
class Ran:
    """What the sequencer did; `issued` holds (cycle, raw bits, first addresses by name)."""

    issued: list[tuple[int, int, dict[str, int]]] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    error: tuple[int, int] | None = None
    cycles: int = 0
    instructions: int = 0
    stalls: int = 0


def run(
    code: bytes,
    host: reference.Host | None = None,
    *,
    arch: Architecture = NANO,
    words: int | None = None,
    seed: int | None = None,
    cycles: int = 3000,
) -> Ran:
    """Run a binary to HALT or its first fault; with a seed, slots are taken at random."""
    host = host or reference.Host()
    machine = bench_of(Sequencer, arch)
    dut = machine.dut
    ran = Ran()
    rng = random.Random(seed)

    async def bench(ctx: Any) -> None:
        beats = len(code) // WORD_BYTES * beats_per_word(arch)
        ctx.set(dut.program.valid, 1)
        for k in range(min(beats, arch.program_words * beats_per_word(arch))):
            beat = code[k * arch.port_bytes :][: arch.port_bytes]
            ctx.set(dut.program.index, k)
            ctx.set(dut.program.data, int.from_bytes(beat, "little"))
            await ctx.tick()
        ctx.set(dut.program.valid, 0)
        n_words = len(code) // WORD_BYTES if words is None else words
        ctx.set(dut.host.program_words, n_words)
        for k, base in enumerate(host.bases):
            ctx.set(dut.host.bases[k], base)
        for k, arg in enumerate(host.args):
            ctx.set(dut.host.args[k], arg)
        ctx.set(dut.units_idle, 1)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for cycle in range(cycles):
            for name in ISSUES:
                ctx.set(getattr(dut, name).ready, seed is None or rng.random() < 0.4)
            ran.cycles = cycle + 1
            ran.instructions += ctx.get(dut.events.instructions)
            ran.stalls += ctx.get(dut.events.sequencer_stall)
            if ctx.get(dut.give):
                ran.given.append(ctx.get(dut.give))
            if ctx.get(dut.fault.code):
                ran.error = (ctx.get(dut.fault.code), ctx.get(dut.fault.address))
                return
            for name in ISSUES:
                port = getattr(dut, name)
                if ctx.get(port.valid) and ctx.get(port.ready):
                    firsts = {
                        n: ctx.get(port.payload[n]) for n, _ in port.payload.shape() if n != "raw"
                    }
                    ran.issued.append((cycle, ctx.get(port.payload.raw.as_value()), firsts))
            if ctx.get(dut.halted):
                return
            await ctx.tick()
        raise AssertionError("the sequencer does not end")

    machine.run(bench)
    return ran


def firsts(i: UnitInstruction, registers: tuple[int, ...], host: reference.Host) -> dict[str, int]:
    """Return the first addresses that a unit must be given."""
    if isinstance(i, Load | Store):
        ext = host.bases[i.ext_base] + registers[i.ext_reg] + i.ext_offset
        return {"ext": ext & 0xFFFFFFFF, "addr": first(i.addr, i.addr_reg, registers)}
    names = "x y z d" if isinstance(i, Contract) else "src dst cell aux"
    return {
        n: first(getattr(i, f"{n}_base"), getattr(i, f"{n}_reg"), registers) for n in names.split()
    }


def check(program: Program, host: reference.Host, arch: Architecture, ran: Ran) -> None:
    """Assert that what ran is what the reference's trace and checks say."""
    issued = iter(ran.issued)
    expected_error = None
    try:
        for pc, i, registers in reference.trace(program, host):
            if isinstance(i, Halt):
                break
            if isinstance(i, Sync):
                continue
            assert isinstance(i, UnitInstruction)
            reference.check_fields(i, arch, pc)
            reference.check_first_addresses(i, registers, arch)
            if isinstance(i, Load | Store):
                reference.transfer_addresses(i, registers, arch, host, pc)
            _, raw, given = next(issued)
            assert raw == int.from_bytes(i.encode(), "little")
            expected = firsts(i, registers, host)
            assert given == {n: a if n == "ext" else a & MASK for n, a in expected.items()}
    except reference.MachineError as error:
        expected_error = error.code, error.address
    assert ran.error == expected_error
    assert next(issued, None) is None


def legal_cycles(program: Program, host: reference.Host, stalls: int) -> int:
    """Return the cycles of a program that ends well."""
    cycles = stalls + 3  # FETCH, DECODE of HALT, STOP
    code = list(program.addresses())
    stack: list[list[int]] = []
    at = 0
    while not isinstance(code[at][1], Halt):
        i = code[at][1]
        at += 1
        left = stack[-1][1] if stack else 0
        skipped = isinstance(i, Load | Store) and i.skipped(left)
        cycles += 2 if i.UNIT == Unit.SEQUENCER or skipped else i.WORDS + 2
        cycles += isinstance(i, Sync)  # the units of this bench are always idle
        if isinstance(i, Loop):
            stack.append([at, host.args[i.arg - 1] if i.arg else i.count])
        elif isinstance(i, EndLoop):
            stack[-1][1] -= 1
            at = stack[-1][0] if stack[-1][1] else (stack.pop(), at)[1]
    return cycles


def good(kind: type[Instruction], arch: Architecture = NANO) -> Any:
    """Return an instruction of this kind without an error."""
    return kind(beats=1) if issubclass(kind, Load | Store) else kind()


VECTORS = (*get_args(Cell), Copy, Fill)
KINDS = (Load, Store, Contract, *VECTORS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_instruction_takes_its_words_and_two_cycles(kind: type[Instruction]) -> None:
    ran = run(Program((good(kind), Halt())).encode())
    assert [c for c, *_ in ran.issued] == [kind.WORDS + 1]
    assert ran.cycles == kind.WORDS + 2 + 3
    assert ran.instructions == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_taken_slot_stalls_and_every_stalled_cycle_is_counted(seed: int) -> None:
    program = Program((*(good(k) for k in KINDS), Halt()))
    ran = run(program.encode(), seed=seed)
    check(program, reference.Host(), NANO, ran)
    assert ran.stalls
    assert ran.cycles == legal_cycles(program, reference.Host(), ran.stalls)


def waiting(kind: type[Halt] | type[Sync], expect: Callable[[Any, Sequencer, int], None]) -> None:
    """Run one instruction while the units are busy up to cycle 6."""
    dut = Sequencer(NANO)

    async def bench(ctx: Any) -> None:
        ctx.set(dut.program.valid, 1)
        ctx.set(dut.program.data, kind.OPCODE)
        ctx.set(dut.host.program_words, 1)
        await ctx.tick()
        ctx.set(dut.program.valid, 0)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for cycle in range(10):
            ctx.set(dut.units_idle, cycle >= 7)
            expect(ctx, dut, cycle)
            await ctx.tick()

    sim: Any = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()


def test_halt_waits_until_every_unit_is_idle() -> None:
    def expect(ctx: Any, dut: Sequencer, cycle: int) -> None:
        assert ctx.get(dut.halted) == (cycle == 7)
        assert not ctx.get(dut.events.sequencer_stall)

    waiting(Halt, expect)


def test_sync_stalls_until_every_unit_is_idle_and_then_clears_the_tokens() -> None:
    def expect(ctx: Any, dut: Sequencer, cycle: int) -> None:
        assert ctx.get(dut.clear) == (cycle == 7)
        assert ctx.get(dut.events.sequencer_stall) == (2 <= cycle < 7)
        # FETCH follows: the program has no HALT
        assert ctx.get(dut.fault.code) == (Error.NO_HALT if cycle == 8 else Error.NONE)

    waiting(Sync, expect)


def test_sync_takes_a_cycle_where_every_unit_is_idle() -> None:
    program = Program((Sync(), good(Fill), Sync(), Halt()))
    ran = run(program.encode())
    check(program, reference.Host(), NANO, ran)
    assert ran.cycles == legal_cycles(program, reference.Host(), 0)
    assert ran.stalls == 0


@pytest.mark.parametrize("kind", [Load, Store])
def test_a_transfer_is_skipped_in_the_last_iterations_of_its_own_loop(
    kind: type[Instruction],
) -> None:
    ahead = replace(good(kind), skip_last=3)
    inner = (Loop(count=5), ahead, good(Fill), EndLoop())
    program = Program((ahead, Loop(count=2), *inner, EndLoop(), Halt()))
    ran = run(program.encode())
    check(program, reference.Host(), NANO, ran)
    assert len(ran.issued) == 1 + 2 * (2 + 5)
    assert ran.cycles == legal_cycles(program, reference.Host(), 0)


def test_loops_registers_and_credits_follow_the_trace() -> None:
    body = (
        Load(ext_base=2, ext_reg=1, ext_offset=0x40, addr=8, addr_reg=2, beats=3),
        SetRegister(reg=1, mode=SetMode.ADD, value=(1 << 32) - 4),
        SetRegister(reg=2, mode=SetMode.TOGGLE, value=64),
        Contract(x_base=5, x_reg=2, y_base=7, z_base=1, z_reg=2, has_addend=1, d_base=3, d_reg=1),
    )
    program = Program(
        (
            SetRegister(reg=1, mode=SetMode.SET, value=0x100),
            Give(mask=0x8001),
            Loop(count=2),
            Loop(arg=3),
            *body,
            EndLoop(),
            Copy(src_base=9, src_reg=2, dst_base=4),
            EndLoop(),
            Lstm(src_reg=2, dst_base=1, cell_base=8, cell_reg=2),
            Halt(),
        )
    )
    host = reference.Host(bases=(0, 0, 0x1000, 0), args=(0, 0, 3, 0))
    ran = run(program.encode(), host, seed=1)
    check(program, host, NANO, ran)
    assert ran.error is None
    assert len(ran.issued) == 2 * (3 * 2 + 1) + 1
    assert ran.given == [0x8001]
    assert ran.cycles == legal_cycles(program, host, ran.stalls)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Give().encode() + bytes([77]) + bytes(15), (Error.OPCODE, 1)),
        (Give().encode(), (Error.NO_HALT, 1)),
        (b"", (Error.NO_HALT, 0)),
        (Give().encode() + Contract().encode()[: 5 * WORD_BYTES], (Error.NO_HALT, 6)),
        (Fill().encode()[:WORD_BYTES], (Error.NO_HALT, 1)),
        (EndLoop().encode(), (Error.LOOP, 0)),
        (Loop(count=1).encode() * (LOOP_DEPTH + 1), (Error.LOOP, LOOP_DEPTH)),
        (Loop(arg=2).encode(), (Error.FIELD, 0)),
    ],
)
def test_a_broken_program_ends_with_its_error(code: bytes, error: tuple[int, int]) -> None:
    assert run(code).error == error


def test_a_program_larger_than_program_memory_is_a_field_error() -> None:
    code = Halt().encode() * NANO.program_words
    assert run(code).error is None
    assert run(code, words=NANO.program_words + 1).error == (Error.FIELD, 0)
    assert run(code, words=1 << 31).error == (Error.FIELD, 0)


def test_a_cut_instruction_at_the_end_of_program_memory_is_reported() -> None:
    code = Give().encode() * (NANO.program_words - 1) + Contract().encode()
    assert run(code, words=NANO.program_words).error == (Error.NO_HALT, NANO.program_words)


CONTRACT_FAULTS = [
    *({n: 0} for n in ("nm0", "nm1", "nn0", "nn1", "nk0", "nk1", "nb")),
    {"nm0": 5}, {"nm0": 2, "nm1": 2, "nk0": 2}, {"nm1": 127, "nm0": 127}, {"nk0": 3, "nm0": 2},
    {"nb": 3, "nn0": 2}, {"nk0": 127, "nk1": 127, "nb": 127}, {"nb": 2, "nk1": 3}, {"nn1": 64},
    {"n_reduce": 7}, {"act": 3}, {"act": 3, "act_shift": 16}, {"loop_count": (1, 1, 1, 1, 1, 0)},
    {"x_base": 8192}, {"y_base": 8192}, {"z_base": 8192}, {"z_base": 9000, "z_space": 1},
    {"d_base": 8192}, {"d_base": 8200, "has_addend": 1, "d_space": 1}, {"x_reg": 7}, {"z_reg": 1},
    {"x_base": 9999, "y_base": 9999}, {"x_base": 9999, "n_reduce": 7},
    {"nm0": 4, "nn1": 4}, {"nm0": 2, "nn0": 2, "nk1": 2}, {"nk0": 3}, {"nb": 3},
    {"nm0": 4, "nn0": 17},
    {"nk1": 2, "nb": 2}, {"nm1": 2, "nn0": 8, "nb": 2}, {"nm0": 4, "nn0": 4, "nn1": 4},
]  # fmt: skip
VECTOR_FAULTS = [
    {"nl0": 0}, {"nl1": 0}, {"nl0": 5}, {"nl0": 2, "nl1": 3}, {"nl0": 127, "nl1": 127},
    {"loop_count": (1, 0, 1, 1)}, {"src_base": 8192}, {"dst_base": 8192, "dst_space": 1},
    {"cell_base": 8195}, {"src_reg": 7}, {"cell_reg": 1, "cell_space": 1}, {"nl0": 4},
    {"src_base": 8193, "dst_base": 8192}, {"aux_base": 8192}, {"aux_reg": 7, "aux_space": 1},
    {"cell_base": 8192, "aux_base": 8193},
]  # fmt: skip
TRANSFER_FAULTS = [
    {"beats": 0}, {"addr": 8192}, {"addr": 8193}, {"addr": 8191}, {"addr": 2}, {"ext_offset": 2},
    {"ext_reg": 2}, {"addr_reg": 2}, {"addr": 9000, "beats": 0}, {"addr": 8190, "space": 1},
]  # fmt: skip


@pytest.mark.parametrize("kind", VECTORS)
def test_a_cell_that_the_machine_lacks_is_refused(kind: type[Instruction]) -> None:
    program = Program((replace(good(kind), src_base=LSTM.capacity(0)), Halt()))
    ran = run(program.encode(), arch=LSTM)
    check(program, reference.Host(), LSTM, ran)
    lacks = kind not in (Lstm, Copy, Fill)
    assert (ran.error is not None and ran.error[0] == Error.FIELD) == lacks


@pytest.mark.parametrize("arch", [NANO, FLAT], ids=["square", "flat"])
@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        *((Contract, f) for f in CONTRACT_FAULTS),
        *((k, f) for k in VECTORS for f in VECTOR_FAULTS),
        *((k, f) for k in (Load, Store) for f in TRANSFER_FAULTS),
    ],
)
def test_checks_are_those_of_the_reference(
    kind: type[Instruction], fields: dict[str, Any], arch: Architecture
) -> None:
    program = Program(
        (
            SetRegister(reg=7, mode=SetMode.SET, value=0xFFFFFFFF),
            SetRegister(reg=1, mode=SetMode.SET, value=0x80000000),
            SetRegister(reg=2, mode=SetMode.SET, value=1),
            replace(good(kind), **fields),
            Halt(),
        )
    )
    check(program, reference.Host(), arch, run(program.encode(), arch=arch))


def instructions(arch: Architecture) -> st.SearchStrategy[Instruction]:
    """Draw instructions, most of them legal, with registers and addresses around the limits."""
    registers = st.integers(0, REGISTERS - 1)
    near = st.sampled_from([0, 4, arch.capacity(0) - 4, arch.capacity(1) - 8, arch.capacity(1)])
    values = near | st.sampled_from([0xFFFFFFFC, 0x80000000, 1]) | st.integers(0, 0xFFFFFFFF)
    lanes = st.sampled_from([1, 1, 1, 2, 2, 3, 4, 16])
    bit = st.integers(0, 1)
    return st.one_of(
        st.builds(Loop, count=st.integers(1, 3), arg=st.sampled_from([0, 0, 0, *range(1, 6)])),
        st.builds(EndLoop),
        st.builds(EndLoop),
        st.builds(SetRegister, reg=registers, mode=st.sampled_from([0, 0, 1, 1, 2]), value=values),
        st.builds(Give, mask=st.integers(0, 0xFFFF)),
        st.builds(
            Load, ext_base=st.integers(0, 3), ext_reg=registers, addr=near, addr_reg=registers,
            ext_offset=st.sampled_from([0, 32, 0xFFFFFFF0]), beats=st.integers(1, 9), space=bit,
            skip_last=st.sampled_from([0, 0, 1, 2, 3]),
        ),
        st.builds(
            Contract, nm0=lanes, nn1=lanes, nk0=lanes, nb=lanes,
            nh=st.sampled_from([1, 1, 1, 2, 4]), n_hold=st.sampled_from([0, 0, 0, 1, 2]),
            x_base=near, x_reg=registers, y_base=near, z_base=near, z_space=bit, z_reg=registers,
            d_base=near, has_addend=bit,
        ),
        st.builds(
            Lstm, nl0=lanes, nl1=lanes, src_base=near, src_reg=registers, dst_base=near,
            cell_base=near, cell_reg=registers, src_space=bit, cell_space=bit,
        ),
        st.builds(
            Gru, nl0=lanes, src_base=near, cell_base=near, aux_base=near, aux_reg=registers,
            aux_space=bit,
        ),
        st.builds(Sync),
        st.builds(Fill, nl1=lanes, dst_base=near, dst_reg=registers, src_base=near, dst_space=bit),
    )  # fmt: skip


@given(st.sampled_from([NANO, WIDE, FLEX, INNER, LSTM]), st.data())
def test_random_programs_follow_the_reference(arch: Architecture, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(instructions(arch), max_size=14))
    depth = 0
    kept: list[Instruction] = []
    for i in drawn:  # most programs have their loops paired
        depth += isinstance(i, Loop) - isinstance(i, EndLoop)
        if depth < 0 and data.draw(st.integers(0, 9)):
            depth = 0
            continue
        kept.append(i)
    program = Program((*kept, *[EndLoop()] * max(depth, 0), Halt()))
    args = data.draw(st.tuples(*[st.sampled_from([0, 1, 2, 2])] * HOST_ARGS))
    host = reference.Host(bases=(0, 0x1000, 0xFFFFFF00, 8), args=args)
    seed = data.draw(st.none() | st.integers(0, 99))
    ran = run(program.encode(), host, arch=arch, seed=seed, cycles=20_000)
    check(program, host, arch, ran)
    if ran.error is None:
        assert ran.cycles == legal_cycles(program, host, ran.stalls)
