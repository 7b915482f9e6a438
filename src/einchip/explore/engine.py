"""Who evaluates points: processes on this computer.

`dask_engine` has the same interface. Results come as they are there; the explorer has an order.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from types import TracebackType
from typing import Final, Protocol, Self

from einchip.explore import evaluate
from einchip.explore.evaluate import Outcome
from einchip.explore.point import Context, Point

#: Deaths of a process that had nothing but one point to do, after which the point is given up.
MAX_DEATHS: Final = 2
#: What processes import before they are forked, where they can be.
_PRELOADED: Final = ["einchip.explore.engine"]


class Engine(Protocol):
    """Evaluates points; used as a context, at whose end its processes are gone."""

    def run(self, points: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
        """Yield each point with what came of it, once, in any order. Raises ExploreError."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Processes:
    """So many processes. One that dies is replaced, and its point is evaluated again.

    When a process dies, nobody says which: all points that were at work are suspects, and are
    evaluated one at a time, so that one that ends its process takes no other point with it. It is
    given up when it has done so `MAX_DEATHS` times alone.
    """

    def __init__(self, context: Context, n_processes: int) -> None:
        self._context = context
        self._n_processes = n_processes
        self._pool: ProcessPoolExecutor | None = None
        self._others = set(multiprocessing.active_children())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def run(self, points: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
        waiting, suspects = deque(points), deque[Point]()
        while waiting or suspects:
            if suspects:
                yield self._alone(suspects.popleft())
            else:
                yield from self._together(waiting, suspects)

    def _together(
        self, waiting: deque[Point], suspects: deque[Point]
    ) -> Iterator[tuple[Point, Outcome]]:
        """Yield what comes of waiting points, until a process dies: who was at work is suspect."""
        running: dict[Future[Outcome], Point] = {}
        while waiting or running:
            while waiting and len(running) < self._n_processes:
                point = waiting.popleft()
                running[self._submit(point)] = point
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    broken = True
                else:
                    yield running.pop(future), outcome
            if broken:
                suspects += running.values()
                self._close()
                return

    def _alone(self, point: Point) -> tuple[Point, Outcome]:
        """Return what comes of a point while nothing else is evaluated."""
        for _ in range(MAX_DEATHS):
            try:
                return point, self._submit(point).result()
            except BrokenProcessPool:
                self._close()
        return point, Outcome("failed", reason="the process that evaluated it died")

    def _submit(self, point: Point) -> Future[Outcome]:
        try:
            return self._started().submit(_evaluate, point)
        except BrokenProcessPool:  # it died with nothing to do
            self._close()
            return self._started().submit(_evaluate, point)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            methods = multiprocessing.get_all_start_methods()
            context = multiprocessing.get_context(
                "forkserver" if "forkserver" in methods else "spawn"
            )
            context.set_forkserver_preload(_PRELOADED)
            self._pool = ProcessPoolExecutor(
                self._n_processes, context, initializer=_start, initargs=(self._context,)
            )
        return self._pool

    def _close(self) -> None:
        """End the processes, at work or not."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()
        self._pool = None


_context: Context | None = None


def _start(context: Context) -> None:
    """Begin a process: Ctrl-C is the explorer's, whose end is this one's, too."""
    global _context
    _context = context
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _evaluate(point: Point) -> Outcome:
    assert _context is not None
    return evaluate.evaluate(_context, point)
