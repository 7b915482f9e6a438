"""Files of spaces: values, rules, formats; and what is wrong with one, in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from einchip.explore.errors import ExploreError
from einchip.explore.point import AS_GIVEN, Compression
from einchip.explore.space import read
from tests.explore.helpers import domain

GOOD = """\
base: nano
target: icebreaker
must_fit: true
parameters:
  rows: [2, 4]
  cols: {powers_of_two: [2, 9]}
  x_depth: {from: 1024, to: 4100, step: 1024}
  fold: [hybrid, flex]
derived: {y_depth: x_depth, port_bytes: 'min(16, lanes)'}
constraints: [rows <= cols, "format == 'as given' or model == 'a'"]
formats: [as given, {format: mps, ratio: [4, 2.5]}, {format: lowrank, rank: 3}]
search: {method: tpe, seed: 7, batch: 8}
steps: 3
fixed_sequences: 5
"""


def put(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text)
    return path


def test_a_file_is_read_as_it_stands(tmp_path: Path) -> None:
    """The oracle is the text above, worked out by hand."""
    space = read(put(tmp_path, GOOD))
    assert space.parameters == {
        "rows": (2, 4), "cols": (2, 4, 8), "x_depth": (1024, 2048, 3072, 4096),
        "fold": ("hybrid", "flex"),
    }  # fmt: skip
    assert space.formats == (
        AS_GIVEN, Compression("mps", "ratio", 4), Compression("mps", "ratio", 2.5),
        Compression("lowrank", "rank", 3),
    )  # fmt: skip
    assert (space.search.method, space.search.seed, space.search.batch) == ("tpe", 7, 8)
    assert (space.must_fit, space.target, space.steps, space.fixed_sequences) == (
        True, "icebreaker", 3, 5,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parameter: {}", "unknown field, expected one of base"),
        ("search: {metod: grid}", "seed, batch; did you mean method?"),
        ("search: {method: genetic}", "search.method: found 'genetic', input should be 'grid'"),
        ("search: {seed: -1}", "search.seed: found -1"),
        ("parameters: {row: [2]}", "parameters.row: unknown; did you mean rows?"),
        ("parameters: {name: [a]}", "parameters.name: unknown; expected one of fold"),
        ("parameters: {rows: 4}", "parameters.rows: found 4, expected a list, {from: A"),
        ("parameters: {rows: []}", "parameters.rows: found [], expected a list of numbers"),
        ("parameters: {rows: [2, true]}", "parameters.rows: found [2, True], expected a list"),
        ("parameters: {rows: {from: 4, to: 2}}", "two whole numbers, the smaller one first"),
        ("parameters: {rows: {from: 1, to: 9, step: 0}}", "expected a step from 1 on"),
        ("parameters: {rows: {from: 1, to: 99999}}", "at most 4096 values"),
        ("parameters: {rows: {powers_of_two: [5, 7]}}", "expected 1 to 4096 values"),
        ("derived: {y_dept: 2}", "derived.y_dept: unknown; did you mean y_depth?"),
        ("derived: {cols: row}", "derived.cols: found 'row': row: unknown; did you mean rows?"),
        ("derived: {cols: model}", "model: unknown"),
        ("parameters: {cols: [2]}\nderived: {cols: rows}", "derived.cols: found it in parameters"),
        ("constraints: [rows <]", "constraints.0: found 'rows <', expected an expression such as"),
        ("constraints: ['rows < max(cols, lane)']", "lane: unknown; did you mean lanes?"),
        ("constraints: [open(rows)]", "open: unknown; expected one of min, max"),
        ("formats: [as given, mps]", "formats: found ['as given', 'mps'], mps: expected"),
        ("formats: [{format: mpss, rank: 2}]", "format: mpss: did you mean mps?"),
        ("formats: [{format: mps, rank: 0}]", "rank: 0: expected whole numbers from 1 on"),
        ("formats: [{format: mps, ratio: [2, -1]}]", "ratio: -1: expected numbers above 0"),
        ("formats: [{format: mps, error: 1}]", "error: 1: expected numbers from 0 to below 1"),
        ("formats: [{format: mps, rank: 2, ratio: 2}]", "a format with one of rank, ratio, error"),
        ("steps: 0", "steps: found 0, input should be greater"),
        ("- rows", "found no mapping of names"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_file_and_field(
    tmp_path: Path, text: str, said: str
) -> None:
    """The oracle is the message for each mistake."""
    path = put(tmp_path, text + "\n")
    with pytest.raises(ExploreError) as caught:
        read(path)
    message = str(caught.value)
    line = (
        text.count("\n") + 1
    )  # the mistake is in the last one; a file that is no mapping has none
    assert message.startswith((f"{path}:{line}: ", f"{path}: found no mapping"))
    assert said in message
    assert "\n" not in message


def test_what_is_no_yaml_is_one_line_with_its_place(tmp_path: Path) -> None:
    """The oracle is where the text breaks off."""
    path = put(tmp_path, "rows: [")
    with pytest.raises(ExploreError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:1: not a YAML file: found ")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """The oracle is the system's own word for it."""
    with pytest.raises(ExploreError, match=r"none\.yaml: cannot read the file: No such file"):
        read(tmp_path / "none.yaml")


def test_derived_fields_and_constraints_hold_at_every_point() -> None:
    """The oracle is the rules in Python."""
    found = domain(
        "a", "b",
        base="nano",
        parameters={"rows": [2, 4], "lanes": [4, 8]},
        derived={"cols": "max(2, rows // 2)", "y_depth": "x_depth // 2"},
        constraints=["rows * cols < lanes + 1", "model != 'b' or lanes == 8"],
    )  # fmt: skip
    points, skipped = [], 0
    for number in range(found.size):
        try:
            points.append(found.point(found.choice(number)))
        except ValueError:
            skipped += 1
    expected = [
        (rows, lanes, model)
        for rows in (2, 4) for lanes in (4, 8) for model in "ab"
        if rows * max(2, rows // 2) <= lanes and (model != "b" or lanes == 8)
    ]  # fmt: skip
    assert [(p.arch.rows, p.arch.lanes, p.model) for p in points] == expected
    assert skipped == found.size - len(expected)
    assert all(p.arch.cols == max(2, p.arch.rows // 2) for p in points)
    assert {p.arch.y_depth for p in points} == {1024}


def test_cells_are_named_as_a_machine_takes_them() -> None:
    """The oracle is `Architecture.cells`, and the rule in Python."""
    found = domain(
        base="nano",
        parameters={"cells": ["none", "lstm", "gru+lstm"], "lanes": [4, 8]},
        constraints=["cells != 'lstm' or lanes == 8"],
    )
    points = []
    for number in range(found.size):
        try:
            points.append(found.point(found.choice(number)))
        except ValueError:
            continue
    expected = [((), 4), ((), 8), (("lstm",), 8), (("lstm", "gru"), 4), (("lstm", "gru"), 8)]
    assert [(p.arch.cells, p.arch.lanes) for p in points] == expected
    assert [found.varied(p)["cells"] for p in points[1:4]] == ["none", "lstm", "lstm+gru"]


def test_a_rule_that_cannot_be_computed_is_one_line() -> None:
    """The oracle is the division by 0 of the first point."""
    found = domain(base="nano", constraints=["rows // x_window > 2"])
    with pytest.raises(ExploreError, match=r"space\.yaml: constraints\.0: 'rows // x_window > 2'"):
        found.point(found.choice(0))
