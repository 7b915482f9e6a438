"""Random model specs: any format, cell, size and graph, all small."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.compiler.cases import CELLS, FORMATS, N_GATES

Raw = dict[str, Any]
MAX_MODES, MAX_RANK = 3, 4


def factors(rng: np.random.Generator, size: int, n: int) -> list[int]:
    """Return n factors of a size, in any order; some may be 1."""
    found = [1] * n
    divisor = 2
    while size > 1:
        while size % divisor == 0:
            found[rng.integers(n)] *= divisor
            size //= divisor
        divisor += 1
    return found


def _rank(rng: np.random.Generator, most: int = MAX_RANK) -> int:
    return int(rng.integers(1, min(MAX_RANK, most) + 1))


def _train(rng: np.random.Generator, sizes: list[int]) -> list[int]:
    """Return ranks of an open train that are possible for these core sizes."""
    bonds = [min(int(np.prod(sizes[:k])), int(np.prod(sizes[k:]))) for k in range(1, len(sizes))]
    return [1, *(_rank(rng, b) for b in bonds), 1]


def _ranks(rng: np.random.Generator, fmt: str, ins: list[int], outs: list[int]) -> Any:
    """Return possible ranks of a format."""
    pairs = [i * o for i, o in zip(ins, outs, strict=False)]
    match fmt:
        case "lowrank":
            return _rank(rng, min(int(np.prod(ins)), int(np.prod(outs))))
        case "mpo":
            return _train(rng, pairs)
        case "mps":
            return _train(rng, outs + ins)
        case "tr":
            return [_rank(rng) for _ in ins + outs]
        case "ht":
            total = int(np.prod(pairs))
            leaves = [_rank(rng, min(p, total // p)) for p in pairs]
            return {"leaf": leaves, "inner": 1}
        case "bt":
            return {"tucker": [_rank(rng, p) for p in pairs], "blocks": _rank(rng)}
        case "tucker":
            if len(ins) + len(outs) == 2 or rng.random() < 0.5:
                return [_rank(rng, n) for n in (ins[0], int(np.prod(outs)))]
            return [_rank(rng, n) for n in ins + outs]
    return _rank(rng)


def matrix(rng: np.random.Generator, n_in: int, n_out: int, n_gates: int = 1) -> Raw:
    """Return a random matrix of `n_gates * n_out` rows."""
    fmt = str(rng.choice([f for f in FORMATS if f != "einsum"]))
    separate = n_gates > 1 and rng.random() < 0.25
    rows = n_out if separate else n_gates * n_out
    more: Raw = {"gates": "separate"} if separate else {}
    if fmt == "dense" and rng.random() < 0.5:
        return {"format": fmt, **more}
    n_modes = int(rng.integers(1, MAX_MODES + 1))
    paired = fmt in ("mpo", "bt", "kronecker", "ht")
    ins = factors(rng, n_in, n_modes if paired else int(rng.integers(1, MAX_MODES + 1)))
    outs = factors(rng, rows, n_modes)
    made = {"format": fmt, "in_modes": ins, "out_modes": outs, **more}
    return made if fmt == "dense" else {**made, "ranks": _ranks(rng, fmt, ins, outs)}


def recurrent(rng: np.random.Generator, n_in: int, n_hidden: int) -> Raw:
    """Return a random recurrent layer."""
    kind = CELLS[str(rng.choice([*CELLS]))]
    n_gates = N_GATES[kind["cell"]]
    matrices = {
        "input": matrix(rng, n_in, n_hidden, n_gates),
        "hidden": matrix(rng, n_hidden, n_hidden, n_gates),
    }
    both = {"bidirectional": bool(rng.random() < 0.3)}
    return {**kind, "input_size": n_in, "hidden_size": n_hidden, **matrices, **both}


def linear(rng: np.random.Generator, n_in: int, n_out: int) -> Raw:
    """Return a random linear layer."""
    return {
        "kind": "linear", "input_size": n_in, "out_size": n_out,
        "weight": matrix(rng, n_in, n_out), "bias": bool(rng.random() < 0.8),
        "activation": str(rng.choice(["none", "none", "relu", "tanh", "sigmoid"])),
    }  # fmt: skip


def spec(seed: int) -> Raw:
    """Return a random model."""
    rng = np.random.default_rng(seed)
    size, layers = int(rng.integers(1, 13)), []
    embedding = None
    if rng.random() < 0.2:
        modes = [int(n) for n in rng.integers(2, 5, size=rng.integers(1, 3))]
        outs = factors(rng, size, len(modes))
        ranks = _train(rng, [i * o for i, o in zip(modes, outs, strict=True)])
        weight = {"format": "mpo", "in_modes": modes, "out_modes": outs, "ranks": ranks}
        vocabulary = int(np.prod(modes)) - int(rng.integers(0, 2))
        embedding = {"vocabulary": vocabulary, "out_size": size, "weight": weight}
    for _ in range(rng.integers(1, 4)):
        n = int(rng.integers(1, 13))
        made = recurrent(rng, size, n) if rng.random() < 0.65 else linear(rng, size, n)
        layers.append(made)
        size = 2 * n if made.get("bidirectional") else n
    has_cell = any("cell" in layer for layer in layers)
    output = "last" if has_cell and rng.random() < 0.5 else "sequence"
    raw: Raw = {"name": f"random {seed}", "layers": layers, "output": output}
    return raw | ({"embedding": embedding} if embedding else {})
