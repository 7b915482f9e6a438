"""Expressions over the fields of a point: constraints, and fields that follow from others.

They are those of the library simpleeval: Python's arithmetic and comparisons, `and`, `or`, `not`,
`in`, `min`, `max`; nothing that could reach beyond the names it is given.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from einchip.explore.errors import ExploreError, expected
from einchip.models.extras import library

#: What an expression may call.
FUNCTIONS: Final = {"min": min, "max": max}
MAX_LENGTH: Final = 1000


@dataclass(frozen=True)
class Rule:
    """An expression, checked: `where` it stands, for messages, and its text."""

    where: str
    text: str

    def __call__(self, names: Mapping[str, Any]) -> Any:
        """Return its value. Raises ExploreError where it has none (a division by 0)."""
        simpleeval = library("simpleeval", "explore")
        evaluator = simpleeval.SimpleEval(functions=FUNCTIONS, names=dict(names))
        try:
            return evaluator.eval(self.text)
        except (simpleeval.InvalidExpression, ArithmeticError, TypeError, ValueError) as error:
            raise ExploreError(f"{self.where}: {self.text!r}: cannot compute it: {error}") from None


def parsed(where: str, text: str, names: Collection[str]) -> Rule:
    """Return a rule that may use `names`.

    Raises ExploreError where the text is no expression, or names something else.
    """
    found = f"{where}: found {text[:80]!r}"
    if len(text) > MAX_LENGTH:
        raise ExploreError(f"{found}.., expected at most {MAX_LENGTH} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExploreError(f"{found}, expected an expression such as 'rows * cols <= 64'") from None
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            known = FUNCTIONS if node in called else names
            if node.id not in known:
                raise ExploreError(f"{found}: {node.id}: unknown; {expected(node.id, known)}")
    return Rule(where, text)
