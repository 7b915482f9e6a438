"""Merged weights against `numpy.einsum` of the originals, and brute force over what to merge."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einchip import reference
from einchip.arch import PRESETS
from einchip.compiler.contraction import contract
from einchip.mapper import tree
from einchip.mapper.errors import MappingError
from einchip.mapper.lanes import Shape, best_cycles
from einchip.mapper.merge import Merging
from einchip.mapper.network import compile_network, map_network
from einchip.mapper.network_search import tree_costs
from einchip.network import Network
from einchip.sim import simulate
from tests.mapper.cases import WIDE, mpo, mps

#: The input-to-hidden matrix of an MPO-LSTM (Gao et al., Phys. Rev. Research 2, 023300, Fig. 2).
FIG2 = mpo("x", (4, 8, 8, 4), (4, 8, 8, 4), 12)
BASE = PRESETS["base"]


def weights(network: Network) -> tuple[str, ...]:
    return tuple(n for n in network.tensors if n != "x")


def kronecker() -> Network:
    tensors = {"x": ("i", "j"), "A": ("o", "i"), "B": ("p", "j")}
    return Network(tensors, {"i": 4, "j": 4, "o": 4, "p": 4}, ("o", "p"))


def test_merging_an_mpo_of_bond_12_saves_a_tenth_of_the_cycles_on_the_simulator() -> None:
    found = {
        merge: map_network(FIG2, BASE, resident=weights(FIG2), streamed="x", merge=merge)
        for merge in (True, False)
    }
    cycles = {m: simulate(f.emit().run, BASE, fetch=False).cycles for m, f in found.items()}
    assert cycles[True] < 0.9 * cycles[False]
    assert [m.parts for m in found[True].merged] == [("G0", "G1"), ("G2", "G3")]
    assert found[False].merged == ()


@pytest.mark.parametrize("network", [FIG2, mps("x", (4, 8), (8, 4), 5), kronecker()])
def test_a_merged_program_computes_what_einsum_does_of_the_originals(network: Network) -> None:
    arch = WIDE["base"]
    compiled = compile_network(network, arch, resident=weights(network), streamed="x")
    assert compiled.mapping.merged
    rng = np.random.default_rng(0)
    arrays = {n: rng.choice([-1, 0, 0, 1], network.shape(n)) for n in network.tensors}
    memory = reference.Memory.empty(arch, compiled.external_bytes)
    memory.external[:] = compiled.pack(arrays)
    reference.run(compiled.setup, arch, memory, compiled.host)
    reference.run(compiled.program, arch, memory, compiled.host)
    np.testing.assert_array_equal(compiled.unpack(memory.external), network.contract(arrays))


def test_merged_arrays_are_those_of_einsum_in_float64() -> None:
    mapping = map_network(FIG2, BASE, resident=weights(FIG2), streamed="x")
    rng = np.random.default_rng(1)
    arrays = {n: rng.standard_normal(FIG2.shape(n)) for n in FIG2.tensors}
    stored = mapping.stored(arrays)
    assert set(stored) == {"x", "G0*G1", "G2*G3"}
    found = mapping.stored_network.contract(stored)
    np.testing.assert_allclose(found, FIG2.contract(arrays), rtol=1e-11)


def test_scales_and_results_are_those_of_the_merged_weights() -> None:
    rng = np.random.default_rng(2)
    arrays = {n: rng.standard_normal(FIG2.shape(n)) for n in FIG2.tensors}
    made = contract(FIG2, arrays, WIDE["base"], weights(FIG2))
    assert {"G0*G1", "G2*G3"} <= set(made.fracs)
    wanted = FIG2.contract(arrays)
    error = made.computed() - wanted
    assert 10 * np.log10(np.sum(wanted**2) / np.sum(error**2)) > 70


def test_a_merged_weight_without_a_scale_has_those_of_its_parts() -> None:
    mapping = map_network(FIG2, BASE, resident=weights(FIG2), streamed="x")
    fracs = {"x": 1, "G0": 2, "G1": 3, "G2": 4, "G3": 5, **{s.result: 6 for s in mapping.steps}}
    sums = {**fracs, "G0*G1": 5, "G2*G3": 9}
    assert mapping.emit(fracs) == mapping.emit(sums)


def test_integers_that_the_data_width_does_not_hold_are_refused() -> None:
    compiled = compile_network(FIG2, BASE, resident=weights(FIG2), streamed="x")
    arrays = {n: np.full(FIG2.shape(n), 100) for n in FIG2.tensors}
    with pytest.raises(MappingError, match=r"G0\*G1: found values from .* expected 8 bits"):
        compiled.pack(arrays)


def ways_to_merge(network: Network, most: int) -> Iterator[Network]:
    """Yield the network with its weights merged in every way, each merge of at most `most`."""

    def partitions(names: tuple[str, ...]) -> Iterator[list[tuple[str, ...]]]:
        if not names:
            yield []
            return
        for size in range(len(names)):
            for rest in itertools.combinations(names[1:], size):
                others = tuple(n for n in names[1:] if n not in rest)
                for more in partitions(others):
                    yield [(names[0], *rest), *more]

    for parts in partitions(weights(network)):
        tensors = {"x": network.tensors["x"]}
        for part in parts:
            inside = [i for n in part for i in network.tensors[n]]
            outside = {i for n, t in network.tensors.items() if n not in part for i in t}
            kept = tuple(i for i in dict.fromkeys(inside) if i in outside or i in network.output)
            tensors["*".join(part)] = network.tensors[part[0]] if len(part) == 1 else kept
        if all(network.size(tensors["*".join(p)]) <= most for p in parts if len(p) > 1):
            used = {i for t in tensors.values() for i in t}
            yield Network(tensors, {i: network.sizes[i] for i in used}, network.output)


@cache
def step_cycles(
    a: tuple[str, ...], b: tuple[str, ...], out: tuple[str, ...], sizes: tuple[tuple[str, int], ...]
) -> int:
    return min(best_cycles(Shape.of(x, y, out, dict(sizes)), BASE) for x, y in ((a, b), (b, a)))


def every_cost(
    network: Network, parts: list[tuple[str, ...]], sizes: tuple[tuple[str, int], ...]
) -> Iterator[float]:
    """Yield the cycles of all ways to contract `parts` pair by pair."""
    if len(parts) == 1:
        yield 0
        return
    for i, j in itertools.combinations(range(len(parts)), 2):
        a, b = parts[i], parts[j]
        if not set(a) & set(b):
            continue
        rest = [p for k, p in enumerate(parts) if k not in (i, j)]
        outside = {x for t in rest for x in t} | set(network.output)
        out = tuple(x for x in dict.fromkeys(a + b) if x in outside)
        step = step_cycles(a, b, out, sizes)
        yield from (step + more for more in every_cost(network, [*rest, out], sizes))


def stored(network: Network) -> int:
    return sum(network.size(t) for n, t in network.tensors.items() if n != "x")


@settings(max_examples=12)
@given(data=st.data())
def test_what_to_merge_is_what_brute_force_finds(data: st.DataObject) -> None:
    size = st.integers(2, 6)
    kind = data.draw(st.sampled_from([mpo, mps]))
    n = data.draw(st.integers(1, 3 if kind is mpo else 2))
    ins, outs = (tuple(data.draw(size) for _ in range(n)) for _ in range(2))
    network = kind("x", ins, outs, data.draw(st.integers(2, 9)))
    squeezed = Network(
        {t: tuple(i for i in ix if network.sizes[i] > 1) for t, ix in network.tensors.items()},
        {i: n for i, n in network.sizes.items() if n > 1},
        network.output,
    )
    most = data.draw(st.sampled_from([50, 500, 1 << 20]))
    room = data.draw(st.sampled_from([None, 2 * most, stored(squeezed)]))
    ways = [w for w in ways_to_merge(squeezed, most) if room is None or stored(w) <= room]
    sizes = tuple(sorted(squeezed.sizes.items()))
    wanted = [c for w in ways for c in every_cost(w, list(w.tensors.values()), sizes)]
    merging = Merging(frozenset(weights(network)), most, room)
    if not wanted:
        with pytest.raises(MappingError, match="weights: found more than"):
            tree.search(squeezed, *tree_costs(squeezed, BASE), merging=merging)
        return
    found = tree.search(squeezed, *tree_costs(squeezed, BASE), merging=merging)[0]
    assert found.cost == min(wanted)
    assert room is None or found.stored <= room


def test_merged_weights_fit_where_the_intermediates_of_the_others_do_not() -> None:
    small = BASE.override(x_depth=512, y_depth=2048)
    assert map_network(FIG2, small, resident=weights(FIG2), streamed="x").merged
    with pytest.raises(MappingError, match=r"scratchpad X: found 127\d\d elements"):
        map_network(FIG2, small, resident=weights(FIG2), streamed="x", merge=False)


def test_what_does_not_fit_names_a_scratchpad_and_its_depth() -> None:
    small = BASE.override(x_depth=16, y_depth=16)
    with pytest.raises(MappingError, match=r"scratchpad .: found .*; set ._depth to"):
        map_network(FIG2, small, resident=weights(FIG2), streamed="x")
