"""ONNX files as plain nodes and arrays.

Nothing is allocated from a size that the file only claims: dimensions are held against the data
that is there. External data come from the model's folder or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from einchip.models.errors import ModelError, model_error
from einchip.models.extras import library
from einchip.models.importers.arrays import MAX_FILE_BYTES, read_bytes
from einchip.models.importers.stages import Array
from einchip.models.spec import MAX_TENSOR_ELEMENTS

MAX_NODES: Final = 100_000
#: TensorProto.DataType: NumPy type of its bytes, field that holds it where it is not raw.
TYPES: Final[dict[int, tuple[str, str]]] = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    16: ("bfloat16", "int32_data"),
}
FLOAT_TYPES: Final = frozenset({1, 10, 11, 16})


@dataclass(frozen=True)
class Node:
    """One operator of the graph; attributes are numbers, strings, lists of them, or arrays."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Input:
    """An input of the graph; a dimension is a number, or a name that stands for any number."""

    type: int
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """A whole file: nodes in an order in which they can run, constants, inputs, output names."""

    path: Path
    name: str
    nodes: tuple[Node, ...]
    constants: dict[str, Array]
    inputs: dict[str, Input]
    outputs: tuple[str, ...]
    producers: dict[str, int] = field(default_factory=dict)

    def needed(self, value: str) -> list[Node]:
        """Return the nodes that a value depends on, in order."""
        wanted, found = [value], set()
        while wanted:
            k = self.producers.get(wanted.pop())
            if k is not None and k not in found:
                found.add(k)
                wanted += self.nodes[k].inputs
        return [self.nodes[k] for k in sorted(found)]


def read_graph(path: Path) -> Graph:
    """Read an .onnx file.

    Raises:
        ModelError: the file is cut, a tensor's dimensions do not fit its data, or external data
            lie outside the model's folder.
    """
    onnx = library("onnx", "onnx")
    data = read_bytes(path)
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as e:  # DecodeError of whichever protobuf back end is there
        raise model_error(path, "file", e, "a whole ONNX file", "export it again") from None
    if not _is_text(model):
        raise model_error(path, "file", "names that are no UTF-8", "text", "export it again")
    graph = model.graph
    if not model.opset_import:
        found, expected = "no version of the operators", "one (opset_import)"
        raise model_error(path, "opset_import", found, expected, "copy or export the file again")
    if not graph.output or not graph.node:
        found = "a graph without nodes or outputs"
        raise model_error(path, "graph", found, "an ONNX model", "export it again")
    if len(graph.node) > MAX_NODES:
        found = f"{len(graph.node)} nodes"
        raise model_error(path, "graph", found, f"at most {MAX_NODES}", "split the model")
    if graph.sparse_initializer:
        found = "sparse initialisers"
        raise model_error(path, "graph", found, "dense ones", "export them dense")
    constants = {t.name: read_tensor(path, t.name, t) for t in graph.initializer}
    nodes = tuple(_nodes(path, graph))
    inputs = {
        i.name: Input(i.type.tensor_type.elem_type, tuple(_dims(path, i)))
        for i in graph.input
        if i.name not in constants
    }
    producers = {name: k for k, node in enumerate(nodes) for name in node.outputs if name}
    outputs = tuple(output.name for output in graph.output)
    return Graph(path, graph.name, nodes, constants, inputs, outputs, producers)


def _is_text(message: Any) -> bool:
    """Whether every text field of a message is text: protobuf gives bytes where it is no UTF-8."""
    text, inner = 9, 11  # FieldDescriptor.TYPE_STRING, TYPE_MESSAGE
    stack = [message]
    while stack:
        for field_, value in stack.pop().ListFields():
            if field_.type == inner:
                stack += [value] if hasattr(value, "ListFields") else value
            elif field_.type == text:
                texts = [value] if isinstance(value, str | bytes) else value
                if any(isinstance(t, bytes) for t in texts):
                    return False
    return True


def _dims(path: Path, value: Any) -> Iterator[int | str]:
    """Yield the dimensions of an input; an unnamed one gets a name of its own."""
    if not value.type.HasField("tensor_type"):
        raise model_error(path, value.name, "no tensor", "a tensor as input", "export it again")
    for k, dim in enumerate(value.type.tensor_type.shape.dim):
        if not dim.HasField("dim_value"):
            yield dim.dim_param or f"?{k}"
        elif 0 < dim.dim_value <= MAX_TENSOR_ELEMENTS:
            yield dim.dim_value
        else:
            found = f"dimension {dim.dim_value}"
            expected = f"1 to {MAX_TENSOR_ELEMENTS}"
            raise model_error(path, value.name, found, expected, "export it again")


