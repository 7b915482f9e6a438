"""From a dense matrix to the tensors of any format, at given modes and ranks.

| format | method | error |
|---|---|---|
| lowrank | SVD | the least (Eckart and Young 1936) |
| mpo, mps | TT-SVD, tensorly (Oseledets 2011, algorithm 1) | at most sqrt(d - 1) times the least |
| ht | leaves-to-root SVDs, tensap (Grasedyck 2010) | at most sqrt(2d - 3) times the least |
| tucker | HOOI from HOSVD, tensorly (De Lathauwer 2000) | at most sqrt(d) times the least |
| kronecker | SVD of the rearranged matrix (Van Loan and Pitsianis 1993) | the least, two factors |
| kronecker, 3 factors and more; cp | alternating least squares, tensorly | no bound |
| tr | TR-SVD, tensorly (Zhao et al. 2016), then alternating least squares | no bound |
| bt, einsum | alternating least squares from several starts | no bound |

d is the number of modes, or of pairs of modes where the format pairs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from operator import itemgetter
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from einchip.models.compress.als import Cores, Fit, Float
from einchip.models.errors import model_error
from einchip.models.extras import library
from einchip.models.formats import (
    HtNode,
    MatrixNetwork,
    core_shapes,
    ht_nodes,
    matrix_network,
    one_rank,
    rank_list,
)
from einchip.models.spec import BtRanks, MatrixSpec

#: Alternating least squares: starts, sweeps after which the best goes on alone, sweeps at most.
N_STARTS: Final = 3
N_TRIAL_SWEEPS: Final = 5
N_SWEEPS: Final = 100

Arrays = dict[str, NDArray[np.float64]]


def decompose(matrix: ArrayLike, spec: MatrixSpec, n_gates: int = 1, seed: int = 0) -> Arrays:
    """Return the tensors of `spec` whose matrix is close to `matrix` ``[n_gates * H, in]``.

    Rows are gate-slowest, as in `to_dense`, which is the inverse up to the error. The tensors have
    the shapes of `core_shapes` and magnitudes balanced between them. Ranks beyond what the matrix
    needs are filled with zeros. Deterministic; `seed` is that of random starts.

    Raises:
        ModelError: the matrix does not have the size of `spec`, or holds NaN or infinity; or a
            library of the extra ``compress`` is missing.
    """
    W = np.asarray(matrix, dtype=np.float64)
    tensors = as_tensors(W, spec, n_gates)
    plain = plain_spec(spec)
    found = [_one(T, plain, seed) for T in tensors]
    balanced = [_balance(cores) for cores in found]
    shapes = core_shapes(spec, n_gates)
    return {n: np.stack([c[n] for c in balanced]).reshape(s) for n, s in shapes.items()}


def _one(T: Float, spec: MatrixSpec, seed: int) -> Cores:
    """Decompose one tensor ``T[O.., I..]``; of one that is zero all tensors are zero."""
    network = matrix_network(spec)
    if not T.any():
        return {name: np.zeros(network.shape(name)) for name in network.tensors}
    return _METHODS[spec.format](T, spec, network, seed)


def plain_spec(spec: MatrixSpec) -> MatrixSpec:
    """Return the spec of one of the tensors of `as_tensors`: its modes, no word of gates."""
    return spec.model_copy(update={"gates": "joint", "gate_mode": 0})


def as_tensors(W: Float, spec: MatrixSpec, n_gates: int = 1) -> list[Float]:
    """Return the tensor ``T[O0, .., I0, ..]`` to decompose; one per gate where they are separate.

    With a gate mode k > 0 the gate, the slowest part of the rows, becomes that of mode k.
    """
    separate = spec.gates == "separate"
    rows = spec.out_size * (n_gates if separate else 1)
    if W.shape != (rows, spec.in_size):
        raise model_error(
            "decompose", "matrix", list(W.shape), [rows, spec.in_size], "correct the modes"
        )
    if not np.isfinite(W).all():
        raise model_error("decompose", "matrix", "NaN or infinity", "finite values", "train again")
    modes = spec.out_modes + spec.in_modes
    if separate:
        return [part.reshape(modes) for part in np.split(W, n_gates)]
    k = spec.gate_mode
    if k == 0:
        return [W.reshape(modes)]
    split = [*spec.out_modes[:k], spec.out_modes[k] // n_gates, *spec.out_modes[k + 1 :]]
    T = W.reshape(n_gates, *split, spec.in_size)
    return [np.moveaxis(T, 0, k).reshape(modes)]


def _balance(cores: Cores) -> Cores:
    """Scale all tensors to one root mean square, their product unchanged."""
    rms = {n: float(np.sqrt(np.mean(c**2))) for n, c in cores.items()}
    if min(rms.values()) == 0.0:
        return cores
    mean = float(np.exp(np.mean(np.log(list(rms.values())))))
    return {n: c * (mean / rms[n]) for n, c in cores.items()}


def _library(name: str) -> Any:
    return library(name, "compress")


def _pad(core: ArrayLike, shape: Sequence[int]) -> Float:
    """Return `core` with zeros behind, where a rank was larger than needed."""
    array = np.asarray(core, dtype=np.float64)
    extra = [(0, n - have) for n, have in zip(shape, array.shape, strict=True)]
    return np.pad(array, extra)


def _named(network: MatrixNetwork, cores: Iterable[ArrayLike]) -> Cores:
    """Give arrays, in the order of the network's tensors, names and shapes."""
    names = list(network.tensors)
    return {n: _pad(c, network.shape(n)) for n, c in zip(names, cores, strict=True)}


