"""LSTM layers: a program that loads the weights, and one that runs a sequence.

One time step is: load x, contract the input network (with the bias as addend), contract the hidden
network (with the input part as addend), update cells and h in the vector unit. Loads run ahead of
the array by a time step or by slices of x; the input part of a step does not need h and fills the
array while the vector unit works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from einchip.arch import Architecture
from einchip.mapper import report, tree
from einchip.mapper.errors import MappingError, nearest
from einchip.mapper.image import image
from einchip.mapper.layer import Layer, assemble
from einchip.mapper.network import Programs, check_words
from einchip.mapper.parts import LayerSearch, LstmProblem
from einchip.mapper.timeline import predict
from einchip.network import NetworkError
from einchip.numeric import Ints
from einchip.reference import Host
from einchip.roofline import roofline

#: Time steps before the steady state is measured, and those measured.
WARM, MEASURED = 2, 4

__all__ = ["LstmMapping", "LstmProblem", "Programs", "map_lstm"]


@dataclass(frozen=True)
class LstmMapping:
    """How a layer runs on a machine.

    Names of tensors, for scales and weights: `x`, `h`, `cell`, `input.<tensor>`, `hidden.<tensor>`,
    `bias`, `head.weight`, `head.bias`; of results: `input.t1` .., `gates_input`, `hidden.t1` ..,
    `gates`, `logits`.
    """

    problem: LstmProblem
    arch: Architecture
    layer: Layer

    searched = (
        "the quickest tree of each matrix alone, of all trees of connected parts, with the best "
        "folds that share the layouts of gates and h; slices of x, the fewest first, only where "
        "memory is short; not proved optimal for the layer as a whole"
    )

    def emit(self, fracs: Mapping[str, int] | None = None) -> Programs:
        """Return the programs with these fractional bits for every name (None: all 0).

        Raises MappingError for scales that a shift cannot reach.
        """
        return Programs(*self.layer.programs(fracs))

    def host(self, n_steps: int, weights: int, sequence: int, output: int) -> Host:
        """Return the host registers for a run: external addresses and the number of steps."""
        return Host((weights, sequence, output, 0), (n_steps, 0, 0, 0))

    @property
    def steps(self) -> list[report.Contraction]:
        """All contractions of a time step, then the head's, for a calibrator."""
        return [c for part in self.layer.parts.all for c in report.contractions(part)]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of `x`, `h` and all weights as the steps see them: modes in common factors."""
        found = {n: r.shape for n, r in self.layer.weights.items()}
        return found | {"x": self.layer.x.shape, "h": self.layer.parts.units.sizes}

    @property
    def macs(self) -> int:
        """Multiply-adds of one time step, in the chosen order."""
        return sum(s.macs for p in self.layer.parts.all[:2] for s in p.steps)

    @property
    def macs_naive(self) -> int:
        """Multiply-adds of one time step with the tensors in their order, x and h first."""
        p = self.problem
        return sum(
            tree.macs(tree.in_order(n, first), n) for n, first in ((p.inputs, p.x), (p.hidden, p.h))
        )

    @property
    def bound(self) -> int | None:
        """The roofline of one time step: both matrices, and x over the memory port."""
        p, arch = self.problem, self.arch
        try:
            lines = [roofline(p.inputs, arch, p.x), roofline(p.hidden, arch, p.h)]
        except NetworkError:
            return None
        port = self.input_size * arch.element_bytes / arch.port_bytes
        return ceil(max(sum(r.compute_cycles for r in lines), port))

    def cycles(self, n_steps: int) -> int:
        """Predicted cycles of a run over a sequence, program fetch left out."""
        return predict(self.emit().run, self.arch, n_steps)

    @property
    def step_cycles(self) -> float:
        """Predicted cycles of one time step in the steady state."""
        return (self.cycles(WARM + MEASURED) - self.cycles(WARM)) / MEASURED

    def to_json(self) -> dict[str, Any]:
        """Return the mapping as plain data."""
        return {
            "arch": self.arch.name,
            "optimal": False,
            "searched": self.searched,
            "macs_per_step": self.macs,
            "macs_naive_per_step": self.macs_naive,
            "cycles_per_step": self.step_cycles,
            "bound_cycles_per_step": self.bound,
            "slices": self.layer.parts.inputs.slicing.count,
            "order": [o.name for o in self.layer.body],
            "networks": [
                {
                    "tree": part.tree,
                    "steps": report.describe(part, self.arch),
                    "tensors": report.layouts(part),
                    "padding": part.padding,
                }
                for part in self.layer.parts.all
            ],
        }

    def explain(self) -> str:
        """Return the loop nests as text."""
        return "\n".join(report.explain(part, self.arch) for part in self.layer.parts.all)

    @property
    def input_size(self) -> int:
        """Elements of one time step's input."""
        return prod(self.layer.x.shape)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weights in external memory, at BASE0."""
        return max(r.offset + r.n_bytes(self.arch) for r in self.layer.weights.values())

    @property
    def output_bytes(self) -> int:
        """Bytes that a run writes at BASE2."""
        return self.layer.out.n_bytes(self.arch)

    def sequence_bytes(self, n_steps: int) -> int:
        """Bytes that a run reads at BASE1."""
        return n_steps * self.layer.step_bytes

    def pack_weights(self, arrays: Mapping[str, ArrayLike]) -> bytes:
        """Return the external memory of all weights and biases, arrays of integers by name."""
        regions = self.layer.weights
        shaped = {n: np.asarray(a).reshape(regions[n].shape) for n, a in arrays.items()}
        missing = sorted(set(regions) - set(shaped))
        if missing:
            raise ValueError(
                f"{missing[0]}: found no array, expected shape {regions[missing[0]].shape}"
            )
        return image(regions, shaped, self.weights_bytes, self.arch)

    def pack_sequence(self, steps: ArrayLike) -> bytes:
        """Return the external memory of a sequence [n_steps, input size]."""
        region = self.layer.x
        rows = [region.pack(x.reshape(region.shape), self.arch) for x in np.asarray(steps)]
        return b"".join(rows)

    def unpack(self, output: bytes | bytearray) -> Ints:
        """Return the logits (or the last h) from what a run wrote at BASE2."""
        return self.layer.out.unpack(output, self.arch).reshape(-1)


def map_lstm(problem: LstmProblem, arch: Architecture) -> LstmMapping:
    """Search the quickest mapping of a layer.

    Raises MappingError when nothing fits: what is too small, and the least change that helps.
    """
    search = LayerSearch(problem, arch)
    failures: list[MappingError] = []
    for attempt in search.attempts():
        try:
            layer = assemble(search.parts(attempt), arch)
            check_words(layer.programs(None)[1], arch)
        except MappingError as error:
            failures.append(error)
        else:
            return LstmMapping(problem, arch, layer)
    raise nearest(failures)
