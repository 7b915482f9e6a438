"""The committed JSON Schema; the oracle is what the code accepts."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

import einchip.models
from einchip.models import ModelError, parse_spec
from einchip.models.schema import model_schema, schema_text
from tests.models.helpers import matrix, raw_spec, zoo
from tests.models.json_schema import valid
from tests.models.mutate import mutated

SCHEMA = model_schema()
EMBEDDING = {"vocabulary": 5, "out_size": 6, "weight": {"format": "dense"}}
SPECS: list[dict[str, Any]] = [raw_spec(**fields) for fields in zoo().values()]
SPECS.append(raw_spec() | {"embedding": EMBEDDING, "scales": {"x": 3}, "data_bits": 8})
TREE = matrix("ht", [3, 2], 4) | {"tree": [["I0", "O0"], 1], "ranks": {"leaf": [2, 3, 4]}}
SPECS.append(copy.deepcopy(raw_spec()))
SPECS[-1]["layers"][0]["input"] = TREE


def test_committed_schema_is_the_one_of_the_code() -> None:
    path = Path(einchip.models.__file__).parent / "schema.json"
    assert path.read_text() == schema_text(), "python -m einchip.models.schema > schema.json"


@pytest.mark.parametrize("raw", SPECS, ids=lambda raw: raw["name"])
def test_what_is_written_fits_the_schema(raw: dict[str, Any]) -> None:
    assert valid(raw, SCHEMA, SCHEMA)
    written = parse_spec(raw, "spec").model_dump_json(exclude_none=True)
    assert valid(json.loads(written), SCHEMA, SCHEMA)


@given(mutated(SPECS))
def test_what_the_code_accepts_the_schema_accepts(raw: Any) -> None:
    try:
        parse_spec(raw, "spec")
    except ModelError:
        return
    assert valid(raw, SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", 3),
        ("version", 1),
        ("head", {}),
        ("layers", []),
        ("layers.0.cell", "mgu"),
        ("layers.0.hidden_size", 0),
        ("layers.0.hidden_size", "8"),
        ("layers.0.peepholes", "yes"),
        ("layers.0.input.format", "tt"),
        ("layers.0.input.ranks.1", -1),
        ("layers.0.input.ranks", {"blocks": 2}),
        ("layers.0.input.in_modes", [1] * 17),
        ("layers.0.input.extra", 1),
        ("layers.1.kind", "conv"),
        ("layers.1.activation", "gelu"),
        ("scales", {"x": 65}),
    ],
)
def test_wrong_fields_are_refused_by_schema_and_code(path: str, value: object) -> None:
    raw = copy.deepcopy(raw_spec())
    target: Any = raw
    *parents, last = path.split(".")
    for name in parents:
        target = target[int(name)] if name.isdigit() else target[name]
    target[int(last) if last.isdigit() else last] = value
    assert not valid(raw, SCHEMA, SCHEMA)
    with pytest.raises(ModelError):
        parse_spec(raw, "spec")
