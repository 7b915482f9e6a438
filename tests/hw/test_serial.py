"""A serial machine in Amaranth's simulator: what only a bus that sleeps can show."""

import pytest

from einchip.arch import PRESETS
from einchip.program import Error, Load, Store
from tests.hw.test_top import changed, run_on_a_late_bus

ONE = PRESETS["femto"].override(x_depth=256, y_depth=256)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("asleep", [300, 301])
@pytest.mark.parametrize("kind", [Load, Store])
def test_a_bus_that_answers_too_late_is_drained_before_the_next_program(
    kind: type[Load | Store], asleep: int, fails: bool
) -> None:
    """The bus falls asleep in the middle of a burst and wakes up in the run after the next.

    That one begins when the burst is over, from its first micro-operation, and does not see that
    the burst may have failed.
    """
    faults = [range(ONE.burst_beats * ONE.port_bytes)] if fails else []
    memory, runs = run_on_a_late_bus(ONE, kind, asleep, faults)
    assert [ran.error for ran in runs] == [(Error.TIMEOUT, 0), (Error.TIMEOUT, 0), None]
    assert fails or any(changed(memory, runs[0].memory).values())
    stray = changed(runs[0].memory, runs[-1].memory)
    assert not stray["x"] | stray["y"]
    assert len(stray["external"]) <= (ONE.port_bytes if kind is Store else 0)
