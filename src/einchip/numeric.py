"""Fixed-point numbers: formats, rounding, saturation, activations; stated once, executable.

A value is a two's complement integer `v` with `frac` fractional bits; it stands for `v * 2**-frac`.
Everything here works on NumPy int64 arrays (or Python ints) and is exact: the RTL, the simulator
and the reference agree with these functions bit for bit.

Words: *round half to even*, *saturate* (clip to the nearest representable), *wrap* (modulo
2**bits), *truncate* (floor).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

#: Fractional bits of an activation's input: signed 16 bit, so [-8, 8).
ACT_IN_FRAC: Final = 12
#: Fractional bits of an activation's output: signed 16 bit, so [-1, 1).
ACT_OUT_FRAC: Final = 15
#: Width of an activation's input and output, and of the state that a cell keeps (c of an LSTM, h of
#: a GRU), at every data width.
WIDE_BITS: Final = 16
#: The sigmoid table has one segment per 2**-4 on [0, 8).
SEGMENT_FRAC: Final = 4
SEGMENTS: Final = 8 << SEGMENT_FRAC
#: Bits of an activation's input that interpolate inside a segment.
INTERPOLATION_BITS: Final = ACT_IN_FRAC - SEGMENT_FRAC
#: Largest absolute error of `sigmoid` and `tanh` against the real functions, over all inputs in
#: [-8, 8); the worst of tanh are those of magnitude 4 and more, where the table ends.
SIGMOID_ERROR: Final = 1.0e-4
TANH_ERROR: Final = 7.0e-4


def limits(bits: int) -> tuple[int, int]:
    """Return the least and the greatest two's complement integer of `bits` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def saturate(value: ArrayLike, bits: int) -> Ints:
    """Clip `value` to the range of a signed integer of `bits` bits."""
    low, high = limits(bits)
    return np.clip(np.asarray(value, dtype=np.int64), low, high)


def wrap(value: ArrayLike, bits: int) -> Ints:
    """Keep the low `bits` bits (1 to 64) of `value`, read as two's complement."""
    v = np.asarray(value, dtype=np.int64)
    if bits >= 64:
        return v
    half = np.int64(1 << (bits - 1))
    mask = np.int64((1 << bits) - 1)
    return ((v + half) & mask) - half


def round_shift(value: ArrayLike, shift: ArrayLike) -> Ints:
    """Return `value / 2**shift` rounded half to even (shift >= 0; 63 and more act as 63)."""
    v = np.asarray(value, dtype=np.int64)
    s = np.minimum(np.asarray(shift, dtype=np.int64), 63)
    floor = v >> s
    rest = v - (floor << s)
    half = np.where(s > 0, np.int64(1) << np.maximum(s - 1, 0), np.int64(0))
    up = (s > 0) & ((rest > half) | ((rest == half) & ((floor & 1) == 1)))
    # a shift of 63 leaves `rest` in the full range; its sign bit cannot be set, so > still holds
    return floor + up.astype(np.int64)


def requantise(value: ArrayLike, shift: ArrayLike, bits: int) -> Ints:
    """Divide by 2**shift, round half to even, then saturate to `bits` bits.

    The one rounding rule of the machine: results, activations and the cell update all use it.
    """
    return saturate(round_shift(value, shift), bits)


def quantise(real: ArrayLike, frac: int, bits: int) -> Ints:
    """Return real numbers as integers with `frac` fractional bits: half to even, then saturate."""
    return saturate(np.rint(np.asarray(real, dtype=np.float64) * 2.0**frac).astype(np.int64), bits)


def dequantise(value: ArrayLike, frac: int) -> NDArray[np.float64]:
    """Return the real numbers that integers with `frac` fractional bits stand for."""
    return np.asarray(value, dtype=np.float64) * 2.0**-frac


def sigmoid_table() -> list[int]:
    """Return sigmoid(i / 16) for i = 0 .. 128 with 15 fractional bits: the ROM of the RTL."""
    x = np.arange(SEGMENTS + 1) / (1 << SEGMENT_FRAC)
    return [int(v) for v in np.rint((1 << ACT_OUT_FRAC) / (1 + np.exp(-x)))]


_TABLE: Final[Ints] = np.array(sigmoid_table(), dtype=np.int64)


