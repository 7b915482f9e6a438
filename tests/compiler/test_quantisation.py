"""Quantisation reports against the numbers that they speak of, computed again here."""

from __future__ import annotations

import json
import math
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from einchip.arch import PRESETS
from einchip.compiler import quantisation, quantisation_table
from einchip.compiler.compiled import compile_model
from einchip.compiler.quantisation import Noise, StepNoise, tensor_noise
from einchip.compiler.scales import snr_db
from einchip.mapper import MappingError
from einchip.models import Model
from einchip.numeric import dequantise, quantise
from einchip.program import Contract
from tests.compiler import cases

ARCH = PRESETS["small"]
NAME = "mpo lstm"
GIVEN = cases.sequences(NAME, (8, 2, 5), seed=4)
#: Few sequences: the given ones are among them, so that nothing saturates for want of data.
CALIBRATION = [*cases.sequences(NAME, (9, 5)), *GIVEN]


@cache
def report() -> list[Noise]:
    """The report of a small model."""
    return quantisation.noise(cases.model(NAME), ARCH, CALIBRATION, GIVEN)


def test_a_tensor_has_the_noise_of_rounding_and_saturation() -> None:
    values = np.array([0.3, -1.0, 0.99, 2.5, -0.126])
    found = tensor_noise("t", values, frac=7, bits=8)
    held = np.array([38, -128, 127, 127, -16]) / 128
    assert found.snr_db == 10 * math.log10(np.sum(values**2) / np.sum((held - values) ** 2))
    assert (found.saturated, found.n_values) == (1, 5)
    assert (found.low, found.high) == (-1.0, 2.5)


@pytest.mark.parametrize("k", [0, 1])
def test_every_tensor_is_reported_with_its_scale(k: int) -> None:
    found = report()[k]
    compiled = compile_model(
        cases.model(NAME), ARCH.override(data_bits=found.data_bits), CALIBRATION
    )
    scales = {t.name: t.frac for t in found.tensors}
    assert scales == {n: f for n, f in compiled.fracs.items() if not n.startswith("@one")}
    weight = cases.model(NAME).tensors["layers.1.weight.W"]
    [seen] = [t for t in found.tensors if t.name == "layers.1.weight.W"]
    held = dequantise(quantise(weight, seen.frac, seen.bits), seen.frac)
    assert seen.snr_db == snr_db(weight.astype(np.float64), held)
    assert {t.name for t in found.tensors if t.bits > found.data_bits} <= {"layers.0.cell"}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", [NAME, "stack", "separate tr"])
def test_sums_are_those_of_the_program_and_fit(name: str, bits: int) -> None:
    arch = ARCH.override(data_bits=bits)
    compiled = compile_model(cases.model(name), arch, cases.sequences(name, (9, 5)))
    sums = quantisation.sums(compiled)
    contracts = [i for i in compiled.programs.run.instructions if isinstance(i, Contract)]
    assert max(s.terms for s in sums) == max(i.tile_iterations * i.n_k for i in contracts)
    shifts = {i.d_shift for i in contracts if i.has_addend}
    assert shifts == {s.addend_shift for s in sums if s.addend}
    for s in sums:
        worst = s.terms * 4 ** (bits - 1)
        worst += 2 ** (bits - 1 + s.addend_shift) if s.addend else 0
        assert 2 ** (s.bits - 2) <= worst < 2 ** (s.bits - 1)
        assert s.bits <= s.acc_bits == arch.acc_bits


def test_errors_by_step_are_those_of_machines_that_stop_there() -> None:
    model = cases.model(NAME)
    for found in report():
        arch = ARCH.override(data_bits=found.data_bits)
        compiled = compile_model(model, arch, CALIBRATION)
        assert [s.n_sequences for s in found.steps] == [3, 3, 2, 2, 2, 1, 1, 1]
        for s in found.steps:
            prefixes = [g[: s.step] for g in map(np.asarray, GIVEN) if len(g) >= s.step]
            answers = [compiled.real_answer(a) for a in compiled.evaluate(prefixes)]
            error = np.abs(np.array(answers) - model.run_batch(prefixes))
            assert s.max_error == pytest.approx(error.max(), rel=0.5)
            assert s.rms_error == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.5)


def test_sixteen_bits_are_better_than_eight_everywhere() -> None:
    eight, sixteen = report()
    assert (eight.data_bits, sixteen.data_bits) == (8, 16)
    assert sixteen.answer_snr_db > eight.answer_snr_db + 20
    for a, b in zip(eight.steps, sixteen.steps, strict=True):
        assert b.rms_error < a.rms_error


