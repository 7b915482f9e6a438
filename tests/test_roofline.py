"""The roofline against figures of an independent program."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from einchip import roofline as module
from einchip.arch import PRESETS, Architecture
from einchip.network import Network, NetworkError
from einchip.program import Gru, GruReset, GruUpdate, Lstm, Vector
from einchip.roofline import roofline, vector_cycles
from tests.mapper.cases import mpo, mps

BASE = PRESETS["base"]  # 256 multipliers, 16 lanes, 16 bytes a beat


@pytest.mark.parametrize(
    ("network", "macs", "cycles"),
    [
        (mpo("x", (8, 20, 20, 18), (16, 4, 4, 4), 3), 1_268_736, 6576),
        (mpo("x", (8, 20, 20, 18), (16, 4, 4, 4), 4), 1_937_408, 7568),
        (mpo("x", (8, 20, 20, 18), (16, 4, 4, 4), 5), 2_728_960, 10660),
        (mpo("x", (64, 32), (128, 64), 10), 5_242_880, 20480),
        (mpo("x", (8, 2, 2, 8), (32, 2, 2, 8), 9), 172_800, 738),
        (mpo("x", (2, 2, 2, 5), (6, 8, 8, 8), 4), 61_696, 320),
    ],
)
def test_published_shapes_have_the_figures_of_an_independent_search(
    network: Network, macs: int, cycles: int
) -> None:
    line = roofline(network, BASE, "x")
    assert (line.macs, line.cycles) == (macs, cycles)


def test_the_memory_port_bounds_a_network_with_little_work() -> None:
    narrow = BASE.override(port_bytes=4)
    line = roofline(mps("x", (16, 16, 16), (16,), 1), narrow, "x")
    assert line.cycles == line.port_cycles == (4096 + 16) / 4


def by_brute_force(network: Network, parts: list[set[str]]) -> int:
    """Return the least multiply-adds over all pairs of all pairs, connected or not."""
    if len(parts) == 1:
        return 0
    totals = []
    for a, b in itertools.combinations(range(len(parts)), 2):
        rest = [p for k, p in enumerate(parts) if k not in (a, b)]
        both = parts[a] | parts[b]
        out = both & set(network.output).union(*rest)
        totals.append(network.size(both) + by_brute_force(network, [*rest, out]))
    return min(totals)


def test_parts_without_a_common_index_are_multiplied_last() -> None:
    network = Network.from_einsum("ab,b,cd,d->ac", [(3, 4), (4,), (5, 6), (6,)])
    assert roofline(network, BASE, "T0").macs == 12 + 30 + 15
    assert by_brute_force(network, needed(network)) == 57


@pytest.mark.parametrize("n", [4, 5, 6])
def test_the_least_macs_of_a_ring_are_those_of_all_orders(n: int) -> None:
    rng = np.random.default_rng(n)
    network = ring(n, rng.integers(2, 9, 2 * n).tolist())
    assert roofline(network, BASE, "T0").macs == by_brute_force(network, needed(network))


def by_brute_force_steady(
    network: Network, parts: list[set[str]], data: set[int], arch: Architecture
) -> float:
    """Return the least cycles of all trees in which steps without data cost nothing.

    What they make costs something where it is larger than both scratchpads.
    """
    if len(parts) == 1:
        return 0.0
    totals = []
    for a, b in itertools.combinations(range(len(parts)), 2):
        rest = [p for k, p in enumerate(parts) if k not in (a, b)]
        both = parts[a] | parts[b]
        out = both & set(network.output).union(*rest)
        moved = max(network.size(p) for p in (parts[a], parts[b], out))
        paid = data & {a, b}
        own = max(network.size(both) / arch.n_pes, moved / arch.lanes)
        if not paid and network.size(out) <= arch.capacity(0) + arch.capacity(1):
            own = 0.0
        kept = [k for k in range(len(parts)) if k not in (a, b)]
        later = {kept.index(k) for k in data if k in kept} | ({len(rest)} if paid else set())
        totals.append(own + by_brute_force_steady(network, [*rest, out], later, arch))
    return min(totals)


@pytest.mark.parametrize("depth", [BASE.x_depth, 64, 16])
@pytest.mark.parametrize(
    "network",
    [mpo("x", (8, 2, 8), (8, 2, 8), 6), mpo("x", (4, 4), (16, 16), 9), mps("x", (6, 4), (9, 3), 5)],
)
def test_weights_alone_cost_a_steady_execution_nothing(network: Network, depth: int) -> None:
    arch = BASE.override(x_depth=depth, y_depth=depth, x_window=0, y_window=0)
    parts = [set(t) for t in network.tensors.values()]
    data = {k for k, n in enumerate(network.tensors) if n == "x"}
    steady = roofline(network, arch, "x", steady=True).compute_cycles
    assert steady == pytest.approx(by_brute_force_steady(network, parts, data, arch))
    assert steady <= roofline(network, arch, "x").compute_cycles


@pytest.mark.parametrize(
    ("kinds", "units", "cycles"),
    [((Lstm,), 33, 3 * 4), ((Gru,), 16, 8), ((GruReset, GruUpdate), 17, 2 * (3 + 4)), ((), 9, 0)],
)
def test_the_vector_units_bound_counts_reads(
    kinds: tuple[type[Vector], ...], units: int, cycles: int
) -> None:
    # 8 bits: a state has two planes, which an LSTM reads beside its gates
    assert vector_cycles(kinds, units, BASE) == cycles


def needed(network: Network) -> list[set[str]]:
    """Return the indices of each tensor that are used outside it."""
    holders = network.holders()
    return [
        {i for i in t if len(holders[i]) > 1 or i in network.output}
        for t in network.tensors.values()
    ]


def ring(n: int, sizes: list[int]) -> Network:
    """Return n tensors in a ring, every second one with an index of the output."""
    tensors = {f"T{k}": (f"r{k}", f"r{(k + 1) % n}", f"i{k}") for k in range(n)}
    names = [f"r{k}" for k in range(n)] + [f"i{k}" for k in range(n)]
    output = tuple(f"i{k}" for k in range(0, n, 2))
    return Network(tensors, dict(zip(names, sizes, strict=True)), output)


def test_cost_caps_leave_out_no_best_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [ring(8, np.random.default_rng(k).integers(2, 6, 16).tolist()) for k in range(6)]
    plain = [roofline(n, BASE, "T0") for n in networks]
    monkeypatch.setattr(module, "SMALL", 0)
    assert [roofline(n, BASE, "T0") for n in networks] == plain


def test_a_network_with_too_many_trees_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAIRS", 10_000)
    tensors = {f"T{k}": ("r", f"i{k}") for k in range(30)}
    sizes = {"r": 3, **{f"i{k}": 2 for k in range(30)}}
    network = Network({"x": tuple(f"i{k}" for k in range(20)), **tensors}, sizes, ("i29",))
    with pytest.raises(NetworkError, match="too many contraction trees of 31 tensors"):
        roofline(network, BASE, "x")
