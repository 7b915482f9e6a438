"""The roofline against figures of an independent program."""

from __future__ import annotations

import pytest

from einchip.arch import PRESETS
from einchip.network import Network, NetworkError
from einchip.roofline import roofline
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


def test_parts_without_a_common_index_have_no_roofline() -> None:
    network = Network.from_einsum("a,b->ab", [(3,), (4,)])
    with pytest.raises(NetworkError, match="no index"):
        roofline(network, BASE, "T0")