def test_a_model_that_answers_every_step_is_its_own_report_by_step() -> None:
    name = "sequence"
    given = cases.sequences(name, (6,), seed=4)
    [found, _] = quantisation.noise(cases.model(name), ARCH, given, given)
    compiled = compile_model(cases.model(name), ARCH, given)
    [answer] = compiled.evaluate(given)
    errors = np.abs(compiled.real_answer(answer) - cases.model(name).run(given[0]))
    assert [s.max_error for s in found.steps] == list(errors.max(axis=1))
    real = cases.model(name).run(given[0])
    assert found.answer_snr_db == snr_db(real, compiled.real_answer(answer))


def test_scales_that_a_model_carries_are_those_of_its_machine() -> None:
    model, given = cases.model("stack"), cases.sequences("stack", (6, 5))
    first = compile_model(model, ARCH, given)
    carrying = quantisation.with_scales(model, first)
    assert carrying.spec.data_bits == 8
    other = [10 * np.asarray(s) for s in given]  # calibrates to other scales, had it none
    kept = compile_model(carrying, ARCH, other)
    assert compile_model(model, ARCH, other).fracs["layers.0.x"] < first.fracs["layers.0.x"]
    assert carrying.spec.scales
    for name, frac in carrying.spec.scales.items():
        assert kept.fracs[name] == first.fracs[name] == frac
    wide = ARCH.override(data_bits=16)
    assert compile_model(carrying, wide, given).fracs == compile_model(model, wide, given).fracs


@pytest.mark.parametrize(
    ("scales", "found"),
    [
        ({"layers.0.y": 3}, "layers.0.y: found no tensor of that name"),
        ({"layers.0.h": 16}, "layers.0.h: found 16, expected 0 to 15"),
        ({"layers.0.h": 7, "layers.1.x": 6}, "layers.1.x: found 6, expected 7 as of its copies"),
        ({"layers.0.bias": 30}, "layers.0.bias: found 30, expected at most "),
    ],
)
def test_scales_that_no_machine_can_keep_are_named(scales: dict[str, int], found: str) -> None:
    model, given = cases.model("stack"), cases.sequences("stack", (6, 5))
    spec = model.spec.model_copy(update={"data_bits": 8, "scales": scales})
    with pytest.raises(MappingError, match=f"^stack on small, 8 bit: scales: {found}"):
        compile_model(Model(spec, model.tensors), ARCH, given)


def test_json_is_strict_and_has_null_for_no_error() -> None:
    noise = Noise(8, (tensor_noise("t", [0.5], 7, 8),), (), (), math.inf)
    content = json.loads(json.dumps(noise.to_json(), allow_nan=False))
    assert content["answer_snr_db"] is None
    assert content["tensors"][0]["snr_db"] is None
    assert content["tensors"][0]["frac"] == 7


def test_tables_hold_every_name_on_eighty_columns() -> None:
    console = Console(width=80, record=True, quiet=True)
    for table in (
        quantisation_table.tensor_table(report()),
        quantisation_table.sum_table(report()),
        quantisation_table.step_table(report()),
    ):
        console = Console(width=80, record=True)
        with console.capture() as captured:
            console.print(table)
        text = captured.get()
        assert "…" not in text
        assert all(len(line.rstrip()) <= 80 for line in text.splitlines())


def test_long_sequences_are_listed_in_few_rows_and_their_drift_in_words() -> None:
    steps = tuple(StepNoise(t + 1, 1, 30.0, 0.1 * (1 + (t >= 90)), 0.2) for t in range(100))
    noise = Noise(8, (), (), steps, 30.0)
    table = quantisation_table.step_table([noise])
    assert table.row_count <= quantisation_table.MAX_ROWS
    expected = math.sqrt((15 * 0.01 + 10 * 0.04) / 25) / 0.1
    assert f"{expected:.2f} x" in quantisation_table.drift(steps)
    assert "nothing can drift" in quantisation_table.drift(steps[:3])


def test_plot_is_a_drawing_with_a_line_for_each_width() -> None:
    text = quantisation_table.plot(report(), "a < b")
    root = ElementTree.fromstring(text)
    lines = [e for e in root.iter() if e.tag.endswith("polyline")]
    assert len(lines) == 2
    for line, noise in zip(lines, report(), strict=True):
        points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
        assert len(points) == len(noise.steps)
        order = np.argsort([s.rms_error for s in noise.steps])
        heights = [points[k][1] for k in order]
        assert heights == sorted(heights, reverse=True)  # y grows downwards
        assert all(0 < x < 640 and 0 < y < 360 for x, y in points)
    assert "a < b" in [e.text for e in root.iter()]
