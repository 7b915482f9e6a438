"""Emulated machines: their registers against the RTL's own, the two against each other."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from einchip.host import Device
from einchip.host.emulated import ReferenceDevice, RtlDevice, SimulatorDevice
from einchip.program import (
    WORD_BYTES,
    Contract,
    EndLoop,
    Error,
    Fill,
    Give,
    Halt,
    Instruction,
    Load,
    Loop,
    Program,
    SetRegister,
    Store,
    Sync,
)
from einchip.registers import (
    ADDRESS,
    ADDRESS_BITS,
    CONTROL_FETCH,
    CONTROL_IRQ_CLEAR,
    CONTROL_START,
    COUNTERS,
    REGISTERS,
    STATUS_DONE,
    STATUS_ERROR,
)
from einchip.verify import verilator
from einchip.verify.jobs import Job, ReadRegister, Response, WaitIrq, WriteRegister
from einchip.verify.machine import RtlMachine
from einchip.verify.verilator import VerilatorError
from tests.host.helpers import (
    CODE,
    MEMORY_BYTES,
    NANO,
    error,
    pair,
    preset,
    read,
    refused,
    registers,
    same,
    set_host,
    start,
    start_words,
    write,
)
from tests.system import faults
from tests.system.machines import MACHINES
from tests.system.programs import random_case

STOPPED = STATUS_DONE | STATUS_ERROR
#: Fills a vector of X at its address.
FILL = Fill(nl0=4, dst_l0=1, value=7)


def accessed(device: Device, operation: ReadRegister | WriteRegister) -> int:
    """Do an access of the harness on a device; return what was read."""
    if isinstance(operation, ReadRegister):
        return device.read_register(operation.address)
    device.write_register(operation.address, operation.value)
    return 0


def test_registers_answer_as_those_of_the_rtl(native_cache: Path) -> None:
    rng = random.Random(1)
    known = [r.address for r in REGISTERS if r.name not in ("CONTROL", "CONFIG_HASH")]
    writes = [(rng.choice(known), rng.getrandbits(32)) for _ in range(80)]
    writes += [(a, 0xFFFFFFFF) for a in (1, 0x7C, ADDRESS["BASE0"] + 2, (1 << ADDRESS_BITS) - 4)]
    # words of no program: an error, code and address of which are read below, too
    last = [(ADDRESS["PROGRAM_WORDS"], 0), (ADDRESS["IRQ_ENABLE"], 1), (ADDRESS["CONTROL"], 1)]
    first_counter = ADDRESS["CYCLES_LO"]  # which count, after an error, as they like
    reads = [ReadRegister(a) for a in (*range(0, first_counter, 4), 2, 0x1FC)]
    start = [WriteRegister(*w) for w in last]
    operations: list[ReadRegister | WriteRegister | WaitIrq]
    operations = [*(WriteRegister(*w) for w in writes), *reads, *start, WaitIrq(100), *reads]
    harness = RtlMachine.build(NANO, native_cache).harness
    [result] = harness.run([Job(4096, operations)])
    device = SimulatorDevice(NANO, MEMORY_BYTES)
    for operation, outcome in zip(operations, result.outcomes, strict=True):
        if isinstance(operation, WaitIrq):
            continue
        refuses = outcome.response is Response.SLVERR
        assert refuses == (operation.address not in ADDRESS.values())
        access = partial(accessed, device, operation)
        if refuses:
            refused(access)
        else:
            assert access() == outcome.value, operation
    assert error(device) == (STOPPED, Error.NO_HALT, 0)
    assert device.irq


def test_more_than_32_bits_are_refused() -> None:
    device = SimulatorDevice(NANO, MEMORY_BYTES)
    for value in (-1, 1 << 32):
        message = refused(partial(write, device, BASE1=value))
        assert message.startswith(f"register BASE1: found {value}, expected 0 to 4294967295")


@pytest.mark.parametrize("latency", [1, 8, 30])
def test_simulator_and_rtl_agree_in_everything(latency: int, native_cache: Path) -> None:
    """Registers, memory, scratchpads; one start after the other, with and without a fetch."""
    devices = pair(native_cache, latency=latency)
    for seed in range(8):
        case = random_case(10 * latency + seed, NANO)
        at = CODE + WORD_BYTES * (seed * 37 % 200)
        for device in devices:
            if seed % 4 == 0:
                preset((device,), case.memory)
            set_host(device, case.host)
            start(device, *case.program.instructions, at=at)
        assert same(*devices), seed
        assert read(devices[0], "STATUS") == STATUS_DONE
        fetched = read(devices[0], "CYCLES_LO")
        for device in devices:
            write(device, CONTROL=CONTROL_START)
        assert same(*devices), seed
        assert 0 < read(devices[0], "CYCLES_LO") < fetched


@pytest.mark.parametrize(
    "name", ["least", *(pytest.param(n, marks=pytest.mark.nightly) for n in ("wordy", "flex"))]
)
def test_other_machines_agree_too(name: str, native_cache: Path) -> None:
    """Bursts of one beat; a word in a beat, 16-bit elements; held operands."""
    arch = MACHINES[name]
    devices = pair(native_cache, arch)
    for seed in range(4):
        case = random_case(seed, arch)
        preset(devices, case.memory)
        for device in devices:
            set_host(device, case.host)
            start(device, *case.program.instructions)
            write(device, CONTROL=CONTROL_START)
        assert same(*devices), seed
        assert read(devices[0], "STATUS") == STATUS_DONE


def test_errors_of_random_faults_agree(native_cache: Path) -> None:
    stopped = 0
    for seed in range(30):
        bad = faults.faulty(seed, random_case(seed, NANO))
        if bad.bus is not None:
            continue  # a memory with holes
        devices = (*pair(native_cache), ReferenceDevice(NANO, MEMORY_BYTES))
        preset(devices, bad.case.memory)
        for device in devices:
            set_host(device, bad.case.host)
            start(device, *bad.case.program.instructions)
        assert error(devices[0]) == error(devices[1]), bad.what
        stopped += error(devices[0])[0] == STOPPED
    assert stopped > 15


CUT = Contract().encode()[: 4 * WORD_BYTES]
UNKNOWN = bytes([99]) + bytes(WORD_BYTES - 1)
HALTS = Halt().encode()
FILLS = FILL.encode() + Sync().encode()


@pytest.mark.parametrize(
    ("words", "at", "expected"),
    [
        (b"", CODE, (Error.NO_HALT, 0)),
        (b"", CODE + 8, (Error.NO_HALT, 0)),
        (HALTS, CODE + 8, (Error.ALIGNMENT, 0)),
        (HALTS * (NANO.program_words + 1), CODE, (Error.FIELD, 0)),
        (FILLS + UNKNOWN + HALTS, CODE, (Error.OPCODE, 5)),
        (FILLS, CODE, (Error.NO_HALT, 5)),
        (FILLS + CUT, CODE, (Error.NO_HALT, 5 + 4)),
        (HALTS * 20, MEMORY_BYTES - 256, (Error.AXI_READ, MEMORY_BYTES)),
        (HALTS * 20, MEMORY_BYTES - 128, (Error.AXI_READ, MEMORY_BYTES)),
        (HALTS, 1 << 31, (Error.AXI_READ, 1 << 31)),
        (Load(beats=1, ext_base=1).encode() + HALTS, CODE, (Error.AXI_READ, MEMORY_BYTES)),
        (Store(beats=1, ext_base=1).encode() + HALTS, CODE, (Error.AXI_WRITE, MEMORY_BYTES)),
        (Loop(count=2).encode() + UNKNOWN + EndLoop().encode(), CODE, (Error.OPCODE, 1)),
    ],
)
def test_error_of_words_that_are_no_program(
    words: bytes, at: int, expected: tuple[Error, int], native_cache: Path
) -> None:
    devices = (*pair(native_cache), ReferenceDevice(NANO, MEMORY_BYTES))
    for device in devices:
        write(device, BASE1=MEMORY_BYTES)
        if at < MEMORY_BYTES:
            start_words(device, words, at)
        else:
            write(device, PROGRAM_ADDRESS=at, PROGRAM_WORDS=len(words) // WORD_BYTES)
            write(device, CONTROL=CONTROL_START | CONTROL_FETCH)
        assert error(device) == (STOPPED, *expected), device
    filled = [device.state.x[:4].tolist() for device in devices]
    assert filled == [[7 if words.startswith(FILLS) else 0] * 4] * 3


def test_fetch_that_memory_ends_leaves_the_words_before_the_end(native_cache: Path) -> None:
    devices = pair(native_cache)
    for device in devices:
        start_words(device, (FILL.encode() + HALTS) * 3, MEMORY_BYTES - 128)
        assert error(device)[0] == STOPPED
        write(device, PROGRAM_WORDS=8, CONTROL=CONTROL_START)
        assert read(device, "STATUS") == STATUS_DONE
    assert same(*devices)
    assert devices[0].state.x[0] == 7


def test_words_behind_a_shorter_program_stay(native_cache: Path) -> None:
    """What program memory holds from an older program runs when PROGRAM_WORDS says so."""
    devices = pair(native_cache)
    for device in devices:
        start(device, SetRegister(reg=1), SetRegister(reg=1), FILL, Halt())
        device.state.x[:] = 0
        start(device, Give(), Halt())
        assert not device.state.x.any()
        write(device, PROGRAM_WORDS=1, CONTROL=CONTROL_START)
        assert error(device) == (STOPPED, Error.NO_HALT, 1)
        write(device, PROGRAM_WORDS=7, CONTROL=CONTROL_START)
        assert read(device, "STATUS") == STATUS_DONE
    assert same(*devices)


def test_whole_program_memory_is_kept(native_cache: Path) -> None:
    code: list[Instruction] = [SetRegister(reg=1)] * (NANO.program_words - FILL.WORDS - 1)
    devices = pair(native_cache)
    for device in devices:
        start(device, *code, FILL, Halt())
        device.state.x[:] = 0
        write(device, CONTROL=CONTROL_START)
    assert same(*devices)
    assert devices[1].state.x[:4].tolist() == [7] * 4


def test_program_memory_after_power_up_holds_no_program(native_cache: Path) -> None:
    for device in pair(native_cache):
        write(device, PROGRAM_WORDS=3, CONTROL=CONTROL_START)
        assert error(device) == (STOPPED, Error.OPCODE, 0)


def test_scratchpads_and_memory_are_those_that_the_last_start_left(native_cache: Path) -> None:
    devices = pair(native_cache)
    for device in devices:
        device.write_memory(5, b"\x01\x02\x03")
        start(device, Load(beats=2), Halt())
        start(device, Store(beats=2, ext_offset=64, addr=4), Store(beats=2, ext_offset=96), Halt())
        assert device.read_memory(63, 6) == bytes((0, 0, 1, 2, 3, 0))
        assert device.read_memory(101, 3) == bytes((1, 2, 3))
    assert same(*devices)


def test_start_clears_counters_and_error(native_cache: Path) -> None:
    for device in pair(native_cache):
        start(device, FILL, Halt())
        assert read(device, "X_WRITES_LO") == 4
        start(device, Loop(count=0), Halt())
        assert error(device) == (STOPPED, Error.FIELD, 0)
        start(device, Halt())
        assert error(device) == (STATUS_DONE, Error.NONE, 0)
        assert read(device, "X_WRITES_LO") == 0
        found = registers(device)
        assert found["CYCLES_LO"] == found["STORE_IDLE_LO"] > 0
        assert not any(found[f"{c.name.upper()}_HI"] for c in COUNTERS)


def test_interrupt_rises_with_a_stop_where_it_is_enabled_until_it_is_cleared() -> None:
    device = SimulatorDevice(NANO, MEMORY_BYTES)
    start(device, Halt())
    assert not device.irq
    write(device, IRQ_ENABLE=3)
    assert read(device, "IRQ_ENABLE") == 1
    write(device, CONTROL=CONTROL_START)
    assert device.irq
    write(device, CONTROL=CONTROL_FETCH, IRQ_ENABLE=0)
    assert device.irq
    write(device, CONTROL=CONTROL_IRQ_CLEAR)
    assert not device.irq


def test_counter_of_more_than_32_bits_has_a_high_word(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimulatorDevice(NANO, MEMORY_BYTES)
    end = device.execute(fetch=False)._replace(error=None, counters={"macs": (3 << 32) + 5})
    monkeypatch.setattr(device, "execute", lambda fetch: end)
    write(device, CONTROL=CONTROL_START)
    assert (read(device, "MACS_LO"), read(device, "MACS_HI")) == (5, 3)


def test_simulator_refuses_a_watchdog_that_the_rtl_may_obey(native_cache: Path) -> None:
    simulator, rtl = pair(native_cache, latency=200)
    code = (Load(beats=1), Halt())
    for limit, expired in ((100, True), (simulator.longest_silence + 1, False)):
        write(rtl, WATCHDOG=limit)
        start(rtl, *code)
        assert error(rtl)[:2] == ((STOPPED, Error.TIMEOUT) if expired else (STATUS_DONE, 0))
    write(simulator, WATCHDOG=simulator.longest_silence)
    message = refused(lambda: start(simulator, *code))
    assert message.startswith("simulator: WATCHDOG: found ")
    assert message.endswith("raise it")
    write(simulator, WATCHDOG=simulator.longest_silence + 1)
    start(simulator, *code)
    assert same(simulator, rtl)


@pytest.mark.parametrize("latency", [1, 40])
def test_sound_programs_are_never_silent_for_longer_than_the_bound(
    latency: int, native_cache: Path
) -> None:
    simulator, rtl = pair(native_cache, latency=latency)
    for seed in range(15):
        case = random_case(seed, NANO)
        preset((rtl,), case.memory)
        set_host(rtl, case.host)
        write(rtl, WATCHDOG=simulator.longest_silence + 1)
        start(rtl, *case.program.instructions)
        assert read(rtl, "STATUS") == STATUS_DONE, seed


def test_deadlock_is_a_timeout(native_cache: Path) -> None:
    for device in pair(native_cache):
        start(device, FILL, replace(FILL, wait=1), Halt())
        assert error(device) == (STOPPED, Error.TIMEOUT, 8)


def test_rtl_that_does_not_stop_is_an_error_and_can_be_used_again(native_cache: Path) -> None:
    device = RtlDevice(NANO, MEMORY_BYTES, native_cache, max_cycles=1000)
    endless = Loop(count=1 << 30), Give(), EndLoop(), Halt()
    message = refused(lambda: start(device, *endless))
    assert message.startswith("rtl: found no stop within 1,000 cycles; ")
    start(device, FILL, Halt())
    assert error(device) == (STATUS_DONE, Error.NONE, 0)


def test_rtl_refuses_reads_and_writes_that_overlap(native_cache: Path) -> None:
    device = RtlDevice(NANO, MEMORY_BYTES, native_cache)
    message = refused(lambda: start(device, Load(beats=64), Store(beats=64, addr=4096), Halt()))
    assert "reads and writes of external memory that overlap" in message


def test_simulator_refuses_lanes_in_one_bank() -> None:
    device = SimulatorDevice(NANO, MEMORY_BYTES)
    message = refused(lambda: start(device, Fill(nl0=4, dst_l0=4), Halt()))
    assert message.startswith("simulator: word 0: Fill: two lanes of dst lie in one bank")


@pytest.mark.parametrize(
    ("address", "n_bytes"), [(MEMORY_BYTES, 1), (MEMORY_BYTES - 3, 4), (-1, 1), (0, -1)]
)
def test_memory_ends(address: int, n_bytes: int) -> None:
    with SimulatorDevice(NANO, MEMORY_BYTES) as device:
        message = refused(lambda: device.read_memory(address, n_bytes))
        assert f"found {n_bytes} bytes from" in message
        if n_bytes > 0:
            assert refused(lambda: device.write_memory(address, bytes(n_bytes))) == message
        assert device.read_memory(MEMORY_BYTES, 0) == b""
        device.close()


@pytest.mark.parametrize("n_bytes", [0, -4096, 100])
def test_memory_is_made_of_pages(n_bytes: int) -> None:
    message = refused(lambda: SimulatorDevice(NANO, n_bytes))
    assert message.startswith(f"memory: found {n_bytes:,} bytes, expected a multiple of 4096")


def test_rtl_that_cannot_be_built_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    message = refused(lambda: RtlDevice(NANO, MEMORY_BYTES, tmp_path / "file" / "cache"))
    assert "Not a directory; choose another folder" in message

    def fail() -> None:
        raise VerilatorError("g++: no such\nprogram")

    monkeypatch.setattr(verilator, "find", fail)
    monkeypatch.setattr("einchip.verify.machine.generated", lambda *_: "module einchip_top;")
    monkeypatch.setattr("einchip.verify.native._check_ports", lambda *_: {})
    message = refused(lambda: RtlDevice(NANO, MEMORY_BYTES, tmp_path))
    assert message == ("rtl: cannot build the machine: g++: no such program; see `einchip doctor`")


def test_program_of_the_reference_takes_no_time() -> None:
    device = ReferenceDevice(NANO, MEMORY_BYTES)
    start(device, FILL, Halt())
    assert device.state.x[:4].tolist() == [7] * 4
    assert not any(v for n, v in registers(device).items() if n.endswith(("_LO", "_HI")))
    assert len(Program((FILL, Halt())).encode()) == 5 * WORD_BYTES
