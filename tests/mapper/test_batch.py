"""Sequences side by side: what their larger vectors ask of placement, folds and layouts."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from einchip.arch import PRESETS
from einchip.mapper import CellKind, MappingError, ModelProblem, map_model, place
from einchip.mapper.cost import Others
from einchip.mapper.fold import PhaseSearch
from einchip.mapper.lanes import Fold, Shape, candidates
from einchip.workloads.layers import per_step
from tests.mapper.cases import mpo
from tests.mapper.models import last, layer
from tests.mapper.run_model import check_model

BASE = PRESETS["base"]


def batched(modes: tuple[int, ...], rank: int) -> ModelProblem:
    """Return an LSTM of 64 units for 16 sequences."""
    out = (modes[0] * 4, *modes[1:]) if len(modes) == 3 else (modes[0] * 2, modes[1] * 2)
    own = mpo("x", modes, out, rank), mpo("h", modes, out, rank)
    return replace(last(layer("layers.0", CellKind.LSTM, 64, own)), batch=16)


#: A layer that does not fit this machine if networks run side by side.
TIGHT = BASE.override(x_depth=512, y_depth=1024, y_window=0)


def test_networks_follow_one_another_where_memory_is_short() -> None:
    mapping = check_model(batched((4, 4, 4), 4), TIGHT)
    [phase] = mapping.mapped.phases
    assert phase.serial


def test_without_that_it_is_slower_or_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = batched((4, 4, 4), 4)
    best = map_model(problem, TIGHT).step_cycles

    def side_by_side(*args: Any, serial: bool = False) -> Any:
        if serial:
            raise MappingError("serial")
        return place.assemble(*args)

    monkeypatch.setattr("einchip.mapper.divide.assemble", side_by_side)
    with contextlib.suppress(MappingError):
        assert map_model(problem, TIGHT).step_cycles > best


def test_operands_in_x_are_held_where_the_vector_unit_reads_x(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arch = BASE.override(y_window=64)
    problem = batched((8, 8), 4)
    aware = map_model(problem, arch)
    monkeypatch.setattr(PhaseSearch, "_reads", lambda _: 0.0)
    blind = map_model(problem, arch)
    found = [per_step(m.emit().run, m)["cycles"] for m in (aware, blind)]
    assert found[0] < found[1]


def test_holding_is_chosen_where_others_read_x() -> None:
    shape = Shape((("m", 16),), (("n", 128),), (("k", 16),), (), (), ())
    assert not candidates(shape, BASE).candidates[0].fold.q
    best = candidates(shape, BASE, Others(reads=0.5)).candidates[0].fold
    assert sum(f.count for f in best.q) > 1


def test_folds_that_serve_are_found_behind_those_that_do_not() -> None:
    """A result that is given may have conflicts with every fold among the best few."""

    def serves(fold: Fold) -> bool:
        return not fold.n

    shape = Shape((("m", 16),), (("n", 128),), (("k", 16),), (), (), ())
    few = candidates(shape, BASE, keep=4)
    plain = max(c.cycles for c in few.candidates)
    assert [c.cycles for c in few.candidates if serves(c.fold)] == [plain]
    found = candidates(shape, BASE, keep=4, serves=serves).candidates
    assert all(serves(c.fold) for c in found)
    assert min(c.cycles for c in found) < plain / 8


def test_vectors_of_the_cell_hold_sequences_where_these_fill_them() -> None:
    mapping = map_model(batched((8, 8), 4), BASE)
    cell = mapping.mapped.phases[0].cell
    assert cell
    assert cell.lanes == ((len(cell.units.sizes) - 1, 16),)
