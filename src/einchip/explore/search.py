"""Which points are evaluated next: all of them in order, or at random; Optuna's are beside.

A search proposes points that it has not proposed before, and is told what came of them. What it
proposes follows from the space, its seed and what it was told, not from who evaluates how fast.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final, Protocol

from einchip.explore.domain import Domain, SkippedError
from einchip.explore.point import Point

#: Combinations that a random search looks at, at most.
MAX_DRAWN: Final = 1 << 17

Values = tuple[float, ...]


class Search(Protocol):
    """What the explorer asks.

    Attributes
    ----------
    skipped : how many proposals were no points, by their reason.
    at_once : whether the first `ask` returns all that there are.
    """

    skipped: dict[str, int]
    at_once: bool

    def ask(self, n: int) -> list[Point]:
        """Return up to `n` points, none of which was returned before; none: it is at its end."""

    def tell(self, values: Mapping[Point, Values | None]) -> None:
        """Take what came of all points of the last `ask`: all to be small; None: infeasible."""


class Listed:
    """Combinations in a given order; nothing that it is told matters."""

    at_once = True

    def __init__(self, domain: Domain, numbers: Iterable[int]) -> None:
        self.skipped: dict[str, int] = {}
        self._domain = domain
        self._numbers = iter(numbers)
        self._seen: set[Point] = set()

    def ask(self, n: int) -> list[Point]:
        return list(islice(self._new(), n))

    def tell(self, values: Mapping[Point, Values | None]) -> None:
        """Nothing follows from it."""

    def _new(self) -> Iterable[Point]:
        for number in self._numbers:
            try:
                point = self._domain.point(self._domain.choice(number))
            except SkippedError as reason:
                count(self.skipped, str(reason))
                continue
            if point not in self._seen:
                self._seen.add(point)
                yield point


def count(skipped: dict[str, int], reason: str) -> None:
    """Count a proposal that was no point."""
    skipped[reason] = skipped.get(reason, 0) + 1


def drawn(domain: Domain) -> list[int]:
    """Return the numbers of combinations in an order that follows from the space's seed."""
    n = min(domain.size, MAX_DRAWN)
    return random.Random(domain.space.search.seed).sample(range(domain.size), n)


def search_of(domain: Domain, n_objectives: int) -> Search:
    """Return the search that a space asks for. Raises ModelError where its library is missing."""
    settings = domain.space.search
    if settings.method == "grid":
        return Listed(domain, range(domain.size))
    if settings.method == "random":
        return Listed(domain, drawn(domain))
    from einchip.explore.optuna_search import OptunaSearch

    return OptunaSearch(domain, n_objectives)
