"""Predicted cycles against the simulator, and the UCF11 layer against its roofline."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from einchip.arch import CELLS, PRESETS, Architecture
from einchip.mapper.divide import Kind, ModelSearch
from einchip.mapper.errors import MappingError
from einchip.mapper.model import ModelMapping, map_model
from einchip.mapper.network import compile_network, map_network
from einchip.mapper.problem import ModelProblem
from einchip.mapper.timeline import predict, write_cycles
from einchip.mapper.timeline import step_cycles as predicted_step
from einchip.mapper.timeline_units import ArrayCycles, Slots
from einchip.network import Network
from einchip.program import Contract, Halt, Program
from einchip.sim.machine import simulate
from tests.mapper.cases import (
    LAYERS,
    UCF11,
    UCF11_DENSE_HIDDEN,
    UCF11_LAYER,
    dense,
    lstm,
    mpo,
)
from tests.mapper.models import MODELS
from tests.mapper.test_network import networks
from tests.sim.programs import MACHINES, contracts

#: The roofline of UCF11's input matrix on base, by an independent program.
UCF11_BOUND, UCF11_MACS = 7568, 1_937_408
#: Cycles by which a prediction may be off, beside the waits of transfers for scratchpads' ports,
#: which it leaves out.
MARGIN = 8


@given(network=networks(), preset=st.sampled_from(sorted(PRESETS)))
def test_a_network_takes_the_predicted_cycles_and_at_most_the_waits_for_ports(
    network: Network, preset: str
) -> None:
    arch = PRESETS[preset]
    try:
        compiled = compile_network(network, arch)
    except MappingError:
        reject()
    run = simulate(compiled.program, arch, fetch=False, check_races=True)
    left_out = run.cycles - predict(compiled.program, arch)
    waits = run.counters["load_stall_port"] + run.counters["store_stall_port"]
    assert -MARGIN <= left_out <= MARGIN + waits


@given(data=st.data(), arch=st.sampled_from(MACHINES))
def test_contracts_of_every_fold_take_the_predicted_cycles(
    data: st.DataObject, arch: Architecture
) -> None:
    drawn = data.draw(st.lists(contracts(arch), min_size=1, max_size=5))
    program = Program((*(replace(i, wait=0, signal=0) for i in drawn), Halt()))
    run = simulate(program, arch, fetch=False, check_banks=False)
    if run.error is not None:
        reject()
    assert predict(program, arch) == run.cycles


def left_out(mapping: ModelMapping) -> tuple[int, int, Mapping[str, int]]:
    """Return the simulator's cycles of five time steps, those not predicted, and the counters."""
    host = mapping.host(5, 0, 1 << 20, 1 << 21, 1 << 22)
    run = simulate(mapping.emit().run, mapping.arch, host=host, fetch=False, check_races=True)
    return run.cycles, run.cycles - mapping.cycles(5), run.counters


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_predicted_cycles_of_a_layer_are_those_of_the_simulator(name: str, preset: str) -> None:
    cycles, wrong, _ = left_out(map_model(LAYERS[name], PRESETS[preset].override(cells=CELLS)))
    assert abs(wrong) <= MARGIN + cycles // 40


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("name", sorted(MODELS))
def test_predicted_cycles_of_a_model_leave_out_only_waits_for_ports(name: str, preset: str) -> None:
    """Of transfers: stores that wait for the array's reads."""
    arch = PRESETS[preset].override(cells=CELLS)
    cycles, wrong, counters = left_out(map_model(MODELS[name], arch))
    waits = counters["load_stall_port"] + counters["store_stall_port"]
    assert -MARGIN - cycles // 40 <= wrong <= MARGIN + cycles // 40 + waits


def step_cycles(problem: ModelProblem, preset: str) -> int:
    """Return the simulator's cycles of one time step in the steady state."""
    arch = PRESETS[preset]
    mapping = map_model(problem, arch)
    program = mapping.emit().run
    cycles = [
        simulate(program, arch, host=mapping.host(n, 0, 1 << 20, 1 << 22), check_races=True).cycles
        for n in (3, 4)
    ]
    assert mapping.step_cycles == pytest.approx(cycles[1] - cycles[0], rel=0.01)
    return cycles[1] - cycles[0]


