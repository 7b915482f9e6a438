"""Layers and the operators between them, against ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einchip.models import Model, ModelError
from einchip.models.importers import Imported, Options, import_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper

from tests.models.onnx_graphs import cell_constants, floats, model, runtime, saved

N_STEPS, N_IN, HIDDEN = 6, 5, 4


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(
        op, inputs.split(), outputs.split(), name=f"{op}_{outputs.split()[0]}", **attributes
    )


def lstm(n_directions: int = 1, n_in: int = N_IN, prefix: str = "") -> tuple[dict[str, Any], Any]:
    constants = {
        prefix + name: value
        for name, value in cell_constants("LSTM", n_in, HIDDEN, n_directions).items()
    }
    direction = "bidirectional" if n_directions == 2 else "forward"
    names = ["x" if not prefix else f"{prefix}x", *(prefix + n for n in "WRB")]
    outputs = [f"{prefix}seq", f"{prefix}last", f"{prefix}cell"]
    made = helper.make_node(
        "LSTM", names, outputs, name=f"{prefix}lstm", hidden_size=HIDDEN, direction=direction
    )
    return constants, made


def ints(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


def check(made: Any, path: Path, x: Any, *, rows: bool = False, **options: Any) -> Imported:
    """Assert that the import computes what ONNX Runtime does; x has one sequence, or is rows."""
    found = import_model(saved(made, path / "m.onnx"), Options(**options))
    result = Model(found.spec, found.tensors).run(x if rows else x.reshape(-1, x.shape[-1]))
    expected = runtime(made, x, options.get("value"))
    np.testing.assert_allclose(result.reshape(-1), expected.reshape(-1), atol=2e-6)
    return found


def refuse(made: Any, path: Path, match: str, **options: Any) -> None:
    file = saved(made, path / "m.onnx")
    with pytest.raises(ModelError, match=match) as info:
        import_model(file, Options(**options))
    text = str(info.value)
    assert text.startswith(str(file))
    assert "\n" not in text


TIME_FIRST = ["T", 1, N_IN]
X = floats(N_STEPS, 1, N_IN, seed=3)
LAST: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "gather": ([node("Gather", "seq last_step", "h0", axis=0)], {"last_step": ints(-1)}),
    "slice": (
        [node("Slice", "seq minus big axis", "h0")],
        {"minus": ints(-1), "big": ints(2**62), "axis": ints(0)},
    ),
    "state": ([node("Identity", "last", "h0")], {}),
    "reversed slice": (
        [
            node("Slice", "seq minus low axis minus", "flipped"),
            node("Gather", "flipped first", "h0", axis=0),
        ],
        {"minus": ints(-1), "low": ints(-(2**62)), "axis": ints(0), "first": ints(0)},
    ),
    "split": (
        [node("Split", "seq sizes", "front h0", axis=0)],
        {"sizes": ints(N_STEPS - 1, 1)},
    ),
}


@pytest.mark.parametrize("kind", LAST)
def test_the_last_step_is_found_however_it_is_taken(kind: str, tmp_path: Path) -> None:
    constants, cell = lstm()
    nodes, more = LAST[kind]
    tail = [
        node("Reshape", "h0 flat", "h"),
        node("Gemm", "h weight bias", "y", transB=1, alpha=0.5, beta=2.0),
    ]
    constants |= more | {"flat": ints(-1, HIDDEN), "weight": floats(3, HIDDEN), "bias": floats(3)}
    dims: list[Any] = [N_STEPS, 1, N_IN] if kind == "split" else TIME_FIRST
    found = check(model([cell, *nodes, *tail], constants, dims), tmp_path, X)
    assert found.spec.output == "last"
    assert [layer.kind for layer in found.spec.layers] == ["recurrent", "linear"]


@pytest.mark.parametrize("activation", ["Sigmoid", "Tanh", "Relu"])
def test_every_step_goes_through_matmul_bias_and_activation(
    activation: str, tmp_path: Path
) -> None:
    constants, cell = lstm(2)
    constants |= {"w": floats(2 * HIDDEN, 3), "b": floats(3), "shape": ints(0, 0, -1)}
    nodes = [
        cell,
        node("Transpose", "seq", "t", perm=[2, 0, 1, 3]),
        node("Reshape", "t shape", "flat"),
        node("MatMul", "flat w", "m"),
        node("Add", "b m", "a"),
        node(activation, "a", "y"),
    ]
    found = check(model(nodes, constants, ["T", 1, N_IN]), tmp_path, X)
    assert found.spec.layers[1].activation == activation.lower()
    assert found.spec.layers[1].bias  # type: ignore[union-attr]


def test_features_in_another_order_are_sorted_into_the_weights(tmp_path: Path) -> None:
    """Reverse direction first, and units slowest: columns of the matrix are permuted."""
    constants, cell = lstm(2)
    constants |= {"w": floats(2 * HIDDEN, 3), "swap": ints(1, 0), "shape": ints(0, 0, -1)}
    nodes = [
        cell,
        node("Gather", "seq swap", "s", axis=1),
        node("Transpose", "s", "t", perm=[0, 2, 3, 1]),
        node("Reshape", "t shape", "flat"),
        node("MatMul", "flat w", "y"),
    ]
    check(model(nodes, constants, TIME_FIRST), tmp_path, X)


def test_the_last_of_linear_layers_at_every_step_is_the_last_output(tmp_path: Path) -> None:
    constants, cell = lstm()
    constants |= {"w": floats(HIDDEN, 3), "i": ints(-1)}
    nodes = [
        cell,
        node("MatMul", "seq w", "m"),
        node("Tanh", "m", "t"),
        node("Gather", "t i", "y", axis=0),
    ]
    found = check(model(nodes, constants, TIME_FIRST), tmp_path, X)
    assert found.spec.output == "last"


def test_final_states_side_by_side_are_the_last_output(tmp_path: Path) -> None:
    constants, cell = lstm(2)
    constants |= {"zero": np.array(0), "one": np.array(1), "w": floats(8, 3)}
    nodes = [
        cell,
        node("Gather", "last one", "r", axis=0),
        node("Gather", "last zero", "f", axis=0),
        node("Concat", "r f", "h", axis=-1),
        node("MatMul", "h w", "y"),
    ]
    assert check(model(nodes, constants, TIME_FIRST), tmp_path, X).spec.output == "last"


def test_a_part_of_the_last_layer_is_selected_by_a_layer(tmp_path: Path) -> None:
    constants, cell = lstm(2)
    constants |= {"one": np.array(1)}
    nodes = [cell, node("Gather", "last one", "y", axis=0)]
    found = check(model(nodes, constants, TIME_FIRST), tmp_path, X)
    assert found.notes == ("y: a part of the last layer: a layer of zeros and ones selects it",)


def test_an_activation_without_matrix_gets_an_identity(tmp_path: Path) -> None:
    constants, cell = lstm()
    constants |= {"w": floats(HIDDEN, 3), "axis": ints(1), "b": floats(3)}
    nodes = [
        cell,
        node("Squeeze", "seq axis", "s"),
        node("Relu", "s", "r"),
        node("MatMul", "r w", "m"),
        node("Relu", "m", "n"),
        node("Sub", "n b", "y"),
    ]
    found = check(model(nodes, constants, TIME_FIRST), tmp_path, X)
    assert found.notes == (
        "Relu_r: an activation behind no matrix: a layer with an identity matrix",
        "Sub_y: a bias behind no matrix: a layer with an identity matrix",
    )


def test_a_tensor_used_twice_keeps_its_own_bias(tmp_path: Path) -> None:
    constants, cell = lstm()
    constants |= {"w": floats(HIDDEN, 3), "b": floats(3)}
    nodes = [cell, node("MatMul", "seq w", "m"), node("Add", "m b", "a"), node("Relu", "m", "y")]
    found = check(model(nodes, constants, TIME_FIRST, ("y", "a")), tmp_path, X)
    assert not found.spec.layers[1].bias  # type: ignore[union-attr]
    assert found.notes == ("output: y; left out: a (--value NAME)",)
    check(model(nodes, constants, TIME_FIRST, ("y", "a")), tmp_path, X, value="a")


@pytest.mark.parametrize("swapped", [False, True])
def test_matrices_on_either_side(swapped: bool, tmp_path: Path) -> None:
    constants = {"w": floats(3, N_IN), "b": floats(3, 1)}
    x = floats(7, N_IN)
    nodes = [
        node("Transpose", "x", "t"),
        node("Gemm", "w t b", "m") if swapped else node("MatMul", "w t", "m"),
        node("Transpose", "m", "y"),
    ]
    found = check(model(nodes, constants, ["N", N_IN]), tmp_path, x, rows=True)
    assert found.spec.output == "sequence"


def test_weights_may_be_computed_from_constants(tmp_path: Path) -> None:
    """A weight that is contracted from its cores, cast and scaled inside the graph."""
    constants, cell = lstm()
    constants |= {"u": floats(16, 2).astype(np.float64), "v": floats(2, N_IN).astype(np.float64)}
    constants["two"], constants["axis"] = np.array(2.0), ints(0)
    del constants["W"]
    nodes = [
        node("Einsum", "u v", "uv", equation="ar,rb->ab"),
        node("Mul", "uv two", "scaled"),
        node("Cast", "scaled", "cast", to=TensorProto.FLOAT),
        node("Unsqueeze", "cast axis", "W"),
        cell,
        node("Squeeze", "seq", "y"),
    ]
    check(model(nodes, constants, TIME_FIRST), tmp_path, X)


def test_stacked_layers_of_both_directions(tmp_path: Path) -> None:
    first, a = lstm(2)
    second, b = lstm(2, 2 * HIDDEN, "b")
    constants = first | second | {"shape": ints(0, 0, -1), "fold": ints(-1, 2 * HIDDEN)}
    nodes = [
        a,
        node("Transpose", "seq", "t", perm=[0, 2, 1, 3]),
        node("Reshape", "t shape", "bx"),
        b,
        node("Transpose", "blast", "u", perm=[1, 0, 2]),
        node("Reshape", "u fold", "y"),
    ]
    found = check(model(nodes, constants, TIME_FIRST), tmp_path, X)
    assert len(found.spec.layers) == 2


def test_an_embedding_in_front(tmp_path: Path) -> None:
    constants, cell = lstm(n_in=3)
    cell.input[0] = "e"
    constants |= {"table": floats(11, 3)}
    nodes = [node("Gather", "table x", "e"), cell, node("Squeeze", "last", "y")]
    made = model(nodes, constants, ["T", 1], kind=TensorProto.INT64)
    found = import_model(saved(made, tmp_path / "m.onnx"))
    tokens = np.array([0, 10, 4, 4])
    result = Model(found.spec, found.tensors).run(tokens)
    np.testing.assert_allclose(result, runtime(made, tokens[:, None]).reshape(-1), atol=1e-6)


# Einsum.

EINSUMS: dict[str, tuple[str, Sequence[tuple[int, ...]], tuple[int, ...]]] = {
    "matrix": ("tbi,oi->tbo", [(3, 12)], (12,)),
    "tt matrix": ("tbijk,ipr,rjqs,sku->tbpqu", [(2, 2, 3), (3, 3, 2, 4), (4, 2, 3)], (2, 3, 2)),
    "low rank": ("btx,xr,ry->tby", [(12, 3), (3, 5)], (12,)),
    "cp": ("tbij,ir,jr,pr,qr->tbpq", [(4, 5), (3, 5), (2, 5), (3, 5)], (4, 3)),
    "implicit arrow": ("abij,ic,jd", [(4, 2), (3, 3)], (4, 3)),
    "block term": (
        "tbij,niar,njbs,nrs->tbab".replace("a", "p").replace("tb", "TB").replace("b", "q"),
        [(2, 4, 2, 3), (2, 3, 3, 2), (2, 3, 2)],
        (4, 3),
    ),
}


@pytest.mark.parametrize("kind", EINSUMS)
def test_an_einsum_node_becomes_a_compressed_matrix(kind: str, tmp_path: Path) -> None:
    text, shapes, modes = EINSUMS[kind]
    swapped = text.startswith("bt")
    constants = {f"g{k}": floats(*shape) for k, shape in enumerate(shapes)}
    constants["modes"] = ints(0, 0, *modes)
    names = " ".join(f"g{k}" for k in range(len(shapes)))
    nodes = [node("Reshape", "x modes", "r"), node("Einsum", f"r {names}", "e", equation=text)]
    nodes += [node("Relu", "e", "y")]
    x = floats(N_STEPS, 1, 12) if not swapped else floats(1, N_STEPS, 12)
    dims = ["T", "B", 12]
    found = check(model(nodes, constants, dims), tmp_path, x)
    (layer,) = found.spec.layers
    assert layer.kind == "linear"
    assert layer.weight.format == "einsum"
    assert len(layer.weight.tensors or {}) == len(shapes)
    assert layer.activation == "relu"


def test_a_chain_of_einsum_nodes_becomes_one_matrix(tmp_path: Path) -> None:
    """A TT matrix contracted core by core, with a reshape and a transpose between."""
    constants = {"g0": floats(2, 3, 2), "g1": floats(2, 3, 2, 4), "g2": floats(4, 4, 3)}
    constants |= {"modes": ints(0, 0, 2, 3, 4), "flat": ints(0, 0, -1), "w": floats(18, 3)}
    nodes = [
        node("Reshape", "x modes", "m"),
        node("Einsum", "m g0", "a", equation="tbijk,ipr->tbpjkr"),
        node("Transpose", "a", "c", perm=[0, 1, 5, 3, 4, 2]),
        node("Einsum", "c g1", "d", equation="tbrjkp,rjqs->tbpqks"),
        node("Einsum", "d g2", "e", equation="tbpqks,sku->tbpqu"),
        node("Reshape", "e flat", "f"),
        node("Tanh", "f", "h"),
        node("MatMul", "h w", "y"),
    ]
    nodes[4].input[1] = "g2"
    constants["g1"] = floats(2, 3, 2, 4)
    constants["g0"] = floats(2, 3, 2)
    constants["w"] = floats(3 * 2 * 3, 3)
    found = check(model(nodes, constants, ["T", "B", 24]), tmp_path, floats(N_STEPS, 1, 24))
    layer = found.spec.layers[0]
    assert layer.kind == "linear"
    assert layer.weight.tensors == {
        "G0": ("I0", "O0", "r0"),
        "G1": ("r0", "I1", "O1", "r1"),
        "G2": ("r1", "I2", "O2"),
    }


def test_products_with_parts_of_a_vector_are_cores_of_a_matrix(tmp_path: Path) -> None:
    """The same written with MatMul, as reshapes are exported: merged axes are cut."""
    constants = {
        "last_mode": ints(-1, 4),
        "g1": floats(4, 3 * 2),
        "split": ints(N_STEPS, 3, 3, 2),
        "first_mode": ints(-1, 6),
        "g0": floats(3 * 2, 5),
        "back": ints(N_STEPS, 3, 5),
        "flat": ints(N_STEPS, 15),
        "b": floats(15),
    }
    nodes = [
        node("Reshape", "x last_mode", "a"),
        node("MatMul", "a g1", "c"),
        node("Reshape", "c split", "d"),
        node("Transpose", "d", "e", perm=[0, 2, 1, 3]),
        node("Reshape", "e first_mode", "f"),
        node("MatMul", "f g0", "g"),
        node("Reshape", "g back", "h"),
        node("Transpose", "h", "i", perm=[0, 2, 1]),
        node("Reshape", "i flat", "j"),
        node("Add", "j b", "y"),
    ]
    found = check(model(nodes, constants, [N_STEPS, 12]), tmp_path, floats(N_STEPS, 12), rows=True)
    layer = found.spec.layers[0]
    assert layer.kind == "linear"
    assert layer.weight.in_modes == (3, 4)
    assert layer.weight.tensors == {"G0": ("I1", "O0", "r0"), "G1": ("I0", "r0", "O1")}
    assert layer.weight.outputs == ("O1", "O0")
    assert found.notes == ()


# What is refused.


def with_cell(nodes: Sequence[Any], dims: Sequence[Any] = TIME_FIRST, **constants: Any) -> Any:
    both, cell = lstm(2)
    return model([cell, *nodes], both | constants, dims)


ONE = np.array([1.0], np.float32)
REFUSED: dict[str, tuple[Any, str]] = {
    "operator": (
        with_cell([node("Softmax", "seq", "y")]),
        r"node Softmax_y: found operator Softmax, expected LSTM, GRU.*--value seq",
    ),
    "convolution": (
        with_cell([node("Conv", "seq w", "y")], w=floats(1, 2, 3)),
        "node Conv_y: found operator Conv",
    ),
    "other domain": (
        with_cell([helper.make_node("LSTM", ["x"], ["y"], name="n", domain="com.microsoft")]),
        r"node n: found operator com.microsoft.LSTM",
    ),
    "reverse direction's first step": (
        with_cell([node("Gather", "seq i", "y", axis=0)], i=ints(-1)),
        "y: found the last step of the reverse direction",
    ),
    "one step of a layer behind both directions": (
        with_cell([node("Transpose", "seq", "t", perm=[0, 2, 1, 3]), node("Reshape", "t s", "f"),
                   node("MatMul", "f w", "m"), node("Gather", "m i", "y", axis=0)],
                  i=ints(-1), s=ints(0, 0, -1), w=floats(8, 3)),
        "y: found one step of a layer behind both directions",
    ),
    "a step in the middle": (
        with_cell([node("Gather", "seq i", "y", axis=0)], [9, 1, N_IN], i=ints(4)),
        "y: found a step that is not the last",
    ),
    "a step that is the last of one length only": (
        with_cell([node("Gather", "last i", "f", axis=0), node("Gather", "seq j", "g", axis=0),
                   node("Gather", "g i", "y", axis=0)], i=np.array(0), j=np.array(1)),
        "found a step that is not the last",
    ),
    "some steps": (
        with_cell([node("Slice", "seq i j", "y")], i=ints(1), j=ints(2**62)),
        "y: found the last step of the reverse",
    ),
    "two tensors": (with_cell([node("Add", "seq seq", "y")]), "Add_y.*two operands"),
    "cell state": (with_cell([node("Identity", "cell", "y")]), "y: found the last cell state"),
    "a constant": (with_cell([node("Identity", "W", "y")]), "inputs: found no input"),
    "matrix of another size": (
        with_cell([node("MatMul", "seq w", "y")], w=floats(3, 3)),
        r"MatMul_y \(MatMul\): found shapes \[2, 2, 1, 4\] and \[3, 3\]",
    ),
    "a missing tensor": (with_cell([node("Relu", "nothing", "y")]), "inputs: found no input"),
    "an integer weight": (
        with_cell([node("MatMul", "seq w", "y")], w=ints(1, 2, 3, 4)),
        "w: found int64, expected floats",
    ),
    "not finite": (
        with_cell([node("Add", "seq w", "y")], w=ONE * np.inf),
        "w: found NaN, infinity",
    ),
    "bias by step": (
        with_cell([node("MatMul", "seq w", "m"), node("Add", "m b", "y")], [2, 1, N_IN],
                  w=floats(4, 3), b=floats(2, 1, 1, 3)),
        "Add_y",
    ),
    "sum over steps": (
        with_cell([node("Einsum", "seq w", "y", equation="tdbh,ho->bdo")], w=floats(4, 2)),
        "Einsum_y.*letter 't', over which the data are summed",
    ),
    "kept letter": (
        with_cell([node("Einsum", "seq w", "y", equation="tdbh,dho->tbdo")], w=floats(2, 4, 2)),
        "Einsum_y.*letter 'd' in data, weights and result",
    ),
    "open modes": (
        with_cell([node("Einsum", "seq w", "y", equation="tdbh,ho->tbdo")], w=floats(4, 2)),
        "found a contraction that leaves modes of its input open",
    ),
    "bad equation": (
        with_cell([node("Einsum", "seq w", "y", equation="...h,ho->...o")], w=floats(4, 2)),
        "Einsum_y.*2 operands of letters expected",
    ),
    "a huge constant": (
        with_cell([node("ConstantOfShape", "n", "c"), node("Add", "seq c", "y")], n=ints(2**40)),
        r"ConstantOfShape_c.*a result of shape \[1099511627776\]",
    ),
    "a negative shape": (
        with_cell([node("ConstantOfShape", "n", "c"), node("Add", "seq c", "y")], n=ints(-4)),
        "ConstantOfShape_c",
    ),
    "weights from data": (
        with_cell([node("LSTM", "x seq R", "y", hidden_size=4)]),
        "LSTM_y.*weights or initial states that depend on the input",
    ),
    "time and batch swapped": (
        with_cell(
            [
                node("Transpose", "seq", "t", perm=[2, 0, 1, 3]),
                node("Reshape", "t s", "u"),
                node("RNN", "u w r", "y", hidden_size=2),
            ],
            [4, 3, N_IN], s=ints(3, 4, 8), w=floats(1, 2, 8), r=floats(1, 2, 2),
        ),
        "RNN_y.*another axis is time",
    ),
    "a recurrent layer behind the last step": (
        with_cell(
            [
                node("Transpose", "last", "t", perm=[1, 0, 2]),
                node("Reshape", "t s", "u"),
                node("RNN", "u w r", "y", hidden_size=2),
            ],
            s=ints(1, -1, 8), w=floats(1, 2, 8), r=floats(1, 2, 2),
        ),
        "RNN_y.*a sequence of one step",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_chain_of_layers_is_refused_by_the_nodes_name(kind: str, tmp_path: Path) -> None:
    made, match = REFUSED[kind]
    refuse(made, tmp_path, match)


def test_options_that_the_file_answers_are_refused(tmp_path: Path) -> None:
    made = with_cell([node("Identity", "last", "y")])
    refuse(made, tmp_path, "option output: found sequence, where y is last", output="sequence")
    refuse(made, tmp_path, "option rnn_activation: found relu", rnn_activation="relu")
    refuse(made, tmp_path, "option value: found nothing", value="nothing")


def test_state_inputs_are_refused_with_a_way_out(tmp_path: Path) -> None:
    constants, cell = lstm()
    cell.input.extend(["", "h0"])
    made = model([cell], constants, TIME_FIRST, ("seq",))
    made.graph.input.append(helper.make_tensor_value_info("h0", TensorProto.FLOAT, [1, 1, 4]))
    refuse(made, tmp_path, r"inputs: found 2 inputs \(x, h0\).*initial states left out")
