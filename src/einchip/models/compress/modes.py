"""How sizes are split into modes where nobody says: into few factors of about equal size."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd, prod

from einchip.models.spec import Format

#: Formats of which more than two modes a side cost more than they save: the core of Tucker grows
#: with the power of all modes, the fit of CP gets worse with every mode.
TWO_MODES: frozenset[str] = frozenset({"tucker", "cp", "kronecker"})


@lru_cache(maxsize=1024)
def balanced_factors(n: int, k: int) -> tuple[int, ...]:
    """Return k factors of n, ascending, of which the largest is as small as can be, then the next.

    A prime leaves ones: ``balanced_factors(13, 2) == (1, 13)``.
    """
    if k == 1:
        return (n,)
    divisors = (d for d in range(1, n + 1) if n % d == 0)
    splits = (tuple(sorted((*balanced_factors(n // d, k - 1), d))) for d in divisors)
    return min(splits, key=lambda factors: factors[::-1])


def padded_factors(n: int, k: int) -> tuple[int, ...]:
    """Return k factors, ascending, of about equal size whose product is at least n."""
    factors = [ceil(n ** (1 / k) - 1e-9)] * k
    for j in range(k):
        others = prod(factors) // factors[j]
        factors[j] = ceil(n / others)
    return tuple(sorted(factors))


def n_modes(format_: Format, size: int) -> int:
    """Return into how many modes each side of a matrix is split; `size` is the longer side."""
    if format_ in ("dense", "lowrank"):
        return 1
    if format_ in TWO_MODES or size < 64:
        return 2
    return 3 if size < 1024 else 4


def matrix_modes(
    format_: Format, in_size: int, out_size: int, n_gates: int = 1, separate: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return input and output modes of ``W[n_gates * out_size, in_size]``.

    The gate is the slowest part of the first output mode, unless every gate has its own network.
    """
    k = n_modes(format_, max(in_size, out_size))
    first, *rest = balanced_factors(out_size, k)
    return balanced_factors(in_size, k), (first * (1 if separate else n_gates), *rest)


def joint_modes(format_: Format, in_size: int, hidden_size: int) -> tuple[int, ...]:
    """Return modes of [x; h]: both parts are whole numbers of slices of the first mode."""
    total = in_size + hidden_size
    k = n_modes(format_, total)
    common = gcd(in_size, hidden_size)
    divisors = (d for d in range(1, common + 1) if common % d == 0)
    splits = ((total // d, *(balanced_factors(d, k - 1) if k > 1 else ())) for d in divisors)
    if k == 1:
        return (total,)
    return min(splits, key=lambda modes: sorted(modes, reverse=True))
