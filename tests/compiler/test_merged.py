"""Merged models against the float model they are made of, and on the machine against theirs."""

from pathlib import Path

import numpy as np
import pytest

from einchip.arch import PRESETS
from einchip.compiler.merged import merge_model, merge_spec
from einchip.compiler.problem import problem_of
from einchip.mapper import map_model
from einchip.models import load_model, n_weights
from einchip.models.spec import model_matrices
from tests.cli.helpers import invoke, succeeded

EXAMPLES = Path(__file__).parents[2] / "examples" / "japanese_vowels"
SMALL = PRESETS["small"]


@pytest.mark.parametrize("name", ["mpo", "mps"])
def test_a_merged_model_answers_as_the_model_does_and_is_not_slower(name: str) -> None:
    model = load_model(EXAMPLES / f"{name}.safetensors")
    merged, told = merge_model(model, SMALL)
    assert told
    rng = np.random.default_rng(0)
    sequence = rng.standard_normal((7, model.spec.layers[0].input_size))
    np.testing.assert_allclose(merged.run(sequence), model.run(sequence), rtol=1e-4, atol=1e-5)
    for matrix in told:
        np.testing.assert_allclose(merged.matrix(matrix), model.matrix(matrix), atol=1e-5)
    cycles = [map_model(problem_of(m.spec), SMALL).cycles(10) for m in (merged, model)]
    assert cycles[0] <= cycles[1]


def test_a_merged_model_compiles_and_its_integers_are_those_of_the_machine(tmp_path: Path) -> None:
    out = tmp_path / "build"
    model = EXAMPLES / "mps.safetensors"
    text = succeeded(invoke("compile", model, "--merge", "--sequences", "1", "-o", out))
    assert "merged beforehand" in text
    assert "layers.0.hidden" in text
    assert "cycles" in succeeded(invoke("simulate", out))


@pytest.mark.parametrize("name", ["mpo", "mps"])
def test_a_spec_is_merged_as_the_model_is_and_within_its_room(name: str) -> None:
    model = load_model(EXAMPLES / f"{name}.safetensors")
    assert merge_spec(model.spec, SMALL) == merge_model(model, SMALL)[0].spec
    room = sum(SMALL.capacity(space) for space in (0, 1))
    for share in (0.05, 0.1, 0.5):
        merged = merge_spec(model.spec, SMALL, batch=16, share=share)
        n = [sum(n_weights(*m) for m in model_matrices(s).values()) for s in (merged, model.spec)]
        assert n[0] <= max(share * room, n[1])
    assert n[0] > n[1]


def test_a_dense_model_is_left_as_it_is() -> None:
    model = load_model(EXAMPLES / "dense.safetensors")
    merged, told = merge_model(model, SMALL)
    assert told == {}
    assert merged.spec == model.spec
