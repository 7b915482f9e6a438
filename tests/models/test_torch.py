"""PyTorch modules; the oracle is `Model.run`, in NumPy."""

from typing import Any

import numpy as np
import pytest

from einchip.models import Model, ModelSpec, random_model

torch = pytest.importorskip("torch")
from einchip.models.torch import Matrix, TorchModel  # noqa: E402

FORMATS: dict[str, dict[str, Any]] = {
    "dense": {"format": "dense"},
    "lowrank": {"format": "lowrank", "ranks": 3},
    "mpo": {"format": "mpo", "ranks": [1, 3, 1]},
    "mps": {"format": "mps", "ranks": [1, 2, 3, 2, 1]},
    "ht": {"format": "ht", "ranks": {"leaf": 3}},
    "tr": {"format": "tr", "ranks": [2, 3, 2, 2]},
    "bt": {"format": "bt", "ranks": {"tucker": [2, 3], "blocks": 2}},
    "tucker": {"format": "tucker", "ranks": [2, 2, 2, 3]},
    "cp": {"format": "cp", "ranks": 4},
    "kronecker": {"format": "kronecker", "ranks": 2},
    "einsum": {"format": "einsum"},
}
CELLS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm"},
    "peepholes": {"cell": "lstm", "peepholes": True},
    "gru": {"cell": "gru"},
    "gru_before": {"cell": "gru", "reset": "before"},
    "rnn": {"cell": "rnn"},
    "rnn_relu": {"cell": "rnn", "activation": "relu"},
}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
#: Input and hidden size of the layers of this file.
N, H = 6, 8


def matrix(format_: str, ins: list[int], outs: list[int], **fields: Any) -> dict[str, Any]:
    raw = FORMATS[format_] | {"in_modes": ins, "out_modes": outs} | fields
    if format_ == "einsum":
        sizes = {"i": ins[0], "j": ins[1], "o": outs[0], "p": outs[1], "r": 3, "s": 2}
        raw |= {"sizes": sizes, "inputs": ["i", "j"], "outputs": ["o", "p"]}
        raw["tensors"] = {"A": ["i", "r", "s"], "B": ["j", "r", "o"], "C": ["s", "p"]}
    return raw


