"""Compressed LSTM models: what they are, how they are stored, what they compute in float64."""

from einchip.models.dataset import Sequences, load_npz
from einchip.models.errors import ModelError
from einchip.models.formats import MatrixNetwork, core_shapes, matrix_network, n_weights, to_dense
from einchip.models.io import load_model, parse_spec, random_model, save_model
from einchip.models.lstm import Model, tensor_shapes
from einchip.models.spec import HeadSpec, LstmSpec, MatrixSpec, ModelSpec

__all__ = [
    "HeadSpec",
    "LstmSpec",
    "MatrixNetwork",
    "MatrixSpec",
    "Model",
    "ModelError",
    "ModelSpec",
    "Sequences",
    "core_shapes",
    "load_model",
    "load_npz",
    "matrix_network",
    "n_weights",
    "parse_spec",
    "random_model",
    "save_model",
    "tensor_shapes",
    "to_dense",
]
