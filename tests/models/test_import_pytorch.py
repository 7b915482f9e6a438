"""State dicts of PyTorch against the output of the modules that they come from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einchip.models import Model, ModelError
from einchip.models.importers import Options, import_model

torch = pytest.importorskip("torch")
nn = torch.nn
N_STEPS, N_IN, HIDDEN = 6, 5, 4


def sequence(n_in: int = N_IN) -> Any:
    return torch.from_numpy(np.random.default_rng(7).standard_normal((N_STEPS, n_in))).float()


def seeded(build: Callable[[], Any]) -> Any:
    torch.manual_seed(3)
    return build()


def saved(module: Any, path: Path) -> Path:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(module.state_dict(), path)
    else:
        torch.save(module.state_dict(), path)
    return path


def imported(path: Path, **options: Any) -> Model:
    found = import_model(path, Options(**options))
    return Model(found.spec, found.tensors)


RECURRENT: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "lstm": (lambda: nn.LSTM(N_IN, HIDDEN), {}),
    "lstm without bias": (lambda: nn.LSTM(N_IN, HIDDEN, bias=False), {}),
    "lstm, 3 layers": (lambda: nn.LSTM(N_IN, HIDDEN, num_layers=3), {}),
    "lstm, 2 layers, both ways": (lambda: nn.LSTM(N_IN, HIDDEN, 2, bidirectional=True), {}),
    "gru": (lambda: nn.GRU(N_IN, HIDDEN), {}),
    "gru, 2 layers, both ways": (lambda: nn.GRU(N_IN, HIDDEN, 2, bidirectional=True), {}),
    "rnn": (lambda: nn.RNN(N_IN, HIDDEN), {"rnn_activation": "tanh"}),
    "rnn relu": (
        lambda: nn.RNN(N_IN, HIDDEN, 2, nonlinearity="relu"),
        {"rnn_activation": "relu"},
    ),
    "rnn, both ways": (lambda: nn.RNN(N_IN, HIDDEN, bidirectional=True), {}),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", RECURRENT)
def test_every_recurrent_module_computes_what_pytorch_computes(
    kind: str, suffix: str, tmp_path: Path
) -> None:
    build, options = RECURRENT[kind]
    module, x = seeded(build), sequence()
    with torch.no_grad():
        expected, state = module(x)
        state = state[0] if isinstance(state, tuple) else state
    path = saved(module, tmp_path / f"model{suffix}")
    every = imported(path, output="sequence", **options).run(x.numpy())
    np.testing.assert_allclose(every, expected.numpy(), atol=1e-6)
    last = imported(path, output="last", **options).run(x.numpy())
    n_directions = 1 + module.bidirectional
    np.testing.assert_allclose(last, state[-n_directions:].numpy().reshape(-1), atol=1e-6)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_cell_module_computes_what_pytorch_computes(cell: Any, tmp_path: Path) -> None:
    module, x = seeded(lambda: cell(N_IN, HIDDEN)), sequence()
    state = None
    with torch.no_grad():
        for step in x:
            state = module(step, state)
    assert state is not None
    h = state[0] if isinstance(state, tuple) else state
    found = imported(saved(module, tmp_path / "cell.pt")).run(x.numpy())
    np.testing.assert_allclose(found, h.numpy(), atol=1e-6)


class Classifier(nn.Module):  # type: ignore[name-defined]
    """Embedding or linear layer, GRU, two linear layers; defined in another order than used."""

    def __init__(self, embedded: bool = False) -> None:
        super().__init__()
        self.out = nn.Linear(7, 3)
        self.fc = nn.Linear(HIDDEN, 7, bias=False)
        self.rnn = nn.GRU(6, HIDDEN)
        self.front = nn.Embedding(11, 6) if embedded else nn.Linear(N_IN, 6)

    def forward(self, x: Any) -> Any:
        y, _ = self.rnn(self.front(x))
        return self.out(torch.relu(self.fc(y[-1])))


ORDER = ["front", "rnn", "fc", "out"]


def test_named_order_and_activation_give_the_classifier(tmp_path: Path) -> None:
    module, x = seeded(Classifier), sequence()
    path = saved(module, tmp_path / "model.pth")
    model = imported(path, order=ORDER, activations={"fc": "relu"})
    with torch.no_grad():
        np.testing.assert_allclose(model.run(x.numpy()), module(x).numpy(), atol=1e-6)


def test_the_only_order_that_fits_is_found_and_said(tmp_path: Path) -> None:
    module, x = seeded(Classifier), sequence()
    path = saved(module, tmp_path / "model.safetensors")
    options = Options(activations={"fc": "relu", "out": "none", "front": "none"})
    found = import_model(path, options)
    assert found.notes[0] == "order: front, rnn, fc, out, the only one whose sizes fit"
    model = Model(found.spec, found.tensors)
    with torch.no_grad():
        np.testing.assert_allclose(model.run(x.numpy()), module(x).numpy(), atol=1e-6)


def test_an_embedding_takes_tokens(tmp_path: Path) -> None:
    module = seeded(lambda: Classifier(embedded=True))
    tokens = np.array([0, 10, 3, 3, 7])
    path = saved(module, tmp_path / "model.pt")
    model = imported(path, order=ORDER, activations={"fc": "relu"}, embeddings=["front"])
    with torch.no_grad():
        expected = module(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(model.run(tokens), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_other_float_types_are_converted(dtype: Any, suffix: str, tmp_path: Path) -> None:
    module = seeded(lambda: nn.LSTM(N_IN, HIDDEN).to(dtype))
    found = import_model(saved(module, tmp_path / f"m{suffix}"))
    expected = module.weight_ih_l0.detach().float().numpy()
    np.testing.assert_array_equal(found.tensors["layers.0.input.W"], expected)
    assert (found.notes[0] == "float64 weights are rounded to float32") == (dtype is torch.float64)


def test_a_state_dict_inside_a_checkpoint_is_found(tmp_path: Path) -> None:
    module = seeded(lambda: nn.LSTM(N_IN, HIDDEN))
    torch.save({"epoch": 3, "state_dict": module.state_dict()}, tmp_path / "m.ckpt")
    assert import_model(tmp_path / "m.ckpt").spec.layers[0].input_size == N_IN


def test_modules_that_the_order_leaves_out_are_named(tmp_path: Path) -> None:
    module = nn.ModuleDict({"conv": nn.Conv1d(1, 2, 3), "cell": nn.LSTMCell(N_IN, HIDDEN)})
    found = import_model(saved(module, tmp_path / "m.pt"), Options(order=["cell"]))
    assert found.notes[0] == "left out, since --order does not name them: conv"


def test_what_was_assumed_is_said(tmp_path: Path) -> None:
    module = nn.ModuleDict({"rnn": nn.RNN(N_IN, HIDDEN), "fc": nn.Linear(HIDDEN, 2)})
    assert import_model(saved(module, tmp_path / "m.pt")).notes == (
        "activation: tanh assumed in nn.RNN (--rnn-activation relu)",
        "activation: none assumed behind fc (--activation NAME=relu)",
        "order: rnn, fc, as in the file",
        "output: last step assumed (--returns sequence for every step)",
    )


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(ModelError, match=match) as info:
        import_model(path, Options(**options))
    assert "\n" not in str(info.value)
    assert str(path) in str(info.value)


@pytest.mark.parametrize(
    ("build", "options", "match"),
    [
        (lambda: nn.LSTM(5, 4, proj_size=2), {}, "weight_hr_l0: found a projection"),
        (lambda: nn.Sequential(nn.Conv1d(1, 2, 3)), {}, r"0.weight: found shape \[2, 1, 3\]"),
        (lambda: nn.Sequential(nn.BatchNorm1d(3)), {}, "running_mean: found a tensor of an unk"),
        (
            lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)),
            {},
            "1: found 5 inputs behind the 4 outputs of 0",
        ),
        (
            lambda: nn.Sequential(nn.Embedding(9, 3), nn.LSTM(3, 4)),
            {},
            r"or say that 0 is a lookup table \(--embedding 0\)",
        ),
        (lambda: nn.LSTM(5, 4), {"order": ["lstm"]}, "option order: found lstm"),
        (lambda: nn.LSTM(5, 4), {"activations": {"x": "relu"}}, "option activation: found x"),
        (lambda: nn.LSTM(5, 4), {"gru_reset": "before"}, "option gru_reset"),
        (lambda: nn.LSTM(5, 4), {"value": "y"}, "option value"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_line(
    build: Callable[[], Any], options: dict[str, Any], match: str, tmp_path: Path
) -> None:
    refused(saved(build(), tmp_path / "m.pt"), match, **options)


def test_an_order_that_safetensors_does_not_keep_is_asked_for(tmp_path: Path) -> None:
    module = nn.ModuleDict({"b": nn.Linear(4, 4), "a": nn.Linear(4, 4)})
    path = saved(module, tmp_path / "m.safetensors")
    refused(path, "order: found several orders of a, b that fit, expected one; give the layers'")


def test_no_order_hints_at_lookup_tables(tmp_path: Path) -> None:
    module = nn.ModuleDict({"table": nn.Embedding(9, 3), "rnn": nn.LSTM(3, 4)})
    path = saved(module, tmp_path / "m.safetensors")
    refused(path, r"no order of .*say which are lookup tables \(--embedding NAME\)")
    spec = import_model(path, Options(embeddings=("table",))).spec
    assert spec.embedding is not None
    assert spec.embedding.vocabulary == 9


def test_a_pickled_module_is_refused_without_running_it(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save(nn.LSTM(2, 2), path)
    refused(path, "file: found Weights only load failed")


def test_a_damaged_state_dict_is_refused(tmp_path: Path) -> None:
    path = saved(nn.LSTM(2, 2), tmp_path / "m.pt")
    whole = path.read_bytes()
    for n in (0, 1, 100, len(whole) - 1):
        path.write_bytes(whole[:n])
        refused(path, "file: found")


def test_negated_views_are_read_as_their_values(tmp_path: Path) -> None:
    state = seeded(lambda: nn.LSTM(N_IN, HIDDEN)).state_dict()
    expected = imported(saved(seeded(lambda: nn.LSTM(N_IN, HIDDEN)), tmp_path / "a.pt"))
    state = {name: torch._neg_view(-tensor) for name, tensor in state.items()}
    torch.save(state, tmp_path / "b.pt")
    found = imported(tmp_path / "b.pt")
    assert all(np.array_equal(found.tensors[n], t) for n, t in expected.tensors.items())


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
def test_nested_tensors_are_refused_in_one_line(tmp_path: Path) -> None:
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    torch.save({"fc.weight": nested}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"^[^\n]*m\.pt: [^\n]*expected"):
        import_model(tmp_path / "m.pt")


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(1).expand(2**15, 2**15)}, tmp_path / "m.pt")
    refused(tmp_path / "m.pt", "fc.weight: found 4294967296 bytes in a storage of 4")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(bad: float, tmp_path: Path) -> None:
    module = nn.LSTM(N_IN, HIDDEN)
    with torch.no_grad():
        module.weight_hh_l0[1, 2] = bad
    for suffix in (".pt", ".safetensors"):
        refused(saved(module, tmp_path / f"m{suffix}"), "weight_hh_l0: found NaN")


def test_a_direction_without_its_tensors_is_refused(tmp_path: Path) -> None:
    state = nn.LSTM(N_IN, HIDDEN, bidirectional=True).state_dict()
    for name in list(state):
        part = {k: v for k, v in state.items() if k != name}
        torch.save(part, tmp_path / "m.pt")
        refused(tmp_path / "m.pt", "found (no such tensor|one bias)")
