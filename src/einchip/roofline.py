"""The roofline: the fewest cycles in which any machine of this size could run a network.

    bound = max( min over trees of  sum over steps of max(MACs/P, |A|/L, |B|/L, |C|/L),
                 (input + output bytes) / W )

for one execution with the weights resident (of one of many executions, steps on weights alone cost
nothing where both scratchpads hold what they make: `steady`); P multipliers, L lanes per operand
port, W bytes per cycle at the memory port. All trees of connected sub-networks are searched, by
dynamic programming over subsets; large networks below a cost cap that rises until a tree is found
(as in Pfeifer, Haegeman, Verstraete, "Faster identification of optimal contraction sequences",
Phys. Rev. E 90, 033315, 2014).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from einchip.accesses import operations
from einchip.arch import Architecture
from einchip.network import Network, NetworkError, Subsets
from einchip.program import Vector

#: Tensors up to which all trees are searched at once.
SMALL: Final = 9
#: Pairs of subsets that are looked at, at most.
MAX_PAIRS: Final = 2_000_000
#: Relative room for the rounding of sums.
ROUNDING: Final = 1e-9
#: Cost of one step, of the indices of A, B and C = A * B as bit masks (`Volumes`).
StepCost = Callable[[int, int, int], float]


class Volumes:
    """Numbers of elements over sets of indices; a set is a bit mask over the network's indices."""

    def __init__(self, network: Network) -> None:
        self._bits = {i: 1 << k for k, i in enumerate(network.sizes)}
        self._sizes = tuple(network.sizes.values())
        self._known: dict[int, int] = {}

    def mask(self, indices: Iterable[str]) -> int:
        """Return a set of indices as bits."""
        return sum(self._bits[i] for i in indices)

    def of(self, mask: int) -> int:
        """Return the number of elements over a set of indices."""
        found = self._known.get(mask)
        if found is None:
            found = math.prod(n for k, n in enumerate(self._sizes) if mask >> k & 1)
            self._known[mask] = found
        return found


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


def roofline(
    network: Network,
    arch: Architecture,
    streamed: str | Collection[str],
    free: Collection[int] = (),
    *,
    steady: bool = False,
) -> Roofline:
    """Return the roofline of a network of which `streamed` are the inputs; the rest are weights.

    The sets of weights in `free` (`Subsets`) may be contracted beforehand, at no cost. With
    `steady` that of one of many executions: what depends on weights alone is there already, if it
    is no larger than both scratchpads. Raises NetworkError where there are too many contraction
    trees to search.
    """
    volumes = Volumes(network)

    def macs(a: int, b: int, _: int) -> float:
        return volumes.of(a | b)

    names = [streamed] if isinstance(streamed, str) else streamed
    data, held = names if steady else (), on_chip(arch)
    moved = sum(network.size(network.tensors[n]) for n in names) + network.size(network.output)
    return Roofline(
        macs=int(cheapest(network, volumes, macs, free, data=data, held=held).cost),
        compute_cycles=cheapest(
            network, volumes, step_cycles(volumes, arch), free, data=data, held=held
        ).cost,
        port_cycles=moved * arch.element_bytes / arch.port_bytes,
    )


def steady_compute_cycles(matrices: Iterable[tuple[Network, str]], arch: Architecture) -> float:
    """Return the sum of `Roofline.compute_cycles` of networks, each with its input, in many steps.

    Raises NetworkError where there are too many contraction trees to search.
    """
    total = 0.0
    for network, streamed in matrices:
        volumes = Volumes(network)
        cost = step_cycles(volumes, arch)
        total += cheapest(network, volumes, cost, data=[streamed], held=on_chip(arch)).cost
    return total


def on_chip(arch: Architecture) -> int:
    """Return the elements of both scratchpads."""
    return arch.capacity(0) + arch.capacity(1)


def vector_cycles(kinds: Iterable[type[Vector]], elements: int, arch: Architecture) -> int:
    """Return the least cycles of a vector unit that runs some classes of instructions in a row.

    Each class takes ceil(elements / L) vectors of L lanes, and each vector one cycle for every one
    of its micro-operations (source and state in different scratchpads); its writes overlap with
    later reads.
    """
    apart = {"src": 0, "cell": 1}
    reads = sum(len(operations(kind, apart, arch)) for kind in kinds)
    return math.ceil(elements / arch.lanes) * reads


def step_cycles(volumes: Volumes, arch: Architecture) -> StepCost:
    """Return the least cycles of a step, max(MACs/P, |A|/L, |B|/L, |C|/L)."""
    volume, n_pes, lanes = volumes.of, arch.n_pes, arch.lanes

    def cycles(a: int, b: int, c: int) -> float:
        moved = max(volume(a), volume(b), volume(c))
        return max(volume(a | b) / n_pes, moved / lanes)

    return cycles


