"""hw.top.Top, seen from its AXI ports, against einchip.reference and docs/timing.md."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from einchip import reference
from einchip.arch import COPY_LATENCY, PRESETS, Architecture
from einchip.hw.axi import OKAY
from einchip.program import (
    TOKEN_MAX,
    WORD_BYTES,
    Act,
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
    Space,
    Store,
    Sync,
)
from einchip.registers import ADDRESS, CONTROL_START, COUNTERS
from tests.hw.host import HostPort
from tests.hw.machine import Machine, Run

#: nano with small scratchpads, which are quicker to look through.
NANO = PRESETS["nano"].override(x_depth=128, y_depth=64, program_words=64)
WIDE = NANO.override(data_bits=16, port_bytes=8, burst_beats=8)
EXTERNAL_BYTES = 16384
CODE = EXTERNAL_BYTES - 2048
GROUPS = ("array", "vector", "load", "store")


def filled(arch: Architecture, seed: int = 1) -> reference.Memory:
    """Return a memory of random elements."""
    rng = np.random.default_rng(seed)
    memory = reference.Memory.empty(arch, EXTERNAL_BYTES)
    half = 1 << (arch.data_bits - 1)
    for space in Space:
        memory.space(space)[:] = rng.integers(-half, half, arch.capacity(space))
    memory.external[:] = rng.bytes(EXTERNAL_BYTES)
    return memory


def run(
    instructions: Sequence[Instruction],
    host: reference.Host | None = None,
    arch: Architecture = NANO,
    **options: Any,
) -> Run:
    """Run a program on the RTL and on the reference, and assert that they agree."""
    program = Program(tuple(instructions))
    machine = Machine(arch, filled(arch), **options)
    ran = machine.run(program.encode(), host, program_address=CODE)
    memory = machine.memory.copy()
    expected: tuple[int, int] | None = None
    try:
        reference.run(program, arch, memory, host)
    except reference.MachineError as error:
        expected = (error.code, error.address)
    assert ran.error == expected
    if not expected:
        assert_same(ran.memory, memory)
        check_counters(ran)
    return ran


def assert_same(found: reference.Memory, expected: reference.Memory) -> None:
    assert not any(changed(found, expected).values())


def check_counters(ran: Run) -> None:
    """Assert that in each unit's group exactly one counter counted in every cycle."""
    for group in GROUPS:
        names = [c.name for c in COUNTERS if c.name.startswith(f"{group}_")]
        total = sum(ran.counters[n] for n in names if not n.endswith(("_beats", "_ops")))
        assert total == ran.cycles, group


def fetch_cycles(instructions: Sequence[Instruction], latency: int, arch: Architecture) -> int:
    """Return the cycles until the program is there; it fits READ_BURSTS bursts."""
    beats = Program(tuple(instructions)).n_words * WORD_BYTES // arch.port_bytes
    return 1 + latency + beats


@pytest.mark.parametrize("arch", [NANO, WIDE], ids=["nano", "wide"])
@pytest.mark.parametrize("latency", [1, 8, 30])
def test_an_empty_program_takes_its_fetch_and_three_cycles(
    arch: Architecture, latency: int
) -> None:
    ran = run([Halt()], arch=arch, latency=latency)
    assert ran.cycles == fetch_cycles([Halt()], latency, arch) + 3
    assert ran.counters["instructions"] == 1
    assert ran.counters["dma_read_beats"] == WORD_BYTES // arch.port_bytes
    assert ran.counters["load_idle"] == 1 + 3
    assert ran.counters["store_idle"] == ran.cycles
    assert ran.counters["array_idle"] == ran.counters["vector_idle"] == ran.cycles


@pytest.mark.parametrize("arch", [NANO, WIDE], ids=["nano", "wide"])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_transfers_cross_pages_and_take_odd_lengths(arch: Architecture, seed: int | None) -> None:
    p, e = arch.port_bytes, arch.port_elements
    loads = [
        Load(ext_offset=4096 - 3 * p, addr=2 * e, beats=11),
        Load(ext_offset=p, space=Space.Y, addr=0, beats=33, signal=1),
        Store(wait=1, ext_offset=8192 - 5 * p, addr=e, beats=17),
        Store(ext_base=3, ext_reg=1, space=Space.Y, addr=5 * e, beats=1),
        Load(ext_offset=600, addr=20 * e, beats=1),
    ]
    host = reference.Host(bases=(0, 0, 0, 1000))
    setup = SetRegister(reg=1, mode=SetMode.SET, value=0xFFFFFFFF - 7)
    run([setup, *loads, Halt()], host, arch, seed=seed)


