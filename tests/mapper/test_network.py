"""Compiled networks against `numpy.einsum`; their tokens against a race oracle; their banks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from einchip import reference
from einchip.arch import PRESETS, Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.network import CompiledNetwork, compile_network
from einchip.network import Network
from einchip.program import UnitInstruction
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
    reference.run(compiled.program, arch, memory, compiled.host)
    return compiled.unpack(memory.external)


def signs(network: Network, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.choice([-1, 1], network.shape(n)) for n in network.tensors}


def check(network: Network, arch: Architecture) -> CompiledNetwork:
    compiled = compile_network(network, arch)
    arrays = signs(network, 1)
    np.testing.assert_array_equal(run(compiled, arrays), network.contract(arrays))
    assert races(compiled.program, arch, compiled.host) == []
    for step in reference.trace(compiled.program, compiled.host):
        if isinstance(step.instruction, UnitInstruction):
            assert not conflicts(step.instruction, step.registers, arch)
    return compiled


@given(network=networks(), preset=st.sampled_from(sorted(WIDE)))
def test_a_random_network_equals_numpy_einsum(network: Network, preset: str) -> None:
    try:
        check(network, WIDE[preset])
    except MappingError as error:
        assert "scratchpad" in str(error)
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
