"""A model on a machine: its programs and weights, how to give it a sequence and read the answer.

External memory holds, each from a page on: the weights (BASE0), a sequence (BASE1), the answer
(BASE2). `setup` is started once, `run` for every sequence, with the number of steps in ARG0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip import check, reference
from einchip.arch import Architecture
from einchip.compiler import calibrate
from einchip.mapper import MappingError
from einchip.mapper.lstm import LstmMapping, LstmProblem, Programs, map_lstm
from einchip.models import MatrixSpec, Model, ModelSpec, matrix_network
from einchip.network import Network
from einchip.numeric import Ints, dequantise, quantise
from einchip.program import ProgramError
from einchip.reference import Host, Memory

PAGE_BYTES: Final = 4096


def network_of(spec: MatrixSpec, operand: str) -> Network:
    """Return a weight matrix applied to `operand`; the open ends of a train are dropped."""
    m = matrix_network(spec)
    holders = {i: sum(i in t for t in m.tensors.values()) for i in m.sizes}
    dropped = {i for i, n in holders.items() if n == 1 and i not in (*m.inputs, *m.outputs)}
    tensors = {n: tuple(i for i in t if i not in dropped) for n, t in m.tensors.items()}
    sizes = {i: s for i, s in m.sizes.items() if i not in dropped}
    return Network({operand: m.inputs, **tensors}, sizes, m.outputs)


def problem_of(spec: ModelSpec) -> LstmProblem:
    """Return what the mapper is to map."""
    layer = spec.layers[0]
    return LstmProblem(
        network_of(layer.input, "x"),
        network_of(layer.hidden, "h"),
        layer.hidden_size,
        classes=spec.head.out_size if spec.head else 0,
    )


@dataclass(frozen=True)
class Places:
    """Where a run's parts lie in external memory, in bytes."""

    sequence: int
    output: int
    size: int

    @classmethod
    def of(cls, weights_bytes: int, sequence_bytes: int, output_bytes: int) -> Places:
        """Return places, each from a page on, for parts of these sizes."""
        sequence = _pages(weights_bytes)
        output = sequence + _pages(sequence_bytes)
        return cls(sequence, output, output + _pages(output_bytes))


@dataclass(frozen=True)
class Compiled:
    """A mapped and quantised model.

    Attributes
    ----------
    fracs : fractional bits of every tensor and result.
    image : the weights as they lie in external memory at BASE0.
    """

    spec: ModelSpec
    mapping: LstmMapping
    fracs: Mapping[str, int]
    image: bytes

    @property
    def arch(self) -> Architecture:
        """The machine."""
        return self.mapping.arch

    @cached_property
    def programs(self) -> Programs:
        """The two programs."""
        return self.mapping.emit(self.fracs)

    def places(self, n_steps: int) -> Places:
        """Return where sequence and answer lie for sequences of up to `n_steps`."""
        return Places.of(
            len(self.image), self.mapping.sequence_bytes(n_steps), self.mapping.output_bytes
        )

    def host(self, n_steps: int, places: Places) -> Host:
        """Return the host registers for a run of `n_steps`."""
        return self.mapping.host(n_steps, 0, places.sequence, places.output)

    def memory(self, n_steps: int) -> Memory:
        """Return a machine after power-up, the weights in external memory, not yet set up."""
        memory = Memory.empty(self.arch, self.places(n_steps).size)
        memory.external[: len(self.image)] = self.image
        return memory

    def quantise_sequence(self, sequence: ArrayLike) -> Ints:
        """Return a real sequence [n_steps, input_size] as the machine's integers."""
        return quantise(sequence, self.fracs["x"], self.arch.data_bits)

    def put_sequence(self, memory: Memory, steps: Ints, places: Places) -> None:
        """Write a sequence of integers into external memory."""
        data = self.mapping.pack_sequence(steps)
        memory.external[places.sequence : places.sequence + len(data)] = data

    def answer(self, memory: Memory, places: Places) -> Ints:
        """Return the logits (without a head: the last h) that a run left."""
        end = places.output + self.mapping.output_bytes
        return self.mapping.unpack(memory.external[places.output : end])

    def real_answer(self, values: Ints) -> NDArray[np.float64]:
        """Return logits (or h) as real numbers."""
        return dequantise(values, self.fracs["logits" if self.spec.head else "h"])

    def evaluate(
        self, sequences: Sequence[ArrayLike], progress: Callable[[], None] = lambda: None
    ) -> list[Ints]:
        """Return the answers to real sequences by the reference; `progress` after each."""
        quantised = [self.quantise_sequence(s) for s in sequences]
        longest = max(len(s) for s in quantised)
        places, memory = self.places(longest), self.memory(longest)
        reference.run(self.programs.setup, self.arch, memory, self.host(0, places))
        answers = []
        for steps in quantised:
            self.put_sequence(memory, steps, places)
            reference.run(self.programs.run, self.arch, memory, self.host(len(steps), places))
            answers.append(self.answer(memory, places))
            progress()
        return answers


def _pages(n_bytes: int) -> int:
    return -(-n_bytes // PAGE_BYTES) * PAGE_BYTES


def map_model(spec: ModelSpec, arch: Architecture) -> LstmMapping:
    """Search the quickest mapping of a model. Raises MappingError, which names the model."""
    try:
        return map_lstm(problem_of(spec), arch)
    except MappingError as error:
        raise MappingError(f"{_on(spec, arch)}: {error}") from None


def compile_model(model: Model, arch: Architecture, calibration: Sequence[ArrayLike]) -> Compiled:
    """Map a model, choose its scales over calibration sequences, and quantise its weights.

    Raises MappingError when the machine is too small or there are no scales, ProgramError when the
    program breaks a rule.
    """
    return quantise_model(model, map_model(model.spec, arch), calibration)


def quantise_model(
    model: Model, mapping: LstmMapping, calibration: Sequence[ArrayLike]
) -> Compiled:
    """Choose the scales of a mapped model over calibration sequences, and quantise its weights."""
    arch = mapping.arch
    seen = calibrate.observe(model, mapping, calibration)
    try:
        fracs = calibrate.choose_fracs(mapping, seen, arch)
        arrays = {
            name: quantise(values, fracs[name], arch.data_bits)
            for name, values in calibrate.weights(model, mapping).items()
        }
        compiled = Compiled(model.spec, mapping, fracs, mapping.pack_weights(arrays))
        places = compiled.places(check.DEFAULT_ARGUMENT)
        for program in (compiled.programs.setup, compiled.programs.run):
            check.require(program, arch, compiled.host(check.DEFAULT_ARGUMENT, places))
    except (MappingError, ProgramError) as error:
        raise type(error)(f"{_on(model.spec, arch)}: {error}") from None
    return compiled


def _on(spec: ModelSpec, arch: Architecture) -> str:
    return f"{spec.name} on {arch.name}, {arch.data_bits} bit"
