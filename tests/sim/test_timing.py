"""Cycles against numbers worked out by hand from docs/timing.md."""

from dataclasses import replace

import pytest

from einchip.arch import (
    COPY_LATENCY,
    LSTM_LATENCY,
    LSTM_STATE_LATENCY,
    PRESETS,
    Architecture,
)
from einchip.program import (
    Act,
    Cell,
    Contract,
    Copy,
    EndLoop,
    Error,
    Fill,
    Give,
    Gru,
    GruReset,
    GruUpdate,
    Halt,
    Instruction,
    Load,
    Loop,
    Lstm,
    Peephole,
    Program,
    SetRegister,
    Store,
    Sync,
)
from einchip.sim import Executed, Run, simulate, vector

NANO = PRESETS["nano"]
LATENCY = 8


def contract(iterations: int, tiles: int, **fields: int) -> Contract:
    """Return a CONTRACT of `tiles` tiles, 4 rows by 4 columns."""
    one = Contract(
        nm0=4, nn0=4, xs_m0=1, ys_n0=1, zs_m0=4, zs_n0=1, z_base=64, n_reduce=1,
        loop_count=(iterations, tiles, 1, 1, 1, 1),
    )  # fmt: skip
    return replace(one, **fields)  # type: ignore[arg-type]


def run(*instructions: Instruction, fetch: bool = False, arch: Architecture = NANO) -> Run:
    found = simulate(Program((*instructions, Halt())), arch, latency=LATENCY, fetch=fetch)
    assert found.error is None
    return found


def span(e: Executed) -> int:
    assert e.completion is not None
    return e.completion - e.launch


def test_halt_alone_takes_fetch_decode_stop() -> None:
    assert run().cycles == 3


def test_fetch_takes_launch_address_latency_and_a_cycle_a_beat() -> None:
    # cycle 0 launches, 1 has the address, 9 .. 12 have the 4 beats of one word; then 3 as above
    found = run(fetch=True)
    assert found.cycles == 1 + LATENCY + 4 + 3
    assert found.counters["load_idle"] == 1 + 3
    assert found.counters["load_stall_memory"] == LATENCY


def test_sequencer_instructions_take_two_cycles() -> None:
    assert run(*[SetRegister(reg=1)] * 7, Give(mask=1)).cycles == 3 + 2 * 8


def test_loop_costs_two_cycles_and_two_a_turn() -> None:
    assert run(Loop(count=5), SetRegister(reg=1), EndLoop()).cycles == 3 + 2 + 5 * (2 + 2)


def test_launch_comes_words_slot_and_lanes_after_the_fetch() -> None:
    # FETCH, DECODE, COPY, RESOLVE: words + 2; slot one cycle, lanes 4, launch in the next
    assert run(contract(5, 1)).timeline[0].launch == 8 + 2 + 1 + 4
    assert run(Load(beats=1)).timeline[0].launch == 1 + 2 + 1


@pytest.mark.parametrize(("iterations", "tiles"), [(5, 1), (5, 3), (4, 7), (20, 2)])
def test_lone_contract_takes_what_the_formula_says(iterations: int, tiles: int) -> None:
    found = run(contract(iterations, tiles))
    expected = tiles * iterations + NANO.accumulate_latency + 4 - 1 + NANO.drain_latency
    assert span(found.timeline[0]) == expected
    assert found.cycles == found.timeline[0].launch + expected + 2


def test_a_million_cycles_follow_the_formula() -> None:
    expected = 50_000 * 20 + NANO.accumulate_latency + 4 - 1 + NANO.drain_latency
    assert span(run(contract(20, 50_000)).timeline[0]) == expected


def test_short_tiles_cost_their_rows() -> None:
    found = [span(run(contract(1, tiles)).timeline[0]) for tiles in (10, 11, 12)]
    assert found[1] - found[0] == found[2] - found[1] == 4


def test_independent_contracts_leave_no_bubble() -> None:
    found = run(*[contract(40, 2)] * 3)
    assert [e.launch - found.timeline[0].launch for e in found.timeline] == [0, 80, 160]
    assert found.counters["array_issue"] == 240


