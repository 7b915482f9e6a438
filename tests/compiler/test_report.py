"""Reports against sums over single simulated runs, and against what arithmetic says."""

from __future__ import annotations

import numpy as np
import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.compiler import bound, report
from einchip.compiler.compiled import map_model
from einchip.energy import Energy
from einchip.models import Sequences
from einchip.models.spec import n_matrix_weights
from einchip.sim import simulate
from tests.compiler import cases
from tests.compiler.helpers import compiled_small, machine, sequences, vowels

LENGTHS = (3, 1, 4, 3)


def test_performance_is_the_sum_over_single_runs() -> None:
    compiled, table = compiled_small(), energy.load("horowitz45")
    found = report.performance(compiled.spec, compiled.mapping, LENGTHS, table)
    places = compiled.places(max(LENGTHS))
    runs = [
        simulate(
            compiled.programs.run, compiled.arch, memory=compiled.memory(max(LENGTHS)),
            host=places.host(n), fetch=False,
        )
        for n in LENGTHS
    ]  # fmt: skip
    total = {name: sum(r.counters[name] for r in runs) for name in runs[0].counters}
    assert found.cycles * len(LENGTHS) == total["cycles"]
    assert sum(found.array.values()) == pytest.approx(found.cycles)
    assert found.array["array_issue"] * len(LENGTHS) == total["array_issue"]
    spent: Energy = energy.energy(total, compiled.arch, table, compiled.programs.run)
    assert sum(found.energy_pj.values()) * len(LENGTHS) == pytest.approx(spent.total_pj)
    assert found.mean_steps == np.mean(LENGTHS)
    assert found.ratio == found.cycles / found.bound >= 1


def test_bound_of_a_dense_layer_is_its_weights_per_lane() -> None:
    # Every weight is used once a step: 8 lanes bring 8 weights a cycle; 64 PEs could do more.
    spec, arch = vowels("dense").spec, PRESETS["small"]
    head = 9 * 64
    for n_steps in (1, 7):
        assert bound.sequence_bound(spec, arch, n_steps) == (n_steps * 256 * 76 + head) // 8


def test_bound_is_that_of_the_memory_port_where_it_is_slower() -> None:
    spec = vowels("mps").spec
    arch = PRESETS["base"].override(rows=64, cols=64, lanes=64, x_depth=512, y_depth=512)
    narrow = arch.override(port_bytes=4)
    assert bound.sequence_bound(spec, narrow, 100) >= (12 * 100 + 9) / 4


def test_accuracy_is_the_share_of_greatest_elements_at_the_label() -> None:
    answers = [np.array([1, 5, 2]), np.array([3, 0, 0]), np.array([-1, -3, -2]), np.array([0, 1])]
    assert report.accuracy(answers, np.array([1, 0, 2, 0])) == 0.5


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["a-b-dense", "a-b-mpo", "a-b-mps"], "a-b-"),
        (["a-b-mpo", "a-b-mps"], "a-b-"),
        (["mpo", "mps"], ""),
        (["model.1", "model.2"], "model."),
        (["a-b"], ""),
        (["a-b", "a-b"], "a-"),
        (["", "a"], ""),
    ],
)
def test_common_prefix_ends_with_a_separator(names: list[str], prefix: str) -> None:
    assert report.common_prefix(names) == prefix


@pytest.mark.parametrize("preset", PRESETS)
def test_other_width_keeps_the_machine_and_narrows_the_port_at_need(preset: str) -> None:
    wide = machine(preset, 16).override(port_bytes=min(16, 2 * PRESETS[preset].lanes))
    narrow = report.of_width(wide, 8)
    assert report.of_width(wide, 16) is wide
    assert (narrow.rows, narrow.lanes, narrow.x_depth) == (wide.rows, wide.lanes, wide.x_depth)
    assert narrow.port_bytes == min(wide.port_bytes, wide.lanes)


def test_progress_is_told_for_each_width_and_sequence() -> None:
    told: list[str] = []
    given = sequences(6, (2, 1))
    labelled = Sequences(tuple(s.astype(np.float32) for s in given), np.array([0, 2]))
    model = cases.model("mpo lstm")
    report.figures(
        model, machine("nano"), labelled, labelled, energy.load("zigzag"),
        told.append,
    )  # fmt: skip
    assert told == [f"{model.spec.name}, {bits} bit" for bits in (8, 8, 16, 16)]


def test_a_model_that_is_no_classifier_has_a_ratio_for_its_answers_and_no_accuracy() -> None:
    name = "sequence"
    given = Sequences(tuple(np.asarray(s) for s in cases.sequences(name, (3, 5))), np.array([0, 0]))
    table = energy.load("horowitz45")
    found = report.figures(cases.model(name), machine("small"), given, given, table).to_json()
    assert "accuracy_float" not in found
    assert "accuracy_fixed" not in found
    assert 10 < found["answer_snr_db"][8] < found["answer_snr_db"][16] < 90


@pytest.mark.parametrize("name", cases.GRAPH_CASES)
def test_no_machine_is_faster_than_the_bound(name: str) -> None:
    spec, arch = cases.model(name).spec, machine("small")
    table = energy.load("horowitz45")
    found = report.performance(spec, map_model(spec, arch), (1, 4), table)
    assert found.ratio >= 1
    assert found.weights == sum(n_matrix_weights(spec).values()) - behind_the_loop(name)


def behind_the_loop(name: str) -> int:
    """Return the weights of linear layers that run once."""
    spec = cases.model(name).spec
    if spec.output == "sequence":
        return 0
    later = range(spec.last_recurrent + 1, len(spec.layers))
    return sum(n_matrix_weights(spec)[f"layers.{k}.weight"] for k in later)


def test_bound_of_a_model_is_that_of_its_parts() -> None:
    arch = machine("small")
    one, both = (cases.model(n).spec for n in ("no head", "bidirectional"))
    assert bound.compute_bound(both, arch) == 2 * bound.compute_bound(one, arch)
    assert bound.once_bound(one, arch) == 0
    assert bound.once_bound(both, arch) == 4 * 16 / 8
