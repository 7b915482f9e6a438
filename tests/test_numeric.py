"""Fixed-point numbers against exact rational arithmetic, and activations over all inputs."""

import math
from collections.abc import Callable
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


FRAC = st.integers(0, 15)
WIDE = st.integers(-(2**15), 2**15 - 1)
UNIT = 2**15


def ints(values: tuple[int, ...]) -> tuple[numeric.Ints, ...]:
    return tuple(np.array([v]) for v in values)


def act(function: Callable[[int], numeric.Ints], value: int) -> Fraction:
    """Return an activation of an integer with 12 fractional bits, as a number."""
    return Fraction(int(function(value)), UNIT)


def to_input(value: int, frac: int) -> int:
    return clip(round_half_even(Fraction(value) * 2**12 / 2**frac), 16)


@given(st.tuples(*[BYTE] * 4), st.tuples(*[BYTE] * 3), WIDE, FRAC, FRAC, FRAC, FRAC)
def test_peephole_cell_rounds_each_product_once(
    gates: tuple[int, ...], weights: tuple[int, ...], cell: int,
    gate_frac: int, peephole_frac: int, cell_frac: int, hidden_frac: int,
) -> None:  # fmt: skip
    i, f, g, o = ints(gates)
    p, q, r = ints(weights)
    new, hidden = numeric.peephole_cell(
        (i, f, g, o), (p, q, r), np.array([cell]), gate_frac=gate_frac,
        peephole_frac=peephole_frac, cell_frac=cell_frac, hidden_frac=hidden_frac, data_bits=8,
    )  # fmt: skip

    def gate(k: int, weight: int, state: int) -> Fraction:
        seen = Fraction(weights[weight] * state * 2**12, 2 ** (peephole_frac + cell_frac))
        total = to_input(gates[k], gate_frac) + clip(round_half_even(seen), 16)
        return act(numeric.sigmoid, clip(total, 16))

    squashed = act(numeric.tanh, to_input(gates[2], gate_frac))
    exact = gate(1, 1, cell) * Fraction(cell, 2**cell_frac) + gate(0, 0, cell) * squashed
    expected = clip(round_half_even(exact * 2**cell_frac), 16)
    assert int(new[0]) == expected
    out = gate(3, 2, expected) * act(numeric.tanh, to_input(expected, cell_frac))
    assert int(hidden[0]) == clip(round_half_even(out * 2**hidden_frac), 8)


@given(st.tuples(*[BYTE] * 4), WIDE, FRAC, FRAC, FRAC, FRAC)
def test_peephole_cell_without_weights_is_the_lstm_cell(
    gates: tuple[int, ...], cell: int, gate_frac: int, peephole_frac: int, cell_frac: int, out: int
) -> None:
    i, f, g, o = ints(gates)
    zero = np.array([0])
    formats = {"gate_frac": gate_frac, "cell_frac": cell_frac, "hidden_frac": out, "data_bits": 8}
    state = np.array([cell])
    found = numeric.peephole_cell(
        (i, f, g, o), (zero, zero, zero), state, peephole_frac=peephole_frac, **formats
    )
    assert found == numeric.lstm_cell((i, f, g, o), state, **formats)


def updated(z: Fraction, n: Fraction, state: int, cell_frac: int, out: int) -> tuple[int, int]:
    """Return h' as state and as data, each rounded from the exact sum in its turn."""
    exact = (1 - z) * n + z * Fraction(state, 2**cell_frac)
    new = clip(round_half_even(exact * 2**cell_frac), 16)
    return new, clip(round_half_even(Fraction(new, 2**cell_frac) * 2**out), 8)


