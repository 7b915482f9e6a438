"""Energy: hand-made sums from cited figures, and refusals where there is none."""

import io
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from einchip import energy
from einchip.arch import PRESETS
from einchip.energy import EnergyError
from einchip.program import (
    Copy,
    Fill,
    Gru,
    GruReset,
    GruUpdate,
    Instruction,
    Lstm,
    Peephole,
    Program,
)
from einchip.registers import COUNTERS

SMALL = PRESETS["small"]  # scratchpads of 32 KiB


def counters(**given: int) -> dict[str, int]:
    return {c.name: given.get(c.name, 0) for c in COUNTERS}


@pytest.mark.parametrize("name", energy.tables())
def test_every_table_charges_everything_on_every_preset(name: str) -> None:
    ones = {c.name: 1000 for c in COUNTERS}
    for arch in PRESETS.values():
        for machine in (arch, arch.override(data_bits=16)):
            found = energy.energy(ones, machine, name)
            assert all(line.total_pj > 0 for line in found.lines)
            assert found.total_pj == pytest.approx(sum(found.by_component.values()))


@pytest.mark.parametrize("name", energy.tables())
def test_nothing_done_costs_nothing(name: str) -> None:
    assert energy.energy(counters(), SMALL, name).total_pj == 0


def test_horowitz_s_figures_come_out() -> None:
    table = energy.load("horowitz45")
    assert table.multiply_pj(8) == 0.2
    assert table.multiply_pj(32) == 3.1
    # on the line through (8^2, 0.2) and (32^2, 3.1)
    assert table.multiply_pj(16) == pytest.approx(0.2 + 2.9 * (256 - 64) / (1024 - 64))
    assert table.add_pj(8) == 0.03
    assert table.add_pj(32) == 0.1
    assert table.mac_pj(8, 32) == pytest.approx(0.3)
    assert table.sram_pj(8192, 64) == pytest.approx(10)
    assert table.sram_pj(32768, 64, write=True) == pytest.approx(20)
    assert table.sram_pj(1 << 20, 64) == pytest.approx(100)
    assert table.dram_pj(64) == 1300


def test_sizes_between_two_lie_on_the_line_of_the_logarithms() -> None:
    table = energy.load("horowitz45")
    # half way between 8 and 32 KiB in the logarithm: the geometric mean of 10 and 20
    assert table.sram_pj(16384, 64) == pytest.approx((10 * 20) ** 0.5)
    assert table.sram_pj(64, 64) == pytest.approx(10)
    assert table.sram_pj(1 << 22, 64) > 100


def test_components_of_a_run_add_up_by_hand() -> None:
    n = counters(cycles=10, macs=100, x_reads=8, y_writes=16, drained=4, dma_read_beats=2)
    found = energy.energy(n, SMALL, "horowitz45").by_component
    assert found["array"] == pytest.approx(100 * 0.3)
    assert found["scratchpad X"] == pytest.approx(8 * 20 / 8)
    assert found["scratchpad Y"] == pytest.approx(16 * 20 / 8)
    assert found["drain"] == pytest.approx(4 * (3 + 2) * 0.1)
    assert found["external memory"] == pytest.approx(2 * 1300)


@pytest.mark.parametrize(("fold", "levels"), [("op", 0), ("hybrid", 3), ("flex", 3), ("ip", 0)])
def test_results_pay_for_the_levels_of_the_tree_that_they_pass(fold: str, levels: int) -> None:
    found = energy.energy(counters(drained=4), SMALL.override(fold=fold), "horowitz45")
    assert found.by_component["drain"] == pytest.approx(4 * (levels + 2) * 0.1)


def test_zigzag_charges_its_own_figures() -> None:
    n = counters(macs=100, x_reads=64, x_writes=64, dma_write_beats=3)
    found = energy.energy(n, SMALL, "zigzag")
    assert found.by_component["array"] == pytest.approx(4)
    assert found.by_component["scratchpad X"] == pytest.approx(22.9 + 52)
    assert found.external_pj == pytest.approx(3 * 750)
    assert found.chip_pj == pytest.approx(4 + 22.9 + 52)


def test_cacti_s_memory_comes_out_at_its_own_size() -> None:
    table = energy.load("cacti28")
    assert table.sram_pj(65536, 128) == pytest.approx(15.4)
    assert table.sram_pj(65536, 128, write=True) == pytest.approx(13.9)


