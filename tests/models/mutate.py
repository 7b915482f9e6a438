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


#: What numbers in headers may turn into.
LARGE = [b"\xff" * 8, b"\x7f" * 4, b"99999999999", b"-1", b"1e99", b"4" * 5000]


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


@st.composite
def mutated_bytes(draw: st.DrawFn, originals: list[bytes], most: int = 4) -> bytes:
    """One of the files with up to `most` ranges changed, or a file of random bytes.

    Half of the changes fall into the first 1000 bytes, where headers are.
    """
    data = draw(st.sampled_from(originals))
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=300))
    for _ in range(draw(st.integers(1, most))):
        size = len(data)
        at = draw(st.integers(0, min(size, 1000) if draw(st.booleans()) else size))
        end = min(size, at + draw(st.sampled_from([1, 1, 1, 4, 8, 100])))
        what = draw(st.sampled_from(["cut", "replace", "insert", "delete", "repeat", "large"]))
        if what == "cut":
            data = data[:at]
        elif what == "replace":
            data = data[:at] + draw(st.binary(min_size=end - at, max_size=end - at)) + data[end:]
        elif what == "insert":
            data = data[:at] + draw(st.binary(min_size=1, max_size=9)) + data[at:]
        elif what == "delete":
            data = data[:at] + data[end:]
        elif what == "repeat":
            data = data[:end] + data[at:end] + data[end:]
        else:
            digits = draw(
                st.sampled_from([b"\xff" * 8, b"\x7f" * 4, b"99999999999", b"-1", b"1e99"])
            )
            data = data[:at] + digits + data[at + len(digits) :]
    return data
