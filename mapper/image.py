"""External memory: tensors lie there exactly as in the scratchpad, so that a LOAD is one copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from einchip import reference
from einchip.arch import Architecture
from einchip.mapper.layout import Layout
from einchip.mapper.ops import whole_vectors
from einchip.numeric import Ints


@dataclass(frozen=True)
class Region:
    """One tensor in external memory: its place, its axes, and its layout.

    `sliced` (index, count): `count` slices over an index follow one another, each in the layout.
    """

    offset: int
    indices: tuple[str, ...]
    sizes: Mapping[str, int]
    layout: Layout
    sliced: tuple[str, int] = ("", 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(self.sizes[i] for i in self.indices)

    def slice_elements(self, arch: Architecture) -> int:
        """Elements of one slice, padding included."""
        return whole_vectors(self.layout.extent, arch)

    def n_bytes(self, arch: Architecture) -> int:
        """Bytes of the whole region."""
        return self.slice_elements(arch) * self.sliced[1] * arch.element_bytes

    def addresses(self, arch: Architecture) -> Ints:
        """Return the element number of every element, in the tensor's shape."""
        index, count = self.sliced
        total = np.zeros((), dtype=np.int64)
        for i in self.indices:
            at = np.arange(self.sizes[i], dtype=np.int64)
            if i == index and count > 1:
                local = self.sizes[i] // count
                at = at // local * self.slice_elements(arch) + at % local * self.layout.stride(i)
            else:
                at = at * self.layout.stride(i)
            total = total[..., None] + at
        return total

    def pack(self, values: ArrayLike, arch: Architecture) -> bytes:
        """Return the region's bytes for a tensor of integers."""
        array = np.asarray(values, dtype=np.int64)
        if array.shape != self.shape:
            raise ValueError(f"found shape {array.shape}, expected {self.shape}")
        out = np.zeros(self.slice_elements(arch) * self.sliced[1], dtype=np.int64)
        out[self.addresses(arch)] = array
        return reference.to_bytes(out, arch)

    def unpack(self, external: bytes | bytearray, arch: Architecture) -> Ints:
        """Return the tensor that lies in external memory."""
        data = bytes(external[self.offset : self.offset + self.n_bytes(arch)])
        return reference.from_bytes(data, arch)[self.addresses(arch)]


@dataclass(frozen=True)
class Scattered(Region):
    """One tensor in external memory whose elements lie anywhere in `elements` elements.

    `at` gives the element number of every element, in the tensor's shape.
    """

    at: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64), compare=False)
    elements: int = 0

    def slice_elements(self, arch: Architecture) -> int:
        """Elements of the whole region, padding included."""
        return whole_vectors(self.elements, arch)

    def addresses(self, arch: Architecture) -> Ints:
        """Return the element number of every element, in the tensor's shape."""
        return self.at


def image(
    regions: Mapping[str, Region],
    arrays: Mapping[str, ArrayLike],
    n_bytes: int,
    arch: Architecture,
) -> bytes:
    """Return an external memory of `n_bytes` with the arrays in their regions."""
    out = bytearray(n_bytes)
    for name, values in arrays.items():
        region = regions[name]
        try:
            data = region.pack(values, arch)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        out[region.offset : region.offset + len(data)] = data
    return bytes(out)
