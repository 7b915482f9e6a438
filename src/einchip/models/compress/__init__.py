"""Compression of trained models: decompositions, choice of modes and ranks."""

from einchip.models.compress.decompose import decompose
from einchip.models.compress.model import MatrixReport, Plan, compress_model, places
from einchip.models.compress.modes import balanced_factors, matrix_modes
from einchip.models.compress.ranks import Site, Target, svd_error

__all__ = [
    "MatrixReport",
    "Plan",
    "Site",
    "Target",
    "balanced_factors",
    "compress_model",
    "decompose",
    "matrix_modes",
    "places",
    "svd_error",
]
