"""Folds restricted to some groups of indices, against all folds filtered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.arch import PRESETS
from einchip.mapper.lanes import ALL_GROUPS, Factor, Shape, best_cycles, candidates
from einchip.mapper.layout import conflict_free, pitched

SMALL = PRESETS["small"]
SIZES = st.dictionaries(st.sampled_from("abcdefg"), st.integers(2, 9), min_size=7, max_size=7)


@given(sizes=SIZES, groups=st.sampled_from(["mn", "k", "b", "mnk", "n", ALL_GROUPS]))
def test_the_best_fold_of_some_groups_is_the_best_of_all_folds_that_have_no_others(
    sizes: dict[str, int], groups: str
) -> None:
    shape = Shape.of("abcdg", "cdefg", "abefg", sizes)
    everything = candidates(shape, SMALL, slack=1 << 20, keep=1 << 20).candidates
    others = set(ALL_GROUPS) - set(groups)
    allowed = [
        c
        for c in everything
        if not any(getattr(c.fold, g) for g in others) and (not others or not c.fold.n_fused)
    ]
    found = candidates(shape, SMALL, groups=groups).candidates
    assert not [c for c in found if any(getattr(c.fold, g) for g in others)]
    assert min(c.cycles for c in found) == min(c.cycles for c in allowed)
    if others:  # else it is a bound: groups as if they were fused
        assert best_cycles(shape, SMALL, groups=groups) == min(c.cycles for c in allowed)


@pytest.mark.parametrize("counts", [(8, 1), (4, 2), (2, 4), (1, 8)])
def test_a_pitched_layout_keeps_the_order_and_separates_banks(counts: tuple[int, int]) -> None:
    sizes = {"a": 8, "b": 16, "c": 8}
    lanes = [Factor("c", counts[0]), Factor("a", counts[1])]
    layout = pitched("abc", sizes, [lanes], 8)
    assert layout is not None
    assert layout.strides["a"] > layout.strides["b"] > layout.strides["c"] == 1
    assert conflict_free(layout, lanes, 8)
    assert layout.strides["b"] >= 8
    assert layout.strides["a"] >= 8 * 16


def test_a_pitched_layout_serves_two_accesses_or_there_is_none() -> None:
    """Rows and columns of 8 banks: pitch 9, odd; no pitch for columns and a 4 x 2 tile, too."""
    sizes = {"a": 8, "c": 8}
    row, column = [Factor("c", 8)], [Factor("a", 8)]
    layout = pitched("ac", sizes, [row, column], 8)
    assert layout is not None
    assert layout.strides == {"a": 9, "c": 1}
    assert pitched("ac", sizes, [column, [Factor("a", 2), Factor("c", 4)]], 8) is None