def _nodes(path: Path, graph: Any) -> Iterator[Node]:
    for k, node in enumerate(graph.node):
        name = node.name or f"node {k} ({next(iter(node.output), 'no output')})"
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        operator = operator.removeprefix("ai.onnx.")
        attributes = {a.name: _attribute(path, name, a) for a in node.attribute}
        yield Node(operator, name, tuple(node.input), tuple(node.output), attributes)


def _attribute(path: Path, node: str, attribute: Any) -> Any:
    """Return an attribute's value; of kinds that no supported operator has, only the name."""
    kind = attribute.type
    if kind == 1:
        return float(attribute.f)
    if kind == 2:
        return int(attribute.i)
    if kind == 3:
        return attribute.s.decode("utf-8", "replace")
    if kind == 4:
        return read_tensor(path, f"{node}: {attribute.name}", attribute.t)
    if kind == 6:
        return [float(x) for x in attribute.floats]
    if kind == 7:
        return [int(x) for x in attribute.ints]
    if kind == 8:
        return [x.decode("utf-8", "replace") for x in attribute.strings]
    return None


def read_tensor(path: Path, name: str, tensor: Any) -> Array:
    """Return a constant as an array (bfloat16 as float32).

    Raises:
        ModelError: its type is not known, or its data do not have the size that it claims.
    """
    dims = tuple(tensor.dims)
    n = prod(dims)
    if any(d < 0 for d in dims) or n > MAX_TENSOR_ELEMENTS or len(dims) > 32:
        expected = f"none below 0, at most {MAX_TENSOR_ELEMENTS} elements"
        raise model_error(path, name, f"dimensions {list(dims)}", expected, "export it again")
    if tensor.data_type not in TYPES:
        found = f"element type {tensor.data_type}"
        raise model_error(path, name, found, f"one of {sorted(TYPES)}", "export it as float32")
    kind, typed = TYPES[tensor.data_type]
    bits = np.dtype("<u2" if kind == "bfloat16" else kind)
    if tensor.data_location == 1:
        data: bytes | None = _external(path, name, tensor, n * bits.itemsize)
    else:
        data = tensor.raw_data if tensor.HasField("raw_data") else None
    if data is None:
        array = _typed(path, name, getattr(tensor, typed), n, kind)
    elif len(data) != n * bits.itemsize:
        found = f"{len(data)} bytes for dimensions {list(dims)}"
        raise model_error(path, name, found, f"{n * bits.itemsize}", "export it again")
    else:
        array = np.frombuffer(data, dtype=bits)
    if kind == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.reshape(dims)


def _typed(path: Path, name: str, values: Any, n: int, kind: str) -> Array:
    """Return values that stand one by one in their field; 16-bit floats stand there as integers."""
    if len(values) != n:
        raise model_error(path, name, f"{len(values)} values", f"{n}", "export it again")
    wide = np.array(values, dtype=np.float64 if kind in ("<f4", "<f8") else np.int64)
    if kind == "bfloat16":
        return wide.astype(np.uint16)
    if kind == "<f2":
        return wide.astype(np.uint16).view(np.float16)
    with np.errstate(over="ignore"):
        return wide.astype(kind)


def _external(path: Path, name: str, tensor: Any, n_bytes: int) -> bytes:
    """Return the bytes of a tensor that lie in a file of the model's folder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = path.parent.resolve()
    expected = "a file inside the model's folder"
    try:
        inside = not Path(location).is_absolute() and ".." not in Path(location).parts
        file = (folder / location).resolve()
        if not (location and inside and file.is_relative_to(folder)):
            raise model_error(
                path, name, f"external data in {location!r}", expected, "move the data there"
            )
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", n_bytes))
        size = file.stat().st_size
        if not file.is_file() or not 0 <= offset <= size - length or length != n_bytes:
            found = f"{length} bytes from {offset} in a file of {size}"
            raise model_error(path, name, found, f"{n_bytes} bytes inside it", "copy it again")
        if size > MAX_FILE_BYTES:
            raise model_error(path, name, f"{size} bytes", f"at most {MAX_FILE_BYTES}", "split it")
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)
    except ModelError:
        raise
    except (OSError, ValueError) as e:
        found = getattr(e, "strerror", None) or str(e)
        raise model_error(
            path, name, f"external data in {location!r}: {found}", expected, "copy it again"
        ) from None
