"""Static verification: each rule finds the program that breaks it, and only that."""

from dataclasses import replace
from typing import Any

import pytest

from einchip import check
from einchip.arch import PRESETS
from einchip.program import (
    Cell,
    Contract,
    Copy,
    EndLoop,
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
    ProgramError,
    SetRegister,
    Sync,
)

NANO = PRESETS["nano"]
#: 4 x 5 by 5 x 4, X row-major with rows of 5, Y and Z with rows of 4: sound.
SOUND = Contract(
    nm0=4, nn0=4, xs_m0=5, ys_n0=1, zs_m0=4, zs_n0=1, z_base=64, n_reduce=1,
    loop_count=(5, 1, 1, 1, 1, 1), loop_x=(1, 0, 0, 0, 0, 0), loop_y=(4, 0, 0, 0, 0, 0),
)  # fmt: skip
TOP = NANO.capacity(0)


def rules(*instructions: Instruction) -> set[str]:
    """Return the names of the rules that the instructions, then HALT, break on nano."""
    return {v.rule for v in check.verify(Program((*instructions, Halt())), NANO)}


def test_sound_program_breaks_no_rule() -> None:
    cell = Lstm(nl0=4, src_l0=1, dst_l0=1, gate_stride=4, cell_base=32, dst_base=64)
    body = (Load(beats=5), SOUND, Fill(nl0=4, dst_l0=1), cell)
    assert rules(Loop(arg=1), *body, EndLoop()) == set()


