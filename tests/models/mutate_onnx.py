"""Changes to the fields of ONNX graphs, drawn by hypothesis."""

from collections.abc import Callable
from typing import Any

import onnx
from hypothesis import strategies as st

SIZES = [0, -1, 1, 2, 3, 4, 10**5, 2**31, 2**62, -(2**63)]
OPERATORS = [
    *("LSTM", "GRU", "RNN", "MatMul", "Gemm", "Add", "Mul", "Relu", "Tanh", "Softmax", "Slice"),
    *("Gather", "Concat", "Einsum", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity"),
    *("Split", "Cast", "Constant", "Shape", "Expand", "Flatten", "Dropout", "Foo"),
]
PLACES = ["/etc/passwd", "../x", "file.onnx", "a\0b", "", ".", "none"]
Draw = Callable[[st.SearchStrategy[Any]], Any]


def _one(draw: Draw, items: Any) -> Any:
    return items[draw(st.integers(0, len(items) - 1))]


def _sizes(draw: Draw, graph: Any) -> None:
    tensor = _one(draw, graph.initializer)
    if tensor.dims and draw(st.booleans()):
        tensor.dims[draw(st.integers(0, len(tensor.dims) - 1))] = draw(st.sampled_from(SIZES))
    else:
        tensor.dims.append(draw(st.sampled_from(SIZES)))


def _data(draw: Draw, graph: Any) -> None:
    tensor = _one(draw, graph.initializer)
    kept = draw(st.integers(0, len(tensor.raw_data)))
    tensor.raw_data = tensor.raw_data[:kept] + draw(st.binary(max_size=8))


def _data_type(draw: Draw, graph: Any) -> None:
    _one(draw, graph.initializer).data_type = draw(st.integers(0, 25))


def _outside(draw: Draw, graph: Any) -> None:
    tensor = _one(draw, graph.initializer)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", draw(st.sampled_from(PLACES))


def _attribute(draw: Draw, graph: Any) -> None:
    node = _one(draw, graph.node)
    if not node.attribute:
        return
    attribute = _one(draw, node.attribute)
    attribute.i = draw(st.sampled_from(SIZES))
    attribute.s = draw(st.sampled_from([b"forward", b"reverse", b"bidirectional", b"\xff"]))
    if attribute.ints:
        attribute.ints[0] = draw(st.sampled_from(SIZES))
    if draw(st.booleans()):
        attribute.type = draw(st.sampled_from([1, 2, 3, 4, 6, 7]))


def _operator(draw: Draw, graph: Any) -> None:
    _one(draw, graph.node).op_type = draw(st.sampled_from(OPERATORS))


def _wire(draw: Draw, graph: Any) -> None:
    node = _one(draw, graph.node)
    names = [t.name for t in graph.initializer] + [o for n in graph.node for o in n.output]
    ends = node.input if node.input and draw(st.booleans()) else node.output
    if ends:
        ends[draw(st.integers(0, len(ends) - 1))] = draw(st.sampled_from([*names, "", "x", "no"]))


def _remove(draw: Draw, graph: Any) -> None:
    items = graph.node if draw(st.booleans()) else graph.initializer
    del items[draw(st.integers(0, len(items) - 1))]


def _repeat(draw: Draw, graph: Any) -> None:
    graph.node.add().CopyFrom(_one(draw, graph.node))


def _input(draw: Draw, graph: Any) -> None:
    dims = graph.input[0].type.tensor_type.shape.dim
    if dims:
        _one(draw, dims).dim_value = draw(st.sampled_from(SIZES))


CHANGES = [
    _sizes,
    _sizes,
    _data,
    _data_type,
    _outside,
    _attribute,
    _operator,
    _wire,
    _remove,
    _repeat,
    _input,
]


@st.composite
def mutated_graphs(draw: st.DrawFn, originals: list[bytes], most: int = 3) -> bytes:
    """One of the ONNX files with up to `most` fields changed."""
    made = onnx.ModelProto()
    made.ParseFromString(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, most))):
        if made.graph.node and made.graph.initializer:
            draw(st.sampled_from(CHANGES))(draw, made.graph)
    return bytes(made.SerializeToString())
