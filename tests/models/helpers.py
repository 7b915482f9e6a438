"""Small models in every format and cell, for the tests of this folder."""

import copy
from itertools import product
from typing import Any

from einchip.models import GATE_ORDER, Model, ModelSpec, random_model

IN_MODES, IN_SIZE, HIDDEN = [3, 2], 6, 8

#: A matrix of 6 or 8 columns (`in_modes` is filled in) and `N * 4 * 2` rows in every format.
FORMATS: dict[str, dict[str, Any]] = {
    "dense": {"format": "dense"},
    "lowrank": {"format": "lowrank", "ranks": 3},
    "mpo": {"format": "mpo", "ranks": [1, 3, 1]},
    "mps": {"format": "mps", "ranks": [1, 3, 4, 2, 1]},
    "ht": {"format": "ht", "ranks": {"leaf": 3, "inner": 1}},
    "tr": {"format": "tr", "ranks": [2, 3, 2, 3]},
    "bt": {"format": "bt", "ranks": {"tucker": [2, 3], "blocks": 2}},
    "tucker2": {"format": "tucker", "ranks": [2, 3]},
    "tucker": {"format": "tucker", "ranks": [2, 2, 3, 2]},
    "cp": {"format": "cp", "ranks": 5},
    "kronecker": {"format": "kronecker", "ranks": 2},
    "einsum": {"format": "einsum", "tensors": {"A": ["a", "c", "k"], "B": ["k", "b", "d"]}},
}


def matrix(
    kind: str, in_modes: list[int], n_gates: int, gates: str = "joint", gate_mode: int = 0
) -> dict[str, Any]:
    """A gate matrix of ``n_gates * HIDDEN`` rows, as JSON or YAML would give it."""
    raw = copy.deepcopy(FORMATS[kind])
    out_modes = [4, 2]
    if gates == "joint":
        out_modes[gate_mode] *= n_gates
    if kind == "einsum":
        ends = ("a", "b", "c", "d")
        raw |= {"sizes": dict(zip(ends, out_modes + in_modes, strict=True)) | {"k": 3}}
        raw |= {"inputs": ["c", "d"], "outputs": ["a", "b"]}
    elif kind not in ("dense", "lowrank") or gate_mode:
        raw |= {"in_modes": in_modes, "out_modes": out_modes}
    if gates == "separate":
        raw["gates"] = gates
    if gate_mode:
        raw["gate_mode"] = gate_mode
    return raw


def recurrent(
    kind: str, cell: str = "lstm", gates: str = "joint", gate_mode: int = 0, **fields: Any
) -> dict[str, Any]:
    """A layer of 6 inputs and 8 units; with `joint=True` one matrix over [x; h]."""
    n = len(GATE_ORDER[cell])
    layer = {"cell": cell, "input_size": IN_SIZE, "hidden_size": HIDDEN}
    if fields.pop("joint", False):
        return layer | {"joint": matrix(kind, [7, 2], n, gates, gate_mode)} | fields
    layer["input"] = matrix(kind, IN_MODES, n, gates, gate_mode)
    return layer | {"hidden": matrix(kind, [4, 2], n, gates, gate_mode)} | fields


def raw_spec(kind: str = "mpo", **layer: Any) -> dict[str, Any]:
    """A valid spec as JSON or YAML would give it: one layer and a classifier of three classes."""
    first = recurrent(kind, **layer)
    width = HIDDEN * (2 if first.get("bidirectional") else 1)
    head = {"kind": "linear", "input_size": width, "out_size": 3, "weight": {"format": "dense"}}
    return {"version": 2, "name": kind, "layers": [first, head]}


def small_model(kind: str = "mpo", seed: int = 5, **layer: Any) -> Model:
    """A model with random weights."""
    return random_model(ModelSpec.model_validate(raw_spec(kind, **layer)), seed)


#: Every cell, and how gates may lie in a matrix: arguments of `recurrent`.
CELLS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm"},
    "peephole": {"cell": "lstm", "peepholes": True},
    "gru": {"cell": "gru"},
    "gru_before": {"cell": "gru", "reset": "before"},
    "rnn_tanh": {"cell": "rnn"},
    "rnn_relu": {"cell": "rnn", "activation": "relu"},
}
GATES: dict[str, dict[str, Any]] = {
    "joint": {},
    "gate_mode": {"gate_mode": 1},
    "separate": {"gates": "separate"},
    "joint_matrix": {"joint": True},
}


def zoo() -> dict[str, dict[str, Any]]:
    """Every format in an LSTM with every placing of gates, and every cell in two formats."""
    found = {f"{k}-{g}": {"kind": k} | GATES[g] for k, g in product(FORMATS, GATES)}
    cells = {f"{k}-{c}": {"kind": k} | CELLS[c] for k, c in product(("dense", "bt"), CELLS)}
    both = {f"{k}-bidirectional": {"kind": k, "bidirectional": True} for k in ("mpo", "cp")}
    return found | cells | both
