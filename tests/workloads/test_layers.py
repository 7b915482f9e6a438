"""Layers made of published matrices: what they are, and their figures against the simulator."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from einchip.arch import PRESETS
from einchip.compiler.merged import merge_spec
from einchip.compiler.problem import problem_of
from einchip.mapper import map_model
from einchip.models import MatrixSpec, ModelSpec, RecurrentSpec, n_weights
from einchip.program import Copy
from einchip.reference import Host
from einchip.sim import simulate
from einchip.workloads import Refused, published, read
from einchip.workloads.layers import (
    Layer,
    LayerFigures,
    layers,
    measure_layer,
    measure_layers,
    per_step,
)

BASE = PRESETS["base"]
#: A step's cycles less its bound are these causes and nothing else.
CAUSES = {"fold", "drain", "port", "token", "setup", "idle"}


def published_layers(part: str, batch: int = 1) -> list[Layer]:
    every = layers(published(), batch)
    found = [x for x in every if isinstance(x, Layer) and part in x.name]
    assert found
    return found


def recurrent(layer: Layer) -> RecurrentSpec:
    spec = layer.spec.layers[0]
    assert isinstance(spec, RecurrentSpec)
    return spec


def test_every_entry_that_compresses_a_matrix_is_a_layer() -> None:
    entries = [e for e in published() if "compresses" in e.facts]
    assert [x.name for x in layers(published())] == [e.name for e in entries]
    assert not [x for x in layers(published()) if isinstance(x, Refused)]


@pytest.mark.parametrize(
    ("name", "cell", "sizes", "weights"),
    [
        # Yang et al. 2017: 57,600 pixels, 256 units, the hidden matrix dense.
        ("TT-LSTM UCF11 160x120x3 rank4", "lstm", (57600, 256), 3360 + 256 * 1024),
        ("TT-GRU UCF11 160x120x3 rank4", "gru", (57600, 256), 3232 + 256 * 768),
        ("TTL (single gate) UCF11 rank4", "rnn", (57600, 256), 2976 + 256 * 256),
        # tednet: 2048 features, 2048 units, both matrices alike: 64 * 128 * 10 + 10 * 32 * 64 each.
        ("tednet TT-LSTM UCF11 features 2048->2048", "lstm", (2048, 2048), 2 * 102400),
        # FT-LSTM, rank 1: cores 5 * 48 + 8 * 64 and 24 * 48 + 32 * 64.
        ("FT-LSTM speaker verification 40->768 2 cores rank 1", "lstm", (40, 768), 752 + 3200),
        # One train over [x; h]: 10*40*10 + 2 * 100*36 + ... counted from its four cores.
        (
            "fully decomposed TT-LSTM PTB 1500 hidden, layer rank 10", "lstm", (1500, 1500),
            10 * 40 * 10 + 10 * 6 * 6 * 10 + 10 * 5 * 5 * 10 + 10 * 10 * 5,
        ),
    ],
)  # fmt: skip
def test_layers_have_the_published_shapes(
    name: str, cell: str, sizes: tuple[int, int], weights: int
) -> None:
    [layer] = [x for x in published_layers(name) if x.name == name]
    found = recurrent(layer)
    assert (found.cell, (found.input_size, found.hidden_size)) == (cell, sizes)
    assert sum(n_weights(m, found.n_gates) for m in found.matrices.values()) == weights


@pytest.mark.parametrize("part", ["FT-LSTM row-MNIST 28->256 2 cores rank 4", "Fig.2 bond 5"])
def test_cycles_and_causes_are_the_simulators(part: str) -> None:
    [layer] = published_layers(part)
    figures = measure_layer(layer, BASE)
    assert isinstance(figures, LayerFigures)
    program = map_model(problem_of(layer.spec), BASE).emit().run
    host = [Host((0, 1 << 20, 1 << 24, 1 << 25), (n, 0, 0, 0)) for n in (10, 11)]
    runs = [simulate(program, BASE, host=h, fetch=False) for h in host]
    assert figures.cycles_per_step == runs[1].cycles - runs[0].cycles
    assert set(figures.loss) == CAUSES
    told = figures.bound_cycles + sum(figures.loss.values())
    assert told == pytest.approx(figures.cycles_per_step)
    assert figures.ratio > 1


#: Four cores; through the wide bond in the middle an input takes more work than by a dense matrix.
MPO_OF_MUCH_WORK = {
    "format": "mpo",
    "in_modes": [4, 4, 4, 4],
    "out_modes": [16, 4, 4, 4],
    "ranks": [1, 16, 48, 16, 1],
}


def dense_entry(**layer: Any) -> dict[str, Any]:
    return {
        "name": "dense", "format": "dense", "in_modes": [12], "out_modes": [96], "layer": layer,
    }  # fmt: skip


def of_file(tmp_path: Path, *entries: dict[str, Any]) -> list[LayerFigures | Refused]:
    path = tmp_path / "layers.yaml"
    path.write_text(yaml.safe_dump(list(entries)))
    return measure_layers(read(path), BASE)


def test_bounds_of_a_dense_lstm_are_counted_by_hand(tmp_path: Path) -> None:
    [f] = of_file(tmp_path, dense_entry(cell="lstm"))
    assert isinstance(f, LayerFigures)
    # 24 units: every weight is read once, 16 a cycle; two vectors of i, f, g, o, the planes
    # of the state beside two of them.
    assert f.compute_cycles == (12 * 96 + 24 * 96) / 16
    assert f.vector_bound_cycles == math.ceil(24 / 16) * 4
    assert f.port_cycles == 12 / 16
    assert f.bound_cycles == f.compute_cycles
    assert f.copy_cycles == 0


def test_bounds_of_a_batch_are_counted_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "layers.yaml"
    path.write_text(yaml.safe_dump([dense_entry(cell="lstm")]))
    [f] = measure_layers(read(path), BASE, batch=16)
    assert isinstance(f, LayerFigures)
    # Of the input matrix the results decide, 96 * 16 of them, of the hidden one the products.
    assert f.compute_cycles == 96 * 16 / 16 + 24 * 96 * 16 / 256
    assert f.vector_bound_cycles == 24 * 4
    assert f.port_cycles == 12
    assert f.ratio > 1


def test_a_batch_is_divided_where_runs_one_after_the_other_are_quicker() -> None:
    """Gates of 16 sequences of this layer are larger than 1,024 rows, of fewer they are not."""
    [layer] = published_layers("row-MNIST 28->256 2 cores rank 1", 16)
    arch = BASE.override(x_window=1024, y_window=1024)
    figures = measure_layer(layer, arch)
    assert isinstance(figures, LayerFigures)
    assert 1 < figures.micro_batch < 16
    mappings = [map_model(layer.problem(n), arch) for n in (16, figures.micro_batch)]
    whole, part = (per_step(m.emit().run, m)["cycles"] for m in mappings)
    assert figures.cycles_per_step == part * 16 / figures.micro_batch < whole
    told = figures.bound_cycles + sum(figures.loss.values())
    assert told == pytest.approx(figures.cycles_per_step)


def test_weights_are_merged_where_that_is_quicker(tmp_path: Path) -> None:
    """Of 4 sequences a dense matrix takes less work than an MPO of this rank, and fits."""
    path = tmp_path / "layers.yaml"
    path.write_text(yaml.safe_dump([{**dense_entry(), **MPO_OF_MUCH_WORK}]))
    [layer] = layers(read(path), 4)
    assert isinstance(layer, Layer)
    figures = measure_layer(layer, BASE)
    assert isinstance(figures, LayerFigures)
    assert figures.merged
    n = figures.micro_batch
    problems = problem_of(merge_spec(layer.spec, BASE, n), n), layer.problem(n)
    mappings = [map_model(problem, BASE) for problem in problems]
    merged, plain = (per_step(m.emit().run, m)["cycles"] for m in mappings)
    assert figures.cycles_per_step == merged * 4 / n < plain * 4 / n


def test_the_copy_of_a_plain_rnn_is_told(tmp_path: Path) -> None:
    [f] = of_file(tmp_path, dense_entry(cell="rnn"))
    assert isinstance(f, LayerFigures)
    assert f.vector_bound_cycles == 0
    assert f.copy_cycles == 96 // 16 - 1 + Copy.LATENCY + 1


def test_what_makes_no_layer_is_refused_in_one_line(tmp_path: Path) -> None:
    entries = [
        dense_entry(cell="gated"), dense_entry(hidden="U"), dense_entry(cell="lstm", gates=3),
        dense_entry(cell="gru") | {"out_modes": [97]}, dense_entry(hidden="same"),
    ]  # fmt: skip
    found = of_file(tmp_path, *entries)
    for row, wanted in zip(
        found, ("cell", "expected one called dense U", "gates", "3 gates", "in_modes"), strict=True
    ):
        assert isinstance(row, Refused)
        assert wanted in row.error
        assert "\n" not in row.error


def test_an_entry_without_a_layer_has_none(tmp_path: Path) -> None:
    entry = dense_entry()
    del entry["layer"]
    assert of_file(tmp_path, entry) == []


def test_a_layer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    spec = MatrixSpec(format="dense", in_modes=(900,), out_modes=(3600,))
    model = ModelSpec(
        name="large",
        layers=(RecurrentSpec(input_size=900, hidden_size=900, input=spec, hidden=spec),),
    )
    found = measure_layer(Layer("large", model), BASE)
    assert isinstance(found, Refused)
    assert "scratchpad" in found.error
