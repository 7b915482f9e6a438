"""When a scratchpad port is in use: ordered spans of cycles."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""The cycles from the first number up to, not including, the second."""


class Spans:
    """Spans in the order of their starts; old ones are forgotten as time goes by."""

    __slots__ = ("_spans",)

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans = deque(spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def add(self, start: int, stop: int) -> None:
        """Append a span that starts no earlier than any other.

        One that begins where the last ends joins it.
        """
        spans = self._spans
        if spans and spans[-1][1] == start:
            start = spans.pop()[0]
        spans.append((start, stop))

    def clear(self) -> None:
        self._spans.clear()

    def after(self, t: int) -> Span | None:
        """Return the first span that is not over in cycle t, and forget those before it."""
        spans = self._spans
        while spans and spans[0][1] <= t:
            spans.popleft()
        return spans[0] if spans else None

    def within(self, t: int, end: int) -> list[Span]:
        """Return the spans that meet the cycles t .. end - 1, and forget those before t."""
        if self.after(t) is None:
            return []
        found = []
        for span in self._spans:
            if span[0] >= end:
                break
            found.append(span)
        return found

    def cycles(self, t: int, end: int) -> frozenset[int]:
        """Return the cycles of t .. end - 1 that lie in a span."""
        return frozenset(c for a, b in self.within(t, end) for c in range(max(a, t), min(b, end)))