def test_the_program_is_fetched_in_bursts_within_pages() -> None:
    code = [Give()] * 20 + [Halt()]
    memory = filled(NANO)
    ran = Machine(NANO, memory).run(Program(tuple(code)).encode(), program_address=4096 - 64)
    assert ran.error is None
    assert [(b.address, b.beats) for b in ran.bursts] == [(4032, 16), (4096, 64), (4352, 4)]
    assert ran.cycles == fetch_cycles(code, 8, NANO) + 2 * 20 + 3


@pytest.mark.parametrize("seed", [None, 3])
def test_loops_registers_and_tokens_stream_through_two_buffers(seed: int | None) -> None:
    """Load, copy from X to Y, store; tokens 0, 1: X filled, free; 2, 3: Y filled, free."""
    n = 7
    step = 64
    program = (
        Give(mask=0b1010), Give(mask=0b1010),
        Loop(arg=1),
        Load(wait=0b10, signal=0b01, ext_reg=1, addr_reg=2, beats=step // NANO.port_bytes),
        Copy(
            wait=0b1001, signal=0b0110, nl0=4, src_l0=1, dst_l0=1, src_reg=2, dst_reg=2,
            loop_count=(step // 4, 1, 1, 1), loop_src=(4, 0, 0, 0), loop_dst=(4, 0, 0, 0),
            dst_space=Space.Y,
        ),
        Store(
            wait=0b100, signal=0b1000, ext_base=1, ext_reg=1, addr_reg=2, space=Space.Y,
            beats=step // NANO.port_bytes,
        ),
        SetRegister(reg=1, mode=SetMode.ADD, value=step),
        SetRegister(reg=2, mode=SetMode.TOGGLE, value=step),
        EndLoop(),
        Halt(),
    )  # fmt: skip
    ran = run(program, reference.Host(bases=(0, 8192, 0, 0), args=(n, 0, 0, 0)), seed=seed)
    assert ran.memory.external[8192:][: n * step] == ran.memory.external[: n * step]
    assert ran.counters["vector_ops"] == n * step
    assert ran.counters["dma_write_beats"] == n * step // NANO.port_bytes


def test_a_copy_alone_takes_the_cycles_of_the_rules() -> None:
    vectors = 20
    copy = Copy(
        nl0=4, src_l0=1, dst_l0=1, dst_space=Space.Y, loop_count=(vectors, 1, 1, 1),
        loop_src=(4, 0, 0, 0), loop_dst=(4, 0, 0, 0),
    )  # fmt: skip
    ran = run([copy, Halt()])
    issued = fetch_cycles([copy, Halt()], 8, NANO) + copy.WORDS + 1
    launch = issued + 1 + NANO.setup_cycles + 1
    last_write = launch + vectors + COPY_LATENCY
    assert ran.cycles == last_write + 2  # idle from the cycle after it, which is the last
    assert ran.counters["vector_issue"] == vectors
    assert ran.counters["vector_stall_write"] == COPY_LATENCY
    assert ran.counters["vector_stall_setup"] == NANO.setup_cycles + 1


def contents(memory: reference.Memory) -> dict[str, Any]:
    external = np.frombuffer(bytes(memory.external), np.uint8)
    return {"x": memory.x, "y": memory.y, "external": external}


def changed(before: reference.Memory, after: reference.Memory) -> dict[str, set[int]]:
    """Return where two memories differ."""
    old, new = contents(before), contents(after)
    return {name: set(np.nonzero(old[name] != new[name])[0]) for name in old}


E = NANO.port_elements
X, Y = NANO.capacity(0), NANO.capacity(1)
ERRORS: dict[str, tuple[list[Instruction], tuple[int, int], dict[str, range]]] = {
    "loop": ([EndLoop()], (Error.LOOP, 0), {}),
    "no halt": ([Give(), Give()], (Error.NO_HALT, 2), {}),
    "field": ([Give(), Load(beats=0)], (Error.FIELD, 1), {}),
    "alignment": ([Load(beats=1, ext_offset=2)], (Error.ALIGNMENT, 0), {}),
    "first address": ([Fill(dst_space=1, dst_base=Y)], (Error.ADDRESS, 1 << 31 | Y), {}),
    "load beyond X": (
        [Load(beats=5, addr=X - 2 * E)], (Error.ADDRESS, X), {"x": range(X - 2 * E, X)},
    ),
    "store beyond Y": (
        [Store(beats=9, space=1, addr=Y - 2 * E, ext_offset=256)],
        (Error.ADDRESS, 1 << 31 | Y), {"external": range(256, 264)},
    ),
    "copy from beyond X": (
        [Copy(nl0=4, src_l0=1, dst_l0=1, src_base=X - 2)], (Error.ADDRESS, X), {},
    ),
    "fill beyond Y": (
        [Fill(nl0=2, dst_l0=3, dst_base=Y - 1, dst_space=1, value=9)],
        (Error.ADDRESS, 1 << 31 | Y + 2), {},
    ),
    "contraction of beyond X": (
        [Contract(nm0=2, xs_m0=1, x_base=X - 1)], (Error.ADDRESS, X), {},
    ),
    "contraction of beyond Y": (
        [Contract(y_base=Y - 1, loop_count=(3, 1, 1, 1, 1, 1), loop_y=(1, 0, 0, 0, 0, 0),
                  n_reduce=1)],
        (Error.ADDRESS, 1 << 31 | Y), {},
    ),
    "contraction into beyond X": (
        [Contract(z_base=X - 3, nn0=4, zs_n0=1)], (Error.ADDRESS, X), {},
    ),
    "addend beyond Y": (
        [Contract(has_addend=1, d_space=1, d_base=Y - 1, nn0=4, zs_n0=1)],
        (Error.ADDRESS, 1 << 31 | Y), {},
    ),
    "read error": (
        [Load(beats=4, ext_offset=EXTERNAL_BYTES)], (Error.AXI_READ, EXTERNAL_BYTES), {},
    ),
    "write error": (
        [Store(beats=4, ext_offset=EXTERNAL_BYTES)], (Error.AXI_WRITE, EXTERNAL_BYTES), {},
    ),
}  # fmt: skip


def run_all(
    codes: dict[str, bytes], *, seed: int | None = None, watchdog: int = 2000
) -> dict[str, tuple[tuple[int, int] | None, dict[str, set[int]]]]:
    """Run binaries one after the other on one machine; return each one's error and what changed."""
    machine = Machine(NANO, filled(NANO), seed=seed)
    ended = {}

    async def script(machine: Machine, ctx: Any, port: HostPort) -> None:
        for name, code in codes.items():
            machine.bus.content[CODE : CODE + len(code)] = code
            before = machine.content(ctx)
            await machine.start(port, CODE, len(code) // WORD_BYTES, watchdog=watchdog)
            ran = await machine.finish(ctx, port, counters=False)
            ended[name] = ran.error, changed(before, ran.memory)

    machine.script(script)
    return ended


@pytest.mark.parametrize("seed", [None, 5])
def test_an_error_stops_with_its_code_and_writes_nothing_stray(seed: int | None) -> None:
    codes = {
        name: Program(
            (*instructions, *[Halt()] * (error[0] != Error.NO_HALT)),
        ).encode()
        for name, (instructions, error, _) in ERRORS.items()
    }
    for name, (error, written) in run_all(codes, seed=seed).items():
        assert error == ERRORS[name][1], name
        for space, where in written.items():
            assert where <= set(ERRORS[name][2].get(space, ())), name


def test_an_unknown_opcode_stops_the_machine() -> None:
    ran = Machine(NANO, filled(NANO)).run(Give().encode() + bytes([200]) + bytes(15))
    assert ran.error == (Error.OPCODE, 1)


def test_too_many_tokens_stop_the_machine() -> None:
    code = Program((*[Give(mask=1 << 6)] * 16, Halt())).encode()
    assert Machine(NANO, filled(NANO)).run(code).error == (Error.TOKEN, 6)


@pytest.mark.parametrize(
    ("address", "words", "error"),
    [
        (0, NANO.program_words + 1, (Error.FIELD, 0)),
        (8, 1, (Error.ALIGNMENT, 0)),
        (0, 0, (Error.NO_HALT, 0)),
        (EXTERNAL_BYTES - 16, 2, (Error.AXI_READ, EXTERNAL_BYTES)),
    ],
)
def test_a_program_that_cannot_be_fetched_stops_the_machine(
    address: int, words: int, error: tuple[int, int]
) -> None:
    arch = NANO.override(burst_beats=4)
    machine = Machine(arch, filled(arch))
    ran = machine.run(Halt().encode(), program_address=address, n_words=words)
    assert ran.error == error


def test_a_token_that_never_comes_is_a_timeout() -> None:
    waiting = {
        "load": Load(wait=1, beats=1),
        "store": Store(wait=8, beats=1),
        "array": Contract(wait=2),
        "vector": Fill(wait=4),
    }
    codes = {name: Program((Give(), i, Halt())).encode() for name, i in waiting.items()}
    for name, (error, written) in run_all(codes, watchdog=100).items():
        assert error == (Error.TIMEOUT, 1 + waiting[name].WORDS)
        assert not any(written.values())


def run_on_a_late_bus(
    arch: Architecture, kind: type[Load | Store], asleep: int, faults: Sequence[range] = ()
) -> tuple[reference.Memory, list[Run]]:
    """Run a transfer on a bus that falls asleep after so many cycles, then HALT twice.

    It wakes up in the last run. Return the memory before, and the three runs.
    """
    code = Program((kind(beats=110), Halt())).encode()
    memory = filled(arch)
    memory.external[CODE : CODE + len(code)] = code
    runs: list[Run] = []

    async def script(machine: Machine, ctx: Any, port: HostPort) -> None:
        await machine.start(port, CODE, 2, watchdog=100)
        await ctx.tick().repeat(asleep)
        machine.bus.awake_from = 1 << 30
        runs.append(await machine.finish(ctx, port, counters=False))
        for watchdog in (100, 3000):
            await machine.start(port, CODE + WORD_BYTES, 1, watchdog=watchdog)
            runs.append(await machine.finish(ctx, port, counters=False))
            machine.bus.awake_from = machine.bus.cycle + 1000

    Machine(arch, memory, faults=faults).script(script)
    return memory, runs


@pytest.mark.parametrize("kind", [Load, Store])
def test_a_bus_that_answers_too_late_is_drained_before_the_next_program(
    kind: type[Load | Store],
) -> None:
    """The bus falls asleep in the middle of a transfer and wakes up in the run after the next.

    A beat that is already offered must be written, since AXI forbids to change it; no other.
    """
    memory, runs = run_on_a_late_bus(NANO, kind, 50)
    assert [ran.error for ran in runs] == [(Error.TIMEOUT, 1), (Error.TIMEOUT, 0), None]
    assert any(changed(memory, runs[0].memory).values())
    stray = changed(runs[0].memory, runs[-1].memory)
    assert not stray["x"] | stray["y"]
    assert len(stray["external"]) <= (NANO.port_bytes if kind is Store else 0)


def test_after_an_error_or_a_halt_the_machine_starts_anew() -> None:
    """Scratchpads and program memory stay; registers, loops, tokens and counters begin at 0."""
    arch = NANO
    broken = Program(
        (
            SetRegister(reg=1, value=64), Give(mask=0xFFFF), Loop(count=9), Loop(count=9),
            Load(beats=300), Contract(loop_count=(999, 1, 1, 1, 1, 1)),
            Fill(loop_count=(999, 1, 1, 1)), Load(beats=0), EndLoop(), EndLoop(), Halt(),
        )
    )  # fmt: skip
    good = Program(
        (
            Loop(count=2), Loop(count=1), Loop(count=1), Loop(count=1),
            Fill(dst_base=3, dst_reg=1, value=5, nl0=4, dst_l0=1, signal=1),
            Store(wait=1, beats=2, ext_offset=64),
            EndLoop(), EndLoop(), EndLoop(), EndLoop(), Halt(),
        )
    )  # fmt: skip
    memory = filled(arch)
    memory.external[CODE : CODE + broken.n_words * WORD_BYTES] = broken.encode()
    at = CODE + 1024
    memory.external[at : at + good.n_words * WORD_BYTES] = good.encode()
    expected = memory.copy()
    reference.run(good, arch, expected)
    runs: list[Run] = []

    async def script(machine: Machine, ctx: Any, port: HostPort) -> None:
        await machine.start(port, at, good.n_words)
        runs.append(await machine.finish(ctx, port))
        await machine.start(port, CODE, broken.n_words)
        await port.set("CONTROL", CONTROL_START)  # ignored
        runs.append(await machine.finish(ctx, port))
        for fetch in (True, False, False):
            await machine.start(port, at, good.n_words, fetch=fetch)
            runs.append(await machine.finish(ctx, port))

    Machine(arch, memory).script(script)
    first, failed, again, *resident = runs
    assert failed.error == (Error.FIELD, 17)
    assert_same(first.memory, expected)
    assert first.counters == again.counters
    assert not again.error
    written = changed(failed.memory, again.memory)
    assert written["x"] <= set(range(3, 7))
    assert not written["y"]
    assert written["external"] <= set(range(64, 72))
    assert (again.memory.x[3:7] == 5).all()
    fetched = fetch_cycles(good.instructions, 8, arch)
    for ran in resident:
        assert not ran.error
        assert ran.cycles == first.cycles - fetched
        assert ran.counters["instructions"] == first.counters["instructions"]


def test_registers_can_be_read_while_the_machine_runs() -> None:
    program = Program((Loop(count=200), EndLoop(), Halt()))
    memory = filled(NANO)
    memory.external[: 3 * WORD_BYTES] = program.encode()
    seen: list[int] = []

    async def script(machine: Machine, ctx: Any, port: HostPort) -> None:
        await machine.start(port, 0, program.n_words)
        for _ in range(10):
            seen.append(await port.counter("cycles"))
            assert (await port.read(ADDRESS["ARG3"]))[1] == OKAY
        await machine.finish(ctx, port)

    Machine(NANO, memory).script(script)
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]


def contraction(**fields: Any) -> Contract:
    """Multiply 8 x 12 by 12 x 8, in tiles of 4 x 4, X row by row, Y row by row."""
    whole = Contract(
        nm0=4, xs_m0=13, nn0=4, ys_n0=1, n_reduce=1, loop_count=(12, 2, 2, 1, 1, 1),
        loop_x=(1, 4 * 13, 0, 0, 0, 0), loop_y=(8, 0, 4, 0, 0, 0), loop_z=(0, 4 * 9, 4, 0, 0, 0),
        zs_m0=9, zs_n0=1, z_base=128, z_space=Space.X, shift=7,
    )  # fmt: skip
    return replace(whole, **fields)


@pytest.mark.parametrize("arch", [NANO, WIDE], ids=["nano", "wide"])
@pytest.mark.parametrize("seed", [None, 7])
def test_contractions_give_what_the_reference_gives(arch: Architecture, seed: int | None) -> None:
    folded = contraction(
        nm0=2, nk0=2, nn0=2, xs_m0=14, xs_k0=1, ys_k0=10, loop_count=(6, 4, 4, 1, 1, 1),
        loop_x=(2, 28, 0, 0, 0, 0), loop_y=(20, 0, 2, 0, 0, 0), loop_z=(0, 18, 2, 0, 0, 0),
        z_base=256, act=Act.TANH, act_shift=8, wait=1, signal=2,
    )  # fmt: skip
    added = contraction(
        has_addend=1, d_base=128, d_shift=3, z_base=100, z_space=Space.Y, wait=2, signal=4
    )
    run(
        [
            Load(ext_offset=64, beats=100 // arch.port_elements, signal=8),
            contraction(wait=8, signal=1),
            folded,
            added,
            Store(wait=4, space=Space.Y, addr=96, beats=80 // arch.port_elements, ext_offset=4000),
            Halt(),
        ],
        arch=arch,
        seed=seed,
    )


def test_a_contraction_alone_takes_the_cycles_of_the_formula() -> None:
    i = contraction()
    ran = run([i, Halt()])
    launch = fetch_cycles([i, Halt()], 8, NANO) + i.WORDS + 1 + 1 + NANO.setup_cycles + 1
    last = launch + i.tiles * i.tile_iterations + 5 + i.n_m - 1 + NANO.drain_latency
    assert ran.cycles == last + 2
    assert ran.counters["macs"] == i.macs
    assert ran.counters["array_issue"] == i.tiles * i.tile_iterations


def test_sync_waits_for_the_units_and_takes_all_tokens_away() -> None:
    """The tokens would overflow, and the second FILL would not see the first one's elements."""
    full = [Give(mask=0xFFFF)] * TOKEN_MAX
    first = Fill(nl0=4, dst_l0=1, loop_count=(20, 1, 1, 1), loop_dst=(4, 0, 0, 0), value=7)
    store = Store(addr=0, beats=20 * 4 // NANO.port_elements, ext_offset=8192)
    ran = run([first, *full, Sync(), store, *full, Sync(), *full, Halt()])
    assert not ran.error
    assert ran.counters["sequencer_stall"] > 0


@pytest.mark.parametrize(("arch", "seed"), [(NANO, 9), (WIDE, None)], ids=["nano", "wide"])
def test_a_gru_over_time_gives_what_the_reference_gives(
    arch: Architecture, seed: int | None
) -> None:
    """A GRU of 4 units whose phases SYNC keeps apart: parts of h, of x in memory, cell update."""
    steps, e = 3, arch.port_elements
    h, parts, inputs, state, weights = 0, 32, 64, 96, 0
    program = (
        Loop(count=steps),
        Load(ext_reg=1, addr=inputs, beats=12 // e),
        Contract(
            nm0=1, nn0=4, ys_n0=1, n_reduce=1, loop_count=(4, 3, 1, 1, 1, 1),
            loop_x=(1, 0, 0, 0, 0, 0), loop_y=(12, 4, 0, 0, 0, 0), loop_z=(0, 4, 0, 0, 0, 0),
            x_base=h, y_base=weights, z_base=parts, zs_n0=1, shift=7,
        ),
        Sync(),
        Gru(
            nl0=4, src_base=parts, src_l0=1, gate_stride=4, aux_base=inputs, dst_base=h, dst_l0=1,
            cell_base=state, cell_space=Space.Y, gate_frac=5, aux_frac=4, cell_frac=13,
            hidden_frac=7,
        ),
        Sync(),
        Store(addr=h, beats=4 // e, ext_base=1, ext_reg=2),
        Sync(),
        SetRegister(reg=1, mode=SetMode.ADD, value=12 * arch.element_bytes),
        SetRegister(reg=2, mode=SetMode.ADD, value=4 * arch.element_bytes),
        EndLoop(),
        Halt(),
    )  # fmt: skip
    setup = (Load(ext_offset=1024, space=Space.Y, addr=0, beats=48 // e), Sync())
    ran = run([*setup, *program], reference.Host(bases=(0, 4096, 0, 0)), arch, seed=seed)
    assert ran.counters["macs"] == steps * 4 * 12
    assert ran.counters["activations"] == steps * 3 * 4


@pytest.mark.parametrize("arch", [NANO, WIDE], ids=["nano", "wide"])
@pytest.mark.parametrize("seed", [None, 9])
def test_an_lstm_over_time_gives_what_the_reference_gives(
    arch: Architecture, seed: int | None
) -> None:
    """An LSTM with 4 units and 8 inputs: load x, gates = W (x, h) + b, cell update, store h."""
    steps, e = 3, arch.port_elements
    x, h, bias, gates, cell, weights = 0, 8, 32, 64, 96, 0
    program = (
        Give(mask=0b1010),
        Loop(count=steps),
        Load(wait=0b10, signal=0b01, ext_reg=1, addr=x, beats=8 // e),
        Contract(
            wait=0b1001, signal=0b0110, nm0=1, nn0=4, ys_n0=1, n_reduce=1,
            loop_count=(12, 4, 1, 1, 1, 1), loop_x=(1, 0, 0, 0, 0, 0), loop_y=(16, 4, 0, 0, 0, 0),
            loop_z=(0, 4, 0, 0, 0, 0), x_base=x, y_base=weights, z_base=gates, zs_n0=1,
            has_addend=1, d_space=Space.X, d_base=bias, d_shift=4, shift=8,
        ),
        Lstm(
            wait=0b100, signal=0b11000, nl0=4, src_base=gates, src_l0=1, gate_stride=4,
            dst_base=h, dst_l0=1, cell_base=cell, cell_space=Space.Y,
            gate_frac=5, cell_frac=12, hidden_frac=7,
        ),
        Store(wait=0b10000, addr=h, beats=4 // e, ext_base=1, ext_reg=2),
        SetRegister(reg=1, mode=SetMode.ADD, value=8 * arch.element_bytes),
        SetRegister(reg=2, mode=SetMode.ADD, value=4 * arch.element_bytes),
        EndLoop(),
        Halt(),
    )  # fmt: skip
    setup = (Load(ext_offset=1024, space=Space.Y, addr=0, beats=256 // e),)
    ran = run([*setup, *program], reference.Host(bases=(0, 4096, 0, 0)), arch, seed=seed)
    assert ran.counters["macs"] == steps * 12 * 16
    assert ran.counters["activations"] == steps * 5 * 4
