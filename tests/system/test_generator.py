"""Random programs are sound, have no races, and hold what they are meant to hold."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip import check
from einchip.arch import Architecture
from einchip.program import (
    TOKENS,
    Act,
    Contract,
    Copy,
    EndLoop,
    Fill,
    Give,
    Gru,
    GruReset,
    GruUpdate,
    Instruction,
    Load,
    Loop,
    Lstm,
    Peephole,
    Program,
    SetMode,
    SetRegister,
    Space,
    Store,
    Sync,
    Unit,
    UnitInstruction,
    Vector,
)
from tests.system import ordering
from tests.system.machines import MACHINES
from tests.system.programs import cases, random_case

ARCHITECTURES = pytest.mark.parametrize("arch", MACHINES.values(), ids=MACHINES)


@given(st.data(), st.sampled_from(list(MACHINES.values())))
def test_programs_keep_every_rule_and_have_no_races(
    data: st.DataObject, arch: Architecture
) -> None:
    case = data.draw(cases(arch))
    assert check.verify(case.program, arch, case.host) == []
    assert ordering.races(case.program, arch, case.host) == []
    assert Program.decode(case.program.encode()) == case.program


@ARCHITECTURES
def test_a_seed_names_one_program(arch: Architecture) -> None:
    first, second = random_case(3, arch), random_case(3, arch)
    assert first.program == second.program
    assert first.host == second.host
    assert first.memory.external == second.memory.external


@ARCHITECTURES
def test_a_program_without_its_tokens_has_races(arch: Architecture) -> None:
    found = 0
    for seed in range(20):
        case = random_case(seed, arch)
        bare = tuple(
            replace(i, wait=0, signal=0) if isinstance(i, UnitInstruction) else i
            for i in case.program.instructions
        )
        found += bool(ordering.races(Program(bare), arch, case.host))
    assert found > 5


@ARCHITECTURES
def test_a_program_without_its_syncs_is_not_sound(arch: Architecture) -> None:
    found = total = 0
    for seed in range(30):
        case = random_case(seed, arch)
        kept = tuple(i for i in case.program.instructions if not isinstance(i, Sync))
        if len(kept) < len(case.program.instructions):
            bare, total = Program(kept), total + 1
            found += bool(
                check.verify(bare, arch, case.host) or ordering.races(bare, arch, case.host)
            )
    assert found > total // 2 > 2


@ARCHITECTURES
def test_some_programs_overlap_vector_instructions(arch: Architecture) -> None:
    found = 0
    for seed in range(60):
        code = random_case(seed, arch).program.instructions
        vectors = [i for i in code if isinstance(i, Vector)]
        found += sum(j.overlaps and i.likeness == j.likeness for i, j in pairwise(vectors))
    assert found > 5


@ARCHITECTURES
def test_some_programs_read_a_state_beside_its_gates(arch: Architecture) -> None:
    found = {False: 0, True: 0}
    for seed in range(60):
        code = random_case(seed, arch).program.instructions
        for i in (i for i in code if isinstance(i, Lstm)):
            found[i.src_space != i.cell_space] += 1
    assert min(found.values()) > 5 or "lstm" not in arch.cells


#: What some random program must hold, by kind of instruction; the oracle is the list itself.
FEATURES: dict[type[Instruction], dict[str, Callable[[Any], bool]]] = {
    Contract: {
        "lanes that are summed": lambda i: i.n_k > 1,
        "two factors that are summed": lambda i: i.nk0 > 1 and i.nk1 > 1,
        "summed blocks beside empty ones": lambda i: i.n_k == 3,
        "shared lanes": lambda i: i.nb > 1,
        "shared blocks beside empty ones": lambda i: i.nb == 3,
        "summed and shared lanes": lambda i: i.n_k > 1 and i.nb > 1,
        "every row and column": lambda i: i.n_m == i.n_n == 8,
        "two factors of either output": lambda i: i.nm1 > 1 and i.nn1 > 1,
        "tiles and iterations": lambda i: min(i.tiles, i.tile_iterations) > 1,
        "more rows than iterations": lambda i: i.tiles > 2 and i.n_m > i.tile_iterations,
        "no reduction loop": lambda i: i.n_reduce == 0 and i.tiles > 1,
        "only reduction loops": lambda i: i.n_reduce == 6,
        "an outermost loop": lambda i: i.loop_count[5] > 1,
        "a loop that does not move X": lambda i: i.loop_count[0] > 1 and not i.loop_x[0],
        "an addend": lambda i: i.has_addend == 1,
        "an addend in place": lambda i: (
            i.has_addend and (i.d_space, i.d_base, i.d_reg) == (i.z_space, i.z_base, i.z_reg)
        ),
        "a sigmoid": lambda i: i.act == Act.SIGMOID,
        "a relu": lambda i: i.act == Act.RELU,
        "a tanh": lambda i: i.act == Act.TANH,
        "a result in X": lambda i: i.z_space == Space.X,
        "a result in Y": lambda i: i.z_space == Space.Y,
        "a register": lambda i: i.x_reg > 0,
        "a token that it gives itself": lambda i: bool(i.wait & i.signal),
    },
    **{
        kind: {
            "several vectors": lambda i: i.vectors > 1,
            "all lanes": lambda i: i.n_lanes == 8,
            "some lanes": lambda i: 1 < i.n_lanes < 8,
            "the state in the gates' scratchpad": lambda i: i.cell_space == i.src_space,
            "a second source in the other scratchpad": lambda i: i.aux_space != i.src_space,
            "a second source at a register": lambda i: i.aux_reg > 0,
        }
        for kind in (Lstm, Peephole, Gru, GruReset, GruUpdate)
    },
    Copy: {"both scratchpads": lambda i: i.src_space != i.dst_space},
    Fill: {"two lane factors": lambda i: min(i.nl0, i.nl1) > 1},
    Load: {
        "several bursts": lambda i: i.beats > 64,
        "a register": lambda i: i.ext_reg > 0,
        "iterations that skip it": lambda i: i.skip_last > 1,
    },
    Store: {"one beat": lambda i: i.beats == 1, "several bursts": lambda i: i.beats > 64},
    Loop: {"a count from the host": lambda i: i.arg > 0},
    SetRegister: {"a value that toggles": lambda i: i.mode == SetMode.TOGGLE},
    Give: {"credits": lambda i: i.mask.bit_count() > 1},
}


#: Likewise of CONTRACTs on machines that hold operands, those of 16 accumulators.
HELD: dict[str, Callable[[Contract], bool]] = {
    "nothing held": lambda i: not i.holds,
    "vectors held, one passes": lambda i: i.nh > 1 and i.n_hold == 0,
    "one vector held, several pass": lambda i: i.nh == 1 and i.held_issues > 1,
    "one vector held, one passes": lambda i: i.nh == 1 and i.n_hold > 0 and i.held_issues == 1,
    "fewer pass than are held": lambda i: 1 < i.held_issues < i.nh,
    "more pass than are held": lambda i: i.held_issues > i.nh > 1,
    "as many pass as are held": lambda i: i.held_issues == i.nh > 1,
    "every accumulator": lambda i: i.held_issues == 8,
    "accumulators that are no power of two": lambda i: i.held_issues in (3, 5, 6, 7),
    "held vectors that are no power of two": lambda i: i.nh in (3, 5, 6, 7),
    "two loops that hold": lambda i: i.n_hold == 2 and min(i.loop_count[:2]) > 1,
    "tiles and iterations": lambda i: i.holds and min(i.tiles, i.tile_iterations) > 1,
    "fewer pass, tiles and iterations": lambda i: (
        i.held_issues < i.nh and min(i.tiles, i.tile_iterations) > 1
    ),
    "an addend": lambda i: i.holds and i.has_addend == 1,
    "a sigmoid": lambda i: i.holds and i.act == Act.SIGMOID,
    "a relu": lambda i: i.holds and i.act == Act.RELU,
    "a result in X": lambda i: i.holds and i.z_space == Space.X,
    "a result in Y": lambda i: i.holds and i.z_space == Space.Y,
    "a stride of X without effect": lambda i: i.n_hold > 0 and i.loop_x[0] > 0,
}
#: What only machines with diagonal blocks hold, and only those of inner products.
HELD_BY_FOLD: dict[str, dict[str, Callable[[Contract], bool]]] = {
    "flex": {
        "every column": lambda i: i.holds and i.nh * i.n_n == MACHINES["flex"].cols,
        "several rows": lambda i: i.holds and i.n_m > 1,
        "blocks": lambda i: i.nh > 1 and i.n_k > 1 and i.nb > 1,
        "several columns of each": lambda i: i.nh > 1 and i.n_n > 1,
    },
    "inner": {
        "every row and column": lambda i: i.nh == 4 and i.n_k == 8,
        "rows that are no power of two": lambda i: i.nk0 * i.nk1 in (3, 5, 6, 7),
    },
}


def test_programs_have_phases_that_share_tokens_between_other_units() -> None:
    shared = nested = surplus = 0
    for seed in range(100):
        code = random_case(seed, MACHINES["small"]).program.instructions
        depth, owners, changed = 0, dict[int, Unit](), False
        for before, i in pairwise(code):
            depth += isinstance(i, Loop) - isinstance(i, EndLoop)
            nested += isinstance(i, Sync) and depth > 0
            surplus += isinstance(i, Sync) and isinstance(before, Give)
            for token in range(TOKENS):
                if isinstance(i, UnitInstruction) and i.signal >> token & 1:
                    changed |= owners.setdefault(token, i.UNIT) is not i.UNIT
        shared += changed
    assert min(shared, nested, surplus) > 5


@pytest.fixture(scope="module")
def some() -> list[Instruction]:
    programs = (random_case(seed, MACHINES["small"]).program for seed in range(300))
    return [i for program in programs for i in program.instructions]


@pytest.mark.parametrize("name", HELD_BY_FOLD)
def test_programs_hold_operands_in_every_way(name: str) -> None:
    programs = (random_case(seed, MACHINES[name]).program for seed in range(100))
    found = [i for p in programs for i in p.instructions if isinstance(i, Contract)]
    features = HELD | HELD_BY_FOLD[name]
    if name == "inner":  # of 4 columns, 3 are the only number
        assert {i.nh for i in found} == {1, 2, 3, 4}
    assert {what for what, holds in features.items() if not any(map(holds, found))} == set()


def test_only_what_a_fold_has_is_drawn() -> None:
    for name in ("small", "outer"):
        programs = (random_case(seed, MACHINES[name]).program for seed in range(30))
        found = [i for p in programs for i in p.instructions if isinstance(i, Contract)]
        assert not any(i.holds for i in found)
        assert any(i.n_k > 1 or i.nb > 1 for i in found) == (name == "small")


@pytest.mark.parametrize("kind", FEATURES, ids=lambda kind: kind.__name__)
def test_programs_hold_every(kind: type[Instruction], some: list[Instruction]) -> None:
    found = [i for i in some if isinstance(i, kind)]
    assert {name for name, holds in FEATURES[kind].items() if not any(map(holds, found))} == set()
