"""A weight matrix in its format, applied to rows of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from einchip.models.contract import contract
from einchip.models.formats import matrix_network, to_dense
from einchip.models.spec import MatrixSpec

Float = NDArray[np.float64]
Operands = list[tuple[tuple[str, ...], Float]]

#: Matrices up to this size are multiplied out once; larger ones are applied tensor by tensor.
MAX_DENSE_ELEMENTS = 2**24
#: Elements of the vectors that are contracted together.
CHUNK_ELEMENTS = 2**21
ROWS = "rows"


class Matrix:
    """``W[n_gates * out, in]`` in float64, or its columns `columns`."""

    def __init__(
        self,
        spec: MatrixSpec,
        cores: Mapping[str, NDArray[Any]],
        n_gates: int = 1,
        columns: slice | None = None,
    ) -> None:
        self.spec = spec
        self.cores = cores
        self.network = matrix_network(spec, n_gates)
        self.columns = slice(0, spec.in_size) if columns is None else columns
        self.out_size = prod(self.network.sizes[o] for o in self.network.outputs)
        small = self.out_size * spec.in_size <= MAX_DENSE_ELEMENTS
        self.dense = to_dense(spec, cores, n_gates)[:, self.columns].T if small else None

    def apply(self, rows: NDArray[Any]) -> Float:
        """Return ``rows W^T``: ``[n, in] -> [n, out]``."""
        if self.dense is not None:
            return rows.astype(np.float64) @ self.dense
        sizes = [self.network.sizes[i] for i in self.network.inputs]
        found = [np.zeros((0, self.out_size))]
        for part in _chunks(rows, max(self.spec.in_size, self.out_size)):
            x = np.zeros((len(part), self.spec.in_size))
            x[:, self.columns] = part
            data: Operands = [((ROWS, *self.network.inputs), x.reshape(len(part), *sizes))]
            found.append(self._contract(data, len(part)))
        return np.concatenate(found)

    def look_up(self, tokens: NDArray[Any]) -> Float:
        """Return the columns ``W[:, token]`` of some tokens: ``[n] -> [n, out]``."""
        if self.dense is not None:
            return self.dense[tokens]
        found = [np.zeros((0, self.out_size))]
        for part in _chunks(tokens, self.out_size):
            hot = one_hot(part, self.spec.in_modes)
            names = zip(self.network.inputs, hot, strict=True)
            data: Operands = [((ROWS, index), digit) for index, digit in names]
            found.append(self._contract(data, len(part)))
        return np.concatenate(found)

    def _contract(self, data: Operands, n_rows: int) -> Float:
        cores: Operands = [(axes, self.cores[name]) for name, axes in self.network.tensors.items()]
        return contract(data + cores, (ROWS, *self.network.outputs)).reshape(n_rows, -1)


def one_hot(tokens: NDArray[Any], modes: tuple[int, ...]) -> list[Float]:
    """Return the tokens' digits over `modes`, the first slowest, each one-hot ``[n, mode]``."""
    digits = np.unravel_index(tokens.astype(np.int64), modes)
    return [np.eye(mode)[digit] for mode, digit in zip(modes, digits, strict=True)]


def _chunks(rows: NDArray[Any], width: int) -> list[NDArray[Any]]:
    """Cut rows into parts of at most `CHUNK_ELEMENTS` elements at a width of `width`."""
    step = max(1, CHUNK_ELEMENTS // width)
    return [rows[k : k + step] for k in range(0, len(rows), step)]
