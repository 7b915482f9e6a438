"""Strided accesses against loops written out, and against the fields' names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einchip import reference
from einchip.accesses import (
    VECTORS,
    Access,
    accesses,
    first_addresses,
    operations,
    streams,
    vector_accesses,
)
from einchip.arch import PRESETS, Architecture
from einchip.program import (
    INSTRUCTIONS,
    Contract,
    Copy,
    Fill,
    Gru,
    GruReset,
    GruUpdate,
    Instruction,
    Load,
    Lstm,
    Peephole,
    Store,
    Unit,
    UnitInstruction,
    Vector,
)
from tests.sim.programs import MACHINES, contracts

NANO = PRESETS["nano"]
REGISTERS = (0, 100, 200, 300, 400, 500, 2**32 - 8, 0)
TERMS = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), max_size=3).map(tuple)


@given(st.integers(0, 50), TERMS, TERMS)
def test_addresses_are_the_nest_written_out(
    base: int, temporal: tuple[tuple[int, int], ...], lanes: tuple[tuple[int, int], ...]
) -> None:
    def nest(terms: tuple[tuple[int, int], ...]) -> list[int]:
        found = [0]
        for count, stride in terms:  # the first term's index is the fastest
            found = [a + k * stride for k in range(count) for a in found]
        return found

    access = Access("source", 0, base, temporal, lanes, False)
    rows = [[base + t + lane for lane in nest(lanes)] for t in nest(temporal)]
    assert access.addresses().tolist() == rows
    every = {a for row in rows for a in row}
    assert access.elements() == every
    assert access.last == max(every)
    assert access.residues(4) == [lane % 4 for lane in nest(lanes)]


@given(data=st.data(), arch=st.sampled_from(MACHINES))
def test_accesses_of_a_contraction_are_the_addresses_of_the_reference_in_order(
    data: st.DataObject, arch: Architecture
) -> None:
    i = data.draw(contracts(arch))
    expected = reference.contract_addresses(i, REGISTERS)
    n_x, n_y, n_z = i.tiles * i.tile_iterations * i.nh, i.tiles * i.tile_iterations, i.tiles
    vectors = {
        "X operand": expected.x.reshape(n_x, -1),
        "Y operand": expected.y.reshape(n_y * i.held_issues, -1),
        "result": np.moveaxis(expected.z, 4, 2).reshape(n_z * i.tile_rows, -1),
        "addend": np.moveaxis(expected.d, 4, 2).reshape(n_z * i.tile_rows, -1),
    }
    found = accesses(i, REGISTERS, arch)
    assert [a.what for a in found] == list(vectors)[: 3 + i.has_addend]
    for a in found:
        assert np.array_equal(np.sort(a.addresses()), np.sort(vectors[a.what]))


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        (Contract(x_base=1, y_reg=1, z_space=1, z_base=3), [(0, 1), (1, 100), (1, 3)]),
        (Contract(has_addend=1, d_space=1, d_reg=2), [(0, 0), (1, 0), (0, 0), (1, 200)]),
        (Load(space=1, addr=8, addr_reg=1), [(1, 108)]),
        (Store(addr=9, addr_reg=6), [(0, 1)]),
        (Fill(src_base=9, dst_base=2), [(0, 2)]),
        (Copy(src_base=9, dst_space=1, aux_base=7), [(0, 9), (1, 0)]),
        (Lstm(cell_reg=3, aux_base=7), [(0, 0), (0, 0), (0, 300)]),
        (GruReset(src_reg=1, cell_space=1, aux_base=7), [(0, 100), (0, 0), (1, 0)]),
        *(
            (kind(src_base=1, dst_base=2, cell_base=4, aux_space=1, aux_base=5, aux_reg=4),
             [(0, 1), (0, 2), (0, 4), (1, 405)])
            for kind in (Peephole, Gru, GruUpdate)
        ),
    ],
)  # fmt: skip
def test_first_addresses_are_those_that_are_used(
    instruction: UnitInstruction, expected: list[tuple[int, int]]
) -> None:
    assert first_addresses(instruction, REGISTERS) == expected
    touched = {(a.space, a.base) for a in accesses(instruction, REGISTERS, NANO)}
    assert set(expected) <= touched
    assert len(streams(instruction)) == len(expected)


def test_every_instruction_of_the_vector_unit_is_known() -> None:
    assert set(VECTORS) == {kind for kind in INSTRUCTIONS if kind.UNIT is Unit.VECTOR}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", VECTORS)
def test_reads_and_writes_of_a_vector_follow_its_class(kind: type[Instruction], bits: int) -> None:
    arch, i = NANO.override(data_bits=bits), kind()
    assert isinstance(i, VECTORS)
    reads, writes = vector_accesses(i, REGISTERS, arch)
    planes = 16 // bits
    n_states = sum(read.source == "state" for read in i.READS)
    assert len(reads) == len(i.READS) + n_states * (planes - 1)
    assert [a.what for a in writes] == ["state"] * planes * i.WRITES_STATE + ["destination"]
    assert not any(a.write for a in reads)
    assert all(a.write for a in writes)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [kind for kind in VECTORS if kind.STATE_BESIDE])
def test_a_state_with_a_port_of_its_own_is_read_beside_the_source(
    kind: type[Vector], bits: int
) -> None:
    arch, planes = NANO.override(data_bits=bits), 16 // bits
    sources = [read.source for read in kind.READS]
    assert sources[0] == "state"
    assert "state" not in sources[1:]
    assert sources[1 : 1 + planes] == ["src"] * planes
    n = planes + len(sources) - 1
    together = operations(kind, {"src": 2, "cell": 2, "aux": 1}, arch)
    assert together == tuple((k,) for k in range(n))
    apart = operations(kind, {"src": 2, "cell": 0, "aux": 1}, arch)
    assert [len(reads) for reads in apart] == [2] * planes + [1] * (n - 2 * planes)
    assert sorted(k for reads in apart for k in reads) == list(range(n))


def test_other_vectors_take_an_operation_for_each_read() -> None:
    for kind in (kind for kind in VECTORS if not kind.STATE_BESIDE):
        found = operations(kind, {"src": 0, "cell": 1, "aux": 2}, NANO)
        n = len(vector_accesses(kind(), REGISTERS, NANO).reads)
        assert found == (tuple((k,) for k in range(n)) or ((),))
