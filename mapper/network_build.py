"""Ways to map a network, built: the trees that are tried, folded and placed."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from einchip import energy
from einchip.arch import Architecture
from einchip.mapper import tree
from einchip.mapper.choose import Naming, Task, fold_tree
from einchip.mapper.errors import MappingError
from einchip.mapper.large import Progress, best_trees
from einchip.mapper.merge import Merging, merged_of
from einchip.mapper.network_place import PlacedNetwork, external_regions, place_network
from einchip.mapper.network_search import TREES, Attempt
from einchip.mapper.objectives import TABLE, fold_price, objective_of
from einchip.mapper.plan import Part
from einchip.mapper.prices import Prices
from einchip.mapper.programs import check_words
from einchip.mapper.room import Room
from einchip.mapper.sliced import Sliced
from einchip.network import Network

RESULT = "result"


class Aim(NamedTuple):
    """What is searched for, and for how long."""

    objective: str
    table: energy.Table | None
    budget: float
    progress: Progress | None


class Searches:
    """The trees of a network: with all merges, then with less room for weights, then with none.

    `found` are those of the first search.
    """

    def __init__(self, network: Network, arch: Architecture, merging: Merging, aim: Aim) -> None:
        self.network, self.arch, self.merging, self.aim = network, arch, merging, aim
        self._objective = objective_of(aim.objective, network, arch, aim.table)
        try:
            self.found = self._trees(merging)
        except MappingError:
            if not merging.constants:
                raise
            self.found = self._trees(Merging())

    @property
    def result_space(self) -> int | None:
        """The scratchpad where a result is cheapest to write; None where only cycles count."""
        if self.aim.objective not in ("energy", "edp"):
            return None
        table = self.aim.table or energy.load(TABLE)
        x, y = Prices.of(self.arch, table).writes
        return int(y < x)

    def __iter__(self) -> Iterator[Sequence[tree.Ranked]]:
        yield self.found.trees
        if not any(merged_of(self.network, t.node) for t in self.found.trees):
            return
        room = self.merging.stored
        if room is not None:
            with contextlib.suppress(MappingError):
                yield self._trees(replace(self.merging, stored=room // 2)).trees
        yield self._trees(Merging()).trees

    def _trees(self, merging: Merging) -> tree.Found:
        aim = self.aim
        return best_trees(self.network, self._objective, TREES, merging, aim.budget, aim.progress)


class Builder:
    """Builds attempts to map a network."""

    def __init__(
        self, network: Network, arch: Architecture, resident: Collection[str], streamed: str,
        searches: Searches,
    ) -> None:  # fmt: skip
        self.network, self.arch, self.searches = network, arch, searches
        self.resident, self.streamed = resident, streamed
        self._last: tuple[Attempt, Part] | None = None

    def excess(self, attempt: Attempt) -> int:
        """Return by how many elements an attempt does not fit at least."""
        sliced = Sliced(attempt.node, attempt.slicing, attempt.leaf or self.streamed)
        kept = self._kept(attempt)
        return Room(sliced, attempt.flips, self.network.sizes, kept, self.arch).excess

    def placed(self, attempt: Attempt, space: int) -> PlacedNetwork:
        """Return an attempt with addresses; `space` 1: its result is where the searches have it.

        Raises MappingError when it does not fit.
        """
        part, network, arch = self._folded(attempt), self.network, self.arch
        first = self.searches.result_space
        if first is None:
            first = part.tensors[self.streamed].space ^ 1
        part = part.with_result_in(first ^ space ^ 1)
        regions = external_regions(part, network.sizes, arch)
        mapped = place_network(part, regions, self._kept(attempt), arch)
        check_words(mapped.programs(None).run, arch)
        return mapped

    def _kept(self, attempt: Attempt) -> set[str]:
        """Return the inputs that stay in the scratchpads."""
        return {*self.resident, *(m.name for m in merged_of(self.network, attempt.node))}

    def _folded(self, attempt: Attempt) -> Part:
        """Return an attempt with folds and layouts; the last one is known."""
        if self._last is None or self._last[0] is not attempt:
            aim = self.searches.aim
            task = Task(
                attempt.node, self.network.sizes, self.arch, Naming(RESULT), attempt.slicing,
                attempt.leaf or self.streamed, attempt.flips,
                price=fold_price(
                    aim.objective, attempt.node, self.network, self.arch, aim.table
                ),
            )  # fmt: skip
            self._last = attempt, fold_tree(task)
        return self._last[1]
