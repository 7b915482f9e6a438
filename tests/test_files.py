"""YAML with the line of every value; the oracle is counting lines by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from einchip.files import Marked, YamlError, parse_marked, parse_yaml, read_marked, read_yaml

TEXT = """\
name: a
layers:
  - kind: one
    modes: [1,
            2]
  - {kind: two, deep: {3: x}}
same: &s
  key: 1
other: *s
"""


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        ((), None),
        (("name",), 1),
        (("layers",), 2),
        (("layers", 0), 3),
        (("layers", 0, "modes"), 4),
        (("layers", 0, "modes", 1), 5),
        (("layers", 1, "deep"), 6),
        (("layers", 1, "deep", 3), 6),
        (("other", "key"), 8),
        # what is not there stays at what holds it, if that is not the file
        (("none",), None),
        (("layers", 0, "none"), 3),
        (("layers", 7), 2),
        # tags of unions, as pydantic has them
        (("layers", 0, "<recurrent>", "kind"), 3),
    ],
)
def test_places_are_lines_of_the_file(loc: tuple[str | int, ...], line: int | None) -> None:
    found = parse_marked(TEXT, "f.yaml")
    assert found.place(loc) == ("f.yaml" if line is None else f"f.yaml:{line}")
    assert found.value == parse_yaml(TEXT)


def test_an_empty_file_has_no_lines() -> None:
    assert parse_marked("", "f.yaml") == Marked("f.yaml", None, None)
    assert parse_marked("", "f.yaml").place(("a",)) == "f.yaml"


def test_a_file_is_read_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\nb: 2\n")
    assert read_marked(path).place(("b",)) == f"{path}:2"
    assert read_yaml(path) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("a: 1\na: 2", 2, "key 'a' twice"),
        ("a: 1\nb: [", 2, "expected the node content"),
        ("\n\na: &a [*a]", 3, "a value that holds itself"),
        ("a: \x00", None, "special characters are not allowed"),
    ],
)
def test_errors_have_a_line_where_one_can_be_told(text: str, line: int | None, found: str) -> None:
    with pytest.raises(YamlError) as error:
        parse_yaml(text)
    assert error.value.line == line
    assert found in error.value.found
    assert error.value.place("f.yaml") == ("f.yaml" if line is None else f"f.yaml:{line}")
