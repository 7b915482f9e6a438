"""What was searched, what was proved by it, and what was not searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from einchip.mapper.merge import Merging, mergeable
from einchip.network import Network, Subsets
from einchip.roofline import Volumes

#: Pairs of subsets that are counted, at most.
MAX_PAIRS = 300_000
#: What no search looks at.
NEVER = (
    "trees in which parts without a common index are multiplied before they are whole",
    "layouts whose strides the greedy search does not find",
    "folds beyond the lanes' two factors of m, n and k and one of b",
    "the order of independent work, and bubbles between dependent steps",
)


@dataclass(frozen=True)
class Certificate:
    """What a mapping was chosen from.

    Attributes
    ----------
    objective : what was minimised.
    optimal : whether nothing better exists in this space.
    trees : number of contraction trees, with every set of weights that may be merged as a leaf;
        None where they were not all searched (or are too many to count).
    placements : ways to give each step's operands to X and Y.
    folds : for each step of the chosen tree the folds that were weighed.
    slicings : ways to slice that were tried.
    method : how the trees were searched.
    """

    objective: str
    optimal: bool
    trees: int | None
    merges: int
    placements: int
    folds: tuple[int, ...]
    slicings: int
    method: str
    not_searched: tuple[str, ...] = NEVER

    def text(self) -> str:
        """Return one line: the space with its counts, and what was left out."""
        word = "optimal in" if self.optimal else "searched, not proved optimal"
        trees = "not all" if self.trees is None else f"{self.trees:,}"
        merges = f", {self.merges:,} sets of weights that may be merged" if self.merges else ""
        folds = " + ".join(map(str, self.folds)) or "0"
        sliced = f" x slicings ({self.slicings})" if self.slicings else ""
        return (
            f"{word}: trees ({trees}{merges}; {self.method}) x placements ({self.placements:,}) x "
            f"layouts (greedy strides) x folds ({folds}){sliced}, by {self.objective}; not "
            f"searched: {'; '.join(self.not_searched)}"
        )

    def to_json(self) -> Mapping[str, Any]:
        """Return the certificate as plain data."""
        return {**vars(self), "folds": list(self.folds), "not_searched": list(self.not_searched)}


def count_trees(network: Network, merging: Merging) -> int | None:
    """Return how many contraction trees there are, None where they are too many to count.

    Trees of connected parts, whole components multiplied last; a set of weights that may be merged
    is a leaf, too, and so is a tensor whose summed index of its own is reduced first.
    """
    subsets, volumes = Subsets(network), Volumes(network)
    if len(subsets.names) == 1:
        return 1
    merges = set(mergeable(subsets, volumes, merging)[0])
    ways = dict.fromkeys(merges, 1)
    for k, name in enumerate(subsets.names):
        reduced = volumes.mask(subsets.open(1 << k)) != volumes.mask(network.tensors[name])
        ways[1 << k] = ways.get(1 << k, 0) + 1 + reduced
    by_size: dict[int, set[int]] = {}
    for s in ways:
        by_size.setdefault(s.bit_count(), set()).add(s)
    n_pairs = 0
    for size in range(2, len(subsets.names) + 1):
        for a, b in subsets.pairs({k: sorted(v) for k, v in by_size.items()}, size):
            n_pairs += 1
            if n_pairs > MAX_PAIRS:
                return None
            ways[a | b] = ways.get(a | b, 0) + ways[a] * ways[b]
            by_size.setdefault(size, set()).add(a | b)
    return ways.get(subsets.full)
