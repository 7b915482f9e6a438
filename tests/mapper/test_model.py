"""Mapped models against `numpy.einsum` and `numeric`'s cells, step by step."""

from __future__ import annotations

import pytest

from tests.mapper.cases import WIDE
from tests.mapper.models import MODELS
from tests.mapper.run_model import check_model


@pytest.mark.parametrize("preset", sorted(WIDE))
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_equals_numpy(name: str, preset: str) -> None:
    check_model(MODELS[name], WIDE[preset])
