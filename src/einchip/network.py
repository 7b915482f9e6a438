"""Tensor networks: indices with sizes, tensors, an output; einsum text in and out.

An index may appear in any number of tensors (hyperedges: CP and block-term need them). An index
that is not in the output is summed over, wherever it appears.
"""

from __future__ import annotations

import functools
import math
import operator
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class NetworkError(ValueError):
    """A network that makes no sense; the message is one line and names the tensor and the index."""


@dataclass(frozen=True)
class Network:
    """A tensor network.

    Parameters
    ----------
    tensors : name -> its index names, in the order of the array's axes.
    sizes : index name -> size (>= 1).
    output : index names of the result, in order; empty for a scalar.

    Raises
    ------
    NetworkError : no tensor, a repeated index inside one tensor or the output (a trace), an index
        without a size or without a tensor, a size below 1.
    """

    tensors: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, int]
    output: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.tensors:
            raise NetworkError("network: found no tensor, expected at least one")
        used: set[str] = set()
        for name, indices in (*self.tensors.items(), ("output", self.output)):
            missing = [i for i in indices if name == "output" and i not in used]
            if missing:
                raise NetworkError(
                    f"output: index {missing[0]} is in no tensor, expected one of "
                    f"{', '.join(sorted(used)) or 'none'}"
                )
            if len(set(indices)) != len(indices):
                raise NetworkError(
                    f"{name}: an index appears twice in {indices}; traces are not supported"
                )
            for i in indices:
                if self.sizes.get(i, 0) < 1:
                    raise NetworkError(
                        f"{name}: index {i} has size {self.sizes.get(i)}, expected at least 1"
                    )
            used.update(indices)

    @classmethod
    def from_einsum(cls, text: str, shapes: Iterable[tuple[int, ...]]) -> Network:
        """Read `"ab,bc->ac"` and one shape per operand; tensors are named T0, T1, ..."""
        if text.count("->") != 1:
            found = "no '->'" if "->" not in text else "several '->'"
            raise NetworkError(f"einsum {text!r}: found {found}, expected an explicit output")
        left, right = text.replace(" ", "").split("->")
        strange = next((c for c in left + right if not (c.isalpha() or c == ",")), "")
        if strange or "," in right:
            raise NetworkError(f"einsum {text!r}: found {strange or ','!r}, expected a letter")
        terms, shapes = left.split(","), list(shapes)
        if len(terms) != len(shapes):
            raise NetworkError(
                f"einsum {text!r}: found {len(shapes)} shapes, expected {len(terms)}"
            )
        sizes: dict[str, int] = {}
        for term, shape in zip(terms, shapes, strict=True):
            if len(term) != len(shape):
                raise NetworkError(f"einsum {text!r}: term {term} does not fit shape {shape}")
            for i, n in zip(term, shape, strict=True):
                if sizes.setdefault(i, n) != n:
                    raise NetworkError(f"einsum {text!r}: index {i} has sizes {sizes[i]} and {n}")
        return cls({f"T{k}": tuple(t) for k, t in enumerate(terms)}, sizes, tuple(right))

    def einsum(self) -> str:
        """Return the network as einsum text, its indices renamed to single letters."""
        letters = dict(zip(self.sizes, string.ascii_letters, strict=False))
        if len(letters) < len(self.sizes):
            raise NetworkError(
                f"network: {len(self.sizes)} indices, einsum text has {len(letters)} letters"
            )

        def word(indices: Iterable[str]) -> str:
            return "".join(letters[i] for i in indices)

        return ",".join(word(t) for t in self.tensors.values()) + "->" + word(self.output)

    def size(self, indices: Iterable[str]) -> int:
        """Return the number of elements over `indices`."""
        return math.prod(self.sizes[i] for i in indices)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one tensor."""
        return tuple(self.sizes[i] for i in self.tensors[name])

    def holders(self) -> dict[str, tuple[str, ...]]:
        """Return index -> the tensors that carry it."""
        return {i: tuple(n for n, t in self.tensors.items() if i in t) for i in self.sizes}

    def contract(self, arrays: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the result by `numpy.einsum` in float64: the outer oracle for values."""
        operands = [np.asarray(arrays[n], dtype=np.float64) for n in self.tensors]
        for name, array in zip(self.tensors, operands, strict=True):
            if array.shape != self.shape(name):
                raise NetworkError(
                    f"{name}: found shape {array.shape}, expected {self.shape(name)}"
                )
        # With a limit of memory NumPy multiplies everything at once where intermediates are larger.
        return np.asarray(np.einsum(self.einsum(), *operands, optimize=("greedy", 1 << 62)))


class Subsets:
    """The tensors of a network as bits, and sets of them as bit masks.

    Attributes
    ----------
    holders : index -> the tensors that carry it.
    parts : the connected components.
    """

    def __init__(self, network: Network) -> None:
        self.names = tuple(network.tensors)
        self.holders = {
            i: sum(1 << k for k, n in enumerate(self.names) if i in network.tensors[n])
            for i in network.sizes
        }
        self.parts = self._components()
        self._output = frozenset(network.output)
        self._neighbours = [
            functools.reduce(operator.or_, (h for h in self.holders.values() if h >> k & 1), 0)
            for k in range(len(self.names))
        ]

    @property
    def full(self) -> int:
        """All tensors."""
        return (1 << len(self.names)) - 1

    def open(self, subset: int) -> tuple[str, ...]:
        """Return the indices of the contraction of a subset: those still needed outside."""
        return tuple(
            i
            for i, holders in self.holders.items()
            if holders & subset and (holders & ~subset or i in self._output)
        )

    def neighbours(self, subset: int) -> int:
        """Return the tensors that share an index with one of the subset."""
        found = 0
        for k, mask in enumerate(self._neighbours):
            if subset >> k & 1:
                found |= mask
        return found

    def pairs(self, by_size: Mapping[int, Sequence[int]], size: int) -> Iterator[tuple[int, int]]:
        """Yield the pairs of disjoint subsets with `size` tensors together that may be contracted.

        These share an index, or both are whole components. `by_size` has the subsets by their
        number of tensors.
        """
        kind = np.int64 if len(self.names) < 63 else object
        for smaller in range(1, size // 2 + 1):
            others = np.array(by_size.get(size - smaller, ()), dtype=kind)
            for a in by_size.get(smaller, ()):
                fits = (others & self.neighbours(a)) != 0
                if len(self.parts) > 1 and self._whole(a):
                    fits |= np.array([self._whole(b) for b in others.tolist()], dtype=bool)
                fits &= (others & a) == 0
                for b in others[fits].tolist():
                    if smaller * 2 < size or a < b:
                        yield a, b

    def _whole(self, subset: int) -> bool:
        """Tell whether a subset is made of whole components."""
        return all(p & subset in (0, p) for p in self.parts)

    def _components(self) -> list[int]:
        parts: list[int] = []
        for k in range(len(self.names)):
            merged = 1 << k
            for holders in self.holders.values():
                merged |= holders if holders >> k & 1 else 0
            apart = [p for p in parts if not p & merged]
            parts = [
                *apart,
                functools.reduce(operator.or_, (p for p in parts if p & merged), merged),
            ]
        return parts
