"""Models divided into phases, and the search for a way to map all of them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from operator import attrgetter
from typing import NamedTuple

from einchip.arch import CELLS, Architecture
from einchip.mapper.cells import cell_instructions
from einchip.mapper.errors import MappingError, nearest
from einchip.mapper.fold import Hides, PhaseSearch
from einchip.mapper.nets import Asked, Nets
from einchip.mapper.phase_networks import PhaseNetworks
from einchip.mapper.place import Mapped, Window, assemble, is_large, quickest
from einchip.mapper.problem import CellKind, Linear, ModelProblem, Recurrent
from einchip.mapper.programs import check_words
from einchip.mapper.timeline import write_cycles
from einchip.mapper.wires import Units, common_factors, modes_of
from einchip.network import NetworkError
from einchip.program import is_built
from einchip.roofline import steady_compute_cycles

#: Ways in which a model of several phases that does not fit is tried.
MAX_TRIES = 200
#: The part of the cycles in which a scratchpad may be written without much of a queue.
FULL = 0.9
#: Attempts behind one that fits, but whose loads and results queue.
MAX_OTHERS = 32
#: Phases up to which every set of them is tried whose weights every run loads.
MAX_SUBSETS = 4
#: No phase.
NONE: frozenset[int] = frozenset()


def divide(problem: ModelProblem) -> list[Asked]:
    """Return the phases of a model. Raises MappingError for one that makes no sense."""
    found: list[Asked] = []
    pending: tuple[Linear, ...] = ()
    group = 0
    for stage in problem.stages:
        if isinstance(stage, Linear):
            pending = (*pending, stage)
            continue
        if len(stage.directions) > 1 and pending:
            found.append(Asked(chain=pending, group=group))
            pending, group = (), group + 1
        found += [
            Asked(chain=pending, layer=stage, direction=d, group=group)
            for d in range(len(stage.directions))
        ]
        pending, group = (), group + 1
    return _with_end(found, pending, problem, group)


def _with_end(
    found: list[Asked], pending: tuple[Linear, ...], problem: ModelProblem, group: int
) -> list[Asked]:
    """Return the phases with the linear stages behind the last recurrent layer."""
    sequence = problem.output == "sequence"
    if not any(a.layer for a in found) and not sequence:
        raise MappingError('output: found "last" without a recurrent layer, expected "sequence"')
    if not pending:
        return found
    last = found[-1] if found else None
    if last is None or (sequence and last.direction > 0):
        return [*found, Asked(chain=pending, group=group)]
    copied = last.direction > 0 or not _joins(last, pending[0])
    end = replace(last, behind=pending, behind_in_loop=sequence, copied_in=copied)
    return [*found[:-1], end]


def _joins(asked: Asked, reader: Linear) -> bool:
    """Tell whether a stage can read h where the cell writes it."""
    layer = asked.layer
    assert layer is not None
    d, n = layer.directions[asked.direction], layer.cell.n_gates
    own = [modes_of(x, x.output) for x in (d.inputs, d.hidden)]
    own.append([n, *d.hidden.shape("h")])
    together = common_factors([*own, [n, *reader.network.shape(reader.operands[0])]])
    return together is not None or common_factors(own) is None


def search(problem: ModelProblem, arch: Architecture) -> Mapped:
    """Return the quickest model that fits. Raises MappingError where none does.

    Trees that leave work on weights to `setup` have the least left for a time step, but their
    steps may fill the array worse in the layouts that a cell asks for; which drains other work
    hides is only known of the whole; and vectors without common factors may be quicker fused than
    flat, since shares can be cut from them: every kind is tried, until one is near the bound.
    """
    _require_cells(problem, arch)
    enough = NEAR * _bound(problem, arch)
    searches, found, errors = list[ModelSearch](), list[Mapped](), list[MappingError]()
    for kind in KINDS:
        search = ModelSearch(problem, arch, kind)
        pads = kind.hides is Hides.NOTHING and any(m.is_padded for m in found)
        if not pads and any(search.trees == s.trees and search.units == s.units for s in searches):
            continue
        searches.append(search)
        try:
            found.append(search.run())
        except MappingError as error:
            errors.append(error)
        else:
            if found[-1].step_cycles <= enough:
                break
    if not found:
        raise nearest(errors)
    return min(found, key=attrgetter("sequence_cycles")) if len(found) > 1 else found[0]


def _require_cells(problem: ModelProblem, arch: Architecture) -> None:
    """Raise MappingError where a layer's cell is none of the machine's."""
    cells = {s.name: s.cell for s in problem.stages if isinstance(s, Recurrent)}
    needed = {kind.CELL for cell in cells.values() for kind in cell_instructions(cell)}
    for name, cell in cells.items():
        if not all(is_built(kind, arch) for kind in cell_instructions(cell)):
            wanted = "+".join(c for c in CELLS if c in needed.union(arch.cells))
            raise MappingError(
                f"{name}: cell: found {cell.value}, expected one of the machine's "
                f"({arch.cell_names}); choose a machine with cells={wanted}"
            )


def _bound(problem: ModelProblem, arch: Architecture) -> float:
    """Return the roofline of the matrices of one time step, 0 where it is not known."""
    try:
        return steady_compute_cycles(problem.matrices, arch)
    except NetworkError:
        return 0.0


class Kind(NamedTuple):
    """How trees are chosen (`PhaseSearch`), and whether vectors are fused (`wires`) or flat."""

    steady: bool = True
    hides: Hides = Hides.INPUT
    fuse: bool = False


#: The kinds that are tried.
KINDS = (
    Kind(),
    Kind(steady=False),
    Kind(hides=Hides.ALL),
    Kind(hides=Hides.NOTHING),
    Kind(fuse=True),
)
#: Predictions are this near: what is predicted to be quicker by less need not be.
SURE = 0.997
#: How near the bound a model is good enough.
NEAR = 1.02


class _Fits(NamedTuple):
    """A model that fits, the attempts of its phases, and those that every run loads weights of."""

    found: Mapped
    chosen: tuple[int, ...]
    reloading: frozenset[int]


class ModelSearch:
    """The search for a model on a machine, of one kind."""

    def __init__(self, problem: ModelProblem, arch: Architecture, kind: Kind) -> None:
        self.problem, self.arch = problem, arch
        self.searches: list[PhaseSearch] = []
        for each in divide(problem):
            asked = self._laid(replace(each, fuse=kind.fuse and _may_fuse(each)))
            made = PhaseSearch(asked, arch, each.group == 0, kind.steady, kind.hides)
            self.searches.append(made)
        self.ways = [list(s.attempts()) for s in self.searches]
        self.folded: dict[tuple[int, int], Nets] = {}
        self.failures: list[MappingError] = []

    def _laid(self, asked: Asked) -> Asked:
        """Return a phase that reads flat vectors where it has no factors in common with writers."""
        stage = asked.chain[0] if asked.chain else None
        if asked.group > 0:
            before = [s.shared for s in self.searches if s.asked.group == asked.group - 1]
            if stage:
                modes = stage.network.shape(stage.operands[0])
            else:
                assert asked.layer
                modes = asked.layer.directions[asked.direction].inputs.shape("x")
            what = f"{stage.name if stage else asked.prefix}.x"
            asked = replace(asked, flat_in=not _fits(what, modes, [s.produced for s in before]))
        if asked.copied_in:
            first = asked.behind[0]
            modes = first.network.shape(first.operands[0])
            own = PhaseNetworks(replace(asked, behind=()), self.arch).produced
            others = [s.shared.produced for s in self.searches if s.asked.group == asked.group]
            writers = [own] if asked.behind_in_loop else [*others, own]
            asked = replace(asked, flat_behind=not _fits(f"{first.name}.x", modes, writers))
        return asked

    @property
    def trees(self) -> list[list[str]]:
        """The trees of every phase."""
        return [search.trees for search in self.searches]

    @property
    def units(self) -> list[Units]:
        """The hidden units of every phase."""
        return [search.units for search in self.searches]

    def run(self) -> Mapped:
        """Return the quickest model that fits. Raises MappingError where none does.

        Weights of all phases stay in the scratchpads if that fits, in whatever way; else those of
        some phases, the fewest elements, are loaded in every run.
        """
        found = self._first(self._choices()) or self._reloaded()
        if found is None:
            raise nearest(self.failures)
        found = self._unhindered(found)
        best = quickest(self._placements(found), self.arch)
        mirrored = self._mirrored(found)
        if mirrored:
            other = quickest(self._placements(mirrored), self.arch)
            if other.sequence_cycles < SURE * best.sequence_cycles:
                return other
        return best

    def _mirrored(self, first: _Fits) -> _Fits | None:
        """Return the choice with h in the other scratchpad, if it is predicted to be quicker.

        As an operand on the rows or on the columns h fills the array differently.
        """
        other = [self._mirror(p, k) for p, k in enumerate(first.chosen)]
        chosen = tuple(k for k in other if k is not None)
        if len(chosen) < len(other) or chosen == first.chosen:
            return None
        with contextlib.suppress(MappingError):
            found = self._assembled(chosen, Window.ALL, first.reloading)
            if found.step_cycles < first.found.step_cycles:
                return first._replace(found=found, chosen=chosen)
        return None

    def _mirror(self, p: int, k: int) -> int | None:
        """Return the attempt that differs in the scratchpad of h, itself for a phase without h."""
        if not self.searches[p].asked.layer:
            return k
        way = self.ways[p][k]
        wanted = replace(way, h_space=way.h_space ^ 1)
        return self.ways[p].index(wanted) if wanted in self.ways[p] else None

    def _unhindered(self, first: _Fits) -> _Fits:
        """Return the quickest of some choices, from the first that fits to one without a queue.

        A queue: loads and results are written to one scratchpad for nearly as long as all else
        takes, so that they wait for one another.
        """
        best, (least, queues) = first, self._queued(first.found)
        if first.reloading or not queues:
            return first
        for chosen in self._others(first.chosen):
            found = self._try(chosen, NONE)
            if found is None:
                continue
            cycles, queues = self._queued(found)
            if cycles < least:
                best, least = _Fits(found, chosen, NONE), cycles
            if not queues:
                break
        return best

    def _queued(self, mapped: Mapped) -> tuple[float, bool]:
        """Return the cycles of a time step, and whether writes of a scratchpad decide them."""
        cycles = mapped.step_cycles
        writes = write_cycles(mapped.run(), self.arch) / FULL
        return max(cycles, writes), writes > cycles

    def _others(self, first: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return choices other than the first that fits: orientations of its slices come first."""
        alike = list(self._alike())
        if first not in alike:
            return []
        slicing = self.ways[0][first[0]].slicing
        behind = alike[alike.index(first) + 1 :]
        behind.sort(key=lambda chosen: self.ways[0][chosen[0]].slicing != slicing)
        return behind[:MAX_OTHERS]

    def _first(
        self, choices: Iterable[tuple[int, ...]], reloading: frozenset[int] = NONE
    ) -> _Fits | None:
        """Return the first choice that fits where every run loads the weights of some phases."""
        for chosen in choices:
            found = self._try(chosen, reloading)
            if found:
                return _Fits(found, chosen, reloading)
        return None

    def _reloaded(self) -> _Fits | None:
        """Return the first that fits where weights of some phases are loaded in every run.

        What does not fit with those of all phases does not fit with those of some.
        """
        sets = list(self._reloads())
        if not sets:
            return None
        found = self._first(self._alike(), sets[-1])
        for each in sets[:-1] if found else ():
            fewer = self._first(self._alike(), each)
            if fewer:
                return fewer
        return found

    def _reloads(self) -> Iterator[frozenset[int]]:
        """Yield sets of phases whose weights every run may load, the fewest elements first.

        Two phases at least: one alone would have nobody's place to take.
        """
        n_phases = len(self.ways)
        if n_phases == 1:
            return
        try:
            sizes = [self._nets(p, 0).weight_elements for p in range(n_phases)]
        except MappingError:
            return  # a phase that fits in no other way
        if n_phases <= MAX_SUBSETS:
            subsets = [
                frozenset(s)
                for n in range(2, n_phases + 1)
                for s in itertools.combinations(range(n_phases), n)
            ]
        else:
            order = sorted(range(n_phases), key=lambda p: sizes[p])
            subsets = [frozenset(order[:n]) for n in range(2, n_phases + 1)]
        yield from sorted(subsets, key=lambda s: (sum(sizes[p] for p in s), len(s)))

    def _placements(self, fits: _Fits) -> Iterator[Mapped]:
        """Yield a model that fits; of one with large cells also placed in other ways.

        Without weights in the windows: addends from there hold up the vector unit, from elsewhere
        the array. And with states apart from what their cells read.
        """
        yield fits.found
        if not any(is_large(p) for p in fits.found.phases):
            return
        for window in (Window.RESULTS, Window.APART) if self.arch.windows else (Window.APART,):
            with contextlib.suppress(MappingError):
                yield self._assembled(fits.chosen, window, fits.reloading)

    def _alike(self) -> Iterator[tuple[int, ...]]:
        """Yield the attempts, the same one for each phase."""
        lengths = [len(w) for w in self.ways]
        for k in range(max(lengths)):
            yield tuple(min(k, n - 1) for n in lengths)

    def _choices(self) -> Iterator[tuple[int, ...]]:
        """Yield an attempt for each phase: all alike, then one phase changed at a time.

        Of these changes those stay that miss by less.
        """
        yield from self._alike()
        lengths = [len(w) for w in self.ways]
        if len(lengths) == 1:
            return
        chosen, least = (0,) * len(lengths), self.failures[0].excess
        for p, n in itertools.islice(itertools.cycle(enumerate(lengths)), MAX_TRIES):
            for k in range(n):
                trial = (*chosen[:p], k, *chosen[p + 1 :])
                if len(self.failures) > MAX_TRIES:
                    return
                yield trial
                if self.failures[-1].excess < least:
                    chosen, least = trial, self.failures[-1].excess

    def _try(self, chosen: tuple[int, ...], reloading: frozenset[int]) -> Mapped | None:
        for window in (Window.ALL, Window.NONE) if self.arch.windows else (Window.ALL,):
            try:
                return self._assembled(chosen, window, reloading)
            except MappingError as error:
                failure = error
        self.failures.append(failure)
        return None

    def _assembled(
        self, chosen: tuple[int, ...], window: Window, reloading: frozenset[int]
    ) -> Mapped:
        """Return a model placed; where it does not fit, network after network."""
        nets = [self._nets(p, k) for p, k in enumerate(chosen)]
        place = partial(assemble, nets, self.problem, self.arch, window, reloading=reloading)
        try:
            found = place(serial=False)
        except MappingError:
            if not any(len(net.part.steps) > 1 for each in nets for net in each.all):
                raise  # there are no intermediates
            found = place(serial=True)
        check_words(found.run(), self.arch)
        return found

    def _nets(self, p: int, k: int) -> Nets:
        """Return the networks of a phase, folded in its k-th way."""
        if (p, k) not in self.folded:
            self.folded[p, k] = self.searches[p].nets(self.ways[p][k])
        return self.folded[p, k]


def _may_fuse(asked: Asked) -> bool:
    """Tell whether a phase has a cell whose vectors may be fused: its gates are not cut apart."""
    return asked.layer is not None and asked.layer.cell is not CellKind.GRU_BEFORE


def _fits(what: str, modes: Sequence[int], writers: Sequence[Sequence[int]]) -> bool:
    """Tell whether every writer's vector, behind one another, has factors in common with modes.

    Raises MappingError where the sizes differ.
    """
    count = len(writers)
    given = sum(prod(w) for w in writers)
    if prod(modes) != given:
        raise MappingError(f"{what}: found modes {tuple(modes)}, expected a product of {given}")
    return all(common_factors([modes, ([count] if count > 1 else []) + list(w)]) for w in writers)
