"""Models and data that commands read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from einchip.cli.common import fail

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from einchip.models import Model, Sequences


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


def load_data(path: Path, model: Model, split: Literal["train", "test"]) -> Sequences:
    """Read sequences that fit a model."""
    from einchip import api

    return api.load_data(path, model, split)


def load_splits(path: Path, model: Model) -> tuple[Sequences, Sequences]:
    """Read the train and test sequences of a model."""
    from einchip import api

    return api.load_splits(path, model)


def stand_in(model: Model, n_steps: int, n_sequences: int = 1) -> tuple[ArrayLike, ...]:
    """Return random sequences for a model without data."""
    from einchip import api

    return api.stand_in(model, n_steps, n_sequences)