def _half_sigmoid(magnitude: Ints) -> Ints:
    """Interpolate the table at `magnitude` (0 .. 32767, 12 fractional bits)."""
    index = magnitude >> INTERPOLATION_BITS
    rest = magnitude & ((1 << INTERPOLATION_BITS) - 1)
    rise = _TABLE[index + 1] - _TABLE[index]
    return _TABLE[index] + round_shift(rise * rest, INTERPOLATION_BITS)


def sigmoid(value: ArrayLike) -> Ints:
    """Piecewise linear logistic function: 12 fractional bits in, 15 out, 128 segments on [0, 8).

    sigmoid(-x) = 1 - sigmoid(x). Maximum error `SIGMOID_ERROR`.
    """
    v = np.asarray(value, dtype=np.int64)
    y = _half_sigmoid(np.minimum(np.abs(v), 32767))
    return np.where(v < 0, (1 << ACT_OUT_FRAC) - y, y)


def tanh(value: ArrayLike) -> Ints:
    """Hyperbolic tangent by the same table, as 2 sigmoid(2x) - 1; 12 fractional bits in, 15 out.

    Odd; inputs of magnitude 4 and more give tanh(4). Maximum error `TANH_ERROR`.
    """
    v = np.asarray(value, dtype=np.int64)
    y = 2 * (_half_sigmoid(np.minimum(2 * np.abs(v), 32767)) - (1 << (ACT_OUT_FRAC - 1)))
    return np.where(v < 0, -y, y)


def to_activation(value: ArrayLike, frac: int) -> Ints:
    """Bring a value of `frac` (0 .. 15) fractional bits to an activation's input format."""
    return requantise(np.asarray(value, dtype=np.int64) << ACT_IN_FRAC, frac, WIDE_BITS)


def lstm_cell(
    gates: tuple[Ints, Ints, Ints, Ints],
    cell: Ints,
    *,
    gate_frac: int,
    cell_frac: int,
    hidden_frac: int,
    data_bits: int,
) -> tuple[Ints, Ints]:
    """One LSTM cell update on integers: c' = s(f) c + s(i) tanh(g), h = s(o) tanh(c').

    `gates` are the pre-activations i, f, g, o (`gate_frac` fractional bits), `cell` is 16 bit wide
    with `cell_frac` (0 .. 15). Both products are summed exactly at 30 fractional bits before the
    one rounding. Returns (c' with `cell_frac`, h with `hidden_frac` (0 .. 15) in `data_bits` bits).
    Source: Hochreiter and Schmidhuber 1997 with forget gate (Gers et al. 2000).
    """
    i, f, o = (sigmoid(to_activation(gates[k], gate_frac)) for k in (0, 1, 3))
    g = tanh(to_activation(gates[2], gate_frac))
    total = ((f * cell) << (ACT_OUT_FRAC - cell_frac)) + i * g
    new = requantise(total, 2 * ACT_OUT_FRAC - cell_frac, WIDE_BITS)
    hidden = o * tanh(to_activation(new, cell_frac))
    return new, requantise(hidden, 2 * ACT_OUT_FRAC - hidden_frac, data_bits)