def test_loads_and_results_go_into_scratchpads_of_their_own() -> None:
    """The first mapping that fits would write both into X for longer than all else takes."""
    arch = PRESETS["small"].override(port_bytes=4)
    layer = lstm(mpo("x", (8, 16, 16), (8, 4, 4), 2), dense("h", 32, 128), 32)
    problem = replace(layer, batch=4)
    mapping = map_model(problem, arch)
    search = ModelSearch(problem.batched, arch, Kind())
    first = search._first(search._choices())
    assert first
    run = first.found.run()
    assert predicted_step(run, arch) == write_cycles(run, arch)
    cycles = [period(program, mapping) for program in (run, mapping.emit().run)]
    assert write_cycles(run, arch) <= cycles[0]
    assert cycles[1] < 0.85 * cycles[0]


def period(program: Program, mapping: ModelMapping) -> float:
    """Return the cycles of a time step of long sequences, by the simulator."""
    hosts = [mapping.host(n, 0, 1 << 20, 1 << 21) for n in (4, 12)]
    runs = [simulate(program, mapping.arch, fetch=False, host=host) for host in hosts]
    return (runs[1].cycles - runs[0].cycles) / 8


def test_a_ucf11_step_takes_at_most_1_1_rooflines() -> None:
    mapping = map_model(UCF11_LAYER, PRESETS["base"])
    bound = mapping.bound
    assert bound is not None
    assert step_cycles(UCF11_LAYER, "base") <= 1.1 * bound


def test_a_ucf11_step_with_a_dense_hidden_matrix_adds_its_16384_cycles() -> None:
    assert step_cycles(UCF11_DENSE_HIDDEN, "base") <= 1.2 * UCF11_BOUND + 256 * 1024 // 16


def test_ucf11_is_sliced_where_its_input_does_not_fit() -> None:
    mapping = map_model(UCF11_LAYER, PRESETS["small"])
    assert mapping.mapped.phases[0].nets.inputs[0].sliced
    assert mapping.bound is not None
    assert step_cycles(UCF11_LAYER, "small") <= 1.1 * mapping.bound


def test_ucf11_takes_the_tree_with_the_fewest_multiply_adds() -> None:
    mapping = map_network(UCF11, PRESETS["base"], streamed="x")
    assert mapping.macs == UCF11_MACS
    assert mapping.macs_naive == 12_607_488
    assert mapping.bound == UCF11_BOUND


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_ucf11_is_mapped_or_refused_in_seconds(preset: str) -> None:
    before = time.perf_counter()
    too_small = preset in ("femto", "pico", "nano")
    with pytest.raises(MappingError) if too_small else contextlib.nullcontext():
        map_network(UCF11, PRESETS[preset], streamed="x")
    assert time.perf_counter() - before < 20


@given(data=st.data())
def test_tiles_that_find_the_same_are_not_counted_one_by_one(data: st.DataObject) -> None:
    """The oracle runs an instruction of many tiles as one of each tile: all that it does."""
    arch = PRESETS["base"]
    whole, each = ArrayCycles(arch), ArrayCycles(arch)
    launch = 0
    for _ in range(data.draw(st.integers(1, 3))):
        holds = data.draw(st.booleans())
        held, passed = (data.draw(st.integers(1, 4)) if holds else 1 for _ in range(2))
        i = SimpleNamespace(
            tiles=data.draw(st.integers(1, 40)), tile_iterations=data.draw(st.integers(1, 20)),
            iteration_slots=max(held, passed), held_issues=passed, nh=held, z_space=1,
            first_slots=held if holds else 0,
            tile_rows=data.draw(st.integers(1, 40)),
        )  # fmt: skip
        port = data.draw(st.sampled_from([None, 0, 1, 2]))
        first, space = data.draw(st.integers(launch, launch + 50)), data.draw(st.integers(0, 1))
        for array in (whole, each):
            array.taken[space].add(first, first + 7)
        found = whole.run(cast(Contract, i), launch, port)
        slots = Slots.of(cast(Contract, i))
        t, slot = each._issue(slots, 0, launch + 1, slots.first), slots.first
        for tile in range(i.tiles):
            behind = slots.period - slots.passed if tile else 0
            t, slot = each._issue(slots, slot, t + 1, behind), slot + behind
            n = (i.tile_iterations - 1) * slots.period + slots.passed
            t = each._issue(slots, slot, max(t + 1, each.ends[0] - arch.accumulate_latency), n)
            slot += n
            start = max(t + arch.accumulate_latency, each.ends[1])
            each._drain(cast(Contract, i), start, i.tile_rows, port)
        assert found == (t, each.ends[1] - 1 + arch.drain_latency)
        assert whole.ends == each.ends
        assert [s.spans for s in whole.drained] == [s.spans for s in each.drained]
        assert [s.spans for s in whole.addends] == [s.spans for s in each.addends]
        launch = t