def test_addend_takes_the_array_one_cycle_a_row() -> None:
    found = run(contract(10, 3, has_addend=1, d_base=128))
    # the rows of the first two tiles meet iterations, those of the last do not
    assert found.counters["array_stall_port"] == 2 * 4


FLEX = NANO.override(fold="flex")


def holding(nh: int, passing: int, iterations: int, tiles: int, **fields: int) -> Contract:
    """Return a CONTRACT of 4 rows that holds nh vectors of X while `passing` of Y pass."""
    one = Contract(
        nm0=4, nh=nh, nn0=1, xs_m0=1, xs_h=4, zs_m0=4, zs_h=1, z_base=64, n_hold=1, n_reduce=1,
        loop_count=(passing, iterations, tiles, 1, 1, 1),
    )  # fmt: skip
    return replace(one, **fields)  # type: ignore[arg-type]


def test_held_vectors_are_read_while_others_pass() -> None:
    # 2 reads of X, then 10 iterations of 3 slots each; tiles of 15 issues hide the drain of 12 rows
    found = run(holding(2, 3, 5, 2), arch=FLEX)
    assert found.counters["array_issue"] == 2 + 10 * 3
    assert span(found.timeline[0]) == 32 + 6 + 12 - 1 + FLEX.drain_latency
    assert found.counters["x_reads"] == 10 * 2 * 4
    assert found.counters["y_reads"] == 10 * 3
    assert found.counters["macs"] == 10 * 3 * 4 * 2
    assert found.counters["drained"] == 2 * 3 * 4 * 2


def test_more_held_than_passing_vectors_cost_their_reads() -> None:
    # 3 reads, 9 iterations of 3 slots, of which 2 are issues, and a last one of 2
    found = run(holding(3, 2, 10, 1), arch=FLEX)
    assert found.counters["array_issue"] == 3 + 9 * 3 + 2
    assert span(found.timeline[0]) == 32 + 6 + 8 - 1 + FLEX.drain_latency


def test_rows_of_every_accumulator_hold_up_short_tiles() -> None:
    found = run(holding(3, 2, 1, 3), arch=FLEX)
    # launched in 0: X in 1 .. 3; tile 0 in 4 and 5, X in 6, rows in 11 .. 18; tile 1 in 7 and 8, X
    # in 9, rows in 19 .. 26; tile 2 not before 19 - 6, in 13 and 14, rows in 27 .. 34
    assert found.counters["array_stall_drain"] == 13 - 10
    assert span(found.timeline[0]) == 34 + FLEX.drain_latency


def test_independent_contracts_that_hold_leave_no_bubble() -> None:
    found = run(*[holding(2, 3, 10, 2)] * 3, arch=FLEX)
    assert [e.launch - found.timeline[0].launch for e in found.timeline] == [0, 62, 124]
    assert found.counters["array_issue"] == 3 * 62


@pytest.mark.parametrize("space", [0, 1])
def test_store_reads_in_slots_that_leave_it_the_port(space: int) -> None:
    # 4 held, 1 passes: X is read in every slot but the last, Y in one of four
    i = holding(4, 1, 100, 1)
    found = run(i, Store(beats=40, space=space), arch=FLEX)
    array, store = sorted(found.timeline, key=lambda e: e.index)
    last_issue = array.launch + 4 + 99 * 4 + 1
    assert store.completion is not None
    if space:
        # before the array it is as fast as alone; from its launch on it has 3 slots of 4
        alone = span(run(Store(beats=40, space=1), arch=FLEX).timeline[0])
        assert alone <= span(store) <= alone + 40 // 3 + 1
    else:
        assert store.launch < last_issue < store.completion


def test_inner_product_waits_for_its_tree() -> None:
    arch = NANO.override(fold="ip")
    i = Contract(nk0=4, xs_k0=1, ys_k0=1, n_reduce=1, loop_count=(5, 3, 1, 1, 1, 1), z_base=64)
    # read 3, hold 1, multiply 1, tree 2, accumulate 1
    assert span(run(i, arch=arch).timeline[0]) == 15 + 8 + arch.drain_latency


