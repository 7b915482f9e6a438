"""Faulty programs: code and address of the error, what memory keeps, and the start after it.

Each program is sound but for one fault (`faults`). Oracles: the simulator, which says which error
comes first in time; the reference, where a program has one error whenever it is run.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from einchip import reference
from einchip.arch import PRESETS, Architecture
from einchip.numeric import Ints
from einchip.program import (
    WORD_BYTES,
    Contract,
    Error,
    Halt,
    Load,
    Lstm,
    Program,
    SetRegister,
    Store,
)
from einchip.reference import MachineError, Memory
from einchip.registers import ADDRESS, CONTROL_FETCH, CONTROL_START, STATUS_DONE, STATUS_ERROR
from einchip.sim import simulate
from einchip.verify import jobs
from einchip.verify.jobs import Job, Operation, ReadRegister, WaitIrq, WriteRegister
from einchip.verify.machine import RtlResult, RtlRun, Start, Work
from tests.system import faults
from tests.system.compare import machine
from tests.system.faults import Faulty, Illegal
from tests.system.machines import MACHINES
from tests.system.programs import Case, random_case

NANO = PRESETS["nano"]
#: The program that starts after an error.
GOOD_SEED = 7
#: Those whose error does not depend on when it happens, so that `reference` knows it.
TIMELESS = ("count", "field", "lacking", "lanes", "base", "alignment")


def expected_error(bad: Faulty) -> tuple[Error, int] | None:
    """Return the error with which the machine stops; None where the fault does no harm."""
    if bad.bus is not None:
        return faults.bus_error(bad.case, bad.bus)
    case = bad.case
    for pc, instruction in case.program.addresses():
        if isinstance(instruction, Illegal):
            return Error.OPCODE, pc
    memory = case.memory.copy()
    return simulate(case.program, case.arch, memory=memory, host=case.host, latency=8).error


def run(bad: list[Faulty], good: Case, native_cache: Path) -> list[tuple[RtlResult, RtlResult]]:
    """Run each faulty program; and each once more, then the good one after it."""
    work = []
    for one in bad:
        start = Start(one.case.program, one.case.host)
        bus = [one.bus] if one.bus else []
        alone = Work([start], one.case.memory, faults=bus)
        work += [alone, replace(alone, starts=[start, Start(good.program, good.host)])]
    results = machine(good.arch, native_cache).run_all(work)
    return list(zip(results[::2], results[1::2], strict=True))


def changed(case: Case, after: Memory) -> tuple[int, int]:
    """Return masks of the elements and external bytes that changed, as `faults.may_write`."""
    x, y = (_mask(case.memory.space(s) != after.space(s)) for s in (0, 1))
    pairs = (np.frombuffer(bytes(m.external), np.uint8) for m in (case.memory, after))
    return x | y << case.arch.capacity(0), _mask(np.not_equal(*pairs))


def _mask(bits: np.ndarray | Ints) -> int:
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def check(bad: Faulty, result: RtlResult, again: RtlResult, good: Case) -> list[str]:
    """Return what is wrong about a faulty program's end and about the start after it."""
    wrong = []
    if result.runs[0].error != (expected := expected_error(bad)):
        wrong.append(f"{bad.what}: {result.runs[0].error}, expected {expected}")
    may = faults.may_write(bad.case)
    if any(
        was & ~allowed for was, allowed in zip(changed(bad.case, result.memory), may, strict=True)
    ):
        wrong.append(f"{bad.what}: wrote what no instruction names")
    return wrong + [
        f"{bad.what}: afterwards {text}" for text in _check_good(bad, result, again, good)
    ]


def _check_good(bad: Faulty, result: RtlResult, again: RtlResult, good: Case) -> list[str]:
    """Return how the good program differs from itself on a machine that had no error."""
    run = again.runs[1]
    if bad.bus is not None:
        expected = faults.bus_error(good, bad.bus)
        return [] if run.error == expected else [f"{run.error}, expected {expected}"]
    memory = result.memory.copy()
    simulated = simulate(good.program, good.arch, memory=memory, host=good.host)
    same = (
        all(np.array_equal(memory.space(s), again.memory.space(s)) for s in (0, 1))
        and memory.external == again.memory.external
    )
    wrong = [] if same else ["leaves another memory"]
    return wrong + ([] if run == RtlRun(simulated.cycles, simulated.counters, None) else [f"{run}"])


