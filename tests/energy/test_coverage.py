"""No counter and no instruction is forgotten; oracles are the machine's own lists."""

from __future__ import annotations

import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.energy import EnergyError, actions
from einchip.energy.actions import BY_COUNTERS, CELLS, CHARGED, NOT_CHARGED
from einchip.energy.table import Leakage
from einchip.program import INSTRUCTIONS, Halt, Instruction, Program
from einchip.registers import COUNTERS

NAMES = [c.name for c in COUNTERS]
SMALL = PRESETS["small"]
TABLE = energy.load("horowitz45").model_copy(
    update={"leakage": Leakage(unit="mW", power=1, clock_mhz=100)}
)


def total(**given: int) -> float:
    # `vector` is the lesser of two bounds, so each of its counters shows where the other is large
    counts = dict.fromkeys(NAMES, 0) | {"vector_ops": 10**3, "activations": 10**4} | given
    return energy.energy(counts, SMALL, TABLE).total_pj


def test_every_counter_is_charged_or_has_a_reason() -> None:
    assert set(CHARGED) | set(NOT_CHARGED) == set(NAMES)
    assert not set(CHARGED) & set(NOT_CHARGED)
    assert all(NOT_CHARGED.values())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_to_be_charged_is(name: str) -> None:
    more = {name: 10**5}
    if name in CHARGED:
        assert total(**more) > total()
    else:
        assert total(**more) == total()


def test_every_instruction_is_charged_or_has_a_reason() -> None:
    assert {*CELLS, *BY_COUNTERS} == set(INSTRUCTIONS)
    assert not set(CELLS) & set(BY_COUNTERS)


def test_new_counter_is_an_error() -> None:
    counts = dict.fromkeys((*NAMES, "flips"), 0)
    with pytest.raises(EnergyError, match="flips: not modelled; charge it"):
        energy.energy(counts, SMALL, "zigzag")


@pytest.mark.parametrize("name", NAMES)
def test_counter_that_is_missing_is_an_error(name: str) -> None:
    counts = {n: 1 for n in NAMES if n != name}
    with pytest.raises(EnergyError, match=f"{name}: missing"):
        energy.energy(counts, SMALL, "zigzag")


@pytest.mark.parametrize("kind", INSTRUCTIONS)
def test_instruction_that_is_in_no_list_is_an_error(
    kind: type[Instruction], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CELLS", "BY_COUNTERS"):
        others = {k: v for k, v in getattr(actions, name).items() if k is not kind}
        monkeypatch.setattr(actions, name, others)
    program = Program((kind(), *([] if kind is Halt else [Halt()])))
    with pytest.raises(EnergyError, match=f"{kind.__name__}: not modelled"):
        energy.energy(dict.fromkeys(NAMES, 0), SMALL, "zigzag", program)
