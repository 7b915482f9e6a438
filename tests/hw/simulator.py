"""A simulator for many runs: to compile a component takes longer than most runs of it."""

import functools
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from amaranth.sim import Simulator

from einchip.arch import Architecture

#: A testbench; background ones may go on for ever.
Testbench = Callable[[Any], Coroutine[Any, Any, None]]
#: Background testbenches of a run at most.
MAX_BACKGROUND = 4
#: Components that stay compiled.
KEPT = 24
Dut = TypeVar("Dut")


class Bench(Generic[Dut]):
    """A component and its simulator, which is compiled for the first run and used again.

    Every run begins from reset, memories included.
    """

    def __init__(self, dut: Dut) -> None:
        self.dut = dut
        self._simulator: Any = None
        self._main: Testbench
        self._background: tuple[Testbench, ...] = ()
        self._ended = False

    def run(self, main: Testbench, *background: Testbench) -> None:
        """Simulate until `main` ends."""
        self._main, self._background, self._ended = main, background, False
        simulator, self._simulator = self._simulator, None
        if simulator is None:
            simulator = self._compiled()
        else:
            simulator.reset()
        simulator.run()
        self._simulator = simulator  # not if the run failed: its testbenches still wait

    def _compiled(self) -> Any:
        simulator: Any = Simulator(self.dut)
        simulator.add_clock(1e-8)
        for k in range(MAX_BACKGROUND):
            simulator.add_testbench(self._kth(k), background=True)
        simulator.add_testbench(self._all)
        return simulator

    def _kth(self, k: int) -> Testbench:
        async def testbench(ctx: Any) -> None:
            if k < len(self._background):
                await _Until(self._background[k](ctx), lambda: self._ended)

        return testbench

    async def _all(self, ctx: Any) -> None:
        await self._main(ctx)
        self._ended = True
        await ctx.tick()  # in which the others end


@functools.lru_cache(maxsize=KEPT)
def bench_of(component: Callable[[Architecture], Dut], arch: Architecture) -> Bench[Dut]:
    """Return the bench of a machine's component, compiled once."""
    return Bench(component(arch))


class _Until(Awaitable[None]):
    """A coroutine that is dropped, when it would go on, as soon as `ended` is true."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], ended: Callable[[], bool]) -> None:
        self._coroutine, self._ended = coroutine, ended

    def __await__(self) -> Generator[Any, Any, None]:
        while not self._ended():
            try:
                trigger = self._coroutine.send(None)
            except StopIteration:
                return
            yield trigger
        self._coroutine.close()
