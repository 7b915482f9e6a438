"""Weights of Keras 3: `LSTM`, `GRU`, `SimpleRNN`, `Dense`, `Embedding`, `Bidirectional`.

Arrays are named by path, as `Variable.path` gives them (``lstm/lstm_cell/kernel``,
``bidirectional/backward_lstm/lstm_cell/bias``). Shapes are those of the classes: kernel [in, n*H],
recurrent_kernel [H, n*H], bias [n*H], or [2, 3*H] of a GRU with ``reset_after``; gates i, f, c, o
and z, r, h.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from einchip.models.errors import model_error
from einchip.models.importers import modules
from einchip.models.importers.options import Options
from einchip.models.importers.stages import (
    Array,
    Embedding,
    Float32,
    Imported,
    Linear,
    Recurrent,
    Stage,
    Weights,
    dense,
    float32,
    gate_rows,
)
from einchip.models.spec import Activation, Cell, Reset, RnnActivation

KINDS: Final = ("kernel", "recurrent_kernel", "bias", "embeddings")
CELLS: Final[dict[int, Cell]] = {4: "lstm", 3: "gru", 1: "rnn"}
_DIRECTION: Final = re.compile(r"(forward|backward)_.*")


@dataclass
class Layer:
    """The arrays of one layer by kind, of each direction ("forward" alone, or with "backward")."""

    name: str
    parts: dict[str, dict[str, Float32]] = field(default_factory=dict)

    @property
    def recurrent(self) -> bool:
        """Whether it has a state."""
        return any("recurrent_kernel" in part for part in self.parts.values())


def import_keras_arrays(path: Path, arrays: Mapping[str, Array], options: Options) -> Imported:
    """Return the model of arrays named by Keras.

    Raises:
        ModelError: an array belongs to no supported layer, a shape does not fit, or the order of
            the layers is open.
    """
    layers = _group(path, arrays, options)
    names = modules.choose(path, list(layers), options)
    notes: list[str] = []
    built: dict[str, list[Stage | Embedding]] = {}
    for name in names:
        if layers[name].recurrent:
            activation = options.rnn_activation or "tanh"
            built[name] = [recurrent(path, layers[name], options.gru_reset, activation)]
        else:
            built[name] = [plain(path, layers[name], options.activations.get(name, "none"))]
    stages = [stage for made in built.values() for stage in made]
    notes += _assumed([s for s in stages if isinstance(s, Recurrent)], layers, options)
    notes += modules.activation_notes([s for s in stages if isinstance(s, Linear)], options)
    ordered = path.suffix.lower() != ".safetensors"
    return modules.chain(path, built, options, notes, ordered)


def _assumed(found: list[Recurrent], layers: Mapping[str, Layer], options: Options) -> list[str]:
    """Return what weights do not say about recurrent layers."""
    notes = []
    if any(s.cell != "rnn" for s in found):
        notes.append("activations: Keras's defaults assumed in LSTM and GRU (tanh, sigmoid)")
    if options.rnn_activation is None and any(s.cell == "rnn" for s in found):
        notes.append("activation: tanh assumed in SimpleRNN (--rnn-activation relu)")
    silent = [s for s in found if s.cell == "gru" and "bias" not in layers[s.name].parts["forward"]]
    if silent and options.gru_reset is None:
        notes.append("reset_after: Keras's default, true, assumed in GRU (--gru-reset before)")
    return notes


def _group(path: Path, arrays: Mapping[str, Array], options: Options) -> dict[str, Layer]:
    """Sort arrays by layer and direction."""
    layers: dict[str, Layer] = {}
    for name, array in arrays.items():
        *parts, kind = re.split(r"[/.]", name.removesuffix(":0"))
        if parts and parts[-1].endswith("_cell"):
            parts.pop()
        direction = _DIRECTION.fullmatch(parts[-1]) if parts else None
        if direction:
            parts.pop()
        module = "/".join(parts) or "model"
        layer = layers.setdefault(module, Layer(module))
        if options.order and module not in options.order:
            continue
        part = layer.parts.setdefault(direction[1] if direction else "forward", {})
        if kind not in KINDS or kind in part:
            expected = ", ".join(KINDS)
            advice = "name the layers to import (--order NAME,NAME,..)"
            raise model_error(path, name, "an array of an unknown layer", expected, advice)
        part[kind] = float32(path, name, array)
    return layers


def plain(path: Path, layer: Layer, activation: Activation) -> Linear | Embedding:
    """Return a Dense or Embedding layer."""
    part = layer.parts.get("forward", {})
    if set(part) == {"embeddings"}:
        table = _shaped(path, layer, "embeddings", part, (None, None))
        return Embedding(layer.name, np.ascontiguousarray(table.T))
    kernel = _shaped(path, layer, "kernel", part, (None, None))
    bias = _shaped(path, layer, "bias", part, kernel.shape[1:]) if "bias" in part else None
    return dense(layer.name, np.ascontiguousarray(kernel.T), bias, activation)


def recurrent(
    path: Path, layer: Layer, reset: Reset | None, activation: RnnActivation
) -> Recurrent:
    """Return a recurrent layer; `reset` is for a GRU whose bias does not tell.

    Raises:
        ModelError: shapes do not fit, or the two directions differ.
    """
    if "forward" not in layer.parts:
        raise model_error(path, layer.name, "one direction, backward", "forward", "save it whole")
    found = [_direction(path, layer, part, reset) for part in _in_order(layer)]
    cell, told, weights = found[0]
    for other, other_told, other_weights in found[1:]:
        same = other_weights.hidden.shape == weights.hidden.shape
        if (other, other_told) != (cell, told) or not same:
            what = "two directions of different cells or sizes"
            raise model_error(path, layer.name, what, "the same of both", "save it again")
    return Recurrent(layer.name, cell, tuple(w for _, _, w in found), told, activation)


def _in_order(layer: Layer) -> list[dict[str, Float32]]:
    return [layer.parts[d] for d in ("forward", "backward") if d in layer.parts]


def _shaped(
    path: Path,
    layer: Layer,
    kind: str,
    part: Mapping[str, Float32],
    shape: tuple[int | None, ...],
) -> Float32:
    array = part.get(kind)
    wanted = "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"
    if array is None or array.ndim != len(shape):
        found = "no such array" if array is None else f"shape {list(array.shape)}"
        raise model_error(path, f"{layer.name}/{kind}", found, wanted, "save all weights")
    if any(n not in (None, size) for size, n in zip(array.shape, shape, strict=True)):
        found = f"shape {list(array.shape)}"
        raise model_error(path, f"{layer.name}/{kind}", found, wanted, "save all weights")
    return array


def _direction(
    path: Path, layer: Layer, part: Mapping[str, Float32], reset: Reset | None
) -> tuple[Cell, Reset, Weights]:
    """Return cell, place of the reset gate and weights of one direction."""
    hidden_kernel = _shaped(path, layer, "recurrent_kernel", part, (None, None))
    hidden, rows = hidden_kernel.shape
    cell = CELLS.get(rows // hidden) if rows % hidden == 0 else None
    if cell is None:
        found = f"shape {list(hidden_kernel.shape)}"
        expected = "[H, n*H] with n = 4 (LSTM), 3 (GRU) or 1 (SimpleRNN)"
        raise model_error(path, f"{layer.name}/recurrent_kernel", found, expected, "save it again")
    kernel = _shaped(path, layer, "kernel", part, (None, rows))
    told: Reset = "after" if cell != "gru" or reset is None else reset
    bias = part.get("bias")
    if bias is None:
        bias = np.zeros((2, rows) if cell == "gru" and told == "after" else rows, np.float32)
    elif cell == "gru":
        told = "after" if bias.ndim == 2 else "before"
        if reset not in (None, told):
            found, expected = f"reset {reset}", f"{told}, which the bias's shape says"
            raise model_error(path, f"{layer.name}/bias", found, expected, "leave --gru-reset out")
    shape = (2, rows) if cell == "gru" and told == "after" else (rows,)
    bias = _shaped(path, layer, "bias", {"bias": bias}, shape)
    matrices = [gate_rows(k.T, cell, "keras") for k in (kernel, hidden_kernel)]
    biases = [gate_rows(b, cell, "keras") for b in bias.reshape(-1, rows)]
    return cell, told, Weights(matrices[0], matrices[1], *biases)
