"""Matrix formats: tensors and index names, shapes, the dense matrix they stand for.

Index names: ``I0, I1, ..`` for input modes, ``O0, O1, ..`` for output modes, ``g`` for the gate
where it is an index of its own; bonds are named by each format. Input and output vectors are split
row-major, the first mode slowest. Bonds of size 1 at the ends of trains stay in the arrays and in
the network, where each appears in one tensor only. `docs/formats.md` has formula, source and
counts of every format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from einchip.models.contract import contract

if TYPE_CHECKING:
    from einchip.models.spec import MatrixSpec

Tensors = dict[str, tuple[str, ...]]
Sizes = dict[str, int]
GATE = "g"


@dataclass(frozen=True)
class MatrixNetwork:
    """The tensor network of ``W[outputs.., inputs..]``.

    Attributes:
        tensors: tensor name to its index names, in axis order.
        sizes: size of every index.
        inputs: input index names, slowest first.
        outputs: output index names, slowest first; the gate, where it is an index, is the first.
    """

    tensors: Tensors
    sizes: Sizes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the tensor called `name`."""
        return tuple(self.sizes[i] for i in self.tensors[name])


def matrix_network(spec: MatrixSpec, n_gates: int = 1) -> MatrixNetwork:
    """Name the tensors and indices of a matrix, which holds `n_gates` gates.

    With ``gates`` "separate", index ``g`` is the first axis of every tensor. With ``gate_mode``
    k > 0, axis ``Ok`` becomes the two axes ``g, Ok`` wherever it stands. Else the gate is not an
    index: the first output mode holds it as its slowest part.
    """
    inputs, outputs = input_names(spec), output_names(spec)
    sizes = dict(zip(outputs + inputs, spec.out_modes + spec.in_modes, strict=True))
    tensors, bonds = _BUILDERS[spec.format](spec, inputs, outputs)
    return _with_gates(MatrixNetwork(tensors, sizes | bonds, inputs, outputs), spec, n_gates)


def input_names(spec: MatrixSpec) -> tuple[str, ...]:
    """Return the names of the input indices, slowest first."""
    return spec.inputs or tuple(f"I{k}" for k in range(len(spec.in_modes)))


def output_names(spec: MatrixSpec) -> tuple[str, ...]:
    """Return the names of the output indices, slowest first, without the gate."""
    return spec.outputs or tuple(f"O{k}" for k in range(len(spec.out_modes)))


def _with_gates(network: MatrixNetwork, spec: MatrixSpec, n_gates: int) -> MatrixNetwork:
    """Make the gate an index, where the spec says so."""
    sizes = network.sizes | {GATE: n_gates}
    outputs = (GATE, *network.outputs)
    if spec.gates == "separate":
        tensors = {name: (GATE, *axes) for name, axes in network.tensors.items()}
        return MatrixNetwork(tensors, sizes, network.inputs, outputs)
    if not spec.gate_mode:
        return network
    split = network.outputs[spec.gate_mode]
    tensors = {
        name: tuple(j for i in axes for j in ((GATE, i) if i == split else (i,)))
        for name, axes in network.tensors.items()
    }
    sizes[split] //= n_gates
    return MatrixNetwork(tensors, sizes, network.inputs, outputs)


Names = tuple[str, ...]


