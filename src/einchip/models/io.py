"""Store and load models, and say in one line what is wrong with a file.

A model file is one safetensors file. Its metadata entry ``einchip`` is the JSON text of the
`ModelSpec`; its tensors, float32, are named by `einchip.models.spec.tensor_shapes`. A YAML file
may be given in its place: the fields of the `ModelSpec` at top level, and `weights`, which is
either ``{random: SEED}`` or the path of a safetensors file relative to the YAML file. (Metadata is
optional in that safetensors file: the YAML file is the spec.)
"""

from __future__ import annotations

import json
import re
import struct
from math import prod
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from safetensors.numpy import save as save_safetensors

from einchip.files import MAX_YAML_BYTES, Marked, YamlError, parse_marked, write_bytes
from einchip.mistakes import did_you_mean, fields_at
from einchip.models.errors import ModelError, model_error, one_line
from einchip.models.formats import matrix_network
from einchip.models.model import Model, check_shapes, check_tensors
from einchip.models.spec import (
    UNION_TAGS,
    LinearSpec,
    MatrixSpec,
    ModelSpec,
    RecurrentSpec,
    model_matrices,
    tensor_shapes,
)

METADATA_KEY = "einchip"
MAX_HEADER_BYTES = 2**20
YAML_SUFFIXES = (".yaml", ".yml")
#: Files of other frameworks that `einchip import` reads; never a model file.
FOREIGN_SUFFIXES = (".onnx", ".keras", ".pt", ".pth", ".bin", ".ckpt", ".npz")


def save_model(model: Model, path: str | Path) -> None:
    """Write a model as one safetensors file, weights as float32.

    Raises:
        ModelError: the file cannot be written, or a weight is beyond float32.
    """
    with np.errstate(over="ignore"):
        tensors = {
            name: np.ascontiguousarray(tensor, dtype=np.float32)
            for name, tensor in model.tensors.items()
        }
    check_tensors(model.spec, tensors, path)
    text = model.spec.model_dump_json(exclude_none=True)
    data = save_safetensors(tensors, metadata={METADATA_KEY: text})
    try:
        write_bytes(Path(path), data)
    except (OSError, ValueError) as e:
        found = getattr(e, "strerror", None) or e
        raise model_error(
            path, "file", found, "a path that can be written", "choose another path"
        ) from None


def load_model(path: str | Path) -> Model:
    """Load a model from a safetensors file, or from a YAML file that names its weights.

    Raises:
        ModelError: anything is wrong with the file; the message is one line that names it.
    """
    path = Path(path)
    if path.suffix.lower() in YAML_SUFFIXES:
        return _load_yaml(path)
    if path.suffix.lower() in FOREIGN_SUFFIXES and path.is_file():
        advice = "turn it into one: einchip import FILE -o MODEL.safetensors"
        raise model_error(path, "file", f"a {path.suffix} file", "a model file of einchip", advice)
    header = _header(path)
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or METADATA_KEY not in metadata:
        raise model_error(
            path,
            f"metadata.{METADATA_KEY}",
            "no such entry",
            "the JSON text of a model spec",
            "save the file with einchip, import it, or describe it in a YAML file",
        )
    try:
        raw = json.loads(metadata[METADATA_KEY])
    except (ValueError, TypeError, RecursionError) as e:
        raise model_error(
            path, f"metadata.{METADATA_KEY}", e, "JSON", "save the file with einchip"
        ) from None
    return _with_weights(parse_spec(raw, path), path, header)


def random_model(spec: ModelSpec, seed: int) -> Model:
    """Return a model with seeded random weights, float32.

    Tensors are normal with one standard deviation per matrix, such that the elements of the dense
    matrix have variance ``1 / in_size``: ``std = (1 / (in_size * prod(bonds)))^(1 / 2n)`` for n
    tensors. Biases are 0, except 1 for forget gates; peepholes have a deviation of 0.1.
    """
    rng = np.random.default_rng(seed)
    tensors = {n: np.zeros(shape, np.float32) for n, shape in tensor_shapes(spec).items()}
    for prefix, (matrix, n_gates) in model_matrices(spec).items():
        for name, core in _random_cores(matrix, n_gates, rng).items():
            tensors[f"{prefix}.{name}"] = core
    for name, tensor in tensors.items():
        layer = spec.layers[int(name.split(".")[1])] if name.startswith("layers.") else None
        if isinstance(layer, RecurrentSpec) and layer.cell == "lstm" and name.endswith("bias"):
            tensor.reshape(4, -1)[1] = 1.0
        if name.endswith("peepholes"):
            tensor[:] = rng.standard_normal(tensor.shape, dtype=np.float32) * 0.1
    return Model(spec, tensors)


