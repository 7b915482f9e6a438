"""Races: programs that lack a token are found, those that have it are not."""

from dataclasses import replace

import pytest

from einchip.arch import PRESETS
from einchip.program import (
    Contract,
    Copy,
    EndLoop,
    Fill,
    Give,
    Gru,
    GruReset,
    Halt,
    Instruction,
    Load,
    Loop,
    Lstm,
    Peephole,
    Program,
    Store,
    Sync,
)
from einchip.sim import Order, SimulationError, races, simulate

NANO = PRESETS["nano"]
#: X[0:16] times Y[0:16] to X[64:80], 4 iterations.
CONTRACT = Contract(
    nm0=4, nn0=4, xs_m0=1, ys_n0=1, zs_m0=4, zs_n0=1, z_base=64, n_reduce=1,
    loop_count=(4, 1, 1, 1, 1, 1), loop_x=(4, 0, 0, 0, 0, 0), loop_y=(4, 0, 0, 0, 0, 0),
)  # fmt: skip


def pairs(*instructions: Instruction, order: Order = Order.TIME) -> list[tuple[str, str]]:
    run = simulate(Program((*instructions, Halt())), NANO)
    assert run.error is None
    return [(r.first.kind, r.second.kind) for r in races(run, NANO, order)]


BOTH = pytest.mark.parametrize("order", list(Order))


@BOTH
def test_contract_beside_the_load_of_its_operand_is_a_race(order: Order) -> None:
    load = Load(beats=40)
    assert pairs(load, CONTRACT, order=order) == [("Load", "Contract")]
    assert pairs(replace(load, signal=1), replace(CONTRACT, wait=1), order=order) == []


@BOTH
def test_load_into_what_a_contract_reads_is_a_race(order: Order) -> None:
    many = replace(CONTRACT, loop_count=(4, 9, 1, 1, 1, 1), loop_z=(0, 16, 0, 0, 0, 0))
    assert pairs(many, Load(beats=4), order=order) == [("Contract", "Load")]


@BOTH
def test_contract_that_reads_the_one_before_needs_a_token(order: Order) -> None:
    reader = replace(CONTRACT, x_base=64, z_base=128)
    assert pairs(CONTRACT, reader, order=order) == [("Contract", "Contract")]
    chained = replace(CONTRACT, signal=2), replace(reader, wait=2)
    assert pairs(*chained, order=order) == []


@BOTH
def test_contracts_may_overwrite_operands_and_results_of_the_one_before(order: Order) -> None:
    over = replace(CONTRACT, z_base=0, x_base=256)
    assert pairs(CONTRACT, over, order=order) == []
    assert pairs(CONTRACT, replace(CONTRACT, x_base=256), order=order) == []


@BOTH
def test_addend_from_the_contract_before_needs_a_token(order: Order) -> None:
    later = replace(CONTRACT, has_addend=1, d_base=64, z_base=128)
    assert pairs(CONTRACT, later, order=order) == [("Contract", "Contract")]


@BOTH
def test_vector_instructions_are_ordered_among_themselves(order: Order) -> None:
    fill = Fill(nl0=4, dst_l0=1, value=3)
    copy = Copy(nl0=4, src_l0=1, dst_l0=1, dst_base=32)
    assert pairs(fill, copy, fill, order=order) == []


@BOTH
def test_transfers_of_one_direction_are_ordered_among_themselves(order: Order) -> None:
    assert pairs(Load(beats=8), Load(beats=8, ext_offset=4), order=order) == []
    assert pairs(Store(beats=8), Store(beats=8, addr=64), order=order) == []


@BOTH
def test_a_load_and_a_store_need_a_token(order: Order) -> None:
    load, store = Load(beats=40), Store(beats=40, ext_offset=4096)
    assert pairs(load, store, order=order) == [("Load", "Store")]
    assert pairs(replace(load, signal=1), replace(store, wait=1), order=order) == []
    assert pairs(store, load, order=order) == [("Store", "Load")]
    assert pairs(load, replace(store, space=1), order=order) == []


@BOTH
@pytest.mark.parametrize(("offset", "meets"), [(0, True), (156, True), (160, False)])
def test_external_memory_that_a_store_writes_needs_a_token(
    order: Order, offset: int, meets: bool
) -> None:
    # 40 beats of 4 bytes each, X to memory, memory to Y
    store, load = Store(beats=40), Load(beats=40, space=1, ext_offset=offset)
    assert pairs(store, load, order=order) == [("Store", "Load")] * meets
    assert pairs(load, store, order=order) == [("Load", "Store")] * meets
    assert pairs(replace(store, signal=1), replace(load, wait=1), order=order) == []
    assert pairs(replace(load, signal=1), replace(store, wait=1), order=order) == []
    assert pairs(store, Sync(), load, order=order) == []


