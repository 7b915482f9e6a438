"""An array of two modes as formulas: what the instruction set cannot express.

In outer-product mode PE (r, c) multiplies row lane r by column lane c and keeps its sum. In
inner-product mode a block of B, `lanes` values of k by `lanes` of n, stays in the PEs; a run of k
of A comes each cycle, and each column of PEs sums its products in a tree. (With fold `hybrid` the
simulated machine reads both operands of an inner product in each cycle, so that only its diagonal
is at work; with `ip` and `flex` it holds one.)

With L lanes (16 words of each port), a step C[b, m, n] = sum_k A[b, m, k] B[b, k, n] takes

    outer:  nb * ceil(n / L) * sum over blocks of m of max(k, rows of the block)
    inner:  nb * ceil(k / L) * sum over blocks of n of max(m, columns of the block)

since a tile is drained a row per cycle while the next one is summed, and a held block is loaded a
column (a run of k) per cycle while the one before is used. Either operand may be A. Shared indices
(hyperedges) run in time. Free shaping (no copies, every access a full run), perfect overlap, no
latency. Inner and outer product as modes of one array: Zhang, Lu, Zhang, "TetriX: Flexible
architecture and optimal mapping for tensorized neural network processing", IEEE Trans. Computers
2024. The formulas are ours.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from typing import Final

from einchip.arch import Architecture
from einchip.mapper import tree
from einchip.mapper.lanes import Shape
from einchip.mapper.merge import Merging
from einchip.network import Network
from einchip.roofline import Volumes, step_cycles

OUTER: Final = "mn"
INNER: Final = "k"


def _blocks(size: int, lanes: int) -> list[int]:
    """Return the parts of at most `lanes` into which a size is cut."""
    return [lanes] * (size // lanes) + ([size % lanes] if size % lanes else [])


def mode_cycles(m: int, n: int, k: int, mode: str, lanes: int) -> int:
    """Return the cycles of one matrix product in a mode, the better operand as A."""

    def one_way(m: int, n: int) -> int:
        if mode == OUTER:
            return len(_blocks(n, lanes)) * sum(max(k, rows) for rows in _blocks(m, lanes))
        return len(_blocks(k, lanes)) * sum(max(m, cols) for cols in _blocks(n, lanes))

    return min(one_way(m, n), one_way(n, m))


def step_in_modes(shape: Shape, modes: tuple[str, ...], lanes: int) -> int:
    """Return the cycles of a step in its better mode."""
    m, n, k, b = (prod(size for _, size in group) for group in shape.groups()[:4])
    k *= prod(size for _, size in (*shape.rx, *shape.ry))
    return b * min(mode_cycles(m, n, k, mode, lanes) for mode in modes)


def cheapest(
    network: Network, arch: Architecture, modes: tuple[str, ...], weights: Collection[str] = ()
) -> tree.Ranked:
    """Return the tree that is quickest by the formulas.

    `weights` may be contracted with one another beforehand, at no cost, where the result fits the
    scratchpads of `arch`. Raises MappingError for too many trees.
    """

    def cost(a: tree.Node, b: tree.Node, out: tuple[str, ...]) -> float:
        shape = Shape.of(a.indices, b.indices, out, network.sizes)
        return step_in_modes(shape, modes, arch.lanes)

    bound, merging = step_cycles(Volumes(network), arch), Merging.on(arch, weights)
    return tree.search(network, cost, bound, merging=merging)[0]