def _inputs_first(T: Float, n_out: int) -> Float:
    """Return ``T[I.., O..]`` of ``T[O.., I..]``."""
    return T.transpose([*range(n_out, T.ndim), *range(n_out)])


def _pairs(T: Float, inputs_slow: bool = True) -> Float:
    """Return the tensor with one mode for each pair (I_k, O_k), or (O_k, I_k), of ``T[O.., I..]``.

    The sizes of the pairs are those of the single modes, multiplied.
    """
    n = T.ndim // 2
    order = [axis for k in range(n) for axis in ((n + k, k) if inputs_slow else (k, n + k))]
    return T.transpose(order).reshape([T.shape[k] * T.shape[n + k] for k in range(n)])


def _svd(matrix: Float, rank: int) -> tuple[Float, Float]:
    """Return U and V, the singular values shared evenly, of which ``U V`` is the best of a rank."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    root = np.sqrt(s[:rank])
    return u[:, :rank] * root, root[:, None] * v[:rank]


def _dense(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    return {name: T.reshape(network.shape(name)) for name in network.tensors}


def _lowrank(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    u, v = _svd(T.reshape(spec.out_size, spec.in_size), one_rank(spec))
    u = u.reshape(*spec.out_modes, -1)
    return _named(network, (u, v.reshape(-1, *spec.in_modes)))


def _mpo(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    tensorly = _library("tensorly.decomposition")
    n_out = len(spec.out_modes)
    return _named(
        network,
        tensorly.tensor_train_matrix(_inputs_first(T, n_out), list(rank_list(spec))).factors,
    )


def _mps(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    tensorly = _library("tensorly.decomposition")
    return _named(network, tensorly.tensor_train(T, list(rank_list(spec))).factors)


def _tr(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    """ALS from the best TR-SVD (of each core where the ranks allow one) and from random cores."""
    tensorly = _library("tensorly.decomposition")
    fit = _fit(T, network)
    tensor = _inputs_first(T, len(spec.out_modes))
    ranks = _ring(spec)
    starts: list[Cores] = []
    for k, n in enumerate(tensor.shape):
        if ranks[k] * ranks[k + 1] <= min(n, tensor.size // n):
            ring = tensorly.tensor_ring(tensor, ranks, mode=k).factors
            starts.append(_named(network, ring))
    by_svd = [min(starts, key=fit.error)] if starts else []
    return _best(fit, [*by_svd, fit.random(np.random.default_rng(seed))])


def _ht(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    """SVDs from the leaves to the root."""
    nodes = ht_nodes(spec)
    leaves = [node for node in nodes if not node.children]
    axes = (*network.outputs, *network.inputs)
    merged = T.transpose([axes.index(i) for leaf in leaves for i in leaf.modes])
    merged = merged.reshape([prod(network.sizes[i] for i in leaf.modes) for leaf in leaves])
    if len(leaves) == 1:
        return _named(network, [merged.reshape(*network.shape(nodes[0].name)[:-1], 1)])
    found = _tree_tensors(merged, nodes)
    shaped = []
    for node, core in zip(nodes, found, strict=True):
        modes = [network.sizes[i] for i in node.modes]
        shaped.append(core.reshape(*modes, -1) if modes else core)
    return _named(network, shaped)


def _tree_tensors(T: Float, nodes: Sequence[HtNode]) -> list[Float]:
    """Return tensap's hierarchical Tucker tensors of `nodes`, in post-order; it counts from 1.

    `T` has one mode for every leaf.
    """
    tensap = _library("tensap")
    number = {node.name: k for k, node in enumerate(nodes)}
    leaves = [number[node.name] + 1 for node in nodes if not node.children]
    adjacency = np.zeros((len(nodes), len(nodes)), dtype=int)
    for node in nodes:
        adjacency[number[node.name], [number[c] for c in node.children]] = 1
    truncator = tensap.Truncator(tolerance=0.0, max_rank=[node.rank for node in nodes])
    full = tensap.FullTensor(T, order=T.ndim, shape=T.shape)
    found = truncator.hsvd(full, tensap.DimensionTree(leaves, adjacency)).tensors
    arrays = [np.asarray(t.data, dtype=np.float64).reshape(t.shape) for t in found]
    return [*arrays[:-1], arrays[-1][..., None]]  # the bond above the root


def _tucker(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    tensorly = _library("tensorly.decomposition")
    ranks = list(rank_list(spec))
    tensor = _inputs_first(T, len(spec.out_modes))
    if len(ranks) != 2:
        core, factors = tensorly.tucker(tensor, _useful(ranks, tensor.shape), tol=1e-7)
        return _named(network, [*factors, core])
    tensor = tensor.reshape(spec.in_modes[0], -1, spec.out_size)
    limits = _useful(ranks, (tensor.shape[0], tensor.shape[2]))
    (core, (u, v)), _ = tensorly.partial_tucker(tensor, limits, modes=[0, 2], tol=1e-7)
    core = core.reshape(core.shape[0], *spec.in_modes[1:], core.shape[2])
    return _named(network, [u, core, v.T.reshape(-1, *spec.out_modes)])


def _useful(ranks: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Return Tucker ranks, each at most the size of its mode."""
    return [min(r, n) for r, n in zip(ranks, sizes, strict=True)]


