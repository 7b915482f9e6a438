"""Streams of workloads against the roofline; the committed results, which may not get worse."""

import json
import math
from pathlib import Path
from typing import Any, Final

import pytest

from einchip.arch import PRESETS, Architecture
from einchip.models import MatrixSpec
from einchip.network import Network
from einchip.workloads import Workload, published
from einchip.workloads.batches import divisors
from einchip.workloads.bench import (
    CAUSES,
    StreamFigures,
    Summary,
    batched,
    measure_stream,
    with_port,
)
from einchip.workloads.bench_page import page
from einchip.workloads.layers import LayerFigures, layers, measure_layer

RESULTS: Final = Path(__file__).parents[2] / "bench" / "results.json"
COMMITTED: Final[dict[str, Any]] = json.loads(RESULTS.read_text())
RUNS: Final = [pytest.param(run, id=f"{run['batch']}x{run['port_bytes']}")
               for run in COMMITTED["runs"]]  # fmt: skip
MATRICES: Final = {m.name: m for e in published() for m in e.matrices}
#: How much worse a ratio may become, and every how manieth row is measured on every change.
SLACK: Final = 1.02
STRIDE: Final = 13
SMALL: Final = Workload(
    "small",
    MatrixSpec(format="mpo", in_modes=(4, 6), out_modes=(8, 4), ranks=(1, 3, 1)),
)


def measured(row: dict[str, Any], run: dict[str, Any]) -> StreamFigures:
    """Measure a committed row anew, on the architecture of the file."""
    arch = Architecture.model_validate(COMMITTED["architecture"])
    matrix = MATRICES[row["name"]]
    assert isinstance(matrix, Workload)
    found = measure_stream(matrix, with_port(arch, run["port_bytes"]), run["batch"], cold=False)
    assert isinstance(found, StreamFigures)
    return found


@pytest.mark.parametrize("run", RUNS)
def test_no_ratio_gets_worse(run: dict[str, Any]) -> None:
    for row in run["rows"][::STRIDE]:
        found = measured(row, run)
        assert found.bound_cycles == row["bound_cycles"]
        assert found.ratio <= row["ratio"] * SLACK, row["name"]


@pytest.mark.nightly
@pytest.mark.parametrize("run", RUNS)
def test_no_ratio_of_any_workload_gets_worse(run: dict[str, Any]) -> None:
    worse = [r["name"] for r in run["rows"] if measured(r, run).ratio > r["ratio"] * SLACK]
    assert worse == []


def layers_got_worse(run: dict[str, Any], stride: int) -> list[str]:
    """Return the committed layers, every `stride`th of a run, that take longer now."""
    arch = Architecture.model_validate(COMMITTED["architecture"])
    arch = with_port(arch, run["port_bytes"])
    made = {layer.name: layer for layer in layers(published(), run["batch"])}
    found = []
    for row in (r for r in run["layers"][::stride] if "error" not in r):
        figures = measure_layer(made[row["name"]], arch)
        assert isinstance(figures, LayerFigures)
        assert figures.bound_cycles == row["bound_cycles"]
        found += [row["name"]] if figures.ratio > row["ratio"] * SLACK else []
    return found


def test_no_layer_gets_worse() -> None:
    assert layers_got_worse(COMMITTED["runs"][0], STRIDE) == []


@pytest.mark.nightly
@pytest.mark.parametrize("run", RUNS)
def test_no_layer_of_any_workload_gets_worse(run: dict[str, Any]) -> None:
    assert layers_got_worse(run, 1) == []


def test_the_results_are_of_the_preset_and_have_every_matrix_and_layer() -> None:
    assert Architecture.model_validate(COMMITTED["architecture"]) == PRESETS["base"]
    for run in COMMITTED["runs"]:
        assert [row["name"] for row in run["rows"]] == list(MATRICES)
        named = [layer.name for layer in layers(published(), run["batch"])]
        assert [row["name"] for row in run["layers"]] == named


def test_the_page_is_printed_from_the_results() -> None:
    assert RESULTS.with_suffix(".md").read_text() == page(COMMITTED)


@pytest.mark.parametrize("run", RUNS)
def test_rows_add_up(run: dict[str, Any]) -> None:
    for row in run["rows"]:
        assert row["ratio"] == pytest.approx(row["cycles"] / row["bound_cycles"], abs=1e-4)
        assert set(row["loss"]) == set(CAUSES)
        assert sum(row["loss"].values()) == pytest.approx(
            row["cycles"] - row["bound_cycles"], abs=1
        )
    summary = Summary.of([row["ratio"] for row in run["rows"]])
    assert run["summary"] == vars(summary)


def test_a_stream_is_not_slower_than_its_execution_alone() -> None:
    found = measure_stream(SMALL, PRESETS["base"])
    assert isinstance(found, StreamFigures)
    assert found.cold_cycles is not None
    assert found.cycles <= found.cold_cycles
    assert found.copy_cycles == 0


@pytest.mark.parametrize("batch", [2, 6])
def test_a_batch_takes_no_longer_than_its_inputs_one_by_one(batch: int) -> None:
    alone, together = (measure_stream(SMALL, PRESETS["small"], n) for n in (1, batch))
    assert isinstance(alone, StreamFigures)
    assert isinstance(together, StreamFigures)
    assert batch % together.micro_batch == 0
    assert together.cycles <= alone.cycles * batch * 1.001


def test_a_batched_network_is_the_same_for_each_input() -> None:
    """The oracle is the network without a batch."""
    network = Network({"x": ("i", "j"), "w": ("i", "j", "o")}, {"i": 2, "j": 3, "o": 4}, ("o",))
    many = batched(network, 5)
    assert many.tensors == {"x": ("i", "j", "batch"), "w": ("i", "j", "o")}
    assert many.output == ("o", "batch")
    assert batched(network, 1) == network


def test_divisors_are_the_ways_to_divide_a_batch_evenly() -> None:
    assert divisors(12) == [n for n in range(12, 0, -1) if math.gcd(n, 12) == n]
