"""Runs an ONNX graph on numbered elements (`onnx_signals`) and collects its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final

import numpy as np

from einchip.models.errors import ModelError, model_error
from einchip.models.importers import onnx_networks
from einchip.models.importers.onnx_cells import INPUTS, CellNode, read_cell, zero
from einchip.models.importers.onnx_file import FLOAT_TYPES, Graph, Node
from einchip.models.importers.onnx_moves import (
    FOLDS,
    MOVES,
    Operand,
    UnfitError,
    bounded,
    equation,
    integer,
)
from einchip.models.importers.onnx_signals import (
    FORWARD,
    REVERSE,
    Ids,
    Signal,
    Signals,
    Vectors,
)
from einchip.models.importers.stages import (
    Array,
    Embedding,
    Float32,
    Linear,
    Recurrent,
    dense,
    float32,
)
from einchip.models.spec import Activation

ACTIVATIONS: Final[dict[str, Activation]] = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu"}
#: Most elements that all tensors of a trace may have: 512 MiB.
MAX_TRACE_ELEMENTS: Final = 2**26
#: The method of each operator that makes a layer.
LAYERS: Final = {
    **dict.fromkeys(INPUTS, "_recurrent"),
    **dict.fromkeys(ACTIVATIONS, "_activation"),
    "MatMul": "_matmul",
    "Gemm": "_gemm",
    "Einsum": "_einsum",
    "Add": "_add",
    "Sub": "_add",
    "Gather": "_embedding",
}
SUPPORTED: Final = (
    "LSTM, GRU, RNN, MatMul, Gemm, Einsum, Add, Sub, Sigmoid, Tanh, Relu, Gather, "
    "and operators that move data"
)


@dataclass(frozen=True)
class Traced:
    """A tensor that depends on the input: the number of each of its elements."""

    ids: Ids


@dataclass(frozen=True)
class Opaque:
    """A tensor that no layer gives, such as the last cell state."""

    what: str


Value = Array | Traced | Opaque


def check_operators(graph: Graph, wanted: str) -> None:
    """Raise ModelError for a node that `wanted` depends on and that can never be imported."""
    for node in graph.needed(wanted):
        if not any(node.op in known for known in (LAYERS, MOVES, FOLDS, ("Shape",))):
            before = next((name for name in node.inputs if name in graph.producers), "NAME")
            advice = f"change the model, or take an earlier tensor (--value {before})"
            where = f"node {node.name}"
            raise model_error(graph.path, where, f"operator {node.op}", SUPPORTED, advice)


class Trace:
    """The values of a graph for one shape of its input.

    Attributes:
        values: every tensor computed so far.
        notes: what is worth saying about the layers.
    """

    def __init__(self, graph: Graph, name: str, shape: tuple[int, ...]) -> None:
        self.graph, self.path = graph, graph.path
        self.signals = Signals(shape)
        self.notes: list[str] = []
        self.n_elements = 0
        self.tokens = graph.inputs[name].type not in FLOAT_TYPES
        self.values: dict[str, Value] = dict(graph.constants)
        self.values[name] = Traced(self.signals.input_ids())

    def run(self, node: Node) -> None:
        """Compute the outputs of a node.

        Raises:
            ModelError: the node cannot be imported; the message names it.
        """
        where = f"node {node.name} ({node.op})"
        try:
            operands = [self._operand(name) for name in node.inputs]
            results = self._dispatch(node, operands)
            self._charge(results, operands)
        except UnfitError as e:
            advice = "change the model, or take an earlier tensor (--value NAME)"
            raise model_error(
                self.path, where, e, "what a chain of layers computes", advice
            ) from None
        except (ValueError, IndexError, TypeError, OverflowError, MemoryError) as e:
            if isinstance(e, ModelError):
                raise
            raise model_error(self.path, where, e, "operands that fit", "export it again") from None
        for name, value in zip(node.outputs, results, strict=False):
            if name:
                self.values[name] = value

    def _operand(self, name: str) -> Value | None:
        if not name:
            return None
        if name not in self.values:
            raise UnfitError(f"no tensor {name!r} before this node")
        return self.values[name]

    def _dispatch(self, node: Node, operands: Sequence[Value | None]) -> Sequence[Value]:
        """Return what a node gives: by constants, by moving elements, or as a layer."""
        opaque = next((v for v in operands if isinstance(v, Opaque)), None)
        if node.op == "Shape" and len(operands) == 1:
            return [self._shape(node, operands[0])]
        if opaque is not None:
            if node.op in MOVES:
                return [opaque] * len(node.outputs)
            raise UnfitError(opaque.what)
        arrays = [None if v is None else _array(v) for v in operands]
        constants: list[Operand] = [v if isinstance(v, np.ndarray) else None for v in operands]
        traced = [k for k, v in enumerate(operands) if isinstance(v, Traced)]
        if not traced:
            return self._fold(node, constants)
        if node.op in MOVES and (traced == [0] or self._all_traced(node, operands)):
            return [Traced(ids) for ids in MOVES[node.op](node, arrays)]
        first = operands[0]
        if node.op == "Cast" and isinstance(first, Traced):
            if (integer(node, "to", 0) in FLOAT_TYPES) == self._are_tokens(first.ids):
                raise UnfitError("a cast between floats and integers")
            return [first]
        if node.op not in LAYERS:
            raise UnfitError("an operand that depends on the input")
        return getattr(self, LAYERS[node.op])(node, operands, traced)

    def _are_tokens(self, ids: Ids) -> bool:
        return self.tokens and bool(ids.max() < prod(self.signals.input_shape))

    def _charge(self, results: Sequence[Value], operands: Sequence[Value | None]) -> None:
        """Add up what was allocated; raise UnfitError where that is too much for any model."""
        sources = [_array(v) for v in operands if v is not None]
        for result in map(_array, results):
            if not any(np.may_share_memory(result, source) for source in sources):
                self.n_elements += result.size
        if self.n_elements > MAX_TRACE_ELEMENTS:
            raise UnfitError(f"more than {MAX_TRACE_ELEMENTS} elements; export it with open time")

    @staticmethod
    def _all_traced(node: Node, operands: Sequence[Value | None]) -> bool:
        return node.op == "Concat" and all(isinstance(v, Traced) for v in operands)

    def _shape(self, node: Node, value: Value | None) -> Array:
        if value is None or isinstance(value, Opaque):
            raise UnfitError("the shape of a tensor that is not there")
        shape = value.ids.shape if isinstance(value, Traced) else value.shape
        end = node.attributes.get("end")
        return np.array(shape[integer(node, "start", 0) : end], dtype=np.int64)

    def _fold(self, node: Node, constants: list[Operand]) -> Sequence[Value]:
        operator = MOVES.get(node.op) or FOLDS.get(node.op)
        if operator is None:
            raise UnfitError("only constants")
        return operator(node, constants)

    # Layers.

    def consume(self, rows: Ids) -> Vectors:
        """Recognise ``[n, k]`` numbers as input of a layer."""
        vectors = self.signals.vectors(rows)
        if vectors.signal.stage is None and vectors.signal.network is not None:
            raise UnfitError("a contraction that leaves modes of its input open")
        if self.tokens and vectors.signal.parent is None:
            raise UnfitError("tokens, which go through an embedding (Gather) first")
        return vectors

    def push(
        self, vectors: Vectors, shape: Sequence[int], stage: Linear | Embedding, **fields: Any
    ) -> Ids:
        """Add a layer over recognised rows; return its output, ``shape`` by features."""
        parent, per_step = vectors.signal, vectors.per_step
        ends = None
        if per_step and parent.ends is not None:
            used = np.unique(parent.ends[vectors.order])
            ends = np.full(stage.out_size, used[0] if len(used) == 1 else 0)
        n_rows = len(vectors.rows)
        signal = self.signals.add(
            Signal(
                0, n_rows, stage.out_size, stage, parent, per_step, ends, name=stage.name, **fields
            )
        )
        features = np.arange(stage.out_size)
        return signal.ids(vectors.rows[:, None], features).reshape(*shape, stage.out_size)

    def _weight(self, node: Node, k: int, value: Array) -> Float32:
        return float32(self.path, node.inputs[k] or f"{node.name}: input {k}", value)

    def _recurrent(
        self, node: Node, operands: Sequence[Value | None], traced: Sequence[int]
    ) -> Sequence[Value]:
        x = operands[0]
        if list(traced) != [0] or not isinstance(x, Traced) or x.ids.ndim != 3:
            raise UnfitError("weights or initial states that depend on the input")
        layout = integer(node, "layout", 0)
        steps = x.ids.swapaxes(0, 1) if layout else x.ids
        vectors = self.consume(steps.reshape(-1, steps.shape[2]))
        if not vectors.per_step:
            raise UnfitError("a sequence of one step, the last one of the layer before")
        rows = vectors.rows.reshape(steps.shape[:2])
        backwards = self.signals.learn_time(rows)
        constants = [None if isinstance(v, Traced | Opaque) else v for v in operands[1:]]
        found = read_cell(self.path, node, constants, len(rows))
        if found.stage.in_size != steps.shape[2]:
            found_size = f"{steps.shape[2]} features in X, {found.stage.in_size} in W"
            raise UnfitError(found_size)
        signal = self._recurrent_signal(found, vectors, backwards)
        return self._recurrent_outputs(signal, found, rows, backwards, bool(layout))

    def _recurrent_signal(self, found: CellNode, vectors: Vectors, backwards: bool) -> Signal:
        """Add a recurrent layer; one that only reads backwards gets a forward half of zeros."""
        weights = [replace(w, input=spread(w.input, vectors)) for w in found.stage.directions]
        if len(weights) == 2 and backwards:
            weights.reverse()
        alone = len(weights) == 1 and (found.direction == "reverse") != backwards
        if alone:
            weights.insert(0, zero(weights[0]))
        stage = replace(found.stage, directions=tuple(weights))
        ends = np.repeat([FORWARD, REVERSE][: len(weights)], stage.hidden_size)
        parent = vectors.signal
        return self.signals.add(
            Signal(
                0, parent.n_rows, stage.out_size, stage, parent, True, ends, alone, name=stage.name
            )
        )

    def _recurrent_outputs(
        self, signal: Signal, found: CellNode, rows: Ids, backwards: bool, layout: bool
    ) -> Sequence[Value]:
        """Return Y ``[T, D, B, H]``, Y_h ``[D, B, H]`` and Y_c (layout 1: B first)."""
        hidden, stage = found.stage.hidden_size, signal.stage
        assert isinstance(stage, Recurrent)
        halves = [np.arange(hidden) + k * hidden for k in range(len(stage.directions))]
        if signal.reverse_only:
            halves = halves[1:]
        elif backwards:
            halves.reverse()
        features = np.stack(halves)
        y = signal.ids(rows[:, None, :, None], features[None, :, None, :])
        forward = [found.direction != "reverse", False]
        y_h = np.stack([y[-1 if forward[d] else 0, d] for d in range(len(features))])
        if layout:
            y, y_h = y.transpose(2, 0, 1, 3), y_h.swapaxes(0, 1)
        return [Traced(y), Traced(y_h), Opaque("the last cell state, which is no layer's output")]

    def _matmul(
        self, node: Node, operands: Sequence[Value | None], traced: Sequence[int]
    ) -> Sequence[Value]:
        ids, weight, k = self._data_and_weight(operands, traced)
        matrix = self._weight(node, 1 - k, weight)
        if k == 1:
            ids = ids if ids.ndim == 1 else ids.swapaxes(-1, -2)
            matrix = matrix.T
        result = self.apply_matrix(node, ids, matrix)
        return [Traced(result.swapaxes(-1, -2) if k == 1 and result.ndim > 1 else result)]

    @staticmethod
    def _data_and_weight(
        operands: Sequence[Value | None], traced: Sequence[int]
    ) -> tuple[Ids, Array, int]:
        """Return the traced one of two operands, the constant one, and which is traced."""
        if list(traced) not in ([0], [1]) or len(operands) < 2:
            raise UnfitError("two operands that depend on the input")
        data, weight = operands[traced[0]], operands[1 - traced[0]]
        if not isinstance(data, Traced) or not isinstance(weight, np.ndarray):
            raise UnfitError("no constant operand")
        return data.ids, weight, traced[0]

    def apply_matrix(self, node: Node, ids: Ids, matrix: Float32) -> Ids:
        """Return ``ids @ matrix``: a dense layer, or a step of a chain of contractions."""
        if matrix.ndim == 1:
            return self.apply_matrix(node, ids, matrix[:, None])[..., 0]
        if matrix.ndim != 2 or ids.ndim < 1 or ids.shape[-1] != len(matrix):
            raise UnfitError(f"shapes {list(ids.shape)} and {list(matrix.shape)}")
        rows = ids.reshape(-1, ids.shape[-1])
        if onnx_networks.is_part(self.signals, rows):
            return onnx_networks.product(self.signals, node, ids, matrix)
        vectors = self.consume(rows)
        stage = dense(node.name, spread(np.ascontiguousarray(matrix.T), vectors))
        return self.push(vectors, ids.shape[:-1], stage)

    def _gemm(
        self, node: Node, operands: Sequence[Value | None], traced: Sequence[int]
    ) -> Sequence[Value]:
        ids, weight, k = self._data_and_weight(operands[:2], traced)
        if integer(node, ("transA", "transB")[k], 0):
            ids = ids.T
        if integer(node, ("transB", "transA")[k], 0):
            weight = weight.T
        if k == 1:
            ids, weight = ids.T, weight.T
        alpha = node.attributes.get("alpha", 1.0) * np.asarray(weight, dtype=np.float64)
        result = self.apply_matrix(node, ids, self._weight(node, 1 - k, alpha))
        result = result.T if k == 1 else result
        bias = operands[2] if len(operands) > 2 else None
        if isinstance(bias, np.ndarray):
            scaled = node.attributes.get("beta", 1.0) * np.asarray(bias, dtype=np.float64)
            result = self.add_bias(node, result, self._weight(node, 2, scaled))
        return [Traced(result)]

    def _einsum(
        self, node: Node, operands: Sequence[Value | None], traced: Sequence[int]
    ) -> Sequence[Value]:
        terms, result = equation(node, len(operands))
        if len(traced) != 1:
            raise UnfitError("two operands that depend on the input")
        data, others = operands[traced[0]], []
        for k, (term, value) in enumerate(zip(terms, operands, strict=True)):
            if isinstance(value, np.ndarray):
                others.append((term, self._weight(node, k, value)))
        if not isinstance(data, Traced) or not others:
            raise UnfitError("no constant operand")
        ids = onnx_networks.contract(self.signals, node, data.ids, terms[traced[0]], others, result)
        return [Traced(ids)]

    def _add(
        self, node: Node, operands: Sequence[Value | None], traced: Sequence[int]
    ) -> Sequence[Value]:
        ids, value, k = self._data_and_weight(operands, traced)
        if node.op == "Sub":
            if k == 1:
                raise UnfitError("a constant from which a tensor is subtracted")
            value = -value
        return [Traced(self.add_bias(node, ids, self._weight(node, 1 - k, value)))]

    def add_bias(self, node: Node, ids: Ids, value: Float32) -> Ids:
        """Return elements with a constant added: the bias of their linear layer."""
        ids, signal, stage, row, feature = self._linear_of(node, ids, "a bias")
        shape = np.broadcast_shapes(ids.shape, value.shape)
        if prod(shape) != ids.size:
            raise UnfitError(f"shapes {list(ids.shape)} and {list(value.shape)}")
        added = np.broadcast_to(value, shape)
        row, feature = np.broadcast_to(row, shape), np.broadcast_to(feature, shape)
        bias = np.zeros(signal.n_features, dtype=np.float32)
        bias[feature] = added
        if (bias[feature] != added).any():
            raise UnfitError("a bias that is another one in each step")
        before = 0.0 if stage.bias is None else stage.bias.astype(np.float64)
        stage = replace(stage, bias=float32(self.path, f"{node.name}: bias", before + bias * 1.0))
        return self._replaced(signal, stage).ids(row, feature)

    def _activation(
        self, node: Node, operands: Sequence[Value | None], traced: Sequence[int]
    ) -> Sequence[Value]:
        value = operands[0]
        if not isinstance(value, Traced):
            raise UnfitError("no operand")
        _, signal, stage, row, feature = self._linear_of(node, value.ids, "an activation")
        stage = replace(stage, activation=ACTIVATIONS[node.op])
        return [Traced(self._replaced(signal, stage).ids(row, feature))]

    def _replaced(self, signal: Signal, stage: Linear) -> Signal:
        return self.signals.add(replace(signal, stage=stage, network=None))

    def _linear_of(self, node: Node, ids: Ids, what: str) -> tuple[Ids, Signal, Linear, Ids, Ids]:
        """Return elements as those of a linear layer that can still take a bias or activation.

        Elements of other layers go through a layer of their own, whose matrix is the identity.
        """
        signal, row, feature = self.signals.decode(ids) if self.signals.known else (None, ids, ids)
        stage = None if signal is None else signal.stage
        if signal is None or not isinstance(stage, Linear) or stage.activation != "none":
            ids = self._identity_layer(node, ids, what)
            signal, row, feature = self.signals.decode(ids)
        stage = signal.stage
        assert isinstance(stage, Linear)
        return ids, signal, stage, row, feature

    def _identity_layer(self, node: Node, ids: Ids, what: str) -> Ids:
        vectors, back = self.features_last(ids)
        n = len(vectors.order)
        bounded(n, vectors.signal.n_features)
        weight = spread(np.eye(n, dtype=np.float32), vectors)
        self.notes.append(f"{node.name}: {what} behind no matrix: a layer with an identity matrix")
        return back(self.push(vectors, [len(vectors.rows)], dense(node.name, weight)))

    def features_last(self, ids: Ids) -> tuple[Vectors, Callable[[Ids], Ids]]:
        """Recognise a tensor whose features may be any of its axes.

        Returns:
            its rows as vectors, and a function that brings ``[n, k]`` back to the tensor's shape.
        """
        if not self.signals.known:
            self.signals.resolve_input(ids.reshape(-1, ids.shape[-1] if ids.ndim else 1))
        _, _, feature = self.signals.decode(ids)
        axes = [a for a in range(ids.ndim) if (feature != feature.take([0], axis=a)).any()]
        order = [a for a in range(ids.ndim) if a not in axes] + axes
        moved = ids.transpose(order)
        n = int(np.prod([ids.shape[a] for a in axes], dtype=np.int64))

        def back(rows: Ids) -> Ids:
            return rows.reshape(moved.shape).transpose(np.argsort(order))

        return self.consume(moved.reshape(-1, n)), back

    def _embedding(
        self, node: Node, operands: Sequence[Value | None], traced: Sequence[int]
    ) -> Sequence[Value]:
        table, tokens = operands[0], operands[1]
        if not isinstance(table, np.ndarray) or not isinstance(tokens, Traced) or not self.tokens:
            raise UnfitError("indices that depend on the input, and are no tokens")
        if table.ndim != 2 or integer(node, "axis", 0):
            raise UnfitError(f"a table of shape {list(table.shape)}")
        vectors = self.signals.vectors(tokens.ids.reshape(-1, 1))
        if vectors.signal.parent is not None:
            raise UnfitError("tokens that a layer gives")
        weight = np.ascontiguousarray(self._weight(node, 0, table).T)
        return [Traced(self.push(vectors, tokens.ids.shape, Embedding(node.name, weight)))]


def _array(value: Value) -> Array:
    """Return the elements or their numbers; of what is opaque, none."""
    if isinstance(value, Traced):
        return value.ids
    return np.empty(0) if isinstance(value, Opaque) else value


def spread(matrix: Float32, vectors: Vectors) -> Float32:
    """Return a matrix over all elements of the signal, where the given one is over `order`."""
    if vectors.whole:
        return matrix
    n = vectors.signal.n_features
    bounded(len(matrix), n)
    result = np.zeros((n, len(matrix)), dtype=np.float64)
    np.add.at(result, vectors.order, matrix.T)
    return np.ascontiguousarray(result.T, dtype=np.float32)
