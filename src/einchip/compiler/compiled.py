"""A model on a machine: its programs and weights, how to give it a sequence and read the answer.

External memory holds, each from a page on: the weights (BASE0), a sequence (BASE1), the answer
(BASE2), what layers hand to one another (BASE3). `setup` is started once, `run` for every
sequence, with the number of steps in ARG0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip import check, reference
from einchip.arch import Architecture
from einchip.compiler import calibrate, evaluate
from einchip.compiler.problem import input_names, problem_of
from einchip.mapper import MappingError
from einchip.mapper.model import ModelMapping
from einchip.mapper.model import map_model as map_problem
from einchip.mapper.programs import Programs
from einchip.models import Model, ModelError, ModelSpec
from einchip.numeric import Ints, dequantise, quantise
from einchip.program import ProgramError
from einchip.reference import Host, Memory

PAGE_BYTES: Final = 4096


@dataclass(frozen=True)
class Places:
    """Where a run's parts lie in external memory, in bytes."""

    sequence: int
    output: int
    workspace: int
    size: int

    @classmethod
    def of(cls, weights: int, sequence: int, output: int, workspace: int) -> Places:
        """Return places, each from a page on, for parts of these sizes in bytes."""
        starts = [0]
        for n_bytes in (weights, sequence, output, workspace):
            starts.append(starts[-1] + -(-n_bytes // PAGE_BYTES) * PAGE_BYTES)
        return cls(*starts[1:])

    @classmethod
    def of_mapping(cls, mapping: ModelMapping, n_steps: int) -> Places:
        """Return the places for sequences of up to `n_steps`."""
        return cls.of(
            mapping.weights_bytes,
            mapping.sequence_bytes(n_steps),
            mapping.output_bytes(n_steps),
            mapping.workspace_bytes(n_steps),
        )

    def host(self, n_steps: int) -> Host:
        """Return the host registers for a run of `n_steps`."""
        return Host((0, self.sequence, self.output, self.workspace), (n_steps, 0, 0, 0))


class Packed(NamedTuple):
    """A sequence as it lies in external memory from BASE1."""

    n_steps: int
    data: bytes


def groups(lengths: Sequence[int], batch: int) -> list[tuple[int, ...]]:
    """Return the sequences, by number, that run side by side: `batch` of equal lengths each.

    In the order in which their first ones come; where there are too few of a length, the last of
    them fills the places that are left.
    """
    by_length: dict[int, list[int]] = {}
    for number, n_steps in enumerate(lengths):
        by_length.setdefault(n_steps, []).append(number)
    found = []
    for same in by_length.values():
        for k in range(0, len(same), batch):
            part = same[k : k + batch]
            found.append((*part, *[part[-1]] * (batch - len(part))))
    return sorted(found)


@dataclass(frozen=True)
class Compiled:
    """A mapped and quantised model.

    Attributes
    ----------
    fracs : fractional bits of every tensor and result.
    image : the weights as they lie in external memory at BASE0.
    """

    spec: ModelSpec
    mapping: ModelMapping
    fracs: Mapping[str, int]
    image: bytes

    @property
    def arch(self) -> Architecture:
        """The machine."""
        return self.mapping.arch

    @property
    def batch(self) -> int:
        """Sequences that run side by side."""
        return self.mapping.problem.batch

    @cached_property
    def programs(self) -> Programs:
        """The two programs."""
        return self.mapping.emit(self.fracs)

    def places(self, n_steps: int) -> Places:
        """Return where the parts lie for sequences of up to `n_steps`."""
        return Places.of_mapping(self.mapping, n_steps)

    def memory(self, n_steps: int) -> Memory:
        """Return a machine after power-up, the weights in external memory, not yet set up."""
        memory = Memory.empty(self.arch, self.places(n_steps).size)
        memory.external[: len(self.image)] = self.image
        return memory

    def pack(self, *sequences: ArrayLike) -> Packed:
        """Quantise the sequences that run side by side, as many as the batch, of equal lengths.

        Each is [n_steps, input_size] real numbers or [n_steps] tokens. Raises ValueError for
        another number of sequences, or other lengths.
        """
        if len(sequences) != self.batch:
            raise ValueError(f"sequences: found {len(sequences)}, expected {self.batch}, the batch")
        names, bits = input_names(self.mapping.problem), self.arch.data_bits
        data = [
            [np.asarray(s)] if self.spec.embedding is None else one_hot(self.spec, s)
            for s in sequences
        ]
        lengths = [len(d[0]) for d in data]
        if len(set(lengths)) > 1:
            raise ValueError(f"sequences: found {lengths} time steps, expected equal lengths")
        given = {
            name.rpartition(".")[2]: quantise(self._beside(parts), self.fracs[name], bits)
            for name, parts in zip(
                names, zip(*data, strict=True), strict=self.spec.embedding is not None
            )
        }
        return Packed(lengths[0], self.mapping.pack_sequence(given))

    def _beside(self, parts: Sequence[ArrayLike]) -> ArrayLike:
        """Return one operand of all sequences: [n_steps, batch, size], or that of a single one."""
        return np.stack(parts, axis=1) if self.batch > 1 else parts[0]

    def put(self, memory: Memory, packed: Packed, places: Places) -> None:
        """Write a sequence into external memory."""
        memory.external[places.sequence : places.sequence + len(packed.data)] = packed.data

    def answer(self, memory: Memory, places: Places, n_steps: int) -> Ints:
        """Return what a run left: [n_out] or, where every step is wanted, [n_steps, n_out].

        Of a batch above 1 it is [batch, n_out], or [n_steps, batch, n_out].
        """
        end = places.output + self.mapping.output_bytes(n_steps)
        return self.mapping.unpack(memory.external[places.output : end], n_steps)

    def real_answer(self, values: Ints) -> NDArray[np.float64]:
        """Return an answer as real numbers."""
        return dequantise(values, self.fracs[self.mapping.outputs[0]])

    def evaluate(
        self, sequences: Sequence[ArrayLike], progress: Callable[[], None] = lambda: None
    ) -> list[Ints]:
        """Return the answer to each of some real sequences by the reference.

        Those of equal lengths run side by side. `progress` is called once for each sequence.
        """
        together = groups([len(np.asarray(s)) for s in sequences], self.batch)
        packed = [self.pack(*(sequences[k] for k in group)) for group in together]
        longest = max(p.n_steps for p in packed)
        places, memory = self.places(longest), self.memory(longest)
        reference.run(self.programs.setup, self.arch, memory, places.host(0))
        answers: dict[int, Ints] = {}
        for group, p in zip(together, packed, strict=True):
            self.put(memory, p, places)
            reference.run(self.programs.run, self.arch, memory, places.host(p.n_steps))
            found = self.answer(memory, places, p.n_steps)
            for place, number in enumerate(group):
                if number not in answers:
                    answers[number] = found if self.batch == 1 else found[..., place, :]
                    progress()
        return [answers[k] for k in range(len(sequences))]


def one_hot(spec: ModelSpec, tokens: ArrayLike) -> list[NDArray[np.float64]]:
    """Return tokens [n_steps] as the one-hot digits of an embedding's input modes, slowest first.

    Raises ModelError for what is no token.
    """
    assert spec.embedding is not None
    given, size = np.asarray(tokens), spec.embedding.vocabulary
    if given.ndim != 1 or given.dtype.kind not in "iu" or not np.all((given >= 0) & (given < size)):
        raise ModelError(
            f"{spec.name}: sequence: found {given.dtype} of shape {list(given.shape)}, expected "
            f"whole numbers [n_steps] from 0 to {size - 1}; give one token per time step"
        )
    modes = spec.embedding.weight.in_modes
    return [
        (digit[:, None] == np.arange(n)).astype(np.float64)
        for digit, n in zip(np.unravel_index(given, modes), modes, strict=True)
    ]


def map_model(spec: ModelSpec, arch: Architecture, batch: int = 1) -> ModelMapping:
    """Search the quickest mapping of a model, for `batch` sequences side by side.

    Raises MappingError, which names the model.
    """
    try:
        return map_problem(problem_of(spec, batch), arch)
    except MappingError as error:
        raise MappingError(f"{_on(spec, arch)}: {error}") from None


def compile_model(
    model: Model, arch: Architecture, calibration: Sequence[ArrayLike], batch: int = 1
) -> Compiled:
    """Map a model, choose its scales over calibration sequences, and quantise its weights.

    `batch` sequences run side by side.

    Raises MappingError when the machine is too small or there are no scales, ProgramError when the
    program breaks a rule.
    """
    return quantise_model(model, map_model(model.spec, arch, batch), calibration)


def quantise_model(
    model: Model, mapping: ModelMapping, calibration: Sequence[ArrayLike]
) -> Compiled:
    """Choose the scales of a mapped model over calibration sequences, and quantise its weights.

    Scales that the model carries for the machine's data width are kept. Raises MappingError and
    ProgramError as `compile_model`.
    """
    arch = mapping.arch
    seen = evaluate.observe(model, mapping, calibration)
    try:
        given = model.spec.scales if model.spec.data_bits == arch.data_bits else None
        fracs = calibrate.choose_fracs(mapping, seen, arch, given)
        arrays = {
            name: quantise(values, fracs[name], arch.data_bits)
            for name, values in evaluate.weights(model, mapping).items()
        }
        compiled = Compiled(model.spec, mapping, fracs, mapping.pack_weights(arrays))
        host = compiled.places(check.DEFAULT_ARGUMENT).host(check.DEFAULT_ARGUMENT)
        for program in (compiled.programs.setup, compiled.programs.run):
            check.require(program, arch, host)
    except (MappingError, ProgramError) as error:
        raise type(error)(f"{_on(model.spec, arch)}: {error}") from None
    return compiled


def _on(spec: ModelSpec, arch: Architecture) -> str:
    return f"{spec.name} on {arch.name}, {arch.data_bits} bit"