def test_token_given_in_a_cycle_launches_in_the_next() -> None:
    first, second = run(contract(5, 1, signal=1), contract(5, 1, wait=1)).timeline
    assert first.completion is not None
    assert second.launch == first.completion + 1


def test_load_of_one_burst_takes_address_latency_and_beats() -> None:
    assert span(run(Load(beats=20)).timeline[0]) == LATENCY + 20


def test_load_of_many_bursts_streams() -> None:
    assert span(run(Load(beats=500)).timeline[0]) == LATENCY + 500


def test_load_waits_for_every_fifth_burst_of_one_beat() -> None:
    # four addresses in flight: u+1 .. u+4; the fifth after the first beat, in u+1+8, is accepted
    arch = NANO.override(burst_beats=1)
    assert span(run(Load(beats=5), arch=arch).timeline[0]) == (LATENCY + 2) + LATENCY


def test_store_waits_for_every_fifth_response_to_bursts_of_one_beat() -> None:
    # addresses in u+1 .. u+4; the first's beat is read in u+2, the response comes in u+2+4+8
    arch = NANO.override(burst_beats=1)
    assert span(run(Store(beats=4), arch=arch).timeline[0]) == 1 + 4 + 4 + LATENCY
    assert span(run(Store(beats=5), arch=arch).timeline[0]) == 2 * (2 + 4 + LATENCY)


def test_bursts_end_at_4_kib() -> None:
    # bursts of 2, 4, 4, 4 and 2 beats: the last has its address a cycle after the first response
    arch = NANO.override(burst_beats=4)
    found = run(Store(beats=16, ext_offset=4096 - 8), arch=arch)
    assert span(found.timeline[0]) == 2 * (1 + 2 + 4 + LATENCY)
    assert span(run(Store(beats=16), arch=arch).timeline[0]) == 1 + 16 + 4 + LATENCY


def test_store_of_many_bursts_streams() -> None:
    assert span(run(Store(beats=500)).timeline[0]) == 1 + 500 + 4 + LATENCY


@pytest.mark.parametrize("kind", [Load, Store])
def test_transfers_of_one_direction_follow_without_a_gap(kind: type[Load | Store]) -> None:
    # 100 beats are two bursts: all addresses are taken in u+2, the sequencer hands over every 3
    first, second, third = run(*[kind(beats=100)] * 3).timeline
    assert second.launch == first.launch + 3
    assert second.completion == (first.completion or 0) + 100
    assert third.completion == (first.completion or 0) + 200


def test_short_loads_come_as_fast_as_the_sequencer_hands_them_over() -> None:
    found = run(*[Load(beats=1)] * 9)
    assert [e.launch - found.timeline[0].launch for e in found.timeline] == [
        3 * k for k in range(9)
    ]
    assert {span(e) for e in found.timeline} == {1 + LATENCY}


def test_loads_and_stores_do_not_hold_each_other_up() -> None:
    load, store = run(Load(beats=300), Store(beats=300)).timeline
    assert (span(load), span(store)) == (LATENCY + 300, 1 + 300 + 4 + LATENCY)


def test_store_of_one_burst() -> None:
    # address, 20 beats, the last offered 4 cycles after it was read, then the response
    assert span(run(Store(beats=20)).timeline[0]) == 1 + 20 + 4 + LATENCY


@pytest.mark.parametrize("bits", [8, 16])
def test_lone_lstm_vector(bits: int) -> None:
    arch = NANO.override(data_bits=bits)
    planes = 16 // bits
    cell = Lstm(nl0=4, src_l0=1, dst_l0=1, gate_stride=4, cell_base=64)
    assert span(run(cell, arch=arch).timeline[0]) == planes + 4 + LSTM_LATENCY
    apart = run(replace(cell, cell_space=1), arch=arch)
    assert span(apart.timeline[0]) == 4 + LSTM_LATENCY
    assert apart.counters["vector_issue"] == 4
    assert (apart.counters["x_reads"], apart.counters["y_reads"]) == (4 * 4, 4 * planes)