def _cp(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    return _named(network, _parafac(_inputs_first(T, len(spec.out_modes)), one_rank(spec), seed))


def _parafac(T: Float, rank: int, seed: int) -> list[Float]:
    """Return the factors ``[mode, rank]`` of the canonical polyadic decomposition."""
    tensorly = _library("tensorly.decomposition")
    if T.ndim == 1:
        return [_pad(T[:, None], (T.shape[0], rank))]
    if T.ndim == 2:
        u, v = _svd(T, rank)
        return [_pad(u, (T.shape[0], rank)), _pad(v.T, (T.shape[1], rank))]
    by_svd = [("svd", seed)] if rank <= min(T.shape) else []
    starts = [*by_svd, *(("random", seed + k) for k in range(N_STARTS - len(by_svd)))]
    found = []
    for start, number in starts:
        try:
            (weights, factors), errors = tensorly.parafac(
                T,
                rank,
                n_iter_max=N_SWEEPS,
                init=start,
                tol=1e-6,
                random_state=number,
                return_errors=True,
            )
        except np.linalg.LinAlgError:  # of lower rank than asked for: its equations are singular
            continue
        share = np.abs(weights) ** (1 / T.ndim)
        factors = [np.asarray(f) * share for f in factors]
        factors[0] = factors[0] * np.sign(weights)
        found.append((float(errors[-1]), factors))
    return min(found, key=itemgetter(0))[1] if found else _ridged_cp(T, rank, seed)


def _ridged_cp(T: Float, rank: int, seed: int) -> list[Float]:
    """Return the factors found by our own least squares, which bears redundant ranks."""
    output = tuple(f"m{k}" for k in range(T.ndim))
    sizes = dict(zip(output, T.shape, strict=True)) | {"r": rank}
    fit = Fit({m: (m, "r") for m in output}, sizes, output, T)
    return list(fit.run(fit.random(np.random.default_rng(seed)), N_SWEEPS).values())


def _kronecker(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    """Sum of Kronecker products: CP of the tensor whose modes are the pairs (O_k, I_k).

    For two factors that is the SVD of Van Loan's rearranged matrix.
    """
    factors = _parafac(_pairs(T, inputs_slow=False), one_rank(spec), seed)
    names = list(network.tensors)
    return {n: f.T.reshape(network.shape(n)) for n, f in zip(names, factors, strict=True)}


def _bt(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    """ALS from Tucker terms of what the terms before leave, and from random starts."""
    fit, rng = _fit(T, network), np.random.default_rng(seed)
    starts = [_deflated(T, spec, network)]
    starts += [fit.random(rng) for _ in range(N_STARTS - 1)]
    return _best(fit, starts)


def _deflated(T: Float, spec: MatrixSpec, network: MatrixNetwork) -> Cores:
    """Return block terms found one after the other, each a Tucker decomposition of the rest."""
    tensorly = _library("tensorly.decomposition")
    multiply = _library("tensorly.tenalg").multi_mode_dot
    assert isinstance(spec.ranks, BtRanks)
    rest = _pairs(T)
    ranks = _useful(spec.ranks.tucker, rest.shape)
    shapes = [network.shape(name)[1:] for name in network.tensors]
    blocks = []
    for _ in range(spec.ranks.blocks):
        if np.linalg.norm(rest) <= 1e-12 * np.linalg.norm(T):  # nothing left for this term
            blocks.append([np.zeros(s) for s in shapes])
            continue
        if rest.ndim == 1:
            core, factors = np.ones(1), [rest[:, None]]
        else:
            core, factors = tensorly.tucker(rest, ranks)
        rest = rest - multiply(core, factors)
        split = [f.reshape(*s[:-1], -1) for f, s in zip(factors, shapes, strict=False)]
        blocks.append([_pad(c, s) for c, s in zip([*split, core], shapes, strict=True)])
    stacked = [np.stack(parts) for parts in zip(*blocks, strict=True)]
    return _named(network, stacked)


def _einsum(T: Float, spec: MatrixSpec, network: MatrixNetwork, seed: int) -> Cores:
    fit, rng = _fit(T, network), np.random.default_rng(seed)
    return _best(fit, [fit.random(rng) for _ in range(N_STARTS)])


def _fit(T: Float, network: MatrixNetwork) -> Fit:
    output = (*network.outputs, *network.inputs)
    shape = [network.sizes[i] for i in output]
    return Fit(network.tensors, network.sizes, output, T.reshape(shape))


def _best(fit: Fit, starts: Iterable[Cores]) -> Cores:
    """Return the fit from the start that is the best one after a few sweeps."""
    tried = [fit.run(start, N_TRIAL_SWEEPS) for start in starts]
    return fit.run(min(tried, key=fit.error), N_SWEEPS)


def _ring(spec: MatrixSpec) -> list[int]:
    """Return the ranks of a tensor ring, the first repeated at the end."""
    ranks = list(rank_list(spec))
    n = len(spec.in_modes) + len(spec.out_modes)
    return ranks if len(ranks) == n + 1 else [*ranks, ranks[0]]


_METHODS: Final[dict[str, Callable[[Float, MatrixSpec, MatrixNetwork, int], Cores]]] = {
    "dense": _dense,
    "lowrank": _lowrank,
    "mpo": _mpo,
    "mps": _mps,
    "ht": _ht,
    "tr": _tr,
    "bt": _bt,
    "tucker": _tucker,
    "cp": _cp,
    "kronecker": _kronecker,
    "einsum": _einsum,
}
