"""Models from PyTorch, ONNX and Keras: `import_model` reads a file and says what it assumed."""

from __future__ import annotations

from pathlib import Path

from einchip.models.errors import model_error
from einchip.models.importers.options import Framework, Options, refuse
from einchip.models.importers.stages import Imported

__all__ = ["Framework", "Imported", "Options", "import_model"]


def import_model(path: str | Path, options: Options | None = None) -> Imported:
    """Read a model of another framework.

    The suffix says the kind of file: ``.onnx``; ``.keras`` (architecture and weights); and plain
    named arrays: ``.safetensors``, ``.npz``, ``.pt``, ``.pth`` of PyTorch, or of Keras where
    `Options.framework` says so.

    Raises:
        ModelError: the file cannot be used; the message is one line that names the place in it.
    """
    path, options = Path(path), options or Options()
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        from einchip.models.importers.onnx_import import import_onnx

        refuse(path, options, *_ARRAYS_ONLY)
        return import_onnx(path, options)
    if options.value:
        raise model_error(path, "option value", options.value, "none", "it is for ONNX graphs")
    if suffix == ".keras":
        from einchip.models.importers.keras_file import import_keras_file

        others = [name for name in _ARRAYS_ONLY if name != "activations"]
        refuse(path, options, *others, "output")
        return import_keras_file(path, options)
    return _import_arrays(path, options)


#: Options that only files of plain arrays leave open.
_ARRAYS_ONLY = (
    "framework",
    "order",
    "activations",
    "rnn_activation",
    "gru_reset",
    "embeddings",
)


def _import_arrays(path: Path, options: Options) -> Imported:
    from einchip.models.importers.arrays import read_arrays

    arrays = read_arrays(path)
    if options.framework == "keras":
        from einchip.models.importers.keras_arrays import import_keras_arrays

        return import_keras_arrays(path, arrays, options)
    from einchip.models.importers.pytorch import import_state

    refuse(path, options, "gru_reset")
    ordered = path.suffix.lower() != ".safetensors"
    return import_state(path, arrays, options, ordered)
