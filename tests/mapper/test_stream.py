"""Streams of executions against `numpy.einsum`, the simulator and a race oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip import reference
from einchip.arch import PRESETS
from einchip.check import verify
from einchip.mapper.errors import MappingError
from einchip.mapper.stream import (
    Schedule,
    Stream,
    chain_of,
    in_pieces,
    map_stream,
    placed,
    steady_step_cycles,
    ways,
)
from einchip.network import Network
from einchip.program import Store
from einchip.sim import simulate
from einchip.workloads.bench import batched
from tests.mapper.cases import WIDE, dense, mpo
from tests.mapper.order import races

LAGS = (0, 1, 2)


def answers(stream: Stream, weights: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Return what the reference leaves, which does not know time."""
    n = len(inputs)
    memory = reference.Memory.empty(stream.arch, stream.external_bytes(n))
    memory.external[:] = stream.pack(weights, inputs)
    programs = stream.programs()
    for program in (programs.setup, programs.run):
        reference.run(program, stream.arch, memory, stream.host(n))
    return stream.unpack(memory.external, n)


def signs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1, 1], shape)


def check(stream: Stream, n: int) -> None:
    network = stream.network
    weights = {
        name: signs(network.shape(name), k)
        for k, name in enumerate(network.tensors)
        if name != stream.streamed
    }
    inputs = signs((n, *network.shape(stream.streamed)), 99)
    wanted = [network.contract({**weights, stream.streamed: x}) for x in inputs]
    np.testing.assert_array_equal(answers(stream, weights, inputs), wanted)
    programs = stream.programs()
    for program in (programs.setup, programs.run):
        assert verify(program, stream.arch, stream.host(n)) == []
        assert races(program, stream.arch, stream.host(n)) == []


def small(sizes: dict[str, int], **tensors: str) -> Network:
    output = tensors.pop("out")
    return Network({n: tuple(t) for n, t in tensors.items()}, sizes, tuple(output))


CHAIN = small({"a": 6, "b": 5, "c": 7, "d": 4, "e": 9}, x="ab", P="ac", Q="bcd", R="de", out="e")


@pytest.mark.parametrize("lags", list(itertools.product(LAGS, repeat=2)))
@pytest.mark.parametrize(("x", "z"), [(True, True), (True, False), (False, False)])
def test_every_schedule_computes_the_same(lags: tuple[int, ...], x: bool, z: bool) -> None:
    arch = WIDE["small"]
    way = next(w for w in ways(CHAIN, arch, "x", False) if len(chain_of(w.part, "x")) == 3)
    check(placed(way, Schedule(lags, x, z)), 5)


@pytest.mark.parametrize("preset", sorted(WIDE))
@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_stream_equals_einsum_execution_by_execution(preset: str, n: int) -> None:
    network = mpo("x", (4, 3, 5), (2, 4, 3), 3)
    check(map_stream(network, WIDE[preset], "x"), n)


@given(data=st.data())
def test_random_streams_equal_einsum(data: st.DataObject) -> None:
    ins = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    outs = data.draw(st.lists(st.integers(1, 6), min_size=len(ins), max_size=len(ins)))
    rank, preset = data.draw(st.integers(1, 3)), data.draw(st.sampled_from(["nano", "small"]))
    check(map_stream(mpo("x", tuple(ins), tuple(outs), rank), WIDE[preset], "x"), 3)


def test_weights_are_merged_where_that_is_quicker() -> None:
    """Two weights contracted beforehand leave one step: its multiply-adds are those counted."""
    sizes = {"a": 4, "b": 2, "c": 32}
    network = small(sizes, x="a", P="ab", Q="bc", out="c")
    stream = map_stream(network, WIDE["small"], "x")
    assert [m.parts for m in stream.merged] == [("P", "Q")]
    assert stream.macs == 4 * 32
    check(stream, 3)


PADDED = small(
    {"a": 16, "f": 4, "b": 150, "c": 5, "d": 5, "e": 64}, x="afb", P="bcd", Q="cde", out="afe"
)


def test_weights_are_padded_where_that_is_quicker() -> None:
    """25 columns are 6 vectors of 4 and a rest, or 7 of 4, while four vectors of X are held."""
    stream = map_stream(PADDED, WIDE["base"], "x")
    reached = {f.reach for step in stream.chain for f in step.fold.q}
    assert 28 in reached
    check(stream, 3)
    step = next(s for s in stream.chain if any(f.reach for f in s.fold.q))
    for name in (step.y, step.name):
        layout = stream.part.tensors[name].layout
        assert layout.extent > layout.elements
        assert layout.spare
    assert not stream.part.tensors[step.x].layout.spare


