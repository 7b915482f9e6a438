"""State dicts of PyTorch: `nn.LSTM`, `nn.GRU`, `nn.RNN`, their cells, `nn.Linear`, `nn.Embedding`.

What is what follows from names and shapes, as the classes document them: ``weight_ih_l0``
[n_gates*H, in] and ``weight_hh_l0`` [n_gates*H, H], with n_gates 4 (LSTM; i, f, g, o), 3 (GRU; r,
z, n; reset gate behind the matrix) or 1 (RNN). Both biases of an LSTM or RNN are added; a GRU's
stay apart, since the reset gate stands between them.
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
from einchip.models.spec import Cell, RnnActivation

_RECURRENT: Final = re.compile(
    r"(?:(?P<module>.*)\.)?(?P<kind>weight|bias)_(?P<part>ih|hh|hr)"
    r"(?:_l(?P<layer>[0-9]{1,3})(?P<reverse>_reverse)?)?"
)
_LINEAR: Final = re.compile(r"(?:(?P<module>.*)\.)?(?P<kind>weight|bias)")
CELLS: Final[dict[int, Cell]] = {4: "lstm", 3: "gru", 1: "rnn"}
#: Name of a module whose tensors have no prefix.
ROOT: Final = "model"


@dataclass
class _Module:
    """The tensors of one module: of (layer, reverse) for a recurrent one, else under (0, False)."""

    recurrent: bool
    parts: dict[tuple[int, bool], dict[str, Array]] = field(default_factory=dict)


def import_state(
    path: Path, arrays: Mapping[str, Array], options: Options, ordered: bool
) -> Imported:
    """Return the model that a state dict describes.

    Raises:
        ModelError: a tensor belongs to no supported module, a shape does not fit, or the order of
            the modules is open.
    """
    found = _group(path, arrays, options)
    names = modules.choose(path, list(found), options)
    notes = _dtype_notes(arrays)
    if left := [name for name in found if name not in names]:
        notes.append(f"left out, since --order does not name them: {', '.join(left)}")
    rnn = options.rnn_activation
    built: dict[str, list[Stage | Embedding]] = {}
    for name in names:
        if found[name].recurrent:
            built[name] = [*_recurrent(path, name, found[name], rnn or "tanh")]
        else:
            built[name] = [_linear(path, name, found[name].parts[0, False], options)]
    stages = [stage for layers in built.values() for stage in layers]
    if rnn is None and any(isinstance(s, Recurrent) and s.cell == "rnn" for s in stages):
        notes.append("activation: tanh assumed in nn.RNN (--rnn-activation relu)")
    notes += modules.activation_notes([s for s in stages if isinstance(s, Linear)], options)
    return modules.chain(path, built, options, notes, ordered)


def _dtype_notes(arrays: Mapping[str, Array]) -> list[str]:
    if any(array.dtype.itemsize > 4 and array.dtype.kind == "f" for array in arrays.values()):
        return ["float64 weights are rounded to float32"]
    return []


def _group(path: Path, arrays: Mapping[str, Array], options: Options) -> dict[str, _Module]:
    """Sort tensors by module; one that fits no pattern is an error unless `order` leaves it out."""
    found: dict[str, _Module] = {}
    for name, array in arrays.items():
        match = _RECURRENT.fullmatch(name)
        recurrent = match is not None
        match = match or _LINEAR.fullmatch(name)
        module = name.rpartition(".")[0] if match is None else match["module"]
        if options.order and (module or ROOT) not in options.order:
            found.setdefault(module or ROOT, _Module(recurrent))
            continue
        if match is None:
            expected = "weight, bias, weight_ih.., weight_hh.., bias_ih.., bias_hh.."
            advice = "name the modules to import (--order NAME,NAME,..)"
            if "/" in name:
                advice = f"give --framework keras if these are Keras's, or {advice}"
            raise model_error(path, name, "a tensor of an unknown module", expected, advice)
        entry = found.setdefault(module or ROOT, _Module(recurrent))
        place = (int(match["layer"] or 0), bool(match["reverse"])) if recurrent else (0, False)
        part = match["kind"] + (f"_{match['part']}" if recurrent else "")
        if entry.recurrent != recurrent or part in entry.parts.setdefault(place, {}):
            raise model_error(path, name, "two modules in one", "one", "rename the tensors")
        entry.parts[place][part] = float32(path, name, array)
    return found


def _linear(
    path: Path, name: str, tensors: Mapping[str, Float32], options: Options
) -> Linear | Embedding:
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is None or weight.ndim != 2:
        found = "none" if weight is None else f"shape {list(weight.shape)}"
        expected = "a matrix [out, in] of nn.Linear"
        advice = "name the modules to import (--order NAME,NAME,..)"
        raise model_error(path, f"{name}.weight", found, expected, advice)
    if bias is not None and bias.shape != weight.shape[:1]:
        _wrong_shape(path, f"{name}.bias", bias, weight.shape[:1])
    if name in options.embeddings:
        if bias is not None:
            raise model_error(path, f"{name}.bias", "a bias", "none", "it is no embedding")
        return Embedding(name, float32(path, name, weight.T))
    return dense(name, weight, bias, options.activations.get(name, "none"))


def _recurrent(
    path: Path, name: str, module: _Module, activation: RnnActivation
) -> list[Recurrent]:
    """Return the layers of one module."""
    n_layers = 1 + max(layer for layer, _ in module.parts)
    both = any(reverse for _, reverse in module.parts)
    layers: list[Recurrent] = []
    for k in range(n_layers):
        label = name if n_layers == 1 else f"{name} layer {k}"
        directions = []
        for reverse in (False, True)[: 1 + both]:
            suffix = f"_l{k}" + "_reverse" * reverse
            tensors = module.parts.get((k, reverse), {})
            directions.append(_direction(path, f"{name}.weight_ih{suffix}", tensors))
        cell, weights = directions[0]
        if any(other != cell or w.hidden.shape != weights.hidden.shape for other, w in directions):
            found = "two directions of different cells or sizes"
            raise model_error(path, label, found, "the same of both", "save the model again")
        layers.append(Recurrent(label, cell, tuple(w for _, w in directions), "after", activation))
    return layers


def _direction(path: Path, field: str, tensors: Mapping[str, Float32]) -> tuple[Cell, Weights]:
    """Return one direction's cell and weights; `field` is the name of its first matrix."""
    if "weight_hr" in tensors:
        found = "a projection (proj_size > 0)"
        raise model_error(path, field.replace("_ih", "_hr"), found, "none", "train without it")
    for part in ("weight_ih", "weight_hh"):
        if part not in tensors or tensors[part].ndim != 2:
            found = f"{list(tensors[part].shape)}" if part in tensors else "no such tensor"
            name = field.replace("weight_ih", part)
            raise model_error(path, name, found, "a matrix", "save the whole state dict")
    w_input, w_hidden = tensors["weight_ih"], tensors["weight_hh"]
    rows, hidden = w_hidden.shape
    cell = CELLS.get(rows // hidden) if rows % hidden == 0 else None
    if cell is None or len(w_input) != rows:
        found = f"{list(w_input.shape)}, and {list(w_hidden.shape)} of the hidden state"
        expected = "[n*H, in] and [n*H, H] with n = 4 (LSTM), 3 (GRU) or 1 (RNN)"
        raise model_error(path, field, found, expected, "save the whole state dict")
    biases = [tensors[part] for part in ("bias_ih", "bias_hh") if part in tensors]
    for bias in biases:
        if bias.shape != (rows,):
            _wrong_shape(path, field.replace("weight", "bias"), bias, (rows,))
    if len(biases) == 1:
        raise model_error(path, field.replace("weight", "bias"), "one bias", "two", "save it whole")
    return cell, _weights(path, cell, w_input, w_hidden, biases)


def _weights(
    path: Path, cell: Cell, w_input: Float32, w_hidden: Float32, biases: list[Float32]
) -> Weights:
    """Return weights in einchip's gate order, biases added where nothing stands between them."""
    arrays = [gate_rows(a, cell, "pytorch") for a in (w_input, w_hidden, *biases)]
    zeros = np.zeros(len(w_input), dtype=np.float32)
    first, second = arrays[2:] if biases else (zeros, zeros)
    if cell == "gru":
        return Weights(arrays[0], arrays[1], first, second)
    total = first.astype(np.float64) + second
    return Weights(arrays[0], arrays[1], float32(path, "bias_ih + bias_hh", total))


def _wrong_shape(path: Path, field: str, array: Array, expected: tuple[int, ...]) -> None:
    found = f"shape {list(array.shape)}"
    raise model_error(path, field, found, f"shape {list(expected)}", "save the whole state dict")
