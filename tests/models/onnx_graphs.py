"""ONNX graphs made by hand, and what ONNX Runtime computes from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
Arrays = Mapping[str, Any]


def model(
    nodes: Sequence[Any],
    constants: Arrays,
    dims: Sequence[Any],
    outputs: Sequence[str] = ("y",),
    *,
    opset: int = OPSET,
    kind: int = TensorProto.FLOAT,
) -> Any:
    """A graph with input x of shape `dims`; constants become initialisers."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", kind, list(dims))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 9
    return made


def saved(made: Any, path: Path) -> Path:
    onnx.save(made, path)
    return path


def runtime(made: Any, x: Any, output: str | None = None) -> Any:
    """What ONNX Runtime gives for the first output, or for the named one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    data = made if isinstance(made, bytes) else made.SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return session.run(None if output is None else [output], {name: x})[0]


def floats(*shape: int, seed: int = 0) -> Any:
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return (0.5 * values).astype(np.float32)


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def cell_constants(
    op: str,
    n_in: int,
    hidden: int,
    n_directions: int,
    *,
    bias: bool = True,
    peepholes: bool = False,
) -> dict[str, Any]:
    rows = GATES[op] * hidden
    found = {"W": floats(n_directions, rows, n_in), "R": floats(n_directions, rows, hidden)}
    if bias:
        found["B"] = floats(n_directions, 2 * rows)
    if peepholes:
        found["P"] = floats(n_directions, 3 * hidden)
    return found


def cell_node(op: str, constants: Arrays, **attributes: Any) -> Any:
    """A recurrent node from x to y (every step), y_h (last state)."""
    inputs = ["x", "W", "R", "B" if "B" in constants else "", "", "", "", "P"]
    inputs = inputs if "P" in constants else inputs[:4]
    hidden = constants["R"].shape[-1]
    return helper.make_node(op, inputs, ["y", "y_h"], name="cell", hidden_size=hidden, **attributes)
