"""Every objective against brute force over all trees; prices against the simulator's counters."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.mapper.certificate import count_trees
from einchip.mapper.choose import FIRST_FOLDS
from einchip.mapper.lanes import Fold, Shape, best_cycles, candidates
from einchip.mapper.merge import Merging
from einchip.mapper.network import map_network
from einchip.mapper.objectives import OBJECTIVES, objective_of
from einchip.mapper.prices import Prices, part_counts, part_energy
from einchip.mapper.tree import explore
from einchip.network import Network
from einchip.registers import COUNTERS
from einchip.sim import simulate
from tests.mapper.cases import UCF11, mpo, mps

BASE = PRESETS["base"]
#: One that holds no operands, so that every operand is read anew in every tile.
HYBRID = BASE.override(fold="hybrid")
#: A machine whose scratchpads differ in size, so that an element of Y costs more than one of X.
TABLE = energy.load("horowitz45")


class Tree:
    """A tree of the brute force: its figures, none of them by the code under test."""

    def __init__(self, names: frozenset[str], indices: tuple[str, ...], size: int) -> None:
        self.names, self.indices, self.size = names, indices, size
        self.is_leaf = True
        self.steps: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], bool, bool]] = []
        self.peak, self.leaves = 0, size
        self.shape: frozenset[Any] = frozenset(names)


def joined(a: Tree, b: Tree, out: tuple[str, ...], size: int) -> Tree:
    found = Tree(a.names | b.names, out, size)
    found.is_leaf, found.shape = False, frozenset((a.shape, b.shape))
    found.steps = [*a.steps, *b.steps, (a.indices, b.indices, out, a.is_leaf, b.is_leaf)]
    held = [0 if t.is_leaf else t.size for t in (a, b)]
    orders = (max(a.peak, held[0] + b.peak), max(b.peak, held[1] + a.peak))
    found.peak = max(min(orders), sum(held) + size)
    found.leaves = a.leaves + b.leaves
    return found


def trees(network: Network, parts: list[Tree]) -> Iterator[Tree]:
    """Yield all trees, each as often as it has orders; whole components are joined last."""
    if len(parts) == 1:
        yield parts[0]
        return
    pairs = list(itertools.combinations(parts, 2))
    near = [p for p in pairs if set(p[0].indices) & set(p[1].indices)]
    for a, b in near or pairs:
        rest = [p for p in parts if p is not a and p is not b]
        needed = {i for p in rest for i in p.indices} | set(network.output)
        out = tuple(i for i in dict.fromkeys(a.indices + b.indices) if i in needed)
        yield from trees(network, [*rest, joined(a, b, out, network.size(out))])


def reductions(network: Network) -> Iterator[list[Tree]]:
    """Yield the tensors as they are, and with summed indices of their own reduced first."""
    ways = []
    for name, indices in network.tensors.items():
        raw = Tree(frozenset({name}), indices, network.size(indices))
        others = {i for n, t in network.tensors.items() if n != name for i in t}
        kept = tuple(i for i in indices if i in others or i in network.output)
        ways.append([raw])
        if network.size(kept) != network.size(indices):
            one = Tree(frozenset(), (), 0)
            ways[-1].append(joined(raw, one, kept, network.size(kept)))
    yield from map(list, itertools.product(*ways))


@functools.cache
def pj(
    x: tuple[str, ...], y: tuple[str, ...], z: tuple[str, ...], *sized: tuple[str, int]
) -> float:
    """Return the least energy of a step but for writes, from the counters' meaning."""
    shape = Shape.of(x, y, z, dict(sized))
    folds = candidates(shape, HYBRID, keep=FIRST_FOLDS).candidates
    return min(fold_pj(x, y, z, dict(sized), c.cycles, c.fold) for c in folds)


def fold_pj(
    x: tuple[str, ...],
    y: tuple[str, ...],
    z: tuple[str, ...],
    sizes: dict[str, int],
    cycles: int,
    fold: Fold,
) -> float:
    """Return what a fold takes, tile by tile: indices that are fused are one."""
    assert not fold.h
    assert not fold.q
    lanes = {f.chain: f.count for f in fold.factors}
    fused = {i for chain in lanes for i in chain}
    axes = [*lanes, *((i,) for i in {*x, *y} if i not in fused)]
    tiles = []
    for axis in axes:
        size, count = math.prod(sizes[i] for i in axis), lanes.get(axis, 1)
        tiles.append([min(count, size - at) for at in range(0, size, count)])
    n = {c.name: 0 for c in COUNTERS}
    for counts in itertools.product(*tiles):
        held = dict(zip(axes, counts, strict=True))
        n["x_reads"] += math.prod(c for axis, c in held.items() if axis[0] in x)
        n["y_reads"] += math.prod(c for axis, c in held.items() if axis[0] in y)
    n["macs"] = math.prod(sizes[i] for i in {*x, *y})
    n["drained"] = math.prod(sizes[i] for i in z)
    apart = (
        t
        for axis, t in zip(axes, tiles, strict=True)
        if not (axis[0] in x and axis[0] in y and axis[0] not in z)
    )
    n["instructions"] = math.prod(len(set(t)) for t in apart)
    n["cycles"] = cycles
    return energy.energy(n, HYBRID, TABLE).total_pj


def writes(space: str) -> float:
    n = {c.name: 0 for c in COUNTERS} | {f"{space}_writes": 1}
    return energy.energy(n, HYBRID, TABLE).total_pj


