"""Reports against sums over single simulated runs, and against what arithmetic says."""

from __future__ import annotations

import numpy as np
import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.compiler import report
from einchip.energy import Energy
from einchip.models import Sequences
from einchip.sim import simulate
from tests.compiler.helpers import compiled_small, machine, sequences, small_models, vowels

LENGTHS = (3, 1, 4, 3)


def test_performance_is_the_sum_over_single_runs() -> None:
    compiled, table = compiled_small(), energy.load("horowitz45")
    found = report.performance(compiled.spec, compiled.mapping, LENGTHS, table)
    places = compiled.places(max(LENGTHS))
    runs = [
        simulate(
            compiled.programs.run, compiled.arch, memory=compiled.memory(max(LENGTHS)),
            host=compiled.host(n, places), fetch=False,
        )
        for n in LENGTHS
    ]  # fmt: skip
    total = {name: sum(r.counters[name] for r in runs) for name in runs[0].counters}
    assert found.cycles * len(LENGTHS) == total["cycles"]
    assert sum(found.array.values()) == pytest.approx(found.cycles)
    assert found.array["array_issue"] * len(LENGTHS) == total["array_issue"]
    spent: Energy = energy.energy(total, compiled.arch, table)
    assert sum(found.energy_pj.values()) * len(LENGTHS) == pytest.approx(spent.total_pj)
    assert found.mean_steps == np.mean(LENGTHS)
    assert found.ratio == found.cycles / found.bound >= 1


def test_bound_of_a_dense_layer_is_its_weights_per_lane() -> None:
    # Every weight is used once a step: 8 lanes bring 8 weights a cycle; 64 PEs could do more.
    spec, arch = vowels("dense").spec, PRESETS["small"]
    head = 9 * 64
    for n_steps in (1, 7):
        assert report.sequence_bound(spec, arch, n_steps) == (n_steps * 256 * 76 + head) // 8


def test_bound_is_that_of_the_memory_port_where_it_is_slower() -> None:
    spec = vowels("mps").spec
    arch = PRESETS["base"].override(rows=64, cols=64, lanes=64, x_depth=512, y_depth=512)
    narrow = arch.override(port_bytes=4)
    assert report.sequence_bound(spec, narrow, 100) >= (12 * 100 + 9) / 4


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
    model = small_models()["mpo"]
    report.figures(
        model, machine("nano"), labelled, labelled, energy.load("zigzag"),
        told.append,
    )  # fmt: skip
    assert told == [f"{model.spec.name}, {bits} bit" for bits in (8, 8, 16, 16)]