def differences(seeds: range, arch: Architecture, native_cache: Path) -> list[str]:
    good = random_case(GOOD_SEED, arch)
    bad = [faults.faulty(seed, random_case(seed, arch)) for seed in seeds]
    pairs = zip(bad, run(bad, good, native_cache), strict=True)
    return [text for one, (result, again) in pairs for text in check(one, result, again, good)]


@pytest.mark.parametrize("what", faults.NAMES)
def test_fault_stops_the_machine_with_its_error(what: str, native_cache: Path) -> None:
    # nano has every cell, and scratchpads that no transfer leaves before external memory
    arch = MACHINES["outer"] if what in ("lacking", "beats") else NANO
    good = random_case(GOOD_SEED, arch)
    bad = []
    for seed in range(100):
        try:
            bad.append(faults.named(what, seed, random_case(seed, arch)))
        except faults.NothingToBreakError:
            continue
        if len(bad) == 4:
            break
    assert len(bad) == 4
    pairs = zip(bad, run(bad, good, native_cache), strict=True)
    assert [
        text for one, (result, again) in pairs for text in check(one, result, again, good)
    ] == []


@pytest.mark.parametrize("name", ["nano", "flex", "inner", "one", "one16"])
def test_random_faults_stop_the_machine_with_their_errors(name: str, native_cache: Path) -> None:
    assert differences(range(40), MACHINES[name], native_cache) == []


#: Something for the array, and for the vector unit, that lasts 100 cycles, in different places of
#: nano; the first also where operands are held.
BLOCKS = Contract(
    nm0=2, nn0=2, nk0=2, xs_m0=1, xs_k0=2, ys_n0=1, ys_k0=2, y_base=1024,
    z_base=2048, zs_m0=2, zs_n0=1, n_reduce=1, loop_count=(3, 30, 1, 1, 1, 1),
    loop_x=(4, 8, 0, 0, 0, 0), loop_y=(4, 8, 0, 0, 0, 0), loop_z=(0, 8, 0, 0, 0, 0),
    has_addend=1, d_space=1,
)  # fmt: skip
HELD = Contract(
    nm0=4, nh=3, xs_m0=1, xs_h=4, y_base=1024, z_base=2048, zs_m0=8, zs_h=1,
    n_hold=1, n_reduce=1, loop_count=(2, 3, 15, 1, 1, 1),
    loop_x=(0, 12, 36, 0, 0, 0), loop_y=(1, 2, 6, 0, 0, 0), loop_z=(4, 0, 32, 0, 0, 0),
    has_addend=1, d_space=1,
)  # fmt: skip
CELL = Lstm(
    nl0=4, src_l0=1, dst_l0=1, src_space=1, src_base=4096, gate_stride=128, dst_base=6144,
    cell_base=7168, loop_count=(30, 1, 1, 1), loop_src=(4, 0, 0, 0), loop_dst=(4, 0, 0, 0),
)  # fmt: skip
LONG = {"nano": (NANO, (BLOCKS, CELL)), "flex": (NANO.override(fold="flex"), (HELD, CELL))}


