"""Random programs are sound, have no races, and hold what they are meant to hold."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip import check
from einchip.program import Contract, Copy, Fill, Load, Loop, Lstm, Program, SetRegister, Store
from tests.system import ordering
from tests.system.machines import MACHINES
from tests.system.programs import Case, cases, random_case

ARCHITECTURES = pytest.mark.parametrize("arch", MACHINES.values(), ids=MACHINES)


@given(st.data(), st.sampled_from(list(MACHINES.values())))
def test_programs_keep_every_rule_and_have_no_races(data: st.DataObject, arch) -> None:
    case = data.draw(cases(arch))
    assert check.verify(case.program, arch, case.host) == []
    assert ordering.races(case.program, arch, case.host) == []
    assert Program.decode(case.program.encode()) == case.program


@ARCHITECTURES
def test_a_seed_names_one_program(arch) -> None:
    first, second = random_case(3, arch), random_case(3, arch)
    assert first.program == second.program
    assert first.host == second.host
    assert first.memory.external == second.memory.external


@ARCHITECTURES
def test_a_program_without_its_tokens_has_races(arch) -> None:
    found = 0
    for seed in range(20):
        case = random_case(seed, arch)
        bare = tuple(
            type(i)(**{**i.__dict__, "wait": 0, "signal": 0}) if hasattr(i, "wait") else i
            for i in case.program.instructions
        )
        found += bool(ordering.races(Program(bare), arch, case.host))
    assert found > 5


#: What some random program must hold; the oracle is the list itself.
FEATURES: dict[str, Callable[[object], bool]] = {
    "lanes are summed": lambda i: isinstance(i, Contract) and i.n_k > 1,
    "two factors are summed": lambda i: isinstance(i, Contract) and i.nk0 > 1 and i.nk1 > 1,
    "shared lanes": lambda i: isinstance(i, Contract) and i.nb > 1,
    "blocks beside empty ones": lambda i: isinstance(i, Contract) and bool(i.n_k & (i.n_k - 1)),
    "shared lanes beside empty ones": lambda i: isinstance(i, Contract) and i.nb == 3,
    "the whole array": lambda i: isinstance(i, Contract) and i.n_m == i.n_n == 4,
    "two output factors": lambda i: isinstance(i, Contract) and i.nm1 > 1 and i.nn1 > 1,
    "tiles and iterations": lambda i: isinstance(i, Contract) and min(i.tiles, i.tile_iterations) > 1,
    "no reduction loop": lambda i: isinstance(i, Contract) and i.n_reduce == 0 and i.tiles > 1,
    "only reduction loops": lambda i: isinstance(i, Contract) and i.n_reduce == 6,
    "an outermost loop": lambda i: isinstance(i, Contract) and i.loop_count[5] > 1,
    "an addend": lambda i: isinstance(i, Contract) and i.has_addend == 1,
    "an addend in place": lambda i: isinstance(i, Contract)
    and i.has_addend == 1
    and (i.d_space, i.d_base) == (i.z_space, i.z_base),
    "a sigmoid": lambda i: isinstance(i, Contract) and i.act == 1,
    "a tanh": lambda i: isinstance(i, Contract) and i.act == 2,
    "a result in X": lambda i: isinstance(i, Contract) and i.z_space == 0,
    "a result in Y": lambda i: isinstance(i, Contract) and i.z_space == 1,
    "an LSTM of several vectors": lambda i: isinstance(i, Lstm) and i.vectors > 1,
    "a copy between scratchpads": lambda i: isinstance(i, Copy) and i.src_space != i.dst_space,
    "a fill with two lane factors": lambda i: isinstance(i, Fill) and i.nl0 > 1 and i.nl1 > 1,
    "a load of several bursts": lambda i: isinstance(i, Load) and i.beats > 64,
    "a store of one beat": lambda i: isinstance(i, Store) and i.beats == 1,
    "a register in an address": lambda i: getattr(i, "x_reg", 0) > 0 or getattr(i, "addr_reg", 0) > 0,
    "a count from the host": lambda i: isinstance(i, Loop) and i.arg > 0,
    "a register that toggles": lambda i: isinstance(i, SetRegister) and i.mode == 2,
    "an instruction that waits twice": lambda i: getattr(i, "wait", 0).bit_count() > 1,
}  # fmt: skip


@pytest.mark.parametrize("feature", FEATURES)
def test_programs_hold(feature: str) -> None:
    instructions = (i for seed in range(300) for i in _program(seed).program.instructions)
    assert any(FEATURES[feature](i) for i in instructions)


def _program(seed: int, known: dict[int, Case] = {}) -> Case:  # noqa: B006
    if seed not in known:
        known[seed] = random_case(seed, MACHINES["small"])
    return known[seed]
