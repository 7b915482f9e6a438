"""Whether nextpnr gets anywhere: its router2 goes on for ever where it finds no routes.

Each iteration routes again what meets on a wire. Mostly the wires that are taken twice become fewer
until there are none; sometimes they become more again. From another placement, of another seed, it
may find routes all the same.
"""

from __future__ import annotations

import re
from typing import Final

#: Seeds of placements that are tried, nextpnr's own first.
SEEDS: Final = (1, 2, 3)
#: Iterations in which the fewest wires that were taken twice must become fewer.
PATIENCE: Final = 40


def stuck(log: str) -> str:
    """Return what is wrong with a log of nextpnr so far, "" where nothing is.

    Other routers than router2 are never stuck.
    """
    taken = [int(n) for n in re.findall(r"iter=\d+ wires=\d+ overused=(\d+)", log)]
    if len(taken) <= PATIENCE or min(taken[-PATIENCE:]) < min(taken[:-PATIENCE]):
        return ""
    return (
        f"found {taken[-1]:,} wires taken twice after {len(taken)} iterations of router2, "
        f"{min(taken):,} at best, expected routes for all"
    )


def with_seed(arguments: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Return nextpnr's arguments for the placement of a seed."""
    return arguments if seed == SEEDS[0] else (*arguments, "--seed", str(seed))
