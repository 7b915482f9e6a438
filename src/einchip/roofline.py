"""The roofline: the fewest cycles in which any machine of this size could run a network.

    bound = max( min over trees of  sum over steps of max(MACs/P, |A|/L, |B|/L, |C|/L),
                 (input + output bytes) / W )

for one execution with the weights resident; P multipliers, L lanes per operand port, W bytes per
cycle at the memory port. All trees of connected sub-networks are searched, by dynamic programming
over subsets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from einchip.arch import Architecture
from einchip.network import Network, NetworkError

#: Cost of one step, of the index sets of A, B and C = A * B.
StepCost = Callable[[frozenset[str], frozenset[str], frozenset[str]], float]


@dataclass(frozen=True)
class Roofline:
    """Lower bounds of one execution."""

    macs: int
    compute_cycles: float
    port_cycles: float

    @property
    def cycles(self) -> int:
        """No execution takes fewer cycles."""
        return math.ceil(max(self.compute_cycles, self.port_cycles))


def roofline(network: Network, arch: Architecture, streamed: str) -> Roofline:
    """Return the roofline of a network of which `streamed` is the input; the rest are weights.

    Raises NetworkError where the tensors do not hang together by shared indices.
    """

    def volume(indices: frozenset[str]) -> int:
        return network.size(indices)

    def cycles(a: frozenset[str], b: frozenset[str], c: frozenset[str]) -> float:
        return max(volume(a | b) / arch.n_pes, *(volume(t) / arch.lanes for t in (a, b, c)))

    moved = network.size(network.tensors[streamed]) + network.size(network.output)
    return Roofline(
        macs=int(least(network, lambda a, b, _: volume(a | b))),
        compute_cycles=least(network, cycles),
        port_cycles=moved * arch.element_bytes / arch.port_bytes,
    )


def least(network: Network, cost: StepCost) -> float:
    """Return the least sum of step costs over all trees of connected parts."""
    names = list(network.tensors)
    holders = {
        i: sum(1 << k for k, n in enumerate(names) if i in network.tensors[n])
        for i in network.sizes
    }

    def legs(subset: int) -> frozenset[str]:
        return frozenset(
            i for i, h in holders.items() if h & subset and (h & ~subset or i in network.output)
        )

    best = {1 << k: 0.0 for k in range(len(names))}
    open_ = {s: legs(s) for s in best}
    by_size = {1: list(best)}
    for size in range(2, len(names) + 1):
        found: dict[int, float] = {}
        for a, b in _disjoint(by_size, size):
            if not open_[a] & open_[b]:
                continue
            s = a | b
            if s not in open_:
                open_[s] = legs(s)
            total = best[a] + best[b] + cost(open_[a], open_[b], open_[s])
            found[s] = min(total, found.get(s, math.inf))
        best.update(found)
        by_size[size] = list(found)
    full = (1 << len(names)) - 1
    if full not in best:
        raise NetworkError("network: found parts that share no index, expected a connected network")
    return best[full]


def _disjoint(by_size: dict[int, list[int]], size: int) -> list[tuple[int, int]]:
    """Return the pairs of disjoint subsets with `size` tensors together, each at least once."""
    return [
        (a, b)
        for smaller in range(1, size // 2 + 1)
        for a in by_size[smaller]
        for b in by_size[size - smaller]
        if not a & b
    ]
