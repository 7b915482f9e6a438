"""Float runs against the models' dense matrices; scales against the rules of `check`.

The oracle of a gate is W_input x + W_hidden h + bias with the matrices of `to_dense`.
"""

from __future__ import annotations

import numpy as np
import pytest

from einchip.arch import CELLS, PRESETS, Architecture
from einchip.compiler import calibrate
from einchip.compiler.compiled import compile_model, map_model
from einchip.compiler.evaluate import Observer, observe
from einchip.mapper import MappingError
from einchip.models import Model
from einchip.program import Contract
from tests.compiler import cases
from tests.compiler.test_problem import dense

LENGTHS = (4, 2, 5)


def scaled(model: Model, factor: float, part: str = "") -> Model:
    """Return a model whose matrices, but not its biases, are multiplied."""
    tensors = {
        name: t if "bias" in name or part not in name else t * np.float32(factor)
        for name, t in model.tensors.items()
    }
    return Model(model.spec, tensors)


def recurrent(name: str) -> dict[str, np.ndarray]:
    """Return the pre-activations of the first layer's gates by the dense matrices."""
    model, given = cases.model(name), cases.sequences(name, LENGTHS)
    rows = model.record(given)
    bias = model.tensors["layers.0.bias"]
    gates_input = rows["layers.0.x"] @ dense(name, "layers.0.input.").T + bias
    hidden = rows["layers.0.h"] @ dense(name, "layers.0.hidden.").T
    if "layers.0.bias_hidden" in model.tensors:
        hidden = hidden + model.tensors["layers.0.bias_hidden"]
    return {"gates_input": gates_input, "hidden": hidden}


def flat(values: np.ndarray) -> np.ndarray:
    """Return the elements of each row in order of size: however the modes are arranged."""
    return np.sort(values.reshape(len(values), -1), axis=1)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", [n for n in cases.FORMAT_CASES if n.endswith(("lstm", "gru"))])
def test_observed_gates_are_those_of_the_dense_matrices(name: str, preset: str) -> None:
    model = cases.model(name)
    mapping = map_model(model.spec, PRESETS[preset].override(cells=CELLS))
    observer = Observer(model, mapping, cases.sequences(name, LENGTHS))
    expected = recurrent(name)
    if name.endswith("lstm"):
        expected["hidden"] = expected["hidden"] + expected["gates_input"]
    found = {}
    for e in mapping.evaluations:
        found[e.result] = observer.evaluate(e)[e.result]
    np.testing.assert_allclose(
        flat(found["layers.0.gates_input"]), flat(expected["gates_input"]), atol=1e-12
    )
    np.testing.assert_allclose(flat(found["layers.0.gates"]), flat(expected["hidden"]), atol=1e-12)
    np.testing.assert_allclose(
        flat(found["layers.1.y"]),
        flat(model.run_batch(cases.sequences(name, LENGTHS))),
        atol=1e-12,
    )


@pytest.mark.parametrize("name", cases.CASES)
def test_observed_results_of_linear_layers_are_the_models(name: str) -> None:
    model, given = cases.model(name), cases.sequences(name, LENGTHS)
    mapping = map_model(model.spec, PRESETS["small"])
    observer, rows = Observer(model, mapping, given), model.record(given)
    for e in mapping.evaluations:
        result = observer.evaluate(e)[e.result]
        if e.result in rows:
            np.testing.assert_allclose(flat(result), flat(rows[e.result]), atol=1e-12)


def test_rows_beyond_what_memory_holds_are_left_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = cases.model("mpo lstm"), cases.sequences("mpo lstm", (40, 60))
    mapping = map_model(model.spec, PRESETS["small"])
    whole = observe(model, mapping, given)
    monkeypatch.setattr("einchip.compiler.evaluate.MAX_ELEMENTS", 1000)
    few = observe(model, mapping, given)
    assert few["layers.0.gates"].size < whole["layers.0.gates"].size / 2
    assert set(few["layers.0.gates"]) < set(whole["layers.0.gates"])
    np.testing.assert_array_equal(few["layers.0.x"], whole["layers.0.x"])


