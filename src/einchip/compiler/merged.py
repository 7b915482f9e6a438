"""Models whose weights are merged before anything else sees them.

Each matrix becomes one of format "einsum" over the tensors that its quickest contraction tree has:
some as they were, some merged. Float model, calibration and mapping then see merged weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einchip.arch import Architecture
from einchip.mapper.large import BUDGET, best_trees
from einchip.mapper.merge import Merged, Merging, merged_network, merged_of
from einchip.mapper.objectives import objective_of
from einchip.models import MatrixSpec, Model, ModelSpec, matrix_network
from einchip.models.spec import model_matrices
from einchip.network import Network

#: The input in a matrix's network.
INPUT: Final = "@x"
#: Fields of a layer that hold a matrix which is merged.
FIELDS: Final = ("input", "hidden", "weight")


def merge_model(
    model: Model, arch: Architecture, share: float = 0.5, budget: float = BUDGET
) -> tuple[Model, dict[str, tuple[Merged, ...]]]:
    """Return a model with merged weights, and what was merged in each matrix that changed.

    All weights together take at most `share` of both scratchpads, each matrix in proportion to its
    size now. Left as they are: joint matrices and embeddings, whose tensors are cut or looked up,
    and networks with one set of tensors for each gate. Merged arrays are rounded to float32, as all
    weights of a model are. Scales that the model carries are those of other tensors, and dropped.
    """
    matrices = model_matrices(model.spec)
    sizes = {n: sum(c.size for c in model.cores(n).values()) for n in matrices}
    room = share * sum(arch.capacity(space) for space in (0, 1)) / max(1, sum(sizes.values()))
    fields: dict[tuple[int, str], tuple[MatrixSpec, dict[str, str], tuple[Merged, ...]]] = {}
    tensors: dict[str, NDArray[Any]] = dict(model.tensors)
    told: dict[str, tuple[Merged, ...]] = {}
    for name, (spec, n_gates) in matrices.items():
        parts = name.split(".")
        if parts[0] != "layers" or parts[-1] not in FIELDS or spec.gates != "joint":
            continue
        key = (int(parts[1]), parts[-1])
        if key not in fields:
            found = _merged(spec, n_gates, arch, int(room * sizes[name]), budget)
            if found is None:
                continue
            fields[key] = found
        _, names, merged = fields[key]
        cores = {n: np.asarray(c, dtype=np.float64) for n, c in model.cores(name).items()}
        for core in cores:
            del tensors[f"{name}.{core}"]
        made = {m.name: m.array(cores) for m in merged}
        stored = {**cores, **made}
        for old, new in names.items():
            tensors[f"{name}.{new}"] = stored[old].astype(np.float32)
        told[name] = merged
    return Model(_respecified(model.spec, {k: f[0] for k, f in fields.items()}), tensors), told


def _merged(
    spec: MatrixSpec, n_gates: int, arch: Architecture, room: int, budget: float
) -> tuple[MatrixSpec, dict[str, str], tuple[Merged, ...]] | None:
    """Return a matrix's merged form, new names of its tensors, and its merges; None without any."""
    matrix = matrix_network(spec, n_gates)
    network = Network({INPUT: matrix.inputs, **matrix.tensors}, matrix.sizes, matrix.outputs)
    largest = max(arch.capacity(space) for space in (0, 1))
    merging = Merging(frozenset(matrix.tensors), min(largest, room), room)
    objective = objective_of("cycles", network, arch)
    node = best_trees(network, objective, 1, merging, budget).trees[0].node
    merged = merged_of(network, node)
    if not merged:
        return None
    stored = merged_network(network, merged, set(node.leaves()))
    names = {n: f"M{k}" for k, n in enumerate(n for n in stored.tensors if n != INPUT)}
    fields: Mapping[str, Any] = {
        "format": "einsum",
        "tensors": {names[n]: list(t) for n, t in stored.tensors.items() if n != INPUT},
        "sizes": dict(stored.sizes),
        "inputs": list(matrix.inputs),
        "outputs": list(matrix.outputs),
    }
    return MatrixSpec.model_validate(fields), names, merged


def _respecified(spec: ModelSpec, fields: Mapping[tuple[int, str], MatrixSpec]) -> ModelSpec:
    """Return a model's spec with some matrices of its layers replaced."""
    layers = []
    for k, layer in enumerate(spec.layers):
        changed = {name: matrix for (number, name), matrix in fields.items() if number == k}
        layers.append(layer.model_copy(update=changed))
    scales = {"scales": None, "data_bits": None} if fields else {}
    return spec.model_copy(update={"layers": tuple(layers), **scales})
