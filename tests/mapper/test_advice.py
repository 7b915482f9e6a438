"""The advice against products of sizes written out by hand, and against the tree search."""

from __future__ import annotations

import pytest

from einchip.arch import PRESETS
from einchip.mapper import tree
from einchip.mapper.advice import (
    COMPRESSED,
    KEPT,
    MERGED,
    REBUILT,
    STREAMED,
    Advice,
    advise,
    batched,
)
from einchip.mapper.errors import MappingError
from einchip.mapper.objectives import tree_costs
from einchip.network import Network
from tests.mapper.cases import UCF11, mpo

BASE = PRESETS["base"]
BIG = mpo("x", (64, 64), (64, 64), 64)


def macs(advice: Advice) -> dict[str, int]:
    return {way.name: way.macs for way in advice.ways}


def test_a_4096_by_4096_mpo_of_rank_64_at_batch_128_costs_more_than_dense() -> None:
    advice = advise(BIG, BASE, "x", batch=128)
    dense, own = advice[STREAMED], advice[COMPRESSED]
    assert dense is not None
    assert own is not None
    assert dense.macs == 128 * 4096 * 4096
    assert own.macs > dense.macs
    assert advice.cost(dense) < advice.cost(own)
    assert advice.best == dense
    assert "do not compress this" in advice.sentence
    assert f"{own.cost:,.0f} on its best contraction tree" in advice.sentence


def test_the_same_matrix_for_one_input_is_still_too_large_to_multiply() -> None:
    found = advise(UCF11, BASE, "x")
    assert found.best.name == COMPRESSED
    assert "keep the tensors as they are" in found.sentence


def test_a_matrix_that_fits_is_kept_dense_where_that_is_cheaper() -> None:
    advice = advise(mpo("x", (16, 16), (16, 16), 60), BASE, "x", batch=64)
    dense = advice[KEPT]
    assert dense is not None
    assert dense.macs == 64 * 256 * 256
    assert dense.fits
    assert STREAMED not in macs(advice)
    assert advice.best.cost <= dense.cost


def test_rebuilding_costs_the_contraction_of_the_tensors_and_the_product() -> None:
    advice = advise(mpo("x", (8, 8), (8, 8), 3), BASE, "x", batch=10)
    assert macs(advice)[REBUILT] == 3 * 64 * 64 + 10 * 64 * 64


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_a_way_costs_what_the_tree_search_finds(batch: int) -> None:
    network = mpo("x", (4, 8, 8), (8, 8, 4), 5)
    whole = batched(network, "x", batch)
    advice = advise(network, BASE, "x", batch)
    own = advice[COMPRESSED]
    assert own is not None
    assert own.cost == tree.search(whole, *tree_costs(whole, BASE))[0].cost
    merged = advice[MERGED]
    assert merged is None or merged.cost < own.cost


@pytest.mark.parametrize("objective", ["energy", "edp", "macs", "memory"])
def test_every_objective_names_its_unit_and_the_least_way(objective: str) -> None:
    advice = advise(mpo("x", (8, 8), (8, 8), 3), BASE, "x", 4, objective)
    usable = [advice.cost(w) for w in advice.ways if w.fits]
    assert advice.cost(advice.best) == min(usable)
    assert advice.unit in advice.sentence


def test_an_input_that_shares_an_index_with_the_result_is_no_matrix() -> None:
    network = Network({"x": ("a", "b"), "W": ("b", "c")}, {"a": 2, "b": 3, "c": 4}, ("a", "c"))
    with pytest.raises(MappingError, match="x: found index a in the result, too"):
        advise(network, BASE, "x")
    with pytest.raises(ValueError, match="batch: found 0"):
        advise(network, BASE, "x", batch=0)