@given(st.tuples(*[BYTE] * 3), st.tuples(*[BYTE] * 3), WIDE, FRAC, FRAC, FRAC, FRAC)
def test_gru_cell_rounds_the_reset_product_and_the_state_once(
    recurrent: tuple[int, ...], inputs: tuple[int, ...], state: int,
    gate_frac: int, aux_frac: int, cell_frac: int, hidden_frac: int,
) -> None:  # fmt: skip
    rh, zh, nh = ints(recurrent)
    rx, zx, nx = ints(inputs)
    new, hidden = numeric.gru_cell(
        (rh, zh, nh), (rx, zx, nx), np.array([state]), gate_frac=gate_frac, aux_frac=aux_frac,
        cell_frac=cell_frac, hidden_frac=hidden_frac, data_bits=8,
    )  # fmt: skip
    wide_h = [to_input(v, gate_frac) for v in recurrent]
    wide_x = [to_input(v, aux_frac) for v in inputs]
    r, z = (act(numeric.sigmoid, clip(wide_h[k] + wide_x[k], 16)) for k in (0, 1))
    kept = clip(round_half_even(r * wide_h[2]), 16)
    n = act(numeric.tanh, clip(kept + wide_x[2], 16))
    assert (int(new[0]), int(hidden[0])) == updated(z, n, state, cell_frac, hidden_frac)


@given(BYTE, BYTE, WIDE, FRAC, FRAC, FRAC, FRAC)
def test_reset_and_update_are_exact_but_for_one_rounding(
    gate: int, candidate: int, state: int, gate_frac: int, aux_frac: int, cell_frac: int, out: int
) -> None:
    arrays = ints((gate, candidate, state))
    formats = {"gate_frac": gate_frac, "cell_frac": cell_frac, "hidden_frac": out, "data_bits": 8}
    s = act(numeric.sigmoid, to_input(gate, gate_frac))
    reset = numeric.gru_reset(arrays[0], arrays[2], **formats)
    assert int(reset[0]) == clip(round_half_even(s * Fraction(state, 2**cell_frac) * 2**out), 8)
    new, hidden = numeric.gru_update(arrays[0], arrays[1], arrays[2], aux_frac=aux_frac, **formats)
    n = act(numeric.tanh, to_input(candidate, aux_frac))
    assert (int(new[0]), int(hidden[0])) == updated(s, n, state, cell_frac, out)


def test_gru_moves_between_state_and_candidate_for_every_update_gate() -> None:
    """Over all 8-bit gates: h' lies between n and h, and with z = 0 or 1 it is either."""
    z = np.arange(-128, 128)
    for state in (-(2**15), -5000, 0, 32767):
        for candidate in (-128, 0, 127):
            new, _ = numeric.gru_update(
                z, np.full_like(z, candidate), np.full_like(z, state),
                gate_frac=4, aux_frac=5, cell_frac=15, hidden_frac=7, data_bits=8,
            )  # fmt: skip
            n = int(numeric.tanh(numeric.to_activation(candidate, 5)))
            assert (new >= min(n, state)).all()
            assert (new <= max(n, state)).all()
            assert (np.diff(new) * np.sign(state - n) >= 0).all()


