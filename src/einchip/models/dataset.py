"""Labelled sequences of different lengths, from one compressed NumPy file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from einchip.models.errors import model_error
from einchip.models.npz import read_npz

Split = Literal["train", "test"]
#: Elements that are normalised at a time.
BLOCK_ELEMENTS: Final = 1 << 20


@dataclass(frozen=True)
class Sequences:
    """Labelled sequences.

    Attributes:
        sequences: one ``[n_steps, channels]`` float32 array for each sequence, or ``[n_steps]``
            tokens.
        labels: class of each sequence, int64, from 0.
    """

    sequences: tuple[NDArray[Any], ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def n_channels(self) -> int:
        """Number of values in one time step."""
        return int(self.sequences[0].shape[1])

    @property
    def n_classes(self) -> int:
        """Number of classes, taken from the largest label."""
        return int(self.labels.max()) + 1


def load_npz(path: str | Path, split: Split = "test") -> Sequences:
    """Load one split, each channel normalised and clipped.

    The file is an ``.npz`` without pickled objects, with these arrays:

    * ``{split}_frames``: float ``[sum of lengths, channels]``, all sequences one after the other;
    * ``{split}_lengths``: integer ``[n]``, time steps of each sequence, all positive;
    * ``{split}_labels``: integer ``[n]``, classes from 0;
    * ``mean``, ``std``: float ``[channels]``; ``clip``: one float.

    A sequence is returned as ``clip((frames - mean) / std, -clip, +clip)``.

    Raises:
        ModelError: the file is missing or damaged, or its arrays do not fit one another.
    """
    names = [f"{split}_frames", f"{split}_lengths", f"{split}_labels", "mean", "std", "clip"]
    path = Path(path)
    arrays = read_npz(path, names)
    for name in names:
        if name not in arrays:
            raise model_error(path, name, "no such array", "an array", "add it (docs/data.md)")
    return _cut(path, split, {name: arrays[name] for name in names})


def _cut(path: str | Path, split: str, arrays: dict[str, NDArray[Any]]) -> Sequences:
    """Check the arrays against one another and cut the frames into sequences."""
    frames, lengths, labels, mean, std, clip = arrays.values()
    for name, array in arrays.items():
        kinds = "iu" if name.endswith(("lengths", "labels")) else "f"
        if array.dtype.kind not in kinds:
            expected = "integers" if kinds == "iu" else "floats"
            raise model_error(path, name, array.dtype, expected, "store it in that type")
        if kinds == "f" and not np.isfinite(array).all():
            raise model_error(path, name, "NaN or infinity", "finite values", "clean the data")
    if frames.ndim != 2 or 0 in frames.shape:
        raise model_error(
            path, f"{split}_frames", frames.shape, "[frames, channels]", "fix the shape"
        )
    for name, array in (("mean", mean), ("std", std)):
        if array.shape != frames.shape[1:]:
            raise model_error(
                path, name, array.shape, frames.shape[1:], "give one value for each channel"
            )
    if clip.size != 1 or clip.item() <= 0 or (std.astype(np.float64) <= 0).any():
        raise model_error(
            path, "clip, std", "a value that is not positive", "positive values", "fix them"
        )
    if lengths.ndim != 1 or labels.shape != lengths.shape:
        raise model_error(
            path, f"{split}_labels", labels.shape, lengths.shape, "give one label per length"
        )
    n_steps = lengths.astype(np.int64)
    wrong = (n_steps <= 0) | (n_steps > len(frames))
    if wrong.any() or n_steps.sum() != len(frames):
        raise model_error(
            path,
            f"{split}_lengths",
            f"lengths with sum {n_steps.sum()}",
            f"positive lengths with sum {len(frames)}",
            "make lengths and frames agree",
        )
    if (labels.astype(np.int64) < 0).any():
        raise model_error(path, f"{split}_labels", "a negative label", "labels from 0", "renumber")
    whole = _normalised(frames, mean, std, float(clip.item()))
    return Sequences(tuple(np.split(whole, np.cumsum(n_steps)[:-1])), labels.astype(np.int64))


def _normalised(
    frames: NDArray[Any], mean: NDArray[Any], std: NDArray[Any], limit: float
) -> NDArray[np.float32]:
    """Return ``clip((frames - mean) / std)``, computed in float64, some rows at a time."""
    found = np.empty(frames.shape, np.float32)
    n_rows = max(1, BLOCK_ELEMENTS // frames.shape[1])
    with np.errstate(over="ignore"):  # an infinite quotient is clipped
        for k in range(0, len(frames), n_rows):
            rows = (frames[k : k + n_rows].astype(np.float64) - mean) / std
            found[k : k + n_rows] = np.clip(rows, -limit, limit)
    return found
