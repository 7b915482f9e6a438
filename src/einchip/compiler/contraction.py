"""Any einsum with data: scales chosen from the values, a program, and what it computes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from einchip import check, energy, reference
from einchip.arch import Architecture
from einchip.compiler.scales import best_frac
from einchip.mapper import MappingError, NetworkMapping, Programs, map_network
from einchip.mapper.large import BUDGET, Progress
from einchip.mapper.network import CompiledNetwork
from einchip.mapper.network_build import RESULT
from einchip.mapper.tree import ONE
from einchip.network import Network
from einchip.numeric import dequantise, quantise
from einchip.reference import Host, Memory
from einchip.roofline import Roofline, roofline

Float = NDArray[np.float64]
#: The greatest magnitude of a tensor that is not zero lies between the inverse of this and this.
LARGEST: Final = 2.0**256


@dataclass(frozen=True)
class Contracted:
    """A network with its data on a machine.

    Attributes
    ----------
    arrays : the data, in float64; `stored` those that the machine is given.
    fracs : fractional bits of every stored tensor and step.
    resident : tensors that `setup` loads; `run` loads the others.
    """

    mapping: NetworkMapping
    arrays: Mapping[str, Float]
    fracs: Mapping[str, int]
    resident: tuple[str, ...]

    @cached_property
    def stored(self) -> dict[str, Float]:
        """The data with merged weights in place of those that they are made of."""
        return self.mapping.stored(self.arrays)

    @cached_property
    def programs(self) -> Programs:
        """The two programs. Raises ProgramError where one breaks a rule of the machine."""
        programs = self.mapping.emit(self.fracs)
        for program in (programs.setup, programs.run):
            check.require(program, self.mapping.arch, Host())
        return programs

    @property
    def compiled(self) -> CompiledNetwork:
        """The programs with the layout of external memory."""
        return CompiledNetwork(self.mapping, self.programs.setup, self.programs.run)

    def memory(self) -> Memory:
        """Return a machine after power-up with the quantised data in external memory."""
        arch, compiled = self.mapping.arch, self.compiled
        memory = Memory.empty(arch, compiled.external_bytes)
        memory.external[:] = compiled.pack(
            {n: quantise(a, self.fracs[n], arch.data_bits) for n, a in self.stored.items()}
        )
        return memory

    def result(self, memory: Memory) -> Float:
        """Return the result that a run left, as real numbers."""
        return dequantise(self.compiled.unpack(memory.external), self.fracs[RESULT])

    def computed(self) -> Float:
        """Return what the machine computes, by the reference."""
        memory = self.memory()
        for program in (self.programs.setup, self.programs.run):
            reference.run(program, self.mapping.arch, memory, Host())
        return self.result(memory)

    @property
    def roofline(self) -> Roofline:
        """The least cycles of a run, with the same weights merged beforehand as may be.

        All tensors that are not resident, and the result, move.
        """
        network = self.mapping.network
        moved = [n for n in network.tensors if n not in self.resident]
        return roofline(network, self.mapping.arch, moved, self.mapping.merging.sets(network))


def contract(
    network: Network,
    arrays: Mapping[str, Float],
    arch: Architecture,
    resident: Collection[str] = (),
    *,
    merge: bool = True,
    objective: str = "cycles",
    table: energy.Table | None = None,
    budget: float = BUDGET,
    progress: Progress | None = None,
) -> Contracted:
    """Map a network, and choose the power-of-two scales of its tensors and steps from the data.

    Resident tensors are merged in float64 where that is quicker, unless `merge` is false; scales
    are those of the merged ones. All other options are those of `map_network`. Raises MappingError
    when the machine is too small or a value is not finite.
    """
    for name, values in arrays.items():
        _require_usable(name, values)
    left = [n for n in network.tensors if n not in resident]
    streamed = max(left, key=lambda n: network.size(network.tensors[n]), default="")
    mapping = map_network(
        network, arch, resident=resident, streamed=streamed, merge=merge, objective=objective,
        table=table, budget=budget, progress=progress,
    )  # fmt: skip
    stored = mapping.stored(arrays)
    for name, values in stored.items():
        _require_usable(name, values)
    fracs = choose_fracs(mapping, stored, arch.data_bits)
    return Contracted(mapping, arrays, fracs, tuple(resident))


def _require_usable(name: str, values: Float) -> None:
    """Raise MappingError for values that have no sensible power-of-two scale."""
    largest = float(np.max(np.abs(values), initial=0.0))
    if not np.isfinite(largest):
        raise MappingError(f"{name}: found NaN or infinity, expected finite numbers")
    if largest and not 1 / LARGEST <= largest <= LARGEST:
        raise MappingError(
            f"{name}: found a greatest magnitude of {largest:.3g}, expected {1 / LARGEST:.3g} to "
            f"{LARGEST:.3g}; scale the tensors"
        )


def choose_fracs(mapping: NetworkMapping, arrays: Mapping[str, Float], bits: int) -> dict[str, int]:
    """Return the fractional bits of every tensor and step: of each the least squared error.

    A step's result has no more of them than its product.
    """
    known: dict[str, Float] = {f"{ONE}{space}": np.ones(()) for space in (0, 1)} | dict(arrays)
    fracs = {name: best_frac(values, bits) for name, values in arrays.items()}
    fracs |= {f"{ONE}{space}": 0 for space in (0, 1)}
    for step in mapping.steps:
        value = np.einsum(step.einsum, known[step.left], known[step.right], optimize=True)
        _require_usable(step.result, value)
        known[step.result] = value
        product = fracs[step.left] + fracs[step.right]
        fracs[step.result] = best_frac(value, bits, product)
    return fracs
