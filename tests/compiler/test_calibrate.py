"""Float runs against `Model.run_batch` and its dense matrices; scales against the rules of `check`.

The oracle of a gate is W_input x + W_hidden h + bias with the matrices of `Model.matrix`.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from einchip.arch import PRESETS, Architecture
from einchip.compiler import calibrate
from einchip.compiler.compiled import compile_model, map_model
from einchip.mapper import MappingError
from einchip.mapper.cell import GATE
from einchip.mapper.lstm import LstmMapping
from einchip.models import Model
from einchip.program import Contract
from tests.compiler.helpers import model_of, sequences, small_models
from tests.models.helpers import small_model

MODELS = small_models()
LENGTHS = (4, 2, 5)


def scaled(model: Model, factor: float, part: str = "") -> Model:
    """Return a model whose matrices, but not its biases, are multiplied."""
    tensors = {
        name: t if name.endswith("bias") or part not in name else t * np.float32(factor)
        for name, t in model.tensors.items()
    }
    return Model(model.spec, tensors)


def rows(mapping: LstmMapping, part: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return gates as rows [n, 4 * hidden_size], gate slowest, then units row-major."""
    parts = mapping.layer.parts
    tensor = (parts.inputs if part == "gates_input" else parts.hidden).tensors[part]
    order = [tensor.indices.index(i) for i in (GATE, *parts.units.gates)]
    return values.transpose(0, *(1 + k for k in order)).reshape(len(values), -1)


def check_observed(model: Model, mapping: LstmMapping) -> None:
    given = sequences(model.spec.layers[0].input_size, LENGTHS)
    seen = calibrate.observe(model, mapping, given)
    states = calibrate.states(model, given)
    bias = model.tensors["layers.0.bias"]
    gates_input = states.x @ model.matrix("input").T + bias
    gates = gates_input + states.h_before @ model.matrix("hidden").T
    assert len(seen["x"]) == sum(LENGTHS)
    np.testing.assert_allclose(rows(mapping, "gates_input", seen["gates_input"]), gates_input)
    np.testing.assert_allclose(rows(mapping, "gates", seen["gates"]), gates)
    np.testing.assert_allclose(
        np.sort(seen["logits"].reshape(len(LENGTHS), -1), axis=0),
        np.sort(model.run_batch(given), axis=0),
    )


@pytest.mark.parametrize("name", MODELS)
def test_states_are_those_of_the_model(name: str) -> None:
    model, given = MODELS[name], sequences(6, LENGTHS)
    states = calibrate.states(model, given)
    longest_first = sorted(given, key=lambda s: -len(s))
    headless = Model(
        model.spec.model_copy(update={"head": None}),
        {n: t for n, t in model.tensors.items() if not n.startswith("head.")},
    )
    np.testing.assert_allclose(states.last, headless.run_batch(longest_first))
    prefixes = [s[: t + 1] for t in range(5) for s in longest_first if len(s) > t]
    np.testing.assert_allclose(states.h, headless.run_batch(prefixes))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", MODELS)
def test_observed_gates_and_logits_are_those_of_the_dense_matrices(name: str, preset: str) -> None:
    check_observed(MODELS[name], map_model(MODELS[name].spec, PRESETS[preset]))


def test_an_input_that_is_loaded_in_slices_is_observed_whole() -> None:
    arch = PRESETS["nano"].override(x_depth=256, y_depth=256)
    model = model_of(
        {"format": "mpo", "in_modes": [4, 6, 50], "out_modes": [8, 2, 2], "ranks": [1, 2, 2, 1]},
        {"format": "mpo", "in_modes": [2, 2, 2], "out_modes": [8, 2, 2], "ranks": [1, 2, 2, 1]},
        input_size=1200,
    )
    mapping = map_model(model.spec, arch)
    assert mapping.layer.parts.x.sliced
    check_observed(model, mapping)


def check_limits(model: Model, arch: Architecture) -> dict[str, int]:
    """Compile, so that `check` sees both programs; return the fractional bits."""
    compiled = compile_model(model, arch, sequences(6, LENGTHS))
    fracs = compiled.fracs
    assert all(0 <= fracs[name] <= 15 for name in ("gates", "cell", "h"))
    for part in compiled.mapping.layer.parts.all:
        for step in part.steps:
            assert 0 <= fracs[step.left] + fracs[step.right] - fracs[step.name] <= 63
        last = part.steps[-1]
        addend = calibrate.ADDENDS[part.result]
        assert fracs[addend] <= fracs[last.left] + fracs[last.right]
    return dict(fracs)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("factor", [0.0, 1e-30, 1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("kind", ["dense", "mpo", "mps"])
def test_scales_keep_the_limits_however_small_the_weights(
    kind: str, factor: float, bits: int
) -> None:
    model = scaled(small_model(kind), factor)
    check_limits(model, PRESETS["small"].override(data_bits=bits))


@pytest.mark.parametrize("part", ["input", "hidden", "head"])
def test_one_small_matrix_costs_the_others_nothing(part: str) -> None:
    arch = PRESETS["small"].override(data_bits=16)
    model, given = scaled(small_model("mpo"), 1e-4, part), sequences(6, LENGTHS)
    model.tensors["layers.0.bias"][:] = np.random.default_rng(1).standard_normal(32)
    compiled = compile_model(model, arch, given)
    found = [compiled.real_answer(a) for a in compiled.evaluate(given)]
    expected = model.run_batch(given)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("factor", [1e6, 1e30])
def test_weights_beyond_the_machine_are_refused_in_one_line(factor: float) -> None:
    with pytest.raises(MappingError, match=r"gates: found products of -.*scale the weights down"):
        check_limits(scaled(small_model("mpo"), factor), PRESETS["small"])


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_products_beyond_float64_are_refused(value: float) -> None:
    model = small_model("mpo")
    mapping = map_model(model.spec, PRESETS["small"])
    seen = calibrate.observe(model, mapping, sequences(6, LENGTHS))
    seen["input.t1"] = np.full_like(seen["input.t1"], value)
    with pytest.raises(MappingError, match=r"^input\.t1: found values beyond float64"):
        calibrate.choose_fracs(mapping, seen, PRESETS["small"])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("acc_bits", [24, 32, 62])
def test_addend_shift_is_the_greatest_that_no_sum_overflows(acc_bits: int, bits: int) -> None:
    arch = PRESETS["small"].override(data_bits=bits, acc_bits=max(acc_bits, 2 * bits + 8))
    run = map_model(small_model("dense").spec, arch).emit().run
    terms = max(i.tile_iterations * i.n_k for i in run.instructions if isinstance(i, Contract))

    def worst(shift: int) -> int:
        return (terms << 2 * (bits - 1)) + (1 << bits - 1 + shift)

    shift = calibrate.addend_shift(run, arch)
    assert worst(shift) < 1 << arch.acc_bits - 1
    assert shift == calibrate.MAX_SHIFT or worst(shift + 1) >= 1 << arch.acc_bits - 1
