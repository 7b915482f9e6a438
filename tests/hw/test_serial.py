"""A serial machine in Amaranth's simulator: what only a bus that sleeps can show."""

from typing import Any

import pytest

from einchip.arch import PRESETS
from einchip.program import WORD_BYTES, Error, Halt, Load, Program, Store
from tests.hw.host import HostPort
from tests.hw.machine import Machine, Run
from tests.hw.test_top import CODE, changed, filled

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
    code = Program((kind(beats=110), Halt())).encode()
    memory = filled(ONE)
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

    faults = [range(ONE.burst_beats * ONE.port_bytes)] if fails else []
    Machine(ONE, memory, faults=faults).script(script)
    assert [ran.error for ran in runs] == [(Error.TIMEOUT, 0), (Error.TIMEOUT, 0), None]
    assert fails or any(changed(memory, runs[0].memory).values())
    stray = changed(runs[0].memory, runs[-1].memory)
    assert not stray["x"] | stray["y"]
    assert len(stray["external"]) <= (ONE.port_bytes if kind is Store else 0)
