"""An exploration: what the search proposes is looked up or evaluated, and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from einchip.explore.cache import Cache
from einchip.explore.engine import Engine
from einchip.explore.evaluate import Outcome
from einchip.explore.objectives import Objective, values
from einchip.explore.point import Context, Point
from einchip.explore.search import Search


@dataclass
class Explorer:
    """Goes on until the search is at its end or there are `budget` points.

    Attributes
    ----------
    points : all that were proposed, in order.
    outcomes : of those that are done, also while `run` is interrupted.
    n_cached, n_evaluated : how many outcomes were on disk, and how many were not.
    expected : how many points there will be, as far as is known.
    """

    context: Context
    objectives: Sequence[Objective]
    search: Search
    engine: Engine
    cache: Cache
    budget: int
    points: list[Point] = field(default_factory=list)
    outcomes: dict[Point, Outcome] = field(default_factory=dict)
    n_cached: int = 0
    n_evaluated: int = 0

    @property
    def expected(self) -> int:
        return len(self.points) if self.search.at_once and self.points else self.budget

    def run(self, progress: Callable[[], None] = lambda: None) -> None:
        """Explore; `progress` is called after each point. Raises ExploreError."""
        while len(self.points) < self.budget:
            batch = self.search.ask(self.budget - len(self.points))
            if not batch:
                return
            self.points += batch
            self._complete(batch, progress)
            self.search.tell({p: self.values(self.outcomes[p]) for p in batch})

    def _complete(self, batch: Sequence[Point], progress: Callable[[], None]) -> None:
        keys = {point: self.context.key(point) for point in batch}
        missing = [p for p in batch if not self._looked_up(p, keys, progress)]
        for point, outcome in self.engine.run(missing):
            if outcome.status != "failed":
                self.cache.put(keys[point], outcome)
            self.outcomes[point] = outcome
            self.n_evaluated += 1
            progress()

    def _looked_up(
        self, point: Point, keys: Mapping[Point, str], progress: Callable[[], None]
    ) -> bool:
        found = self.cache.get(keys[point])
        if found is None:
            return False
        self.outcomes[point] = found
        self.n_cached += 1
        progress()
        return True

    def values(self, outcome: Outcome) -> tuple[float, ...] | None:
        """Return what is to be small of an outcome; None where it has no figures."""
        return values(self.objectives, outcome.figures) if outcome.status == "ok" else None

    @property
    def done(self) -> list[tuple[Point, Outcome]]:
        """Points with their outcomes, in the order in which they were proposed."""
        return [(p, self.outcomes[p]) for p in self.points if p in self.outcomes]