def _random_cores(
    spec: MatrixSpec, n_gates: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    network = matrix_network(spec, n_gates)
    ends = {*network.inputs, *network.outputs}
    n_terms = prod(size for index, size in network.sizes.items() if index not in ends)
    std = (1.0 / (spec.in_size * n_terms)) ** (0.5 / len(network.tensors))
    cores = {
        name: rng.standard_normal(network.shape(name), dtype=np.float32) for name in network.tensors
    }
    for core in cores.values():
        core *= np.float32(std)
    return cores


def parse_spec(raw: object, where: object) -> ModelSpec:
    """Validate a decoded JSON or YAML value; `where` names its file, or is it, in the message.

    Raises:
        ModelError: the first thing that is wrong, named by its path (``layers.0.input.ranks``).
    """
    if not isinstance(raw, dict):
        raise model_error(
            where, "model", type(raw).__name__, "a mapping with name and layers", "write the spec"
        )
    try:
        return ModelSpec.model_validate(raw)
    except ValidationError as e:
        raise spec_error(e, where) from None


_EXPECTED = {
    "missing": ("nothing", "this field", "add it"),
    "extra_forbidden": (None, "no field of this name", "correct the spelling or remove it"),
    "literal_error": (None, "{expected}", "choose a supported value"),
    "int_type": (None, "an integer", "write a whole number"),
    "string_type": (None, "text", "write text, in quotes if it looks like a number"),
    "greater_than": (None, "more than {gt}", "raise it"),
    "less_than_equal": (None, "at most {le}", "lower it"),
    "too_short": ("{actual_length} entries", "at least {min_length}", "add what is missing"),
    "too_long": ("{actual_length} entries", "at most {max_length}", "remove some"),
    "tuple_type": (None, "a list", "write a list"),
    "model_type": (None, "a mapping", "write the fields as key: value"),
}


#: Whose errors `spec_error` is given, by the name that they carry.
_MODELS: dict[str, type[BaseModel]] = {
    m.__name__: m for m in (ModelSpec, MatrixSpec, RecurrentSpec, LinearSpec)
}


def most_telling(error: ValidationError) -> ErrorDetails:
    """Return the entry of a pydantic error that is to be said.

    An unknown field comes first: where a name is misspelt, the missing field follows from it.
    """
    entries = error.errors(include_url=False)
    urgent = [e for e in entries if e["loc"] == ("version",)]
    urgent += [e for e in entries if e["type"] == "extra_forbidden"]
    return [*urgent, *entries][0]


def spec_error(error: ValidationError, where: object) -> ModelError:
    """Turn the most telling entry of a pydantic error into one line.

    `where` is a name, or the YAML file itself, whose line is then said.
    """
    entry = most_telling(error)
    field = ".".join(str(part) for part in entry["loc"] if part not in UNION_TAGS)
    context: dict[str, Any] = entry.get("ctx", {})
    if isinstance(where, Marked):
        where = where.place(entry["loc"])
    if entry["type"] == "value_error":  # our own sentence, of the right form already
        parts = (one_line(where, 300), *([one_line(field)] if field else []))
        return ModelError(": ".join((*parts, one_line(context["error"], 400))))
    field = field or "model"
    found, expected, advice = _EXPECTED.get(entry["type"], (None, entry["msg"], "correct it"))
    found = _brief(entry["input"]) if found is None else found.format_map(context)
    if entry["type"] in _EXPECTED:
        expected = expected.format_map(context)
    return model_error(where, field, found, expected, _near(error.title, entry) or advice)


def _near(model: str, entry: ErrorDetails) -> str:
    """Return "did you mean NAME?" for a misspelt field or value, else ""."""
    if entry["type"] == "extra_forbidden":
        *parents, name = entry["loc"]
        known = fields_at(_MODELS.get(model, ModelSpec), parents)
        return did_you_mean(name, known).removeprefix("; ")
    if entry["type"] == "literal_error":
        values = re.findall(r"'([^']*)'", entry["ctx"]["expected"])
        return did_you_mean(entry["input"], values).removeprefix("; ")
    return ""


def _brief(value: object) -> str:
    """Return a value as text, containers by their kind only."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    return f"a {type(value).__name__}" if isinstance(value, dict | list | tuple) else repr(value)


def _inside(path: Path, weights: str, place: str) -> Path:
    """Return the weights' file, which must lie in the folder of the file that names it."""
    file = path.parent / weights
    try:
        inside = file.resolve().is_relative_to(path.parent.resolve())
    except (OSError, ValueError, RuntimeError):
        return file  # which the reader will refuse
    if not inside:
        expected = "a file in this file's folder"
        raise model_error(place, "weights", weights, expected, "move it there")
    return file


def _load_yaml(path: Path) -> Model:
    size = _size(path)
    if size > MAX_YAML_BYTES:
        found, advice = f"{size} bytes", "keep weights in a safetensors file"
        raise model_error(path, "file", found, f"at most {MAX_YAML_BYTES}", advice)
    marked = _parse_yaml(path, _read(path, MAX_YAML_BYTES))
    raw = marked.value
    if not isinstance(raw, dict):
        raise model_error(
            path, "model", type(raw).__name__, "a mapping with name and layers", "write the spec"
        )
    weights = raw.get("weights")
    spec = parse_spec({k: v for k, v in raw.items() if k != "weights"}, marked)
    place = marked.place(("weights",))
    if isinstance(weights, str):
        file = _inside(path, weights, place)
        return _with_weights(spec, file, _header(file))
    if isinstance(weights, dict) and list(weights) == ["random"]:
        seed = weights["random"]
        if type(seed) is int and 0 <= seed < 2**63:
            return random_model(spec, seed)
        raise model_error(
            place, "weights.random", _brief(seed), "a seed from 0 to 2^63 - 1", "write an integer"
        )
    raise model_error(
        place,
        "weights",
        "nothing" if weights is None else _brief(weights),
        "{random: SEED} or the path of a safetensors file",
        "add one of the two",
    )


def _parse_yaml(path: Path, data: bytes) -> Marked:
    try:
        return parse_marked(data, path)
    except YamlError as e:
        raise model_error(
            e.place(path), "file", e.found, "YAML text", "correct the syntax"
        ) from None


def _size(path: Path) -> int:
    """Return the size of a regular file: a pipe or a device would never end."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise model_error(path, "file", "nothing", "a model file", "check the path") from None
    except (OSError, ValueError) as e:
        found = getattr(e, "strerror", None) or e
        raise model_error(path, "file", found, "a readable file", "check the path") from None
    if not S_ISREG(status.st_mode):
        found = "a folder" if S_ISDIR(status.st_mode) else "no regular file"
        raise model_error(path, "file", found, "a model file", "check the path")
    return status.st_size


def _read(path: Path, n: int) -> bytes:
    """Return the first `n` bytes of a file, or all where it has fewer."""
    try:
        with path.open("rb") as file:
            return file.read(n)
    except OSError as e:
        raise model_error(path, "file", e.strerror, "a readable file", "check the path") from None


def _with_weights(spec: ModelSpec, path: Path, header: dict[str, Any]) -> Model:
    """Return the model, its tensors from a safetensors file with this header.

    Names, types, shapes and places are checked before any tensor is read.
    """
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    for name, entry in entries.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if dtype != "F32":
            raise model_error(path, name, f"dtype {dtype}", "F32", "store it as float32")
        shape = entry.get("shape")
        if not isinstance(shape, list) or any(type(n) is not int for n in shape):
            raise model_error(path, name, "no shape", "a list of integers", "save the file again")
    check_shapes(spec, {name: tuple(entry["shape"]) for name, entry in entries.items()}, path)
    start = _check_places(path, entries)
    tensors = {}
    with path.open("rb") as file:
        for name, shape in tensor_shapes(spec).items():
            file.seek(start + entries[name]["data_offsets"][0])
            tensors[name] = np.fromfile(file, "<f4", prod(shape)).reshape(shape)
    check_tensors(spec, tensors, path)
    return Model(spec, tensors)


def _check_places(path: Path, entries: dict[str, dict[str, Any]]) -> int:
    """Return where the data start, after checking that the tensors fill them without a gap.

    Shapes are those of a spec already, so their products are small numbers.
    """
    (n,) = struct.unpack("<Q", _read(path, 8))
    here, advice = 0, "copy or save the file again"
    places = {name: _offsets(path, name, entry) for name, entry in entries.items()}
    for name, (begin, end) in sorted(places.items(), key=lambda place: place[1]):
        n_bytes = 4 * prod(entries[name]["shape"])
        if (begin, end) != (here, here + n_bytes):
            found, expected = f"data_offsets {[begin, end]}", f"{[here, here + n_bytes]}"
            raise model_error(path, name, found, expected, advice)
        here = end
    size = _size(path) - 8 - n
    if size != here:
        raise model_error(path, "file", f"{size} bytes of data", f"{here} bytes", advice)
    return int(8 + n)


def _offsets(path: Path, name: str, entry: dict[str, Any]) -> tuple[int, int]:
    offsets = entry.get("data_offsets")
    if not isinstance(offsets, list) or [type(o) for o in offsets] != [int, int]:
        raise model_error(path, name, "no data_offsets", "two integers", "save the file again")
    return offsets[0], offsets[1]


def _header(path: Path) -> dict[str, Any]:
    """Return the decoded header of a safetensors file.

    It is checked here first: its length (8 bytes, little-endian) is a number from outside.
    """
    size = _size(path)
    data = _read(path, 8)
    if len(data) < 8:
        raise model_error(
            path, "header", f"{len(data)} bytes", "at least 8", "copy or save the file again"
        )
    (n,) = struct.unpack("<Q", data)
    if n > MAX_HEADER_BYTES or 8 + n > size:
        raise model_error(
            path,
            "header",
            f"a length of {n} bytes in a file of {size}",
            f"at most {min(MAX_HEADER_BYTES, size - 8)}",
            "give a safetensors or YAML file; copy or save it again if it was cut",
        )
    try:
        header = json.loads(_read(path, 8 + n)[8:])
    except (ValueError, RecursionError) as e:
        raise model_error(
            path, "header", e, "JSON", "give a safetensors file (or name a YAML file .yaml)"
        ) from None
    if not isinstance(header, dict):
        raise model_error(
            path, "header", type(header).__name__, "a JSON object", "save the file again"
        )
    return header
