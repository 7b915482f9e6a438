"""What a model file describes: a recurrent network whose weights are tensor networks.

The classes hold sizes and formats only; weights live beside them (`einchip.models.io`). All are
frozen, and an unknown field is an error.

A model is a chain of stages, run once per time step: an embedding, linear layers, recurrent layers.
Linear layers behind the last recurrent one run once, on its last state, where `output` is "last".

Row order of a gate matrix: row ``g * hidden_size + u`` belongs to gate ``g`` of unit ``u``. Rows
are numbered row-major over `out_modes`, the first mode slowest.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from einchip.models.formats import core_shapes, n_weights
from einchip.models.ranks import ONE_RANK, check_fields, check_matrix, refuse

#: Largest tensor that a model may hold, and largest sum of all: 256 and 512 MiB as float32.
MAX_TENSOR_ELEMENTS: Final = 2**26
MAX_MODEL_ELEMENTS: Final = 2**27
MAX_TREE_DEPTH: Final = 32

Size = Annotated[int, Field(strict=True, gt=0, le=2**24)]
Flag = Annotated[bool, Field(strict=True)]
Modes = Annotated[tuple[Size, ...], Field(max_length=16)]
Indices = Annotated[tuple[str, ...], Field(max_length=32)]
EndIndices = Annotated[tuple[str, ...], Field(max_length=16)]
Format = Literal[
    "dense", "lowrank", "mpo", "mps", "ht", "tr", "bt", "tucker", "cp", "kronecker", "einsum"
]
#: A dimension tree of hierarchical Tucker: a leaf is the number k of a pair (input mode k, output
#: mode k), or one mode by name ("I0", "O2"); an inner node is a pair of trees.
Tree = int | str | tuple[Any, Any]


def _tree(value: object, depth: int = 0) -> object:
    """Return a tree of tuples, or say what is no tree.

    A tree cannot be large: files hold no references, and the depth is bounded.
    """
    if isinstance(value, list | tuple) and len(value) == 2 and depth < MAX_TREE_DEPTH:
        return tuple(_tree(child, depth + 1) for child in value)
    leaf = isinstance(value, str) or (type(value) is int and value >= 0)
    if leaf or (value is None and not depth):
        return value
    found = "a tree deeper than 32" if depth >= MAX_TREE_DEPTH else f"a {type(value).__name__}"
    raise refuse(found, "a pair number, a mode name or a list of two trees", "correct the tree")


def _rank_kind(value: object) -> str:
    """Return the tag of a `ranks` entry, by the form in which it is written."""
    if isinstance(value, list | tuple):
        return "<list>"
    if isinstance(value, dict):
        return "<ht>" if "leaf" in value or "inner" in value else "<bt>"
    return {"HtRanks": "<ht>", "BtRanks": "<bt>"}.get(type(value).__name__, "<rank>")


Rank = Annotated[Size, Tag("<rank>")]
RankList = Annotated[tuple[Size, ...], Field(max_length=64), Tag("<list>")]
RankOrList = Annotated[Rank | RankList, Discriminator(_rank_kind)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HtRanks(_Spec):
    """Ranks of hierarchical Tucker: of leaves and of inner nodes, one for all or one for each.

    Leaves are listed from left to right, inner nodes (without the root) in post-order.
    """

    leaf: RankOrList
    inner: RankOrList = 1
    root: Literal[1] = 1


class BtRanks(_Spec):
    """Ranks of a block-term decomposition: Tucker ranks, one per mode pair, and blocks."""

    tucker: Modes
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
    ranks: Annotated[
        Rank | RankList | Annotated[HtRanks, Tag("<ht>")] | Annotated[BtRanks, Tag("<bt>")],
        Discriminator(_rank_kind),
    ] = ()
    tree: Annotated[Tree | None, BeforeValidator(_tree)] = None
    gates: Literal["joint", "separate"] = "joint"
    gate_mode: Annotated[int, Field(strict=True, ge=0, lt=16)] = 0
    tensors: Annotated[dict[str, Indices], Field(max_length=64)] | None = None
    sizes: Annotated[dict[str, Size], Field(max_length=512)] | None = None
    inputs: EndIndices | None = None
    outputs: EndIndices | None = None

    @property
    def in_size(self) -> int:
        """Number of columns of the matrix."""
        return prod(self.in_modes)

    @property
    def out_size(self) -> int:
        """Number of rows of the matrix; of one gate, where gates are separate."""
        return prod(self.out_modes)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_fields(self)
        if self.format == "einsum":
            self._fill_modes()
        self._unlist_rank()
        check_matrix(self)
        return self

    def _unlist_rank(self) -> None:
        """Take a list of one rank for the rank, where a format has one."""
        if self.format in ONE_RANK and isinstance(self.ranks, tuple) and len(self.ranks) == 1:
            object.__setattr__(self, "ranks", self.ranks[0])

    def _fill_modes(self) -> None:
        """Take the modes of an einsum matrix from its sizes."""
        sizes = self.sizes or {}
        for field, ends in (("in_modes", self.inputs), ("out_modes", self.outputs)):
            modes = tuple(sizes[i] for i in ends or ())
            if getattr(self, field) not in ((), modes):
                found = f"{field} {list(getattr(self, field))}"
                raise refuse(found, f"{list(modes)}, the sizes of the indices", f"remove {field}")
            object.__setattr__(self, field, modes)


def fitted(
    matrix: MatrixSpec, n_in: int, n_out: int, n_gates: int, names: tuple[str, str]
) -> MatrixSpec:
    """Return a matrix with its modes filled in, checked to be ``[n_gates * n_out, n_in]``.

    `names` say in messages what `n_in` and `n_out` are.

    Raises:
        ValueError: the modes do not multiply to the sizes, or a tensor is too large.
    """
    if n_gates == 1 and (matrix.gates == "separate" or matrix.gate_mode):
        raise refuse("gates set apart", "gates joint where there is one", "remove gates, gate_mode")
    rows = n_out if matrix.gates == "separate" else n_gates * n_out
    if matrix.format in ("dense", "lowrank") and not matrix.in_modes:
        filled = {"in_modes": (n_in,), "out_modes": (rows,)}
        matrix = matrix.model_copy(update=filled)
        check_matrix(matrix)
    factor = f"{n_gates} * " if rows != n_out else ""
    for field, size, wanted, name in (
        ("in_modes", matrix.in_size, n_in, names[0]),
        ("out_modes", matrix.out_size, rows, factor + names[1]),
    ):
        if size != wanted:
            raise refuse(
                f"{field} {list(getattr(matrix, field))} with product {size}",
                f"product {wanted} ({name})",
                f"change {field} or {name}",
            )
    if matrix.gate_mode and matrix.out_modes[matrix.gate_mode] % n_gates:
        found = f"out_mode {matrix.gate_mode} of size {matrix.out_modes[matrix.gate_mode]}"
        raise refuse(found, f"a multiple of {n_gates}", "put the gate factor into this mode")
    for name, shape in core_shapes(matrix, n_gates).items():
        if prod(shape) > MAX_TENSOR_ELEMENTS:
            found = f"{prod(shape)} elements in tensor {name}"
            advice = "lower modes or ranks, or use a compressed format"
            raise refuse(found, f"at most {MAX_TENSOR_ELEMENTS}", advice)
    return matrix


Cell = Literal["lstm", "gru", "rnn"]
Activation = Literal["none", "sigmoid", "tanh", "relu"]
RnnActivation = Literal["tanh", "relu"]
Reset = Literal["after", "before"]
Output = Literal["last", "sequence"]
#: Gates of each cell, in the order of rows in its matrices and biases.
GATE_ORDER: Final[dict[str, str]] = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}


class RecurrentSpec(_Spec):
    """One recurrent layer: gates = W_input x + W_hidden h + bias.

    * lstm: ``c' = s(f) c + s(i) tanh(g)``, ``h' = s(o) tanh(c')``; with `peepholes`, ``p_i c`` and
      ``p_f c`` are added to i and f, ``p_o c'`` to o.
    * gru: ``h' = (1 - s(z)) n + s(z) h`` with ``n = tanh(W_n x + b_n + s(r) (U_n h + d_n))``
      (`reset` "after", PyTorch and cuDNN) or ``n = tanh(W_n x + b_n + U_n (s(r) h))`` ("before").
    * rnn: ``h' = activation(W x + U h + b)``.

    `joint` stands for `input` and `hidden` together: one matrix over [x; h]; `input_size` must be a
    multiple of the product of its input modes but the first. With `bidirectional`, two layers of
    the same formats read the sequence in both directions; the output is [h_forward; h_reverse].
    """

    kind: Literal["recurrent"] = "recurrent"
    cell: Cell = "lstm"
    input_size: Size
    hidden_size: Size
    gate_order: Annotated[str, Field(validate_default=True)] = ""
    peepholes: Flag = False
    reset: Reset = "after"
    activation: RnnActivation = "tanh"
    bidirectional: Flag = False
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

    @property
    def matrices(self) -> dict[str, MatrixSpec]:
        """The matrices of one direction by their names: input and hidden, or joint."""
        named = {"input": self.input, "hidden": self.hidden, "joint": self.joint}
        return {name: matrix for name, matrix in named.items() if matrix is not None}

    @field_validator("gate_order")
    @classmethod
    def _fill_gate_order(cls, order: str, info: ValidationInfo) -> str:
        if "cell" not in info.data:
            return order
        cell = info.data["cell"]
        if order not in ("", GATE_ORDER[cell]):
            advice = "leave it out, and sort the rows so"
            raise refuse(repr(order)[:40], f"{GATE_ORDER[cell]!r} for cell {cell}", advice)
        return GATE_ORDER[cell]

    @field_validator("input", "hidden", "joint")
    @classmethod
    def _fit(cls, matrix: MatrixSpec | None, info: ValidationInfo) -> MatrixSpec | None:
        known = info.data
        if matrix is None or any(k not in known for k in ("cell", "input_size", "hidden_size")):
            return matrix
        x, h = known["input_size"], known["hidden_size"]
        columns = {
            "input": (x, "input_size"),
            "hidden": (h, "hidden_size"),
            "joint": (x + h, "input_size + hidden_size"),
        }
        n_in, name = columns[info.field_name or ""]
        n_gates = len(GATE_ORDER[known["cell"]])
        matrix = fitted(matrix, n_in, h, n_gates, (name, "hidden_size"))
        rest = prod(matrix.in_modes[1:])
        if info.field_name == "joint" and x % rest:
            advice = "choose modes whose first one can be cut between x and h"
            found = f"input_size {x} with in_modes {list(matrix.in_modes)}"
            raise refuse(found, f"a multiple of {rest}, the product of all but the first", advice)
        return matrix

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sorted(self.matrices) not in (["joint"], ["hidden", "input"]):
            found = " and ".join(self.matrices) or "no matrix"
            raise refuse(found, "input and hidden, or joint", "give the layer these matrices")
        for field, wanted, given in (
            ("peepholes", "lstm", self.peepholes),
            ("reset before", "gru", self.reset == "before"),
            ("activation relu", "rnn", self.activation == "relu"),
        ):
            if given and self.cell != wanted:
                raise refuse(f"{field} in cell {self.cell}", f"cell {wanted}", "remove it")
        return self


class LinearSpec(_Spec):
    """A linear layer ``y = activation(W x + b)``."""

    kind: Literal["linear"] = "linear"
    input_size: Size
    out_size: Size
    weight: MatrixSpec
    bias: Flag = True
    activation: Activation = "none"

    @field_validator("weight")
    @classmethod
    def _fit(cls, matrix: MatrixSpec, info: ValidationInfo) -> MatrixSpec:
        if "input_size" not in info.data or "out_size" not in info.data:
            return matrix
        names = ("input_size", "out_size")
        return fitted(matrix, info.data["input_size"], info.data["out_size"], 1, names)


class EmbeddingSpec(_Spec):
    """A lookup in front of a model: column `token` of ``weight[out_size, >= vocabulary]``.

    The token's digits over `weight.in_modes`, the first mode slowest, select a slice of every core.
    """

    vocabulary: Size
    out_size: Size
    weight: MatrixSpec

    @field_validator("weight")
    @classmethod
    def _fit(cls, matrix: MatrixSpec, info: ValidationInfo) -> MatrixSpec:
        if "vocabulary" not in info.data or "out_size" not in info.data:
            return matrix
        columns = matrix.in_size if matrix.in_modes else info.data["vocabulary"]
        matrix = fitted(matrix, columns, info.data["out_size"], 1, ("vocabulary", "out_size"))
        if columns < info.data["vocabulary"]:
            found = f"in_modes {list(matrix.in_modes)} with product {columns}"
            expected = f"at least {info.data['vocabulary']} (vocabulary)"
            raise refuse(found, expected, "raise a mode")
        return matrix


def _layer_kind(value: object) -> str:
    """Return the tag of a layer; one without a kind is recurrent."""
    kind = value.get("kind", "recurrent") if isinstance(value, dict) else getattr(value, "kind", "")
    return "<linear>" if kind == "linear" else "<recurrent>"


#: Parts of pydantic's error locations that are no fields.
UNION_TAGS: Final = frozenset({"<recurrent>", "<linear>", "<rank>", "<list>", "<ht>", "<bt>"})

FractionalBits = Annotated[int, Field(strict=True, ge=-64, le=64)]
LayerSpec = Annotated[
    Annotated[RecurrentSpec, Tag("<recurrent>")] | Annotated[LinearSpec, Tag("<linear>")],
    Discriminator(_layer_kind),
]


class ModelSpec(_Spec):
    """A whole model.

    `output` "last": the last recurrent layer's final state (both directions' final states, the
    forward one first), through the linear layers behind it. "sequence": the same of every step.
    A quantised model may carry its `scales`, the fractional bits of tensors and wires by name, for
    data of `data_bits` bits; weights are stored in float all the same.
    """

    version: Literal[2] = 2
    name: Annotated[str, Field(min_length=1, max_length=200)]
    embedding: EmbeddingSpec | None = None
    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1, max_length=64)]
    output: Output = "last"
    data_bits: Literal[8, 16] | None = None
    scales: Annotated[dict[str, FractionalBits], Field(max_length=4096)] | None = None

    @property
    def input_size(self) -> int:
        """Values of one time step of the input; 1, a token, where there is an embedding."""
        return self.layers[0].input_size if self.embedding is None else 1

    @property
    def out_size(self) -> int:
        """Elements of the output: of the whole sequence, or of each step."""
        return self.layers[-1].out_size

    @property
    def last_recurrent(self) -> int:
        """Number of the last recurrent layer; -1 where there is none."""
        recurrent = [k for k, layer in enumerate(self.layers) if layer.kind == "recurrent"]
        return max(recurrent, default=-1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        size, source = None, ""
        if self.embedding is not None:
            size, source = self.embedding.out_size, "embedding"
        for k, layer in enumerate(self.layers):
            if size not in (None, layer.input_size):
                error = refuse(layer.input_size, f"{size}, the output of {source}", "change either")
                raise ValueError(f"layers.{k}.input_size: {error}")
            size, source = layer.out_size, f"layers.{k}"
        if (self.scales is None) != (self.data_bits is None):
            error = refuse("one without the other", "both or none", "scales belong to a width")
            raise ValueError(f"data_bits, scales: {error}")
        if self.output == "last" and self.last_recurrent < 0:
            expected = "sequence in a model without recurrent layer"
            raise ValueError(f"output: {refuse('last', expected, 'set output: sequence')}")
        n = sum(n_matrix_weights(self).values())
        if n > MAX_MODEL_ELEMENTS:
            error = refuse(f"{n} weights", f"at most {MAX_MODEL_ELEMENTS}", "compress matrices")
            raise ValueError(f"layers: {error}")
        return self


def model_matrices(spec: ModelSpec) -> dict[str, tuple[MatrixSpec, int]]:
    """Return every matrix of a model, with its number of gates, by the prefix of its tensors.

    ``embedding``, ``layers.K.weight``, ``layers.K.input``, ``layers.K.hidden``,
    ``layers.K.joint``, ``layers.K.reverse.input`` and so on.
    """
    found: dict[str, tuple[MatrixSpec, int]] = {}
    if spec.embedding is not None:
        found["embedding"] = (spec.embedding.weight, 1)
    for k, layer in enumerate(spec.layers):
        if isinstance(layer, LinearSpec):
            found[f"layers.{k}.weight"] = (layer.weight, 1)
            continue
        for direction in layer.directions:
            for name, matrix in layer.matrices.items():
                found[f"layers.{k}.{direction}{name}"] = (matrix, layer.n_gates)
    return found


def n_matrix_weights(spec: ModelSpec) -> dict[str, int]:
    """Return the weights of every matrix of a model, biases not counted."""
    return {name: n_weights(*entry) for name, entry in model_matrices(spec).items()}


def tensor_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor that a model holds, in order.

    The tensors of its matrices (`model_matrices`), and ``layers.K.bias``, gate slowest:
    [gates * hidden_size], or [out_size] of a linear layer; for a GRU with reset "after"
    ``layers.K.bias_hidden`` of the same shape; with peepholes ``layers.K.peepholes``
    [3, hidden_size] (i, f, o). In a second direction they are ``layers.K.reverse.bias`` and so on.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for prefix, entry in model_matrices(spec).items():
        shapes |= {f"{prefix}.{name}": shape for name, shape in core_shapes(*entry).items()}
    for k, layer in enumerate(spec.layers):
        if isinstance(layer, LinearSpec):
            shapes |= {f"layers.{k}.bias": (layer.out_size,)} if layer.bias else {}
            continue
        for direction in layer.directions:
            prefix, n = f"layers.{k}.{direction}", layer.n_gates * layer.hidden_size
            shapes[f"{prefix}bias"] = (n,)
            if layer.cell == "gru" and layer.reset == "after":
                shapes[f"{prefix}bias_hidden"] = (n,)
            if layer.peepholes:
                shapes[f"{prefix}peepholes"] = (3, layer.hidden_size)
    return shapes
