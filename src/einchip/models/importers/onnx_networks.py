"""Einsum nodes, and products with a part of a vector, as one compressed matrix.

A chain of contractions turns the input's modes into output modes step by step; what is between is
a `Network`: tensors, and legs of which some are modes of the input that wait for their tensor. When
none is left, the chain is a matrix of format "einsum".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import prod
from string import ascii_lowercase
from typing import Final

import numpy as np

from einchip.models.importers.onnx_file import Node
from einchip.models.importers.onnx_moves import UnfitError, letter_sizes
from einchip.models.importers.onnx_signals import Ids, Network, Signal, Signals
from einchip.models.importers.stages import Float32, Linear
from einchip.models.spec import MatrixSpec

#: Most axes of an operand: einsum has letters for no more.
MAX_AXES: Final = 20
Terms = Sequence[tuple[str, Float32]]


def is_part(signals: Signals, rows: Ids) -> bool:
    """Whether rows ``[n, k]`` hold some modes of a vector each, or are the output of a chain."""
    if not signals.known:
        return rows.shape[1] != signals.input_shape[-1] and _modes_of_input(signals, rows)
    signal, _, feature = signals.decode(rows)
    return signal.network is not None or bool((feature != feature[:1]).any())


def product(signals: Signals, node: Node, ids: Ids, matrix: Float32) -> Ids:
    """Return ``ids @ matrix``, whose rows are parts of vectors, as a step of a chain.

    Axes are cut first, so that each is of rows or of one mode.
    """
    parts = _all_parts(signals, ids)
    shape = [n for axis in parts for n in axis]
    if len(shape) > MAX_AXES:
        raise UnfitError(f"more than {MAX_AXES} modes")
    letters = ascii_lowercase[: len(shape)]
    kept, summed = letters[: -len(parts[-1])], letters[-len(parts[-1]) :]
    terms = [(summed + "Z", matrix.reshape(*parts[-1], -1))]
    made = contract(signals, node, ids.reshape(shape), letters, terms, kept + "Z")
    return made.reshape(*ids.shape[:-1], matrix.shape[1])


def _all_parts(signals: Signals, ids: Ids) -> list[list[int]]:
    """Return for every axis the sizes into which it is cut."""
    if signals.known:
        _, row, feature = signals.decode(ids)
    else:
        row, feature = np.divmod(ids, _last(signals))
    lines = [
        tuple(slice(None) if a == axis else 0 for a in range(ids.ndim)) for axis in range(ids.ndim)
    ]
    return [_parts(row[line], feature[line]) for line in lines]


def _parts(row: Ids, feature: Ids) -> list[int]:
    """Return the sizes of an axis' parts: along each only the row changes, or one mode."""
    n = len(row)
    if n > 1 and row[1] != row[0]:
        differs = feature != feature[0]
    else:
        step = feature[min(1, n - 1)] - feature[0]
        differs = (row != row[0]) | (feature != feature[0] + step * np.arange(n))
    (changes,) = np.nonzero(differs)
    if not len(changes):
        return [n]
    inner = int(changes[0])
    if inner < 2 or n % inner:
        raise UnfitError("a reshape that mixes steps and features")
    return [*_parts(row[::inner], feature[::inner]), inner]


