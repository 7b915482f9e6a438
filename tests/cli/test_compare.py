"""`einchip compare`: what it prints and writes, and what it refuses."""

import json
from pathlib import Path

import pytest

from einchip import energy
from einchip.arch import PRESETS
from einchip.compare import BASELINES, Comparison, compare
from einchip.workloads import Workload, read
from tests.cli.helpers import invoke, refused, succeeded

ENTRIES = """\
- {name: a small one, format: mpo, in_modes: [4, 4], out_modes: [4, 4], ranks: [1, 2, 1]}
- {name: another, format: mps, in_modes: [4, 4], out_modes: [4, 4], ranks: [1, 2, 2, 2, 1]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.yaml"
    path.write_text(ENTRIES)
    return path


def test_figures_are_those_of_the_library(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ("SMALL", "--file", file, "--arch", "small", "--batch", 3, "--json", out)
    text = succeeded(invoke("compare", *arguments))
    [matrix] = read(file)[0].matrices
    found = compare(matrix, PRESETS["small"], energy.load("horowitz45"), 3)
    assert isinstance(found, Comparison)
    assert json.loads(out.read_text()) == [found.to_json()]
    assert "batch 3" in text
    assert f"a small one: {len(found.rows)} of {len(found.rows)}, " in text
    for b in BASELINES:
        assert f"{b.title}: {b.models}" in text
        assert b.source in text


def test_a_baseline_of_one_format_has_no_row_in_others(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    succeeded(invoke("compare", "--file", file, "--arch", "small", "--json", out))
    rows = [{row["key"] for row in c["rows"]} for c in json.loads(out.read_text())]
    assert [keys & {"tie", "ette"} for keys in rows] == [{"tie"}, {"ette"}]


def test_a_mapping_that_does_not_fit_is_status_1(file: Path) -> None:
    sizes = ("--set", "x_depth=16", "--set", "y_depth=16")
    big = file.with_name("big.yaml")
    big.write_text(
        "- {name: a, format: mpo, in_modes: [16, 16], out_modes: [16, 16], ranks: [1, 9, 1]}\n"
    )
    result = invoke("compare", "--file", big, "--arch", "nano", *sizes)
    assert result.exit_code == 1
    assert "1 of 1 refused, the first: scratchpad" in result.stderr


def test_a_refused_matrix_is_status_1(tmp_path: Path) -> None:
    path = tmp_path / "in.yaml"
    path.write_text("- {name: a, format: mpo, in_modes: [4], out_modes: [4, 4], ranks: [1, 1]}\n")
    result = invoke("compare", "--file", path)
    assert result.exit_code == 1
    assert isinstance(read(path)[0].matrices[0], Workload) is False


def test_several_names_and_parts_of_names_choose(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ("--file", file, "--arch", "nano", "--json", out)
    succeeded(invoke("compare", "another", "SMALL", *arguments))
    assert [c["name"] for c in json.loads(out.read_text())] == ["a small one", "another"]
    succeeded(invoke("compare", "another", "--row", "ours", "--row", "outer", *arguments))
    [found] = json.loads(out.read_text())
    assert found["name"] == "another"
    assert [row["key"] for row in found["rows"]] == ["outer", "ours"]


def test_an_unknown_workload_is_one_line(file: Path, tmp_path: Path) -> None:
    assert "'nothing'" in refused(tmp_path, "compare", "nothing", "--file", file)
    assert "'theirs'" in refused(tmp_path, "compare", "--file", file, "--row", "theirs")
    assert "--batch" in refused(tmp_path, "compare", "--file", file, "--batch", 0)
