"""The native harness, on a machine that copies; the oracles are its inputs and its formula."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from einchip.verify.jobs import (
    Dump,
    Idle,
    Job,
    Load,
    Operation,
    Peek,
    Poke,
    PollRegister,
    ReadRegister,
    Response,
    Status,
    WaitIrq,
    WriteRegister,
)
from einchip.verify.native import RUNTIME, Harness, HarnessError, Hook, build
from tests.verify.memcpy import (
    ASSERTS,
    BUG,
    BURST_BEATS,
    CONTROL,
    DONE,
    FAILED,
    N_BURSTS,
    NO_WLAST,
    SOURCE,
    STATUS,
    TARGET,
    UNSTABLE,
    memcpy_verilog,
)

MEMORY_BYTES = 0x4000
TARGET_ADDRESS = 0x2000


@pytest.fixture(scope="session")
def harness(native_cache: Path) -> Harness:
    return build(memcpy_verilog(8), native_cache, 8)


def copy(data: bytes, port_bytes: int = 8, max_cycles: int = 10_000) -> list[Operation]:
    """Return the operations: 5 is the start, 6 the interrupt, 7 the status, 8 the copied data."""
    n_bursts = len(data) // (BURST_BEATS * port_bytes)
    return [
        Load(0, data),
        WriteRegister(SOURCE, 0),
        WriteRegister(TARGET, TARGET_ADDRESS),
        WriteRegister(N_BURSTS, n_bursts),
        ReadRegister(N_BURSTS),
        WriteRegister(CONTROL, 1),
        WaitIrq(max_cycles),
        ReadRegister(STATUS),
        Dump(TARGET_ADDRESS, len(data)),
    ]


def random_bytes(n_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(n_bytes)


def job(operations: Sequence[Operation], **options: object) -> Job:
    return Job(MEMORY_BYTES, operations, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("port_bytes", [8, 128])
def test_every_port_width_copies_in_the_cycles_of_the_formula(
    port_bytes: int, native_cache: Path
) -> None:
    harness = build(memcpy_verilog(port_bytes), native_cache, port_bytes)
    data = random_bytes(3 * BURST_BEATS * port_bytes)
    jobs = [job(copy(data, port_bytes), latency_cycles=latency) for latency in (1, 2, 8, 40)]
    for latency, result in zip((1, 2, 8, 40), harness.run(jobs), strict=True):
        start, done = result.outcomes[5], result.outcomes[6]
        assert result.outcomes[4].value == 3
        assert result.outcomes[7].value == DONE
        assert result.outcomes[8].data == data
        assert done.end - start.begin == 3 * (2 * latency + 9) + 2
        assert (result.read_beats, result.write_beats, result.hazards) == (12, 12, 0)


@pytest.mark.parametrize("stall_cycles", [1, 30])
@pytest.mark.parametrize("stall", [0.1, 0.9])
def test_stalls_change_cycles_and_nothing_else(
    harness: Harness, stall: float, stall_cycles: int
) -> None:
    data = random_bytes(512)
    jobs = [
        job(copy(data, max_cycles=10**6), stall=stall, stall_cycles=stall_cycles, seed=seed)
        for seed in range(20)
    ]
    results = harness.run(jobs)
    assert all(result.outcomes[7].value == DONE for result in results)
    assert all(result.outcomes[8].data == data for result in results)
    assert len({result.cycles for result in results}) > 10
    assert harness.run(jobs) == results


def test_a_fault_range_answers_slverr_and_keeps_its_bytes(harness: Harness) -> None:
    data = random_bytes(64)
    operations = [*copy(data), Dump(0, 64)]
    faults = [(TARGET_ADDRESS + 8, TARGET_ADDRESS + 12)]
    [result] = harness.run([job(operations, faults=faults)])
    assert result.outcomes[7].value == DONE | FAILED
    assert result.outcomes[8].data == data[:8] + bytes(8) + data[16:]
    assert result.outcomes[9].data == data


def test_outside_memory_answers_and_does_not_hang(harness: Harness) -> None:
    operations = copy(random_bytes(64))
    operations[1] = WriteRegister(SOURCE, 0x10_0000)
    [result] = harness.run([job(operations)])
    assert result.outcomes[7].value == DONE | FAILED
    assert result.outcomes[8].data == b"\xa5" * 64


def test_a_machine_that_does_not_finish_times_out(harness: Harness) -> None:
    operations = copy(random_bytes(64))
    del operations[5]
    [result] = harness.run([job(operations)])
    assert result.outcomes[5].status is Status.TIMEOUT
    assert result.outcomes[5].end - result.outcomes[5].begin == 10_000


def test_registers_poll_and_report_their_response(harness: Harness) -> None:
    operations = [
        *copy(random_bytes(64))[:6],
        PollRegister(STATUS, DONE, 1000),
        PollRegister(STATUS, 0, 50, mask=DONE),
        ReadRegister(0x40),
        Idle(7),
    ]
    [result] = harness.run([job(operations)])
    polled, missed, outside, idle = result.outcomes[6:]
    assert (polled.status, polled.value) == (Status.OK, DONE)
    assert missed.status is Status.TIMEOUT
    assert outside.response is Response.SLVERR
    assert idle.end - idle.begin == 7


@pytest.mark.parametrize(
    ("bug", "message"),
    [
        (NO_WLAST, "wlast at the wrong beat"),
        (UNSTABLE, "wvalid fell before ready"),
        (ASSERTS, "an assertion in the RTL failed\na second burst"),
    ],
)
def test_a_broken_rule_is_reported(bug: int, message: str, harness: Harness) -> None:
    broken = job([WriteRegister(BUG, bug), *copy(random_bytes(256))], stall=0.5)
    with pytest.raises(HarnessError, match=message):
        harness.run([broken])
    [result] = harness.run([broken], check=False)
    assert result.violations > 0


def test_a_burst_across_4_kib_is_reported(harness: Harness) -> None:
    operations = copy(random_bytes(64))
    operations[1] = WriteRegister(SOURCE, 0x1000 - 8)
    with pytest.raises(HarnessError, match="crosses a 4 KiB boundary"):
        harness.run([job(operations)])


def test_jobs_do_not_depend_on_their_neighbours(harness: Harness) -> None:
    jobs = [job(copy(random_bytes(32 * n, n))) for n in (1, 2, 3)]
    together = harness.run(jobs)
    alone = [harness.run([one])[0] for one in jobs]
    assert together == alone


def test_a_thousand_programs_run_in_a_second(harness: Harness) -> None:
    jobs = [job(copy(random_bytes(64, seed), max_cycles=1000)) for seed in range(1000)]
    began = time.process_time()
    results = harness.run(jobs)
    assert time.process_time() - began < 1
    assert all(result.outcomes[6].status is Status.OK for result in results)


def test_a_hook_reaches_inside_and_a_trace_is_recorded(native_cache: Path, tmp_path: Path) -> None:
    header = """
        #include "Vtop___024root.h"
        static bool einchip_peek(Vtop& top, uint32_t space, uint64_t address, uint8_t* bytes,
                                 uint64_t n) {
            if (space != 0 || address + n > 16) return false;
            const auto& rows = top.rootp->einchip_harness__DOT__einchip_top__DOT__buffer;
            for (uint64_t i = 0; i < n; ++i)
                bytes[i] = rows[(address + i) / 4] >> ((address + i) % 4 * 8);
            return true;
        }
        static bool einchip_poke(Vtop& top, uint32_t, uint64_t address, const uint8_t* bytes,
                                 uint64_t n) {
            std::memcpy(&top.rootp->einchip_harness__DOT__einchip_top__DOT__buffer[address / 4],
                        bytes, n);
            return true;
        }
    """
    control = '`verilator_config\npublic_flat_rw -module "einchip_top" -var "buffer"\n'
    hook = Hook(header, control)
    harness = build(memcpy_verilog(4), native_cache, 4, hook=hook, traced=True)
    data, poked = random_bytes(16), random_bytes(4, 1)
    inside: list[Operation] = [Peek(0, 0, 16), Poke(0, 8, poked), Peek(0, 8, 4), Peek(1, 0, 1)]
    trace = tmp_path / "trace.vcd"
    [result] = harness.run([job([*copy(data, 4), *inside])], trace=trace)
    assert result.outcomes[8].data == data
    assert result.outcomes[9].data == data
    assert result.outcomes[11].data == poked
    assert result.outcomes[12].status is Status.UNSUPPORTED
    assert "m_axi__araddr" in trace.read_text()


def test_the_objects_of_verilator_itself_are_kept(native_cache: Path, harness: Harness) -> None:
    kept = [path for path in native_cache.glob("runtime_*") if path.name.endswith("_0")]
    assert [{path.name for path in folder.iterdir()} for folder in kept] == [{*RUNTIME}]


def test_without_a_hook_peek_says_so(harness: Harness) -> None:
    [result] = harness.run([job([Peek(0, 0, 1), Poke(0, 0, b"x")])])
    assert {outcome.status for outcome in result.outcomes} == {Status.UNSUPPORTED}


def test_other_ports_are_refused(native_cache: Path) -> None:
    with pytest.raises(ValueError, match="m_axi__wdata is an output of 64 bits"):
        build(memcpy_verilog(8), native_cache, 16)
    renamed = memcpy_verilog(8).replace("irq", "interrupt")
    with pytest.raises(ValueError, match="irq is missing"):
        build(renamed, native_cache, 8)
