"""Stacks whose weights do not fit together: those of some phases are loaded in every run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from einchip.arch import PRESETS
from einchip.mapper import CellKind, MappingError, map_model
from einchip.program import Load
from einchip.sim import simulate
from tests.mapper.cases import WIDE, mpo
from tests.mapper.models import dense_layer, dense_linear, last, layer, sequence
from tests.mapper.run_model import check_model

#: Room for the weights of one of the layers below, with what it needs beside them.
TIGHT = WIDE["nano"].override(x_depth=256, y_depth=256, program_words=1024)
LSTM, GRU = CellKind.LSTM, CellKind.GRU_BEFORE
OUTS = (32, 4)
STACKS = {
    "two": last(dense_layer("layers.0", LSTM, 10, 12), dense_layer("layers.1", LSTM, 12, 12)),
    "head": sequence(
        dense_layer("layers.0", LSTM, 12, 12), dense_layer("layers.1", GRU, 12, 12),
        dense_linear("layers.2", 12, 5),
    ),
    "both ways": last(dense_layer("layers.0", LSTM, 10, 12, 2)),
    "mpo": last(
        *(
            layer(f"layers.{k}", LSTM, 32, (mpo("x", (8, 4), OUTS, 4), mpo("h", (8, 4), OUTS, 4)))
            for k in range(3)
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_whose_weights_do_not_fit_together_equals_numpy(name: str) -> None:
    arch = TIGHT.override(x_depth=512, y_depth=512) if name == "mpo" else TIGHT
    mapping = check_model(STACKS[name], arch)
    reloading = mapping.mapped.reloading
    assert reloading
    weights = [r.n_bytes(arch) for p in reloading for _, r in p.weights().values()]
    assert mapping.reloaded_bytes == sum(weights) > 0
    told = mapping.to_json()
    assert told["reloaded_bytes_per_run"] == mapping.reloaded_bytes
    assert [p["weights_reloaded"] for p in told["phases"]].count(True) == len(reloading)


def test_with_more_room_all_weights_stay() -> None:
    mapping = map_model(STACKS["two"], TIGHT.override(x_depth=512, y_depth=512))
    assert mapping.mapped.reloading == []
    assert mapping.reloaded_bytes == 0


def test_the_phases_with_the_fewest_weights_are_reloaded() -> None:
    sizes = ((12, 12), (12, 7), (7, 8))
    stack = last(*(dense_layer(f"layers.{k}", LSTM, *size) for k, size in enumerate(sizes)))
    reloading = map_model(stack, TIGHT).mapped.reloading
    assert [phase.prefix for phase in reloading] == ["layers.1", "layers.2"]


def test_setup_loads_what_stays_and_every_run_the_rest() -> None:
    mapping = map_model(STACKS["two"], TIGHT)
    programs = mapping.emit()
    moved = [
        sum(i.beats * TIGHT.port_bytes for i in program.instructions if isinstance(i, Load))
        for program in (programs.setup, programs.run)
    ]
    assert moved[0] == mapping.weights_bytes - mapping.reloaded_bytes
    assert moved[1] > mapping.reloaded_bytes


def test_reloading_costs_a_cycle_of_the_port_for_each_beat() -> None:
    """Against the same machine with more room, as the simulator counts."""
    transfers = []
    for arch in (TIGHT, TIGHT.override(x_depth=1024, y_depth=1024)):
        mapping = map_model(STACKS["two"], arch)
        host = mapping.host(20, 0, 1 << 20, 1 << 24, 1 << 25)
        run = simulate(mapping.emit().run, arch, host=host, fetch=False)
        transfers.append(run.counters["load_transfer"])
        assert mapping.cycles(20) == pytest.approx(run.cycles, rel=0.01)
    reloaded = map_model(STACKS["two"], TIGHT).reloaded_bytes // TIGHT.port_bytes
    assert transfers[0] == transfers[1] + reloaded


def test_a_phase_that_does_not_fit_alone_is_refused() -> None:
    with pytest.raises(MappingError, match="scratchpad"):
        map_model(STACKS["two"], TIGHT.override(x_depth=64, y_depth=64))


def test_sequences_side_by_side_are_reloaded_for_once() -> None:
    mapping = check_model(replace(STACKS["two"], batch=2), TIGHT)
    one = map_model(STACKS["two"], TIGHT)
    assert mapping.reloaded_bytes == pytest.approx(one.reloaded_bytes, rel=0.1)  # biases twice


def test_presets_hold_the_smallest_stack() -> None:
    assert map_model(STACKS["two"], PRESETS["small"]).reloaded_bytes == 0
