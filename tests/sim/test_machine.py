"""The simulator against `stepped`, which takes docs/timing.md cycle by cycle, on any programs."""

from hypothesis import given
from hypothesis import strategies as st

from einchip.arch import Architecture
from einchip.program import Error, Program
from einchip.registers import COUNTERS
from einchip.sim import Run, simulate
from tests.sim import stepped
from tests.sim.programs import MACHINES, programs


@st.composite
def runs(draw: st.DrawFn, live: bool) -> tuple[Architecture, Program, int, bool]:
    arch = draw(st.sampled_from(MACHINES))
    latency = draw(st.sampled_from([1, 3, 8, 8, 40]))
    return arch, draw(programs(arch, live)), latency, draw(st.booleans())


def both(run: tuple[Architecture, Program, int, bool]) -> tuple[Run, Run]:
    arch, program, latency, fetch = run
    return (
        simulate(program, arch, latency=latency, fetch=fetch, check_banks=False),
        stepped.simulate(program, arch, latency=latency, fetch=fetch),
    )


@given(runs(live=True))
def test_stretches_and_single_cycles_agree(run: tuple[Architecture, Program, int, bool]) -> None:
    fast, slow = both(run)
    assert fast.error == slow.error
    if fast.error is None:
        assert fast.counters == slow.counters
        assert fast.timeline == slow.timeline


@given(runs(live=False))
def test_errors_and_deadlocks_agree(run: tuple[Architecture, Program, int, bool]) -> None:
    fast, slow = both(run)
    assert fast.error == slow.error
    if fast.error is None or fast.error[0] is not Error.TIMEOUT:
        assert fast.cycles == slow.cycles


@given(runs(live=True))
def test_each_group_of_counters_adds_up_to_the_cycles(
    run: tuple[Architecture, Program, int, bool],
) -> None:
    fast, _ = both(run)
    if fast.error is not None:
        return
    names = [c.name for c in COUNTERS]
    assert list(fast.counters) == names
    parts = ("_issue", "_stall_port", "_stall_drain", "_stall_write", "_stall_token",
             "_stall_setup", "_idle", "_transfer", "_stall_memory")  # fmt: skip
    for unit in ("array", "vector", "load", "store"):
        group = [n for n in names if n.startswith(unit + "_") and n.endswith(parts)]
        assert sum(fast.counters[n] for n in group) == fast.cycles
