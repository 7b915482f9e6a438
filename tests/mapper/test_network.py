"""Compiled networks against `numpy.einsum`; their tokens against a race oracle; their banks."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from einchip import reference
from einchip.arch import PRESETS, Architecture
from einchip.check import verify
from einchip.mapper import network as mapper_network
from einchip.mapper import network_search, tree
from einchip.mapper.errors import MappingError
from einchip.mapper.network import CompiledNetwork, compile_network, map_network
from einchip.network import Network
from einchip.program import Contract, Load, UnitInstruction
from einchip.sim import simulate
from tests.mapper.cases import mpo
from tests.mapper.order import conflicts, races

WIDE = {
    name: arch.override(data_bits=16, port_bytes=max(4, arch.port_bytes))
    for name, arch in PRESETS.items()
}
#: Greatest number of products in one result, so that ones and minus ones cannot saturate 16 bit.
MAX_PRODUCTS = 30_000


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Networks of 1 to 6 tensors: hyperedges, outer products, scalars, sums inside one tensor."""
    n_indices = draw(st.integers(1, 7))
    sizes: dict[str, int] = {}
    for k in range(n_indices):
        room = MAX_PRODUCTS // math.prod(sizes.values())
        sizes[f"i{k}"] = draw(st.integers(1, min(33, max(1, room))))
    names = list(sizes)
    n_tensors = draw(st.integers(1, 6))
    subset = st.lists(st.sampled_from(names), unique=True, max_size=4)
    tensors = {f"T{k}": tuple(draw(subset)) for k in range(n_tensors)}
    used = sorted({i for t in tensors.values() for i in t})
    output = tuple(draw(st.lists(st.sampled_from(used), unique=True, max_size=4))) if used else ()
    return Network(tensors, {i: sizes[i] for i in used}, output)


def run(compiled: CompiledNetwork, arrays: dict[str, np.ndarray]) -> np.ndarray:
    arch = compiled.mapping.arch
    memory = reference.Memory.empty(arch, compiled.external_bytes)
    memory.external[:] = compiled.pack(arrays)
    reference.run(compiled.setup, arch, memory, compiled.host)
    reference.run(compiled.program, arch, memory, compiled.host)
    return compiled.unpack(memory.external)


def signs(network: Network, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.choice([-1, 1], network.shape(n)) for n in network.tensors}


def check(network: Network, arch: Architecture, resident: tuple[str, ...] = ()) -> CompiledNetwork:
    compiled = compile_network(network, arch, resident=resident)
    arrays = signs(network, 1)
    np.testing.assert_array_equal(run(compiled, arrays), network.contract(arrays))
    assert races(compiled.program, arch, compiled.host) == []
    for step in reference.trace(compiled.program, compiled.host):
        if isinstance(step.instruction, UnitInstruction):
            assert not conflicts(step.instruction, step.registers, arch)
    assert verify(compiled.program, arch, compiled.host) == []
    return compiled


@pytest.mark.parametrize("fold", ["op", "hybrid", "flex", "ip"])
@given(network=networks(), preset=st.sampled_from(sorted(WIDE)))
def test_a_random_network_equals_numpy_einsum(network: Network, preset: str, fold: str) -> None:
    arch = WIDE[preset]
    try:
        check(network, arch if arch.serial else arch.override(fold=fold))
    except MappingError:
        reject()


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("ab,bc->ac", [(17, 13), (13, 33)]),
        ("abc->ca", [(5, 7, 3)]),
        ("ab,ab->", [(5, 7), (5, 7)]),
        ("a,b,c->abc", [(5,), (7,), (3,)]),
        ("ar,br,cr->abc", [(5, 3), (7, 3), (9, 3)]),
        ("abz,bc->ac", [(5, 7, 3), (7, 4)]),
        (",->", [(), ()]),
        ("abcdefg,abcdefg->", [(2, 3, 2, 3, 2, 3, 2)] * 2),
    ],
)
def test_special_networks_equal_numpy_einsum(text: str, shapes: list[tuple[int, ...]]) -> None:
    check(Network.from_einsum(text, shapes), WIDE["base"])


def test_resident_tensors_are_loaded_by_setup_only() -> None:
    network = mpo("x", (4, 4, 4), (4, 4, 4), 3)
    compiled = check(network, WIDE["base"], ("G0", "G1", "G2"))
    loads = [i for i in compiled.program.instructions if isinstance(i, Load)]
    assert len(loads) == 1
    assert len([i for i in compiled.setup.instructions if isinstance(i, Load)]) == 3


def test_a_tensor_larger_than_a_scratchpad_is_streamed_in_slices() -> None:
    arch = WIDE["nano"].override(x_depth=256, y_depth=256)
    network = mpo("x", (4, 8, 50), (2, 2, 2), 2)
    compiled = check(network, arch)
    assert network.size(network.tensors["x"]) > arch.capacity(0)
    assert compiled.mapping.part.slicing.count > 1


#: x P has 2,048 elements, of indices that x has only until the second step, and of `o`.
INNER = Network(
    {"x": ("a", "b"), "P": ("b", "o", "r"), "Q": ("a", "r", "s")},
    {"a": 8, "b": 8, "o": 16, "r": 16, "s": 64},
    ("o", "s"),
)


@pytest.mark.parametrize(("depth", "count"), [(1024, 1), (512, 4), (256, 8), (128, 16)])
def test_an_intermediate_that_does_not_fit_is_made_in_slices(depth: int, count: int) -> None:
    arch = WIDE["nano"].override(x_depth=4096, y_depth=depth)
    part = check(INNER, arch, ("P", "Q")).mapping.part
    assert part.slicing.count == count
    assert [t.name for t in part.tensors.values() if t.sliced] == ["t1"] * (count > 1)


