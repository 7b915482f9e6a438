"""Block RAM by geometry, against cases by hand and what Yosys mapped."""

import pytest

from einchip.arch import PRESETS
from einchip.fpga.fit import measure
from einchip.fpga.fit.memories import (
    BLOCKS,
    SPRAMS,
    Ram,
    block_rams,
    rams,
    single_port_words,
    sprams,
)
from einchip.fpga.fit.units import SERIAL, SYSTEM, Design, units_of
from einchip.fpga.targets.families import ECP5, GOWIN, ICE40, NEXUS, SPRAM
from einchip.hw.microcode import LAYOUT
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


@pytest.mark.parametrize(
    ("ram", "blocks"),
    [
        (Ram(1, 512, 16), 1),
        (Ram(1, 16384, 32, 4), 2),  # 64 KiB of words: two side by side
        (Ram(1, 32768, 32, 4), 4),
        (Ram(1, 1024, 128, 16), 8),
        (single_port_words(16384), 1),
        (single_port_words(16385), 2),
        (single_port_words(32768), 2),
    ],
)
def test_spram_of_256_kbit(ram: Ram, blocks: int) -> None:
    assert SPRAMS[ICE40.title].of(ram) == blocks


def test_the_boards_memory_is_spram_where_the_family_has_some() -> None:
    pico = Design(PRESETS["pico"], 1 << 16)
    assert (block_rams("memory", pico, ICE40), sprams("memory", pico, ICE40)) == (0, 2)
    assert (block_rams("memory", pico, ECP5), sprams("memory", pico, ECP5)) == (32, 0)


def test_a_machine_has_these_memories() -> None:
    nano = Design(PRESETS["nano"].override(x_window=256), 1 << 16)
    found = {
        unit: [(r.n, r.rows, r.bits) for r in rams(unit, nano)] for unit in units_of(nano.arch)
    }
    assert found["scratchpad_x"] == [(4, 2048, 8), (4, 256, 8)]
    assert found["scratchpad_y"] == [(4, 2048, 8)]
    assert found["sequencer"] == [(1, 512, 128)]
    assert found["memory"] == [(1, 16384, 32)]
    [table_of_array], [table_of_vector] = found["array"], found["vector"]
    assert (table_of_array[0], table_of_vector[0]) == (4, 8)
    assert found["control"] == [(1, len(COUNTERS), 64)]
    assert not any(found[unit] for unit in ("load", "store", "tokens"))


def test_a_serial_machine_has_these_memories() -> None:
    femto = Design(PRESETS["femto"], 1 << 16)
    counters, micro, registers, local = rams(SERIAL, femto)
    assert (counters.rows, counters.bits) == (len(COUNTERS), 64)
    assert micro.bits == LAYOUT.size
    assert micro.rows <= 5 * 256  # rows of block RAM of iCE40
    assert (registers.n, registers.rows, registers.bits) == (2, 384, 32)
    assert (local.rows, local.bits) == (2 * 4096 + 512 * 8, 16)
    assert (block_rams(SERIAL, femto, ICE40), sprams(SERIAL, femto, ICE40)) == (27, 1)


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: str(row.case))
def test_block_ram_is_what_yosys_maps(row: measure.Row) -> None:
    case = row.case
    family = measure.FAMILIES[case.family]
    units = units_of(case.design.arch) if case.unit == SYSTEM else (case.unit,)
    by_geometry = sum(block_rams(unit, case.design, family) for unit in units)
    found = row.counted()["block_ram"]
    if BLOCKS[case.family].lut_ram:
        assert found == by_geometry
    else:  # small memories, too
        assert found >= by_geometry
    found = row.counted().get(SPRAM, 0)
    assert found == sum(sprams(unit, case.design, family) for unit in units)
