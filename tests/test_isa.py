"""The printed page of instructions."""

from pathlib import Path

from einchip import isa
from einchip.program import INSTRUCTIONS, WORD_BITS


def test_isa_page_is_what_the_classes_print() -> None:
    committed = Path(__file__).parents[1] / "docs" / "isa.md"
    assert committed.read_text() == isa.page(), "docs/isa.md is stale: run `make docs`"


def test_every_field_of_every_instruction_has_its_own_bits() -> None:
    for kind in INSTRUCTIONS:
        taken = set(range(8))
        for slot in kind.layout():
            bits = set(range(slot.offset, slot.offset + slot.bits * max(1, slot.n)))
            assert not bits & taken, f"{kind.__name__}.{slot.name} overlaps"
            taken |= bits
        assert max(taken) < kind.WORDS * WORD_BITS
