"""The one exception of the package, and what was perhaps meant."""

from __future__ import annotations

from collections.abc import Iterable

from einchip.mistakes import did_you_mean


class ExploreError(ValueError):
    """A space, an option or a cluster that cannot be used, said in one line."""


def expected(found: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: what is nearest, or all there are."""
    names = list(known)
    near = did_you_mean(found, names).removeprefix("; ")
    return near or f"expected one of {', '.join(names)}"
