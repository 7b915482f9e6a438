"""Layouts: no two elements coincide, no access meets a bank twice."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.mapper.lanes import Factor
from einchip.mapper.layout import Layout, conflict_free, solve

LANES = 16


def addresses(layout: Layout, counts: dict[str, int]) -> list[int]:
    """Return the offsets of all elements with index values below `counts`."""
    ranges = (range(n) for n in counts.values())
    strides = [layout.stride(i) for i in counts]
    return [int(np.dot(strides, v)) for v in itertools.product(*ranges)]


@st.composite
def tensors(draw: st.DrawFn) -> tuple[dict[str, int], list[list[Factor]]]:
    sizes = {f"i{k}": draw(st.integers(1, 9)) for k in range(draw(st.integers(1, 5)))}
    accesses = []
    for _ in range(draw(st.integers(1, 3))):
        room, access = LANES, []
        for i in draw(st.lists(st.sampled_from(sorted(sizes)), unique=True, max_size=3)):
            count = draw(st.integers(1, max(1, min(room, sizes[i]))))
            access.append(Factor(i, count))
            room //= count
        accesses.append(access)
    return sizes, accesses


@given(tensors())
def test_a_layout_keeps_elements_and_the_lanes_of_every_access_apart(
    case: tuple[dict[str, int], list[list[Factor]]],
) -> None:
    sizes, accesses = case
    layout = solve(sizes, sizes, accesses, LANES)
    if layout is None:
        return
    every = addresses(layout, sizes)
    assert len(set(every)) == prod(sizes.values())
    assert max(every) == layout.extent - 1
    for access in accesses:
        banks = [a % LANES for a in addresses(layout, {f.index: f.count for f in access})]
        assert len(set(banks)) == len(banks)


@given(tensors(), st.data())
def test_a_layout_has_room_for_values_that_an_access_takes_beyond_an_index(
    case: tuple[dict[str, int], list[list[Factor]]], data: st.DataObject
) -> None:
    sizes, accesses = case
    index = data.draw(st.sampled_from(sorted(i for i in sizes if sizes[i] > 1) or ["i0"]))
    reach = sizes[index] + data.draw(st.integers(1, 3))
    layout = solve(sizes, sizes, [*accesses, [Factor(index, 1, reach=reach)]], LANES)
    if layout is None or sizes[index] == 1:
        return
    every = addresses(layout, sizes)
    longer = addresses(layout, {**sizes, index: reach})
    assert len(set(longer)) == prod(sizes.values()) // sizes[index] * reach
    assert max(longer) < layout.extent <= max(every) + 1 + layout.spare


def test_nothing_lies_outside_of_values_beyond_an_index() -> None:
    sizes = {"a": 5, "b": 5, "c": 3}
    reach = Factor("b", 1, ("a",), reach=28)
    layout = solve("abc", sizes, [[reach]], LANES)
    assert layout
    assert layout.stride("a") == 5 * layout.stride("b")
    assert solve("abc", sizes, [[reach], [Factor("a", 1, ("c",))]], LANES) is None
    assert not conflict_free(layout, [reach], LANES)


@given(st.permutations("abcd"), st.permutations("abcd"))
def test_a_write_and_a_read_of_two_factors_of_4_always_have_a_layout(
    write: list[str], read: list[str]
) -> None:
    accesses = [[Factor(i, 4) for i in order[:2]] for order in (write, read)]
    assert solve("abcd", dict.fromkeys("abcd", 4), accesses, LANES) is not None


def test_no_layout_serves_all_pairs_of_three_factors_of_4() -> None:
    accesses = [[Factor(i, 4) for i in pair] for pair in itertools.combinations("abc", 2)]
    assert solve("abc", dict.fromkeys("abc", 4), accesses, LANES) is None


def test_an_access_of_more_lanes_than_banks_has_none() -> None:
    assert solve("ab", {"a": 8, "b": 8}, [[Factor("a", 8), Factor("b", 8)]], LANES) is None


@given(tensors())
def test_there_is_a_layout_whenever_residues_of_strides_keep_all_lanes_apart(
    case: tuple[dict[str, int], list[list[Factor]]],
) -> None:
    sizes, accesses = case
    lanes = 4
    small = [[f for f in a if sizes[f.index] > 1][:2] for a in accesses]
    names = sorted({f.index for a in small for f in a})

    def apart(strides: dict[str, int]) -> bool:
        for access in small:
            ranges = (range(f.count) for f in access)
            steps = [strides[f.index] for f in access]
            banks = [int(np.dot(steps, v)) % lanes for v in itertools.product(*ranges)]
            if len(set(banks)) < len(banks):
                return False
        return True

    every = itertools.product(range(lanes), repeat=len(names))
    possible = any(apart(dict(zip(names, r, strict=True))) for r in every)
    assert (solve(sizes, sizes, small, lanes) is not None) == possible


def test_fused_indices_lie_behind_one_another_and_give_lanes_as_one() -> None:
    sizes = {"a": 2, "b": 2, "c": 5, "d": 2, "e": 2}
    layout = solve("abcde", sizes, [[Factor("e", 16, ("d", "b", "a"))], [Factor("c", 5)]], LANES)
    assert layout is not None
    assert layout.stride("d") == 2 * layout.stride("e")
    assert layout.stride("b") == 2 * layout.stride("d")
    assert layout.stride("a") == 2 * layout.stride("b")
    banks = [a % LANES for a in addresses(layout, {"a": 2, "b": 2, "d": 2, "e": 2})]
    assert len(set(banks)) == 16


@pytest.mark.parametrize("other", ["ac", "cb", "ba"])
def test_indices_that_are_fused_in_two_ways_have_no_layout(other: str) -> None:
    fused = [[Factor(chain[0], 1, tuple(chain[1:]))] for chain in ("ab", other)]
    assert solve("abc", dict.fromkeys("abc", 4), fused, LANES) is None
    assert solve("abc", dict.fromkeys("abc", 4), fused[:1], LANES) is not None