def energy_of(tree: Tree, network: Network) -> float:
    """Return the least energy over all ways to give every step's operands to X and Y."""
    total = network.size(tree.indices) * min(writes("x"), writes("y"))
    for a, b, out, a_leaf, b_leaf in tree.steps:
        total += min(
            pj(x, y, out, *network.sizes.items())
            + (0 if x_leaf else network.size(x) * writes("x"))
            + (0 if y_leaf else network.size(y) * writes("y"))
            for x, y, x_leaf, y_leaf in ((a, b, a_leaf, b_leaf), (b, a, b_leaf, a_leaf))
        )
    return total


def cycles_of(tree: Tree, network: Network) -> float:
    return sum(
        min(best_cycles(Shape.of(x, y, out, network.sizes), HYBRID) for x, y in ((a, b), (b, a)))
        for a, b, out, *_ in tree.steps
    )


FIGURES: dict[str, Callable[[Tree, Network], float]] = {
    "cycles": cycles_of,
    "energy": energy_of,
    "edp": lambda t, n: cycles_of(t, n) * energy_of(t, n),
    "macs": lambda t, n: sum(n.size(dict.fromkeys(a + b)) for a, b, *_ in t.steps),
    "memory": lambda t, n: t.leaves + t.peak,
}


def random_network(seed: int) -> Network:
    """Return 3 to 5 tensors: hyperedges, outer products, summed indices of one tensor."""
    rng = random.Random(seed)
    names = [f"i{k}" for k in range(rng.randint(3, 6))]
    sizes = {n: rng.choice([2, 3, 5, 8, 17]) for n in names}
    tensors = {
        f"T{k}": tuple(rng.sample(names, rng.randint(1, 3))) for k in range(rng.randint(3, 5))
    }
    used = sorted({i for t in tensors.values() for i in t})
    output = tuple(rng.sample(used, rng.randint(0, min(2, len(used)))))
    return Network(tensors, {i: sizes[i] for i in used}, output)


NETWORKS = [random_network(seed) for seed in range(16)]


def test_the_random_networks_have_what_makes_trees_hard() -> None:
    held = [(n, h) for n in NETWORKS for i, h in n.holders().items() if i not in n.output]
    assert any(len(h) > 2 for _, h in held)
    assert any(len(h) == 1 for _, h in held)
    assert any(
        not set(a) & set(b) for n in NETWORKS for a, b in itertools.pairwise(n.tensors.values())
    )


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("seed", range(len(NETWORKS)))
def test_the_best_tree_by_every_objective_is_that_of_brute_force(name: str, seed: int) -> None:
    network = NETWORKS[seed]
    found = explore(network, objective_of(name, network, HYBRID, TABLE))
    every = (t for parts in reductions(network) for t in trees(network, parts))
    wanted = min(FIGURES[name](t, network) for t in {(tuple(t.steps)): t for t in every}.values())
    assert found.exact
    assert found.trees[0].cost == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    "network", [mpo("x", (7, 8, 5), (4, 8, 9), 5), mps("x", (7, 9), (5, 6), 3)]
)
def test_counts_of_a_mapping_are_the_counters_of_the_simulator(network: Network) -> None:
    weights = [n for n in network.tensors if n != "x"]
    mapping = map_network(network, BASE, resident=weights, streamed="x")
    found, counters = part_counts(mapping.part), simulate(mapping.emit().run, BASE).counters
    vectors = {"x_writes": 0, "y_writes": 0, "x_reads": 0, "y_reads": 0}
    loaded, stored = mapping.part.tensors["x"], mapping.part.tensors["result"]
    ports = BASE.port_elements
    vectors["xy"[loaded.space] + "_writes"] += -(-loaded.layout.extent // ports) * ports
    vectors["xy"[stored.space] + "_reads"] += -(-stored.layout.extent // ports) * ports
    for name in ("macs", "drained", "x_reads", "y_reads", "x_writes", "y_writes"):
        assert counters[name] == found[name] + vectors.get(name, 0), name


def test_no_objective_is_beaten_in_its_own_figure_by_another() -> None:
    weights = [n for n in UCF11.tensors if n != "x"]
    mappings = {
        o: map_network(UCF11, BASE, resident=weights, streamed="x", objective=o) for o in OBJECTIVES
    }
    for name, mapping in mappings.items():
        objective = objective_of(name, UCF11, BASE)
        found = explore(UCF11, objective, merging=Merging.on(BASE, weights))
        assert mapping.scores[name] == pytest.approx(found.trees[0].cost)
        least = min(other.scores[name] for other in mappings.values())
        assert mapping.scores[name] <= least * (1 + 1e-9)


def test_memory_and_cycles_take_different_trees() -> None:
    network = mpo("x", (2, 9, 2), (9, 2, 9), 30)
    cycles, memory = (
        map_network(network, BASE, streamed="x", objective=o) for o in ("cycles", "memory")
    )
    assert memory.scores["memory"] < cycles.scores["memory"]
    assert memory.scores["cycles"] > cycles.scores["cycles"]


def test_a_mapping_by_energy_is_proved_where_it_costs_what_its_tree_costs() -> None:
    network, arch = mpo("x", (4, 8, 8, 4), (4, 8, 8, 4), 12), HYBRID
    mapping = map_network(network, arch, streamed="x", objective="energy")
    prices = Prices.of(arch, TABLE)
    assert mapping.optimal
    assert part_energy(mapping.part, prices) == pytest.approx(mapping.scores["energy"])
    assert "optimal in: trees (" in mapping.searched
    assert ", by energy; not searched: " in mapping.searched


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(ValueError, match="objective: found 'joy', expected one of cycles"):
        map_network(UCF11, BASE, objective="joy")


@pytest.mark.parametrize("seed", range(len(NETWORKS)))
def test_the_certificate_counts_every_tree_once(seed: int) -> None:
    network = NETWORKS[seed]
    every = {t.shape for parts in reductions(network) for t in trees(network, parts)}
    assert count_trees(network, Merging()) == len(every)
