"""Memory after a simulation against `reference.run`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip import reference
from einchip.accesses import VECTORS
from einchip.program import Contract, Error, Load, Store
from einchip.reference import Memory
from einchip.sim import simulate
from tests.sim.programs import MACHINES, programs

EXTERNAL_BYTES = 1 << 17


@given(st.data(), st.integers(0, 2**32 - 1))
def test_memory_is_the_reference_s(data: st.DataObject, seed: int) -> None:
    arch = data.draw(st.sampled_from(MACHINES))
    program = data.draw(programs(arch))
    rng = np.random.default_rng(seed)
    memory = Memory.empty(arch, EXTERNAL_BYTES)
    for space in (0, 1):
        memory.space(space)[:] = rng.integers(-100, 100, arch.capacity(space))
    memory.external[:] = rng.bytes(EXTERNAL_BYTES)
    expected = memory.copy()
    run = simulate(program, arch, memory=memory, check_banks=False)
    if run.error is not None and run.error[0] is Error.TOKEN:
        return  # of which the reference knows nothing
    if run.error is not None:
        with pytest.raises(reference.MachineError):
            reference.run(program, arch, expected)
        return
    reference.run(program, arch, expected)
    assert np.array_equal(memory.x, expected.x)
    assert np.array_equal(memory.y, expected.y)
    assert memory.external == expected.external


@given(st.data())
def test_counters_are_the_work_of_the_executed_instructions(data: st.DataObject) -> None:
    arch = data.draw(st.sampled_from(MACHINES))
    run = simulate(data.draw(programs(arch)), arch, check_banks=False, fetch=False)
    if run.error is not None:
        return
    done = [e.instruction for e in run.timeline]
    n = run.counters
    assert n["macs"] == sum(i.macs for i in done if isinstance(i, Contract))
    vectors = [i for i in done if isinstance(i, VECTORS)]
    assert n["vector_ops"] == sum(i.n_lanes * i.vectors for i in vectors)
    assert n["dma_read_beats"] == sum(i.beats for i in done if isinstance(i, Load))
    assert n["dma_write_beats"] == sum(i.beats for i in done if isinstance(i, Store))
