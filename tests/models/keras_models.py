"""Keras models, their weights and what Keras computes, written to a folder by a process of its own.

Keras takes its back end from the environment when it is first imported.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

N_STEPS, N_IN, HIDDEN = 6, 5, 4
CELLS = ("LSTM", "GRU", "GRU before", "SimpleRNN")


def build(keras: Any, kind: str) -> Any:
    """A model by name: a cell, with "2" stacked, with "both" in both directions."""
    layers = keras.layers
    cell, *words = kind.split(", ")
    fields = {"reset_after": False} if cell == "GRU before" else {}
    made = getattr(layers, cell.split()[0])

    def layer(every: bool) -> Any:
        new = made(HIDDEN, return_sequences=every, bias_initializer="normal", **fields)
        return layers.Bidirectional(new) if "both" in words else new

    stack = [layer(True)] if "2" in words else []
    tail = (
        [] if "every" in words else [layers.Dense(7, "relu"), layers.Dropout(0.2), layers.Dense(3)]
    )
    return keras.Sequential([keras.Input((None, N_IN)), *stack, layer("every" in words), *tail])


KINDS = tuple(f"{cell}{more}" for cell in CELLS for more in ("", ", every", ", 2, both"))


def main(folder: Path) -> None:
    """Write x.npy, and for each model K.npz (weights), K.keras and K.npy (output)."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(5)
    x = np.random.default_rng(2).standard_normal((1, N_STEPS, N_IN)).astype(np.float32)
    np.save(folder / "x.npy", x)
    for k, kind in enumerate(KINDS):
        model = build(keras, kind)
        np.save(folder / f"{k}.npy", keras.ops.convert_to_numpy(model(x, training=False)))
        weights = {w.path: keras.ops.convert_to_numpy(w.value) for w in model.weights}
        np.savez(folder / f"{k}.npz", **{n: w for n, w in weights.items() if "seed" not in n})
        model.save(folder / f"{k}.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
