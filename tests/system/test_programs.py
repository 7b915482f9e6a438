"""Random programs: reference, simulator and RTL leave the same memory, cycles and counters."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einchip.arch import PRESETS, Architecture
from einchip.sim import simulate
from tests.sim import stepped
from tests.system.compare import Job, job, machine, rtl_differences, simulator_differences
from tests.system.machines import MACHINES, PIPELINED
from tests.system.programs import cases, random_case

LATENCIES = (1, 8, 40)
EVERY = pytest.mark.parametrize("arch", MACHINES.values(), ids=MACHINES)
#: Machines that are compiled, and how many programs they run. The odd ones but for the least, whose
#: bursts of one beat show what the others' hide, run at night.
BUILT = pytest.mark.parametrize(
    ("arch", "n"),
    [
        pytest.param(PRESETS["nano"], 72, id="nano"),
        pytest.param(PRESETS["small"], 72, id="small"),
        pytest.param(PRESETS["base"], 36, id="base"),
        pytest.param(MACHINES["least"], 72, id="least"),
        pytest.param(MACHINES["flex"], 72, id="flex"),
        pytest.param(MACHINES["inner"], 36, id="inner"),
        pytest.param(MACHINES["outer"], 24, id="outer"),
        pytest.param(MACHINES["one"], 72, id="one"),
        pytest.param(MACHINES["one16"], 36, id="one16"),
        *(
            pytest.param(MACHINES[name], 72, id=name, marks=pytest.mark.nightly)
            for name in ("wide", "tall", "wordy", "low", "flex2", "flex4", "dots")
        ),
    ],
)


def plain(seeds: Sequence[int], arch: Architecture) -> Iterator[Job]:
    for seed in seeds:
        yield job(random_case(seed, arch), latency=LATENCIES[seed % 3])


def repeated(seeds: Sequence[int], arch: Architecture) -> Iterator[Job]:
    """Each job starts a program, then another that overwrites it, then that once more, resident."""
    for seed in seeds:
        first, second = (random_case(s, arch) for s in (seed, seed + 1))
        yield job(first, second, latency=LATENCIES[seed % 3], resident=True)


def stalled(seeds: Sequence[int], arch: Architecture) -> Iterator[Job]:
    for seed in seeds:
        stall, cycles = (0.1, 0.5, 0.9)[seed % 3], (1, 7, 30)[seed // 3 % 3]
        case = random_case(seed, arch)
        yield job(
            case, latency=LATENCIES[seed // 9 % 3], stall=stall, stall_cycles=cycles, seed=seed
        )


@EVERY
def test_simulator_leaves_what_the_reference_leaves(arch: Architecture) -> None:
    jobs = [*plain(range(30), arch), *repeated(range(1000, 1005), arch)]
    assert [line for j in jobs for line in simulator_differences(j)] == []


@pytest.mark.parametrize("arch", PIPELINED.values(), ids=PIPELINED)
def test_simulator_takes_the_cycles_of_the_literal_rules(arch: Architecture) -> None:
    for seed in range(3000, 3012):
        case, latency = random_case(seed, arch), LATENCIES[seed % 3]
        fast = simulate(case.program, arch, host=case.host, latency=latency)
        slow = stepped.simulate(case.program, arch, host=case.host, latency=latency)
        assert fast == slow


@BUILT
def test_three_witnesses_agree(arch: Architecture, n: int, native_cache: Path) -> None:
    jobs = [*plain(range(n), arch), *repeated(range(1000, 1000 + n // 6), arch)]
    assert rtl_differences(jobs, machine(arch, native_cache)) == []


@BUILT
def test_a_stalling_memory_changes_no_value(arch: Architecture, n: int, native_cache: Path) -> None:
    jobs = list(stalled(range(2000, 2000 + n // 4), arch))
    assert rtl_differences(jobs, machine(arch, native_cache)) == []


@settings(max_examples=settings().max_examples // 2)
@given(data=st.data(), latency=st.sampled_from(LATENCIES), resident=st.booleans())
def test_a_program_that_shrinks_agrees(
    native_cache: Path, data: st.DataObject, latency: int, resident: bool
) -> None:
    arch = PRESETS["nano"]
    case = data.draw(cases(arch))
    one = job(case, latency=latency, resident=resident)
    assert rtl_differences([one], machine(arch, native_cache)) == []


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(4))
@EVERY
def test_thousands_agree(arch: Architecture, part: int, native_cache: Path) -> None:
    first = 10_000 + 1000 * part
    jobs = [
        *plain(range(first, first + 400), arch),
        *repeated(range(first + 400, first + 440), arch),
    ]
    jobs += stalled(range(first + 500, first + 590), arch)
    assert rtl_differences(jobs, machine(arch, native_cache)) == []
