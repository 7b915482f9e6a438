"""Compression of a whole model, matrix by matrix, with the figures of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from math import prod
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from einchip.models.compress.als import Float
from einchip.models.compress.decompose import Arrays
from einchip.models.compress.modes import joint_modes, matrix_modes, padded_factors
from einchip.models.compress.ranks import BLOCKS, Site, Target, relative_error, svd_error
from einchip.models.errors import ModelError, one_line
from einchip.models.formats import n_weights
from einchip.models.io import parse_spec
from einchip.models.model import Model
from einchip.models.ranks import PAIRED
from einchip.models.spec import Format, MatrixSpec, ModelSpec, RecurrentSpec

#: Largest dense matrix that is decomposed, in elements: 512 MiB in float64.
MAX_ELEMENTS: Final = 2**26
#: Weights that given ranks may lead to: so many times the dense ones, or so many at least.
MAX_GROWTH: Final = 8
MIN_LIMIT: Final = 2**12


@dataclass(frozen=True)
class Plan:
    """What to make of a model's matrices.

    Attributes:
        format: of every compressed matrix.
        target: what decides the ranks.
        in_modes, out_modes: of every compressed matrix; empty: balanced factors of its sizes.
            Out modes hold the gates (first mode slowest), unless gates are separate.
        gates: one network for all gates, or one for each where there are several.
        blocks: terms of a block-term decomposition.
        only: names of matrices (``layers.0.hidden``; ``*`` stands for any text), the others stay;
            empty: all matrices of recurrent layers, or all matrices where there are none.
        keep: names of matrices that stay, in the same form.
    """

    format: Format
    target: Target
    in_modes: tuple[int, ...] = ()
    out_modes: tuple[int, ...] = ()
    gates: Literal["joint", "separate"] = "joint"
    blocks: int = BLOCKS
    only: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class MatrixReport:
    """One compressed matrix.

    Attributes:
        name: its name, ``layers.0.hidden``.
        n_gates: gates in it.
        before, after: its formats.
        dense_weights, weights_before, weights_after: of one of its matrices.
        error: relative Frobenius error against the matrix before; the worst of both directions.
        svd_rank, svd_error: of the best SVD with no more weights, for comparison.
    """

    name: str
    n_gates: int
    before: MatrixSpec
    after: MatrixSpec
    dense_weights: int
    weights_before: int
    weights_after: int
    error: float
    svd_rank: int
    svd_error: float

    @property
    def ratio(self) -> float:
        """How many times fewer weights than the dense matrix."""
        return self.dense_weights / self.weights_after

    @property
    def warning(self) -> str:
        """A sentence where an SVD, or no compression, would do better, else nothing."""
        if self.ratio < 1:
            return (
                f"{self.name}: {self.after.format} has {self.weights_after:,} weights, the dense "
                f"matrix {self.dense_weights:,}"
            )
        if self.error <= self.svd_error + 1e-9:
            return ""
        return (
            f"{self.name}: {self.after.format} has relative error {self.error:.3f}; an SVD of rank "
            f"{self.svd_rank}, with no more weights, has {self.svd_error:.3f}"
        )


@dataclass(frozen=True)
class Place:
    """Where a model has a matrix, or the two matrices of two directions.

    Attributes:
        name: ``embedding``, ``layers.0.input``, ``layers.1.weight``, ..
        path: keys of its format in the model's spec.
        spec: its format.
        n_gates: gates in it.
        copies: names of its matrices in `model_matrices`, one for each direction.
        recurrent: whether it belongs to a recurrent layer.
        joint_sizes: sizes of x and h, where it multiplies both.
        columns: columns that matter, where more may be stored (an embedding's vocabulary).
    """

    name: str
    path: tuple[str | int, ...]
    spec: MatrixSpec
    n_gates: int
    copies: tuple[str, ...]
    recurrent: bool = False
    joint_sizes: tuple[int, int] = (0, 0)
    columns: int = 0


def places(spec: ModelSpec) -> Iterator[Place]:
    """Yield the places of all weight matrices of a model."""
    if spec.embedding is not None:
        e = spec.embedding
        path = ("embedding", "weight")
        yield Place("embedding", path, e.weight, 1, ("embedding",), columns=e.vocabulary)
    for k, layer in enumerate(spec.layers):
        if isinstance(layer, RecurrentSpec):
            yield from _recurrent_places(k, layer)
        else:
            name = f"layers.{k}.weight"
            yield Place(name, ("layers", k, "weight"), layer.weight, 1, (name,))


def _recurrent_places(k: int, layer: RecurrentSpec) -> Iterator[Place]:
    for part, matrix in layer.matrices.items():
        yield Place(
            name=f"layers.{k}.{part}",
            path=("layers", k, part),
            spec=matrix,
            n_gates=layer.n_gates,
            copies=tuple(f"layers.{k}.{d}{part}" for d in layer.directions),
            recurrent=True,
            joint_sizes=(layer.input_size, layer.hidden_size) if part == "joint" else (0, 0),
        )


def compress_model(
    model: Model, plan: Plan, progress: Callable[[str], None] | None = None
) -> tuple[Model, list[MatrixReport]]:
    """Return the model with matrices in another format, and the figures of each.

    Raises:
        ModelError: names that are no matrices of the model, modes that do not fit, a target that
            cannot be met, matrices that are too large.
    """
    raw = model.spec.model_dump()
    tensors = dict(model.tensors)
    reports = []
    for place in selected(model.spec, plan):
        if progress is not None:
            progress(place.name)
        report, cores = _compress(place, model, plan)
        for copy in place.copies:
            for name in model.cores(copy):
                del tensors[f"{copy}.{name}"]
        tensors |= {name: core.astype(np.float32) for name, core in cores.items()}
        _put(raw, place.path, report.after.model_dump())
        reports.append(report)
    return Model(parse_spec(raw, model.spec.name), tensors), reports


def selected(spec: ModelSpec, plan: Plan) -> list[Place]:
    """Return the matrices of a model that a plan is about."""
    found = list(places(spec))
    names = [m.name for m in found]
    for pattern in (*plan.only, *plan.keep):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ModelError(
                f"{one_line(spec.name)}: {one_line(pattern)}: found no such matrix, expected one "
                f"of {', '.join(names)}; correct --only or --keep"
            )
    recurrent = any(m.recurrent for m in found)
    chosen = [
        m
        for m in found
        if (_matches(m.name, plan.only) if plan.only else m.recurrent or not recurrent)
        and not _matches(m.name, plan.keep)
    ]
    if not chosen:
        raise ModelError(f"{one_line(spec.name)}: no matrix left to compress; change --keep")
    return chosen


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _compress(
    place: Place, model: Model, plan: Plan
) -> tuple[MatrixReport, dict[str, NDArray[np.float64]]]:
    """Return the figures and the new tensors of one place."""
    gates = place.n_gates if place.spec.gates == "separate" else 1
    size = place.spec.in_size * place.spec.out_size * gates
    if size > MAX_ELEMENTS:
        raise ModelError(
            f"{place.name}: found a matrix of {size} elements, expected at most {MAX_ELEMENTS}; "
            "keep it with --keep, or train it in its format"
        )
    dense = [model.matrix(copy)[:, : place.columns or None] for copy in place.copies]
    template = _template(place, plan, dense[0].shape)
    padded = tuple(np.pad(W, ((0, 0), (0, template.in_size - W.shape[1]))) for W in dense)
    site = Site(place.name, padded, template, place.n_gates, plan.blocks)
    after = _validated(place.name, site.choose(plan.target))
    _check_weights(site, after)
    found = [site.cores(W, after) for W in padded]
    report = _report(place, after, padded, found)
    named = zip(place.copies, found, strict=True)
    return report, {f"{copy}.{n}": core for copy, cores in named for n, core in cores.items()}


def _validated(name: str, spec: MatrixSpec) -> MatrixSpec:
    """Return the spec with the checks of a file's; listed ranks may be impossible."""
    try:
        return MatrixSpec.model_validate(spec.model_dump(exclude_none=True))
    except ValidationError as e:
        entry = e.errors()[0]
        said = entry.get("ctx", {}).get("error", entry["msg"])
        raise ModelError(f"{name}: {one_line(said, 300)}") from None


def _check_weights(site: Site, spec: MatrixSpec) -> None:
    """Refuse ranks that multiply the weights: formats without a largest useful rank take any."""
    limit = max(MAX_GROWTH * site.dense_weights, MIN_LIMIT)
    if site.weights(spec) > limit:
        raise ModelError(
            f"{site.name}: {spec.format}: found {site.weights(spec)} weights with these ranks, "
            f"expected at most {limit} for a matrix of {site.dense_weights}; lower --rank or "
            "--blocks"
        )


def _report(
    place: Place, after: MatrixSpec, dense: tuple[Float, ...], found: list[Arrays]
) -> MatrixReport:
    pairs = list(zip(dense, found, strict=True))
    weights = n_weights(after, place.n_gates)
    comparison = [svd_error(W, weights) for W in dense]
    return MatrixReport(
        name=place.name,
        n_gates=place.n_gates,
        before=place.spec,
        after=after,
        dense_weights=dense[0].shape[0] * (place.columns or dense[0].shape[1]),
        weights_before=n_weights(place.spec, place.n_gates),
        weights_after=weights,
        error=max(relative_error(W, after, cores, place.n_gates) for W, cores in pairs),
        svd_rank=comparison[0][0],
        svd_error=max(error for _, error in comparison),
    )


def _template(place: Place, plan: Plan, shape: tuple[int, ...]) -> MatrixSpec:
    """Return format and modes of a matrix ``[rows, columns]`` by a plan, ranks still to choose."""
    rows, columns = shape
    separate = plan.gates == "separate" and place.n_gates > 1
    hidden = rows // place.n_gates
    in_modes, out_modes = matrix_modes(plan.format, columns, hidden, place.n_gates, separate)
    if place.columns and plan.format not in ("dense", "lowrank"):
        in_modes = padded_factors(columns, len(in_modes))
    if all(place.joint_sizes):
        in_modes = joint_modes(plan.format, *place.joint_sizes)
    in_modes, out_modes = plan.in_modes or in_modes, plan.out_modes or out_modes
    wanted = hidden if separate else rows
    fits = prod(in_modes) >= columns if place.columns else prod(in_modes) == columns
    for option, modes, good, size in (
        ("--in-modes", in_modes, fits, columns),
        ("--out-modes", out_modes, prod(out_modes) == wanted, wanted),
    ):
        if not good:
            raise ModelError(
                f"{place.name}: {option}: found {one_line(list(modes))} with product "
                f"{prod(modes)}, expected product {size}; give other modes, or choose matrices "
                "with --only"
            )
    _check_pairs(place.name, plan.format, in_modes, out_modes)
    gates = "separate" if separate else "joint"
    return MatrixSpec.model_construct(
        format=plan.format, in_modes=in_modes, out_modes=out_modes, gates=gates
    )


def _check_pairs(name: str, format_: Format, ins: tuple[int, ...], outs: tuple[int, ...]) -> None:
    if format_ in (*PAIRED, "ht") and len(ins) != len(outs):
        raise ModelError(
            f"{name}: found {len(ins)} input and {len(outs)} output modes, expected as many of one "
            f"as of the other for {format_}; give both --in-modes and --out-modes"
        )


def _put(raw: dict[str, Any], path: tuple[str | int, ...], value: object) -> None:
    """Set an entry deep in a decoded spec; tuples on the way become lists."""
    node: Any = raw
    for key, following in pairwise(path):
        child = node[key]
        if isinstance(following, int) and isinstance(child, tuple):
            child = node[key] = list(child)
        node = child
    node[path[-1]] = value
