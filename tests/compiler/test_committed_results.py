"""The committed figures of the example: what is promised holds, and they are those of this code.

Accuracies are compared with the promise only; everything else is computed again.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from functools import cache
from typing import Any, Final

import pytest

from einchip import energy
from einchip.arch import PRESETS, Architecture
from einchip.compiler import report
from einchip.compiler.compiled import map_model
from einchip.compiler.quantisation import sums
from tests.compiler.helpers import KINDS, VOWELS, compiled_vowels, labelled, vowels

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


QUANTISED: Final = VOWELS / "results" / "quantise_mpo.json"
PAGE: Final = VOWELS.parents[1] / "docs" / "quantise.md"
#: How to write them again.
QUANTISE: Final = (
    "einchip quantise examples/japanese_vowels/mpo.safetensors --sequences 370 "
    "--json examples/japanese_vowels/results/quantise_mpo.json "
    "--plot examples/japanese_vowels/results/quantise_mpo.svg"
)


@pytest.mark.parametrize("bits", [8, 16])
def test_scales_and_sums_of_the_quantisation_report_are_those_of_this_code(bits: int) -> None:
    content = json.loads(QUANTISED.read_text())
    [width] = [w for w in content["widths"] if w["data_bits"] == bits]
    compiled = compiled_vowels("mpo", "small", bits)
    found = {t["name"]: t["frac"] for t in width["tensors"]}
    expected = {n: f for n, f in compiled.fracs.items() if not n.startswith("@one")}
    assert found == expected, f"write them again: {QUANTISE}"
    assert width["sums"] == [asdict(s) for s in sums(compiled)], f"write them again: {QUANTISE}"


def test_page_shows_the_committed_quantisation_report() -> None:
    page, widths = PAGE.read_text(), json.loads(QUANTISED.read_text())["widths"]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == 8
    for step, cells in rows:
        steps = [w["steps"][int(step) - 1] for w in widths]
        shown = [str(steps[0]["n_sequences"])]
        shown += [c for s in steps for c in (f"{s['snr_db']:.1f}", f"{s['max_error']:.2g}")]
        assert cells.split(" | ") == shown
    ratios = [f"{w['answer_snr_db']:.1f}" for w in widths]
    assert f"| all answers | 370 | {ratios[0]} | | {ratios[1]} | |" in page
    most = [max(s["bits"] for s in w["sums"]) for w in widths]
    assert f"needs {most[0]} of 32 bits at 8 bit data, {most[1]} of 48 at 16" in page