#: Per kind: reads besides the state's planes, latency in cycles as docs/timing.md works it out,
#: whether the planes are written, too.
CELLS = {Peephole: (7, 23, True), Gru: (6, 20, True), GruReset: (1, 12, False),
         GruUpdate: (2, 16, True)}  # fmt: skip


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", CELLS)
def test_lone_vector_of_a_cell(kind: type[Cell], bits: int) -> None:
    reads, latency, writes_state = CELLS[kind]
    planes = 16 // bits
    cell = kind(nl0=4, src_l0=1, dst_l0=1, gate_stride=4, cell_base=64, aux_base=128)
    found = run(cell, arch=NANO.override(data_bits=bits))
    # launched in u: the last read in u + reads + planes, the last write a latency later
    assert span(found.timeline[0]) == reads + planes + latency
    counted = found.counters
    assert counted["vector_issue"] == reads + planes
    assert counted["x_reads"] == 4 * (reads + planes)
    assert counted["x_writes"] == 4 * (1 + planes * writes_state)
    assert counted["vector_ops"] == 4


@pytest.mark.parametrize(("kind", "each"), [(Peephole, 5), (Gru, 3), (GruReset, 1), (GruUpdate, 2)])
def test_cells_count_their_activations(kind: type[Cell], each: int) -> None:
    cell = kind(nl0=4, nl1=1, src_l0=1, dst_l0=1, loop_count=(3, 2, 1, 1))
    assert run(cell).counters["activations"] == each * 4 * 6


@pytest.mark.parametrize("kind", CELLS)
def test_vectors_of_a_cell_follow_each_other_at_one_read_a_cycle(kind: type[Cell]) -> None:
    reads, latency, _ = CELLS[kind]
    cell = kind(nl0=4, src_l0=1, dst_l0=1, gate_stride=4, cell_base=64, loop_count=(9, 1, 1, 1))
    assert span(run(cell).timeline[0]) == 9 * (reads + 2) + latency


def test_relu_costs_what_no_activation_costs() -> None:
    plain, relu, tanh = (run(contract(5, 3, act=act)) for act in (Act.NONE, Act.RELU, Act.TANH))
    assert plain.cycles == relu.cycles == tanh.cycles
    counts = [found.counters["activations"] for found in (plain, relu, tanh)]
    assert counts == [0, 0, 3 * 16]


def test_sync_alone_takes_fetch_decode_and_one_cycle() -> None:
    found = run(Sync(), Sync())
    assert found.cycles == 3 + 2 * 3
    assert found.counters["sequencer_stall"] == 0


def test_sync_waits_for_the_last_unit_and_goes_on_in_the_next_cycle() -> None:
    found = run(Load(beats=20), Fill(nl0=4, dst_l0=1, dst_base=512), Sync(), Load(beats=1))
    load, fill, last = found.timeline
    assert load.completion is not None
    # FETCH and DECODE of the load, RESOLVE; 6 cycles for the fill; 2 for SYNC, then it waits
    waits_from = 3 + 6 + 2
    idle = load.completion + 1
    assert found.counters["sequencer_stall"] == idle - waits_from
    # FETCH in the next cycle, DECODE, RESOLVE; slot, stage, launch
    assert last.launch == idle + 1 + 3 + 1
    assert (load.phase, fill.phase, last.phase) == (0, 0, 1)


def test_sync_takes_all_tokens_away() -> None:
    program = Program((Give(mask=0xFFFF), Sync(), Fill(wait=2), Halt()))
    assert simulate(program, NANO).error == (Error.TIMEOUT, 6)
    again = Program((Give(mask=0xFFFF), Sync(), Give(mask=2), Fill(wait=2), Halt()))
    assert simulate(again, NANO).error is None
    # 15 of a token, twice: it would overflow but for the SYNC
    many = (Give(mask=1),) * 15
    assert simulate(Program((*many, Sync(), *many, Halt())), NANO).error is None
    assert simulate(Program((*many, *many, Halt())), NANO).error == (Error.TOKEN, 0)


def test_sync_waits_for_ever_for_an_instruction_that_waits_for_ever() -> None:
    program = Program((Load(beats=1, wait=1), Sync(), Give(mask=1), Halt()))
    assert simulate(program, NANO).error == (Error.TIMEOUT, 1)


