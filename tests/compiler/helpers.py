"""Models, sequences and compiled models that the tests of compiler and command line share."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from einchip.arch import PRESETS, Architecture
from einchip.compiler.compiled import Compiled, compile_model
from einchip.models import Model, Sequences, load_model, load_npz
from tests.compiler import cases

VOWELS: Final = Path(__file__).parents[2] / "examples" / "japanese_vowels"
DATA: Final = VOWELS / "japanese_vowels.npz"
KINDS: Final = ("dense", "mpo", "mps")


def sequences(n_channels: int, lengths: tuple[int, ...], seed: int = 3) -> list[NDArray[Any]]:
    """Random sequences, normal values."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, n_channels)) for n in lengths]


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
def compiled_small(name: str = "mpo lstm", preset: str = "nano") -> Compiled:
    """A small model of the zoo."""
    return compile_model(cases.model(name), machine(preset), cases.sequences(name, (4, 2, 5)))