def check_limits(name: str, model: Model, arch: Architecture) -> dict[str, int]:
    """Compile, so that `check` sees both programs; return the fractional bits."""
    compiled = compile_model(model, arch, cases.sequences(name, LENGTHS))
    fracs, mapping = compiled.fracs, compiled.mapping
    for wire, (low, high) in mapping.limits.items():
        assert low <= fracs[wire] <= high
    for copies in mapping.same_scale:
        assert len({fracs[n] for n in copies}) == 1
    for e in mapping.evaluations:
        for step in e.part.steps:
            product = fracs.get(step.left, 0) + fracs.get(step.right, 0)
            if e.act in calibrate.TABLES and step.name == e.part.result:
                assert 12 <= product <= 12 + 63
                assert 0 <= 15 - fracs[step.name] <= 15
            else:
                assert 0 <= product - fracs[step.name] <= 63
        if e.addend:
            last = e.part.steps[-1]
            assert fracs[e.addend] <= fracs.get(last.left, 0) + fracs.get(last.right, 0)
    return dict(fracs)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("factor", [0.0, 1e-30, 1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("name", ["dense lstm", "mpo gru", "mps peephole", "stack of three"])
def test_scales_keep_the_limits_however_small_the_weights(
    name: str, factor: float, bits: int
) -> None:
    model = scaled(cases.model(name), factor)
    check_limits(name, model, PRESETS["small"].override(data_bits=bits))


@pytest.mark.parametrize("name", cases.GRAPH_CASES)
def test_scales_of_every_graph_keep_the_limits(name: str) -> None:
    check_limits(name, cases.model(name), PRESETS["small"])


@pytest.mark.parametrize("part", ["input", "hidden", "layers.1"])
def test_one_small_matrix_costs_the_others_nothing(part: str) -> None:
    arch = PRESETS["small"].override(data_bits=16)
    model, given = scaled(cases.model("mpo lstm"), 1e-4, part), cases.sequences("mpo lstm", LENGTHS)
    compiled = compile_model(model, arch, given)
    found = [compiled.real_answer(a) for a in compiled.evaluate(given)]
    expected = model.run_batch(given)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize("factor", [1e6, 1e30])
def test_weights_beyond_the_machine_are_refused_in_one_line(factor: float) -> None:
    with pytest.raises(MappingError, match=r"gates: found products of -.*scale the weights down"):
        check_limits("mpo lstm", scaled(cases.model("mpo lstm"), factor), PRESETS["small"])


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_products_beyond_float64_are_refused(value: float) -> None:
    model, arch = cases.model("mpo lstm"), PRESETS["small"]
    mapping = map_model(model.spec, arch)
    seen = observe(model, mapping, cases.sequences("mpo lstm", LENGTHS))
    seen["layers.0.gates"] = np.full(3, value)
    with pytest.raises(MappingError, match=r"^layers\.0\.gates: found values beyond float64"):
        calibrate.choose_fracs(mapping, seen, arch)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("acc_bits", [24, 32, 62])
def test_addend_shift_is_the_greatest_that_no_sum_overflows(acc_bits: int, bits: int) -> None:
    arch = PRESETS["small"].override(data_bits=bits, acc_bits=max(acc_bits, 2 * bits + 8))
    run = map_model(cases.model("dense lstm").spec, arch).emit(None).run
    terms = max(i.tile_iterations * i.n_k for i in run.instructions if isinstance(i, Contract))

    def worst(shift: int) -> int:
        return (terms << 2 * (bits - 1)) + (1 << bits - 1 + shift)

    shift = calibrate.addend_shift(run, arch)
    assert worst(shift) < 1 << arch.acc_bits - 1
    assert shift == calibrate.MAX_SHIFT or worst(shift + 1) >= 1 << arch.acc_bits - 1
