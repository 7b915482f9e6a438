"""Store and load models, and say in one line what is wrong with a file.

A model file is one safetensors file. Its metadata entry ``einchip`` is the JSON text of the
`ModelSpec`; its tensors, float32, are named by `einchip.models.spec.tensor_shapes`. A YAML file
may be given in its place: the fields of the `ModelSpec` at top level, and `weights`, which is
either ``{random: SEED}`` or the path of a safetensors file relative to the YAML file. (Metadata is
optional in that safetensors file: the YAML file is the spec.)
"""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from einchip.models.errors import ModelError, model_error, one_line
from einchip.models.formats import matrix_network
from einchip.models.model import Model, check_tensors
from einchip.models.spec import (
    UNION_TAGS,
    MatrixSpec,
    ModelSpec,
    RecurrentSpec,
    model_matrices,
    tensor_shapes,
)

METADATA_KEY = "einchip"
MAX_HEADER_BYTES = 2**20
MAX_YAML_BYTES = 2**20
YAML_SUFFIXES = (".yaml", ".yml")


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
    data = save_safetensors(tensors, metadata={METADATA_KEY: model.spec.model_dump_json()})
    try:
        Path(path).write_bytes(data)
    except OSError as e:
        raise model_error(
            path, "file", e.strerror or e, "a path that can be written", "choose another path"
        ) from None


def load_model(path: str | Path) -> Model:
    """Load a model from a safetensors file, or from a YAML file that names its weights.

    Raises:
        ModelError: anything is wrong with the file; the message is one line that names it.
    """
    path = Path(path)
    if path.suffix.lower() in YAML_SUFFIXES:
        return _load_yaml(path)
    tensors, metadata = _read_safetensors(path)
    if METADATA_KEY not in metadata:
        raise model_error(
            path,
            f"metadata.{METADATA_KEY}",
            "no such entry",
            "the JSON text of a model spec",
            "save the file with einchip, or describe it in a YAML file",
        )
    try:
        raw = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError) as e:
        raise model_error(
            path, f"metadata.{METADATA_KEY}", e, "JSON", "save the file with einchip"
        ) from None
    spec = parse_spec(raw, path)
    check_tensors(spec, tensors, path)
    return Model(spec, tensors)


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
    return {
        name: rng.standard_normal(network.shape(name), dtype=np.float32) * np.float32(std)
        for name in network.tensors
    }


def parse_spec(raw: object, where: object) -> ModelSpec:
    """Validate a decoded JSON or YAML value; `where` names its file in the message.

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
        raise _spec_error(e, where) from None


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


def _spec_error(error: ValidationError, where: object) -> ModelError:
    """Turn the most telling entry of a pydantic error into one line.

    An unknown field comes first: where a name is misspelt, the missing field follows from it.
    """
    entries = error.errors(include_url=False)
    urgent = [e for e in entries if e["loc"] == ("version",)]
    urgent += [e for e in entries if e["type"] == "extra_forbidden"]
    entry = [*urgent, *entries][0]
    field = ".".join(str(part) for part in entry["loc"] if part not in UNION_TAGS)
    context: dict[str, Any] = entry.get("ctx", {})
    if entry["type"] == "value_error":  # our own sentence, of the right form already
        parts = (one_line(where, 300), *([one_line(field)] if field else []))
        return ModelError(": ".join((*parts, one_line(context["error"], 400))))
    field = field or "model"
    found, expected, advice = _EXPECTED.get(entry["type"], (None, entry["msg"], "correct it"))
    found = _brief(entry["input"]) if found is None else found.format_map(context)
    if entry["type"] in _EXPECTED:
        expected = expected.format_map(context)
    return model_error(where, field, found, expected, advice)


def _brief(value: object) -> str:
    """Return a value as text, containers by their kind only."""
    return f"a {type(value).__name__}" if isinstance(value, dict | list | tuple) else repr(value)


def _load_yaml(path: Path) -> Model:
    raw = _parse_yaml(path, _read(path, MAX_YAML_BYTES))
    if not isinstance(raw, dict):
        raise model_error(
            path, "model", type(raw).__name__, "a mapping with name and layers", "write the spec"
        )
    weights = raw.pop("weights", None)
    spec = parse_spec(raw, path)
    if isinstance(weights, str):
        file = path.parent / weights
        tensors, _ = _read_safetensors(file)
        check_tensors(spec, tensors, file)
        return Model(spec, tensors)
    if isinstance(weights, dict) and list(weights) == ["random"]:
        seed = weights["random"]
        if type(seed) is int and 0 <= seed < 2**63:
            return random_model(spec, seed)
        raise model_error(
            path, "weights.random", _brief(seed), "a seed from 0 to 2^63 - 1", "write an integer"
        )
    raise model_error(
        path,
        "weights",
        "nothing" if weights is None else _brief(weights),
        "{random: SEED} or the path of a safetensors file",
        "add one of the two",
    )


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe YAML loader to which a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key.value!r} twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse_yaml(path: Path, data: bytes) -> object:
    try:
        return yaml.load(data.decode(), Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark
        line = f"line {mark.line + 1}" if mark is not None else "file"
        found = e.problem or "a syntax error"
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as e:
        line, found = "file", str(e) or type(e).__name__
    raise model_error(path, line, found, "YAML text", "correct the syntax")


def _read(path: Path, limit: int) -> bytes:
    """Return the bytes of a file of at most `limit` bytes."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= limit else b""
    except FileNotFoundError:
        raise model_error(path, "file", "nothing", "a model file", "check the path") from None
    except (OSError, ValueError) as e:
        found = getattr(e, "strerror", None) or e
        raise model_error(path, "file", found, "a readable file", "check the path") from None
    if size > limit:
        raise model_error(path, "file", f"{size} bytes", f"at most {limit}", "check the path")
    return data


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return tensors and metadata of a safetensors file.

    The header is checked here first: its length (8 bytes, little-endian) is a number from outside.
    """
    data = _read(path, 2**32)
    header = _header(path, data)
    dtypes = {k: v.get("dtype") for k, v in header.items() if isinstance(v, dict)}
    for name, dtype in dtypes.items():
        if name != "__metadata__" and dtype != "F32":
            raise model_error(path, name, f"dtype {dtype}", "F32", "store it as float32")
    try:
        tensors = load_safetensors(data)
    except (SafetensorError, ValueError, TypeError, KeyError) as e:
        raise model_error(
            path, "file", e, "a whole safetensors file", "copy or save it again"
        ) from None
    tensors = {name: tensors[name] for name in sorted(tensors)}
    return tensors, header.get("__metadata__") or {}


def _header(path: Path, data: bytes) -> dict[str, Any]:
    """Return the decoded header of a safetensors file."""
    if len(data) < 8:
        raise model_error(
            path, "header", f"{len(data)} bytes", "at least 8", "copy or save the file again"
        )
    (n,) = struct.unpack("<Q", data[:8])
    if n > MAX_HEADER_BYTES or 8 + n > len(data):
        raise model_error(
            path,
            "header",
            f"a length of {n} bytes in a file of {len(data)}",
            f"at most {min(MAX_HEADER_BYTES, len(data) - 8)}",
            "give a safetensors or YAML file; copy or save it again if it was cut",
        )
    try:
        header = json.loads(data[8 : 8 + n])
    except (ValueError, RecursionError) as e:
        raise model_error(
            path, "header", e, "JSON", "give a safetensors file (or name a YAML file .yaml)"
        ) from None
    if not isinstance(header, dict):
        raise model_error(
            path, "header", type(header).__name__, "a JSON object", "save the file again"
        )
    return header
