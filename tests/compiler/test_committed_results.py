"""The committed figures of the example: what is promised holds, and they are those of this code.

Accuracies are compared with the promise only; everything else is computed again.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import pytest

from einchip import energy
from einchip.arch import PRESETS, Architecture
from einchip.compiler import report
from einchip.compiler.compiled import map_model
from tests.compiler.helpers import KINDS, VOWELS, labelled, vowels

ARCH: Final = PRESETS["small"]
RESULTS: Final = VOWELS / "results" / "small.json"
#: How to write them again.
COMMAND: Final = (
    "einchip run examples/japanese_vowels --arch small "
    "--json examples/japanese_vowels/results/small.json"
)


@cache
def committed() -> dict[str, Any]:
    """Return the figures of all models, by format."""
    content = json.loads(RESULTS.read_text())
    assert Architecture.model_validate(content["arch"]) == ARCH
    return {m["name"].rpartition("-")[2]: m for m in content["models"]}


def test_results_are_of_all_models_and_all_sequences() -> None:
    assert set(committed()) == set(KINDS)
    assert {m["n_sequences"] for m in committed().values()} == {370}


@pytest.mark.parametrize(("bits", "points"), [("8", 1.0), ("16", 0.3)])
@pytest.mark.parametrize("kind", KINDS)
def test_fixed_point_keeps_the_promised_accuracy(kind: str, bits: str, points: float) -> None:
    m = committed()[kind]
    assert 100 * abs(m["accuracy_float"] - m["accuracy_fixed"][bits]) <= points


@pytest.mark.parametrize("kind", ["mpo", "mps"])
def test_compressed_models_keep_the_accuracy_with_a_tenth_of_the_weights(kind: str) -> None:
    m, dense = committed()[kind], committed()["dense"]
    pairs = [(m["accuracy_float"], dense["accuracy_float"])]
    pairs += [(m["accuracy_fixed"][b], dense["accuracy_fixed"][b]) for b in ("8", "16")]
    assert all(100 * (there - here) <= 2 for here, there in pairs)
    assert 10 * m["weights"] <= dense["weights"]
    assert m["weights_ratio"] == dense["weights"] / m["weights"]


@pytest.mark.parametrize("kind", KINDS)
def test_cycles_macs_bound_and_energy_are_those_of_this_code(kind: str) -> None:
    spec = vowels(kind).spec
    lengths = [len(s) for s in labelled("test").sequences]
    table = energy.load(committed()[kind]["energy_table"])
    found = report.performance(spec, map_model(spec, ARCH), lengths, table).to_json()
    expected = {name: committed()[kind][name] for name in found}
    assert json.loads(json.dumps(found)) == expected, f"write them again: {COMMAND}"
