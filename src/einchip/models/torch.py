"""PyTorch modules for every format and cell: to train or fine-tune a model in its format.

`TorchModel` has the parameters of a `Model`, of the same names (its state dict is the model's
tensors), and computes the same in float32. Needs the extra ``train``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np

from einchip.models.extras import missing
from einchip.models.formats import core_shapes, matrix_network
from einchip.models.io import random_model
from einchip.models.model import Model
from einchip.models.spec import EmbeddingSpec, LinearSpec, MatrixSpec, ModelSpec, RecurrentSpec

try:
    import torch
    from torch import Tensor, nn
except ImportError:
    raise missing("torch", "train") from None

#: What a call of PyTorch costs on its own, in multiply-adds that take as long.
CALL_MACS: Final = 200_000
#: Largest matrix that is multiplied out: 64 MiB in float32.
MAX_DENSE_ELEMENTS: Final = 2**24

Step = tuple[int, int, list[int], list[int], list[int]]


class Plan:
    """The order in which `torch` contracts a network, pair by pair, and what it costs.

    Attributes:
        steps: positions of the two operands (taken out; the result goes to the end), and the
            indices of both and of the result as numbers for `torch.einsum`.
        macs: multiply-adds of all steps.
    """

    def __init__(
        self, terms: list[tuple[str, ...]], output: tuple[str, ...], sizes: Mapping[str, int]
    ) -> None:
        self.output = output
        self.macs = 0
        self.steps: list[Step] = []
        left = [self._useful(k, terms) for k in range(len(terms))]
        while len(left) > 1:
            i, j = self._next(left, sizes)
            new = self._result(left, i, j)
            self.macs += prod(sizes[x] for x in {*left[i], *left[j]})
            number = {x: k for k, x in enumerate(dict.fromkeys((*left[i], *left[j])))}
            a, b, c = ([number[x] for x in t] for t in (left[i], left[j], new))
            self.steps.append((i, j, a, b, c))
            left = [t for k, t in enumerate(left) if k not in (i, j)] + [new]
        useful = [self._useful(k, terms) for k in range(len(terms))]
        self.summed = [
            tuple(k for k, x in enumerate(term) if x not in kept)
            for term, kept in zip(terms, useful, strict=True)
        ]
        self.order = [left[0].index(x) for x in output]

    def run(self, operands: list[Tensor]) -> Tensor:
        """Return the contraction of operands over their `terms`."""
        left = [t.sum(s) if s else t for t, s in zip(operands, self.summed, strict=True)]
        for i, j, a, b, c in self.steps:
            new = torch.einsum(left[i], a, left[j], b, c)
            left = [t for k, t in enumerate(left) if k not in (i, j)] + [new]
        return left[0].permute(self.order)

    def _useful(self, k: int, terms: list[tuple[str, ...]]) -> tuple[str, ...]:
        """Return the indices of a term that anybody else, or the output, holds."""
        others = {x for n, t in enumerate(terms) if n != k for x in t}
        return tuple(x for x in terms[k] if x in others or x in self.output)

    def _result(self, left: list[tuple[str, ...]], i: int, j: int) -> tuple[str, ...]:
        kept = {x for k, t in enumerate(left) if k not in (i, j) for x in t} | {*self.output}
        return tuple(x for x in dict.fromkeys((*left[i], *left[j])) if x in kept)

    def _next(self, left: list[tuple[str, ...]], sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return the connected pair that makes the memory grow least, at least work for that."""

        def size(indices: Any) -> int:
            return prod(sizes[x] for x in indices)

        def cost(pair: tuple[int, int]) -> tuple[bool, int, int]:
            a, b = left[pair[0]], left[pair[1]]
            growth = size(self._result(left, *pair)) - size(a) - size(b)
            return not {*a} & {*b}, growth, size({*a, *b})

        n = len(left)
        return min(((i, j) for i in range(n) for j in range(i + 1, n)), key=cost)


