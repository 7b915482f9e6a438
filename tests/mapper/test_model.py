"""Mapped models against `numpy.einsum` and `numeric`'s cells, step by step."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.arch import PRESETS
from einchip.mapper import CellKind, Linear, MappingError, ModelProblem, Recurrent, map_model
from einchip.mapper.wires import common_factors
from einchip.network import Network
from einchip.program import Act
from tests.mapper.cases import LAYERS, WIDE, dense, lstm, mpo, mps
from tests.mapper.models import MODELS, dense_layer, dense_linear, last, layer, linear, sequence
from tests.mapper.run_model import check_model


@pytest.mark.parametrize("preset", sorted(WIDE))
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_layer_equals_numpy(name: str, preset: str) -> None:
    check_model(LAYERS[name], WIDE[preset])


@pytest.mark.parametrize("preset", sorted(WIDE))
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_equals_numpy(name: str, preset: str) -> None:
    check_model(MODELS[name], WIDE[preset])


@pytest.mark.parametrize("batch", [2, 3, 5])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_sequences_side_by_side_equal_numpy_on_each(name: str, batch: int) -> None:
    check_model(replace(MODELS[name], batch=batch), WIDE["small" if batch < 5 else "nano"])


def is_dense(problem: ModelProblem) -> bool:
    """Tell whether each network is one contraction, so that nothing saturates but results."""
    networks = [
        n
        for s in problem.stages
        for n in (
            [s.network]
            if isinstance(s, Linear)
            else [n for d in s.directions for n in (d.inputs, d.hidden)]
        )
    ]
    return all(len(n.tensors) == 2 for n in networks)


@pytest.mark.parametrize("name", sorted(n for n, p in MODELS.items() if is_dense(p)))
def test_a_dense_model_of_8_bits_equals_numpy(name: str) -> None:
    check_model(MODELS[name], PRESETS["small"], 3)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_single_step_equals_numpy(name: str) -> None:
    check_model(MODELS[name], WIDE["small"], 1)


@given(
    n_in=st.integers(1, 9), n_hidden=st.integers(1, 20), classes=st.integers(0, 18),
    preset=st.sampled_from(sorted(WIDE)),
)  # fmt: skip
def test_dense_layers_of_any_size_equal_numpy(
    n_in: int, n_hidden: int, classes: int, preset: str
) -> None:
    networks = dense("x", n_in, 4 * n_hidden), dense("h", n_hidden, 4 * n_hidden)
    check_model(lstm(*networks, n_hidden, classes=classes), WIDE[preset])


def factorisations(n: int) -> list[tuple[int, ...]]:
    """Return all lists of up to three modes that multiply to n."""
    found: list[tuple[int, ...]] = [(n,)]
    found += [(a, n // a) for a in range(1, n + 1) if n % a == 0]
    found += [
        (a, b, n // a // b) for a in range(2, n + 1) for b in range(2, n + 1) if n % (a * b) == 0
    ]
    return found


@st.composite
def matrices(draw: st.DrawFn, x: str, n_in: int, n_out: int) -> Network:
    """Return a matrix in any modes, which need not suit those of others."""
    ins, outs = (draw(st.sampled_from(factorisations(n))) for n in (n_in, n_out))
    rank = draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["dense", "mpo", "mps"]))
    if kind == "mpo" and len(ins) == len(outs):
        return mpo(x, ins, outs, rank)
    return mps(x, ins, outs, rank) if kind == "mps" else dense(x, n_in, n_out)


@st.composite
def models(draw: st.DrawFn) -> ModelProblem:
    """Return a stack of linear and recurrent stages, modes and cells at random."""
    size = draw(st.integers(1, 8))
    stages: list[Linear | Recurrent] = []
    kinds = [k for k in CellKind if k is not CellKind.RNN_RELU]  # whose states grow
    for k in range(draw(st.integers(1, 3))):
        n, name = draw(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 12])), f"layers.{k}"
        if draw(st.booleans()):
            act = draw(st.sampled_from([Act.NONE, Act.TANH]))
            stages.append(linear(name, draw(matrices("x", size, n)), act))
            size = n
            continue
        kind, n_dirs = draw(st.sampled_from(kinds)), draw(st.integers(1, 2))
        gates = kind.n_gates * n
        pairs = [
            (draw(matrices("x", size, gates)), draw(matrices("h", n, gates))) for _ in range(n_dirs)
        ]
        stages.append(layer(name, kind, n, *pairs))
        size = n * n_dirs
    if any(isinstance(s, Recurrent) for s in stages) and draw(st.booleans()):
        return last(*stages)
    return sequence(*stages)


@given(
    problem=models(), preset=st.sampled_from(sorted(WIDE)), n_steps=st.integers(1, 4),
    seed=st.integers(0, 3),
)  # fmt: skip
def test_random_models_equal_numpy(
    problem: ModelProblem, preset: str, n_steps: int, seed: int
) -> None:
    check_model(problem, WIDE[preset], n_steps, seed)


@given(data=st.data(), n=st.sampled_from([6, 12, 24, 36]))
def test_common_factors_are_a_refinement_of_all_modes(data: st.DataObject, n: int) -> None:
    modes = data.draw(st.lists(st.sampled_from(factorisations(n)), min_size=2, max_size=3))
    factors = common_factors(modes)
    chain = sorted({1}.union(*(np.cumprod(m[::-1]).tolist() for m in modes)))
    assert (factors is not None) == all(b % a == 0 for a, b in itertools.pairwise(chain))
    if factors is not None:
        assert sorted({1, *np.cumprod(factors[::-1]).tolist()}) == chain


@pytest.mark.parametrize(
    ("cell", "lacking", "wanted"),
    [
        (CellKind.LSTM, ("gru",), "lstm+gru"),
        (CellKind.PEEPHOLE, ("lstm",), "lstm+peephole"),
        (CellKind.GRU, (), "gru"),
        (CellKind.GRU_BEFORE, ("lstm", "gru"), "lstm+gru+gru_before"),
    ],
)
def test_a_machine_without_the_cell_is_refused(
    cell: CellKind, lacking: tuple[str, ...], wanted: str
) -> None:
    problem, nano = last(dense_layer("layers.0", cell, 4, 4)), WIDE["nano"]
    known = "+".join(lacking) or "none"
    with pytest.raises(MappingError) as error:
        map_model(problem, nano.override(cells=lacking))
    assert str(error.value) == (
        f"layers.0: cell: found {cell.value}, expected one of the machine's ({known}); choose a "
        f"machine with cells={wanted}"
    )
    map_model(problem, nano.override(cells=wanted))


@pytest.mark.parametrize("cell", [CellKind.RNN_TANH, CellKind.RNN_RELU])
def test_plain_layers_need_no_cell(cell: CellKind) -> None:
    check_model(last(dense_layer("layers.0", cell, 4, 4)), WIDE["nano"].override(cells=()), 3)


def test_a_model_that_does_not_fit_names_the_scratchpad() -> None:
    problem = last(dense_layer("layers.0", CellKind.LSTM, 4, 128))
    with pytest.raises(MappingError, match="scratchpad"):
        map_model(problem, WIDE["nano"])


def test_a_stack_of_layers_that_do_not_fit_is_refused_in_seconds() -> None:
    stages = [dense_layer(f"layers.{k}", CellKind.LSTM, 160, 160) for k in range(4)]
    before = time.perf_counter()
    with pytest.raises(MappingError, match="scratchpad"):
        map_model(last(*stages), WIDE["small"])
    assert time.perf_counter() - before < 20


def test_weights_of_many_linear_stages_fill_both_scratchpads() -> None:
    stages = [dense_linear(f"layers.{k}", 56, 56) for k in range(4)]
    mapping = check_model(sequence(*stages), WIDE["nano"], 2)
    spaces = [
        tensor.space for tensor, place in mapping.mapped.weights.values() if place.shape == (56, 56)
    ]
    assert sorted(spaces) == [0, 0, 1, 1]


def test_a_program_that_does_not_fit_says_how_many_words_it_takes() -> None:
    with pytest.raises(MappingError, match="set program_words to 128"):
        map_model(MODELS["stack"], WIDE["base"].override(program_words=64))


def test_a_hidden_size_that_outputs_do_not_have_is_refused() -> None:
    problem = last(layer("layers.0", CellKind.LSTM, 6, (dense("x", 4, 20), dense("h", 6, 24))))
    with pytest.raises(MappingError, match="expected a product of 24"):
        map_model(problem, WIDE["base"])


@pytest.mark.parametrize(
    "stages",
    [
        (
            dense_layer("layers.0", CellKind.LSTM, 4, 6),
            dense_layer("layers.1", CellKind.GRU, 12, 6),
        ),
        (dense_layer("layers.0", CellKind.LSTM, 4, 6), linear("layers.1", dense("x", 12, 6))),
        (
            dense_layer("layers.0", CellKind.LSTM, 4, 6, 2),
            linear("layers.1", dense("x", 6, 6)),
        ),
        (linear("layers.0", dense("x", 5, 6)), dense_layer("layers.1", CellKind.LSTM, 12, 6)),
    ],
)
def test_stages_of_different_sizes_are_refused(stages: tuple[Linear | Recurrent, ...]) -> None:
    with pytest.raises(MappingError, match="expected"):
        map_model(last(*stages), WIDE["base"])


def test_a_calibrator_finds_copies_states_and_limits() -> None:
    mapping = map_model(MODELS["bidirectional stack"], WIDE["base"])
    groups = [set(g) for g in mapping.same_scale]
    ends = {"layers.0.h", "layers.0.reverse.h", "layers.1.x", "layers.1.reverse.x"}
    assert {"layers.0.x", "layers.0.reverse.x"} in groups
    assert ends in groups
    assert {"layers.1.h", "layers.1.reverse.h", "layers.2.x"} in groups
    assert set(mapping.wide) == {f"layers.{k}{d}.cell" for k in (0, 1) for d in ("", ".reverse")}
    assert mapping.limits["layers.0.gates"] == mapping.limits["layers.0.cell"] == (0, 15)
    assert mapping.outputs == ("layers.2.y",)


def test_a_calibrator_evaluates_a_gru_that_resets_before_by_gates() -> None:
    mapping = map_model(MODELS["gru before, mpo"], WIDE["base"])
    found = {e.result: e for e in mapping.evaluations}
    hidden, candidate = found["layers.0.gates"], found["layers.0.candidate"]
    assert (hidden.addend, hidden.addend_from, hidden.addend_to) == ("layers.0.gates_input", 0, 24)
    assert (candidate.addend_from, candidate.addend_to) == (24, 36)
    assert candidate.operands == {"layers.0.reset": "layers.0.reset"}
    assert list(found) == [
        "layers.0.gates_input", "layers.0.gates", "layers.0.candidate", "layers.1.y"
    ]  # fmt: skip


def test_the_last_answer_of_a_model_without_states_is_refused() -> None:
    with pytest.raises(MappingError, match="without a recurrent layer"):
        map_model(last(linear("layers.0", dense("x", 3, 4))), WIDE["base"])


def test_a_mapping_prints_itself_as_json_and_as_loop_nests() -> None:
    mapping = map_model(LAYERS["mpo"], WIDE["base"])
    data = json.loads(json.dumps(mapping.to_json()))
    assert data["macs_per_step"] == mapping.macs <= data["macs_naive_per_step"]
    assert [c.result for c in mapping.steps][-1] == "layers.1.y"
    assert "layers.0.gates[" in mapping.explain()


def test_a_large_input_is_sliced_and_equals_numpy() -> None:
    arch = WIDE["nano"].override(x_depth=512, y_depth=512)
    problem = lstm(
        mpo("x", (4, 6, 50), (8, 2, 2), 2), mpo("h", (2, 2, 2), (8, 2, 2), 2), 8, classes=3
    )
    mapping = check_model(problem, arch, 3)
    assert mapping.mapped.phases[0].nets.inputs[0].sliced


def test_an_intermediate_of_a_layer_that_does_not_fit_is_made_in_slices() -> None:
    """Of x Q, 2,048 elements, a quarter at a time, a gate's; each adds a quarter of the biases."""
    sizes = {"a": 8, "b": 8, "o": 16, "r": 16, "s": 16}
    tensors = {"x": ("a", "b"), "P": ("b", "o", "r"), "Q": ("a", "r", "s")}
    network = Network(tensors, sizes, ("s", "o"))
    problem = last(layer("layers.0", CellKind.LSTM, 64, (network, dense("h", 64, 256))))
    arch = WIDE["nano"].override(x_depth=8192, y_depth=512)
    [phase] = check_model(problem, arch, 2).mapped.phases
    part = phase.nets.first.part
    assert part.slicing.count == 4
    assert [t.name for t in part.tensors.values() if t.sliced] == ["layers.0.input.t1"]


def test_both_directions_slice_a_large_input() -> None:
    arch = WIDE["nano"].override(x_depth=512, y_depth=512)
    pair = (mpo("x", (4, 6, 50), (8, 2, 2), 2), mpo("h", (2, 2, 2), (8, 2, 2), 2))
    mapping = check_model(last(layer("layers.0", CellKind.LSTM, 8, pair, pair)), arch, 3)
    assert all(p.nets.inputs[0].sliced for p in mapping.mapped.phases)


def test_arrays_of_another_size_are_refused() -> None:
    mapping = map_model(MODELS["gru_before"], WIDE["small"])
    with pytest.raises(ValueError, match="found no array, expected shape"):
        mapping.weight_arrays({})
    with pytest.raises(ValueError, match="found shape"):
        mapping.weight_arrays({"layers.0.input.W": np.zeros(3)})
