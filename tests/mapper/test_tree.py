"""The tree search against brute force over all trees and placements."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.arch import PRESETS, Architecture
from einchip.mapper import tree
from einchip.mapper.lanes import Shape, best_cycles
from einchip.mapper.network import map_network
from einchip.mapper.network_search import tree_costs
from einchip.network import Network
from tests.mapper.cases import mpo, mps


def every_cost(
    network: Network, parts: list[tuple[frozenset[str], tuple[str, ...]]], arch: Architecture
) -> Iterator[int]:
    """Yield the cycles of all ways to contract `parts`, with each operand in X and in Y."""
    if len(parts) == 1:
        yield 0
        return
    for i in range(len(parts)):
        for j in range(i + 1, len(parts)):
            (names_a, a), (names_b, b) = parts[i], parts[j]
            if not set(a) & set(b):
                continue
            rest = [p for k, p in enumerate(parts) if k not in (i, j)]
            outside = {x for _, t in rest for x in t} | set(network.output)
            out = tuple(x for x in dict.fromkeys(a + b) if x in outside)
            for x, y in ((a, b), (b, a)):
                step = best_cycles(Shape.of(x, y, out, network.sizes), arch)
                for more in every_cost(network, [*rest, (names_a | names_b, out)], arch):
                    yield step + more


@pytest.mark.parametrize("preset", sorted(PRESETS))
@given(data=st.data())
def test_the_cheapest_tree_is_the_one_that_brute_force_finds(
    preset: str, data: st.DataObject
) -> None:
    size = st.integers(2, 9)
    kind = data.draw(st.sampled_from([mpo, mps]))
    n = data.draw(st.integers(1, 3 if kind is mpo else 2))
    ins, outs = (tuple(data.draw(size) for _ in range(n)) for _ in range(2))
    network = kind("x", ins, outs, data.draw(st.integers(2, 5)))
    squeezed = {
        t: tuple(i for i in ix if network.sizes[i] > 1) for t, ix in network.tensors.items()
    }
    parts = [(frozenset({t}), ix) for t, ix in squeezed.items()]
    arch = PRESETS[preset]
    best = tree.search(network, *tree_costs(network, arch), keep=2)
    assert best[0].cost == min(every_cost(network, parts, arch))


def test_a_mapping_that_costs_what_its_tree_costs_is_called_optimal() -> None:
    network = mpo("x", (4, 4, 4), (4, 4, 4), 4)
    mapping = map_network(network, PRESETS["base"])
    best = tree.search(network, *tree_costs(network, PRESETS["base"]))[0]
    assert mapping.optimal
    assert mapping.part.cycles == best.cost


def test_parts_without_a_common_index_are_multiplied_last() -> None:
    network = Network.from_einsum("ab,b,cd,d->ac", [(3, 4), (4,), (5, 6), (6,)])
    best = tree.search(network, *tree_costs(network, PRESETS["base"]))[0].node
    assert {frozenset(o.leaves()) for o in best.operands} == {
        frozenset({"T0", "T1"}),
        frozenset({"T2", "T3"}),
    }


def test_a_summed_index_of_one_tensor_is_reduced_first_where_that_is_cheaper() -> None:
    network = Network.from_einsum("abz,bc->ac", [(8, 8, 64), (8, 64)])
    best = tree.search(network, *tree_costs(network, PRESETS["base"]))[0].node
    assert tree.ONE in list(best.leaves())
