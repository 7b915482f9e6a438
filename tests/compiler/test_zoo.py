"""The zoo on machines: reference = simulator, and fixed point near the float model."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from einchip import check
from einchip.arch import PRESETS
from einchip.compiler.compiled import Compiled, compile_model
from einchip.compiler.scales import snr_db
from einchip.sim import simulate
from tests.compiler import cases

LENGTHS = (3, 1, 5)
#: Signal-to-noise ratio in dB that the answers of every model of the zoo have at least.
LEAST_DB = {8: 21.0, 16: 62.0}


@cache
def compiled(name: str, preset: str, bits: int) -> Compiled:
    """A model of the zoo, its scales from the sequences that run and others."""
    arch = PRESETS[preset].override(data_bits=bits)
    given = [*cases.sequences(name, LENGTHS), *cases.sequences(name, (6, 4), seed=4)]
    return compile_model(cases.model(name), arch, given)


def simulated(made: Compiled, name: str) -> list[np.ndarray]:
    """Return the answers of one simulated machine that is set up once."""
    places, memory = made.places(max(LENGTHS)), made.memory(max(LENGTHS))
    simulate(made.programs.setup, made.arch, memory=memory, host=places.host(0))
    answers = []
    for sequence in cases.sequences(name, LENGTHS):
        packed = made.pack(sequence)
        made.put(memory, packed, places)
        host = places.host(packed.n_steps)
        run = simulate(made.programs.run, made.arch, memory=memory, host=host)
        assert run.error is None
        answers.append(made.answer(memory, places, packed.n_steps))
    return answers


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", cases.CASES)
def test_every_model_is_the_simulated_machine_and_near_the_float_model(
    name: str, bits: int
) -> None:
    made = compiled(name, "small", bits)
    given = cases.sequences(name, LENGTHS)
    answers = made.evaluate(given)
    for found, expected in zip(simulated(made, name), answers, strict=True):
        np.testing.assert_array_equal(found, expected)
    real = [cases.model(name).run(s) for s in given]
    shapes = [np.shape(r) for r in real]
    assert [a.shape for a in answers] == shapes
    flat = [np.concatenate([np.ravel(a) for a in part]) for part in (real, answers)]
    assert snr_db(flat[0], made.real_answer(flat[1])) >= LEAST_DB[bits]


@pytest.mark.parametrize("name", cases.GRAPH_CASES)
def test_every_graph_breaks_no_rule_for_any_number_of_steps(name: str) -> None:
    made = compiled(name, "nano", 8)
    for n_steps in (1, 2, 3, 6):
        host = made.places(n_steps).host(n_steps)
        for program in (made.programs.setup, made.programs.run):
            assert check.verify(program, made.arch, host) == []
