"""Block RAM by geometry, against cases by hand and what Yosys mapped."""

import pytest

from einchip.arch import PRESETS
from einchip.fpga.fit import measure
from einchip.fpga.fit.memories import BLOCKS, Ram, block_rams, rams
from einchip.fpga.fit.units import SYSTEM, UNITS, Design
from einchip.fpga.targets.families import ECP5, GOWIN, ICE40, NEXUS
from einchip.registers import COUNTERS

MEASURED = measure.read()


@pytest.mark.parametrize(
    ("ram", "blocks"),
    [
        (Ram(1, 2048, 8), 1),  # 2048 x 9
        (Ram(1, 4096, 8), 2),
        (Ram(8, 4096, 8), 16),
        (Ram(1, 4096, 16), 4),
        (Ram(1, 512, 36), 1),
        (Ram(1, 512, 37), 2),
        (Ram(1, 512, 128), 4),
        (Ram(1, 512, 128, 8), 4),  # parts of 16 bits are two bytes of 9: two in 36
        (Ram(1, 512, 128, 2), 4),
        (Ram(1, 16384, 32, 4), 32),  # 64 KiB of words: 2 KiB a block
        (Ram(1, 8192, 32, 4), 16),
        (Ram(1, 64, 8), 0),  # 4 x 2 cells of LUT RAM are cheaper
        (Ram(1, 37, 64), 0),
        (Ram(1, 37, 64, is_block=True), 2),
    ],
)
def test_blocks_of_18_kbit(ram: Ram, blocks: int) -> None:
    for family in (ECP5, NEXUS, GOWIN):
        assert BLOCKS[family.title].of(ram) == blocks


@pytest.mark.parametrize(
    ("ram", "blocks"),
    [
        (Ram(1, 512, 8), 1),
        (Ram(1, 256, 16), 1),
        (Ram(1, 256, 33), 3),
        (Ram(2, 4096, 8), 16),
        (Ram(1, 512, 128, 8), 16),
        (Ram(1, 1024, 32, 4), 8),
        (Ram(1, 37, 64), 4),  # no LUT RAM
    ],
)
def test_blocks_of_4_kbit(ram: Ram, blocks: int) -> None:
    assert BLOCKS[ICE40.title].of(ram) == blocks


def test_a_machine_has_these_memories() -> None:
    nano = Design(PRESETS["nano"].override(x_window=256), 1 << 16)
    found = {unit: [(r.n, r.rows, r.bits) for r in rams(unit, nano)] for unit in UNITS}
    assert found["scratchpad_x"] == [(4, 2048, 8), (4, 256, 8)]
    assert found["scratchpad_y"] == [(4, 2048, 8)]
    assert found["sequencer"] == [(1, 512, 128)]
    assert found["memory"] == [(1, 16384, 32)]
    [table_of_array], [table_of_vector] = found["array"], found["vector"]
    assert (table_of_array[0], table_of_vector[0]) == (4, 8)
    assert found["control"] == [(1, len(COUNTERS), 64)]
    assert not any(found[unit] for unit in ("load", "store", "tokens"))


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: str(row.case))
def test_block_ram_is_what_yosys_maps(row: measure.Row) -> None:
    case = row.case
    family = measure.FAMILIES[case.family]
    units = UNITS if case.unit == SYSTEM else (case.unit,)
    by_geometry = sum(block_rams(unit, case.design, family) for unit in units)
    found = row.counted()["block_ram"]
    if BLOCKS[case.family].lut_ram:
        assert found == by_geometry
    else:  # small memories, too
        assert found >= by_geometry
