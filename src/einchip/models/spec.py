"""What a model file describes: the shape of a tensor-network-compressed LSTM classifier.

The classes hold sizes and formats only; weights live beside them (`einchip.models.io`). All are
frozen, and an unknown field is an error.

Row order of a gate matrix: row ``g * hidden_size + u`` belongs to gate ``g`` (i, f, g, o = 0..3)
of unit ``u``. Rows are numbered row-major over `out_modes` with the first mode slowest, so the
gate is the slowest part of the first output mode, which must be divisible by 4.
"""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

N_GATES = 4
MAX_TENSOR_ELEMENTS = 2**28
"""Largest tensor a model may hold: 1 GiB as float32."""

Size = Annotated[int, Field(strict=True, gt=0, le=2**24)]
Modes = Annotated[tuple[Size, ...], Field(max_length=16)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MatrixSpec(_Spec):
    """Format of one weight matrix ``W[out, in]``, its modes and its ranks.

    * ``dense``: the matrix itself. The modes may be left out: the layer fills in
      ``out_modes = (4 * hidden_size,)`` and ``in_modes = (input size,)``.
    * ``mpo``: matrix product operator (TT-matrix), one core per pair of input and output mode.
      ``len(ranks) == len(in_modes) + 1``.
    * ``mps``: tensor train over the output modes, then the input modes, one core per mode.
      ``len(ranks) == len(out_modes) + len(in_modes) + 1``.

    Trains are open: the first and the last rank are 1. Ranks are listed from the first core on,
    the boundary ranks included.
    """

    format: Literal["dense", "mpo", "mps"]
    in_modes: Modes = ()
    out_modes: Modes = ()
    ranks: Annotated[tuple[Size, ...], Field(max_length=33)] = ()

    @property
    def in_size(self) -> int:
        """Number of columns of the matrix."""
        return prod(self.in_modes)

    @property
    def out_size(self) -> int:
        """Number of rows of the matrix."""
        return prod(self.out_modes)

    @model_validator(mode="after")
    def _check(self) -> Self:
        n_in, n_out = len(self.in_modes), len(self.out_modes)
        if self.format == "dense":
            if n_in > 1 or n_out > 1:
                raise ValueError(
                    f"found {n_in} in_modes and {n_out} out_modes, expected none for format dense; "
                    "remove in_modes and out_modes"
                )
            if self.ranks:
                raise ValueError(
                    f"found ranks {list(self.ranks)}, expected none for format dense; remove ranks"
                )
            return self
        if not n_in or not n_out:
            raise ValueError(
                f"found {n_in} in_modes and {n_out} out_modes, expected at least one of each; "
                f"list the modes of the {self.format} matrix"
            )
        if self.format == "mpo" and n_in != n_out:
            raise ValueError(
                f"found {n_in} in_modes and {n_out} out_modes, expected equal numbers; "
                "pair every input mode with an output mode (a mode may be 1)"
            )
        n_cores = n_in if self.format == "mpo" else n_out + n_in
        if len(self.ranks) != n_cores + 1:
            raise ValueError(
                f"found {len(self.ranks)} ranks, expected {n_cores + 1} for {n_cores} cores; "
                "list the ranks from the left end to the right end, both included"
            )
        if self.ranks[0] != 1 or self.ranks[-1] != 1:
            raise ValueError(
                f"found ranks with ends {self.ranks[0]} and {self.ranks[-1]}, expected 1 and 1; "
                "set the first and the last rank to 1 (open train)"
            )
        if self.format == "mpo":
            pairs = [i * o for i, o in zip(self.in_modes, self.out_modes, strict=True)]
        else:
            pairs = [*self.out_modes, *self.in_modes]
        for k, size in enumerate(pairs):
            n = self.ranks[k] * size * self.ranks[k + 1]
            if n > MAX_TENSOR_ELEMENTS:
                raise ValueError(
                    f"found {n} elements in core G{k}, expected at most {MAX_TENSOR_ELEMENTS}; "
                    "lower its modes or ranks"
                )
        return self


class LstmSpec(_Spec):
    """One LSTM layer: ``W_x x + W_h h + b``, four gates joint in each matrix."""

    cell: Literal["lstm"] = "lstm"
    input_size: Size
    hidden_size: Size
    gate_order: Literal["ifgo"] = "ifgo"
    input: MatrixSpec
    hidden: MatrixSpec

    @field_validator("input", "hidden", mode="after")
    @classmethod
    def _fits_layer(cls, matrix: MatrixSpec, info: ValidationInfo) -> MatrixSpec:
        columns = "input_size" if info.field_name == "input" else "hidden_size"
        if columns not in info.data or "hidden_size" not in info.data:
            return matrix
        n_in, n_out = info.data[columns], N_GATES * info.data["hidden_size"]
        if matrix.format == "dense":
            if n_in * n_out > MAX_TENSOR_ELEMENTS:
                raise ValueError(
                    f"found {n_in * n_out} elements in the dense matrix, expected at most "
                    f"{MAX_TENSOR_ELEMENTS}; use format mpo or mps"
                )
            in_modes, out_modes = matrix.in_modes or (n_in,), matrix.out_modes or (n_out,)
            matrix = matrix.model_copy(update={"in_modes": in_modes, "out_modes": out_modes})
        if matrix.in_size != n_in:
            raise ValueError(
                f"found in_modes {list(matrix.in_modes)} with product {matrix.in_size}, expected "
                f"product {n_in} ({columns}); change in_modes or {columns}"
            )
        if matrix.out_size != n_out:
            raise ValueError(
                f"found out_modes {list(matrix.out_modes)} with product {matrix.out_size}, "
                f"expected product {n_out} (4 * hidden_size); change out_modes or hidden_size"
            )
        if matrix.out_modes[0] % N_GATES:
            raise ValueError(
                f"found first out_mode {matrix.out_modes[0]}, expected a multiple of 4; "
                "put the gate factor into the first output mode"
            )
        return matrix


class HeadSpec(_Spec):
    """Linear classifier on the last hidden state: ``logits = W h + b``."""

    out_size: Annotated[int, Field(strict=True, gt=0, le=2**16)]


class ModelSpec(_Spec):
    """A whole model: one LSTM layer and, if `head` is given, a linear classifier."""

    version: Literal[1] = 1
    name: Annotated[str, Field(min_length=1, max_length=200)]
    layers: Annotated[tuple[LstmSpec, ...], Field(min_length=1, max_length=1)]
    head: HeadSpec | None = None
