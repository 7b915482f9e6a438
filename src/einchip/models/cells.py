"""Recurrent cells in float64: one time step of a batch, from pre-activations to the next state.

Gates stand in einchip's order (`einchip.models.spec.GATE_ORDER`): lstm i, f, g, o; gru r, z, n.
All arrays are ``[batch, ..]``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Hidden = Callable[[Float], Float]


def sigmoid(x: Float) -> Float:
    """Return ``1 / (1 + exp(-x))`` without overflow."""
    return np.asarray(0.5 * (np.tanh(0.5 * x) + 1.0), dtype=np.float64)


def relu(x: Float) -> Float:
    """Return ``max(x, 0)``."""
    return np.maximum(x, 0.0)


def identity(x: Float) -> Float:
    """Return x."""
    return x


ACTIVATIONS: dict[str, Callable[[Float], Float]] = {
    "none": identity,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": relu,
}


def lstm_step(gates: Float, c: Float, peepholes: Float | None) -> tuple[Float, Float]:
    """Return (c', h') of ``c' = s(f) c + s(i) tanh(g)``, ``h' = s(o) tanh(c')``.

    `peepholes` [3, hidden_size] add ``p_i c`` to i, ``p_f c`` to f and ``p_o c'`` to o.
    Sources: Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000; with peepholes
    Gers, Schraudolph and Schmidhuber 2002.
    """
    i, f, g, o = np.split(gates, 4, axis=1)
    if peepholes is not None:
        i, f = i + peepholes[0] * c, f + peepholes[1] * c
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    if peepholes is not None:
        o = o + peepholes[2] * c
    return c, sigmoid(o) * np.tanh(c)


def gru_step(gates_input: Float, gates_hidden: Float, h: Float) -> Float:
    """Return h' of a GRU whose reset gate acts after the recurrent matrix.

    ``h' = (1 - s(z)) tanh(n_x + s(r) n_h) + s(z) h``. Cho et al. 2014, in the form of cuDNN,
    PyTorch and ONNX (linear_before_reset = 1).
    """
    r_x, z_x, n_x = np.split(gates_input, 3, axis=1)
    r_h, z_h, n_h = np.split(gates_hidden, 3, axis=1)
    z, n = sigmoid(z_x + z_h), np.tanh(n_x + sigmoid(r_x + r_h) * n_h)
    return (1.0 - z) * n + z * h


def gru_before_step(gates_input: Float, hidden: Hidden, h: Float) -> tuple[Float, Float]:
    """Return (h', s(r) h) of a GRU whose reset gate acts before the recurrent matrix.

    ``h' = (1 - s(z)) tanh(n_x + U_n (s(r) h)) + s(z) h``; `hidden` applies all of U.
    Cho et al. 2014; ONNX, linear_before_reset = 0.
    """
    r_x, z_x, n_x = np.split(gates_input, 3, axis=1)
    r_h, z_h, _ = np.split(hidden(h), 3, axis=1)
    reset = sigmoid(r_x + r_h) * h
    z, n = sigmoid(z_x + z_h), np.tanh(n_x + np.split(hidden(reset), 3, axis=1)[2])
    return (1.0 - z) * n + z * h, reset