def _modes_of_input(signals: Signals, rows: Ids) -> bool:
    """Whether rows of the input stay inside its last dimension."""
    last = signals.input_shape[-1]
    return bool((rows // last == rows[:, :1] // last).all())


@dataclass(frozen=True)
class _Axes:
    """The axes of a traced operand: those of rows, and those of legs with their strides."""

    rows: tuple[int, ...]
    legs: tuple[int, ...]
    strides: tuple[int, ...]


def contract(signals: Signals, node: Node, ids: Ids, term: str, others: Terms, result: str) -> Ids:
    """Contract a traced tensor with constants, ``term, others -> result`` in einsum's letters.

    Raises:
        UnfitError: the equation is no matrix applied to each row.
    """
    sizes = letter_sizes(
        [term, *(t for t, _ in others)], [ids.shape, *(a.shape for _, a in others)]
    )
    in_tensors = set("".join(t for t, _ in others))
    _check_letters(term, in_tensors, result)
    axes = _axes(signals, ids, term, in_tensors)
    moved = ids.transpose(axes.rows + axes.legs)
    shape = moved.shape[: len(axes.rows)]
    leg_sizes = moved.shape[len(axes.rows) :]
    vectors = signals.vectors(moved.reshape(prod(shape), prod(leg_sizes)))
    signal = vectors.signal
    grid = np.indices(leg_sizes).reshape(len(leg_sizes), -1)
    affine = np.array(axes.strides, dtype=np.int64) @ grid
    if not np.array_equal(vectors.order, affine) or len(affine) != signal.n_features:
        raise UnfitError("an operand that is no reshaped and transposed vector")
    network, parent = _start(signal)
    letters = "".join(term[a] for a in axes.legs)
    network, groups = _grouped(network, axes, leg_sizes, letters)
    network = _extend(network, groups, others, result, sizes)
    row_letters = "".join(term[a] for a in axes.rows)
    n_rows = len(vectors.rows)
    made = _signal(signals, node, network, parent, signal, vectors.per_step, n_rows, vectors.order)
    numbers = made.ids(vectors.rows[:, None], np.arange(made.n_features))
    legs = [c for c in result if c not in row_letters]
    numbers = numbers.reshape(*shape, *(sizes[c] for c in legs))
    have = row_letters + "".join(legs)
    return numbers.transpose([have.index(c) for c in result])


def _check_letters(term: str, in_tensors: set[str], result: str) -> None:
    known = in_tensors | set(term)
    if len(set(result)) != len(result) or not set(result) <= known:
        raise UnfitError(f"a result {result!r} with a letter twice or from nowhere")
    for letter in term:
        if letter in in_tensors and letter in result:
            raise UnfitError(f"letter {letter!r} in data, weights and result")
        if letter not in in_tensors and letter not in result:
            raise UnfitError(f"letter {letter!r}, over which the data are summed without a weight")


def _axes(signals: Signals, ids: Ids, term: str, in_tensors: set[str]) -> _Axes:
    """Tell the axes of features from those of rows."""
    if not signals.known:
        legs = [
            a for a, c in enumerate(term) if c in in_tensors or 0 < _step(ids, a) < _last(signals)
        ]
        others = [a for a in range(ids.ndim) if a not in legs]
        n = prod(ids.shape[a] for a in legs)
        signals.resolve_input(ids.transpose(others + legs).reshape(-1, n))
    _, _, feature = signals.decode(ids)
    steps = [_step(feature, a) for a in range(ids.ndim)]
    legs = [a for a, c in enumerate(term) if c in in_tensors or steps[a]]
    rows = tuple(a for a in range(ids.ndim) if a not in legs)
    legs.sort(key=lambda a: (-steps[a], ids.shape[a]))
    return _Axes(rows, tuple(legs), tuple(steps[a] for a in legs))


def _step(ids: Ids, axis: int) -> int:
    """Return how far an element's number moves along an axis, from the first to the second."""
    if ids.shape[axis] < 2:
        return 0
    first = ids[(0,) * ids.ndim]
    second = ids[tuple(int(a == axis) for a in range(ids.ndim))]
    return int(second - first)


def _last(signals: Signals) -> int:
    return signals.input_shape[-1] if signals.input_shape else 1


def _start(signal: Signal) -> tuple[Network, Signal]:
    """Return the chain so far and the signal at its start."""
    if signal.network is not None and signal.parent is not None:
        return signal.network, signal.parent
    return Network(("m0",), ("m0",), {"m0": signal.n_features}, ()), signal


def _fresh(network: Network) -> str:
    return next(name for k in count(len(network.sizes)) if (name := f"m{k}") not in network.sizes)


def _grouped(
    network: Network, axes: _Axes, leg_sizes: Sequence[int], letters: str
) -> tuple[Network, dict[str, tuple[str, ...]]]:
    """Cut legs so that every axis of the operand is a group of whole legs; return the groups."""
    for stride, size in zip(axes.strides, leg_sizes, strict=True):
        for boundary in (stride, stride * size):
            if size > 1:
                network = _cut(network, boundary)
    groups: dict[str, tuple[str, ...]] = {}
    for letter, stride, size in zip(letters, axes.strides, leg_sizes, strict=True):
        groups[letter] = tuple(
            leg
            for leg, low in _strides(network)
            if size > 1 and network.sizes[leg] > 1 and stride <= low < stride * size
        )
    units = [leg for leg, _ in _strides(network) if network.sizes[leg] == 1]
    for letter, size in zip(letters, leg_sizes, strict=True):
        if size == 1 and units:
            groups[letter] = (units.pop(),)
    if not groups:
        raise UnfitError("no letter of the data is a feature")
    if units:  # legs of size 1 that a reshape dropped go with a neighbour
        last = next(iter(groups))
        groups[last] = (*units, *groups[last])
    return network, groups


def _strides(network: Network) -> list[tuple[str, int]]:
    """Return every leg with the distance of its neighbouring elements."""
    sizes = [network.sizes[leg] for leg in network.legs]
    return [(leg, prod(sizes[k + 1 :])) for k, leg in enumerate(network.legs)]


def _cut(network: Network, boundary: int) -> Network:
    """Cut the leg in which a distance lies into a slow and a fast one."""
    for leg, low in _strides(network):
        size = network.sizes[leg]
        if not low < boundary < low * size:
            continue
        if boundary % low or (low * size) % boundary:
            raise UnfitError("a reshape that cuts a mode into no whole parts")
        return _cut_leg(network, leg, low * size // boundary, boundary // low)
    return network


def _cut_leg(network: Network, leg: str, slow: int, fast: int) -> Network:
    """Replace an index by two, in every tensor too."""
    a = _fresh(network)
    sizes = {**network.sizes, a: slow}
    b = _fresh(replace(network, sizes=sizes))
    sizes[b] = fast
    del sizes[leg]

    def split(indices: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(x for i in indices for x in ((a, b) if i == leg else (i,)))

    tensors = tuple(
        (split(i), array.reshape([sizes[x] for x in split(i)])) for i, array in network.tensors
    )
    return Network(split(network.inputs), split(network.legs), sizes, tensors)


def _extend(
    network: Network,
    groups: dict[str, tuple[str, ...]],
    others: Terms,
    result: str,
    sizes: dict[str, int],
) -> Network:
    """Add tensors to a chain; its new legs are those of the result, row-major."""
    groups, all_sizes = dict(groups), dict(network.sizes)
    for letter in dict.fromkeys("".join(t for t, _ in others)):
        if letter not in groups:
            name = _fresh(replace(network, sizes=all_sizes))
            groups[letter], all_sizes[name] = (name,), sizes[letter]
    tensors = list(network.tensors)
    for term, array in others:
        indices = tuple(i for c in term for i in groups[c])
        tensors.append((indices, array.reshape([all_sizes[i] for i in indices])))
    legs = tuple(i for c in result for i in groups.get(c, ()))
    return Network(network.inputs, legs, all_sizes, tuple(tensors))


def _signal(
    signals: Signals,
    node: Node,
    network: Network,
    parent: Signal,
    before: Signal,
    per_step: bool,
    n_rows: int,
    order: Ids,
) -> Signal:
    """Add the signal of a chain, as a linear layer where no mode of its input is left."""
    open_modes = set(network.legs) & set(network.inputs)
    stage = None if open_modes else _linear(node.name, network)
    ends = None
    n = prod(network.sizes[leg] for leg in network.legs)
    if per_step and before.ends is not None:
        used = np.unique(before.ends[order])
        ends = np.full(n, used[0] if len(used) == 1 else 0)
    return signals.add(
        Signal(0, n_rows, n, stage, parent, per_step, ends, network=network, name=node.name)
    )


def _linear(name: str, network: Network) -> Linear:
    """Return a finished chain as a layer; modes are named I0.., O0.., bonds r0.., tensors G0.. ."""
    names = {index: f"I{k}" for k, index in enumerate(network.inputs)}
    names |= {index: f"O{k}" for k, index in enumerate(network.legs)}
    bonds = [i for indices, _ in network.tensors for i in indices if i not in names]
    names |= {index: f"r{k}" for k, index in enumerate(dict.fromkeys(bonds))}
    tensors = {f"G{k}": tuple(names[i] for i in t) for k, (t, _) in enumerate(network.tensors)}
    inputs = tuple(names[i] for i in network.inputs)
    outputs = tuple(names[i] for i in network.legs)
    matrix = MatrixSpec(
        format="einsum",
        tensors=tensors,
        sizes={names[i]: n for i, n in network.sizes.items() if i in names},
        inputs=inputs,
        outputs=outputs,
    )
    arrays = {f"G{k}": np.ascontiguousarray(a) for k, (_, a) in enumerate(network.tensors)}
    size = (prod(matrix.out_modes), prod(matrix.in_modes))
    return Linear(name, arrays, size, matrix=matrix)