def sigma(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


#: Half a unit of a pre-activation (16 bits, 12 fractional) and of a state (14 fractional bits).
HALF_IN, HALF_STATE = 2.0**-13, 2.0**-15
#: What sigmoid and tanh of pre-activations that erred by four roundings err by (slopes 1/4 and 1).
OF_SIGMOID, OF_TANH = numeric.SIGMOID_ERROR + HALF_IN, numeric.TANH_ERROR + 4 * HALF_IN
FINE = {"gate_frac": 12, "cell_frac": 14, "hidden_frac": 15, "data_bits": 16}


def drawn(n: int, most: float, frac: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random numbers below `most` in magnitude, n rows, and their integers of 16 bits."""
    real = np.random.default_rng(n).uniform(-most, most, (n, 20_000))
    return real, numeric.quantise(real, frac, 16)


def worst(found: numeric.Ints, frac: int, exact: np.ndarray) -> float:
    return float(np.abs(numeric.dequantise(found, frac) - exact).max())


def test_gru_cell_is_near_the_float_formula() -> None:
    (rh, zh, nh, rx, zx, nx), q = drawn(6, 1.95, 12)
    (h,), (state,) = drawn(1, 0.99, 14)
    new, out = numeric.gru_cell((q[0], q[1], q[2]), (q[3], q[4], q[5]), state, aux_frac=12, **FINE)
    z = sigma(zh + zx)
    exact = (1 - z) * np.tanh(sigma(rh + rx) * nh + nx) + z * h
    # |dn| <= |n_h| |dr| + tanh; |dh'| <= |n - h| |dz| + |dn| + state in and out
    bound = 2 * OF_SIGMOID + (2 * OF_SIGMOID + OF_TANH) + 2 * HALF_STATE
    assert worst(new, 14, exact) < bound
    assert worst(out, 15, exact) < bound + HALF_STATE


def test_reset_and_update_are_near_the_float_formulas() -> None:
    (a, b), q = drawn(2, 3.9, 12)
    (h,), (state,) = drawn(1, 0.99, 14)
    assert worst(numeric.gru_reset(q[0], state, **FINE), 15, sigma(a) * h) < (
        OF_SIGMOID + 2 * HALF_STATE
    )
    new, _ = numeric.gru_update(q[0], q[1], state, aux_frac=12, **FINE)
    exact = (1 - sigma(a)) * np.tanh(b) + sigma(a) * h
    assert worst(new, 14, exact) < 2 * OF_SIGMOID + OF_TANH + 2 * HALF_STATE


def test_peephole_cell_is_near_the_float_formula() -> None:
    (i, f, g, o), q = drawn(4, 3.4, 12)
    (p_i, p_f, p_o), p = drawn(3, 0.5, 12)
    (c,), (state,) = drawn(1, 0.99, 14)
    new, out = numeric.peephole_cell(
        (q[0], q[1], q[2], q[3]), (p[0], p[1], p[2]), state, peephole_frac=12, **FINE
    )
    exact = sigma(f + p_f * c) * c + sigma(i + p_i * c) * np.tanh(g)
    of_new = 2 * OF_SIGMOID + OF_TANH + 2 * HALF_STATE
    assert worst(new, 14, exact) < of_new
    # h = s(o + p_o c') tanh(c'), |p_o| slope 1/4, and tanh's slope 1
    of_out = OF_SIGMOID + of_new / 8 + OF_TANH + of_new + HALF_STATE
    assert worst(out, 15, sigma(o + p_o * exact) * np.tanh(exact)) < of_out


def test_pre_activations_and_states_saturate() -> None:
    top, low = np.array([32767]), np.array([-32768])
    formats = {"gate_frac": 0, "cell_frac": 0, "hidden_frac": 0, "data_bits": 16}
    # parts beyond [-8, 8) are those of the end: s(z) = s(8), n = tanh(4)
    new, _ = numeric.gru_cell((top, low, top), (top, low, top), low, aux_frac=0, **formats)
    z = int(numeric.sigmoid(-32768))
    n = int(numeric.tanh(32767))
    expected = Fraction((UNIT - z) * n, UNIT * UNIT) + Fraction(z * -32768, UNIT)
    assert int(new[0]) == round_half_even(expected)
    # a product p * c far beyond the range, of the sign against the gate's part, closes the gate
    new, _ = numeric.peephole_cell(
        (top, top, top, top), (low, low, low), top, peephole_frac=0, **formats
    )
    middle = int(numeric.sigmoid(-1))  # 32767 - 32768 with 12 fractional bits
    exact = Fraction(middle, UNIT) * 32767 + Fraction(middle * n, UNIT * UNIT)
    assert int(new[0]) == round_half_even(exact)
    # a state of 1 does not fit 15 fractional bits
    state = numeric.lstm_cell((top, top, top, top), top, gate_frac=0, cell_frac=15,
                              hidden_frac=15, data_bits=16)[0]  # fmt: skip
    assert state == top
