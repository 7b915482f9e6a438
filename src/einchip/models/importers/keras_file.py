"""Keras 3 archives (`.keras`): a zip of the model's description and of its weights in HDF5.

The description says order, activations, directions and the place of the reset gate, so that
nothing is assumed. Only chains (`Sequential`, or `Functional` without branches) are read. No class
that the file names is looked up: only those below are known.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from einchip.models.errors import ModelError, model_error
from einchip.models.extras import library
from einchip.models.importers.arrays import check_zip, read_bytes
from einchip.models.importers.keras_arrays import Layer, plain, recurrent
from einchip.models.importers.options import Options
from einchip.models.importers.stages import (
    Embedding,
    Imported,
    Stage,
    assemble,
    float32,
)
from einchip.models.npz import ZIP_ERRORS
from einchip.models.spec import Activation, Output, Reset, RnnActivation

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.weights.h5"
MAX_CONFIG_BYTES: Final = 2**22
RECURRENT: Final = ("LSTM", "GRU", "SimpleRNN")
#: What both directions of a layer must agree in.
SAME_IN_BOTH: Final = ("activation", "recurrent_activation", "reset_after", "return_sequences")
#: Layers that do nothing when a model is used.
SKIPPED: Final = ("InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout")
ACTIVATIONS: Final[dict[str, Activation]] = {
    "linear": "none",
    "relu": "relu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}
Config = Mapping[str, Any]


def import_keras_file(path: Path, options: Options) -> Imported:
    """Return the model of a `.keras` file.

    Raises:
        ModelError: the archive is damaged, or a layer is not supported; the message names it.
    """
    config, weights = _read(path)
    layers = list(_layers(path, config))
    dense_names = [name for name, kind, _ in layers if kind == "Dense"]
    for name in options.activations:
        if name not in dense_names:
            expected = f"one of {dense_names}"
            raise model_error(path, "option activation", name, expected, "correct the spelling")
    arrays = _datasets(path, weights, {name: kind for name, kind, _ in layers})
    stages: list[Stage | Embedding] = []
    output: Output = "sequence"
    for name, kind, fields in layers:
        if kind in SKIPPED:
            continue
        layer = Layer(name, arrays.get(name, {}))
        if kind in (*RECURRENT, "Bidirectional"):
            made, output = _recurrent(path, layer, kind, fields)
            stages.append(made)
        elif kind in ("Dense", "Embedding"):
            if fields.get("mask_zero"):
                raise model_error(path, name, "mask_zero True", "False", "save a model without it")
            activation = _activation(path, name, fields, options) if kind == "Dense" else "none"
            stages.append(plain(path, layer, activation))
        else:
            known = ", ".join([*RECURRENT, "Bidirectional", "Dense", "Embedding", "Dropout"])
            raise model_error(path, name, f"layer {kind}", known, "save a model without it")
    head = stages[0] if stages and isinstance(stages[0], Embedding) else None
    rest = [stage for stage in stages[head is not None :] if not isinstance(stage, Embedding)]
    if len(rest) + (head is not None) != len(stages):
        raise model_error(path, "layers", "a late Embedding", "it first", "change the model")
    return assemble(path, options.name or path.stem, rest, output, (), head)


def _read(path: Path) -> tuple[Config, bytes]:
    """Return description and weights of an archive."""
    expected = f"a Keras 3 archive with {CONFIG} and {WEIGHTS}"
    advice = "save it with model.save('NAME.keras')"
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            check_zip(path, archive)
            if archive.getinfo(CONFIG).file_size > MAX_CONFIG_BYTES:
                raise ValueError(f"{CONFIG} of more than {MAX_CONFIG_BYTES} bytes")
            config, weights = json.loads(archive.read(CONFIG)), archive.read(WEIGHTS)
    except ModelError:
        raise
    except (ValueError, OSError, EOFError, KeyError, RecursionError, *ZIP_ERRORS) as e:
        raise model_error(path, "file", e, expected, advice) from None
    if not isinstance(config, dict):
        raise model_error(path, CONFIG, f"a {type(config).__name__}", "a mapping", advice)
    return config, weights


def _get(path: Path, where: str, config: object, field: str, kind: type) -> Any:
    """Return a field of a description, of a type."""
    value = config.get(field) if isinstance(config, Mapping) else None
    if not isinstance(value, kind):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise model_error(path, f"{where}.{field}", found, f"a {kind.__name__}", "save it again")
    return value


def _layers(path: Path, config: Config) -> Iterator[tuple[str, str, Config]]:
    """Yield name, class and fields of every layer of a chain."""
    kind = _get(path, CONFIG, config, "class_name", str)
    if kind not in ("Sequential", "Functional"):
        advice = "save a chain of layers"
        raise model_error(path, "class_name", kind, "Sequential or Functional", advice)
    before = None
    for k, layer in enumerate(_get(path, CONFIG, config.get("config"), "layers", list)):
        fields = _get(path, f"layers.{k}", layer, "config", dict)
        name = _get(path, f"layers.{k}", fields, "name", str)
        sources = sorted(set(_histories(layer.get("inbound_nodes"))))
        if kind == "Functional" and sources != ([] if before is None else [before]):
            found = f"inputs from {', '.join(sources) or 'nowhere'}"
            raise model_error(path, name, found, f"from {before}", "save a chain of layers")
        yield name, _get(path, name, layer, "class_name", str), fields
        before = name


def _histories(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the names of the layers that a description of calls refers to."""
    if depth > 16:
        return
    if isinstance(value, dict):
        history = value.get("keras_history")
        if isinstance(history, list) and history:
            yield str(history[0])
        for child in value.values():
            yield from _histories(child, depth + 1)
    elif isinstance(value, list):
        for child in value:
            yield from _histories(child, depth + 1)


