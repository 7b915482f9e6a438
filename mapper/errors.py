"""What the mapper says when something cannot be mapped."""

from __future__ import annotations


class MappingError(ValueError):
    """No program exists in the searched space; one line: what failed, found, the way out.

    `excess` says by how many elements or words a machine is too small, 0 for other failures.
    """

    def __init__(self, message: str, excess: int = 0) -> None:
        super().__init__(message)
        self.excess = excess


class TooManyTreesError(MappingError):
    """A network whose contraction trees are too many to search all of them."""


def nearest(failures: list[MappingError]) -> MappingError:
    """Return the failure that says most: the one that missed by least, else the first."""
    return min((f for f in failures if f.excess), key=lambda f: f.excess, default=failures[0])