def _preactivation(*parts: Ints) -> Ints:
    """Add parts in an activation's input format, saturating."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return saturate(total, WIDE_BITS)


def peephole_cell(
    gates: tuple[Ints, Ints, Ints, Ints],
    peepholes: tuple[Ints, Ints, Ints],
    cell: Ints,
    *,
    gate_frac: int,
    peephole_frac: int,
    cell_frac: int,
    hidden_frac: int,
    data_bits: int,
) -> tuple[Ints, Ints]:
    """One LSTM cell update with peepholes: `lstm_cell` whose gates i, f see c, and o sees c'.

    To the pre-activations of i and f, in an activation's input format, p * c is added, brought
    there by one rounding, saturating; to that of o, p_o * c'. `peepholes` are p_i, p_f, p_o
    (`peephole_frac` fractional bits, 0 .. 15). Returns as `lstm_cell`.
    Source: Gers, Schraudolph and Schmidhuber 2002.
    """

    def seen(weight: Ints, state: Ints) -> Ints:
        product = (weight * state) << ACT_IN_FRAC
        return requantise(product, peephole_frac + cell_frac, WIDE_BITS)

    wide = [to_activation(g, gate_frac) for g in gates]
    i = sigmoid(_preactivation(wide[0], seen(peepholes[0], cell)))
    f = sigmoid(_preactivation(wide[1], seen(peepholes[1], cell)))
    total = ((f * cell) << (ACT_OUT_FRAC - cell_frac)) + i * tanh(wide[2])
    new = requantise(total, 2 * ACT_OUT_FRAC - cell_frac, WIDE_BITS)
    o = sigmoid(_preactivation(wide[3], seen(peepholes[2], new)))
    hidden = o * tanh(to_activation(new, cell_frac))
    return new, requantise(hidden, 2 * ACT_OUT_FRAC - hidden_frac, data_bits)


def gru_cell(
    hidden_parts: tuple[Ints, Ints, Ints],
    input_parts: tuple[Ints, Ints, Ints],
    state: Ints,
    *,
    gate_frac: int,
    aux_frac: int,
    cell_frac: int,
    hidden_frac: int,
    data_bits: int,
) -> tuple[Ints, Ints]:
    """One GRU update whose reset gate acts after the recurrent matrix.

    r = s(r_h + r_x), z = s(z_h + z_x), n = tanh(r * n_h + n_x), h' = (1 - z) n + z h.

    Parts are in the order r, z, n: those of the recurrent matrix with `gate_frac`, those of the
    input matrix with `aux_frac` fractional bits. `state` is h, 16 bit wide, with `cell_frac`
    (0 .. 15). Returns (h' as state, h' with `hidden_frac` in `data_bits` bits).
    Source: Cho et al. 2014, in the form of cuDNN, PyTorch and ONNX (linear_before_reset = 1).
    """
    wide_h = [to_activation(p, gate_frac) for p in hidden_parts]
    wide_x = [to_activation(p, aux_frac) for p in input_parts]
    r = sigmoid(_preactivation(wide_h[0], wide_x[0]))
    z = sigmoid(_preactivation(wide_h[1], wide_x[1]))
    kept = requantise(r * wide_h[2], ACT_OUT_FRAC, WIDE_BITS)
    n = tanh(_preactivation(kept, wide_x[2]))
    return _gru_state(z, n, state, cell_frac, hidden_frac, data_bits)


def gru_reset(
    gate: Ints, state: Ints, *, gate_frac: int, cell_frac: int, hidden_frac: int, data_bits: int
) -> Ints:
    """Return s(r) * h with `hidden_frac` in `data_bits` bits: a GRU that resets before its matrix.

    Source: Cho et al. 2014; ONNX, linear_before_reset = 0.
    """
    product = sigmoid(to_activation(gate, gate_frac)) * np.asarray(state, dtype=np.int64)
    return requantise(product, ACT_OUT_FRAC + cell_frac - hidden_frac, data_bits)


def gru_update(
    update: Ints,
    candidate: Ints,
    state: Ints,
    *,
    gate_frac: int,
    aux_frac: int,
    cell_frac: int,
    hidden_frac: int,
    data_bits: int,
) -> tuple[Ints, Ints]:
    """Return h' = (1 - s(z)) tanh(n) + s(z) h from whole pre-activations z and n.

    `update` is z (`gate_frac`), `candidate` n (`aux_frac`); state and result as in `gru_cell`.
    """
    z = sigmoid(to_activation(update, gate_frac))
    n = tanh(to_activation(candidate, aux_frac))
    return _gru_state(z, n, state, cell_frac, hidden_frac, data_bits)


def _gru_state(
    z: Ints, n: Ints, state: Ints, cell_frac: int, hidden_frac: int, data_bits: int
) -> tuple[Ints, Ints]:
    """Return (h' as state, h' as data): the sum exact at 30 fractional bits, then rounded."""
    one = 1 << ACT_OUT_FRAC
    total = ((z * state) << (ACT_OUT_FRAC - cell_frac)) + (one - z) * n
    new = requantise(total, 2 * ACT_OUT_FRAC - cell_frac, WIDE_BITS)
    shift = ACT_OUT_FRAC + cell_frac - hidden_frac
    return new, requantise(new << ACT_OUT_FRAC, shift, data_bits)
