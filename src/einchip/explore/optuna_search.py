"""Multi-objective search by Optuna: NSGA-II (Deb et al. 2002), or the estimator TPE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from einchip.explore.domain import Dimension, Domain, SkippedError
from einchip.explore.point import Point
from einchip.explore.search import Values, count, drawn
from einchip.models.extras import library

#: Proposals in a row without a new point after which one is drawn at random.
PATIENCE: Final = 8


class OptunaSearch:
    """Asks Optuna for a batch of points at a time, and tells it all results of one together.

    They are told in the order in which they were asked for. A proposal that is known already is
    told at once, one that is no point or infeasible as failed. Where Optuna has nothing new, it is
    given points at random that were not proposed yet: with budget enough, all are evaluated.
    """

    at_once = False

    def __init__(self, domain: Domain, n_objectives: int) -> None:
        optuna = library("optuna", "explore")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        settings = domain.space.search
        self.skipped: dict[str, int] = {}
        self._domain = domain
        self._batch = settings.batch
        self._failed = optuna.trial.TrialState.FAIL
        self._drawn = iter(drawn(domain))
        self._known: dict[Point, Values | None] = {}
        self._waiting: dict[Point, list[Any]] = {}
        self._distributions = {d.name: _distribution(d, optuna) for d in domain.dimensions}
        if settings.method == "nsga2":
            sampler = optuna.samplers.NSGAIISampler(
                population_size=settings.batch, seed=settings.seed
            )
        else:
            sampler = optuna.samplers.TPESampler(seed=settings.seed, constant_liar=True)
        directions = ["minimize"] * n_objectives
        self._study = optuna.create_study(directions=directions, sampler=sampler)

    def ask(self, n: int) -> list[Point]:
        wanted, left = min(n, self._batch), PATIENCE
        while len(self._waiting) < wanted:
            left = PATIENCE if self._propose() else left - 1
            if left <= 0 and not self._enqueue_unseen():
                break
        return list(self._waiting)

    def _enqueue_unseen(self) -> bool:
        """Make a point that was not proposed yet the next proposal; return whether there is one."""
        for number in self._drawn:
            choice = self._domain.choice(number)
            try:
                point = self._domain.point(choice)
            except SkippedError:
                continue
            if point not in self._known and point not in self._waiting:
                names = (d.name for d in self._domain.dimensions)
                self._study.enqueue_trial(dict(zip(names, choice, strict=True)))
                return True
        return False

    def _propose(self) -> bool:
        """Take one proposal; return whether it is a new point."""
        trial = self._study.ask(self._distributions)
        try:
            choice = [trial.params[d.name] for d in self._domain.dimensions]
            point = self._domain.point(choice)
        except SkippedError as reason:
            count(self.skipped, str(reason))
            self._study.tell(trial, state=self._failed)
            return False
        if point in self._known:
            self._tell(trial, self._known[point])
            return False
        self._waiting.setdefault(point, []).append(trial)
        return len(self._waiting[point]) == 1

    def tell(self, values: Mapping[Point, Values | None]) -> None:
        for point, trials in self._waiting.items():
            self._known[point] = values[point]
            for trial in trials:
                self._tell(trial, values[point])
        self._waiting = {}

    def _tell(self, trial: Any, values: Values | None) -> None:
        if values is None:
            self._study.tell(trial, state=self._failed)
        else:
            self._study.tell(trial, values)


def _distribution(dimension: Dimension, optuna: Any) -> Any:
    """Return the places of a dimension, which are near one another only if its values are."""
    last = len(dimension.values) - 1
    if dimension.ordered:
        return optuna.distributions.IntDistribution(0, last)
    return optuna.distributions.CategoricalDistribution(range(last + 1))
