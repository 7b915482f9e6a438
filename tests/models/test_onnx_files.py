"""ONNX files that are cut, lie about sizes, or point outside their folder; exports of PyTorch."""

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einchip.models import Model, ModelError
from einchip.models.importers import import_model

pytest.importorskip("onnx")
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from tests.models.onnx_graphs import floats, model, runtime, saved


def linear(weight: Any = None) -> Any:
    """A graph of one MatMul with weight w [5, 3]."""
    constants = {} if weight is not None else {"w": floats(5, 3)}
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], constants, ["N", 5])
    if weight is not None:
        made.graph.initializer.append(weight)
    return made


def refuse(path: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match) as info:
        import_model(path)
    text = str(info.value)
    assert text.startswith(str(path))
    assert "\n" not in text


def tensor(dims: list[int], kind: int = TensorProto.FLOAT, **fields: Any) -> Any:
    made = TensorProto(name="w", data_type=kind, **fields)
    made.dims.extend(dims)
    return made


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = linear().SerializeToString()
    path = tmp_path / "m.onnx"
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        refuse(path, "found")


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (tensor([5, 3], raw_data=bytes(59)), r"w: found 59 bytes for dimensions \[5, 3\]"),
        (tensor([5, 3], float_data=[0.0] * 14), "w: found 14 values, expected 15"),
        (tensor([-5, 3], raw_data=bytes(60)), r"w: found dimensions \[-5, 3\]"),
        (tensor([2**62, 4], raw_data=bytes(60)), "w: found dimensions"),
        (tensor([2**13, 2**12], raw_data=b""), "w: found 0 bytes"),
        (tensor([5, 3], 8, string_data=[b"x"] * 15), "w: found element type 8"),
        (tensor([5, 3], 77, raw_data=bytes(60)), "w: found element type 77"),
        (tensor([1] * 40, raw_data=bytes(4)), "w: found dimensions"),
    ],
)
def test_sizes_that_the_data_do_not_have_are_refused(made: Any, match: str, tmp_path: Path) -> None:
    refuse(saved(linear(made), tmp_path / "m.onnx"), match)


@pytest.mark.parametrize("dim", [0, -3, 2**40])
def test_impossible_input_dimensions_are_refused(dim: int, tmp_path: Path) -> None:
    made = linear()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = dim
    refuse(saved(made, tmp_path / "m.onnx"), f"x: found dimension {dim}")


def test_an_input_too_large_to_trace_is_refused(tmp_path: Path) -> None:
    made = linear()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2**24
    refuse(saved(made, tmp_path / "m.onnx"), r"x: found a result of shape.*the limit is")


def test_a_graph_without_outputs_is_refused(tmp_path: Path) -> None:
    made = linear()
    del made.graph.output[:]
    refuse(saved(made, tmp_path / "m.onnx"), "graph: found a graph without nodes or outputs")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
@pytest.mark.parametrize("raw", [True, False])
def test_other_float_types_have_their_values(kind: int, raw: bool, tmp_path: Path) -> None:
    """Halves and quarters, exact in every type."""
    values = np.arange(15, dtype=np.float32).reshape(5, 3) / 4
    weight = helper.make_tensor("w", kind, [5, 3], values.reshape(-1))
    if raw:
        weight = numpy_helper.from_array(numpy_helper.to_array(weight), "w")
        assert weight.HasField("raw_data")
        assert weight.data_type == kind
    found = import_model(saved(linear(weight), tmp_path / "m.onnx"))
    np.testing.assert_array_equal(found.tensors["layers.0.weight.W"], values.T)


def external(location: str, offset: int | None = None, length: int | None = 60) -> Any:
    made = tensor([5, 3], raw_data=b"")
    set_external_data(made, location, offset, length)
    made.ClearField("raw_data")
    return made


WEIGHTS = floats(5, 3).astype("<f4")


