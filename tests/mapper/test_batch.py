"""Sequences side by side: what their larger vectors ask of placement, folds and layouts."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from einchip.arch import PRESETS
from einchip.mapper import CellKind, MappingError, ModelProblem, map_model, place
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

    def side_by_side(*args: Any, serial: bool, **how: Any) -> Any:
        if serial:
            raise MappingError("serial")
        return place.assemble(*args, **how)

    monkeypatch.setattr("einchip.mapper.divide.assemble", side_by_side)
    with contextlib.suppress(MappingError):
        assert map_model(problem, TIGHT).step_cycles > best
