"""Compressed recurrent models: what they are, how they are stored, what they compute in float64."""

from einchip.models.dataset import Sequences, load_npz
from einchip.models.errors import ModelError
from einchip.models.formats import MatrixNetwork, core_shapes, matrix_network, n_weights, to_dense
from einchip.models.io import load_model, parse_spec, random_model, save_model
from einchip.models.model import Model
from einchip.models.spec import (
    GATE_ORDER,
    BtRanks,
    EmbeddingSpec,
    HtRanks,
    LinearSpec,
    MatrixSpec,
    ModelSpec,
    RecurrentSpec,
    model_matrices,
    tensor_shapes,
)

__all__ = [
    "GATE_ORDER",
    "BtRanks",
    "EmbeddingSpec",
    "HtRanks",
    "LinearSpec",
    "MatrixNetwork",
    "MatrixSpec",
    "Model",
    "ModelError",
    "ModelSpec",
    "RecurrentSpec",
    "Sequences",
    "core_shapes",
    "load_model",
    "load_npz",
    "matrix_network",
    "model_matrices",
    "n_weights",
    "parse_spec",
    "random_model",
    "save_model",
    "tensor_shapes",
    "to_dense",
]
