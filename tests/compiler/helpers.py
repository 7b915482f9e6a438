"""Models, sequences and compiled models that the tests of compiler and command line share."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einchip.arch import PRESETS, Architecture
from einchip.compiler.compiled import Compiled, compile_model
from einchip.models import Model, ModelSpec, Sequences, load_model, load_npz, random_model
from tests.models.helpers import raw_spec, small_model

VOWELS: Final = Path(__file__).parents[2] / "examples" / "japanese_vowels"
DATA: Final = VOWELS / "japanese_vowels.npz"
KINDS: Final = ("dense", "mpo", "mps")


def sequences(n_channels: int, lengths: tuple[int, ...], seed: int = 3) -> list[NDArray[Any]]:
    """Random sequences, normal values."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, n_channels)) for n in lengths]


def model_of(input_matrix: dict[str, Any], hidden: dict[str, Any], **layer: int) -> Model:
    """A random model of 3 classes with these two matrices."""
    raw = raw_spec()
    raw["layers"][0] |= {"input": input_matrix, "hidden": hidden} | layer
    return random_model(ModelSpec.model_validate(raw), 9)


def small_models() -> dict[str, Model]:
    """Every format, and matrices whose modes differ in number, order and size."""
    found = {kind: small_model(kind) for kind in KINDS}
    found["other modes"] = model_of(
        {"format": "mps", "in_modes": [2, 3], "out_modes": [16, 2, 3], "ranks": [1, 2, 3, 2, 2, 1]},
        {"format": "mpo", "in_modes": [8, 3], "out_modes": [32, 3], "ranks": [1, 3, 1]},
        hidden_size=24,
    )
    found["dense hidden"] = model_of(
        {"format": "mpo", "in_modes": [1, 6], "out_modes": [4, 8], "ranks": [1, 2, 1]},
        {"format": "dense"},
    )
    return found


@cache
def vowels(kind: str) -> Model:
    """A committed example."""
    return load_model(VOWELS / f"{kind}.safetensors")


@cache
def labelled(split: str) -> Sequences:
    """The committed data."""
    return load_npz(DATA, "train" if split == "train" else "test")


def machine(preset: str, data_bits: int = 8) -> Architecture:
    return PRESETS[preset].override(data_bits=data_bits)


@cache
def compiled_vowels(kind: str, preset: str, data_bits: int) -> Compiled:
    """A committed example on a preset, its scales from the train set."""
    return compile_model(vowels(kind), machine(preset, data_bits), labelled("train").sequences)


@cache
def compiled_small(kind: str = "mpo", preset: str = "nano") -> Compiled:
    """A small model on a preset."""
    model = small_models()[kind]
    return compile_model(model, machine(preset), sequences(6, (4, 2, 5)))
