"""Models whose weights are merged before anything else sees them.

Each matrix becomes one of format "einsum" over the tensors that its quickest contraction tree has:
some as they were, some merged. Float model, calibration and mapping then see merged weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from einchip.arch import Architecture
from einchip.mapper.advice import batched
from einchip.mapper.large import BUDGET, best_trees
from einchip.mapper.merge import Merged, Merging, merged_network, merged_of
from einchip.mapper.objectives import least_cycles
from einchip.mapper.problem import BATCH
from einchip.models import MatrixSpec, Model, ModelSpec, matrix_network, n_weights
from einchip.models.formats import MatrixNetwork
from einchip.models.spec import model_matrices
from einchip.network import Network

#: The input in a matrix's network.
INPUT: Final = "@x"
#: Fields of a layer that hold a matrix which is merged.
FIELDS: Final = ("input", "hidden", "weight")
#: Of both scratchpads what all weights may take, if not said otherwise.
SHARE: Final = 0.5


class MergedMatrix(NamedTuple):
    """A matrix's merged form, the new names of its tensors, and its merges."""

    spec: MatrixSpec
    names: Mapping[str, str]
    merged: tuple[Merged, ...]


def merge_model(
    model: Model,
    arch: Architecture,
    batch: int = 1,
    share: float = SHARE,
    budget: float = BUDGET,
) -> tuple[Model, dict[str, tuple[Merged, ...]]]:
    """Return a model with merged weights, and what was merged in each matrix that changed.

    `merged_matrices` says what is merged, and what `share` is. Merged arrays are rounded to
    float32, as all weights of a model are. Scales that the model carries are those of other
    tensors, and dropped.
    """
    fields = merged_matrices(model.spec, arch, batch, share, budget)
    tensors: dict[str, NDArray[Any]] = dict(model.tensors)
    told: dict[str, tuple[Merged, ...]] = {}
    for name in model_matrices(model.spec):
        key = _field(name)
        if key not in fields:
            continue
        _, names, merged = fields[key]
        cores = {n: np.asarray(c, dtype=np.float64) for n, c in model.cores(name).items()}
        for core in cores:
            del tensors[f"{name}.{core}"]
        made = {m.name: m.array(cores) for m in merged}
        stored = {**cores, **made}
        for old, new in names.items():
            tensors[f"{name}.{new}"] = stored[old].astype(np.float32)
        told[name] = merged
    return Model(_respecified(model.spec, fields), tensors), told


def merge_spec(
    spec: ModelSpec, arch: Architecture, batch: int = 1, share: float = SHARE
) -> ModelSpec:
    """Return what a model is with weights merged for so many sequences side by side."""
    return _respecified(spec, merged_matrices(spec, arch, batch, share, BUDGET))


def merged_matrices(
    spec: ModelSpec, arch: Architecture, batch: int, share: float, budget: float
) -> dict[tuple[int, str], MergedMatrix]:
    """Return what is merged in the matrices of a model, by layer and field.

    All weights together take at most `share` of both scratchpads, each matrix in proportion to its
    size now. Left as they are: joint matrices and embeddings, whose tensors are cut or looked up,
    and networks with one set of tensors for each gate.
    """
    matrices = model_matrices(spec)
    sizes = {name: n_weights(m, n_gates) for name, (m, n_gates) in matrices.items()}
    room = int(share * sum(arch.capacity(space) for space in (0, 1)))
    found: dict[tuple[int, str], MergedMatrix] = {}
    for name, (matrix, n_gates) in matrices.items():
        key = _field(name)
        if key[1] in FIELDS and matrix.gates == "joint" and key not in found:
            own = room * sizes[name] // sum(sizes.values())
            drains = key[1] != "input"  # beside the hidden part, which hides them
            merged = _merged(matrix_network(matrix, n_gates), arch, batch, own, budget, drains)
            if merged:
                found[key] = merged
    return found


def _field(matrix: str) -> tuple[int, str]:
    """Return layer and field of a matrix, (0, "") of one that belongs to no layer."""
    parts = matrix.split(".")
    return (int(parts[1]), parts[-1]) if parts[0] == "layers" else (0, "")


def _merged(
    matrix: MatrixNetwork, arch: Architecture, batch: int, room: int, budget: float, drains: bool
) -> MergedMatrix | None:
    """Return a matrix's merged form; None where nothing is merged.

    Without `drains` other work hides the last drain of each step.
    """
    tensors = {INPUT: matrix.inputs, **matrix.tensors}
    network = batched(Network(tensors, matrix.sizes, matrix.outputs), INPUT, batch)
    largest = max(arch.capacity(space) for space in (0, 1))
    merging = Merging(frozenset(matrix.tensors), min(largest, room), room)
    objective = least_cycles(network, arch, drains)
    node = best_trees(network, objective, 1, merging, budget).trees[0].node
    merged = merged_of(network, node)
    if not merged:
        return None
    stored = merged_network(network, merged, set(node.leaves()))
    names = {n: f"M{k}" for k, n in enumerate(n for n in stored.tensors if n != INPUT)}
    fields: Mapping[str, Any] = {
        "format": "einsum",
        "tensors": {names[n]: list(t) for n, t in stored.tensors.items() if n != INPUT},
        "sizes": {i: n for i, n in stored.sizes.items() if i != BATCH},
        "inputs": list(matrix.inputs),
        "outputs": list(matrix.outputs),
    }
    return MergedMatrix(MatrixSpec.model_validate(fields), names, merged)


def _respecified(spec: ModelSpec, fields: Mapping[tuple[int, str], MergedMatrix]) -> ModelSpec:
    """Return a model's spec with some matrices of its layers replaced."""
    layers = []
    for k, layer in enumerate(spec.layers):
        changed = {name: m.spec for (number, name), m in fields.items() if number == k}
        layers.append(layer.model_copy(update=changed))
    scales = {"scales": None, "data_bits": None} if fields else {}
    return spec.model_copy(update={"layers": tuple(layers), **scales})