def layer(format_: str, cell: str, n_in: int = N, **fields: Any) -> dict[str, Any]:
    gates = GATES[CELLS[cell]["cell"]]
    return (
        {
            "input_size": n_in,
            "hidden_size": H,
            "input": matrix(format_, [2, n_in // 2], [2 * gates, 4]),
            "hidden": matrix(format_, [4, 2], [2 * gates, 4]),
        }
        | CELLS[cell]
        | fields
    )


def model_of(*layers: dict[str, Any], **fields: Any) -> Model:
    raw = {"name": "test", "layers": list(layers)} | fields
    model = random_model(ModelSpec.model_validate(raw), 3)
    rng = np.random.default_rng(4)
    for name, tensor in model.tensors.items():
        if "bias" in name or "peepholes" in name:
            tensor[...] = rng.standard_normal(tensor.shape) * 0.5
    return model


def check_equal(model: Model, seed: int = 5) -> None:
    rng = np.random.default_rng(seed)
    lengths = [5, 2, 7]
    if model.spec.embedding is not None:
        top = model.spec.embedding.vocabulary
        sequences: list[np.ndarray] = [rng.integers(0, top, n) for n in lengths]
        x = torch.zeros(3, 7, dtype=torch.int64)
    else:
        sequences = [rng.standard_normal((n, model.spec.input_size)) for n in lengths]
        x = torch.zeros(3, 7, model.spec.input_size)
    for k, s in enumerate(sequences):
        x[k, : len(s)] = torch.from_numpy(s)
    with torch.no_grad():
        found = TorchModel.from_model(model)(x, torch.tensor(lengths)).numpy()
    if model.spec.output == "sequence":
        found = np.concatenate([f[:n] for f, n in zip(found, lengths, strict=True)])
    np.testing.assert_allclose(found, model.run_batch(sequences), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_and_cell_computes_what_the_model_does(format_: str, cell: str) -> None:
    check_equal(model_of(layer(format_, cell)))


@pytest.mark.parametrize("cell", CELLS)
def test_cores_are_applied_one_by_one_to_the_same_result(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("einchip.models.torch.MAX_DENSE_ELEMENTS", 0)
    check_equal(model_of(layer("mpo", cell, bidirectional=True)))


@pytest.mark.parametrize("dense_elements", [0, 2**24])
@pytest.mark.parametrize("cell", CELLS)
def test_joint_matrices(cell: str, dense_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("einchip.models.torch.MAX_DENSE_ELEMENTS", dense_elements)
    gates = GATES[CELLS[cell]["cell"]]
    joint = matrix("mpo", [7, 2], [2 * gates, 4])
    check_equal(model_of({"input_size": N, "hidden_size": H, "joint": joint} | CELLS[cell]))


@pytest.mark.parametrize("gates", [{"gates": "separate"}, {"gate_mode": 1}])
@pytest.mark.parametrize("format_", ["mpo", "cp", "kronecker", "bt"])
def test_gates_apart_and_in_another_mode(format_: str, gates: dict[str, Any]) -> None:
    outs = [2, 4] if "gates" in gates else [2, 16]
    fields = {
        "input": matrix(format_, [2, 3], outs, **gates),
        "hidden": matrix(format_, [4, 2], outs, **gates),
    }
    check_equal(model_of(layer("dense", "lstm") | fields))


@pytest.mark.parametrize("output", ["last", "sequence"])
@pytest.mark.parametrize("tensors", [False, True])
def test_stacks_directions_linear_layers_and_embedding(
    output: str, tensors: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tensors:
        monkeypatch.setattr("einchip.models.torch.MAX_DENSE_ELEMENTS", 0)
    embedding = {"vocabulary": 11, "out_size": N, "weight": matrix("mpo", [3, 4], [2, 3])}
    linear = {"kind": "linear", "activation": "tanh"}
    model = model_of(
        linear | {"input_size": N, "out_size": 8, "weight": matrix("cp", [2, 3], [2, 4])},
        layer("mps", "gru", 8, bidirectional=True),
        layer("tr", "lstm", 16),
        linear | {"input_size": H, "out_size": 4, "weight": matrix("ht", [2, 4], [2, 2])},
        embedding=embedding,
        output=output,
    )
    check_equal(model)


def test_export_gives_back_the_same_tensors_and_names() -> None:
    model = model_of(layer("bt", "peepholes", bidirectional=True))
    back = TorchModel.from_model(model).to_model()
    assert back.spec == model.spec
    assert set(back.tensors) == set(model.tensors)
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(back.tensors[name], tensor)


@pytest.mark.parametrize("format_", FORMATS)
def test_gradients_reach_every_core(format_: str) -> None:
    module = TorchModel.from_model(model_of(layer(format_, "lstm")))
    module(
        torch.randn(2, 3, N, generator=torch.Generator().manual_seed(1))
    ).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_a_trained_step_is_exported_to_the_same_output() -> None:
    """Also the claim of the pages: export gives the same float output to 1e-5."""
    module = TorchModel.from_model(model_of(layer("ht", "gru")))
    x = torch.randn(4, 6, N, generator=torch.Generator().manual_seed(2))
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    before = module(x)
    before.square().sum().backward()
    optimiser.step()
    with torch.no_grad():
        after = module(x).numpy()
    assert np.abs(after - before.detach().numpy()).max() > 1e-3
    expected = module.to_model().run_batch(list(x.numpy()))
    np.testing.assert_allclose(after, expected, atol=1e-5)


def test_large_matrices_are_applied_core_by_core() -> None:
    spec = ModelSpec.model_validate(
        {
            "name": "video",
            "output": "sequence",
            "layers": [
                {
                    "kind": "linear",
                    "input_size": 57600,
                    "out_size": 1024,
                    "weight": {
                        "format": "mpo",
                        "in_modes": [8, 20, 20, 18],
                        "out_modes": [16, 4, 4, 4],
                        "ranks": [1, 4, 4, 4, 1],
                    },
                }
            ],
        }
    )
    weight = spec.layers[0].weight  # type: ignore[union-attr]
    assert Matrix(weight).operator(8).dense is None
    check_equal(random_model(spec, 1))