class Matrix(nn.Module):
    """A weight matrix ``W[rows, columns]`` in its format; its parameters are its tensors."""

    def __init__(self, spec: MatrixSpec, n_gates: int = 1) -> None:
        super().__init__()
        self.spec = spec
        self.network = matrix_network(spec, n_gates)
        for name, shape in core_shapes(spec, n_gates).items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        self.out_size = prod(self.network.sizes[o] for o in self.network.outputs)
        terms = list(self.network.tensors.values())
        ends = (*self.network.outputs, *self.network.inputs)
        self._to_dense = Plan(terms, ends, self.network.sizes)
        self._plans: dict[int, Plan] = {}

    def tensors(self) -> list[Tensor]:
        """Return the parameters in the network's order."""
        return [self.get_parameter(name) for name in self.network.tensors]

    def dense(self) -> Tensor:
        """Return the matrix ``[rows, columns]``."""
        return self._to_dense.run(self.tensors()).reshape(self.out_size, self.spec.in_size)

    def operator(self, n_rows: int, n_calls: int = 1) -> Operator:
        """Return W to be applied in `n_calls` calls to `n_rows` vectors in all.

        In full where that is the cheaper way, else core by core.
        """
        rows = max(1, n_rows // n_calls)
        elements = self.out_size * self.spec.in_size
        in_full = self._to_dense.macs + n_rows * elements
        in_full += (len(self.network.tensors) + n_calls) * CALL_MACS
        by_core = n_calls * (self._plan(rows).macs + len(self.network.tensors) * CALL_MACS)
        if elements <= MAX_DENSE_ELEMENTS and in_full <= by_core:
            return Operator(self, self.dense())
        return Operator(self, None)

    def forward(self, rows: Tensor) -> Tensor:
        """Return ``rows W^T``: ``[n, columns] -> [n, rows]``."""
        return self.operator(len(rows))(rows)

    def contract(self, rows: Tensor) -> Tensor:
        """The same, core by core."""
        x = rows.reshape(len(rows), *self.spec.in_modes)
        found = self._plan(len(rows)).run([x, *self.tensors()])
        return found.reshape(len(rows), self.out_size)

    def look_up(self, tokens: Tensor) -> Tensor:
        """Return columns of W: ``[n] -> [n, rows]``."""
        elements = self.out_size * self.spec.in_size
        if elements <= MAX_DENSE_ELEMENTS and self._to_dense.macs <= len(tokens) * elements:
            return self.dense().T[tokens]
        digits = torch.unravel_index(tokens, self.spec.in_modes)
        hot = [
            nn.functional.one_hot(d, n).to(torch.get_default_dtype())
            for d, n in zip(digits, self.spec.in_modes, strict=True)
        ]
        terms = [("row", i) for i in self.network.inputs] + list(self.network.tensors.values())
        sizes = self.network.sizes | {"row": len(tokens)}
        plan = Plan(terms, ("row", *self.network.outputs), sizes)
        return plan.run([*hot, *self.tensors()]).reshape(len(tokens), self.out_size)

    def _plan(self, n_rows: int) -> Plan:
        """Return the order for so many rows, computed once for each power of two."""
        size = 1 << max(0, n_rows - 1).bit_length()
        if size not in self._plans:
            terms = [("row", *self.network.inputs), *self.network.tensors.values()]
            sizes = self.network.sizes | {"row": size}
            self._plans[size] = Plan(terms, ("row", *self.network.outputs), sizes)
        return self._plans[size]


class Operator:
    """A matrix as it is applied: in full (`dense`), or core by core."""

    def __init__(self, matrix: Matrix, dense: Tensor | None, columns: slice | None = None) -> None:
        self.matrix, self.columns = matrix, columns
        self.dense = dense if dense is None or columns is None else dense[:, columns]

    def part(self, start: int, stop: int) -> Operator:
        """Return the operator of some columns."""
        return Operator(self.matrix, self.dense, slice(start, stop))

    def __call__(self, rows: Tensor) -> Tensor:
        if self.dense is not None:
            return rows @ self.dense.T
        if self.columns is not None:
            behind = self.matrix.spec.in_size - self.columns.stop
            rows = nn.functional.pad(rows, (self.columns.start, behind))
        return self.matrix.contract(rows)


class Embedding(Matrix):
    """A lookup of tokens ``[batch, n_steps]``."""

    def __init__(self, spec: EmbeddingSpec) -> None:
        super().__init__(spec.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors ``[batch, n_steps, out_size]``."""
        return self.look_up(tokens.reshape(-1)).reshape(*tokens.shape, self.out_size)


_ACTIVATIONS: Final = {
    "none": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}


class Linear(nn.Module):
    """A linear layer on the last axis."""

    def __init__(self, spec: LinearSpec) -> None:
        super().__init__()
        self.spec = spec
        self.weight = Matrix(spec.weight)
        self.bias = nn.Parameter(torch.zeros(spec.out_size)) if spec.bias else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.weight(x.reshape(-1, self.spec.input_size))
        y = y if self.bias is None else y + self.bias
        return _ACTIVATIONS[self.spec.activation](y).reshape(*x.shape[:-1], -1)


class Direction(nn.Module):
    """A recurrent layer in one direction; what its cell computes is said at `RecurrentSpec`."""

    input: Matrix
    hidden: Matrix
    joint: Matrix

    def __init__(self, spec: RecurrentSpec) -> None:
        super().__init__()
        self.spec = spec
        for name, matrix in spec.matrices.items():
            self.add_module(name, Matrix(matrix, spec.n_gates))
        n = spec.n_gates * spec.hidden_size
        self.bias = nn.Parameter(torch.zeros(n))
        if spec.cell == "gru" and spec.reset == "after":
            self.bias_hidden = nn.Parameter(torch.zeros(n))
        if spec.peepholes:
            self.peepholes = nn.Parameter(torch.zeros(3, spec.hidden_size))

    def run(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return h of every step ``[batch, n_steps, hidden_size]`` and of each sequence's end.

        What h is behind a sequence's end means nothing.
        """
        batch, n_steps, _ = x.shape
        of_x, of_h = self._operators(batch, n_steps)
        if of_x.dense is not None and of_h.dense is not None and self._is_native:
            states = self._native(x, of_x.dense, of_h.dense)
        else:
            states = self._unrolled(x, of_x, of_h)
        last = (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])
        return states, states.gather(1, last)[:, 0]

    def _unrolled(self, x: Tensor, of_x: Operator, of_h: Operator) -> Tensor:
        """Return h of every step, one after the other."""
        batch, n_steps, _ = x.shape
        gates = of_x(x.reshape(batch * n_steps, -1)) + self.bias
        gates = gates.reshape(batch, n_steps, -1)
        h = cell = x.new_zeros(batch, self.spec.hidden_size)
        states = []
        for t in range(n_steps):
            h, cell = self._step(gates[:, t], of_h, h, cell)
            states.append(h)
        return torch.stack(states, dim=1)

    @property
    def _is_native(self) -> bool:
        """Whether PyTorch has this cell, of the same gate order, as one fast function."""
        before = self.spec.cell == "gru" and self.spec.reset == "before"
        return not (self.spec.peepholes or before)

    def _native(self, x: Tensor, w_input: Tensor, w_hidden: Tensor) -> Tensor:
        """Return h of every step, by PyTorch's own recurrence over dense matrices."""
        zero = x.new_zeros(1, x.shape[0], self.spec.hidden_size)
        after = self.spec.cell == "gru"
        bias_hidden = self.bias_hidden if after else torch.zeros_like(self.bias)
        weights = [w_input, w_hidden, self.bias, bias_hidden]
        options = (True, 1, 0.0, self.training, False, True)
        if self.spec.cell == "lstm":
            return torch.lstm(x, (zero, zero), weights, *options)[0]
        if after:
            return torch.gru(x, zero, weights, *options)[0]
        rnn = torch.rnn_relu if self.spec.activation == "relu" else torch.rnn_tanh
        return rnn(x, zero, weights, *options)[0]

    def _operators(self, batch: int, n_steps: int) -> tuple[Operator, Operator]:
        """Return W_input and W_hidden for so many sequences and steps."""
        n_rows = batch * n_steps
        if self.spec.joint is None:
            of_x = self.input.operator(n_rows)
            return of_x, self.hidden.operator(n_rows, n_steps)
        whole = self.joint.operator(2 * n_rows, n_steps + 1)
        x, h = self.spec.input_size, self.spec.hidden_size
        return whole.part(0, x), whole.part(x, x + h)

    def _step(
        self, gates: Tensor, of_h: Operator, h: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return (h', cell') of one step; `gates` is ``W_input x + bias``."""
        if self.spec.cell == "rnn":
            new = _ACTIVATIONS[self.spec.activation](gates + of_h(h))
            return new, new
        if self.spec.cell == "lstm":
            return self._lstm(gates + of_h(h), cell)
        r_x, z_x, n_x = gates.chunk(3, dim=1)
        if self.spec.reset == "after":
            r_h, z_h, n_h = (of_h(h) + self.bias_hidden).chunk(3, dim=1)
            n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
        else:
            r_h, z_h, _ = of_h(h).chunk(3, dim=1)
            n = torch.tanh(n_x + of_h(torch.sigmoid(r_x + r_h) * h).chunk(3, dim=1)[2])
        z = torch.sigmoid(z_x + z_h)
        new = (1 - z) * n + z * h
        return new, new

    def _lstm(self, gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = gates.chunk(4, dim=1)
        if self.spec.peepholes:
            i, f = i + self.peepholes[0] * c, f + self.peepholes[1] * c
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        if self.spec.peepholes:
            o = o + self.peepholes[2] * c
        return torch.sigmoid(o) * torch.tanh(c), c


class Recurrent(Direction):
    """A recurrent layer; of a bidirectional one this is the forward direction too."""

    def __init__(self, spec: RecurrentSpec) -> None:
        super().__init__(spec)
        self.reverse = Direction(spec) if spec.bidirectional else None

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return h of every step ``[batch, n_steps, out_size]`` and of each sequence's end."""
        steps, last = self.run(x, lengths)
        if self.reverse is None:
            return steps, last
        order = _reversal(lengths, x.shape[1])
        back, first = self.reverse.run(_picked(x, order), lengths)
        both = torch.cat([steps, _picked(back, order)], dim=2)
        return both, torch.cat([last, first], dim=1)


def _reversal(lengths: Tensor, n_steps: int) -> Tensor:
    """Return ``[batch, n_steps]``: the step to read, each sequence from its end to its start."""
    t = torch.arange(n_steps)[None, :]
    return torch.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)


def _picked(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order[:, :, None].expand(-1, -1, x.shape[2]))


class TorchModel(nn.Module):
    """A whole model for training; parameters start as `random_model` of seed 0.

    `forward` takes ``x[batch, n_steps, input_size]`` (tokens ``[batch, n_steps]`` with an
    embedding) and the number of steps of each sequence (all of them, where it is left out), and
    returns ``[batch, n_out]`` with output "last", ``[batch, n_steps, n_out]`` with "sequence";
    what lies behind a sequence's end means nothing. `dropout` acts on the last state in training.
    """

    def __init__(self, spec: ModelSpec, dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = spec
        self.dropout = nn.Dropout(dropout)
        self.embedding = None if spec.embedding is None else Embedding(spec.embedding)
        self.layers = nn.ModuleList(
            Linear(layer) if isinstance(layer, LinearSpec) else Recurrent(layer)
            for layer in spec.layers
        )
        self.load(random_model(spec, 0).tensors)

    @classmethod
    def from_model(cls, model: Model, dropout: float = 0.0) -> TorchModel:
        """Return the modules of a model, with its weights."""
        module = cls(model.spec, dropout)
        module.load(model.tensors)
        return module

    def load(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over the tensors of a model."""
        state = {n: torch.from_numpy(np.array(t, dtype=np.float32)) for n, t in tensors.items()}
        self.load_state_dict(state)

    def to_model(self) -> Model:
        """Return the model with today's weights. Raises ModelError for NaN or infinity."""
        state = self.state_dict()
        return Model(
            self.spec, {name: t.detach().cpu().numpy().copy() for name, t in state.items()}
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            lengths = torch.full((x.shape[0],), x.shape[1])
        if self.embedding is not None:
            x = self.embedding(x)
        for k, layer in enumerate(self.layers):
            if isinstance(layer, Linear):
                x = layer(x)
                continue
            steps, last = layer(x, lengths)
            ends = k == self.spec.last_recurrent
            x = last if ends and self.spec.output == "last" else steps
            x = self.dropout(x) if ends else x
        return x
