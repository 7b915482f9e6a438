"""Alternating least squares over any tensor network.

One tensor at a time is chosen such that the error is the least for the others as they are: a linear
least-squares problem, so that the error never grows (Kolda and Bader, "Tensor Decompositions and
Applications", SIAM Review 51(3), 2009, section 3.4, for CP; De Lathauwer and Nion, "Decompositions
of a Higher-Order Tensor in Block Terms, III", SIAM J. Matrix Anal. Appl. 30(3), 2008, for
block terms).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from einchip.models.contract import contract

Float = NDArray[np.float64]
Cores = dict[str, Float]

#: Share of the largest eigenvalue that is added to the normal equations' diagonal.
RIDGE = 1e-12


@dataclass(frozen=True)
class Fit:
    """The least-squares fit of a network's tensors to a dense tensor.

    Attributes:
        tensors: index names of every tensor of the network.
        sizes: size of every index.
        output: index names of `target`, all of which the network holds; the others are summed.
        target: the dense tensor.
    """

    tensors: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, int]
    output: tuple[str, ...]
    target: Float

    def contract(self, cores: Mapping[str, Float]) -> Float:
        """Return the dense tensor that `cores` stand for."""
        return contract([(ix, cores[name]) for name, ix in self.tensors.items()], self.output)

    def error(self, cores: Mapping[str, Float]) -> float:
        """Return the relative Frobenius error of `cores`."""
        scale = np.linalg.norm(self.target)
        return float(np.linalg.norm(self.contract(cores) - self.target) / scale) if scale else 0.0

    def random(self, rng: np.random.Generator) -> Cores:
        """Return normal cores, scaled such that the network's norm is about the target's."""
        cores = {n: rng.standard_normal(self._shape(ix)) for n, ix in self.tensors.items()}
        norm = np.linalg.norm(self.contract(cores))
        factor = (np.linalg.norm(self.target) / norm) ** (1 / len(cores)) if norm else 1.0
        return {name: core * factor for name, core in cores.items()}

    def run(self, cores: Mapping[str, Float], n_sweeps: int, tolerance: float = 5e-4) -> Cores:
        """Improve `cores` until a sweep lowers the error by less than `tolerance` of itself."""
        best = dict(cores)
        error = self.error(best)
        for _ in range(n_sweeps):
            trial, new = dict(best), error
            for name in self.tensors:
                trial[name], new = self._solve(name, trial)
            if not new < error:
                break
            best, gain, error = trial, error - new, new
            if gain < tolerance * error:
                break
        return best

    def _shape(self, indices: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.sizes[i] for i in indices)

    def _solve(self, name: str, cores: Mapping[str, Float]) -> tuple[Float, float]:
        """Return the best tensor `name` for the others as they are, and the relative error then.

        From the normal equations ``gram x = right``, both contracted from the network itself, never
        from its dense form. The tensor's indices are: `shared`, open and held by others too (one
        system for each value); `own`, open and held by it alone (right-hand sides); `bonds`,
        summed (unknowns).
        """
        ix = self.tensors[name]
        others = [(t, cores[n]) for n, t in self.tensors.items() if n != name]
        held = {i for t, _ in others for i in t}
        shared = [i for i in ix if i in self.output and i in held]
        own = [i for i in ix if i in self.output and i not in held]
        bonds = [i for i in ix if i not in self.output]
        others += [((i,), np.ones(self.sizes[i])) for i in bonds if i not in held]
        twins = [(tuple(self._twin(i) for i in t), core) for t, core in others]
        n_s, n_b = prod(self._shape(shared)), prod(self._shape(bonds))
        axes = (*shared, *bonds, *(self._twin(i) for i in bonds))
        gram = contract([*others, *twins], axes) if others else np.ones(())
        target = (self.output, self.target)
        right = contract([*others, target], (*shared, *bonds, *own)).reshape(n_s, n_b, -1)
        found, error = _normal_equations(gram.reshape(n_s, n_b, n_b), right, self._norm)
        back = [(*shared, *bonds, *own).index(i) for i in ix]
        return found.reshape(self._shape((*shared, *bonds, *own))).transpose(back), error

    def _twin(self, index: str) -> str:
        """Return the name of an index in the network's second copy; open ones are common."""
        return index if index in self.output else f"{index}'"

    @cached_property
    def _norm(self) -> float:
        return float(np.linalg.norm(self.target))


def _normal_equations(gram: Float, right: Float, norm: float) -> tuple[Float, float]:
    """Solve ``gram[s] x[s] = right[s]``; return x and the relative error it leaves.

    With a ridge of `RIDGE` of the largest diagonal element, so that redundant bonds do no harm.
    `norm` is that of the tensor to fit: ``|T - X|^2 = |T|^2 - 2 <T, X> + |X|^2``.
    """
    ridge = RIDGE * max(float(np.einsum("sbb->sb", gram).max(initial=0.0)), 1e-300)
    x = np.asarray(np.linalg.solve(gram + ridge * np.eye(gram.shape[1]), right), dtype=np.float64)
    rest = norm**2 - float(np.sum((2 * right - gram @ x) * x))
    return x, float(np.sqrt(max(rest, 0.0))) / norm if norm else 0.0