def _dense(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """``W[O.., I..]``, one axis per mode."""
    return {"W": outputs + inputs}, {}


def _lowrank(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """``W = U V``: ``U[O.., r] V[r, I..]`` (Eckart and Young, Psychometrika 1, 1936)."""
    return {"U": (*outputs, "r"), "V": ("r", *inputs)}, {"r": one_rank(spec)}


def _train(spec: MatrixSpec) -> Sizes:
    return {f"r{k}": rank for k, rank in enumerate(rank_list(spec))}


def _mpo(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """``sum over r of prod_k Gk[r_k, I_k, O_k, r_(k+1)]``: the TT-matrix.

    Oseledets, SIAM J. Sci. Comput. 33(5), 2011; Novikov et al., NIPS 2015 (arXiv 1509.06569); in
    LSTMs Yang, Krompass, Tresp, ICML 2017 (arXiv 1707.01786) and Gao et al., arXiv 2012.11943.
    """
    pairs = enumerate(zip(inputs, outputs, strict=True))
    return {f"G{k}": (f"r{k}", i, o, f"r{k + 1}") for k, (i, o) in pairs}, _train(spec)


def _mps(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """``sum over r of prod_k Gk[r_k, m_k, r_(k+1)]``, modes ``m = (O0, .., I0, ..)``.

    The tensor train of Oseledets, SIAM J. Sci. Comput. 33(5), 2011.
    """
    modes = enumerate(outputs + inputs)
    return {f"G{k}": (f"r{k}", m, f"r{k + 1}") for k, m in modes}, _train(spec)


def _tr(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """``sum over r of prod_k Gk[r_k, m_k, r_(k+1)]``, modes ``m = (I0, .., O0, ..)``, r_n = r_0.

    Zhao et al., arXiv 1606.05535; in LSTMs Pan et al., AAAI 2019 (arXiv 1811.07503).
    """
    modes = inputs + outputs
    n = len(modes)
    return {f"G{k}": (f"r{k}", m, f"r{(k + 1) % n}") for k, m in enumerate(modes)}, _train(spec)


def _ht(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """Leaves ``Uk[I_k, O_k, s_leaf]`` and nodes ``B[s_left, s_right, s_node]`` of a tree.

    Hackbusch and Kuehn, J. Fourier Anal. Appl. 15, 2009; Grasedyck, SIAM J. Matrix Anal. 31, 2010;
    in LSTMs Yin et al., arXiv 2005.04366. Tensors stand in post-order; the root bond has size 1
    (the rank of the leaf, where the tree is one leaf).
    """
    nodes = ht_nodes(spec)
    tensors = {n.name: (*n.modes, *(f"s_{c}" for c in n.children), f"s_{n.name}") for n in nodes}
    return tensors, {f"s_{n.name}": n.rank for n in nodes}


@dataclass(frozen=True)
class HtNode:
    """A node of a dimension tree: its tensor, its mode indices, its children, its bond upwards."""

    name: str
    modes: tuple[str, ...]
    children: tuple[str, ...]
    rank: int


def balanced(low: int, high: int) -> Any:
    """Return the tree over mode pairs low..high, split in the middle, the longer half first."""
    if low == high:
        return low
    middle = (low + high) // 2
    return (balanced(low, middle), balanced(middle + 1, high))


def ht_nodes(spec: MatrixSpec) -> list[HtNode]:
    """Return the nodes of a hierarchical Tucker matrix in post-order, the root last."""
    tree = balanced(0, len(spec.in_modes) - 1) if spec.tree is None else spec.tree
    found: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
    n_inner = 0

    def visit(node: Any) -> str:
        nonlocal n_inner
        modes: Names = ()
        children: Names = ()
        if isinstance(node, tuple):
            children = (visit(node[0]), visit(node[1]))
            name = f"B{n_inner}"
            n_inner += 1
        elif isinstance(node, int):
            name, modes = f"U{node}", (f"I{node}", f"O{node}")
        else:
            name, modes = f"U_{node}", (node,)
        found.append((name, modes, children))
        return name

    visit(tree)
    ranks: Any = spec.ranks
    leaf, inner = iter(_each(ranks.leaf)), iter(_each(ranks.inner))
    root_is_leaf = len(found) == 1
    rows = [(*row, next(inner if row[2] else leaf)) for row in found[:-1]]
    rows.append((*found[-1], next(leaf) if root_is_leaf else ranks.root))
    return [HtNode(*row) for row in rows]


def _each(value: int | tuple[int, ...]) -> tuple[int, ...]:
    """One rank for all (as many as a tree can have), or the listed ones."""
    return (value,) * 32 if isinstance(value, int) else value


def _bt(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """``sum over n, q of core[n, q_0, ..] prod_k Ak[n, I_k, O_k, q_k]``; n is a hyperedge.

    De Lathauwer, SIAM J. Matrix Anal. 30(3), 2008; in LSTMs Ye et al., CVPR 2018
    (arXiv 1712.05134).
    """
    ranks: Any = spec.ranks
    tensors: Tensors = {
        f"A{k}": ("n", i, o, f"q{k}") for k, (i, o) in enumerate(zip(inputs, outputs, strict=True))
    }
    tensors["core"] = ("n", *(f"q{k}" for k in range(len(inputs))))
    return tensors, {"n": ranks.blocks} | {f"q{k}": q for k, q in enumerate(ranks.tucker)}


def _tucker(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """Two ranks: ``U[I0, q0] core[q0, I1.., q1] V[q1, O..]``; else a factor for every mode.

    Tucker, Psychometrika 31, 1966; Kim et al., ICLR 2016 (arXiv 1511.06530) for Tucker-2; the
    matrix shapes of TedNet, Pan et al., Neurocomputing 2022. All factors and modes:
    ``core[q_0, ..] prod_m U_m[m, q_m]``, m over the inputs, then the outputs.
    """
    ranks = rank_list(spec)
    bonds = {f"q{k}": q for k, q in enumerate(ranks)}
    if len(ranks) == 2:
        core, v = ("q0", *inputs[1:], "q1"), ("q1", *outputs)
        return {"U": (inputs[0], "q0"), "core": core, "V": v}, bonds
    tensors: Tensors = {f"U_{m}": (m, f"q{k}") for k, m in enumerate(inputs + outputs)}
    return tensors | {"core": tuple(bonds)}, bonds


def _cp(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """``sum over r of prod_m U_m[m, r]``; r is a hyperedge.

    Hitchcock, J. Math. Phys. 6, 1927; Kolda and Bader, SIAM Review 51(3), 2009.
    """
    return {f"U_{m}": (m, "r") for m in inputs + outputs}, {"r": one_rank(spec)}


def _kronecker(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """``sum over s of A0[s] (x) A1[s] (x) ..`` with ``Ak[s, O_k, I_k]``; s is a hyperedge.

    One term has no s. Van Loan and Pitsianis, 1993; in LSTMs Thakker et al., arXiv 1906.02876.
    """
    terms = one_rank(spec)
    first = ("s",) if terms > 1 else ()
    pairs = enumerate(zip(inputs, outputs, strict=True))
    return {f"A{k}": (*first, o, i) for k, (i, o) in pairs}, dict.fromkeys(first, terms)


def _einsum(spec: MatrixSpec, inputs: Names, outputs: Names) -> tuple[Tensors, Sizes]:
    """Any network: the tensors and indices that the spec lists."""
    return dict(spec.tensors or {}), dict(spec.sizes or {})


def one_rank(spec: MatrixSpec) -> int:
    """Return the rank of a format that has one. Raises TypeError for another."""
    if not isinstance(spec.ranks, int):
        raise TypeError(f"format {spec.format}: one rank expected")
    return spec.ranks


def rank_list(spec: MatrixSpec) -> tuple[int, ...]:
    """Return the ranks of a format that lists them. Raises TypeError for another."""
    if not isinstance(spec.ranks, tuple):
        raise TypeError(f"format {spec.format}: a list of ranks expected")
    return spec.ranks


_BUILDERS: dict[str, Callable[[MatrixSpec, Names, Names], tuple[Tensors, Sizes]]] = {
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


def core_shapes(spec: MatrixSpec, n_gates: int = 1) -> dict[str, tuple[int, ...]]:
    """Return the shape of every stored tensor, in order."""
    network = matrix_network(spec, n_gates)
    return {name: network.shape(name) for name in network.tensors}


def n_weights(spec: MatrixSpec, n_gates: int = 1) -> int:
    """Return the number of stored weights, biases not counted."""
    return sum(prod(shape) for shape in core_shapes(spec, n_gates).values())


def to_dense(
    spec: MatrixSpec, cores: Mapping[str, NDArray[Any]], n_gates: int = 1
) -> NDArray[np.float64]:
    """Return the matrix ``W[out, in]`` that the tensors stand for, in float64.

    Rows are gate-slowest: ``out = n_gates * hidden_size`` for a gate matrix. `numpy.einsum` over
    `matrix_network` gives the same matrix (up to rounding).
    """
    network = matrix_network(spec, n_gates)
    operands = [(axes, cores[name]) for name, axes in network.tensors.items()]
    return contract(operands, network.outputs + network.inputs).reshape(-1, spec.in_size)
