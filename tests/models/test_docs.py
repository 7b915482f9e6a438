"""The examples in the pages of formats and files; the oracle is the code that reads them."""

import json
import re
from math import prod
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml

from einchip.models import (
    GATE_ORDER,
    BtRanks,
    MatrixSpec,
    core_shapes,
    load_model,
    n_weights,
    parse_spec,
    random_model,
    tensor_shapes,
)
from einchip.models.schema import model_schema
from einchip.models.spec import Format, fitted
from tests.models.json_schema import valid

DOCS = Path(__file__).parents[2] / "docs"
FORMATS = (DOCS / "formats.md").read_text()
FILE = (DOCS / "model-file.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.S)


EXAMPLES: list[dict[str, Any]] = [yaml.safe_load(block) for block in blocks(FORMATS, "yaml")]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e["example"]["format"])
def test_example_of_a_format_has_the_stated_tensors_and_weights(example: dict[str, Any]) -> None:
    n_gates = example.get("gates", 1)
    spec = MatrixSpec.model_validate(example["example"])
    if n_gates > 1:
        spec = fitted(spec, 6, 8, n_gates, ("x", "h"))
    shapes = {name: list(shape) for name, shape in core_shapes(spec, n_gates).items()}
    assert list(shapes.items()) == list(example["tensors"].items())
    assert n_weights(spec, n_gates) == example["weights"]


def test_every_format_has_a_section_with_an_example() -> None:
    sections = re.findall(r"^## (\w+)$", FORMATS, re.M)
    formats = list(get_args(Format))
    assert [s for s in sections if s != "Gates"] == [f for f in sections if f in formats]
    assert set(formats) <= set(sections)
    assert {e["example"]["format"] for e in EXAMPLES} == set(formats)


def formula(spec: MatrixSpec) -> int:
    """The last column of the table of formats, for one network of all rows."""
    i, o, ranks = spec.in_modes, spec.out_modes, spec.ranks
    pairs = [a * b for a, b in zip(i, o, strict=False)]
    if isinstance(ranks, int):
        sums = {"lowrank": prod(i) + prod(o), "cp": sum(i) + sum(o), "kronecker": sum(pairs)}
        return ranks * sums[spec.format]
    if isinstance(ranks, tuple):
        if spec.format == "tucker" and len(ranks) == 2:
            q, p = ranks
            return i[0] * q + q * p * prod(i[1:]) + p * prod(o)
        if spec.format == "tucker":
            return sum(m * q for m, q in zip(i + o, ranks, strict=True)) + prod(ranks)
        sizes = {"mpo": pairs, "mps": [*o, *i], "tr": [*i, *o]}.get(spec.format, [])
        closed = (*ranks, ranks[0]) if spec.format == "tr" else ranks
        train = sum(closed[k] * m * closed[k + 1] for k, m in enumerate(sizes))
        return train or prod(i) * prod(o)
    assert isinstance(ranks, BtRanks)
    terms = sum(p * r for p, r in zip(pairs, ranks.tucker, strict=True))
    return ranks.blocks * (terms + prod(ranks.tucker))


def test_weights_of_the_examples_are_those_of_the_table() -> None:
    plain = [e for e in EXAMPLES if "gates" not in e]
    counted = [e for e in plain if e["example"]["format"] not in ("ht", "einsum")]
    assert len(counted) >= 10
    for e in counted:
        assert formula(MatrixSpec.model_validate(e["example"])) == e["weights"]


def test_json_of_the_file_page_is_a_model_that_fits_the_schema() -> None:
    (text,) = blocks(FILE, "json")
    raw, schema = json.loads(text), model_schema()
    assert valid(raw, schema, schema)
    spec = parse_spec(raw, "docs/model-file.md")
    for name in tensor_shapes(spec):
        assert f"`{name}`" in FILE


def test_yaml_of_the_file_page_loads(tmp_path: Path) -> None:
    (text,) = blocks(FILE, "yaml")
    (tmp_path / "m.yaml").write_text(text)
    model = load_model(tmp_path / "m.yaml")
    assert model.run(np.zeros((3, model.spec.input_size))).shape == (model.spec.out_size,)
    same = random_model(model.spec, yaml.safe_load(text)["weights"]["random"])
    for name, tensor in model.tensors.items():
        np.testing.assert_array_equal(tensor, same.tensors[name])


def test_python_of_the_file_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (text,) = blocks(FILE, "python")
    (spec,) = blocks(FILE, "json")
    (tmp_path / "spec.json").write_text(spec)
    exec(compile(text, "docs/model-file.md", "exec"), {})
    assert load_model(tmp_path / "model.safetensors").spec == parse_spec(json.loads(spec), "docs")


def test_gate_orders_of_the_file_page_are_those_of_the_code() -> None:
    for cell, order in GATE_ORDER.items():
        assert f"| `{cell}` | {', '.join(order)} |" in FILE


def test_every_field_of_the_schema_is_in_the_file_page() -> None:
    for name, definition in model_schema()["$defs"].items():
        if name in ("RecurrentSpec", "LinearSpec", "EmbeddingSpec", "MatrixSpec"):
            for field in definition["properties"]:
                assert f"`{field}`" in FILE, (name, field)
    for field in model_schema()["properties"]:
        assert f"`{field}`" in FILE
