"""Serial machines: what the mapper predicts, by its own sums, is what the simulator takes."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip.arch import PRESETS, Architecture
from einchip.compiler.compiled import compile_model
from einchip.mapper import serial
from einchip.mapper.timeline import predict
from einchip.program import Contract, Halt, Program, UnitInstruction
from einchip.sim import simulate
from tests.compiler import cases
from tests.system.machines import SERIAL
from tests.system.programs import random_case

ARCHS = [PRESETS["femto"], *SERIAL]


@pytest.mark.parametrize("arch", ARCHS, ids=lambda arch: arch.name)
def test_instructions_take_the_predicted_cycles(arch: Architecture) -> None:
    for seed in range(60):
        for i in random_case(seed, arch).program.instructions:
            alone = Program((i, Halt()))
            if isinstance(i, UnitInstruction):
                run = simulate(alone, arch, fetch=False)
                assert run.error is not None or predict(alone, arch) == run.cycles


@given(
    counts=st.lists(st.integers(1, 5), min_size=6, max_size=6),
    n_reduce=st.integers(0, 6),
    addend=st.booleans(),
)
def test_what_a_search_counts_is_less(counts: list[int], n_reduce: int, addend: bool) -> None:
    found = Contract(loop_count=tuple(counts), n_reduce=n_reduce, has_addend=int(addend))
    least = serial.least_contract(found.tiles, prod(counts[:n_reduce]), addend)
    assert least <= serial.contract(found)


@pytest.mark.parametrize("n_steps", [1, 5])
@pytest.mark.parametrize("name", ["mpo lstm", "mps lstm"])
def test_models_take_the_predicted_cycles(name: str, n_steps: int) -> None:
    arch = PRESETS["femto"]
    compiled = compile_model(cases.model(name), arch, cases.sequences(name, (4, 2, 5)))
    mapping = compiled.mapping
    run = simulate(
        mapping.emit().run, arch, host=mapping.host(n_steps, 0, 1 << 16, 1 << 17), fetch=False
    )
    assert run.error is None
    assert mapping.cycles(n_steps) == run.cycles
