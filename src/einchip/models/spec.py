"""What a model file describes: a recurrent network whose weights are tensor networks.

The classes hold sizes and formats only; weights live beside them (`einchip.models.io`). All are
frozen, and an unknown field is an error.

A model is a chain of stages, run once per time step: an embedding, linear layers, recurrent layers.
Linear layers behind the last recurrent one run once, on its last state, where `output` is "last".

Row order of a gate matrix: row ``g * hidden_size + u`` belongs to gate ``g`` of unit ``u``. Rows are
numbered row-major over `out_modes`, the first mode slowest.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_TENSOR_ELEMENTS: Final = 2**28
"""Largest tensor a model may hold: 1 GiB as float32."""

Size = Annotated[int, Field(strict=True, gt=0, le=2**24)]
Modes = Annotated[tuple[Size, ...], Field(max_length=16)]
Format = Literal[
    "dense", "lowrank", "mpo", "mps", "ht", "tr", "bt", "tucker", "cp", "kronecker", "einsum"
]
#: A dimension tree of hierarchical Tucker: a leaf is the number k of a pair (input mode k, output
#: mode k), or one mode by name ("I0", "O2"); an inner node is a pair of trees.
Tree = Annotated[int, Field(strict=True, ge=0)] | str | tuple["Tree", "Tree"]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HtRanks(_Spec):
    """Ranks of hierarchical Tucker: of leaves and of inner nodes, one for all or one for each.

    Leaves are listed from left to right, inner nodes (without the root) in post-order.
    """

    leaf: Size | tuple[Size, ...]
    inner: Size | tuple[Size, ...] = 1
    root: Literal[1] = 1


class BtRanks(_Spec):
    """Ranks of a block-term decomposition: Tucker ranks, one per mode pair, and blocks."""

    tucker: tuple[Size, ...]
    blocks: Size


class MatrixSpec(_Spec):
    """Format of one weight matrix ``W[out, in]``, its modes and its ranks.

    `docs/formats.md` has formula, source and ranks of every format. `gates` is "joint" (one network
    for all gates; rows are gate-slowest, or, with `gate_mode` k > 0, the gate is the slowest part
    of output mode k) or "separate" (one network per gate, all of the same ranks: every tensor has
    the gate as its first axis). `tensors`, `sizes`, `inputs` and `outputs` are for format "einsum".
    """

    format: Format
    in_modes: Modes = ()
    out_modes: Modes = ()
    ranks: Size | tuple[Size, ...] | HtRanks | BtRanks = ()
    tree: Tree | None = None
    gates: Literal["joint", "separate"] = "joint"
    gate_mode: Annotated[int, Field(strict=True, ge=0, lt=16)] = 0
    tensors: dict[str, tuple[str, ...]] | None = None
    sizes: dict[str, Size] | None = None
    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None

    @property
    def in_size(self) -> int:
        """Number of columns of the matrix."""
        return prod(self.in_modes)

    @property
    def out_size(self) -> int:
        """Number of rows of the matrix; of one gate, where gates are separate."""
        return prod(self.out_modes)


Cell = Literal["lstm", "gru", "rnn"]
#: Gates of each cell, in the order of rows in its matrices and biases.
GATE_ORDER: Final[dict[str, str]] = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}


class RecurrentSpec(_Spec):
    """One recurrent layer: gates = W_input x + W_hidden h + bias.

    * lstm: ``c' = s(f) c + s(i) tanh(g)``, ``h' = s(o) tanh(c')``; with `peepholes`, ``p_i c`` and
      ``p_f c`` are added to i and f, ``p_o c'`` to o.
    * gru: ``h' = (1 - s(z)) n + s(z) h`` with ``n = tanh(W_n x + b_n + s(r) (U_n h + d_n))`` (`reset`
      "after", PyTorch and cuDNN) or ``n = tanh(W_n x + b_n + U_n (s(r) h))`` ("before").
    * rnn: ``h' = activation(W x + U h + b)``.

    `joint` stands for `input` and `hidden` together: one matrix over [x; h]; `input_size` must be a
    multiple of the product of its input modes but the first. With `bidirectional`, two layers of
    the same formats read the sequence in both directions; the output is [h_forward; h_reverse].
    """

    kind: Literal["recurrent"] = "recurrent"
    cell: Cell = "lstm"
    input_size: Size
    hidden_size: Size
    gate_order: str = ""
    peepholes: bool = False
    reset: Literal["after", "before"] = "after"
    activation: Literal["tanh", "relu"] = "tanh"
    bidirectional: bool = False
    input: MatrixSpec | None = None
    hidden: MatrixSpec | None = None
    joint: MatrixSpec | None = None

    @property
    def n_gates(self) -> int:
        """Gates of the cell."""
        return len(GATE_ORDER[self.cell])

    @property
    def out_size(self) -> int:
        """Elements of the layer's output in one time step."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def directions(self) -> tuple[str, ...]:
        """Name parts of the directions: "" and, with `bidirectional`, "reverse."."""
        return ("", "reverse.") if self.bidirectional else ("",)


class LinearSpec(_Spec):
    """A linear layer ``y = activation(W x + b)``."""

    kind: Literal["linear"] = "linear"
    input_size: Size
    out_size: Size
    weight: MatrixSpec
    bias: bool = True
    activation: Literal["none", "sigmoid", "tanh", "relu"] = "none"


class EmbeddingSpec(_Spec):
    """A lookup in front of a model: column `token` of ``weight[out_size, >= vocabulary]``.

    The token's digits over `weight.in_modes`, the first mode slowest, select a slice of every core.
    """

    vocabulary: Size
    out_size: Size
    weight: MatrixSpec


LayerSpec = Annotated[RecurrentSpec | LinearSpec, Field(discriminator="kind")]


class ModelSpec(_Spec):
    """A whole model.

    `output` "last": the last recurrent layer's final state (both directions' final states, the
    forward one first), through the linear layers behind it. "sequence": the same of every step.
    """

    version: Literal[2] = 2
    name: Annotated[str, Field(min_length=1, max_length=200)]
    embedding: EmbeddingSpec | None = None
    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1, max_length=64)]
    output: Literal["last", "sequence"] = "last"

    @model_validator(mode="after")
    def _check(self) -> Self:
        return self