class Cheapest(NamedTuple):
    """The least cost of a tree, and the two subsets that each of its subsets is made of."""

    cost: float
    splits: dict[int, tuple[int, int]]


class _Paid(NamedTuple):
    """What costs anything: steps with one of some tensors, and results of more than `held`."""

    tensors: int  # as bits
    held: float


def cheapest(
    network: Network,
    volumes: Volumes,
    cost: StepCost,
    free: Collection[int] = (),
    max_pairs: int = MAX_PAIRS,
    *,
    data: Collection[str] = (),
    held: float = math.inf,
) -> Cheapest:
    """Return the tree with the least sum of step costs.

    Where `data` names tensors, steps that none of them goes into cost nothing, unless their results
    have more elements than are `held`.

    Trees of connected parts; components that share no index are multiplied when they are whole.
    The subsets in `free` cost nothing (`Subsets`): each may be a leaf of the tree.
    Raises NetworkError where there are too many trees to search.
    """
    subsets = Subsets(network)
    paid = sum(1 << k for k, n in enumerate(subsets.names) if n in data) or subsets.full
    for cap in _caps(subsets, volumes, cost):
        found = _cheapest_below(subsets, volumes, cost, cap, free, max_pairs, _Paid(paid, held))
        if found.cost < math.inf:
            return found
    raise AssertionError("the greedy tree is below the last cap")


def _caps(subsets: Subsets, volumes: Volumes, cost: StepCost) -> list[float]:
    """Return costs to search below, one after the other, until a tree is found.

    No part of the best tree costs more than the whole: a search below a cap leaves out all subsets
    that cost more. The last cap is the cost of the greedy tree.
    """
    if len(subsets.names) <= SMALL:
        return [math.inf]
    most = _greedy(subsets, volumes, cost) * (1 + ROUNDING)
    return [most / 16, most / 4, most]


def _greedy(subsets: Subsets, volumes: Volumes, cost: StepCost) -> float:
    """Return the cost of the tree that always takes the pair next that shrinks most."""
    parts = {1 << k: volumes.mask(subsets.open(1 << k)) for k in range(len(subsets.names))}
    total = 0.0

    def growth(pair: tuple[int, int]) -> int:
        out = volumes.mask(subsets.open(pair[0] | pair[1]))
        return volumes.of(out) - sum(volumes.of(parts[p]) for p in pair)

    while len(parts) > 1:
        pairs = list(itertools.combinations(parts, 2))
        a, b = min([p for p in pairs if parts[p[0]] & parts[p[1]]] or pairs, key=growth)
        out = volumes.mask(subsets.open(a | b))
        total += cost(parts.pop(a), parts.pop(b), out)
        parts[a | b] = out
    return total


def _cheapest_below(
    subsets: Subsets,
    volumes: Volumes,
    cost: StepCost,
    cap: float,
    free: Collection[int],
    max_pairs: int,
    paid: _Paid,
) -> Cheapest:
    """Return the cheapest tree, of infinite cost where all cost more than `cap`."""
    best = {1 << k: 0.0 for k in range(len(subsets.names))}
    legs = {s: volumes.mask(subsets.open(s)) for s in (*best, *free)}
    best |= {s: 0.0 for s in free if cost(legs[s], 0, 0) <= cap}
    by_size: dict[int, list[int]] = {}
    for s in best:
        by_size.setdefault(s.bit_count(), []).append(s)
    splits: dict[int, tuple[int, int]] = {}
    n_pairs = 0
    for size in range(2, len(subsets.names) + 1):
        found: dict[int, float] = {}
        for a, b in subsets.pairs(by_size, size):
            n_pairs += 1
            if n_pairs > max_pairs:
                raise too_many(subsets)
            s = a | b
            if s in best:
                continue
            if s not in legs:
                legs[s] = volumes.mask(subsets.open(s))
            costs = s & paid.tensors or volumes.of(legs[s]) > paid.held
            own = cost(legs[a], legs[b], legs[s]) if costs else 0.0
            total = best[a] + best[b] + own
            if total <= cap and total < found.get(s, math.inf):
                found[s] = total
                splits[s] = (a, b)
        best.update(found)
        by_size.setdefault(size, []).extend(found)
    return Cheapest(best.get(subsets.full, math.inf), splits)


def too_many(subsets: Subsets) -> NetworkError:
    """Return the error of a network with too many contraction trees."""
    return NetworkError(
        f"network: found too many contraction trees of {len(subsets.names)} tensors to search; "
        "use fewer, larger modes"
    )