def test_zigzag_s_memories_come_out_at_their_own_sizes() -> None:
    table = energy.load("zigzag")
    assert table.sram_pj(1 << 21, 2048) == pytest.approx(416.16)
    assert table.sram_pj(1 << 21, 2048, write=True) == pytest.approx(378.4)
    assert table.sram_pj(1 << 10, 512) == pytest.approx(22.9)


def test_activation_shared_by_copies_is_charged_as_an_upper_bound() -> None:
    cells = energy.energy(counters(vector_ops=10, activations=50), SMALL, "horowitz45")
    copies = energy.energy(counters(vector_ops=10), SMALL, "horowitz45")
    assert cells.by_component["vector"] > 0
    assert copies.by_component["vector"] == 0


#: 16-bit multiplications and 32-bit additions of an element, and its activations, by hand from the
#: formulas of `numeric`: parts rounded + products rounded + sums + the result rounded.
HAND: dict[type[Instruction], tuple[int, int, int]] = {
    Lstm: (3, 4 + 0 + 1 + 1, 5),
    Peephole: (6, 4 + 3 + 4 + 1, 5),
    Gru: (3, 6 + 1 + 5 + 1, 3),
    GruReset: (1, 1 + 0 + 0 + 1, 1),
    GruUpdate: (2, 2 + 0 + 2 + 1, 2),
}
MIXES = st.dictionaries(st.sampled_from(list(HAND)), st.integers(1, 99), min_size=1)


Elements = dict[type[Instruction], int]


def hand_pj(elements: Elements) -> float:
    table = energy.load("horowitz45")
    parts = {k: HAND[k][0] * table.multiply_pj(16) + HAND[k][1] * table.add_pj(32) for k in HAND}
    return sum(n * parts[kind] for kind, n in elements.items())


def vector_pj(elements: Elements, copied: int, program: Program | None) -> float:
    n = counters(
        vector_ops=sum(elements.values()) + copied,
        activations=sum(n * HAND[kind][2] for kind, n in elements.items()),
    )
    return energy.energy(n, SMALL, "horowitz45", program).by_component["vector"]


@pytest.mark.parametrize("kind", HAND)
def test_cell_alone_is_charged_its_own_operations(kind: type[Instruction]) -> None:
    program = Program((Fill(), kind(), Copy()))
    for copied in (0, 30):
        assert vector_pj({kind: 20}, copied, program) == pytest.approx(hand_pj({kind: 20}))


@given(MIXES, st.integers(0, 99))
def test_cells_together_are_never_charged_too_little(elements: Elements, n: int) -> None:
    program = Program(tuple(kind() for kind in elements))
    least = hand_pj(elements) * (1 - 1e-9)
    assert least <= vector_pj(elements, n, program) <= vector_pj(elements, n, None) * (1 + 1e-9)


def test_program_without_cells_is_charged_none() -> None:
    found = energy.energy(
        counters(vector_ops=9, activations=9), SMALL, "zigzag", Program((Copy(),))
    )
    assert "vector" not in found.by_component


SIZE = {"bytes": 1024, "bits": 8, "read": 1, "write": 1}


def written(tmp_path: Path, **changes: object) -> str:
    path = Path(energy.__file__).with_name("horowitz45.yaml")
    fields = {**yaml.safe_load(path.read_text()), **changes}
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({k: v for k, v in fields.items() if v is not None}))
    return str(mine)


@pytest.mark.parametrize("action", ["add", "multiply", "sram", "dram"])
def test_action_without_a_coefficient_is_an_error(tmp_path: Path, action: str) -> None:
    table = written(tmp_path, **{action: None})
    with pytest.raises(EnergyError, match=f"horowitz45: no coefficient for {action}"):
        energy.energy(counters(), SMALL, table)


