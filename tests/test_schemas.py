"""The committed schemas; oracles: the code, the YAML files here, and an independent checker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from einchip import arch, energy, schemas, workloads
from einchip.arch import PRESETS, ArchError
from einchip.energy import EnergyError
from einchip.explore import space
from einchip.explore.errors import ExploreError
from einchip.models import ModelError, load_model
from einchip.schemas import make
from tests.cli.helpers import ROOT, invoke, succeeded
from tests.models.helpers import raw_spec

#: Where the YAML files of each kind are.
FILES: Final = {
    "architecture": [],
    "model": ["examples/*.yaml"],
    "workloads": ["src/einchip/workloads/*.yaml", "src/einchip/compare/*.yaml"],
    "energy": ["src/einchip/energy/*.yaml"],
    "space": ["examples/explore/*.yaml"],
}
FOUND: Final = [
    (kind, path) for kind, globs in FILES.items() for g in globs for path in sorted(ROOT.glob(g))
]
GOOD: Final[dict[str, Any]] = {
    "architecture": {"preset": "nano", "x_depth": 4096},
    "model": {**raw_spec(), "weights": {"random": 1}},
    "workloads": [
        {"name": "a", "format": "mpo", "in_modes": {"W": [4, 4]}, "out_modes": {"W": [4, 4]},
         "ranks": [1, 2, 1], "layer": {"cell": "gru"}, "accuracy": "0.9"},
    ],
    "energy": yaml.safe_load((ROOT / "src/einchip/energy/horowitz45.yaml").read_text()),
    "space": {
        "parameters": {
            "rows": [2, 4], "cols": {"powers_of_two": [2, 8]}, "fold": ["op"],
            "x_depth": {"from": 1024, "to": 4096, "step": 1024},
        },
        "formats": ["as given", {"format": "mps", "ratio": [4, 2.5]}],
    },
}  # fmt: skip


READERS: Final[dict[str, Callable[[str], object]]] = {
    "architecture": arch.load, "model": load_model, "energy": energy.load,
    "space": lambda name: space.read(Path(name)),
}  # fmt: skip


def errors(kind: str, value: object) -> list[str]:
    """Return what an independent checker finds in a value, as an editor would show it."""
    validator = Draft202012Validator(json.loads(schemas.text(kind)))
    return [e.message for e in validator.iter_errors(json.loads(json.dumps(value)))]


@pytest.mark.parametrize("kind", schemas.NAMES)
def test_committed_schemas_are_those_of_the_code(kind: str) -> None:
    assert schemas.text(kind) == make.text(kind), "python -m einchip.schemas"
    Draft202012Validator.check_schema(json.loads(schemas.text(kind)))
    assert list(make.MAKERS) == list(schemas.NAMES)


def test_the_files_here_are_found() -> None:
    assert {kind for kind, _ in FOUND} == {"model", "workloads", "energy", "space"}
    assert len(FOUND) >= 7


@pytest.mark.parametrize(("kind", "path"), FOUND, ids=lambda x: getattr(x, "stem", x))
def test_files_here_fit_their_schema(kind: str, path: Path) -> None:
    assert errors(kind, yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_written_out_is_a_file(name: str) -> None:
    assert errors("architecture", PRESETS[name].model_dump()) == []


@pytest.mark.parametrize("kind", schemas.NAMES)
def test_good_files_fit(kind: str) -> None:
    assert errors(kind, GOOD[kind]) == []


def refuses(kind: str, path: Path) -> bool:
    """Tell whether the code refuses a file."""
    try:
        if kind == "workloads":
            [entry] = workloads.read(path)
            return isinstance(entry.matrices[0], workloads.Refused)
        READERS[kind](str(path))
    except (ArchError, EnergyError, ExploreError, ModelError):
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("architecture", "preset", "nanoo"),
        ("architecture", "x_dept", 4096),
        ("architecture", "rows", 0),
        ("architecture", "data_bits", 12),
        ("architecture", "fold", "flexible"),
        ("model", "weights", {"random": -1}),
        ("model", "weights", {"seed": 1}),
        ("model", "nmae", "x"),
        ("model", "output", "all"),
        ("workloads", "format", "mpp"),
        ("workloads", "ranks", [1, -2, 1]),
        ("workloads", "tensors", 3),
        ("space", "parameter", {}),
        ("space", "parameters", {"rows": 4}),
        ("space", "parameters", {"rows": {"from": 4}}),
        ("space", "formats", ["as is"]),
        ("space", "search", {"method": "genetic"}),
        ("space", "steps", 0),
        ("energy", "sourc", "x"),
        ("energy", "source", ""),
        ("energy", "dram", {"unit": "pJ"}),
    ],
)
def test_what_a_schema_refuses_the_code_refuses(
    tmp_path: Path, kind: str, place: str, value: object
) -> None:
    raw = json.loads(json.dumps(GOOD[kind]))
    (raw[0] if isinstance(raw, list) else raw)[place] = value
    path = tmp_path / "file.yaml"
    path.write_text(json.dumps(raw))
    assert errors(kind, raw)
    assert refuses(kind, path)


def test_a_machine_without_preset_needs_every_field_without_default() -> None:
    assert errors("architecture", {"rows": 4})
    fields = {"rows": 4, "cols": 4, "lanes": 4, "x_depth": 16, "y_depth": 16, "port_bytes": 4}
    assert errors("architecture", fields) == []


@pytest.mark.parametrize("kind", schemas.NAMES)
def test_the_verb_prints_the_schema(kind: str) -> None:
    assert json.loads(succeeded(invoke("schema", kind))) == make.schema(kind)