@pytest.mark.parametrize(("offset", "length"), [(None, None), (16, 60)])
def test_external_data_in_the_folder_are_read(
    offset: int | None, length: int | None, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(bytes(offset or 0) + WEIGHTS.tobytes())
    weight = external("sub/w.bin", offset, length)
    found = import_model(saved(linear(weight), tmp_path / "m.onnx"))
    np.testing.assert_array_equal(found.tensors["layers.0.weight.W"], WEIGHTS.T)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda secret: external(str(secret)), "external data in '/"),
        (
            lambda secret: external(f"../{secret.parent.name}/{secret.name}"),
            "external data in '../",
        ),
        (lambda _: external("link/secret.bin"), "external data in 'link/secret.bin'"),
        (lambda _: external("file_link"), "external data in 'file_link'"),
        (lambda _: external("missing.bin"), "external data in 'missing.bin': No such file"),
        (lambda _: external(""), "external data in ''"),
        (lambda _: external("sub"), "w: found .*bytes from|Is a directory"),
        (lambda _: external("w\0.bin"), "external data in 'w"),
        (lambda _: external("w.bin", 4), "60 bytes from 4 in a file of 60"),
        (lambda _: external("w.bin", 0, 64), "64 bytes from 0 in a file of 60, expected 60"),
        (lambda _: external("w.bin", -4), "60 bytes from -4"),
    ],
)
def test_external_data_outside_the_folder_or_the_file_are_refused(
    make: Callable[[Path], Any], match: str, tmp_path: Path
) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "model"
    outside.mkdir()
    (folder / "sub").mkdir(parents=True)
    secret = outside / "secret.bin"
    secret.write_bytes(WEIGHTS.tobytes())
    (folder / "link").symlink_to(outside)
    (folder / "file_link").symlink_to(secret)
    (folder / "w.bin").write_bytes(WEIGHTS.tobytes())
    made = linear(make(secret))
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    refuse(folder / "m.onnx", match)


def test_doubling_again_and_again_stops(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", [f"c{k}", f"c{k}"], [f"c{k + 1}"], axis=0) for k in range(60)
    ]
    nodes.append(helper.make_node("MatMul", ["x", "c60"], ["y"]))
    made = model(nodes, {"c0": floats(5, 3)}, ["N", 5])
    refuse(saved(made, tmp_path / "m.onnx"), "a result of shape|more than")


def test_nodes_out_of_order_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["m"], ["y"], name="early"),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
    ]
    made = model(nodes, {"w": floats(5, 3)}, ["N", 5])
    refuse(saved(made, tmp_path / "m.onnx"), "node early.*no tensor 'm' before this node")


# Exports of PyTorch.

N_STEPS, N_IN, HIDDEN = 6, 5, 4
EXPORTS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "lstm": ("LSTM", {}, False),
    "lstm, 2 layers, both ways": ("LSTM", {"num_layers": 2, "bidirectional": True}, False),
    "gru, every step": ("GRU", {"num_layers": 2}, True),
    "gru, both ways, every step": ("GRU", {"bidirectional": True}, True),
    "rnn relu": ("RNN", {"nonlinearity": "relu"}, False),
    "lstm, batch second": ("LSTM", {"batch_first": False}, True),
}


def classifier(kind: str) -> Any:
    """A network as people write it: last step or final states, two linear layers."""
    import torch
    from torch import nn

    name, fields, every = EXPORTS[kind]

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = getattr(nn, name)(N_IN, HIDDEN, **{"batch_first": True, **fields})
            self.fc = nn.Linear(HIDDEN * (2 if self.rnn.bidirectional else 1), 7)
            self.out = nn.Linear(7, 3)

        def forward(self, x: Any) -> Any:
            y, state = self.rnn(x)
            h = state[0] if isinstance(state, tuple) else state
            if self.rnn.bidirectional:
                y = y if every else torch.cat([h[-2], h[-1]], dim=1)
            elif not every:
                y = y[:, -1]
            return self.out(torch.relu(self.fc(y)))

    torch.manual_seed(2)
    return Classifier().eval()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
@pytest.mark.parametrize("open_dims", [True, False])
@pytest.mark.parametrize("kind", EXPORTS)
def test_an_export_of_pytorch_computes_what_pytorch_computes(
    kind: str, open_dims: bool, tmp_path: Path
) -> None:
    import torch

    module, path = classifier(kind), tmp_path / "m.onnx"
    shape = (1, N_STEPS, N_IN) if module.rnn.batch_first else (N_STEPS, 1, N_IN)
    x = torch.from_numpy(floats(*shape))
    axes = {"x": {0: "a", 1: "b"}} if open_dims else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (x,), str(path), dynamo=False, input_names=["x"], dynamic_axes=axes
        )
    onnx.checker.check_model(str(path))
    found = import_model(path)
    with torch.no_grad():
        expected = module(x).numpy().reshape(-1)
    result = Model(found.spec, found.tensors).run(x.numpy().reshape(N_STEPS, N_IN)).reshape(-1)
    np.testing.assert_allclose(result, expected, atol=1e-6)


FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_file_of_pytorchs_newer_exporter_computes_what_onnx_runtime_computes(name: str) -> None:
    """Written by torch.onnx.export(.., dynamo=True) of PyTorch 2.13: two layers, a classifier."""
    pytest.importorskip("onnxruntime")
    path = FIXTURES / f"torch_export_{name}.onnx"
    x = floats(1, N_STEPS, N_IN)
    found = import_model(path)
    result = Model(found.spec, found.tensors).run(x[0]).reshape(-1)
    np.testing.assert_allclose(result, runtime(path.read_bytes(), x).reshape(-1), atol=1e-6)
