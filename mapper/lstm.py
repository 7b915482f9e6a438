"""LSTM layers: a program that loads the weights, and one that runs a sequence.

One time step is: load x, contract the input network (with the bias as addend), contract the hidden
network (with the input part as addend), update cells and h in the vector unit. Loads run ahead of
the array by a time step or by slices of x; the input part of a step does not need h and fills the
array while the vector unit works.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from einchip import reference
from einchip.arch import Architecture
from einchip.mapper.errors import MappingError
from einchip.mapper.image import image
from einchip.mapper.layer import Layer, assemble
from einchip.mapper.parts import LayerSearch, LstmProblem
from einchip.numeric import Ints
from einchip.program import Program
from einchip.reference import Host

__all__ = ["LstmMapping", "LstmProblem", "Programs", "map_lstm"]


@dataclass(frozen=True)
class Programs:
    """`setup` loads the weights once; `run` runs sequences."""

    setup: Program
    run: Program


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

    def emit(self, fracs: Mapping[str, int] | None = None) -> Programs:
        """Return the programs with these fractional bits for every name (None: all 0).

        Raises MappingError for scales that a shift cannot reach.
        """
        return Programs(*self.layer.programs(fracs))

    def host(self, n_steps: int, weights: int, sequence: int, output: int) -> Host:
        """Return the host registers for a run: external addresses and the number of steps."""
        return Host((weights, sequence, output, 0), (n_steps, 0, 0, 0))

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
        """Bytes that a run reads at BASE1: loads run ahead past the last step."""
        return n_steps * self.layer.step_bytes + self.layer.ahead_bytes

    def pack_weights(self, arrays: Mapping[str, ArrayLike]) -> bytes:
        """Return the external memory of all weights and biases, arrays of integers by name."""
        regions = self.layer.weights
        shaped = {n: np.asarray(a).reshape(regions[n].shape) for n, a in arrays.items()}
        missing = sorted(set(regions) - set(shaped))
        if missing:
            raise ValueError(f"{missing[0]}: found no array, expected shape {regions[missing[0]].shape}")
        return image(regions, shaped, self.weights_bytes, self.arch)

    def pack_sequence(self, steps: ArrayLike) -> bytes:
        """Return the external memory of a sequence [n_steps, input size], room to run ahead included."""
        region = self.layer.x
        rows = [region.pack(x.reshape(region.shape), self.arch) for x in np.asarray(steps)]
        return b"".join(rows) + bytes(self.layer.ahead_bytes)

    def unpack(self, output: bytes | bytearray) -> Ints:
        """Return the logits (or the last h) from what a run wrote at BASE2."""
        return self.layer.out.unpack(output, self.arch).reshape(-1)


def map_lstm(problem: LstmProblem, arch: Architecture) -> LstmMapping:
    """Search the quickest mapping of a layer.

    Raises MappingError when nothing fits: what is too small, and the least change that helps.
    """
    search = LayerSearch(problem, arch)
    failure: MappingError | None = None
    for attempt in search.attempts():
        try:
            parts = search.parts(attempt)
        except MappingError as error:
            failure = failure or error
            continue
        for gates_input, gates in itertools.product((0, 1), repeat=2):
            try:
                layer = assemble(parts.in_spaces(gates_input, gates), arch)
            except MappingError as error:
                failure = failure or error
                continue
            words = layer.programs(None)[1].n_words
            if words <= arch.program_words:
                return LstmMapping(problem, arch, layer)
            failure = failure or MappingError(
                f"program: found {words} words, expected at most {arch.program_words}; "
                f"set program_words to {1 << (words - 1).bit_length()}"
            )
    assert failure is not None
    raise failure