@BOTH
def test_accumulating_in_place_is_sound(order: Order) -> None:
    in_place = replace(
        CONTRACT, has_addend=1, d_base=64, loop_count=(4, 9, 1, 1, 1, 1), loop_z=(0, 16, 0, 0, 0, 0)
    )
    assert pairs(in_place, order=order) == []


@pytest.mark.parametrize(
    "instruction",
    [
        # the second tile reads what the first wrote
        replace(CONTRACT, z_base=8, loop_count=(4, 2, 1, 1, 1, 1)),
        # the second row's addend is the first row's result
        replace(CONTRACT, has_addend=1, d_base=60),
        Copy(nl0=4, src_l0=1, dst_l0=1, dst_base=4, loop_count=(3, 1, 1, 1),
             loop_src=(4, 0, 0, 0), loop_dst=(4, 0, 0, 0)),
        Lstm(nl0=4, src_l0=1, dst_l0=1, gate_stride=4, dst_base=16, cell_base=64,
             loop_count=(3, 1, 1, 1), loop_src=(16, 0, 0, 0), loop_dst=(4, 0, 0, 0)),
    ],
)  # fmt: skip
def test_reading_what_the_instruction_itself_wrote_is_a_race(instruction: Instruction) -> None:
    assert pairs(instruction) == [(type(instruction).__name__,) * 2]


def test_credits_of_a_double_buffer_are_an_order() -> None:
    """Loads of two buffers run ahead of the contracts by the credits that GIVE gave."""
    loop = []
    for half in (0, 1):
        free, full = 1 << half, 4 << half
        loop += [
            Load(beats=4, addr=16 * half, wait=free, signal=full),
            replace(CONTRACT, x_base=16 * half, wait=full, signal=free),
        ]
    program = (Give(mask=3), Loop(count=4), *loop, EndLoop())
    assert pairs(*program, order=Order.TIME) == []
    assert pairs(*program, order=Order.TOKENS) == []
    # one credit more, and a load may overwrite what is being read
    assert pairs(Give(mask=3), *program, order=Order.TOKENS) != []


def test_sync_is_an_order() -> None:
    load = Load(beats=40)
    assert pairs(load, Sync(), CONTRACT, order=Order.TIME) == []
    assert pairs(load, Sync(), CONTRACT, order=Order.TOKENS) == []
    assert pairs(load, Sync(), CONTRACT, load, order=Order.TOKENS) == [("Contract", "Load")]


def test_credits_before_a_sync_are_no_order_behind_it() -> None:
    # the token of the first phase is gone: the contract waits for the load
    load, reader = Load(beats=40, signal=1), replace(CONTRACT, wait=1)
    assert pairs(Give(mask=1), Sync(), load, reader, order=Order.TOKENS) == []
    assert pairs(Sync(), Give(mask=1), load, reader, order=Order.TOKENS) == [("Load", "Contract")]
    # and it may be one of other units
    loads = (Load(beats=4, addr=64, signal=1), Fill(dst_base=64, wait=1))
    assert pairs(*loads, Sync(), Fill(dst_base=64, signal=1), Load(beats=4, addr=64, wait=1),
                 order=Order.TOKENS) == []  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "meets"),
    [
        (Gru(src_base=8, aux_base=32, cell_base=96, dst_base=16), True),
        (Gru(src_base=8, aux_base=40, cell_base=96, dst_base=16), False),
        (Peephole(src_base=8, aux_base=32, cell_base=96, dst_base=16), True),
        (Peephole(src_base=8, aux_base=64, cell_base=96, dst_base=16), False),
        (GruReset(src_base=8, cell_base=32, dst_base=16), True),
        (GruReset(src_base=8, aux_base=32, cell_base=96, dst_base=16), False),
    ],
)
def test_second_sources_and_states_are_read(cell: Instruction, meets: bool) -> None:
    # the load fills 32 .. 39
    load = Load(beats=2, addr=32)
    assert pairs(load, cell, order=Order.TOKENS) == [("Load", type(cell).__name__)] * meets


def test_time_may_order_what_tokens_do_not() -> None:
    # the contract's setup outlasts the load of one beat, at this latency
    program = (Load(beats=1), CONTRACT)
    assert pairs(*program, order=Order.TIME) == []
    assert pairs(*program, order=Order.TOKENS) == [("Load", "Contract")]


def test_simulation_refuses_a_race_when_asked() -> None:
    program = Program((Load(beats=40), CONTRACT, Halt()))
    with pytest.raises(
        SimulationError, match=r"1 races: word 0: Load .* word 1: Contract .* X\[0\]"
    ):
        simulate(program, NANO, check_races=True)
