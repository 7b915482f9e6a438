"""Matrix formats: core shapes, index names, the dense matrix they stand for.

The index names are those of `MatrixNetwork`: ``I0, I1, ...`` for input modes, ``O0, O1, ...`` for
output modes, ``r0, r1, ...`` for bonds. Input and output vectors are split row-major, the first
mode slowest. Boundary bonds have size 1 and stay in the arrays and in the network, where each
appears in one tensor only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from einchip.models.spec import MatrixSpec


@dataclass(frozen=True)
class MatrixNetwork:
    """The tensor network of ``W[O0, O1, .., I0, I1, ..]``.

    Attributes:
        tensors: core name to its index names, in axis order, cores from left to right.
        sizes: size of every index.
        inputs: input index names, slowest first.
        outputs: output index names, slowest first.
    """

    tensors: dict[str, tuple[str, ...]]
    sizes: dict[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the tensor called `name`."""
        return tuple(self.sizes[i] for i in self.tensors[name])


def matrix_network(spec: MatrixSpec) -> MatrixNetwork:
    """Name the tensors and indices of a matrix.

    * dense: ``W[O0, I0]``.
    * mpo: ``W[O.., I..] = sum over r of prod_k Gk[r_k, I_k, O_k, r_(k+1)]``, the TT-matrix of
      Oseledets, "Tensor-train decomposition", SIAM J. Sci. Comput. 33(5), 2011, in the LSTM of
      Yang, Krompass, Tresp, ICML 2017 (arXiv 1707.01786) and Gao et al., arXiv 2012.11943.
    * mps: ``W[O.., I..] = sum over r of prod_k Gk[r_k, m_k, r_(k+1)]`` with modes
      ``m = (O0, O1, .., I0, I1, ..)``, the tensor train of Oseledets 2011.
    """
    inputs = tuple(f"I{k}" for k in range(len(spec.in_modes)))
    outputs = tuple(f"O{k}" for k in range(len(spec.out_modes)))
    sizes = dict(zip(outputs + inputs, spec.out_modes + spec.in_modes, strict=True))
    sizes |= {f"r{k}": rank for k, rank in enumerate(spec.ranks)}
    tensors: dict[str, tuple[str, ...]]
    if spec.format == "dense":
        tensors = {"W": outputs + inputs}
    elif spec.format == "mpo":
        tensors = {
            f"G{k}": (f"r{k}", i, o, f"r{k + 1}")
            for k, (i, o) in enumerate(zip(inputs, outputs, strict=True))
        }
    else:
        tensors = {f"G{k}": (f"r{k}", m, f"r{k + 1}") for k, m in enumerate(outputs + inputs)}
    return MatrixNetwork(tensors, sizes, inputs, outputs)


def core_shapes(spec: MatrixSpec) -> dict[str, tuple[int, ...]]:
    """Return the shape of every stored tensor, in order of the cores."""
    network = matrix_network(spec)
    return {name: network.shape(name) for name in network.tensors}


def n_weights(spec: MatrixSpec) -> int:
    """Return the number of stored weights, biases not counted."""
    return sum(prod(shape) for shape in core_shapes(spec).values())


def to_dense(spec: MatrixSpec, cores: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return the matrix ``W[out_size, in_size]`` that the cores stand for, in float64.

    The train is multiplied from left to right; `numpy.einsum` over `matrix_network` gives the
    same matrix (up to rounding).
    """
    network = matrix_network(spec)
    names = list(network.tensors)
    left = np.asarray(cores[names[0]], dtype=np.float64)
    if spec.format == "dense":
        return left.reshape(spec.out_size, spec.in_size)
    for name in names[1:]:
        left = np.tensordot(left, np.asarray(cores[name], dtype=np.float64), axes=1)
    left = left.reshape(left.shape[1:-1])
    if spec.format == "mpo":
        n = len(spec.in_modes)
        left = left.transpose([2 * k + 1 for k in range(n)] + [2 * k for k in range(n)])
    return left.reshape(spec.out_size, spec.in_size)
