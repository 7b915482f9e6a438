"""A small model in each format, for the tests of this folder."""

from typing import Any

from einchip.models import Model, ModelSpec, random_model

MATRICES: dict[str, dict[str, Any]] = {
    "dense": {"input": {"format": "dense"}, "hidden": {"format": "dense"}},
    "mpo": {
        "input": {"format": "mpo", "in_modes": [3, 2], "out_modes": [8, 4], "ranks": [1, 3, 1]},
        "hidden": {"format": "mpo", "in_modes": [4, 2], "out_modes": [8, 4], "ranks": [1, 4, 1]},
    },
    "mps": {
        "input": {"format": "mps", "in_modes": [6], "out_modes": [8, 4], "ranks": [1, 3, 5, 1]},
        "hidden": {
            "format": "mps",
            "in_modes": [4, 2],
            "out_modes": [8, 4],
            "ranks": [1, 4, 4, 2, 1],
        },
    },
}


def raw_spec(kind: str = "mpo") -> dict[str, Any]:
    """A valid spec as JSON or YAML would give it; a new one at every call."""
    matrices = {part: dict(matrix) for part, matrix in MATRICES[kind].items()}
    layer = {"cell": "lstm", "input_size": 6, "hidden_size": 8, "gate_order": "ifgo"} | matrices
    return {"version": 1, "name": kind, "layers": [layer], "head": {"out_size": 3}}


def small_model(kind: str = "mpo", seed: int = 5) -> Model:
    """A model with random weights."""
    return random_model(ModelSpec.model_validate(raw_spec(kind)), seed)
