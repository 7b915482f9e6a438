"""LSTM, GRU and RNN nodes of ONNX as recurrent stages.

The formulas are those of the ONNX operators (https://onnx.ai/onnx/operators/), gate orders i, o, f,
c (LSTM), z, r, h (GRU). ``linear_before_reset`` 1 is reset "after", 0 is "before".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from einchip.models.importers.onnx_file import Node
from einchip.models.importers.onnx_moves import Operand, UnfitError, integer
from einchip.models.importers.stages import Array, Float32, Recurrent, Weights, float32, gate_rows
from einchip.models.spec import GATE_ORDER, Cell, Reset, RnnActivation

CELLS: Final[dict[str, Cell]] = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
#: Places of the inputs of each operator; X is input 0.
INPUTS: Final[dict[str, tuple[str, ...]]] = {
    "LSTM": ("W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
    "GRU": ("W", "R", "B", "sequence_lens", "initial_h"),
    "RNN": ("W", "R", "B", "sequence_lens", "initial_h"),
}
DEFAULT_ACTIVATIONS: Final[dict[str, tuple[str, ...]]] = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}
KNOWN_ATTRIBUTES: Final = frozenset(
    {"activations", "direction", "hidden_size", "input_forget", "layout", "linear_before_reset"}
)


@dataclass(frozen=True)
class CellNode:
    """A recurrent node: its layer (both directions' weights in order) and its direction."""

    stage: Recurrent
    direction: Literal["forward", "reverse", "bidirectional"]


def read_cell(where: object, node: Node, operands: list[Operand], n_steps: int) -> CellNode:
    """Return the layer of a node; `operands` are its constant inputs behind X.

    Raises:
        UnfitError: an attribute or input that no layer has, or shapes that do not fit.
        ModelError: a weight that is not finite.
    """
    cell = CELLS[node.op]
    direction = node.attributes.get("direction", "forward")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise UnfitError(f"direction {direction!r}")
    named = dict(zip(INPUTS[node.op], operands, strict=False))
    _check_attributes(node)
    _check_states(named, n_steps)
    n = 2 if direction == "bidirectional" else 1
    activation = _activation(node, n)
    reset = _reset(node)
    directions = tuple(_direction(where, node, cell, named, d, n, reset) for d in range(n))
    stage = Recurrent(node.name, cell, directions, reset, activation)
    return CellNode(stage, direction)


def _reset(node: Node) -> Reset:
    if node.op == "GRU" and not integer(node, "linear_before_reset", 0):
        return "before"
    return "after"


def _check_attributes(node: Node) -> None:
    for name, value in node.attributes.items():
        if name not in KNOWN_ATTRIBUTES and not (name == "output_sequence"):
            raise UnfitError(f"attribute {name} = {value}, which is not supported")
    if integer(node, "input_forget", 0):
        raise UnfitError("attribute input_forget, which is not supported")


def _check_states(named: dict[str, Operand], n_steps: int) -> None:
    for name in ("initial_h", "initial_c"):
        state = named.get(name)
        if state is not None and np.any(state):
            raise UnfitError(f"{name} that is not 0; a model's state starts at 0")
    lengths = named.get("sequence_lens")
    if lengths is not None and (np.asarray(lengths) != n_steps).any():
        raise UnfitError("sequence_lens other than the number of steps")


def _activation(node: Node, n_directions: int) -> RnnActivation:
    """Return the activation of a plain RNN; refuse others than a cell's own."""
    default = DEFAULT_ACTIVATIONS[node.op]
    given = node.attributes.get("activations")
    names = tuple(str(a).lower() for a in given) if isinstance(given, list) else ()
    if names in ((), default * n_directions):
        return "tanh"
    if node.op == "RNN" and names == ("relu",) * n_directions:
        return "relu"
    supported = "Tanh or Relu" if node.op == "RNN" else ", ".join(default).title()
    raise UnfitError(f"activations {', '.join(names)}; supported: {supported}")


def _shaped(named: dict[str, Operand], name: str, shape: tuple[int | None, ...]) -> Array:
    """Return an input of a shape, None for any size."""
    array = named.get(name)
    if array is None:
        raise UnfitError(f"no constant input {name}")
    if array.ndim != len(shape) or any(
        b not in (None, a) for a, b in zip(array.shape, shape, strict=True)
    ):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise UnfitError(f"{name} of shape {list(array.shape)}, expected [{wanted}]")
    return array


def _direction(
    where: object,
    node: Node,
    cell: Cell,
    named: dict[str, Operand],
    d: int,
    n: int,
    reset: str,
) -> Weights:
    """Return the weights of direction d of n."""

    def weight(name: str, *shape: int | None) -> Float32:
        return float32(where, f"{node.name}: {name}", _shaped(named, name, (n, *shape))[d])

    n_gates = len(GATE_ORDER[cell])
    recurrent = weight("R", None, None)
    hidden = recurrent.shape[1]
    if (
        recurrent.shape[0] != n_gates * hidden
        or node.attributes.get("hidden_size", hidden) != hidden
    ):
        raise UnfitError(f"R of shape {list(recurrent.shape)}, expected [{n_gates}*H, H]")
    w_input = weight("W", n_gates * hidden, None)
    if named.get("B") is None:
        both = np.zeros((2, n_gates * hidden), dtype=np.float32)
    else:
        both = weight("B", 2 * n_gates * hidden).reshape(2, -1)
    first, second = (gate_rows(b, cell, "onnx") for b in both)
    peepholes = None
    if named.get("P") is not None:
        peepholes = weight("P", 3 * hidden).reshape(3, hidden)[[0, 2, 1]]
    matrices = (gate_rows(w_input, cell, "onnx"), gate_rows(recurrent, cell, "onnx"))
    if cell == "gru" and reset == "after":
        return Weights(*matrices, first, second)
    total = float32(where, f"{node.name}: B", first.astype(np.float64) + second)
    return Weights(*matrices, total, None, peepholes)


def zero(weights: Weights) -> Weights:
    """Return weights of the same shapes, all 0: their layer's state stays at 0."""
    return Weights(
        np.zeros_like(weights.input),
        np.zeros_like(weights.hidden),
        np.zeros_like(weights.bias),
        None if weights.bias_hidden is None else np.zeros_like(weights.bias_hidden),
        None if weights.peepholes is None else np.zeros_like(weights.peepholes),
    )
