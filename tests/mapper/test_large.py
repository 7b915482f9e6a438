"""Trees of networks that are not searched whole, against cotengra and the exact search."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest

from einchip.arch import PRESETS
from einchip.mapper import large
from einchip.mapper.errors import MappingError, TooManyTreesError
from einchip.mapper.large import Report, best_trees, of_path, search
from einchip.mapper.merge import Merging
from einchip.mapper.network import map_network
from einchip.mapper.node import Node
from einchip.mapper.objectives import OBJECTIVES, cost_of, objective_of
from einchip.mapper.tree import explore
from einchip.network import Network
from tests.mapper.cases import mpo

BASE = PRESETS["base"]


def random_network(seed: int, n_tensors: int) -> Network:
    """Return a connected network of mean degree 3, with hyperedges."""
    rng = random.Random(seed)
    tensors: dict[str, list[str]] = {f"T{k}": [] for k in range(n_tensors)}
    names = list(tensors)
    for k in range(n_tensors * 3 // 2):
        first = names[k] if k < n_tensors else rng.choice(names)
        others = [n for n in names if n != first]
        ends = rng.sample(others, 2 if rng.random() < 0.1 else 1)
        if k < n_tensors - 1:
            ends = [names[k + 1]]
        for n in (first, *ends):
            tensors[n].append(f"i{k}")
    sizes = {f"i{k}": rng.choice([2, 3, 4]) for k in range(n_tensors * 3 // 2)}
    output = tuple(rng.sample(sorted(sizes), 2))
    return Network({n: tuple(t) for n, t in tensors.items()}, sizes, output)


def cotengra() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("cotengra")


def macs_of(node: Node, network: Network) -> float:
    """Return the multiply-adds of a tree: a product of sizes for each of its steps."""
    return sum(
        network.size(dict.fromkeys(i for o in step.operands for i in o.indices))
        for step in node.steps()
    )


@pytest.mark.parametrize("n_tensors", [15, 20, 25, 30])
def test_multiply_adds_are_never_more_than_those_of_cotengra_alone(n_tensors: int) -> None:
    library = cotengra()
    network = random_network(n_tensors, n_tensors)
    found = search(network, objective_of("macs", network, BASE), Merging(), budget=3)
    assert sorted(found.trees[0].node.leaves()) == sorted(network.tensors)
    cost = macs_of(found.trees[0].node, network)
    assert cost == found.trees[0].cost
    terms = tuple(network.tensors.values())
    for optimizer in ("greedy", "auto", "auto-hq", library.RandomGreedyOptimizer(seed=1)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = library.array_contract_path(
                terms, network.output, network.sizes, optimize=optimizer
            )
        assert cost <= macs_of(of_path(network, path), network)
    assert "cotengra" in found.method


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("seed", range(3))
def test_parts_searched_anew_come_near_the_best_of_all_trees(name: str, seed: int) -> None:
    network = random_network(seed, 9)
    objective = objective_of(name, network, BASE)
    best = explore(network, objective).trees[0].cost
    found = search(network, objective, Merging(), budget=5).trees[0]
    assert best <= found.cost * (1 + 1e-12)
    assert found.cost <= 1.05 * best
    assert cost_of(found.node, network, objective).cost == pytest.approx(found.cost)


def test_weights_are_merged_in_large_networks_too() -> None:
    network = mpo("x", (4, 8, 8, 4), (4, 8, 8, 4), 12)
    weights = [n for n in network.tensors if n != "x"]
    objective, merging = objective_of("cycles", network, BASE), Merging.on(BASE, weights)
    best = explore(network, objective, merging=merging).trees[0]
    assert search(network, objective, merging, budget=3).trees[0].cost == best.cost
    tight = Merging(frozenset(weights), merging.largest, 100)
    with pytest.raises(MappingError, match=r"weights: found .* expected at most 100"):
        search(network, objective, tight, budget=1)


def test_without_cotengra_greedy_trees_are_the_seeds_and_the_output_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large, "cotengra", lambda: None)
    network = random_network(3, 16)
    objective = objective_of("macs", network, BASE)
    first = next(large.seeds(network, objective.bound))
    found = search(network, objective, Merging(), budget=3)
    assert first[0] == "greedy"
    assert found.trees[0].cost <= macs_of(first[1], network)
    assert "without cotengra: pip install 'einchip[cotengra]'" in found.method


def test_a_budget_ends_the_search_and_progress_is_told() -> None:
    network = random_network(5, 30)
    told: list[Report] = []
    search(network, objective_of("macs", network, BASE), Merging(), 0.0, told.append)
    assert len(told) == 1
    assert "1 parts searched" in told[0].text()


def test_a_network_whose_trees_are_too_many_is_mapped_all_the_same() -> None:
    network = random_network(7, 26)
    objective = objective_of("cycles", network, BASE)
    with pytest.raises(TooManyTreesError):
        explore(network, objective, max_pairs=large.PAIRS)
    found = best_trees(network, objective, 1, Merging(), budget=1)
    assert not found.exact
    mapping = map_network(network, BASE, budget=1)
    assert not mapping.optimal
    assert mapping.bound is None
    assert mapping.certificate.trees is None
    assert "parts of up to 8 nodes searched anew" in mapping.searched
