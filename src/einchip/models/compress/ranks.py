"""Ranks of a format: one number for all bonds, or as many as a size or an error asks for.

A *bond* is an index of the network that is neither input nor output. Where a bond cuts the network
in two (lowrank, mpo, mps, ht, tucker), the singular values of the matrix unfolded along that cut
say what a rank costs: cutting all bonds at one relative tail ``delta`` gives an error between
``delta`` and ``sqrt(number of bonds) delta``. Ranks of the other formats are equal for all bonds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einchip.models.compress.decompose import Arrays, as_tensors, decompose, plain_spec
from einchip.models.errors import ModelError, model_error
from einchip.models.formats import ht_nodes, matrix_network, n_weights, to_dense
from einchip.models.spec import BtRanks, HtRanks, MatrixSpec

Float = NDArray[np.float64]
Bonds = dict[str, int]

#: Formats whose ranks follow singular values, one by one.
SPECTRAL: Final = frozenset({"lowrank", "mpo", "mps", "ht", "tucker"})
#: Formats whose ranks are one number.
ONE_RANK: Final = frozenset({"lowrank", "cp", "kronecker"})
#: Indices that stand in more than two tensors: a number of terms, which no tensor's size limits.
TERMS: Final = frozenset({("cp", "r"), ("bt", "n"), ("kronecker", "s")})
#: Block terms where nobody says how many (Ye et al., CVPR 2018, take two).
BLOCKS: Final = 2


@dataclass(frozen=True)
class Target:
    """What decides the ranks; exactly one is given.

    Attributes:
        rank: of every bond (clipped to where it is useful), or the format's own list.
        ratio: largest ranks with at least so many times fewer weights than the dense matrix.
        error: smallest ranks whose relative Frobenius error is at most this.
    """

    rank: int | tuple[int, ...] | None = None
    ratio: float | None = None
    error: float | None = None

    def __post_init__(self) -> None:
        if sum(v is not None for v in (self.rank, self.ratio, self.error)) != 1:
            raise ModelError("compress: give exactly one of --rank, --ratio, --error")
        if self.ratio is not None and not 0 < self.ratio < float("inf"):
            raise ModelError(f"compress: --ratio: found {self.ratio}, expected a number above 0")
        if self.error is not None and not 0 <= self.error < 1:
            raise ModelError(f"compress: --error: found {self.error}, expected 0 to below 1")


@dataclass(frozen=True)
class Site:
    """One or more matrices ``[n_gates * H, in]`` of the same format and ranks, to compress.

    Attributes:
        name: for messages.
        matrices: the dense matrices; more than one where directions share a format.
        template: format, modes, tree and gates; its ranks do not matter.
        n_gates: gates in each matrix.
        blocks: terms of a block-term decomposition.
    """

    name: str
    matrices: tuple[Float, ...]
    template: MatrixSpec
    n_gates: int = 1
    blocks: int = BLOCKS

    @property
    def dense_weights(self) -> int:
        """Weights of one of the matrices."""
        return self.matrices[0].size

    def choose(self, target: Target) -> MatrixSpec:
        """Return the template with the ranks that meet the target.

        Raises ModelError where even the smallest ranks are too large, or the largest too small.
        """
        if self.template.format in ("dense", "einsum"):
            return self.template
        if isinstance(target.rank, tuple):
            return self.template.model_copy(update={"ranks": self._listed(target.rank)})
        if target.rank is not None:
            return self.uniform(target.rank)
        if target.ratio is not None:
            return self._by_weights(target.ratio)
        assert target.error is not None
        return self._by_error(target.error)

    def error(self, spec: MatrixSpec) -> float:
        """Return the relative error of the worst of the matrices in a format."""
        key = spec.model_dump_json()
        if key not in self._errors:
            pairs = ((W, self.cores(W, spec)) for W in self.matrices)
            errors = [relative_error(W, spec, cores, self.n_gates) for W, cores in pairs]
            self._errors[key] = max(errors)
        return self._errors[key]

    def cores(self, W: Float, spec: MatrixSpec) -> Arrays:
        """Return the tensors of one of the matrices."""
        return decompose(W, spec, self.n_gates)

    def uniform(self, rank: int) -> MatrixSpec:
        """Return the template with all bonds of a rank, clipped to where they are useful."""
        terms = {"n": self.blocks} if self.template.format == "bt" else {}
        return self._with(dict.fromkeys(_bond_names(self.template), rank) | terms)

    def at(self, delta: float) -> MatrixSpec:
        """Return the template with every bond cut where its relative tail is at most `delta`."""
        return self._with(
            {b: max(1, int(np.count_nonzero(t > delta))) for b, t in self.tails.items()}
        )

    def weights(self, spec: MatrixSpec) -> int:
        """Return the number of stored weights of one of the matrices in a format."""
        return n_weights(spec, self.n_gates)

    @cached_property
    def _errors(self) -> dict[str, float]:
        return {}

    @cached_property
    def tails(self) -> dict[str, Float]:
        """For every bond and rank r the relative norm that rank r loses, of the worst matrix."""
        tensors = [T for W in self.matrices for T in as_tensors(W, self.template, self.n_gates)]
        cuts = _cuts(self.template)
        return {b: np.max([_tail(T, axes) for T in tensors], axis=0) for b, axes in cuts.items()}

    def _listed(self, ranks: tuple[int, ...]) -> Any:
        """Return a list of ranks in the form of the format."""
        if self.template.format == "bt":
            return BtRanks(tucker=ranks, blocks=self.blocks)
        if self.template.format == "ht":
            n_leaves = sum(not node.children for node in ht_nodes(_plain_ht(self.template)))
            return HtRanks(leaf=ranks[:n_leaves], inner=ranks[n_leaves:] or 1)
        return ranks[0] if self.template.format in ONE_RANK else ranks

    def _by_weights(self, ratio: float) -> MatrixSpec:
        budget = self.dense_weights / ratio
        small = self.uniform(1)
        if self.weights(small) > budget:
            raise model_error(
                self.name,
                f"{self.template.format}, modes {list(self.template.in_modes)} -> "
                f"{list(self.template.out_modes)}",
                f"{self.weights(small)} weights at rank 1",
                f"at most {int(budget)} for ratio {ratio:g}",
                "lower --ratio, choose other modes, or --keep this matrix",
            )

        def fits(spec: MatrixSpec) -> bool:
            return self.weights(spec) <= budget

        if self.template.format in SPECTRAL:
            return _last((self.at(d) for d in self._deltas()), fits, small)
        return self._largest(fits)

    def _largest(self, fits: Callable[[MatrixSpec], bool]) -> MatrixSpec:
        """Return the largest equal ranks that fit, by bisection."""
        low, high = 1, 2
        while fits(self.uniform(high)) and self.uniform(high) != self.uniform(low):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(self.uniform(middle)) else (low, middle)
        return self.uniform(low)

    def _deltas(self) -> list[float]:
        """Return all cuts that differ, from coarse to fine."""
        values = np.unique(np.concatenate([*self.tails.values(), [0.0]]))
        return [float(v) for v in values[::-1]]

    def _by_error(self, error: float) -> MatrixSpec:

        def close(spec: MatrixSpec) -> bool:
            return self.error(spec) <= error + 1e-12

        if self.template.format in SPECTRAL:
            deltas = [d for d in self._deltas() if d <= error]
            return _first([self.at(d) for d in deltas], close)
        rank = 1
        while not close(self.uniform(rank)):
            if self.weights(self.uniform(rank)) > self.dense_weights:
                raise model_error(
                    self.name,
                    f"{self.template.format}, rank {rank}",
                    f"{self.weights(self.uniform(rank))} weights and still relative error "
                    f"{self.error(self.uniform(rank)):.3g}",
                    f"at most {error:g} with fewer than the {self.dense_weights} of the matrix",
                    "raise --error, choose another format, or --keep this matrix",
                )
            rank *= 2
        return _first([self.uniform(r) for r in range(rank // 2 + 1, rank + 1)], close)

    def _with(self, bonds: Bonds) -> MatrixSpec:
        return self._with_bonds(_clipped(self._with_bonds(bonds), bonds))

    def _with_bonds(self, bonds: Bonds) -> MatrixSpec:
        """Return the template with the sizes of its bonds."""
        return self.template.model_copy(update={"ranks": _ranks_of(self.template, bonds)})


def relative_error(W: Float, spec: MatrixSpec, cores: Arrays, n_gates: int) -> float:
    """Return ``|W - to_dense(cores)| / |W|`` in the Frobenius norm; 0 for a matrix of zeros."""
    norm = float(np.linalg.norm(W))
    return float(np.linalg.norm(to_dense(spec, cores, n_gates) - W)) / norm if norm else 0.0


def svd_error(W: Float, n_weights: int) -> tuple[int, float]:
    """Return rank and relative error of the best SVD of at most `n_weights` weights."""
    rank = min(n_weights // sum(W.shape), min(W.shape))
    s = np.linalg.svd(W, compute_uv=False)
    norm = float(np.linalg.norm(s))
    return rank, float(np.linalg.norm(s[rank:])) / norm if norm else 0.0


def _tail(T: Float, axes: Sequence[int]) -> Float:
    """Return ``t[r]``, the relative norm that the best rank-r approximation loses along a cut."""
    rest = [k for k in range(T.ndim) if k not in axes]
    rows = prod(T.shape[k] for k in axes)
    s = np.linalg.svd(T.transpose([*axes, *rest]).reshape(rows, -1), compute_uv=False)
    tail = np.sqrt(np.cumsum((s**2)[::-1]))[::-1]
    return np.asarray(tail / max(float(tail[0]), 1e-300), dtype=np.float64)


def _cuts(spec: MatrixSpec) -> dict[str, list[int]]:
    """Return the axes of ``T[O.., I..]`` on one side of each bond."""
    n_out, n_in = len(spec.out_modes), len(spec.in_modes)
    if spec.format == "lowrank":
        return {"r": list(range(n_out))}
    if spec.format == "mpo":
        return {f"r{k}": [a for j in range(k) for a in (n_out + j, j)] for k in range(1, n_out)}
    if spec.format == "mps":
        return {f"r{k}": list(range(k)) for k in range(1, n_out + n_in)}
    axis = {f"O{k}": k for k in range(n_out)} | {f"I{k}": n_out + k for k in range(n_in)}
    if spec.format == "tucker":
        order = [*range(n_out, n_out + n_in), *range(n_out)]
        return {f"q{k}": [a] for k, a in enumerate(order)}
    below: dict[str, list[int]] = {}
    for node in ht_nodes(_plain_ht(spec)):
        below[node.name] = [axis[m] for m in node.modes]
        below[node.name] += [a for child in node.children for a in below[child]]
    root = list(below)[-1]
    return {f"s_{name}": axes for name, axes in below.items() if name != root}


def _plain_ht(spec: MatrixSpec) -> MatrixSpec:
    """Return a hierarchical Tucker spec with some ranks, of which only the tree is wanted."""
    return spec.model_copy(update={"ranks": HtRanks(leaf=1)})


def _bond_names(spec: MatrixSpec) -> tuple[str, ...]:
    """Return the names of the bonds whose size is a rank to choose, as in `matrix_network`."""
    n = len(spec.in_modes) + len(spec.out_modes)
    if spec.format in ("mpo", "mps", "lowrank", "ht"):
        return tuple(_cuts(spec))
    return {
        "tr": tuple(f"r{k}" for k in range(n)),
        "bt": tuple(f"q{k}" for k in range(len(spec.in_modes))),
        "tucker": tuple(f"q{k}" for k in range(n)),
        "cp": ("r",),
        "kronecker": ("s",),
    }[spec.format]


def _ranks_of(spec: MatrixSpec, bonds: Bonds) -> Any:
    """Return sizes of bonds as the field `ranks` of a spec."""
    sizes = [bonds[b] for b in _bond_names(spec)]
    if spec.format in ONE_RANK:
        return sizes[0]
    if spec.format in ("mpo", "mps"):
        return (1, *sizes, 1)
    if spec.format == "bt":
        return BtRanks(tucker=tuple(sizes), blocks=bonds.get("n", BLOCKS))
    if spec.format == "ht":
        nodes = ht_nodes(_plain_ht(spec))[:-1]
        leaf = tuple(bonds[f"s_{n.name}"] for n in nodes if not n.children)
        inner = tuple(bonds[f"s_{n.name}"] for n in nodes if n.children)
        return HtRanks(leaf=leaf or 1, inner=inner or 1)
    return tuple(sizes)


def _clipped(spec: MatrixSpec, bonds: Bonds) -> Bonds:
    """Lower every bond to what its tensors can use: the product of their other axes."""
    plain = plain_spec(spec)
    tensors = matrix_network(plain).tensors
    sizes = dict(matrix_network(plain).sizes)
    free = [b for b in bonds if (spec.format, b) not in TERMS and b in sizes]
    changed = True
    while changed:
        changed = False
        for bond in free:
            for axes in tensors.values():
                others = [i for i in axes if i != bond and (spec.format, i) not in TERMS]
                if bond in axes and sizes[bond] > prod(sizes[i] for i in others):
                    sizes[bond] = prod(sizes[i] for i in others)
                    changed = True
    return bonds | {b: sizes[b] for b in free}


def _last(
    specs: Iterable[MatrixSpec], good: Callable[[MatrixSpec], bool], found: MatrixSpec
) -> MatrixSpec:
    """Return the last spec in a row of good ones."""
    for spec in specs:
        if not good(spec):
            break
        found = spec
    return found


def _first(specs: Sequence[MatrixSpec], good: Callable[[MatrixSpec], bool]) -> MatrixSpec:
    """Return the first good spec by bisection; the last one counts as good."""
    low, high = 0, len(specs) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if good(specs[middle]) else (middle + 1, high)
    return specs[low]
