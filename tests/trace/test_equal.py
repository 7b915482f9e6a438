"""Simulator and RTL leave the same trace; the oracle of each is the other, and the counters."""

from pathlib import Path

import pytest

from einchip.arch import PRESETS, Architecture
from einchip.program import Error, Halt, Loop, Program
from einchip.reference import Memory
from einchip.trace.chrome import chrome
from einchip.trace.difference import first_difference
from einchip.trace.model import TraceError
from einchip.trace.rtl import from_rtl
from einchip.trace.simulator import from_simulator
from einchip.verify.machine import RtlMachine, Start, Work
from tests.system.machines import MACHINES, PIPELINED
from tests.trace.helpers import both
from tests.trace.measure import case

LATENCIES = (1, 8, 40)
#: Machines that the gate compiles anyway, with random programs; the others run at night.
DAILY = {"pico": 4, "nano": 6, "small": 4}
MACHINES_AND_SEEDS = [
    *(pytest.param(MACHINES[name], range(n), id=name) for name, n in DAILY.items()),
    *(
        pytest.param(arch, range(100, 130), id=f"{name} more", marks=pytest.mark.nightly)
        for name, arch in PIPELINED.items()
    ),
]


@pytest.mark.parametrize(("arch", "seeds"), MACHINES_AND_SEEDS)
def test_random_programs_leave_the_same_trace(
    arch: Architecture, seeds: range, native_cache: Path
) -> None:
    machine = RtlMachine.build(arch, native_cache)
    for seed in seeds:
        simulator, rtl = both(seed, machine, LATENCIES[seed % 3])
        simulator.check()
        rtl.check()
        found = first_difference(simulator, rtl)
        assert found is None, f"seed {seed}: {found and found.text()}"


@pytest.mark.parametrize(("preset", "n_steps"), [("pico", 1), ("nano", 3), ("small", 6)])
def test_a_compiled_model_leaves_the_same_file(
    preset: str, n_steps: int, native_cache: Path
) -> None:
    made = case("mpo", preset, n_steps)
    rtl, result = from_rtl(RtlMachine.build(made.arch, native_cache), made.work)
    simulator = made.simulated()
    assert first_difference(simulator, rtl) is None
    assert rtl.counters == result.runs[-1].counters
    a, b = (
        chrome(trace, made.arch, source, made.name).splitlines()
        for trace, source in ((simulator, "simulator"), (rtl, "rtl"))
    )
    assert [(x, y) for x, y in zip(a, b, strict=True) if x != y] == [
        (' "source": "simulator",', ' "source": "rtl",')
    ]


def test_a_run_without_a_fetch_begins_at_once(native_cache: Path) -> None:
    arch = PRESETS["pico"]
    program, memory = Program((Halt(),)), Memory.empty(arch, 4096)
    starts = [Start(program), Start(program, fetch=False)]
    rtl, _ = from_rtl(RtlMachine.build(arch, native_cache), Work(starts, memory))
    assert first_difference(from_simulator(program, arch, fetch=False), rtl) is None
    assert rtl.cycles == 3


def test_a_run_that_ends_in_an_error_has_no_trace(native_cache: Path) -> None:
    arch, program = PRESETS["pico"], Program((Loop(count=2), Halt()))
    bad = Program((Loop(count=0), Halt()))
    machine, memory = RtlMachine.build(arch, native_cache), Memory.empty(arch, 4096)
    assert (
        first_difference(
            from_simulator(program, arch), from_rtl(machine, Work([Start(program)], memory))[0]
        )
        is None
    )
    with pytest.raises(TraceError, match=f"the machine stopped with {Error.FIELD.name} in cycle"):
        from_simulator(bad, arch)
    with pytest.raises(TraceError, match=f"the RTL stopped with {Error.FIELD.name}, address 0x0"):
        from_rtl(machine, Work([Start(bad)], memory))
