"""What lies in the windows: what all but the array read there, best use of its elements first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from einchip.accesses import read_streams
from einchip.arch import PRESETS, WINDOW_PORTS, Architecture
from einchip.mapper import CellKind, ModelMapping, map_model
from einchip.mapper.allocate import allocate
from einchip.mapper.ops import Buffer
from einchip.program import Contract, Copy, Lstm, Vector
from einchip.sim.machine import simulate
from tests.mapper.cases import LAYERS, WIDE
from tests.mapper.models import dense_layer, last
from tests.mapper.run_model import check_model

CELLS = (CellKind.LSTM, CellKind.PEEPHOLE, CellKind.GRU, CellKind.GRU_BEFORE)


def ports(mapping: ModelMapping) -> Iterator[int]:
    """Yield the read ports of addends and cells."""
    for i in mapping.emit().run.instructions:
        if isinstance(i, Contract) and i.has_addend:
            yield mapping.arch.read_port(i.d_space, i.d_base)
        if isinstance(i, Vector) and not isinstance(i, Copy):
            for stream in set(read_streams(i, mapping.arch)):
                space, base = getattr(i, f"{stream}_space"), getattr(i, f"{stream}_base")
                yield mapping.arch.read_port(space, base)


def port_stalls(mapping: ModelMapping, n_steps: int = 6) -> int:
    """Return the cycles in which the array finds a port taken."""
    host = mapping.host(n_steps, 0, 1 << 20, 1 << 21)
    run = simulate(mapping.emit().run, mapping.arch, host=host, fetch=False, check_races=True)
    return run.counters["array_stall_port"]


@pytest.mark.parametrize("preset", ["small", "base"])
@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.value)
def test_addends_gates_and_states_lie_in_windows(preset: str, cell: CellKind) -> None:
    problem = last(dense_layer("layers.0", cell, 24, 32))
    mapping = map_model(problem, PRESETS[preset])
    assert set(ports(mapping)) <= set(WINDOW_PORTS)
    assert port_stalls(mapping) == 0
    for only, arch in enumerate((with_windows(preset, 512, 0), with_windows(preset, 0, 512))):
        mapping = map_model(problem, arch)
        assert set(ports(mapping)) == {WINDOW_PORTS[only]}
        assert port_stalls(mapping) == 0


@pytest.mark.parametrize("preset", ["small", "base"])
def test_array_and_vector_unit_have_a_window_each(preset: str) -> None:
    """The vector unit works on the scratchpad of h; what the array adds lies in the other one."""
    mapping = map_model(last(dense_layer("layers.0", CellKind.LSTM, 24, 32)), PRESETS[preset])
    code = mapping.emit().run.instructions
    [h] = {i.dst_space for i in code if isinstance(i, Lstm)}
    read = {s for i in code if isinstance(i, Lstm) for s in (i.src_space, i.cell_space)}
    added = {i.d_space for i in code if isinstance(i, Contract) and i.has_addend}
    assert read == {h}
    assert added == {1 - h}


def test_without_a_window_the_array_waits() -> None:
    problem = last(dense_layer("layers.0", CellKind.LSTM, 24, 32))
    for arch in (PRESETS["nano"].override(x_depth=4096, y_depth=4096), without("base")):
        mapping = map_model(problem, arch)
        assert not set(ports(mapping)) & set(WINDOW_PORTS)
        assert port_stalls(mapping) > 0


def without(preset: str) -> Architecture:
    """Return a preset without windows."""
    return with_windows(preset, 0, 0)


def with_windows(preset: str, x: int, y: int) -> Architecture:
    """Return a preset with windows of so many rows."""
    return PRESETS[preset].override(x_window=x, y_window=y)


@pytest.mark.parametrize("rows", [(0, 0), (4, 4), (0, 16), (16, 0), (64, 2)])
@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.value)
def test_a_layer_equals_numpy_with_windows_of_any_size(
    rows: tuple[int, int], cell: CellKind
) -> None:
    arch = WIDE["small"].override(x_window=rows[0], y_window=rows[1])
    mapping = check_model(last(dense_layer("layers.0", cell, 12, 32)), arch)
    assert bool(set(ports(mapping)) & set(WINDOW_PORTS)) == any(rows)


def test_a_wider_window_costs_no_cycles() -> None:
    found = [
        map_model(LAYERS["other hidden modes"], with_windows("small", x, y))
        for x, y in ((0, 0), (0, 16), (0, 512), (512, 512))
    ]
    cycles = [m.step_cycles for m in found]
    assert cycles == sorted(cycles, reverse=True)
    stalls = [port_stalls(m) for m in found]
    assert stalls == sorted(stalls, reverse=True)


def test_what_is_read_most_for_its_size_comes_first() -> None:
    arch = PRESETS["small"].override(y_depth=64, x_window=0, y_window=16)  # 128 elements of 512
    seldom = Buffer("seldom", 1, 96, reads=12)
    often = Buffer("often", 1, 64, reads=32)
    x, never = Buffer("x", 0, 64, reads=99), Buffer("never", 1, 128)
    found = allocate([seldom, never, often, x], {}, arch)
    inside = {b.name for b in (seldom, often, x, never) if arch.in_window(b.space, found[b.name])}
    assert inside == {"often"}
    small = replace(seldom, elements=64)
    found = allocate([small, never, often], {}, arch)
    assert {n for n in found if arch.in_window(1, found[n])} == {"often", "seldom"}


def test_both_copies_of_a_buffer_lie_in_the_window_or_none() -> None:
    arch = PRESETS["small"].override(y_depth=64, y_window=16)
    for elements, inside in ((64, True), (72, False)):
        found = allocate([Buffer("twice", 1, elements, toggled=True, reads=9)], {}, arch)
        assert arch.in_window(1, found["twice"]) == inside
        assert found["twice"] + 2 * elements <= (
            arch.capacity(1) if inside else arch.window_base(1)
        )


def test_the_window_is_room_for_all_else_where_y_is_full() -> None:
    arch = PRESETS["small"].override(y_depth=64, y_window=16)
    found = allocate([Buffer("weights", 1, 448), Buffer("gates", 1, 64, reads=8)], {}, arch)
    assert {arch.in_window(1, at) for at in found.values()} == {False, True}
    whole = allocate([Buffer("weights", 1, 464), Buffer("gates", 1, 48, reads=8)], {}, arch)
    assert len(whole) == 2


def test_a_large_cell_reads_its_state_beside_its_gates_where_that_is_quicker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arch = PRESETS["small"]

    def mapped() -> tuple[bool, int]:
        """Return whether gates and state have ports of their own, and the simulator's cycles."""
        mapping = map_model(LAYERS["other hidden modes"], arch)
        code = mapping.emit().run
        run = simulate(code, arch, host=mapping.host(6, 0, 1 << 20, 1 << 21), fetch=False)
        cells = [i for i in code.instructions if isinstance(i, Lstm)]
        apart = {
            arch.read_port(i.src_space, i.src_base) != arch.read_port(i.cell_space, i.cell_base)
            for i in cells
        }
        return apart == {True}, run.cycles

    apart, cycles = mapped()
    monkeypatch.setattr("einchip.mapper.place._read_beside", lambda phases: {})
    together, more = mapped()
    assert (apart, together) == (True, False)
    assert cycles < more