@pytest.mark.parametrize(("space", "period"), [(0, 6), (1, 4)])
def test_lstm_vectors_follow_each_other_without_a_gap(space: int, period: int) -> None:
    """Their pending writes find room: of the state, in either scratchpad, and of h."""
    cell = Lstm(
        nl0=4, src_l0=1, dst_l0=1, gate_stride=4, cell_base=64, cell_space=space,
        loop_count=(19, 1, 1, 1),
    )  # fmt: skip
    found = run(cell)
    assert span(found.timeline[0]) == 19 * period + LSTM_LATENCY
    assert found.counters["vector_stall_write"] == LSTM_LATENCY


def test_the_state_is_read_beside_gates_when_both_ports_are_free() -> None:
    # the addends of the array's rows take Y's port, of which the state's planes are read
    cell = Lstm(nl0=4, src_l0=1, dst_l0=1, cell_space=1, cell_base=64, loop_count=(20, 1, 1, 1))
    rows = contract(1, 40, has_addend=1, d_space=1)
    alone, found = run(cell).counters, run(rows, cell).counters
    assert alone["vector_issue"] == found["vector_issue"] == 4 * 20
    assert alone["vector_stall_port"] == 0 < found["vector_stall_port"]


def test_vector_waits_for_room_for_its_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    # 3 writes a vector, room for 8: the third vector waits until one write was granted, the first
    # one's first in u + 6 + LSTM_STATE_LATENCY
    monkeypatch.setattr(vector, "VECTOR_WRITES", 8)
    cell = Lstm(nl0=4, src_l0=1, dst_l0=1, gate_stride=4, cell_base=64, loop_count=(3, 1, 1, 1))
    third = 6 + LSTM_STATE_LATENCY + 1
    assert span(run(cell).timeline[0]) == third + 6 - 1 + LSTM_LATENCY


@pytest.mark.parametrize("kind", [Copy, Fill])
def test_copies_and_fills_move_a_vector_a_cycle(kind: type[Copy | Fill]) -> None:
    i = kind(nl0=4, src_l0=1, dst_l0=1, dst_base=512, loop_count=(30, 1, 1, 1))
    assert span(run(i).timeline[0]) == 30 + COPY_LATENCY


def test_vector_reads_stop_the_array() -> None:
    copy = Copy(nl0=4, src_l0=1, dst_l0=1, dst_base=512, loop_count=(30, 1, 1, 1))
    found = run(contract(100, 1), copy)
    assert found.counters["array_stall_port"] == 30


def test_store_reads_only_where_the_array_does_not() -> None:
    found = run(contract(200, 1), Store(beats=8))
    store, array = found.timeline  # in the order of their launches
    assert store.completion is not None
    assert store.completion > array.launch + 200
    # the array issues in launch+1 .. launch+200, the store may read from launch+2 on
    assert found.counters["store_stall_port"] == array.launch + 201 - (store.launch + 2)


def test_drained_rows_hold_up_a_load() -> None:
    found = run(contract(4, 50), Load(beats=150, addr=1024))
    assert found.counters["load_stall_port"] > 0
    # the other scratchpad's port is free
    other = run(contract(4, 50), Load(beats=150, addr=1024, space=1))
    assert other.counters["load_stall_port"] == 0


def test_sequencer_stalls_while_the_slot_is_taken() -> None:
    # 16 bursts: the first one's last address is taken when the twelfth burst is complete
    found = run(*[Load(beats=1000)] * 3)
    # the third finds the slot taken from the first's launch until the second takes the stage
    assert found.counters["sequencer_stall"] == 0
    assert run(*[Load(beats=1000)] * 4).counters["sequencer_stall"] > 12 * 64 - 10


def test_timeline_of_a_loop_has_every_turn() -> None:
    found = run(Loop(count=3), Load(beats=2), Store(beats=2), EndLoop())
    assert [e.kind for e in found.timeline] == ["Load", "Store"] * 3
    assert [e.index for e in found.timeline] == list(range(6))


def test_machine_with_more_lanes_sets_up_longer() -> None:
    launch = [
        run(contract(5, 1), arch=PRESETS[name]).timeline[0].launch
        for name in ("nano", "small", "base")
    ]
    assert launch == [15, 19, 27]
