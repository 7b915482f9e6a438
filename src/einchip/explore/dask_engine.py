"""Evaluates points on a Dask cluster.

    dask scheduler
    dask worker tcp://HOST:8786 --nworkers auto --nthreads 1     # on any number of computers

Dask gives what a worker had to do to another one when it is gone. Workers must have the same
einchip; each is sent models and data once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from einchip.explore.errors import ExploreError
from einchip.explore.evaluate import Outcome, evaluate
from einchip.explore.point import Context, Point
from einchip.models.extras import library

#: Seconds for a scheduler to answer, and for a first worker to be there.
TIMEOUT_SECONDS: Final = 10


class DaskCluster:
    """The cluster of a scheduler, `tcp://HOST:PORT`.

    Raises ExploreError where no scheduler answers or it has no worker, ModelError without Dask.
    """

    def __init__(self, context: Context, address: str) -> None:
        self._distributed = library("distributed", "explore")
        self._context, self._address = context, address
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what is wrong is one line
        try:
            self._client = self._distributed.Client(
                address, timeout=TIMEOUT_SECONDS, set_as_default=False
            )
        except (OSError, ValueError, TypeError, ImportError) as error:
            raise ExploreError(
                f"--scheduler: {address}: cannot reach it: {str(error) or type(error).__name__}; "
                "expected the address of a Dask scheduler, tcp://HOST:PORT"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=TIMEOUT_SECONDS)
        except TimeoutError:
            self._client.close()
            raise ExploreError(
                f"--scheduler: {address}: found no worker, expected at least one; start some: "
                f"dask worker {address} --nthreads 1"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close(timeout=TIMEOUT_SECONDS)

    def run(self, points: Sequence[Point]) -> Iterator[tuple[Point, Outcome]]:
        if not points:
            return
        # A task, not scattered data: so the scheduler can make it again when its workers are gone.
        shared = self._client.submit(_same, self._context, pure=False)
        futures = {}
        for priority, point in enumerate(points):
            name = f"einchip-explore-{self._context.key(point)}"
            future = self._client.submit(evaluate, shared, point, key=name, priority=-priority)
            futures[future] = point
        try:
            for future in self._distributed.as_completed(futures, loop=self._client.loop):
                yield futures.pop(future), self._outcome(future)
        finally:
            self._client.cancel(list(futures))

    def _outcome(self, future: Any) -> Outcome:
        if future.status in ("cancelled", "lost"):
            raise ExploreError(
                f"--scheduler: {self._address}: the scheduler is gone; start one, and run the same "
                "command again"
            )
        try:
            return future.result()
        except self._distributed.KilledWorker:
            return Outcome("failed", reason="the workers that evaluated it died")


def _same(context: Context) -> Context:
    return context
