"""Random compressed matrices in the form of a workloads file, with their tensors written anew.

The tensors here are the tests' own: index sets from the formulas of `docs/formats.md`.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

FORMATS: Final = ("dense", "lowrank", "mpo", "mps", "ht", "tr", "bt", "tucker", "cp", "kronecker")
PAIRED: Final = ("mpo", "ht", "bt", "kronecker")
#: Primes, ones, powers, odd sizes.
MODES: Final = (1, 1, 2, 2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 23, 32)
MAX_SIZE: Final = 700


Indices = frozenset[str]
Cost = Callable[[Indices, Indices, Indices], float]


@dataclass(frozen=True)
class Shape:
    """An entry of a file, and its network: the index sets of its tensors, the sizes."""

    entry: dict[str, Any]
    tensors: list[frozenset[str]]
    sizes: dict[str, int]

    @property
    def ends(self) -> tuple[frozenset[str], frozenset[str]]:
        """Indices of the input and of the output."""
        ins = frozenset(i for i in self.sizes if i[0] == "I")
        return ins, frozenset(i for i in self.sizes if i[0] == "O")

    def volume(self, indices: frozenset[str]) -> int:
        return math.prod(self.sizes[i] for i in indices)

    @property
    def weights(self) -> int:
        return sum(self.volume(t) for t in self.tensors)

    def least(self, cost: Cost) -> float:
        """Return the least cost of all trees of connected parts, each tried anew."""
        ins, outs = self.ends
        parts = [ins, *self.tensors]
        needed = [t & outs.union(*parts[:k], *parts[k + 1 :]) for k, t in enumerate(parts)]
        return _least(needed, outs, cost, {})


def _least(
    parts: list[frozenset[str]],
    outs: frozenset[str],
    cost: Cost,
    known: dict[frozenset[Any], float],
) -> float:
    if len(parts) == 1:
        return 0.0
    key = frozenset((p, parts.count(p)) for p in parts)
    if key not in known:
        totals = []
        for i, j in itertools.combinations(range(len(parts)), 2):
            a, b = parts[i], parts[j]
            if a & b:
                rest = [p for k, p in enumerate(parts) if k not in (i, j)]
                c = (a | b) & outs.union(*rest)
                totals.append(cost(a, b, c) + _least([*rest, c], outs, cost, known))
        known[key] = min(totals, default=math.inf)
    return known[key]


def _modes(rng: np.random.Generator, n: int) -> list[int]:
    while True:
        found = [int(m) for m in rng.choice(MODES, n)]
        if math.prod(found) <= MAX_SIZE:
            return found


def random_shape(form: str, seed: int) -> Shape:
    """Return the shape of a seed, of at most six tensors."""
    rng = np.random.default_rng(seed)
    n_in = int(rng.integers(1, 4))
    n_out = n_in if form in PAIRED else int(rng.integers(1, 4 if form == "tucker" else 3))
    ins, outs = _modes(rng, n_in), _modes(rng, n_out)
    sizes = {f"I{k}": m for k, m in enumerate(ins)} | {f"O{k}": m for k, m in enumerate(outs)}
    ranks, tensors, more = _MAKERS[form](rng, ins, outs)
    entry: dict[str, Any] = {"name": f"{form} {seed}", "format": form, "note": [{}]}
    entry |= {"in_modes": ins, "out_modes": outs} | ({} if ranks is None else {"ranks": ranks})
    return Shape(entry, [frozenset(t) for t in tensors], sizes | more)


Made = tuple[Any, list[list[str]], dict[str, int]]


def _names(ins: list[int], outs: list[int]) -> tuple[list[str], list[str]]:
    return [f"I{k}" for k in range(len(ins))], [f"O{k}" for k in range(len(outs))]


def _rank(rng: np.random.Generator, most: int) -> int:
    return int(rng.integers(1, min(most, 24) + 1))


def _train(rng: np.random.Generator, sizes: list[int]) -> list[int]:
    cuts = [(math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(1, len(sizes))]
    return [1, *(_rank(rng, min(cut)) for cut in cuts), 1]


def _bonds(ranks: list[int]) -> dict[str, int]:
    return {f"r{k}": r for k, r in enumerate(ranks)}


def _dense(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    i, o = _names(ins, outs)
    return None, [i + o], {}


def _lowrank(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    i, o = _names(ins, outs)
    r = _rank(rng, min(math.prod(ins), math.prod(outs)))
    return r, [[*o, "r"], ["r", *i]], {"r": r}


def _mpo(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    ranks = _train(rng, [a * b for a, b in zip(ins, outs, strict=True)])
    return (
        ranks,
        [[f"r{k}", f"I{k}", f"O{k}", f"r{k + 1}"] for k in range(len(ins))],
        _bonds(ranks),
    )


def _mps(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    i, o = _names(ins, outs)
    ranks = _train(rng, outs + ins)
    return ranks, [[f"r{k}", m, f"r{k + 1}"] for k, m in enumerate(o + i)], _bonds(ranks)


def _tr(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    i, o = _names(ins, outs)
    n = len(i + o)
    ranks = [int(r) for r in rng.integers(1, 6, n)]
    return ranks, [[f"r{k}", m, f"r{(k + 1) % n}"] for k, m in enumerate(i + o)], _bonds(ranks)


def _cp(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    i, o = _names(ins, outs)
    r = int(rng.choice([1, 3, 10, 37, 100]))
    return r, [[m, "r"] for m in i + o], {"r": r}


def _tucker(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    i, o = _names(ins, outs)
    most = math.prod(outs)
    ranks = [
        _rank(rng, min(ins[0], math.prod(ins[1:]) * most)),
        _rank(rng, min(most, math.prod(ins))),
    ]
    core = ["q0", *i[1:], "q1"]
    return ranks, [[i[0], "q0"], core, ["q1", *o]], {"q0": ranks[0], "q1": ranks[1]}


def _bt(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    tucker = [_rank(rng, min(a * b, 5)) for a, b in zip(ins, outs, strict=True)]
    blocks = int(rng.integers(1, 5))
    factors = [["n", f"I{k}", f"O{k}", f"q{k}"] for k in range(len(ins))]
    core = ["n", *(f"q{k}" for k in range(len(ins)))]
    sizes = {"n": blocks, **{f"q{k}": q for k, q in enumerate(tucker)}}
    return {"tucker": tucker, "blocks": blocks}, [*factors, core], sizes


def _kronecker(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    s = int(rng.integers(1, 5))
    extra = ["s"] if s > 1 else []
    return s, [[*extra, f"O{k}", f"I{k}"] for k in range(len(ins))], {"s": s} if s > 1 else {}


def _ht(rng: np.random.Generator, ins: list[int], outs: list[int]) -> Made:
    """Up to three pairs; of three, the left node joins the first two."""
    pairs = [a * b for a, b in zip(ins, outs, strict=True)]
    n, leaf = len(ins), _rank(rng, min([*pairs, 6]))
    inner = _rank(rng, min(leaf * leaf, pairs[-1], 6))
    leaves = [[f"I{k}", f"O{k}", f"s{k}"] for k in range(n)]
    sizes = {f"s{k}": leaf for k in range(n)}
    nodes = [[], [["s0", "s1", "root"]], [["s0", "s1", "s01"], ["s01", "s2", "root"]]][n - 1]
    sizes |= {"root": 1} if n > 1 else {}
    sizes |= {"s01": inner} if n == 3 else {}
    return {"leaf": leaf, "inner": inner, "root": 1}, leaves + nodes, sizes


_MAKERS: Final[dict[str, Callable[[np.random.Generator, list[int], list[int]], Made]]] = {
    "dense": _dense, "lowrank": _lowrank, "mpo": _mpo, "mps": _mps, "ht": _ht, "tr": _tr,
    "bt": _bt, "tucker": _tucker, "cp": _cp, "kronecker": _kronecker,
}  # fmt: skip
