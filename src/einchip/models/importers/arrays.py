"""Named arrays from files of other frameworks, without running any code of theirs.

Every reader bounds what it allocates by the size of the file.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, deserialize

from einchip.models.errors import ModelError, model_error
from einchip.models.extras import library
from einchip.models.importers.stages import Array
from einchip.models.npz import MAX_BYTES, check_size, read_npz

MAX_FILE_BYTES: Final = 2**30
MAX_HEADER_BYTES: Final = 2**24
TORCH_SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt")
#: Where training scripts put the state dict in what they save.
STATE_KEYS: Final = ("state_dict", "model_state_dict", "model")
#: Element types of safetensors that are read as they are; integers are no weights, but may stand
#: beside them.
KINDS: Final = {
    **{"F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "?", "U8": "u1", "I8": "i1"},
    **{"I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4", "I64": "<i8", "U64": "<u8"},
}


def read_bytes(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return a file's bytes; raise ModelError where it is missing, unreadable or too large."""
    try:
        if not path.is_file() and path.exists():
            raise model_error(path, "file", "no plain file", "a model file", "check the path")
        size = path.stat().st_size
        if size <= limit:
            return path.read_bytes()
    except FileNotFoundError:
        raise model_error(path, "file", "nothing", "a model file", "check the path") from None
    except (OSError, ValueError) as e:
        found = getattr(e, "strerror", None) or e
        raise model_error(path, "file", found, "a readable file", "check the path") from None
    raise model_error(path, "file", f"{size} bytes", f"at most {limit}", "split the model")


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a .safetensors, .npz or PyTorch file, in the file's order.

    Raises:
        ModelError: the file cannot be used; the message is one line that names it.
    """
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return _read_safetensors(path)
    if suffix == ".npz":
        return read_npz(path)
    if suffix in TORCH_SUFFIXES:
        return _read_torch(path)
    expected = ".safetensors, .npz, .pt, .pth, .onnx or .keras"
    raise model_error(path, "file", f"suffix {suffix!r}", expected, "rename or convert it")


def _read_safetensors(path: Path) -> dict[str, Array]:
    data = read_bytes(path)
    (n,) = struct.unpack("<Q", data[:8].ljust(8, b"\0"))
    if len(data) < 8 or n > min(MAX_HEADER_BYTES, len(data) - 8):
        found = f"a header of {n} bytes in a file of {len(data)}"
        raise model_error(
            path, "header", found, "a whole safetensors file", "copy or save it again"
        )
    try:
        entries = dict(deserialize(data))  # type: ignore[no-untyped-call] # safetensors has no types for it
    except (SafetensorError, ValueError, TypeError, KeyError) as e:
        raise model_error(
            path, "file", e, "a whole safetensors file", "copy or save it again"
        ) from None
    return {name: _tensor(path, name, entries[name]) for name in sorted(entries)}


def _tensor(path: Path, name: str, entry: dict[str, Any]) -> Array:
    """Return one entry of a safetensors file; bfloat16 is the upper half of float32."""
    kind, shape, data = entry["dtype"], entry["shape"], entry["data"]
    if kind == "BF16":
        upper = np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16
        return upper.view(np.float32).reshape(shape)
    if kind not in KINDS:
        expected = ", ".join([*KINDS, "BF16"])
        raise model_error(path, name, f"dtype {kind}", expected, "store it as float32")
    return np.frombuffer(data, dtype=KINDS[kind]).reshape(shape)


def check_zip(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise ModelError where an archive would unpack to much more than its own size."""
    try:
        check_size(path, archive.infolist(), MAX_BYTES)
    except ValueError as e:
        expected = "an archive of weights, which hardly compress"
        raise model_error(path, "file", e, expected, "save the model again") from None


def _read_torch(path: Path) -> dict[str, Array]:
    """Return the tensors of a state dict, read with ``weights_only``: no code in the file runs."""
    data = read_bytes(path)
    torch = library("torch", "train")
    expected = "a state dict that torch.save wrote"
    advice = "save model.state_dict() with torch.save, or as safetensors"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_zip(path, archive)
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("compressed entries")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as e:  # torch raises what it likes, RuntimeError among it
        raise model_error(path, "file", e, expected, advice) from None
    state = _state(loaded)
    if not state:
        found = f"a {type(loaded).__name__} without tensors"
        raise model_error(path, "file", found, expected, advice)
    try:
        return {name: _numpy(path, name, tensor, torch) for name, tensor in state.items()}
    except (RuntimeError, TypeError) as e:  # of kinds of tensors that NumPy does not have
        raise model_error(path, "file", e, "plain float tensors", advice) from None


def _state(loaded: Any) -> dict[str, Any]:
    """Return the tensors of a state dict, or of the one inside what a training script saved."""
    if not isinstance(loaded, dict):
        return {}
    inner = next((loaded[k] for k in STATE_KEYS if isinstance(loaded.get(k), dict)), loaded)
    return {str(k): v for k, v in inner.items() if hasattr(v, "untyped_storage")}


def _numpy(path: Path, name: str, tensor: Any, torch: ModuleType) -> Array:
    """Return a tensor as an array, if its storage really holds that many elements."""
    layout = tensor.layout
    if layout is not torch.strided or tensor.is_quantized:
        found = f"layout {layout}" if layout is not torch.strided else "a quantised tensor"
        raise model_error(path, name, found, "a plain float tensor", "convert it with .to_dense()")
    n_bytes = tensor.numel() * tensor.element_size()
    if n_bytes > tensor.untyped_storage().nbytes():
        found = f"{n_bytes} bytes in a storage of {tensor.untyped_storage().nbytes()}"
        raise model_error(path, name, found, "a contiguous tensor", "save it with .contiguous()")
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.to(torch.float32)
    return np.asarray(tensor.detach().resolve_conj().resolve_neg().numpy())
