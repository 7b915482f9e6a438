"""What the spec accepts and refuses; the oracle is the rule each test names."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from einchip.models import ModelError, ModelSpec, parse_spec
from tests.models.helpers import raw_spec


def changed(path: str, value: object, kind: str = "mpo") -> dict[str, Any]:
    """A valid spec with one field replaced (`path` starts inside the layer)."""
    raw = copy.deepcopy(raw_spec(kind))
    target: Any = raw["layers"][0]
    *parents, last = path.split(".")
    for name in parents:
        target = target[name]
    target[last] = value
    return raw


@pytest.mark.parametrize("kind", ["dense", "mpo", "mps"])
def test_json_round_trip_keeps_the_spec(kind: str) -> None:
    spec = ModelSpec.model_validate(raw_spec(kind))
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec


def test_dense_matrix_takes_its_sizes_from_the_layer() -> None:
    layer = ModelSpec.model_validate(raw_spec("dense")).layers[0]
    assert (layer.input.out_size, layer.input.in_size) == (32, 6)
    assert (layer.hidden.out_size, layer.hidden.in_size) == (32, 8)


def test_spec_is_frozen() -> None:
    spec = ModelSpec.model_validate(raw_spec())
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("input.format", "tucker", "layers.0.input.format", "found 'tucker', expected 'dense',"),
        ("cell", "gru", "layers.0.cell", "found 'gru', expected 'lstm'; choose"),
        ("gate_order", "ifog", "layers.0.gate_order", "found 'ifog', expected 'ifgo'"),
        ("input.rank", 3, "layers.0.input.rank", "expected no field of this name"),
        ("hidden_size", True, "layers.0.hidden_size", "found True, expected an integer"),
        ("hidden_size", 0, "layers.0.hidden_size", "found 0, expected more than 0"),
        ("hidden_size", 2**30, "layers.0.hidden_size", "expected at most 16777216"),
        ("input.in_modes", [3, 3], "layers.0.input", "product 9, expected product 6 (input_size)"),
        ("hidden.in_modes", [4, 4], "layers.0.hidden", "product 16, expected product 8"),
        ("hidden.out_modes", [8, 8], "layers.0.hidden", "product 64, expected product 32"),
        ("input.out_modes", [2, 16], "layers.0.input", "first out_mode 2, expected a multiple"),
        ("input.out_modes", [8, 2, 2], "layers.0.input", "2 in_modes and 3 out_modes, expected eq"),
        ("input.out_modes", [], "layers.0.input", "expected at least one of each"),
        ("input.out_modes", 32, "layers.0.input.out_modes", "found 32, expected a list"),
        ("input.ranks", [1, 3, 3, 1], "layers.0.input", "found 4 ranks, expected 3 for 2 cores"),
        ("input.ranks", [1, 3, 2], "layers.0.input", "ends 1 and 2, expected 1 and 1"),
        ("input.ranks", [1, 0, 1], "layers.0.input.ranks.1", "found 0, expected more than 0"),
        ("input.ranks", [1, 2**24, 1], "layers.0.input", "elements in core G0, expected at most"),
        ("input", {"format": "dense", "ranks": [1, 1]}, "layers.0.input", "expected none"),
        ("input", {"format": "dense", "in_modes": [2, 3]}, "layers.0.input", "expected none"),
        ("input", {"format": "dense", "in_modes": [5]}, "layers.0.input", "expected product 6"),
        ("input", [], "layers.0.input", "found a list, expected a mapping"),
    ],
)
def test_wrong_layer_field_is_named_in_one_line(
    path: str, value: object, field: str, message: str
) -> None:
    with pytest.raises(ModelError) as error:
        parse_spec(changed(path, value), "a.yaml")
    text = str(error.value)
    assert text.startswith(f"a.yaml: {field}: found ")
    assert message in text
    assert "; " in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version: found 2, expected 1"),
        ({"name": ""}, "name: found"),
        ({"layers": []}, "layers: found 0 entries, expected at least 1"),
        ({"layers": [raw_spec()["layers"][0]] * 2}, "layers: found 2 entries, expected at most 1"),
        ({"head": {"out_size": -1}}, "head.out_size: found -1, expected more than 0"),
        ({"heads": {}}, "heads: found a dict, expected no field of this name"),
        ({1: 2}, "found 1, expected"),
    ],
)
def test_wrong_model_field_is_named_in_one_line(change: dict[Any, Any], message: str) -> None:
    with pytest.raises(ModelError) as error:
        parse_spec(raw_spec() | change, "a.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_dense_matrix_beyond_the_limit_is_refused() -> None:
    raw = changed("input_size", 2**24, "dense")
    with pytest.raises(ModelError, match="use format mpo or mps"):
        parse_spec(raw, "a.yaml")


@pytest.mark.parametrize("raw", [None, [], 3, "text"])
def test_spec_that_is_no_mapping_is_refused(raw: object) -> None:
    with pytest.raises(ModelError, match="expected a mapping"):
        parse_spec(raw, "a.yaml")
