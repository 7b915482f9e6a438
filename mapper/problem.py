"""What the mapper is asked: a chain of stages, each of tensor networks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

from einchip.network import Network
from einchip.program import Act

#: The index of sequences side by side.
BATCH = "@batch"
#: Most sequences side by side.
MAX_BATCH = 64


class CellKind(Enum):
    """A recurrent cell. Gates, in order: LSTM i, f, g, o; GRU r, z, n; RNN h."""

    LSTM = "lstm"
    PEEPHOLE = "peephole"
    GRU = "gru"  # the reset gate acts after the recurrent matrix
    GRU_BEFORE = "gru_before"  # and before it
    RNN_TANH = "rnn_tanh"
    RNN_RELU = "rnn_relu"

    @property
    def n_gates(self) -> int:
        """Gates of the cell."""
        return {"lstm": 4, "peephole": 4, "gru": 3, "gru_before": 3}.get(self.value, 1)


@dataclass(frozen=True)
class Linear:
    """y = act(network + bias).

    Names: `<name>.<tensor>`, `<name>.bias`, results `<name>.t1` .., `<name>.y`.
    `operands` are the network's tensors that are data: one, or the one-hot digits of an embedding
    (which only the first stage may have). An operand's elements, row-major over its indices, are
    the flat input vector; the network's output, row-major, the flat output.
    """

    name: str
    network: Network
    operands: tuple[str, ...] = ("x",)
    bias: bool = True
    act: Act = Act.NONE

    @property
    def matrices(self) -> tuple[tuple[Network, str], ...]:
        """The network and its first operand."""
        return ((self.network, self.operands[0]),)


@dataclass(frozen=True)
class Direction:
    """The two matrices of a recurrent layer; their data tensors are `x` and `h`.

    Outputs, row-major, are the gates, gate slowest. Where the first output index has the size
    n_gates of a cell with more than one gate, it is the gate; else gates are equal parts of the
    flat vector.
    """

    inputs: Network
    hidden: Network


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer in one direction, or in two that read the sequence both ways.

    Names, with `<d>` = `<name>` for the first and `<name>.reverse` for the second direction:
    `<d>.x`, `<d>.h`, `<d>.cell` (the wide state), `<d>.input.<tensor>`, `<d>.hidden.<tensor>`,
    `<d>.bias` (all gates), for GRU `<d>.bias_hidden` (all gates), for PEEPHOLE `<d>.peepholes`
    [3, hidden_size]; results `<d>.input.t1` .., `<d>.gates_input`, `<d>.hidden.t1` .., `<d>.gates`;
    for GRU_BEFORE `<d>.reset` (s(r) h), `<d>.candidate.<tensor>` (the recurrent weights of n),
    `<d>.candidate.t1` .., `<d>.candidate`. Where its gate is no factor of the first output mode,
    the candidate is computed with all recurrent weights, under their own names.
    """

    name: str
    cell: CellKind
    hidden_size: int
    directions: tuple[Direction, ...]

    @property
    def direction_names(self) -> tuple[str, ...]:
        """The prefix of each direction's names."""
        return (self.name, f"{self.name}.reverse")[: len(self.directions)]

    @property
    def matrices(self) -> tuple[tuple[Network, str], ...]:
        """The networks of all directions, each with its operand."""
        return tuple(m for d in self.directions for m in ((d.inputs, "x"), (d.hidden, "h")))


Stage = Linear | Recurrent


@dataclass(frozen=True)
class ModelProblem:
    """A model: stages in order, and whether the last state or every step is wanted.

    With `output` "last" the stages behind the last recurrent one run once, on its final states.
    `batch` independent sequences of equal lengths run side by side, 1 to MAX_BATCH. The networks of
    `stages` are those of one sequence. Raises ValueError for another batch.
    """

    stages: tuple[Stage, ...]
    output: Literal["last", "sequence"] = "last"
    batch: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= MAX_BATCH:
            raise ValueError(f"batch: found {self.batch}, expected 1 to {MAX_BATCH}")

    @property
    def batched(self) -> ModelProblem:
        """An equal problem of batch 1: the sequences are one more index of every vector.

        Data, outputs and so hidden units have the index BATCH, the fastest one; weights do not.
        """
        if self.batch == 1:
            return self
        return ModelProblem(tuple(_batched(s, self.batch) for s in self.stages), self.output)

    @property
    def per_step(self) -> tuple[Stage, ...]:
        """The stages that run in every time step."""
        recurrent = [k for k, s in enumerate(self.stages) if isinstance(s, Recurrent)]
        last = recurrent[-1] if recurrent and self.output == "last" else len(self.stages)
        return self.stages[: last + 1]

    @property
    def matrices(self) -> list[tuple[Network, str]]:
        """The networks of one time step of all sequences, each with its data tensor."""
        return [m for stage in self.batched.per_step for m in stage.matrices]


def _batched(stage: Stage, batch: int) -> Stage:
    if isinstance(stage, Linear):
        return replace(stage, network=with_batch(stage.network, stage.operands, batch))
    directions = tuple(
        Direction(with_batch(d.inputs, ("x",), batch), with_batch(d.hidden, ("h",), batch))
        for d in stage.directions
    )
    return replace(stage, hidden_size=stage.hidden_size * batch, directions=directions)


def with_batch(network: Network, data: Collection[str], batch: int) -> Network:
    """Return the network of `batch` inputs side by side: its data and its output have BATCH."""
    tensors = {n: (*t, BATCH) if n in data else t for n, t in network.tensors.items()}
    return Network(tensors, {**network.sizes, BATCH: batch}, (*network.output, BATCH))
