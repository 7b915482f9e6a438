"""Instructions: encoding and decoding are exact inverses, and every width is kept."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.program import (
    BY_OPCODE,
    INSTRUCTIONS,
    WORD_BYTES,
    Contract,
    Copy,
    Fill,
    Halt,
    Instruction,
    Load,
    Program,
    ProgramError,
)


@st.composite
def instructions(draw: st.DrawFn) -> Instruction:
    """Return any instruction with any values that its fields can hold."""
    kind = draw(st.sampled_from(INSTRUCTIONS))
    given: dict[str, Any] = {}
    for s in kind.layout():
        number = st.integers(0, 2**s.bits - 1)
        given[s.name] = draw(st.tuples(*[number] * s.n) if s.n else number)
    return kind(**given)


@given(instructions())
def test_decode_undoes_encode(instruction: Instruction) -> None:
    data = instruction.encode()
    assert len(data) == instruction.WORDS * WORD_BYTES
    assert data[0] == instruction.OPCODE
    assert type(instruction).decode(data) == instruction


@given(st.lists(instructions(), max_size=5))
def test_program_decodes_to_itself(many: list[Instruction]) -> None:
    program = Program(tuple(many))
    data = program.encode()
    assert len(data) == program.n_words * WORD_BYTES
    assert Program.decode(data) == program
    starts = [at for at, _ in program.addresses()]
    assert all(data[at * WORD_BYTES] == i.OPCODE for at, i in zip(starts, many, strict=True))


@given(instructions(), st.data())
def test_unknown_bits_are_ignored(instruction: Instruction, data: st.DataObject) -> None:
    used = 8 + sum(s.bits * max(1, s.n) for s in instruction.layout())
    value = int.from_bytes(instruction.encode(), "little")
    free = instruction.WORDS * WORD_BYTES * 8 - used
    value |= data.draw(st.integers(0, 2**free - 1)) << used
    raw = value.to_bytes(instruction.WORDS * WORD_BYTES, "little")
    assert type(instruction).decode(raw) == instruction


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (Load(beats=1 << 20), "Load: beats: found 1048576, expected 0 to 1048575"),
        (Load(wait=-1), "Load: wait: found -1, expected 0 to 65535"),
        (Contract(loop_count=(1, 1)), "loop_count has 2 numbers, expected 6"),
        (Copy(loop_src=(0, 0, 0, 1 << 20)), "Copy: loop_src: found 1048576"),
    ],
)
def test_value_that_does_not_fit_is_refused(instruction: Instruction, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        instruction.encode()


def test_unknown_opcode_and_cut_instruction_are_refused() -> None:
    halt = Halt().encode()
    with pytest.raises(ProgramError, match=r"p\.bin: word 1: opcode: found 255, expected one of"):
        Program.decode(halt + bytes([255]) + halt[1:], source="p.bin")
    with pytest.raises(ProgramError, match="word 1: Contract: found 16 bytes, expected 128"):
        Program.decode(halt + Contract().encode()[:16])


def test_opcodes_are_distinct_and_none_is_0() -> None:
    assert len(BY_OPCODE) == len(INSTRUCTIONS)
    assert 0 not in BY_OPCODE


def test_defaults_are_one_iteration_of_one_lane() -> None:
    one = Contract()
    assert (one.n_m, one.n_n, one.n_k, one.tiles, one.tile_iterations, one.macs) == (1,) * 6
    assert (Fill().n_lanes, Fill().vectors) == (1, 1)


def test_counts_follow_from_the_fields() -> None:
    i = Contract(nm0=2, nm1=2, nn0=3, nk0=2, nb=1, n_reduce=2, loop_count=(2, 3, 4, 5, 1, 1))
    assert (i.tile_iterations, i.tiles) == (6, 20)
    assert i.macs == 6 * 20 * 4 * 3 * 2


def test_held_operands_divide_the_loops_in_three() -> None:
    i = Contract(nm0=2, nn0=3, nh=5, n_hold=1, n_reduce=2, loop_count=(7, 2, 3, 4, 1, 1))
    assert (i.holds, i.held_issues, i.tile_iterations, i.tiles) == (True, 7, 6, 4)
    assert (i.tile_rows, i.first_slots, i.iteration_slots) == (14, 5, 7)
    assert i.macs == 7 * 6 * 4 * 2 * 3 * 5
    assert not Contract(loop_count=(7, 1, 1, 1, 1, 1)).holds
