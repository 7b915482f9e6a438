"""`einchip bench`: files written, statuses, one line for what is wrong."""

import json
from pathlib import Path

from einchip.workloads.bench_page import page
from tests.cli.helpers import invoke

TWO = """\
- name: one
  format: mpo
  in_modes: [4, 6]
  out_modes: [8, 4]
  ranks: [1, 3, 1]
- name: two
  format: mps
  in_modes: [4, 6]
  out_modes: [8, 4]
  ranks: [1, 3, 3, 3, 1]
"""


def files(tmp_path: Path, text: str = TWO) -> list[str]:
    workloads = tmp_path / "w.yaml"
    workloads.write_text(text)
    return ["bench", "--file", str(workloads), "--arch", "small", "--jobs", "1"]


def test_it_writes_figures_and_their_page(tmp_path: Path) -> None:
    out = tmp_path / "new" / "r.json"
    arguments = ["--batch", "1", "--batch", "3", "--json", str(out)]
    result = invoke(*files(tmp_path), *arguments)
    assert result.exit_code == 0, result.output
    written = json.loads(out.read_text())
    assert [run["batch"] for run in written["runs"]] == [1, 3]
    assert [r["name"] for r in written["runs"][0]["rows"]] == ["one", "two"]
    assert out.with_suffix(".md").read_text() == page(written)


def test_the_fold_and_the_port_are_those_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    asked = ["--fold", "op", "--port", "4", "--port", "8", "--no-cold", "--json", str(out)]
    result = invoke(*files(tmp_path), *asked)
    assert result.exit_code == 0, result.output
    runs = json.loads(out.read_text())["runs"]
    assert [(r["fold"], r["port_bytes"]) for r in runs] == [("op", 4), ("op", 8)]
    assert all(row["cold_cycles"] is None for run in runs for row in run["rows"])


def test_an_entry_that_cannot_be_used_is_told_and_the_others_measured(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    bad = TWO + "- name: three\n  format: cake\n"
    result = invoke(*files(tmp_path, bad), "--no-cold", "--json", str(out))
    assert result.exit_code == 1
    assert "three: " in result.output
    rows = json.loads(out.read_text())["runs"][0]["rows"]
    assert ["error" in row for row in rows] == [False, False, True]


def test_what_cannot_be_used_is_one_line_and_status_2(tmp_path: Path) -> None:
    for arguments, words in (
        (["--fold", "cake"], "fold"),
        (["--port", "5"], "port_bytes"),
        (["--batch", "0"], "batch"),
        (["--json", "/proc/none/r.json"], "cannot make the folder"),
    ):
        result = invoke(*files(tmp_path), *arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert words in result.output
        assert len(result.output.strip().splitlines()) == 1