def test_leakage_is_charged_only_where_the_source_has_it(tmp_path: Path) -> None:
    leakage = {"unit": "mW", "power": 2.0, "clock_mhz": 500.0}
    found = energy.energy(counters(cycles=1000), SMALL, written(tmp_path, leakage=leakage))
    # 2 mW for 1000 cycles of 2 ns
    assert found.by_component["leakage"] == pytest.approx(2e-3 * 2e-6 * 1e12)
    assert "leakage" not in energy.energy(counters(), SMALL, "horowitz45").by_component


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": ""}, "source: "),
        ({"voltage": 1}, "voltage: "),
        ({"voltage_v": None}, "voltage_v: field required"),
        ({"node_nm": 0}, "node_nm: "),
        ({"add": {"unit": "pJ", "points": {8: 0.0}, "rule": "exact"}}, "add.points.8: "),
        ({"add": {"unit": "pJ", "points": {8: float("inf")}, "rule": "exact"}}, "add.points.8: "),
        ({"add": {"unit": "pJ", "points": {-8: 1.0}, "rule": "exact"}}, "add.points.-8"),
        ({"sram": {"unit": "pJ per access", "larger": "line", "points": [SIZE, SIZE]}}, "one size"),
        ({"add": {"unit": "nJ", "points": {8: 1.0}, "rule": "exact"}}, "add.unit: "),
        ({"add": {"unit": "pJ", "points": {8: 1.0}, "rule": "linear"}}, "needs two points"),
    ],
)
def test_bad_table_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        energy.load(written(tmp_path, **changes))


@pytest.mark.parametrize("field", ["node_nm", "voltage_v"])
def test_what_no_source_names_needs_a_note(tmp_path: Path, field: str) -> None:
    content = energy.load("horowitz45").model_dump(mode="json", exclude_unset=True)
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(content | {field: None}))
    with pytest.raises(EnergyError, match="process_note: missing, needed where"):
        energy.load(str(mine))
    mine.write_text(yaml.safe_dump(content | {field: None, "process_note": "none is named"}))
    assert "process: none is named" in energy.load(str(mine)).notes()


def test_coefficient_has_the_origin_of_its_table_or_its_own() -> None:
    """Oracle: the files."""
    table = energy.load("cacti45")
    assert table.origin() == (table.source, 45, None)
    assert table.origin("add") == table.origin()
    assert table.origin("sram") == (table.source, 45, 1.1)
    assert table.origin("dram") == ("Horowitz, ISSCC 2014", None, None)
    assert energy.load("horowitz45").origin().process() == "45 nm, 0.9 V"
    assert energy.load("zigzag").origin().process() == "process and voltage not named"


@pytest.mark.parametrize(("name", "factor"), [("cacti45", 1.1507784), ("cacti28", 0.5906339)])
def test_aladdin_s_operations_are_those_of_its_library(name: str, factor: float) -> None:
    """Oracle: the library's 40 nm (32 x 32 bit 12.68 pJ, 32-bit addition 0.21 pJ), scaled."""
    table = energy.load(name)
    for bits in (8, 16, 32):
        expected = 12.68 * factor * (bits / 32) ** 2
        assert table.multiply_pj(bits) == pytest.approx(expected, rel=2e-3)
        assert table.add_pj(bits) == pytest.approx(0.21 * factor * bits / 32, rel=2e-3)
    assert table.mac_pj(8, 32) == pytest.approx({"cacti45": 1.1537, "cacti28": 0.5921}[name], 1e-3)


def test_larger_memory_may_be_several_of_the_largest(tmp_path: Path) -> None:
    """Oracle: by hand, 10 and 20 pJ per 64 bit."""
    points = [{"bytes": b, "bits": 64, "read": e, "write": e} for b, e in ((8192, 10), (32768, 20))]
    sram = {"unit": "pJ per access", "points": points}
    several = energy.load(written(tmp_path, sram=sram | {"larger": "several"}))
    assert several.sram_pj(1 << 20, 64) == pytest.approx(20)
    line = energy.load(written(tmp_path, sram=sram | {"larger": "line"}))
    assert line.sram_pj(131072, 64) == pytest.approx(40)


def test_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(EnergyError, match="found 'none', expected one of cacti28, cacti45"):
        energy.load("none")


def test_result_prints_its_table_with_source_and_what_is_missing() -> None:
    text = io.StringIO()
    found = energy.energy(counters(macs=7, cycles=1), SMALL, "cacti28")
    Console(file=text, width=200).print(found)
    for part in ("28 nm", "MAC", "CACTI", "not modelled: clock tree", "external memory"):
        assert part in text.getvalue()
