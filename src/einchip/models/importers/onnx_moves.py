"""Operators that only move elements, or compute with constants, in NumPy.

Every function takes (node, arrays) and returns the node's outputs. The moving ones are used for
constants and for the numbered elements of traced tensors alike. Axes and shapes are those of the
ONNX operator of the same name, given as attribute (older opsets) or input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final

import numpy as np

from einchip.models.importers.onnx_file import TYPES, Node
from einchip.models.importers.stages import Array

#: An operand: an array, or None for an optional input that is left out.
Operand = Array | None
Operator = Callable[[Node, list[Operand]], tuple[Array, ...]]
#: Largest array that an operator may make: 128 MiB of int64.
MAX_ELEMENTS: Final = 2**24


class UnfitError(ValueError):
    """An operator whose operands do not fit it."""


def _given(operands: Sequence[Operand], k: int) -> Array:
    if k >= len(operands) or (found := operands[k]) is None:
        raise UnfitError(f"input {k} is missing")
    return found


def _optional(operands: Sequence[Operand], k: int) -> Operand:
    return operands[k] if k < len(operands) else None


def bounded(*shape: int, limit: int = MAX_ELEMENTS) -> None:
    """Raise UnfitError for a shape with a negative dimension or too many elements."""
    if min(shape, default=0) < 0 or prod(shape) > limit:
        raise UnfitError(f"a result of shape {list(shape)}: the limit is {limit} elements")


def _ints(node: Node, operands: Sequence[Operand], k: int, name: str) -> list[int] | None:
    """Return integers given as input k or as an attribute."""
    array = _optional(operands, k)
    if array is not None:
        if array.dtype.kind not in "iu" or array.size > 64:
            raise UnfitError(f"{name}: integers expected")
        return [int(v) for v in array.reshape(-1)]
    value = node.attributes.get(name)
    if value is not None and not (
        isinstance(value, list) and all(isinstance(v, int) for v in value)
    ):
        raise UnfitError(f"{name}: a list of integers expected")
    return value


def integer(node: Node, name: str, default: int) -> int:
    """Return an integer attribute."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise UnfitError(f"{name}: an integer expected")
    return value


