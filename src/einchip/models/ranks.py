"""What modes and ranks each format can have; a refusal is ``found .., expected ..; what to do``.

The rule for bonds of trains, trees and Tucker factors: cutting the bond splits the modes in two,
and a rank above the product of the modes on either side adds weights and no matrices: it is
refused, and the message names the largest useful rank. A ring, CP, blocks and Kronecker terms have
no such bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

from einchip.models.formats import ht_nodes

if TYPE_CHECKING:
    from einchip.models.spec import MatrixSpec

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
#: Names of data tensors where a matrix is used: a weight may not take them.
RESERVED = re.compile(r"x|h|e[0-9]+")
PAIRED = ("mpo", "bt", "kronecker")
#: Formats with a single rank.
ONE_RANK = ("lowrank", "cp", "kronecker")
EINSUM_FIELDS = ("tensors", "sizes", "inputs", "outputs")


def refuse(found: object, expected: object, advice: str) -> ValueError:
    """Return the error of a rule."""
    return ValueError(f"found {found}, expected {expected}; {advice}")


def check_matrix(spec: MatrixSpec) -> None:
    """Raise ValueError unless modes, ranks and the other fields fit the format.

    Dense and low-rank matrices may leave out their modes until a layer fills them in.
    """
    n_in, n_out = len(spec.in_modes), len(spec.out_modes)
    if spec.format in ("dense", "lowrank"):
        if bool(n_in) != bool(n_out):
            found = f"{n_in} in_modes and {n_out} out_modes"
            raise refuse(found, "both or none", "list both, or leave both out")
    elif not n_in or not n_out:
        found = f"{n_in} in_modes and {n_out} out_modes"
        raise refuse(found, "at least one of each", f"list the modes of the {spec.format} matrix")
    if spec.format in PAIRED or (spec.format == "ht" and spec.tree is None):
        _check_paired(n_in, n_out)
    _RULES[spec.format](spec)
    if spec.gate_mode >= max(n_out, 1):
        found = f"gate_mode {spec.gate_mode} for {n_out} out_modes"
        raise refuse(found, f"less than {n_out}", "count the output modes from 0")


def _check_paired(n_in: int, n_out: int) -> None:
    if n_in != n_out:
        found = f"{n_in} in_modes and {n_out} out_modes"
        raise refuse(
            found,
            "equal numbers",
            "pair every input mode with an output mode (a mode may be 1)",
        )


def check_fields(spec: MatrixSpec) -> None:
    """Raise ValueError for a field that the format would ignore, and for a wrong einsum."""
    if spec.tree is not None and spec.format != "ht":
        raise refuse("a tree", f"none for format {spec.format}", "remove tree")
    for name in EINSUM_FIELDS:
        given, wanted = getattr(spec, name) is not None, spec.format == "einsum"
        if given and not wanted:
            raise refuse(name, f"none for format {spec.format}", f"remove {name}")
        if wanted and not given:
            raise refuse(f"no {name}", "it for format einsum", f"add {name}")
    if spec.gate_mode and spec.gates == "separate":
        raise refuse(f"gate_mode {spec.gate_mode}", "0 for separate gates", "remove gate_mode")
    if spec.format == "einsum":
        _check_einsum(spec)


def _kind(ranks: object) -> str:
    kinds = {int: "one rank", tuple: "a list of ranks"}
    return kinds.get(type(ranks), type(ranks).__name__.replace("Ranks", " ranks").lower())


#: How ranks are written, by format.
_EXAMPLES: dict[str, str] = {
    **dict.fromkeys(ONE_RANK, "write one number, as ranks: 3"),
    **dict.fromkeys(("mpo", "mps"), "list all bonds with the ends, as ranks: [1, 3, 3, 1]"),
    "tr": "list a bond for each mode, as ranks: [3, 3, 3, 3]",
    "tucker": "list two ranks, or one for each mode, as ranks: [3, 3]",
    "ht": "name both kinds, as ranks: {leaf: 3, inner: 3}",
    "bt": "name both kinds, as ranks: {tucker: [3, 3], blocks: 2}",
}


def _want(spec: MatrixSpec, kind: type, words: str) -> Any:
    """Return the ranks, which must be of one kind."""
    if not isinstance(spec.ranks, kind):
        found = "no ranks" if spec.ranks == () else _kind(spec.ranks)
        raise refuse(found, f"{words} for format {spec.format}", _EXAMPLES[spec.format])
    return spec.ranks


def _bond(rank: int, bond: str, limit: int) -> None:
    """Refuse a rank above `limit`, the product of the modes on one side of the bond."""
    if rank > limit:
        raise refuse(
            f"rank {rank} for bond {bond}",
            f"at most {limit}, the product of the modes on one side of it",
            "lower the rank",
        )


def _check_none(spec: MatrixSpec) -> None:
    if spec.ranks != ():
        raise refuse("ranks", f"none for format {spec.format}", "remove ranks")


def _check_lowrank(spec: MatrixSpec) -> None:
    rank = _want(spec, int, "one rank")
    if spec.in_modes:
        _bond(rank, "r", min(spec.in_size, spec.out_size))


def _check_one(spec: MatrixSpec) -> None:
    _want(spec, int, "one rank")


def _check_train(spec: MatrixSpec) -> None:
    ranks = _want(spec, tuple, "a list of ranks")
    pairs = tuple(i * o for i, o in zip(spec.in_modes, spec.out_modes, strict=False))
    sizes = pairs if spec.format == "mpo" else spec.out_modes + spec.in_modes
    n = len(sizes)
    if len(ranks) != n + 1:
        raise refuse(
            f"{len(ranks)} ranks",
            f"{n + 1} for {n} cores",
            "list the ranks from the left end to the right end, both included",
        )
    if ranks[0] != 1 or ranks[-1] != 1:
        raise refuse(
            f"ranks with ends {ranks[0]} and {ranks[-1]}",
            "1 and 1",
            "set the first and the last rank to 1 (open train)",
        )
    for k in range(1, n):
        _bond(ranks[k], f"r{k}", min(prod(sizes[:k]), prod(sizes[k:])))


def _check_ring(spec: MatrixSpec) -> None:
    ranks = _want(spec, tuple, "a list of ranks")
    n = len(spec.in_modes) + len(spec.out_modes)
    if len(ranks) != n:
        advice = "list the bond in front of every core, once each"
        raise refuse(f"{len(ranks)} ranks", f"{n} for a ring of {n} cores", advice)


def _check_tucker(spec: MatrixSpec) -> None:
    ranks = _want(spec, tuple, "a list of ranks")
    modes = spec.in_modes + spec.out_modes
    if len(ranks) == 2:
        limits = [spec.in_modes[0], spec.out_size]
    elif len(ranks) == len(modes):
        limits = list(modes)
    else:
        advice = "give two ranks, or one for every mode, inputs first"
        raise refuse(f"{len(ranks)} ranks", f"2 (Tucker-2) or {len(modes)}", advice)
    for k, (rank, limit) in enumerate(zip(ranks, limits, strict=True)):
        _bond(rank, f"q{k}", limit)


def _check_bt(spec: MatrixSpec) -> None:
    from einchip.models.spec import BtRanks

    ranks = _want(spec, BtRanks, "{tucker: [..], blocks: N}")
    n = len(spec.in_modes)
    if len(ranks.tucker) != n:
        advice = "give one Tucker rank for every pair of modes"
        raise refuse(f"{len(ranks.tucker)} Tucker ranks", f"{n} for {n} mode pairs", advice)
    for k, rank in enumerate(ranks.tucker):
        _bond(rank, f"q{k}", spec.in_modes[k] * spec.out_modes[k])


def _check_ht(spec: MatrixSpec) -> None:
    from einchip.models.spec import HtRanks

    ranks = _want(spec, HtRanks, "{leaf: .., inner: ..}")
    sizes = {f"I{k}": n for k, n in enumerate(spec.in_modes)}
    sizes |= {f"O{k}": n for k, n in enumerate(spec.out_modes)}
    n_leaves = _check_tree(spec.tree, set(sizes)) if spec.tree is not None else len(spec.in_modes)
    for name, wanted in (("leaf", n_leaves), ("inner", max(n_leaves - 2, 0))):
        given = getattr(ranks, name)
        if isinstance(given, tuple) and len(given) != wanted:
            advice = f"give one rank for all, or {wanted}"
            raise refuse(f"{len(given)} {name} ranks", f"{wanted} for this tree", advice)
    nodes = ht_nodes(spec)
    inside: dict[str, int] = {}
    for node in nodes:
        modes = prod(sizes[m] for m in node.modes)
        inside[node.name] = modes * prod(inside[c] for c in node.children)
    for node in nodes:
        outside = prod(sizes.values()) // inside[node.name]
        root = node is nodes[-1]
        limit = inside[node.name] if root else min(inside[node.name], outside)
        _bond(node.rank, f"s_{node.name}", limit)


def _check_tree(tree: object, modes: set[str]) -> int:
    """Return the number of leaves of a tree that holds every mode once."""
    left, n_leaves, stack = set(modes), 0, [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, tuple):
            stack += node
            continue
        n_leaves += 1
        for mode in (f"I{node}", f"O{node}") if isinstance(node, int) else (str(node),):
            if mode not in left:
                why = "twice in the tree" if mode in modes else "in the tree"
                raise refuse(f"mode {mode} {why}", "every mode once", "correct the tree")
            left.remove(mode)
    if left:
        raise refuse(f"no mode {min(left)} in the tree", "every mode once", "add it to a leaf")
    return n_leaves


def _check_einsum(spec: MatrixSpec) -> None:
    tensors, sizes = spec.tensors or {}, spec.sizes or {}
    if not 1 <= len(tensors) <= 64:
        raise refuse(f"{len(tensors)} tensors", "1 to 64", "list the tensors of the matrix")
    used: set[str] = set()
    for name, axes in tensors.items():
        if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
            expected = "letters, digits and _, not x, h, e0, e1, .. (the data)"
            raise refuse(f"tensor name {name!r}", expected, "rename it")
        if len(set(axes)) != len(axes) or len(axes) > 32:
            found = f"tensor {name} over {list(axes)}"
            raise refuse(found, "up to 32 indices, each once", "rewrite it")
        used.update(axes)
    _check_indices(spec, used, sizes)


def _check_indices(spec: MatrixSpec, used: set[str], sizes: dict[str, int]) -> None:
    for index in sorted(used ^ set(sizes)):
        found = f"index {index} " + ("without a size" if index in used else "in no tensor")
        raise refuse(found, "sizes of the tensors' indices", "correct sizes or tensors")
    for index in sorted(used):
        if not NAME.fullmatch(index):
            raise refuse(f"index {index!r}", "letters, digits and _", "rename it")
    ends = (*(spec.inputs or ()), *(spec.outputs or ()))
    if len(set(ends)) != len(ends):
        raise refuse("an index twice in inputs and outputs", "each once", "rewrite the network")
    for index in ends:
        if index not in used:
            raise refuse(f"index {index} in no tensor", "indices of the tensors", "correct it")
    if "g" in used and (spec.gates == "separate" or spec.gate_mode):
        raise refuse("index g", "another name: g is the gate here", "rename it")


_RULES: dict[str, Callable[[MatrixSpec], None]] = {
    "dense": _check_none,
    "lowrank": _check_lowrank,
    "mpo": _check_train,
    "mps": _check_train,
    "ht": _check_ht,
    "tr": _check_ring,
    "bt": _check_bt,
    "tucker": _check_tucker,
    "cp": _check_one,
    "kronecker": _check_one,
    "einsum": _check_none,
}
