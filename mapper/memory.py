"""A mapped model in external memory: its weights, sequences and answers as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from einchip import reference
from einchip.arch import Architecture
from einchip.mapper.image import image
from einchip.mapper.nets import Cut, Net
from einchip.mapper.place import Mapped
from einchip.mapper.ports import INPUT, OUTPUT, WORKSPACE, Field
from einchip.mapper.problem import ModelProblem
from einchip.numeric import Ints


@dataclass(frozen=True)
class ModelMemory:
    """Where a mapped model's data lie: sizes of each part, values to bytes and back."""

    arch: Architecture
    mapped: Mapped
    problem: ModelProblem

    @cached_property
    def nets(self) -> list[Net]:
        """All mapped networks in the order in which they run."""
        return [net for phase in self.mapped.phases for net in phase.nets.all]

    @cached_property
    def _inputs(self) -> list[Field]:
        """The fields of the input sequence's records."""
        return [f for p in self.mapped.phases for f in p.ports.sources if f.base == INPUT]

    @cached_property
    def _outputs(self) -> list[Field]:
        """The fields of the output."""
        phases = self.mapped.phases
        sinks = [s.field for p in phases for s in p.ports.sinks if s.field.base == OUTPUT]
        return sinks or [f for p in phases for f in p.ports.finals]

    @property
    def input_size(self) -> int:
        """Elements of one time step's input, of all sequences side by side."""
        own = self.mapped.phases[0].ports.sources
        return sum(int(np.prod(f.region.shape)) for f in own)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weights in external memory, at BASE0."""
        return max(
            (r.offset + r.n_bytes(self.arch) for _, r in self.mapped.weights.values()), default=0
        )

    def sequence_bytes(self, n_steps: int) -> int:
        """Bytes that a run reads at BASE1.

        An input part that runs ahead reads the record behind the last one, and uses it for nothing.
        """
        return (n_steps + self._behind(INPUT)) * self._inputs[0].record

    def _behind(self, base: int) -> int:
        """Return how many records behind the last one are read."""
        phases = self.mapped.phases
        return max(
            (int(p.ahead) for p in phases for f in p.ports.sources if f.base == base), default=0
        )

    def output_bytes(self, n_steps: int) -> int:
        """Bytes that a run writes at BASE2."""
        fields = self._outputs
        once = max(f.region.offset + f.region.n_bytes(self.arch) for f in fields)
        return n_steps * fields[0].record if fields[0].record else once

    def workspace_bytes(self, n_steps: int) -> int:
        """Bytes that a run writes and reads at BASE3."""
        record = self.mapped.records.get(WORKSPACE, 0)
        return (n_steps + self._behind(WORKSPACE)) * record

    @cached_property
    def cuts(self) -> dict[str, Cut]:
        """Where every mapped weight comes from."""
        found = {name: cut for net in self.nets for name, cut in net.cuts.items()}
        batch = self.problem.batch
        for name, (_, place) in self.mapped.weights.items():
            shape = place.shape
            if batch > 1:
                shape = (*shape[:-1], shape[-1] // batch)
            found.setdefault(name, Cut(name, shape, repeat=batch))
        return found

    def weight_arrays(self, arrays: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
        """Return the problem's arrays as the mapped steps see them, reshaped and cut by gate.

        Raises ValueError for an array that is missing or has another size.
        """
        return {name: _cut(cut, arrays) for name, cut in self.cuts.items()}

    def pack_weights(self, arrays: Mapping[str, ArrayLike]) -> bytes:
        """Return the external memory of all weights and biases, integers under mapped names.

        Raises ValueError for an array that is missing or has another size.
        """
        regions = {n: r for n, (_, r) in self.mapped.weights.items()}
        missing = sorted(set(regions) - set(arrays))
        if missing:
            raise ValueError(
                f"{missing[0]}: found no array, expected shape {regions[missing[0]].shape}"
            )
        shaped = {n: np.asarray(arrays[n]).reshape(r.shape) for n, r in regions.items()}
        return image(regions, shaped, self.weights_bytes, self.arch)

    def pack_sequence(self, steps: ArrayLike | Mapping[str, ArrayLike]) -> bytes:
        """Return the external memory of a sequence, or of several side by side.

        `steps` is an array of integers [n_steps, input size], or [n_steps, batch, input size] of a
        batch above 1; or, for several operands, one for each by name.
        """
        n = 0
        rows: list[tuple[Field, Ints]] = []
        for f in self._inputs:
            key = f.tensor.name.rsplit(".", 1)[1]
            given = np.asarray(steps[key] if isinstance(steps, Mapping) else steps, dtype=np.int64)
            n = len(given)
            if self.problem.batch > 1:
                given = np.moveaxis(given.reshape(n, self.problem.batch, -1), 1, -1)
            rows.append((f, given.reshape(n, *f.region.shape)))
        behind = self._behind(INPUT)
        size = self._inputs[0].record // self.arch.element_bytes
        out = np.zeros((n + behind, size), dtype=np.int64)
        for f, values in rows:
            out[:n, self._places(f)] = values
        return reference.to_bytes(out.ravel(), self.arch)

    def unpack(self, output: bytes | bytearray, n_steps: int = 1) -> Ints:
        """Return the answer from what a run wrote at BASE2: [n_out], or [n_steps, n_out].

        Of a batch above 1: [batch, n_out], or [n_steps, batch, n_out].
        """
        fields = self._outputs
        n = n_steps if fields[0].record else 1
        data = reference.from_bytes(bytes(output[: self.output_bytes(n)]), self.arch).reshape(n, -1)
        batch = self.problem.batch
        parts = [data[:, self._places(f)].reshape(n, -1, batch) for f in fields]
        rows = np.moveaxis(np.concatenate(parts, axis=1), -1, 1)
        if batch == 1:
            rows = rows[:, 0]
        return rows if fields[0].record else rows[0]

    def _places(self, f: Field) -> Ints:
        """Return the element numbers of a field within its record."""
        return f.region.offset // self.arch.element_bytes + f.region.addresses(self.arch)


def _cut(cut: Cut, arrays: Mapping[str, ArrayLike]) -> np.ndarray:
    if cut.source not in arrays:
        raise ValueError(f"{cut.source}: found no array, expected shape {cut.shape}")
    whole = np.asarray(arrays[cut.source])
    if whole.size != int(np.prod(cut.shape)):
        raise ValueError(f"{cut.source}: found shape {whole.shape}, expected {cut.shape}")
    whole = whole.reshape(cut.shape)
    if cut.axis < 0:
        return np.repeat(whole, cut.repeat, axis=-1) if cut.repeat > 1 else whole
    part = np.take(whole, range(cut.start, cut.stop), axis=cut.axis)
    return part.squeeze(cut.axis) if cut.drop else part
