"""Random models: reference = simulator, no rule broken, and fixed point near the float model."""

from __future__ import annotations

import numpy as np
import pytest

from einchip import check
from einchip.arch import PRESETS
from einchip.compiler.compiled import compile_model
from einchip.mapper import MappingError
from einchip.models import Model, ModelSpec, random_model
from einchip.sim import simulate
from tests.compiler import random_models

SEEDS = range(40)
LENGTHS = (3, 1, 4)
#: Greatest error of an answer, of the greatest answer or of 1, whichever is more.
MOST_APART = {8: 0.08, 16: 0.001}


def model_of(seed: int) -> Model:
    return random_model(ModelSpec.model_validate(random_models.spec(seed)), seed)


def sequences_of(model: Model) -> list[np.ndarray]:
    rng, embedding = np.random.default_rng(3), model.spec.embedding
    if embedding is not None:
        return [rng.integers(embedding.vocabulary, size=n) for n in LENGTHS]
    return [rng.standard_normal((n, model.spec.input_size)) for n in LENGTHS]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_model_is_the_simulated_machine_and_near_the_float_model(seed: int) -> None:
    bits, preset = (8, 16)[seed % 2], ("nano", "small", "base")[seed % 3]
    arch = PRESETS[preset].override(data_bits=bits)
    model = model_of(seed)
    given = sequences_of(model)
    try:
        made = compile_model(model, arch, given)
    except MappingError as error:
        assert bits == 8  # few bits and large weights before a table
        assert "expected at least 12; set data_bits to 16" in str(error)  # noqa: PT017
        return
    places, memory = made.places(max(LENGTHS)), made.memory(max(LENGTHS))
    simulate(made.programs.setup, arch, memory=memory, host=places.host(0))
    answers = made.evaluate(given)
    for sequence, expected in zip(given, answers, strict=True):
        packed = made.pack(sequence)
        made.put(memory, packed, places)
        host = places.host(packed.n_steps)
        assert check.verify(made.programs.run, arch, host) == []
        assert simulate(made.programs.run, arch, memory=memory, host=host).error is None
        np.testing.assert_array_equal(made.answer(memory, places, packed.n_steps), expected)
    real = np.concatenate([np.ravel(model.run(s)) for s in given])
    found = np.concatenate([made.real_answer(a).ravel() for a in answers])
    apart = np.abs(found - real).max() / max(1, np.abs(real).max())
    assert apart <= MOST_APART[bits]
