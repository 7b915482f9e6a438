"""Spans of a prediction: who is pushed back by a client of higher priority comes behind it."""

from hypothesis import given
from hypothesis import strategies as st

from einchip.mapper.timeline_units import Span, Spans


@st.composite
def apart(draw: st.DrawFn) -> list[Span]:
    """Return spans in order that do not touch."""
    found, at = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), max_size=5)):
        found.append((at + gap, at + gap + length))
        at = found[-1][1]
    return found


def cycles(spans: Spans) -> set[int]:
    return {t for low, high in spans.spans for t in range(low, high)}


@given(apart(), st.integers(0, 30), st.integers(1, 8))
def test_what_is_pushed_back_takes_as_many_cycles_later(
    before: list[Span], low: int, length: int
) -> None:
    spans = Spans()
    for span in before:
        spans.add(*span)
    was = cycles(spans)
    spans.push(low, low + length)
    own = set(range(low, low + length))
    assert cycles(spans) >= was | own
    pushed = cycles(spans) - was - own
    assert len(pushed) <= len(was & own)
    assert all(t >= low + length for t in pushed)


def test_two_reads_under_a_row_that_is_added_come_behind_it() -> None:
    spans = Spans()
    spans.add(4, 6)
    spans.push(3, 7)
    assert cycles(spans) == {3, 4, 5, 6, 7, 8}