@pytest.mark.parametrize(
    ("instruction", "rule"),
    [
        (replace(SOUND, nm0=5), "fields"),
        (replace(SOUND, nk0=2), "fields"),
        (replace(SOUND, nn1=0), "fields"),
        (replace(SOUND, z_base=TOP - 15), "range"),
        (replace(SOUND, loop_x=(TOP // 4, 0, 0, 0, 0, 0)), "range"),
        (Load(beats=2, addr=TOP - 4), "range"),
        (replace(SOUND, xs_m0=4), "banks"),
        (replace(SOUND, has_addend=1, zs_n0=2), "banks"),
        (Fill(nl0=2, dst_l0=8), "banks"),
        (Load(beats=1, addr=2), "alignment"),
        (Lstm(cell_base=2), "alignment"),
        (replace(SOUND, loop_count=(0xFFFF, 4, 1, 1, 1, 1), n_reduce=2), "accumulator"),
        (replace(SOUND, loop_z=(1, 0, 0, 0, 0, 0)), "reduction"),
        (replace(SOUND, nh=2), "fields"),
        (Copy(nl0=4, src_l0=1, dst_l0=1, dst_base=3), "overlap"),
        (Lstm(src_base=64, cell_base=64), "overlap"),
        (Peephole(aux_base=2, cell_base=64), "alignment"),
        (Gru(cell_base=66), "alignment"),
        (Gru(src_base=4, aux_base=TOP - 1, gate_stride=1, cell_base=64), "range"),
        (Peephole(src_base=4, aux_base=TOP - 8, cell_base=64), "range"),
        (Gru(nl0=2, src_l0=4, cell_base=64, dst_base=32), "banks"),
        (Gru(src_base=16, aux_base=32, cell_base=64, dst_base=32), "overlap"),
        (Gru(src_base=16, aux_base=64, cell_base=64), "overlap"),
        (Peephole(src_base=16, aux_base=32, cell_base=64, gate_stride=4, dst_base=40), "overlap"),
        (GruReset(src_base=16, cell_base=64, dst_base=64), "overlap"),
        (GruUpdate(src_base=16, aux_base=68, cell_base=64), "overlap"),
        (EndLoop(), "sequence"),
        (Loop(count=0), "sequence"),
        (SetRegister(reg=0), "sequence"),
    ],
)  # fmt: skip
def test_rule_names_what_is_broken(instruction: Instruction, rule: str) -> None:
    assert rule in rules(instruction)


#: As SOUND, 2 x 5 by 5 x 6: two vectors of X held while three pairs of columns pass.
HOLDING = replace(
    SOUND, nm0=2, nh=2, nn0=2, xs_m0=5, xs_h=10, zs_m0=6, zs_h=14, n_hold=1,
    loop_count=(3, 5, 1, 1, 1, 1), loop_x=(TOP, 1, 0, 0, 0, 0), loop_y=(2, 6, 0, 0, 0, 0),
    loop_z=(2, 0, 0, 0, 0, 0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "broken"),
    [
        ({}, set()),
        ({"loop_z": (2, 1, 0, 0, 0, 0)}, {"reduction"}),
        ({"zs_h": 12}, {"banks"}),
        ({"xs_h": TOP - 9}, {"range"}),
        ({"loop_count": (4, 0xFFFF, 2, 1, 1, 1), "n_reduce": 2}, {"range"}),
        ({"loop_count": (1, 0xFFFF, 3, 1, 1, 1), "n_reduce": 2}, {"range", "accumulator"}),
        ({"loop_count": (9, 5, 1, 1, 1, 1)}, {"fields"}),
    ],
)
def test_held_operands_keep_the_same_rules(fields: dict[str, Any], broken: set[str]) -> None:
    program = Program((replace(HOLDING, **fields), Halt()))
    assert {v.rule for v in check.verify(program, NANO.override(fold="flex"))} == broken


def test_lanes_of_stride_0_share_a_bank_only_when_there_are_two() -> None:
    assert "banks" not in rules(replace(SOUND, nk0=1, xs_k0=0, ys_k0=0))


def test_token_taken_by_two_units_is_refused() -> None:
    takes = (Load(beats=1, signal=4), Load(beats=1, signal=4), replace(SOUND, wait=4), Fill(wait=4))
    assert rules(*takes) == {"tokens"}


@pytest.mark.parametrize("kind", [Lstm, Peephole, Gru, GruReset, GruUpdate])
def test_state_is_updated_in_place(kind: type[Cell]) -> None:
    fields: dict[str, Any] = {
        "src_base": 16,
        "gate_stride": 4,
        "aux_base": 32,
        "cell_base": 64,
        "dst_base": 8,
    }
    assert rules(kind(nl0=4, src_l0=1, dst_l0=1, **fields)) == set()


def test_reset_may_read_its_gate_from_the_state() -> None:
    assert rules(GruReset(src_base=64, cell_base=64)) == set()


def test_sync_passes_tokens_on_to_other_units() -> None:
    first, second = (Fill(signal=1), Load(beats=1, wait=1)), (Load(beats=1, signal=1), Fill(wait=1))
    assert rules(*first, *second) == {"tokens"}
    assert rules(*first, Sync(), *second) == set()
    # around the loop, the second half's phase is that of the first half of the next turn
    assert rules(Loop(count=2), *first, Sync(), *second, EndLoop()) == {"tokens"}
    assert rules(Loop(count=2), *first, Sync(), *second, Sync(), EndLoop()) == set()


@pytest.mark.parametrize(
    "instructions",
    [
        (Fill(wait=1),),
        (Give(mask=1), Sync(), Fill(wait=1)),
        (Load(beats=1, signal=1), Fill(wait=1), Fill(wait=1)),
        (Fill(wait=1), Sync(), Give(mask=1)),
        (Loop(count=16), Fill(signal=4), EndLoop()),
    ],
)
def test_token_that_is_missing_or_overflows_is_refused(
    instructions: tuple[Instruction, ...],
) -> None:
    assert rules(*instructions) == {"tokens"}


def test_credits_cover_what_is_taken_first() -> None:
    assert rules(Give(mask=1), Loop(count=9), Fill(wait=1, signal=1), EndLoop()) == set()


def test_program_larger_than_program_memory_is_refused() -> None:
    small = NANO.override(program_words=32)
    assert [v.rule for v in check.verify(Program((SOUND,) * 4 + (Halt(),)), small)] == ["memory"]


def test_program_without_halt_is_refused() -> None:
    assert [v.rule for v in check.verify(Program((SOUND,)), NANO)] == ["sequence"]


def test_require_raises_the_first_broken_rule() -> None:
    with pytest.raises(ProgramError, match="word 0: fields"):
        check.require(Program((replace(SOUND, nm0=5), Halt())), NANO)