def _identity(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    return (_given(operands, 0),)


def _dropout(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    training = _optional(operands, 2)
    if training is not None and training.any():
        raise UnfitError("training_mode is on")
    return (_given(operands, 0),)


def _transpose(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    return (_given(operands, 0).transpose(_ints(node, [], 0, "perm")),)


def _reshape(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    array, shape = _given(operands, 0), _ints(node, operands, 1, "shape")
    if shape is None:
        raise UnfitError("no shape")
    if not integer(node, "allowzero", 0):
        shape = [array.shape[k] if n == 0 else n for k, n in enumerate(shape)]
    return (array.reshape(shape),)


def _flatten(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    array = _given(operands, 0)
    axis = integer(node, "axis", 1)
    axis += array.ndim * (axis < 0)
    if not 0 <= axis <= array.ndim:
        raise UnfitError(f"axis {axis} of {array.ndim}")
    return (array.reshape(prod(array.shape[:axis]), -1),)


def _squeeze(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    axes = _ints(node, operands, 1, "axes")
    return (np.squeeze(_given(operands, 0), None if axes is None else tuple(axes)),)


def _unsqueeze(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    axes = _ints(node, operands, 1, "axes")
    if axes is None:
        raise UnfitError("no axes")
    return (np.expand_dims(_given(operands, 0), tuple(axes)),)


def _slice(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    array = _given(operands, 0)
    starts = _ints(node, operands, 1, "starts") or []
    ends = _ints(node, operands, 2, "ends") or []
    axes = _ints(node, operands, 3, "axes") or list(range(len(starts)))
    steps = _ints(node, operands, 4, "steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise UnfitError("starts, ends, axes and steps of different lengths")
    cuts = [slice(None)] * array.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -array.ndim <= axis < array.ndim or step == 0:
            raise UnfitError(f"axis {axis}, step {step}")
        n = array.shape[axis]
        backwards_to_begin = step < 0 and end < -n
        cuts[axis] = slice(start, None if backwards_to_begin else end, step)
    return (array[tuple(cuts)],)


def _gather(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    array, indices = _given(operands, 0), _given(operands, 1)
    axis = integer(node, "axis", 0)
    if indices.dtype.kind not in "iu" or not -array.ndim <= axis < array.ndim:
        raise UnfitError(f"indices of type {indices.dtype} along axis {axis}")
    bounded(*np.delete(array.shape, axis), *indices.shape)
    return (np.asarray(np.take(array, indices, axis=axis)),)


def _concat(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    arrays = [_given(operands, k) for k in range(len(operands))]
    bounded(sum(array.size for array in arrays))
    return (np.concatenate(arrays, axis=integer(node, "axis", 0)),)


def _split(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    array, sizes = _given(operands, 0), _ints(node, operands, 1, "split")
    axis, n = integer(node, "axis", 0), len(node.outputs)
    if sizes is None:
        step = -(-array.shape[axis] // n)
        sizes = [step] * (n - 1) + [array.shape[axis] - step * (n - 1)]
    if sum(sizes) != array.shape[axis] or len(sizes) != n or min(sizes) < 0:
        raise UnfitError(f"parts {sizes} of axis {axis} with {array.shape[axis]}")
    return tuple(np.split(array, np.cumsum(sizes)[:-1], axis=axis))


def _expand(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    array, shape = _given(operands, 0), _ints(node, operands, 1, "shape") or []
    shape = list(np.broadcast_shapes(array.shape, tuple(shape)))
    bounded(*shape)
    return (np.broadcast_to(array, shape),)


#: Operators that move elements and change none.
MOVES: Final[dict[str, Operator]] = {
    "Concat": _concat,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _identity,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}


def _constant(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    for name, value in node.attributes.items():
        if name == "value" and isinstance(value, np.ndarray):
            return (value,)
        if name in ("value_int", "value_ints"):
            return (np.array(value, dtype=np.int64),)
        if name in ("value_float", "value_floats"):
            return (np.array(value, dtype=np.float32),)
    raise UnfitError("no value of a supported kind")


def _constant_of_shape(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    shape = _ints(node, operands, 0, "shape") or []
    bounded(*shape)
    value = node.attributes.get("value", np.zeros(1, dtype=np.float32))
    return (np.broadcast_to(np.asarray(value).reshape(-1)[:1].reshape(()), shape),)


def _range(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    start, end, step = (_given(operands, k).reshape(()) for k in range(3))
    if step == 0 or start.dtype.kind not in "iu":
        raise UnfitError("integers with a step other than 0 expected")
    bounded(max(0, -(-(int(end) - int(start)) // int(step))))
    return (np.arange(int(start), int(end), int(step), dtype=start.dtype),)


def _cast(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    kind = TYPES.get(integer(node, "to", 0), ("bfloat16", ""))[0]
    if kind == "bfloat16":
        raise UnfitError("casts to this type are not supported")
    with np.errstate(all="ignore"):
        return (_given(operands, 0).astype(kind),)


def _elementwise(function: Callable[..., Any]) -> Operator:
    def compute(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
        arrays = [_given(operands, k) for k in range(len(operands))]
        bounded(*np.broadcast_shapes(*(array.shape for array in arrays)))
        with np.errstate(all="ignore"):
            return (np.asarray(function(*arrays)),)

    return compute


def _divide(a: Array, b: Array) -> Array:
    """Divide; integers towards zero, as ONNX does."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if not b.all():
        raise UnfitError("a division by 0")
    return np.asarray(np.sign(a) * np.sign(b) * (abs(a) // abs(b)))


def _matmul(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    a, b = _given(operands, 0), _given(operands, 1)
    if a.ndim < 1 or b.ndim < 1 or a.ndim > 2 or b.ndim > 2:
        raise UnfitError("vectors or matrices expected")
    bounded(*a.shape[:-1], *b.shape[1:])
    with np.errstate(all="ignore"):
        return (np.asarray(a @ b),)


def equation(node: Node, n: int) -> tuple[list[str], str]:
    """Return the operands' and the result's letters of an Einsum node, with the arrow filled in."""
    text = node.attributes.get("equation")
    text = "".join(text.split()) if isinstance(text, str) else ""
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != n or not all(t.isalpha() or not t for t in [*terms, right]):
        raise UnfitError(f"equation {text!r}: {n} operands of letters expected")
    if not arrow:
        right = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    return terms, right


def _einsum(node: Node, operands: list[Operand]) -> tuple[Array, ...]:
    arrays = [_given(operands, k) for k in range(len(operands))]
    terms, result = equation(node, len(arrays))
    sizes = letter_sizes(terms, [array.shape for array in arrays])
    if not set(result) <= sizes.keys():
        raise UnfitError("a letter of the result is in no operand")
    bounded(*sizes.values())
    text = ",".join(terms) + "->" + result
    with np.errstate(all="ignore"):
        return (np.einsum(text, *arrays, optimize="greedy"),)


def letter_sizes(terms: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """Return the size of every letter of an equation."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape) or len(set(term)) != len(term):
            raise UnfitError(f"letters {term!r} for shape {list(shape)}")
        for letter, size in zip(term, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise UnfitError(f"letter {letter!r} of sizes {sizes[letter]} and {size}")
    return sizes


#: Operators that are computed where all operands are constants.
FOLDS: Final[dict[str, Operator]] = {
    "Abs": _elementwise(np.abs),
    "Add": _elementwise(np.add),
    "And": _elementwise(np.logical_and),
    "Cast": _cast,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _elementwise(_divide),
    "Einsum": _einsum,
    "Equal": _elementwise(np.equal),
    "Greater": _elementwise(np.greater),
    "Less": _elementwise(np.less),
    "MatMul": _matmul,
    "Max": _elementwise(np.maximum),
    "Min": _elementwise(np.minimum),
    "Mul": _elementwise(np.multiply),
    "Neg": _elementwise(np.negative),
    "Not": _elementwise(np.logical_not),
    "Range": _range,
    "Sub": _elementwise(np.subtract),
    "Where": _elementwise(np.where),
}
