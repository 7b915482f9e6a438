"""Fixed-point numbers against exact rational arithmetic, and activations over all inputs."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip import numeric

INT64 = st.integers(-(2**63), 2**63 - 1)
#: Every input of an activation.
INPUTS = np.arange(-(2**15), 2**15)


def round_half_even(value: Fraction) -> int:
    return round(value)  # Python rounds fractions half to even, exactly


def clip(value: int, bits: int) -> int:
    return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, value))


@given(INT64, st.integers(0, 63))
def test_round_shift_is_exact_division_rounded_half_to_even(value: int, shift: int) -> None:
    assert int(numeric.round_shift(value, shift)) == round_half_even(Fraction(value, 2**shift))


@given(st.integers(-1000, 1000), st.integers(1, 4))
def test_ties_go_to_the_even_neighbour(value: int, shift: int) -> None:
    tie = (2 * value + 1) << (shift - 1)
    assert int(numeric.round_shift(tie, shift)) == value + value % 2


@given(INT64, st.integers(0, 63), st.sampled_from([8, 16]))
def test_requantise_rounds_then_clips(value: int, shift: int, bits: int) -> None:
    expected = clip(round_half_even(Fraction(value, 2**shift)), bits)
    assert int(numeric.requantise(value, shift, bits)) == expected


@given(INT64, st.integers(1, 64))
def test_wrap_is_the_residue_nearest_zero(value: int, bits: int) -> None:
    found = int(numeric.wrap(value, bits))
    assert -(2 ** (bits - 1)) <= found < 2 ** (bits - 1)
    assert (found - value) % 2**bits == 0


@given(st.floats(-300, 300), st.integers(0, 15), st.sampled_from([8, 16]))
def test_quantise_is_the_nearest_representable(real: float, frac: int, bits: int) -> None:
    expected = clip(round_half_even(Fraction(real) * 2**frac), bits)
    assert int(numeric.quantise(real, frac, bits)) == expected


@given(st.integers(-(2**15), 2**15 - 1), st.integers(0, 15))
def test_dequantise_undoes_quantise(value: int, frac: int) -> None:
    assert int(numeric.quantise(numeric.dequantise(value, frac), frac, 16)) == value


def test_arrays_are_rounded_element_by_element() -> None:
    values, shifts = np.array([3, 5, -3, -5]), np.array([1, 1, 1, 2])
    assert numeric.round_shift(values, shifts).tolist() == [2, 2, -2, -1]


def real(values: np.ndarray, frac: int) -> np.ndarray:
    return values * 2.0**-frac


@pytest.mark.parametrize(
    ("function", "exact", "bound"),
    [
        (numeric.sigmoid, lambda x: 1 / (1 + np.exp(-x)), numeric.SIGMOID_ERROR),
        (numeric.tanh, np.tanh, numeric.TANH_ERROR),
    ],
)
def test_activation_keeps_its_error_bound_and_is_monotonic(function, exact, bound) -> None:  # type: ignore[no-untyped-def]
    found = function(INPUTS)
    error = np.abs(real(found, numeric.ACT_OUT_FRAC) - exact(real(INPUTS, numeric.ACT_IN_FRAC)))
    assert bound / 2 < error.max() <= bound, "the stated bound is tight within a factor of two"
    assert (np.diff(found) >= 0).all()
    assert found.min() >= -(2**15)
    assert found.max() < 2**15


def test_sigmoid_is_symmetric_and_tanh_is_odd() -> None:
    positive = INPUTS[INPUTS > 0]
    assert (numeric.sigmoid(-positive) == 2**15 - numeric.sigmoid(positive)).all()
    assert (numeric.tanh(-positive) == -numeric.tanh(positive)).all()
    assert numeric.sigmoid(0) == 2**14
    assert numeric.tanh(0) == 0


def test_table_holds_the_rounded_sigmoid() -> None:
    table = numeric.sigmoid_table()
    assert len(table) == numeric.SEGMENTS + 1
    for k, entry in enumerate(table):
        assert abs(entry - 2**15 / (1 + math.exp(-k / 16))) <= 0.5


@given(st.integers(-128, 127), st.integers(0, 15))
def test_activation_input_has_twelve_fractional_bits(value: int, frac: int) -> None:
    expected = clip(round_half_even(Fraction(value) * 2**12 / 2**frac), 16)
    assert int(numeric.to_activation(value, frac)) == expected


BYTE = st.integers(-128, 127)


@given(
    st.tuples(BYTE, BYTE, BYTE, BYTE), st.integers(-(2**15), 2**15 - 1),
    st.integers(0, 15), st.integers(0, 15), st.integers(0, 15),
)  # fmt: skip
def test_lstm_cell_sums_exactly_and_rounds_once(
    gates: tuple[int, int, int, int], cell: int, gate_frac: int, cell_frac: int, hidden_frac: int
) -> None:
    arrays = [np.array([g]) for g in gates]
    new, hidden = numeric.lstm_cell(
        (arrays[0], arrays[1], arrays[2], arrays[3]), np.array([cell]),
        gate_frac=gate_frac, cell_frac=cell_frac, hidden_frac=hidden_frac, data_bits=8,
    )  # fmt: skip
    unit = 2**15
    i, f, o = (
        Fraction(int(numeric.sigmoid(numeric.to_activation(gates[k], gate_frac))), unit)
        for k in (0, 1, 3)
    )
    g = Fraction(int(numeric.tanh(numeric.to_activation(gates[2], gate_frac))), unit)
    exact = f * Fraction(cell, 2**cell_frac) + i * g
    assert int(new[0]) == clip(round_half_even(exact * 2**cell_frac), 16)
    squashed = numeric.tanh(numeric.to_activation(int(new[0]), cell_frac))
    exact = o * Fraction(int(squashed), unit)
    assert int(hidden[0]) == clip(round_half_even(exact * 2**hidden_frac), 8)