@pytest.mark.parametrize("name", ["nano", pytest.param("flex", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("kind", [Load, Store])
def test_a_stop_in_any_cycle_leaves_nothing_behind(
    kind: type[Load | Store], name: str, native_cache: Path
) -> None:
    arch, long = LONG[name]
    case, good = random_case(0, arch), random_case(GOOD_SEED, arch)
    transfer = kind(beats=200, space=1, addr=6144, ext_offset=-case.host.bases[0] % (1 << 32))
    odd = (Store(beats=1, ext_offset=transfer.ext_offset),)  # takes an odd number of cycles
    bad = []
    for n_cycles in range(80):
        wait = (*odd * (n_cycles % 2), *(SetRegister(reg=1),) * (n_cycles // 2))
        program = Program((transfer, *long, *wait, Illegal()))
        bad.append(Faulty(f"{kind.__name__}, {n_cycles}", replace(case, program=program)))
    pairs = zip(bad, run(bad, good, native_cache), strict=True)
    assert [
        text for one, (result, again) in pairs for text in check(one, result, again, good)
    ] == []


@pytest.mark.nightly
@pytest.mark.parametrize("arch", MACHINES.values(), ids=MACHINES)
def test_many_random_faults(arch: Architecture, native_cache: Path) -> None:
    assert differences(range(1000, 1300), arch, native_cache) == []


@pytest.mark.parametrize("what", TIMELESS)
def test_simulator_and_reference_name_the_same_error(what: str) -> None:
    for seed in range(60):
        try:
            case = faults.named(what, seed, random_case(seed, NANO)).case
        except faults.NothingToBreakError:
            continue
        error = None
        try:
            reference.run(case.program, NANO, case.memory.copy(), case.host)
        except MachineError as raised:
            error = (raised.code, raised.address)
        assert (
            simulate(case.program, NANO, memory=case.memory.copy(), host=case.host).error == error
        )


def test_every_error_code_is_met() -> None:
    met = {
        error[0]
        for what in faults.NAMES
        for seed in range(20)
        if (error := _error_or_none(what, seed)) is not None
    }
    assert met == set(Error) - {Error.NONE}


def _error_or_none(what: str, seed: int) -> tuple[Error, int] | None:
    try:
        return expected_error(faults.named(what, seed, random_case(seed, NANO)))
    except faults.NothingToBreakError:
        return None


def test_a_program_beyond_program_memory_is_a_field_error(native_cache: Path) -> None:
    program = Program((Halt(),) * (NANO.program_words + 1))
    memory = Memory.empty(NANO, 64)
    result = machine(NANO, native_cache).run([Start(program)], memory)
    assert result.runs[0].error == (Error.FIELD, 0)
    assert result.runs[0].counters["dma_read_beats"] == 0


def test_a_bus_error_while_fetching_names_the_burst(native_cache: Path) -> None:
    program, rtl = Program((Halt(),) * 100), machine(NANO, native_cache)
    burst_bytes, at = NANO.burst_beats * NANO.port_bytes, 4096
    bad = range(at, at + program.n_words * WORD_BYTES, 100)
    results = rtl.harness.run(
        [Job(2 * at, fetch(program, at), faults=[(byte, byte + 1)]) for byte in bad]
    )
    found = [tuple(o.value for o in result.outcomes[-3:]) for result in results]
    stopped = STATUS_DONE | STATUS_ERROR
    assert found == [(stopped, Error.AXI_READ, byte & -burst_bytes) for byte in bad]


def test_the_watchdog_counts_from_the_last_progress(native_cache: Path) -> None:
    program, rtl = Program((Load(beats=1, wait=1), Halt())), machine(NANO, native_cache)
    limits = (10, 100, 1000)
    results = rtl.harness.run([Job(4096, fetch(program, 0, watchdog=n)) for n in limits])
    found = [[o.value for o in result.outcomes[-3:]] for result in results]
    assert found == [[STATUS_DONE | STATUS_ERROR, Error.TIMEOUT, 1]] * len(limits)
    starts, ends = zip(*((r.outcomes[-5].end, r.outcomes[-4].end) for r in results), strict=True)
    waited = [end - start for start, end in zip(starts, ends, strict=True)]
    assert [b - a for a, b in pairwise(waited)] == [90, 900]


def fetch(program: Program, at: int, watchdog: int = 1000) -> list[Operation]:
    """Return the operations of a start; the last three read how it stopped."""
    registers = {
        "PROGRAM_ADDRESS": at,
        "PROGRAM_WORDS": program.n_words,
        "WATCHDOG": watchdog,
        "IRQ_ENABLE": 1,
        "CONTROL": CONTROL_START | CONTROL_FETCH,
    }
    return [
        jobs.Load(at, program.encode()),
        *(WriteRegister(ADDRESS[name], value) for name, value in registers.items()),
        WaitIrq(100_000),
        *(ReadRegister(ADDRESS[name]) for name in ("STATUS", "ERROR_CODE", "ERROR_ADDRESS")),
    ]
