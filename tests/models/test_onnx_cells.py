"""LSTM, GRU and RNN nodes against ONNX Runtime: every gate order, reset, direction and layout."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einchip.models import Model, ModelError
from einchip.models.importers import Options, import_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import helper

from tests.models.onnx_graphs import cell_constants, cell_node, floats, model, runtime, saved

N_STEPS, N_IN, HIDDEN = 6, 5, 4
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    "lstm with peepholes": ("LSTM", {"peepholes": True}),
    "gru, reset after": ("GRU", {"linear_before_reset": 1}),
    "gru, reset before": ("GRU", {"linear_before_reset": 0}),
    "rnn": ("RNN", {}),
    "rnn relu": ("RNN", {"activations": ["Relu"]}),
    "lstm without bias": ("LSTM", {"bias": False}),
    "gru without bias": ("GRU", {"bias": False, "linear_before_reset": 1}),
}


def cell_model(kind: str, direction: str, dims: list[Any], outputs: tuple[str, ...]) -> Any:
    op, fields = CELLS[kind]
    fields, n = dict(fields), DIRECTIONS[direction]
    made = {name: fields.pop(name) for name in ("bias", "peepholes") if name in fields}
    if "activations" in fields:
        fields["activations"] *= n
    constants = cell_constants(op, N_IN, HIDDEN, n, **made)
    node = cell_node(op, constants, direction=direction, **fields)
    return model([node], constants, dims, outputs)


def imported(path: Path, **options: Any) -> Model:
    found = import_model(path, Options(**options))
    return Model(found.spec, found.tensors)


@pytest.mark.parametrize(("kind", "direction"), [*product(CELLS, DIRECTIONS)])
def test_every_cell_computes_what_onnx_runtime_computes(
    kind: str, direction: str, tmp_path: Path
) -> None:
    x = floats(N_STEPS, 1, N_IN, seed=1)
    made = cell_model(kind, direction, ["T", "B", N_IN], ("y", "y_h"))
    path = saved(made, tmp_path / "m.onnx")
    every = imported(path, value="y")
    assert every.spec.output == "sequence"
    expected = runtime(made, x, "y").reshape(N_STEPS, -1)
    np.testing.assert_allclose(every.run(x[:, 0]), expected, atol=1e-6)
    last = imported(path, value="y_h")
    assert last.spec.output == "last"
    np.testing.assert_allclose(last.run(x[:, 0]), runtime(made, x, "y_h").reshape(-1), atol=1e-6)


@pytest.mark.parametrize("dims", [[N_STEPS, 1, N_IN], [N_STEPS, 3, N_IN], ["T", 1, N_IN]])
def test_shapes_may_be_fixed(dims: list[Any], tmp_path: Path) -> None:
    made = cell_model("gru, reset before", "bidirectional", dims, ("y_h",))
    x = floats(N_STEPS, 3 if dims[1] == 3 else 1, N_IN)
    found = imported(saved(made, tmp_path / "m.onnx"))
    expected = runtime(made, x)
    for k in range(x.shape[1]):
        np.testing.assert_allclose(found.run(x[:, k]), expected[:, k].reshape(-1), atol=1e-6)


def test_time_may_come_behind_the_batch(tmp_path: Path) -> None:
    """Layout 1, which ONNX Runtime does not run: the reference of layout 0 stands in."""
    constants = cell_constants("LSTM", N_IN, HIDDEN, 2)
    fields = {"direction": "bidirectional"}
    first = model([cell_node("LSTM", constants, **fields)], constants, ["T", 1, N_IN], ("y_h",))
    second = model(
        [cell_node("LSTM", constants, **fields, layout=1)], constants, [1, "T", N_IN], ("y", "y_h")
    )
    path = saved(second, tmp_path / "m.onnx")
    x = floats(N_STEPS, 1, N_IN)
    found = imported(path, value="y_h").run(x[:, 0])
    np.testing.assert_allclose(found, runtime(first, x).reshape(-1), atol=1e-6)
    assert imported(path).run(x[:, 0]).shape == (N_STEPS, 2 * HIDDEN)


def test_two_nodes_in_two_directions_are_one_layer(tmp_path: Path) -> None:
    """As tf2onnx writes a bidirectional layer: the second node reads a reversed sequence."""
    constants = {
        f"{k}{n}": v[n : n + 1]
        for k, v in cell_constants("GRU", N_IN, 4, 2).items()
        for n in (0, 1)
    }
    constants |= {"first": np.array([-1]), "last": np.array([-99]), "axis": np.array([0])}
    constants |= {"one": np.array([1])}

    def node(n: int, x: str) -> Any:
        names = [x, f"W{n}", f"R{n}", f"B{n}"]
        return helper.make_node("GRU", names, [f"y{n}"], hidden_size=4, linear_before_reset=1)

    def flip(source: str, result: str) -> Any:
        names = [source, "first", "last", "axis", "first"]
        return helper.make_node("Slice", names, [result])

    nodes = [
        node(0, "x"),
        flip("x", "x_flipped"),
        node(1, "x_flipped"),
        flip("y1", "y1_flipped"),
        helper.make_node("Concat", ["y0", "y1_flipped"], ["both"], axis=3),
        helper.make_node("Squeeze", ["both", "one"], ["y"]),
    ]
    made = model(nodes, constants, ["T", "B", N_IN])
    found = import_model(saved(made, tmp_path / "m.onnx"))
    assert [layer.out_size for layer in found.spec.layers] == [8]
    x = floats(N_STEPS, 1, N_IN)
    result = Model(found.spec, found.tensors).run(x[:, 0])
    np.testing.assert_allclose(result, runtime(made, x)[:, 0], atol=1e-6)


def changed(name: str, value: Any, **attributes: Any) -> Any:
    """An LSTM with one constant replaced, or with an attribute."""
    constants = {**cell_constants("LSTM", N_IN, HIDDEN, 1, peepholes=True)}
    node = cell_node("LSTM", constants, **attributes)
    places = {"sequence_lens": 4, "initial_h": 5, "initial_c": 6}
    if name in places:
        node.input[places[name]] = name
    constants = {**constants, name: value} if name else constants
    return model([node], constants, [N_STEPS, 1, N_IN])


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (changed("", 0, clip=3.0), "attribute clip = 3.0"),
        (changed("", 0, input_forget=1), "attribute input_forget"),
        (changed("", 0, activations=["Sigmoid", "Relu", "Tanh"]), "activations sigmoid, relu"),
        (changed("", 0, direction="sideways"), "direction 'sideways'"),
        (changed("initial_h", floats(1, 1, HIDDEN)), "initial_h that is not 0"),
        (changed("initial_c", floats(1, 1, HIDDEN)), "initial_c that is not 0"),
        (changed("sequence_lens", np.array([3], np.int32)), "sequence_lens other than"),
        (changed("W", floats(1, 16, 7)), "5 features in X, 7 in W"),
        (changed("W", floats(2, 16, 5)), r"W of shape \[2, 16, 5\]"),
        (changed("R", floats(1, 15, 4)), r"R of shape \[15, 4\]"),
        (changed("B", floats(1, 16)), r"B of shape \[1, 16\]"),
        (changed("P", floats(1, 16)), r"P of shape \[1, 16\]"),
        (changed("R", np.full((1, 16, 4), np.nan, np.float32)), "R: found NaN"),
        (changed("B", np.full((1, 32), 3e38, np.float32)), "cell: B: found NaN, infinity or"),
        (changed("W", np.zeros((1, 16, 5), np.int64)), "W: found int64, expected floats"),
    ],
)
def test_what_a_layer_cannot_have_is_refused_by_the_nodes_name(
    made: Any, match: str, tmp_path: Path
) -> None:
    path = saved(made, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=match) as info:
        import_model(path)
    text = str(info.value)
    assert "cell" in text
    assert text.startswith(str(path))
    assert "\n" not in text


@pytest.mark.parametrize("name", ["initial_h", "initial_c"])
def test_initial_states_of_zeros_are_taken(name: str, tmp_path: Path) -> None:
    made = changed(name, np.zeros((1, 1, HIDDEN), np.float32))
    x = floats(N_STEPS, 1, N_IN)
    found = imported(saved(made, tmp_path / "m.onnx")).run(x[:, 0])
    np.testing.assert_allclose(found, runtime(made, x).reshape(N_STEPS, -1), atol=1e-6)
