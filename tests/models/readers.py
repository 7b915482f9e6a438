"""Small files of other frameworks and who reads them: what `tests.models.fuzz` damages.

READERS has one row for each: name, suffix, valid files, reader.
"""

import io
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from onnx import helper
from safetensors.numpy import save

from einchip.models.importers import Options, import_model
from tests.models.onnx_graphs import cell_constants, floats, model

BOTH = "bidirectional"
STATE = {
    "lstm.weight_ih_l0": floats(16, 3),
    "lstm.weight_hh_l0": floats(16, 4),
    "lstm.bias_ih_l0": floats(16),
    "lstm.bias_hh_l0": floats(16),
    "fc.weight": floats(2, 4),
    "fc.bias": floats(2),
}


def bidirectional_lstm() -> bytes:
    """An LSTM in both directions, a classifier of its last states: as an exporter writes it."""
    nodes = [
        helper.make_node("LSTM", list("xWRB"), ["", "Yh"], hidden_size=4, direction=BOTH),
        helper.make_node("Transpose", ["Yh"], ["t"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["t", "s"], ["f"]),
        helper.make_node("Gemm", ["f", "F", "Fb"], ["g"], transB=1),
        helper.make_node("Relu", ["g"], ["y"]),
    ]
    constants = {"s": np.array([1, 8]), "F": floats(2, 8), "Fb": floats(2)}
    made = model(nodes, cell_constants("LSTM", 3, 4, 2) | constants, [None, 1, 3])
    return bytes(made.SerializeToString())


def gru_of_every_step() -> bytes:
    """A GRU and a linear layer at every step."""
    nodes = [
        helper.make_node("GRU", list("xWRB"), ["Y"], hidden_size=4, linear_before_reset=1),
        helper.make_node("Squeeze", ["Y", "axes"], ["t"]),
        helper.make_node("MatMul", ["t", "F"], ["g"]),
        helper.make_node("Add", ["g", "Fb"], ["y"]),
    ]
    constants = {"axes": np.array([1]), "F": floats(4, 2), "Fb": floats(2)}
    made = model(nodes, cell_constants("GRU", 3, 4, 1) | constants, [None, 1, 3])
    return bytes(made.SerializeToString())


def as_npz() -> bytes:
    """The state as a NumPy file."""
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **STATE)
    return stream.getvalue()


def as_pt() -> bytes:
    """The state as PyTorch saves it."""
    import torch

    stream = io.BytesIO()
    torch.save({name: torch.from_numpy(value) for name, value in STATE.items()}, stream)
    return stream.getvalue()


READERS: list[tuple[str, str, list[bytes], Callable[[Path], object]]] = [
    ("onnx, bytes", "onnx", [bidirectional_lstm(), gru_of_every_step()], import_model),
    ("pytorch safetensors, bytes", "safetensors", [save(STATE)], import_model),
    ("pytorch npz, bytes", "npz", [as_npz()], import_model),
]
KERAS_STATE = {"lstm/kernel": floats(3, 16), "lstm/recurrent_kernel": floats(4, 16)}
KERAS_STATE |= {"lstm/bias": floats(16), "dense/kernel": floats(4, 2), "dense/bias": floats(2)}


def import_keras(path: Path) -> object:
    """Read plain arrays as those of Keras."""
    return import_model(path, Options(framework="keras"))


READERS.append(("keras safetensors, bytes", "safetensors", [save(KERAS_STATE)], import_keras))
if find_spec("torch"):
    READERS.append(("pytorch pt, bytes", "pt", [as_pt()], import_model))
