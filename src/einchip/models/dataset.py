"""Labelled sequences of different lengths, from one compressed NumPy file."""

from __future__ import annotations

import struct
import tokenize
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from einchip.models.errors import model_error

Split = Literal["train", "test"]

#: Largest array of a data file, uncompressed.
MAX_ARRAY_BYTES: Final = 2**28


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
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise OSError("no regular file")
        with zipfile.ZipFile(path) as file:
            arrays = {name: _array(file, f"{name}.npy") for name in names if _holds(file, name)}
    except FileNotFoundError:
        raise model_error(path, "file", "nothing", "an .npz file", "check the path") from None
    except _UNREADABLE as e:
        expected = "an .npz file without pickled objects"
        raise model_error(path, "file", e, expected, "write it with numpy.savez") from None
    for name in names:
        if name not in arrays:
            raise model_error(path, name, "no such array", "an array", "add it, or change split")
    return _cut(path, split, arrays)


_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)


def _holds(file: zipfile.ZipFile, name: str) -> bool:
    return f"{name}.npy" in file.namelist()


def _array(file: zipfile.ZipFile, member: str) -> NDArray[Any]:
    """Return one array; the sizes that its headers claim are checked before memory is taken."""
    info = file.getinfo(member)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member} compressed by method {info.compress_type}")
    if info.file_size > MAX_ARRAY_BYTES:
        raise ValueError(f"{member} of {info.file_size} bytes, more than {MAX_ARRAY_BYTES}")
    with file.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0}
        read[2, 0] = np.lib.format.read_array_header_2_0
        if version not in read:
            raise ValueError(f"{member} in version {version} of the .npy format")
        with warnings.catch_warnings(action="ignore"):  # of headers written by Python 2
            shape, fortran, dtype = read[version](stream)
        if dtype.hasobject:
            raise ValueError(f"{member} holds object arrays")
        if min(shape, default=1) < 0 or prod(shape) * dtype.itemsize > info.file_size:
            raise ValueError(f"{member} of shape {shape} in {info.file_size} bytes")
        data = np.frombuffer(stream.read(prod(shape) * dtype.itemsize), dtype)
    return data.reshape(shape, order="F" if fortran else "C")


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
    limit = float(clip.item())
    with np.errstate(over="ignore"):  # an infinite quotient is clipped
        sequences = [
            np.clip((part.astype(np.float64) - mean) / std, -limit, limit).astype(np.float32)
            for part in np.split(frames, np.cumsum(n_steps)[:-1])
        ]
    return Sequences(tuple(sequences), labels.astype(np.int64))