#: A result of 8,192 elements, twice a window of `small`.
TALL = small({"a": 8, "b": 16, "c": 512}, x="ab", P="ac", out="cb")


@pytest.mark.parametrize("lag", [1, 2, 0])
@pytest.mark.parametrize("preset", ["small", "base"])
def test_every_number_of_pieces_computes_the_same(preset: str, lag: int) -> None:
    """Of a result that two steps make, one after the other or beside each other."""
    network = small({"a": 6, "b": 5, "c": 7, "e": 96}, x="ab", P="ac", R="bce", out="e")
    way = next(w for w in ways(network, WIDE[preset], "x", False) if len(chain_of(w.part, "x")) > 1)
    found = list(in_pieces(way))
    assert {pieces.n for pieces in (w.pieces for w in found) if pieces} >= {2, 3}
    for cut in found:
        check(placed(cut, Schedule((lag,), True, False)), 4)


def test_a_result_larger_than_a_window_is_stored_while_it_is_made() -> None:
    """In the simulator, against the same mapping with the whole result beside the windows."""
    stream = map_stream(TALL, PRESETS["small"], "x")
    assert stream.pieces
    check(stream, 3)
    way = next(w for w in ways(TALL, PRESETS["small"], "x", False))
    whole = placed(way, Schedule((), True, True))
    cycles = []
    for made in (stream, whole):
        runs = [
            simulate(made.programs().run, made.arch, fetch=False, host=made.host(n)).cycles
            for n in (4, 8)
        ]
        cycles.append((runs[1] - runs[0]) / 4)
    assert abs(cycles[0] - stream.predicted) <= 8
    assert cycles[0] < 0.6 * cycles[1]


def test_results_that_fit_a_window_are_whole() -> None:
    assert map_stream(mpo("x", (8, 5, 6), (4, 4, 4), 4), PRESETS["small"], "x").pieces is None


def test_the_steady_state_is_predicted() -> None:
    """The oracle is the simulator; what is not predicted are conflicts at write ports."""
    network = mpo("x", (8, 5, 6), (4, 4, 4), 4)
    stream = map_stream(network, PRESETS["small"], "x")
    run = stream.programs().run
    cycles = [simulate(run, stream.arch, fetch=False, host=stream.host(n)).cycles for n in (8, 24)]
    assert (cycles[1] - cycles[0]) / 16 == pytest.approx(stream.predicted, rel=0.05)


@pytest.mark.parametrize("port_bytes", [4, 8])
def test_without_a_window_a_store_waits_for_the_reads_of_the_array(port_bytes: int) -> None:
    """Not while the array itself waits for rows to be drained: 8 rows of each 3 issues."""
    arch = PRESETS["small"].override(x_window=0, y_window=0, port_bytes=port_bytes)
    stream = map_stream(batched(dense("x", 3, 128), 8), arch, "x")
    run = stream.programs().run
    cycles = [simulate(run, arch, fetch=False, host=stream.host(n)).cycles for n in (8, 24)]
    array = sum(steady_step_cycles(step, arch) for step in stream.chain)
    beats = 128 * 8 // port_bytes
    assert (cycles[1] - cycles[0]) / 16 == stream.predicted < array + beats


def test_results_are_stored_from_the_window() -> None:
    """Where Y has a window, no STORE waits for the array's reads."""
    arch = PRESETS["base"]
    stream = map_stream(mpo("x", (4, 8), (8, 8), 4), arch, "x")
    stores = [i for i in stream.programs().run.instructions if isinstance(i, Store)]
    assert stores
    assert all(arch.in_window(i.space, i.addr) for i in stores)


def test_what_does_not_fit_is_refused_with_the_way_out() -> None:
    arch = PRESETS["nano"].override(x_depth=16, y_depth=16)
    with pytest.raises(MappingError, match=r"expected at most 64; set ._depth to"):
        map_stream(mpo("x", (8, 8), (8, 8), 4), arch, "x")


def test_external_memory_has_room_for_what_runs_ahead() -> None:
    """Records in front of the first answer and behind the last input, `lag` of each."""
    stream = map_stream(CHAIN, WIDE["small"], "x")
    host = stream.host(3)
    x, z = stream.record("x"), stream.record(stream.part.result)
    assert host.args[0] == 3 + stream.lag
    assert host.bases[2] - host.bases[1] == (3 + stream.lag) * x + stream.lag * z
    assert stream.external_bytes(3) == host.bases[2] + 3 * z
