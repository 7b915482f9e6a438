"""A zoo of small random models: every format with every cell, and every kind of graph."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from einchip.models import Model, ModelSpec, random_model

INPUT, HIDDEN = 6, 8
CELLS: Final[dict[str, dict[str, Any]]] = {
    "lstm": {"cell": "lstm"},
    "peephole": {"cell": "lstm", "peepholes": True},
    "gru": {"cell": "gru", "reset": "after"},
    "gru-before": {"cell": "gru", "reset": "before"},
    "rnn": {"cell": "rnn", "activation": "tanh"},
    "rnn-relu": {"cell": "rnn", "activation": "relu"},
}
N_GATES: Final = {"lstm": 4, "gru": 3, "rnn": 1}
SMALL_RANKS: Final[dict[str, Any]] = {
    "dense": (),
    "lowrank": 3,
    "mpo": [1, 3, 1],
    "mps": [1, 2, 4, 2, 1],
    "ht": {"leaf": 3},
    "tr": [2, 3, 2, 2],
    "bt": {"tucker": [2, 3], "blocks": 2},
    "tucker": [2, 2, 2, 2],
    "cp": 4,
    "kronecker": 2,
    "einsum": (),
}
FORMATS: Final = tuple(SMALL_RANKS)


def matrix(fmt: str, n_in: int, n_out: int, **fields: Any) -> dict[str, Any]:
    """A matrix of two input and two output modes in a format."""
    modes = {"in_modes": [n_in // 2, 2], "out_modes": [n_out // 2, 2]}
    if fmt == "dense":
        return {"format": fmt, **fields}
    if fmt == "einsum":
        return {
            "format": fmt,
            "tensors": {"P": ["a", "o", "s"], "Q": ["b", "p", "s"], "D": ["s"]},
            "sizes": {"a": n_in // 2, "b": 2, "o": n_out // 2, "p": 2, "s": 3},
            "inputs": ["a", "b"],
            "outputs": ["o", "p"],
        }
    return {"format": fmt, **modes, "ranks": SMALL_RANKS[fmt], **fields}


def recurrent(
    cell: str, fmt: str = "dense", n_in: int = INPUT, n_hidden: int = HIDDEN, **fields: Any
) -> dict[str, Any]:
    """A recurrent layer, both matrices in a format."""
    kind = CELLS[cell]
    rows = N_GATES[kind["cell"]] * n_hidden
    matrices = {"input": matrix(fmt, n_in, rows), "hidden": matrix(fmt, n_hidden, rows)}
    given = {} if "joint" in fields else matrices
    return {**kind, "input_size": n_in, "hidden_size": n_hidden, **given, **fields}


def linear(n_in: int, n_out: int, fmt: str = "dense", **fields: Any) -> dict[str, Any]:
    """A linear layer."""
    weight = matrix(fmt, n_in, n_out)
    return {"kind": "linear", "input_size": n_in, "out_size": n_out, "weight": weight, **fields}


def _gates(fmt: str, cell: str, **fields: Any) -> dict[str, Any]:
    """A recurrent layer whose matrices have the gate as an index of its own."""
    n_gates = N_GATES[CELLS[cell]["cell"]]
    rows = HIDDEN if fields.get("gates") == "separate" else HIDDEN * n_gates
    made = recurrent(cell, fmt)
    for name, n_in in (("input", INPUT), ("hidden", HIDDEN)):
        made[name] = matrix(fmt, n_in, rows, **fields)
    return made


def _mode_gates(cell: str) -> dict[str, Any]:
    """A recurrent layer whose gate is the slowest part of the second output mode."""
    n_gates = N_GATES[CELLS[cell]["cell"]]
    made = recurrent(cell)
    for name, n_in in (("input", INPUT), ("hidden", HIDDEN)):
        made[name] = {
            "format": "mpo", "in_modes": [n_in // 2, 2], "out_modes": [4, 2 * n_gates],
            "ranks": [1, 3, 1], "gate_mode": 1,
        }  # fmt: skip
    return made


def _joint(fmt: str, cell: str, **fields: Any) -> dict[str, Any]:
    """A recurrent layer with one matrix over [x; h]."""
    rows = N_GATES[CELLS[cell]["cell"]] * HIDDEN
    return recurrent(cell, fmt, joint=matrix(fmt, INPUT + HIDDEN, rows, **fields))


def _spec(*layers: dict[str, Any], output: str = "last", **fields: Any) -> dict[str, Any]:
    return {"layers": list(layers), "output": output, **fields}


def _embedding(fmt: str, modes: list[int], ranks: Any = ()) -> dict[str, Any]:
    outs = [3, 2] if len(modes) > 1 else [INPUT]
    weight = {"format": fmt, "in_modes": modes, "out_modes": outs, "ranks": ranks}
    return {"vocabulary": 11, "out_size": INPUT, "weight": weight}


#: Every format with every cell, and a linear layer behind it.
FORMAT_CASES: Final = {
    f"{fmt} {cell}": _spec(recurrent(cell, fmt), linear(HIDDEN, 4))
    for fmt in FORMATS
    for cell in CELLS
}
#: Every kind of graph.
GRAPH_CASES: Final = {
    "no head": _spec(recurrent("lstm", "mpo")),
    "linear formats": _spec(
        recurrent("lstm"), linear(8, 12, "mpo", activation="relu"),
        linear(12, 8, "tr", activation="tanh"), linear(8, 4, "ht", bias=False),
    ),
    "sequence": _spec(recurrent("lstm", "mps"), linear(HIDDEN, 4), output="sequence"),
    "sequence of h": _spec(recurrent("gru", "mpo"), output="sequence"),
    "linear in front": _spec(
        linear(5, INPUT, activation="sigmoid"), recurrent("gru", "mpo"), linear(HIDDEN, 4)
    ),
    "only linear": _spec(
        linear(INPUT, 8, "mpo", activation="relu"), linear(8, 4), output="sequence"
    ),
    "stack": _spec(
        recurrent("lstm", "mpo"), recurrent("gru", "cp", HIDDEN, 6), linear(6, 3)
    ),
    "stack of three": _spec(
        recurrent("gru-before"), linear(HIDDEN, 8, activation="relu"),
        recurrent("peephole", "mpo", 8, 8), recurrent("rnn", "tucker", 8, 4), output="sequence",
    ),
    "bidirectional": _spec(recurrent("lstm", "mpo", bidirectional=True), linear(2 * HIDDEN, 4)),
    "bidirectional sequence": _spec(
        recurrent("gru", "mps", bidirectional=True), linear(2 * HIDDEN, 4), output="sequence"
    ),
    "bidirectional h": _spec(recurrent("rnn", bidirectional=True), output="sequence"),
    "bidirectional last h": _spec(recurrent("lstm", bidirectional=True)),
    "bidirectional stack": _spec(
        recurrent("lstm", bidirectional=True),
        recurrent("gru", "mpo", 2 * HIDDEN, 6, bidirectional=True), linear(12, 3),
    ),
    "joint mpo": _spec(_joint("mpo", "lstm"), linear(HIDDEN, 4)),
    "joint dense": _spec(_joint("dense", "gru"), linear(HIDDEN, 4)),
    "joint tr": _spec(_joint("tr", "gru-before"), linear(HIDDEN, 4)),
    "joint cp both ways": _spec(
        recurrent(
            "rnn", joint=matrix("cp", INPUT + HIDDEN, HIDDEN), bidirectional=True
        ),
        linear(2 * HIDDEN, 4),
    ),
    "separate mpo": _spec(_gates("mpo", "lstm", gates="separate"), linear(HIDDEN, 4)),
    "separate cp": _spec(_gates("cp", "gru", gates="separate"), linear(HIDDEN, 4)),
    "separate tr": _spec(_gates("tr", "gru-before", gates="separate"), linear(HIDDEN, 4)),
    "gate mode": _spec(_mode_gates("lstm"), linear(HIDDEN, 4)),
    "gate mode before": _spec(_mode_gates("gru-before"), linear(HIDDEN, 4)),
    "embedding": _spec(
        recurrent("lstm", "mpo"), linear(HIDDEN, 4), embedding=_embedding("mpo", [4, 3], [1, 2, 1])
    ),
    "dense embedding": _spec(
        recurrent("gru"), output="sequence", embedding=_embedding("dense", [11])
    ),
    "other modes": _spec(
        recurrent(
            "lstm", n_hidden=24,
            input={
                "format": "mps", "in_modes": [2, 3], "out_modes": [16, 2, 3],
                "ranks": [1, 2, 3, 2, 2, 1],
            },
            hidden={
                "format": "mpo", "in_modes": [8, 3], "out_modes": [32, 3], "ranks": [1, 3, 1],
            },
        ),
        linear(24, 3),
    ),
    "modes without common factors": _spec(
        recurrent(
            "lstm", n_hidden=12,
            input={
                "format": "mpo", "in_modes": [3, 2], "out_modes": [6, 8], "ranks": [1, 3, 1],
            },
            hidden={
                "format": "mpo", "in_modes": [3, 4], "out_modes": [16, 3], "ranks": [1, 2, 1],
            },
        ),
        linear(12, 3),
    ),
}  # fmt: skip
CASES: Final = {**FORMAT_CASES, **GRAPH_CASES}


@cache
def model(name: str) -> Model:
    """A model of the zoo; biases are random, so that a lost one is noticed."""
    made = random_model(ModelSpec.model_validate({"name": name, **CASES[name]}), 7)
    rng = np.random.default_rng(8)
    for tensor, values in made.tensors.items():
        if "bias" in tensor:
            values[:] += 0.3 * rng.standard_normal(values.shape).astype(np.float32)
    return made


def sequences(name: str, lengths: tuple[int, ...], seed: int = 3) -> list[ArrayLike]:
    """Random sequences for a model: normal values, or tokens."""
    rng, spec = np.random.default_rng(seed), model(name).spec
    if spec.embedding is not None:
        return [rng.integers(spec.embedding.vocabulary, size=n) for n in lengths]
    return [rng.standard_normal((n, spec.input_size)) for n in lengths]
