"""Architectures: what is refused, in one line, and what is derived."""

from pathlib import Path

import pytest

from einchip import arch
from einchip.arch import PRESETS, ArchError, Architecture


@pytest.mark.parametrize("name", PRESETS)
def test_preset_loads_by_name(name: str) -> None:
    machine = arch.load(name)
    assert machine.name == name
    assert machine == Architecture.model_validate(machine.model_dump())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rows", 6, "rows: found 6, expected a power of two"),
        ("rows", 1, "rows: found 1"),
        ("cols", 32, "cols: found 32, expected at most the 16 lanes"),
        ("acc_bits", 16, "acc_bits: found 16, expected 17 to 62"),
        ("acc_bits", 63, "acc_bits: found 63, expected 17 to 62"),
        ("x_depth", 1 << 17, "x_depth: found 131072 rows of 16 elements"),
        ("y_depth", 48, "y_depth: found 48, expected a power of two"),
        ("data_bits", 12, "data_bits: found 12"),
        ("lane", 4, "lane: unknown field, expected one of name, fold"),
    ],
)
def test_contradiction_is_named_in_one_line(field: str, value: int, message: str) -> None:
    with pytest.raises(ArchError) as error:
        PRESETS["base"].override("here", **{field: value})
    assert str(error.value).startswith(f"here: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cols": 2}, "rows: found 1, expected at least 2; a serial machine has 1 of both"),
        ({"rows": 2}, "cols: found 1, expected at least 2"),
        ({"fold": "flex"}, "fold: found flex, expected op"),
        ({"y_window": 16}, "y_window: found 16, expected 0"),
        ({"accumulators": 4}, "accumulators: found 4, expected a power of two from 2 to 2"),
    ],
)
def test_a_serial_machine_has_nothing_beside_one_multiplier(
    given: dict[str, object], message: str
) -> None:
    assert PRESETS["femto"].serial
    assert not any(arch.serial for arch in PRESETS.values() if arch.name != "femto")
    with pytest.raises(ArchError) as error:
        PRESETS["femto"].override("here", **given)
    assert str(error.value).startswith(f"here: {message}")


@pytest.mark.parametrize(
    ("fold", "given", "message"),
    [
        ("hybrid", 4, "found 4, expected a power of two from 2 to 2 with fold hybrid"),
        ("flex", 12, "found 12, expected a power of two from 2 to 64 with fold flex"),
        ("ip", 128, "found 128, expected a power of two from 2 to 64 with fold ip"),
        ("op", 1, "found 1, expected a power of two from 2 to 2 with fold op"),
    ],
)
def test_accumulators_depend_on_the_fold(fold: str, given: int, message: str) -> None:
    with pytest.raises(ArchError, match=message):
        PRESETS["base"].override(fold=fold, accumulators=given)


def test_folds_that_hold_have_more_accumulators_and_a_longer_pipeline() -> None:
    found = {}
    for fold in ("op", "hybrid", "flex", "ip"):
        a = PRESETS["base"].override(fold=fold)
        found[fold] = (a.tile_accumulators, a.accumulate_latency, a.drain_latency)
    assert found == {"op": (1, 5, 12), "hybrid": (1, 5, 14), "flex": (8, 6, 14), "ip": (8, 10, 12)}
    assert PRESETS["base"].override(fold="flex", accumulators=64).tile_accumulators == 32
    with pytest.raises(ArchError, match="fold: found 'outer'"):
        PRESETS["base"].override(fold="outer")


def test_port_wider_than_the_lanes_is_refused() -> None:
    with pytest.raises(ArchError, match="port_bytes: found 8"):
        PRESETS["nano"].override(port_bytes=8)
    assert PRESETS["nano"].override(port_bytes=8, data_bits=16).port_elements == 4


def test_accumulator_follows_the_data_width_unless_given() -> None:
    wide = PRESETS["nano"].override(data_bits=16)
    assert (PRESETS["nano"].acc_bits, wide.acc_bits) == (32, 48)
    assert PRESETS["nano"].override(data_bits=16, acc_bits=40).acc_bits == 40


def test_derived_sizes() -> None:
    a = PRESETS["small"]
    assert a.n_pes == 64
    assert a.capacity(0) == 8 * a.x_depth
    assert 2 ** a.address_bits(1) == a.capacity(1)
    assert (a.element_bytes, a.port_elements, a.cell_planes) == (1, 8, 2)
    wide = a.override(data_bits=16)
    assert (wide.element_bytes, wide.port_elements, wide.cell_planes) == (2, 4, 1)


def test_drain_pipeline_grows_by_a_stage_per_level_of_its_tree() -> None:
    depths = [PRESETS[name].drain_latency for name in ("nano", "small", "base")]
    assert depths == [12, 13, 14]


@pytest.mark.parametrize(("n", "bits"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (64, 6)])
def test_clog2(n: int, bits: int) -> None:
    assert arch.clog2(n) == bits


def test_hash_tells_hardware_apart_but_not_names() -> None:
    base = PRESETS["base"]
    assert base.config_hash == base.override(name="other").config_hash
    others = {PRESETS[n].config_hash for n in PRESETS} | {base.override(rows=8).config_hash}
    assert len(others) == len(PRESETS) + 1
    assert all(0 <= h < 2**32 for h in others)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("lstm", ("lstm",)),
        ("gru+lstm", ("lstm", "gru")),
        (["gru_before", "lstm", "lstm"], ("lstm", "gru_before")),
        ([], ()),
        ("none", ()),
        (arch.CELLS, arch.CELLS),
    ],
)
def test_cells_are_a_list_or_joined_names(given: object, found: tuple[str, ...]) -> None:
    machine = arch.load("nano", {"cells": given})
    assert machine.cells == found
    assert arch.load("nano", {"cells": machine.cell_names}) == machine
    assert (machine.config_hash == PRESETS["nano"].config_hash) == (found == arch.CELLS)


@pytest.mark.parametrize("given", ["", "lstm,gru", "rnn", ["lstm", 3], 3, None])
def test_other_cells_are_refused_in_one_line(given: object) -> None:
    with pytest.raises(ArchError, match=r"^--set: cells.*: found ") as error:
        arch.load("nano", {"cells": given})
    assert "\n" not in str(error.value)


def test_file_starts_from_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("preset: nano\nx_depth: 64\n")
    found = arch.load(str(path), {"y_depth": 32})
    assert (found.name, found.rows, found.x_depth, found.y_depth) == ("nano*", 4, 64, 32)


def test_file_of_all_fields_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{rows: 4, cols: 4, lanes: 4, x_depth: 16, y_depth: 16, port_bytes: 4}")
    assert arch.load(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: 4", ": cols: field required"),
        ("[4]", ": found list, expected a mapping of fields"),
        (
            "preset: huge",
            ":1: preset: found 'huge', expected one of femto, pico, nano, small",
        ),
        ("rows: [", ":1: not a YAML file: "),
    ],
)
def test_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ArchError) as error:
        arch.load(str(path))
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_missing_file_and_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchError, match="cannot read the file"):
        arch.load(str(tmp_path / "none.yaml"))
    with pytest.raises(ArchError, match="found 'tiny', expected one of femto, pico, nano, small"):
        arch.load("tiny")


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_overridden_by_the_same_is_the_same_machine(name: str) -> None:
    arch = PRESETS[name]
    same = arch.override(data_bits=arch.data_bits, fold=arch.fold)
    assert (same, same.config_hash) == (arch, arch.config_hash)
