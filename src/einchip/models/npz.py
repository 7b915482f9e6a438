"""Arrays of .npz files: nothing in them is run, and no header is believed."""

from __future__ import annotations

import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection
from math import prod
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from einchip.models.errors import model_error

#: Most bytes of all arrays together that a small file may unpack to; a larger one, so many times
#: its own size. Weights and measurements hardly compress.
MAX_BYTES: Final = 1 << 28
MAX_GROWTH: Final = 4
MAX_FILE_BYTES: Final = 1 << 30
#: What a damaged archive raises. A compression that Python does not know is a NotImplementedError,
#: a password a RuntimeError.
ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,  # RecursionError, too
    struct.error,
)
#: What damaged archives and headers raise.
DAMAGE: Final = (
    *ZIP_ERRORS,
    OSError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
)


def read_npz(
    path: Path, names: Collection[str] = (), max_bytes: int = MAX_BYTES
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by their names, all or those named, in the file's order.

    Raises:
        ModelError: the file is missing, damaged, or holds objects; or its arrays would take more
            than `max_bytes`.
    """
    expected, advice = "an .npz file without pickled objects", "write it with numpy.savez"
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise OSError("a folder" if path.is_dir() else "no regular file")
        with zipfile.ZipFile(path) as archive:
            members = [i for i in archive.infolist() if _wanted(i.filename, names)]
            check_size(path, members, max_bytes)
            return {_name(i.filename): _array(archive, i) for i in members}
    except FileNotFoundError:
        raise model_error(path, "file", "nothing", "an .npz file", "check the path") from None
    except DAMAGE as e:
        found = getattr(e, "strerror", None) or str(e) or type(e).__name__
        raise model_error(path, "file", found, expected, advice) from None


def check_size(path: Path, members: Collection[zipfile.ZipInfo], max_bytes: int) -> None:
    """Raise ValueError where members of an archive would unpack to too many bytes."""
    size = sum(info.file_size for info in members)
    limit = min(max(max_bytes, MAX_GROWTH * path.stat().st_size), MAX_FILE_BYTES)
    if size > limit:
        raise ValueError(f"{size} bytes unpacked, more than {limit}")


def _name(member: str) -> str:
    return member.removesuffix(".npy")


def _wanted(member: str, names: Collection[str]) -> bool:
    return member.endswith(".npy") and (not names or _name(member) in names)


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """Return one array, of exactly as many bytes as its header says."""
    name = info.filename
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} compressed by method {info.compress_type}")
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(stream, name)
        if dtype.hasobject:
            raise ValueError(f"{name} holds object arrays")
        n_bytes = prod(shape) * dtype.itemsize
        if any(type(n) is not int or n < 0 for n in shape) or n_bytes > info.file_size:
            raise ValueError(f"{name} of shape {shape} in {info.file_size} bytes")
        data = np.frombuffer(stream.read(n_bytes), dtype)
        if stream.read(1):  # reaches the checksum, too
            raise ValueError(f"{name} of shape {shape} in {info.file_size} bytes")
    return data.reshape(shape, order="F" if fortran else "C")


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    read: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"{name} in version {version} of the .npy format")
    with warnings.catch_warnings(action="ignore"):  # of headers written by Python 2
        found: tuple[tuple[int, ...], bool, np.dtype[Any]] = read[version](stream)
    return found
