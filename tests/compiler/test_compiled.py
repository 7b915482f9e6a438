"""Compiled models: the simulator against the reference, fixed point against the float model."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from einchip import check
from einchip.arch import PRESETS
from einchip.compiler.compiled import Compiled, Packed, Places, compile_model, groups
from einchip.mapper import MappingError
from einchip.models import ModelError
from einchip.numeric import Ints
from einchip.program import ProgramError
from einchip.reference import Host
from einchip.sim import Order, races, simulate
from tests.compiler import cases
from tests.compiler.helpers import (
    KINDS,
    compiled_small,
    compiled_vowels,
    labelled,
    machine,
    sequences,
    vowels,
)
from tests.models.helpers import small_model

#: Test sequences, evenly spread over the speakers, for accuracy.
SUBSET = slice(None, None, 9)
#: Points of accuracy that fixed point may lose.
MOST_LOST = {8: 1.0, 16: 0.3}
#: Greatest difference of a logit, of the greatest logit.
MOST_APART = {8: 0.25, 16: 0.01}
#: What fits: the dense model is too large for the small ones.
FITTING = [(k, p) for k in KINDS for p in PRESETS if k != "dense" or p in ("small", "base")]


def simulated(compiled: Compiled, given: list[Packed]) -> list[Ints]:
    """Return the answers of one simulated machine that is set up once."""
    longest = max(p.n_steps for p in given)
    places, memory = compiled.places(longest), compiled.memory(longest)
    simulate(compiled.programs.setup, compiled.arch, memory=memory, host=places.host(0))
    answers = []
    for packed in given:
        compiled.put(memory, packed, places)
        host = places.host(packed.n_steps)
        run = simulate(compiled.programs.run, compiled.arch, memory=memory, host=host)
        assert run.error is None
        answers.append(compiled.answer(memory, places, packed.n_steps))
    return answers


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("kind", "preset"), FITTING)
def test_evaluation_is_the_simulated_machine(kind: str, preset: str, bits: int) -> None:
    compiled = compiled_vowels(kind, preset, bits)
    given = [s[:n] for s, n in zip(labelled("test").sequences, (1, 4, 2), strict=False)]
    expected = simulated(compiled, [compiled.pack(s) for s in given])
    np.testing.assert_array_equal(compiled.evaluate(given), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("kind", "preset"), FITTING)
def test_programs_break_no_rule_and_run_without_races(kind: str, preset: str, bits: int) -> None:
    compiled = compiled_vowels(kind, preset, bits)
    places = compiled.places(3)
    for n_steps in (1, 2, 3):
        host = places.host(n_steps)
        for program in (compiled.programs.setup, compiled.programs.run):
            assert check.verify(program, compiled.arch, host) == []
            run = simulate(program, compiled.arch, host=host)
            assert run.error is None
            for order in Order:
                assert races(run, compiled.arch, order) == []


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_fixed_point_keeps_the_accuracy_on_a_subset(kind: str, bits: int) -> None:
    test = labelled("test")
    given, labels = test.sequences[SUBSET], test.labels[SUBSET]
    compiled = compiled_vowels(kind, "small", bits)
    fixed = np.array([compiled.real_answer(a) for a in compiled.evaluate(given)])
    real = vowels(kind).run_batch(given)
    right = [np.mean(logits.argmax(axis=1) == labels) for logits in (real, fixed)]
    assert 100 * (right[0] - right[1]) <= MOST_LOST[bits]
    assert np.abs(fixed - real).max() <= MOST_APART[bits] * np.abs(real).max()


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_sequences_side_by_side_answer_as_the_float_model_to_each(kind: str, batch: int) -> None:
    model, test = vowels(kind), labelled("test")
    arch = machine("base", 16)
    compiled = compile_model(model, arch, labelled("train").sequences, batch)
    given = test.sequences[:7]  # of several lengths, so that places are filled up
    fixed = np.array([compiled.real_answer(a) for a in compiled.evaluate(given)])
    real = model.run_batch(given)
    assert np.abs(fixed - real).max() <= MOST_APART[16] * np.abs(real).max()


@pytest.mark.parametrize("name", ["dense gru", "mpo peephole", "sequence", "embedding"])
def test_a_sequence_answers_the_same_whatever_runs_beside_it(name: str) -> None:
    given = cases.sequences(name, (4, 4, 4))
    compiled = compile_model(cases.model(name), machine("small"), given, batch=2)
    pairs = [(0, 1), (1, 0), (0, 2)]
    found = {
        pair: simulated(compiled, [compiled.pack(*(given[k] for k in pair))]) for pair in pairs
    }
    first, swapped, other = (found[pair][0] for pair in pairs)
    np.testing.assert_array_equal(first[..., 0, :], swapped[..., 1, :])
    np.testing.assert_array_equal(first[..., 0, :], other[..., 0, :])
    for one, answer in zip(given, compiled.evaluate(given), strict=True):
        alone = simulated(compiled, [compiled.pack(one, one)])[0]
        np.testing.assert_array_equal(answer, alone[..., 0, :])


def test_groups_are_of_equal_lengths_and_whole() -> None:
    assert groups((3, 5, 3, 3, 5), 2) == [(0, 2), (1, 4), (3, 3)]
    assert groups((3, 5, 3), 1) == [(0,), (1,), (2,)]


@pytest.mark.parametrize(
    ("given", "message"),
    [((4,), r"found 1, expected 2, the batch"), ((4, 3), r"found \[4, 3\] time steps")],
)
def test_sequences_that_cannot_run_side_by_side_are_refused(
    given: tuple[int, ...], message: str
) -> None:
    compiled = compile_model(cases.model("dense lstm"), machine("small"), sequences(6, (4,)), 2)
    with pytest.raises(ValueError, match=message):
        compiled.pack(*sequences(6, given))


def test_progress_is_told_after_each_sequence() -> None:
    told: list[int] = []
    compiled_small().evaluate(sequences(6, (3, 1, 5)), lambda: told.append(1))
    assert len(told) == 3


def test_a_model_that_is_too_large_names_itself_the_scratchpad_and_what_helps() -> None:
    with pytest.raises(MappingError) as caught:
        compiled_vowels("dense", "nano", 8)
    message = str(caught.value)
    assert message.startswith("japanese-vowels-dense on nano, 8 bit: scratchpad ")
    assert " elements needed " in message
    assert "expected at most 8192" in message
    assert "_depth to " in message


def test_what_helps_is_enough() -> None:
    arch = machine("nano").override(x_depth=8192, y_depth=8192)
    given = labelled("train").sequences[:20]
    assert compile_model(vowels("dense"), arch, given).arch is arch


def test_accumulators_that_are_too_narrow_name_the_model() -> None:
    arch = machine("small").override(acc_bits=17)
    with pytest.raises(ProgramError, match=r"^mpo on small, 8 bit: .*accumulators have 17 bits"):
        compile_model(small_model("mpo"), arch, sequences(6, (3,)))


@pytest.mark.parametrize("tokens", [[0.5], [[1]], [-1], [11], [True]])
def test_what_is_no_token_is_refused(tokens: ArrayLike) -> None:
    compiled = compile_model(
        cases.model("embedding"), machine("small"), cases.sequences("embedding", (4,))
    )
    with pytest.raises(ModelError, match=r"^embedding: sequence: found .* from 0 to 10; give one"):
        compiled.pack(tokens)


def test_parts_of_external_memory_do_not_overlap() -> None:
    places = Places.of(1, 4096, 4097, 0)
    assert (places.sequence, places.output, places.workspace) == (4096, 8192, 16384)
    assert places.size == 16384
    assert places.host(7) == Host((0, 4096, 8192, 16384), (7, 0, 0, 0))
