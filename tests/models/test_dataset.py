"""The data file; the oracle is the documented layout."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from einchip.models import ModelError, load_npz


def arrays() -> dict[str, Any]:
    return {
        "test_frames": np.arange(12, dtype=np.float32).reshape(6, 2),
        "test_lengths": np.array([2, 1, 3], np.int32),
        "test_labels": np.array([0, 1, 1], np.int32),
        "mean": np.array([1, 2], np.float32),
        "std": np.array([2, 1], np.float32),
        "clip": np.float32(4),
    }


def test_sequences_are_cut_normalised_and_clipped(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "d.npz", **arrays())
    data = load_npz(tmp_path / "d.npz", "test")
    assert (len(data), data.n_channels, data.n_classes) == (3, 2, 2)
    assert [len(s) for s in data.sequences] == [2, 1, 3]
    np.testing.assert_array_equal(data.sequences[0], [[-0.5, -1], [0.5, 1]])
    np.testing.assert_array_equal(data.sequences[2][-1], [4, 4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_lengths": np.array([2, 1, 2])}, "found lengths with sum 5, expected positive"),
        ({"test_lengths": np.array([7, -1, 0])}, "expected positive lengths with sum 6"),
        ({"test_lengths": np.array([2.0, 1, 3])}, "test_lengths: found float64, expected integers"),
        ({"test_labels": np.array([0, 1])}, r"test_labels: found \(2,\)"),
        ({"test_labels": np.array([0, 1, -1])}, "found a negative label"),
        ({"test_frames": np.full((6, 2), np.nan)}, "test_frames: found NaN or infinity"),
        ({"test_frames": np.zeros(6)}, r"test_frames: found \(6,\)"),
        ({"test_frames": None}, "object arrays|Object arrays"),
        ({"mean": np.zeros(3)}, r"mean: found \(3,\)"),
        ({"std": np.zeros(2)}, "expected positive values"),
        ({"clip": np.float32(0)}, "expected positive values"),
    ],
)
def test_wrong_array_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **(arrays() | change))
    with pytest.raises(ModelError, match=message) as error:
        load_npz(tmp_path / "d.npz", "test")
    assert "\n" not in str(error.value)


def test_missing_split_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **arrays())
    with pytest.raises(ModelError, match="train_frames: found no such array"):
        load_npz(tmp_path / "d.npz", "train")


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no\.npz: file: found nothing"):
        load_npz(tmp_path / "no.npz")


def test_file_cut_at_any_byte_is_one_line(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "d.npz", **arrays())
    whole = (tmp_path / "d.npz").read_bytes()
    for n in range(0, len(whole), 41):
        (tmp_path / "cut.npz").write_bytes(whole[:n])
        with pytest.raises(ModelError, match=": file: found") as error:
            load_npz(tmp_path / "cut.npz")
        assert "\n" not in str(error.value)


def test_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.zeros(3))
    with pytest.raises(ModelError, match=r"found File is not a zip file, expected an .npz file"):
        load_npz(tmp_path / "d.npy")


def test_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ModelError, match="found no regular file"):
        load_npz(tmp_path / "pipe.npz")


def member(shape: str, data: bytes = b"") -> bytes:
    """One array file with a header of our own."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (member("(6, 2000000000)", bytes(48)), "of shape"),
        (member("(-6, -2)", bytes(48)), "of shape"),
        (member("(6, 2)", bytes(40)), "file: found"),
        (member("[6, 2]", bytes(48)), "file: found"),
        (b"\x93NUMPY\x07\x00", "version"),
        (b"", "file: found"),
        (bytes(2**28 + 1), "more than 268435456"),
    ],
    ids=["huge", "negative", "short", "list", "version", "empty", "bomb"],
)
def test_sizes_are_checked_before_memory_is_taken(
    content: bytes, message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", **{k: v for k, v in arrays().items() if k != "test_frames"})
    with zipfile.ZipFile(tmp_path / "d.npz", "a", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("test_frames.npy", content)
    with pytest.raises(ModelError, match=message) as error:
        load_npz(tmp_path / "d.npz")
    assert "\n" not in str(error.value)
