"""The formulas of two modes: counted block by block, and known figures of published shapes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.arch import PRESETS
from einchip.compare import analytic
from einchip.compare.analytic import INNER, OUTER, mode_cycles
from einchip.workloads import Workload, network_of, read

BASE = PRESETS["base"]
PAGE = Path(analytic.__file__).parent / "orientation.yaml"
SIZES = st.integers(1, 70)


def counted(m: int, n: int, k: int, mode: str, lanes: int) -> int:
    """Return the cycles block by block, A the rows' operand."""
    total = 0
    for first in range(0, n, lanes):
        cols = min(lanes, n - first)
        if mode == OUTER:
            total += sum(max(k, min(lanes, m - row)) for row in range(0, m, lanes))
        else:
            total += sum(max(m, cols) for _ in range(0, k, lanes))
    return total


@given(m=SIZES, n=SIZES, k=SIZES, mode=st.sampled_from([INNER, OUTER]), lanes=st.integers(2, 17))
def test_cycles_are_those_of_all_blocks(m: int, n: int, k: int, mode: str, lanes: int) -> None:
    ways = [counted(m, n, k, mode, lanes), counted(n, m, k, mode, lanes)]
    assert mode_cycles(m, n, k, mode, lanes) == min(ways)


def test_a_full_product_keeps_all_multipliers_busy_in_both_modes() -> None:
    for mode in (INNER, OUTER):
        assert mode_cycles(64, 32, 48, mode, 16) == 64 * 32 * 48 // 256


@pytest.mark.parametrize(
    ("name", "cycles"),
    [
        ("UCF11 MPO rank 4", 7568),
        ("UCF11 HT leaf 4, inner 4", 7404),
        ("hidden 256 to 1024 MPO rank 4", 256),
        ("hidden 256 to 1024 HT leaf 4, inner 4", 292),
    ],
)
def test_known_figures_of_a_two_mode_array(name: str, cycles: int) -> None:
    [matrix] = next(e.matrices for e in read(PAGE) if e.name == name)
    assert isinstance(matrix, Workload)
    network = network_of(matrix.spec)
    assert analytic.cheapest(network, BASE, (OUTER, INNER)).cost == cycles


def test_block_terms_are_within_a_percent_of_known_figures() -> None:
    """The known figures take block by block; ours share what the blocks have in common."""
    facts = {e.name: e for e in read(PAGE)}
    for name in ("UCF11 BT 2 blocks", "UCF11 Tucker rank 4"):
        [matrix] = facts[name].matrices
        assert isinstance(matrix, Workload)
        found = analytic.cheapest(network_of(matrix.spec), BASE, (OUTER, INNER)).cost
        known = facts[name].facts["two_mode_cycles"]
        assert known * 0.99 < found <= known
