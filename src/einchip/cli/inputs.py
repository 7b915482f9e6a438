"""Models and data that commands read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from einchip.cli.common import fail, loaded

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from einchip.models import Model, Sequences

#: The sequence that stands in where a model comes without data: standard normal values.
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
    """Return the data file: the given one, or the only .npz beside the model."""
    if data is not None:
        return data
    beside = sorted((model if model.is_dir() else model.parent).glob("*.npz"))
    if len(beside) > 1:
        fail(f"{model}: found {len(beside)} .npz files beside it, expected one; name it by --data")
    return beside[0] if beside else None


def load_data(path: Path, model: Model, split: str) -> Sequences:
    """Read sequences that fit a model."""
    from einchip.models import load_npz

    sequences = loaded(path, lambda: load_npz(path, "train" if split == "train" else "test"))
    wanted = model.spec.layers[0].input_size
    if sequences.n_channels != wanted:
        fail(
            f"{path}: {split}_frames: found {sequences.n_channels} channels, expected {wanted}, "
            f"the input_size of {model.spec.name}; name other data with --data"
        )
    return sequences


def load_labelled(path: Path, model: Model) -> tuple[Sequences, Sequences]:
    """Read the train and test sequences of a classifier."""
    head = model.spec.head
    if head is None:
        fail(f"{model.spec.name}: head: found none, expected a classifier")
    train, test = load_data(path, model, "train"), load_data(path, model, "test")
    if test.n_classes > head.out_size:
        fail(
            f"{path}: test_labels: found {test.n_classes} classes, expected at most the "
            f"{head.out_size} of {model.spec.name}; name other data with --data"
        )
    return train, test


def stand_in(model: Model, n_steps: int) -> tuple[ArrayLike, ...]:
    """Return a random sequence for a model without data."""
    import numpy as np

    size = model.spec.layers[0].input_size
    values = np.random.default_rng(RANDOM_SEED).standard_normal((n_steps, size))
    return (values.astype(np.float32),)
