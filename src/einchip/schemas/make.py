"""Makes the schemas from the classes that check the files.

They state fields, types, ranges and names, with what each field means. Rules between fields are the
code's, which no schema can say.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from einchip.arch import PRESETS, Architecture
from einchip.energy import Table
from einchip.explore.space import Space
from einchip.models import MatrixSpec
from einchip.models.schema import model_schema
from einchip.workloads.layers import _Layer

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_MODES: Final = ("in_modes", "out_modes")


def architecture() -> dict[str, Any]:
    """Return the schema of a machine (`--arch FILE.yaml`): all fields, or changes of a preset."""
    made = Architecture.model_json_schema()
    preset = {"enum": list(PRESETS), "description": "the machine to start from"}
    made["properties"] = {"preset": preset, **made["properties"]}
    made["anyOf"] = [{"required": ["preset"]}, {"required": made.pop("required")}]
    return made


def model() -> dict[str, Any]:
    """Return the schema of a model in YAML: its description, and where its weights are."""
    made = model_schema()
    seed = {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63}
    made["properties"]["weights"] = {
        "description": "the path of a safetensors file in this file's folder, or random ones",
        "oneOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"random": {**seed, "description": "the seed"}},
                "required": ["random"],
                "additionalProperties": False,
            },
        ],
    }
    made["required"].append("weights")
    return made


def energy() -> dict[str, Any]:
    """Return the schema of an energy table (`--energy FILE.yaml`)."""
    return Table.model_json_schema()


def workloads() -> dict[str, Any]:
    """Return the schema of a list of compressed matrices (`--file FILE.yaml`).

    Keys that nothing is computed from are free. Where one of the modes is a mapping, both are, with
    the same names: a matrix for each.
    """
    matrix, layer = MatrixSpec.model_json_schema(), _Layer.model_json_schema()
    definitions = {**matrix.pop("$defs", {}), **layer.pop("$defs", {})}
    properties = dict(matrix["properties"])
    for key in _MODES:
        plain = properties[key]
        properties[key] = {"anyOf": [plain, {"type": "object", "additionalProperties": plain}]}
    name = {"type": ["string", "number"], "description": "how einchip calls it"}
    entry = {
        "type": "object",
        "properties": {"name": name, **properties, "layer": layer},
        "required": ["name", *matrix["required"]],
    }
    made = {"type": "array", "minItems": 1, "items": entry, "$defs": definitions}
    return made if definitions else {k: v for k, v in made.items() if k != "$defs"}


def space() -> dict[str, Any]:
    """Return the schema of what is to be explored (`einchip explore SPACE`)."""
    return Space.model_json_schema()


#: What makes each of `einchip.schemas.NAMES`.
MAKERS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "architecture": architecture,
    "model": model,
    "workloads": workloads,
    "energy": energy,
    "space": space,
}


def schema(name: str) -> dict[str, Any]:
    """Return the schema of one kind of file."""
    made = MAKERS[name]()
    head = {"$schema": DRAFT, "title": f"einchip {name}"}
    return head | {key: value for key, value in made.items() if key not in head}


def text(name: str) -> str:
    """Return the text that the committed schema is to have."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"
