"""Float runs of a mapped network in its own contraction order, so that every intermediate is seen.

Leading axes: an array of a tensor may carry batch axes in front of the tensor's own (`x` of many
sequences and time steps); they run through all steps that depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class StepLike(Protocol):
    """One pairwise contraction, by tensor names."""

    @property
    def name(self) -> str: ...
    @property
    def left(self) -> str: ...
    @property
    def right(self) -> str: ...


def contract_step(
    left: tuple[Float, tuple[str, ...]],
    right: tuple[Float, tuple[str, ...]],
    result: tuple[str, ...],
) -> Float:
    """Contract two arrays over named axes; batch axes in front of either are kept in front.

    At most one operand may have batch axes, or both the same ones.
    """
    (a, a_names), (b, b_names) = left, right
    numbers: dict[str, int] = {}
    for name in (*a_names, *b_names, *result):
        numbers.setdefault(name, len(numbers))
    a_axes, b_axes, out = ([numbers[n] for n in names] for names in (a_names, b_names, result))
    return np.asarray(
        np.einsum(a, [Ellipsis, *a_axes], b, [Ellipsis, *b_axes], [Ellipsis, *out], optimize=True)
    )


def run_steps(
    steps: tuple[StepLike, ...],
    indices: Mapping[str, tuple[str, ...]],
    arrays: Mapping[str, Float],
) -> dict[str, Float]:
    """Return the float result of every step, in order.

    Parameters
    ----------
    steps : pairwise contractions, operands before results.
    indices : tensor or step -> its axes (batch axes left out).
    arrays : the network's tensors, axes in that order.
    """
    known = dict(arrays)
    found: dict[str, Float] = {}
    for step in steps:
        operands = [(known[n], indices[n]) for n in (step.left, step.right)]
        found[step.name] = known[step.name] = contract_step(
            operands[0], operands[1], indices[step.name]
        )
    return found
