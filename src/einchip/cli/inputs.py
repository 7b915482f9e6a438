"""Models and data that commands read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from einchip.cli.common import fail, loaded

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from einchip.models import Model, Sequences

#: Seed of the sequence that stands in where a model comes without data.
RANDOM_SEED: Final = 0


def models_of(path: Path) -> list[Path]:
    """Return the model files of a folder, or the one file."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.safetensors"))
    if not found:
        fail(f"{path}: found no .safetensors file, expected at least one model")
    return found


def data_of(model: Path, data: Path | None) -> Path | None:
    """Return the data file: the given one, or the only .npz with sequences beside the model."""
    if data is not None:
        return data
    folder = model if model.is_dir() else model.parent
    beside = [path for path in sorted(folder.glob("*.npz")) if _may_be_data(path)]
    if len(beside) > 1:
        fail(f"{model}: found {len(beside)} .npz files beside it, expected one; name it by --data")
    return beside[0] if beside else None


def _may_be_data(path: Path) -> bool:
    """Tell whether a file may hold sequences: not an archive of other arrays, such as weights."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return True  # reading it says what is wrong with it
    return any(f"{split}_frames.npy" in names for split in ("train", "test"))


def load_data(path: Path, model: Model, split: str) -> Sequences:
    """Read sequences that fit a model; those of one with an embedding are tokens."""
    from einchip.models import load_npz

    sequences = loaded(path, lambda: load_npz(path, "train" if split == "train" else "test"))
    spec = model.spec
    if sequences.n_channels != spec.input_size:
        what = "tokens for the embedding" if spec.embedding else "the input_size"
        fail(
            f"{path}: {split}_frames: found {sequences.n_channels} channels, expected "
            f"{spec.input_size}, "
            f"{what} of {spec.name}; name other data with --data"
        )
    return _tokens(path, sequences, split) if spec.embedding else sequences


def _tokens(path: Path, sequences: Sequences, split: str) -> Sequences:
    """Return sequences of one channel as tokens."""
    import numpy as np

    from einchip.models import Sequences

    rounded = tuple(np.rint(s[:, 0]).astype(np.int64) for s in sequences.sequences)
    if any(np.any(r != s[:, 0]) for r, s in zip(rounded, sequences.sequences, strict=True)):
        fail(
            f"{path}: {split}_frames: found fractions, expected tokens; let mean be 0, std 1 and "
            "clip no less than the vocabulary"
        )
    return Sequences(rounded, sequences.labels)


def load_splits(path: Path, model: Model) -> tuple[Sequences, Sequences]:
    """Read the train and test sequences of a model, whose labels are classes of a classifier's."""
    from einchip.compiler.report import is_classifier

    train, test = load_data(path, model, "train"), load_data(path, model, "test")
    n_out = model.spec.out_size
    if is_classifier(model.spec) and test.n_classes > n_out:
        fail(
            f"{path}: test_labels: found {test.n_classes} classes, expected at most the "
            f"{n_out} of {model.spec.name}; name other data with --data"
        )
    return train, test


def stand_in(model: Model, n_steps: int, n_sequences: int = 1) -> tuple[ArrayLike, ...]:
    """Return random sequences for a model without data: standard normal values, or tokens."""
    import numpy as np

    rng, spec = np.random.default_rng(RANDOM_SEED), model.spec
    if spec.embedding is not None:
        size = spec.embedding.vocabulary
        return tuple(rng.integers(size, size=n_steps) for _ in range(n_sequences))
    shape = (n_steps, spec.input_size)
    return tuple(rng.standard_normal(shape).astype(np.float32) for _ in range(n_sequences))
