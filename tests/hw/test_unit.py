"""hw.unit.FrontEnd against the slot, setup and launch rules of docs/timing.md."""

from dataclasses import dataclass
from typing import Any

import pytest
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

from einchip.hw.interfaces import TRANSFER_ISSUE
from einchip.hw.unit import FrontEnd
from einchip.program import TOKENS

OUTPUTS = (
    "taken", "ready", "missing_token", "launch", "idle", "setup_active", "setup_lane", "take",
)  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """One cycle's inputs; `wait` and `tag` are those of the offered instruction."""

    valid: bool = False
    wait: int = 0
    positive: int = 0
    can_take: bool = True
    stop: bool = False


def run(setup_cycles: int, cycles: list[Inputs]) -> list[dict[str, int]]:
    """Return every output of every cycle; instruction n offered carries beats = n as a tag."""
    dut = FrontEnd(TRANSFER_ISSUE, setup_cycles)
    seen: list[dict[str, int]] = []

    async def bench(ctx: Any) -> None:
        for t, i in enumerate(cycles):
            ctx.set(dut.issue.valid, i.valid)
            ctx.set(dut.issue.payload.raw.wait, i.wait)
            ctx.set(dut.issue.payload.raw.beats, t)
            ctx.set(dut.positive, i.positive)
            ctx.set(dut.can_take, i.can_take)
            ctx.set(dut.stop, i.stop)
            now = {name: ctx.get(getattr(dut, name)) for name in OUTPUTS}
            seen.append(
                {**now, "free": ctx.get(dut.issue.ready), "tag": ctx.get(dut.desc.raw.beats)}
            )
            await ctx.tick()

    sim: Any = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    return seen


class Model:
    """The rules, one cycle at a time: slot and stage hold (wait mask, tag) or None."""

    def __init__(self, setup_cycles: int) -> None:
        self.setup_cycles = setup_cycles
        self.slot: tuple[int, int] | None = None
        self.stage: tuple[int, int] | None = None
        self.age = 0  # cycles since the move

    def cycle(self, t: int, i: Inputs) -> dict[str, int]:
        ready = self.stage is not None and self.age > self.setup_cycles
        wait = self.stage[0] if self.stage else 0
        missing = ready and bool(wait & ~i.positive)
        launch = ready and not missing and i.can_take and not i.stop
        active = self.stage is not None and not ready
        out = {
            "taken": self.stage is not None, "ready": ready, "missing_token": missing,
            "launch": launch, "idle": self.stage is None and self.slot is None,
            "setup_active": active, "take": wait if launch else 0, "free": self.slot is None,
        }  # fmt: skip
        if active:
            out["setup_lane"] = self.age - 1
        if self.stage:
            out["tag"] = self.stage[1]
        accepted = i.valid and self.slot is None
        self.age += 1
        if self.slot and not self.stage:
            self.stage, self.slot, self.age = self.slot, None, 1
        elif launch:
            self.stage = None
        if accepted:
            self.slot = (i.wait, t)
        if i.stop:
            self.slot = self.stage = None
        return {name: int(value) for name, value in out.items()}


def first(seen: list[dict[str, int]], name: str) -> int:
    return next(t for t, now in enumerate(seen) if now[name])


@pytest.mark.parametrize("setup_cycles", [0, 1, 4, 8])
def test_moved_in_t_is_ready_from_t_plus_setup_plus_1(setup_cycles: int) -> None:
    seen = run(setup_cycles, [Inputs(valid=True)] + [Inputs(can_take=False)] * 12)
    assert first(seen, "taken") == 2  # accepted in 0, moved in 1
    assert first(seen, "ready") == 1 + setup_cycles + 1


def test_equally_long_instructions_launch_every_setup_plus_2_cycles() -> None:
    seen = run(4, [Inputs(valid=True)] * 30)
    launches = [t for t, now in enumerate(seen) if now["launch"]]
    assert launches == list(range(6, 30, 6))


inputs = st.builds(
    Inputs,
    valid=st.booleans(),
    wait=st.sampled_from([0, 0, 1, 1 << (TOKENS - 1), 3]),
    positive=st.sampled_from([0, 1, 3, (1 << TOKENS) - 1]),
    can_take=st.sampled_from([False, True, True]),
    stop=st.sampled_from([False] * 19 + [True]),
)


@given(st.sampled_from([0, 1, 4]), st.lists(inputs, min_size=1, max_size=60))
def test_every_cycle_follows_the_rules(setup_cycles: int, cycles: list[Inputs]) -> None:
    model = Model(setup_cycles)
    for t, (now, i) in enumerate(zip(run(setup_cycles, cycles), cycles, strict=True)):
        expected = model.cycle(t, i)
        assert {name: now[name] for name in expected} == expected, f"cycle {t}"
