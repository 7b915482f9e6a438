"""What a page says that a command prints, against what it prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest

#: Stands for any lines.
LEFT_OUT: Final = "..."
#: How far a number with a decimal point may be off, of its size, where a network was trained:
#: weights differ in their last bits between processors. Whole numbers (cycles, words) are exact.
TRAINED: Final = 0.5
_DECIMAL: Final = re.compile(r"-?\d+\.\d+")


def prints(shown: str, printed: str, where: str, tolerance: float = 0) -> None:
    """Check that the shown lines are among those printed, in their order.

    `tolerance` is how far numbers with a decimal point may be off, of their size. Raises
    AssertionError, with the place and the first line that is not.
    """
    lines = iter(printed.splitlines())
    for line in shown.splitlines():
        if line.strip() and line.strip() != LEFT_OUT:
            assert _found(line, lines, tolerance), f"{where}: not printed: {line}\n{printed}"


def _found(line: str, lines: Iterator[str], tolerance: float) -> bool:
    """Go on to the line that is meant; tell whether there is one."""
    return any(_same(line, other, tolerance) for other in lines)


def _same(shown: str, printed: str, tolerance: float) -> bool:
    words = [" ".join(_DECIMAL.sub("#", text).split()) for text in (shown, printed)]
    numbers = [[float(n) for n in _DECIMAL.findall(text)] for text in (shown, printed)]
    return words[0] == words[1] and numbers[0] == pytest.approx(numbers[1], rel=tolerance, abs=0)