def test_slices_that_do_not_fit_either_are_refused() -> None:
    arch = WIDE["nano"].override(x_depth=4096, y_depth=64)
    with pytest.raises(MappingError, match=r"found 320 elements needed .*t1\.0: 128"):
        map_network(INNER, arch, resident=("P", "Q"))


@given(
    sizes=st.tuples(*(st.integers(2, 6) for _ in "abcdefg")),
    slicing=st.integers(0, 1 << 16),
    flips=st.integers(0, 15),
)
def test_every_way_to_slice_intermediates_computes_the_same(
    sizes: tuple[int, ...], slicing: int, flips: int
) -> None:
    """Of x (P (..)) and its like: whatever leaf the slices follow, whatever step they begin at."""
    tensors = {"x": "ab", "P": "bcd", "Q": "ace", "R": "defg"}
    network = Network(
        {n: tuple(t) for n, t in tensors.items()}, dict(zip("abcdefg", sizes, strict=True)),
        ("e", "d", "g"),
    )  # fmt: skip
    node = tree.search(network, *network_search.tree_costs(network, WIDE["base"]))[0].node
    ways = list(network_search.inner_slicings(node, network.sizes))
    assert ways
    leaf, chosen = ways[slicing % len(ways)]
    attempt = network_search.Attempt(
        node, chosen, dict(enumerate(bool(flips >> k & 1) for k in range(3))), leaf
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapper_network, "attempts", lambda *_: iter([attempt]))
        compiled = check(network, WIDE["base"])
    assert compiled.mapping.part.slicing == chosen


def test_scales_shift_each_result() -> None:
    network = Network.from_einsum("ab,bc,cd->ad", [(3, 4), (4, 5), (5, 6)])
    mapping = map_network(network, WIDE["base"])
    fracs = {"T0": 3, "T1": 4, "T2": 5, **{s.result: 6 for s in mapping.steps}}
    contracts = [i for i in mapping.emit(fracs).run.instructions if isinstance(i, Contract)]
    wanted = [fracs[s.left] + fracs[s.right] - fracs[s.result] for s in mapping.steps]
    assert [c.shift for c in contracts] == wanted


def test_a_scale_that_needs_a_left_shift_is_refused() -> None:
    mapping = map_network(Network.from_einsum("ab,bc->ac", [(3, 4), (4, 5)]), WIDE["base"])
    with pytest.raises(MappingError, match="= -1, expected 0 to 63; change the scale of result"):
        mapping.emit({"T0": 1, "T1": 1, "result": 3})


def test_a_network_that_does_not_fit_names_the_scratchpad_and_the_depth_that_does() -> None:
    network = Network.from_einsum("ab,ab->", [(33, 33), (33, 33)])
    small = WIDE["nano"].override(x_depth=64, y_depth=64)
    with pytest.raises(MappingError, match=r"scratchpad .: found \d+ elements") as failure:
        compile_network(network, small)
    assert "_depth to" in str(failure.value)


def test_the_steps_of_a_mapping_compute_the_network() -> None:
    network = mpo("x", (3, 4, 2), (2, 3, 4), 3)
    mapping = map_network(network, WIDE["small"])
    arrays: dict[str, np.ndarray] = dict(signs(network, 2))
    for step in mapping.steps:
        arrays[step.result] = np.einsum(step.einsum, arrays[step.left], arrays[step.right])
    order = [mapping.part.tensors["result"].indices.index(i) for i in network.output]
    expected = network.contract(signs(network, 2))
    np.testing.assert_array_equal(arrays["result"].transpose(order), expected)


def test_a_mapping_prints_itself_as_json_and_as_loop_nests() -> None:
    mapping = map_network(mpo("x", (3, 4, 2), (2, 3, 4), 3), WIDE["small"])
    data = json.loads(json.dumps(mapping.to_json()))
    assert data["macs"] == mapping.macs <= data["macs_naive"]
    assert len(data["steps"]) == 3
    assert mapping.explain().count(" MACs, ") == 3


def test_a_long_load_hides_behind_the_steps() -> None:
    network, arch = mpo("x", (8, 20, 20, 18), (16, 4, 4, 4), 4), PRESETS["base"]
    mapping = map_network(network, arch, resident=("G0", "G1", "G2", "G3"), streamed="x")
    assert mapping.part.slicing.count > 1
    cycles = simulate(mapping.emit().run, arch, fetch=False, check_races=True).cycles
    assert mapping.bound is not None
    assert cycles <= 1.1 * mapping.bound


def test_a_short_load_is_not_sliced() -> None:
    network = mpo("x", (8, 8), (64, 64), 8)
    mapping = map_network(network, PRESETS["base"], resident=("G0", "G1"), streamed="x")
    assert mapping.part.slicing.count == 1


def test_a_network_of_14_tensors_in_a_ring_is_mapped_in_seconds() -> None:
    modes = [f"i{k}" for k in range(13)]
    tensors = {"x": tuple(modes[:7])}
    tensors |= {f"G{k}": (f"r{k}", m, f"r{(k + 1) % 13}") for k, m in enumerate(modes)}
    sizes = dict.fromkeys(modes, 4) | {f"r{k}": 3 for k in range(13)}
    network = Network(tensors, sizes, tuple(modes[7:]))
    start = time.process_time()
    assert map_network(network, PRESETS["base"]).bound is not None
    assert time.process_time() - start < 20
