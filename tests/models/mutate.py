"""Changes to decoded JSON or YAML values, drawn by hypothesis."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

#: What may stand where something else belongs.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, 2, 3, -1, 4, 64, 2**24, 2**31, 2**63, 1 << 70, 0.5, 2.0]),
    st.sampled_from(["", "lstm", "gru", "rnn", "mpo", "ht", "x", "g", "separate", "a\nb", "\x00"]),
    st.sampled_from([[], [1], [1, 2, 1], [[0, 1], 2], {}, {"leaf": 2}, {"random": 1}]),
    st.integers(),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) inside a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in pairs:
        yield value, key
        if isinstance(child, dict | list):
            yield from places(child)


@st.composite
def mutated(draw: st.DrawFn, originals: list[Any], most: int = 3) -> Any:
    """One of the values, with up to `most` places replaced, removed, added or doubled."""
    value = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, most))):
        found = list(places(value))
        if not found:
            break
        parent, key = found[draw(st.integers(0, len(found) - 1))]
        what = draw(st.sampled_from(["replace", "remove", "add", "double"]))
        if what == "replace":
            parent[key] = copy.deepcopy(draw(ODD))
        elif what == "remove":
            del parent[key]
        elif isinstance(parent, dict):
            other = "extra" if what == "add" else draw(st.sampled_from(sorted(map(str, parent))))
            parent[other] = copy.deepcopy(draw(ODD) if what == "add" else parent[key])
        else:
            parent.insert(key, copy.deepcopy(draw(ODD) if what == "add" else parent[key]))
    return value