def _activation(path: Path, name: str, fields: Config, options: Options) -> Activation:
    given, asked = fields.get("activation"), options.activations.get(name)
    if isinstance(given, str) and given in ACTIVATIONS:
        if asked is not None:
            found, expected = f"{asked} for {name}", f"no such option: the file says {given}"
            raise model_error(path, "option activation", found, expected, "leave it out")
        return ACTIVATIONS[given]
    if asked == "none":
        return asked
    advice = f"--activation {name}=none takes the values before it"
    expected = ", ".join(ACTIVATIONS)
    raise model_error(path, name, f"activation {given}", expected, advice)


def _recurrent(path: Path, layer: Layer, kind: str, fields: Config) -> tuple[Stage, Output]:
    """Return a recurrent layer, and whether it gives every step or the last one."""
    both = kind == "Bidirectional"
    if both and fields.get("merge_mode") != "concat":
        found = f"merge_mode {fields.get('merge_mode')}"
        raise model_error(path, layer.name, found, "concat", "save a model with it")
    inner = _get(path, layer.name, fields, "layer", dict) if both else {}
    if both:
        other = _get(path, layer.name, fields, "backward_layer", dict)
        kind = _get(path, layer.name, inner, "class_name", str)
        fields = _get(path, layer.name, inner, "config", dict)
        other_fields = _get(path, layer.name, other, "config", dict)
        for field in SAME_IN_BOTH:
            if fields.get(field) != other_fields.get(field):
                found = f"two directions with different {field}"
                raise model_error(path, layer.name, found, "the same", "save a model with it")
    wanted: dict[str, tuple[object, ...]] = {"go_backwards": (False, None)}
    wanted |= {"activation": ("tanh", "relu") if kind == "SimpleRNN" else ("tanh",)}
    if kind != "SimpleRNN":
        wanted["recurrent_activation"] = ("sigmoid",)
    for field, values in wanted.items():
        if fields.get(field) not in values:
            found = f"{field} {fields.get(field)}"
            expected = " or ".join(str(v) for v in values if v is not None)
            raise model_error(path, layer.name, found, expected, "save a model with it")
    activation: RnnActivation = "relu" if fields["activation"] == "relu" else "tanh"
    reset: Reset = "after" if fields.get("reset_after", True) else "before"
    made = recurrent(path, layer, reset if kind == "GRU" else None, activation)
    cell = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}.get(kind)
    if made.cell != cell or len(made.directions) != 1 + both:
        found = f"weights of {len(made.directions)} x {made.cell}"
        raise model_error(path, layer.name, found, f"those of {kind}", "save it again")
    return made, "sequence" if fields.get("return_sequences") is True else "last"


def _datasets(
    path: Path, data: bytes, classes: Mapping[str, str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the arrays of every layer by direction and kind, by the layer's name."""
    h5py = library("h5py", "keras")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            for group in file["layers"].values():
                name = str(group["vars"].attrs["name"])
                found[name] = {}
                if classes.get(name) in SKIPPED:
                    continue
                first = "embeddings" if classes.get(name) == "Embedding" else "kernel"
                for direction in ("forward", "backward"):
                    part = group.get(f"{direction}_layer", group if direction == "forward" else {})
                    arrays = _variables(path, name, part, first)
                    if arrays:
                        found[name][direction] = arrays
    except ModelError:
        raise
    except Exception as e:  # h5py raises what it likes
        raise model_error(path, WEIGHTS, e, "weights that Keras wrote", "save it again") from None
    return found


def _variables(path: Path, name: str, group: Any, first: str) -> dict[str, Any]:
    """Return the arrays of one cell or plain layer: Keras numbers them in the order below."""
    cell = "cell" in group
    variables = group["cell"]["vars"] if cell else group.get("vars", {})
    datasets = [variables[str(k)] for k in range(len(variables))]
    kinds = (first, "recurrent_kernel", "bias") if cell else (first, "bias")
    if len(datasets) > len(kinds):
        raise ValueError(f"{len(datasets)} variables in {name}")
    return {k: _array(path, f"{name}/{k}", d) for k, d in zip(kinds, datasets, strict=False)}


def _array(path: Path, name: str, dataset: Any) -> Any:
    """Return a dataset that lies in the file as it is: unpacked, and nowhere else."""
    plainly = not (dataset.is_virtual or dataset.external or dataset.chunks)
    if not plainly or dataset.id.get_storage_size() != dataset.size * dataset.dtype.itemsize:
        found = "data packed, virtual, cut or in another file"
        raise model_error(path, name, found, "an array as Keras writes it", "save it again")
    return float32(path, name, dataset[()])
