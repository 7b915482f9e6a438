"""Which points no other one beats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def front(values: Sequence[Sequence[float]]) -> list[bool]:
    """Return of each row [n_objectives], all to be small, whether no other one dominates it.

    One row dominates another that is nowhere less and somewhere greater. Of equal rows all stay.
    """
    rows = np.asarray(values, dtype=float)
    return [
        not bool(np.any(np.all(rows <= row, axis=1) & np.any(rows < row, axis=1))) for row in rows
    ]
