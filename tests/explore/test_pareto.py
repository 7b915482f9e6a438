"""The front of all points."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from einchip.explore.pareto import front


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4])
def test_front_is_what_brute_force_finds(n_objectives: int) -> None:
    """The oracle compares every pair of rows, figure by figure; many are equal."""
    rng = np.random.default_rng(n_objectives)
    for n_rows in (1, 2, 7, 40):
        rows = rng.integers(0, 6, (n_rows, n_objectives)).tolist()
        beaten = {
            k
            for (k, mine), theirs in product(enumerate(rows), rows)
            if all(t <= m for t, m in zip(theirs, mine, strict=True)) and theirs != mine
        }
        assert front(rows) == [k not in beaten for k in range(n_rows)]


def test_no_points_have_no_front() -> None:
    """The oracle is the empty list."""
    assert front([]) == []
