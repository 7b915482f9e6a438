"""What holds for every verb, a new one too: its help, its examples, its figures as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from einchip.cli import app, page
from einchip.cli.common import documented
from einchip.hw import generate
from einchip.verify import compare
from tests.cli.helpers import ROOT, invoke, put_model, succeeded
from tests.cli.test_pages import PAGES, commands, meant, stand_ins

__all__ = ["stand_ins"]

GROUP: Final[Any] = typer.main.get_command(app)
VERBS: Final[dict[str, Any]] = GROUP.commands
ON_PAGES: Final = {line for path in PAGES for line in commands(path)}
#: A screen.
COLUMNS, LINES = 80, 40
#: Its output is JSON as it is.
PRINTS_JSON: Final = {"schema"}
#: Commands that verbs need before their examples, where these do not have them.
BEFORE: Final = {
    "run": "einchip compile examples/japanese_vowels/mpo.safetensors --arch nano -o build/mpo",
    "compress": "einchip import model.onnx -o model.safetensors",
}


def examples(verb: str) -> list[str]:
    """Return the examples in the help of a verb."""
    _, _, text = (VERBS[verb].epilog or "").partition("Examples\n")
    return text.split("\n") if text else []


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_a_screen(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    lines = succeeded(invoke(*verb.split(), "--help")).splitlines()
    assert len(lines) <= LINES
    assert all(len(line.rstrip()) <= COLUMNS for line in lines)
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_what_every_parameter_is_and_ends_with_examples(verb: str) -> None:
    for parameter in VERBS[verb].params:
        assert parameter.help, parameter.name
    lines = succeeded(invoke(verb, "--help")).splitlines()
    shown = examples(verb)
    assert shown
    assert [line.strip() for line in lines if line.startswith("  einchip ")] == shown
    assert lines[-2].strip() == shown[-1]
    assert any(line.startswith(f"einchip {verb}") for line in shown)


def test_the_list_of_verbs_has_a_line_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    _, _, listed = succeeded(invoke("--help")).partition("Commands\n")
    rows = listed.partition("\n\n")[0].splitlines()
    assert [row.split()[0] for row in rows] == list(VERBS)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in PRINTS_JSON])
def test_figures_are_written_as_json(verb: str) -> None:
    [option] = [p for p in VERBS[verb].params if "--json" in p.opts]
    assert option.metavar == "FILE"
    assert "standard output" in option.help


@pytest.fixture
def quick(stand_ins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add models to the stand-ins; what needs the RTL is told what other tests find."""
    for name in ("model", "small"):
        put_model(tmp_path / f"{name}.safetensors")
    same = {"cycles": (5, 5)}
    equal = compare.Comparison(0, 1, (3, 3), (5, 5), same, {"X": (0, 0)}, ())
    monkeypatch.setattr(compare, "compare", lambda *_, **__: [equal])
    monkeypatch.setattr(generate, "verilog", lambda _: "module einchip_top;\nendmodule\n")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("verb", VERBS)
def test_examples_run_and_figures_go_to_standard_output(verb: str) -> None:
    """The oracles: exit status, and that standard output alone is JSON.

    Examples behind the first that a page has, too, run there (tests/cli/test_pages.py).
    """
    for library in ("tensorly", "tensap", "torch"):
        pytest.importorskip(library)
    if verb in BEFORE:
        succeeded(invoke(*meant(BEFORE[verb])))
    ours = [line for line in examples(verb) if line.startswith(f"einchip {verb}")]
    for line in examples(verb):
        arguments = meant(re.sub(r" --json \S+", "", line))
        if line not in ours:
            succeeded(invoke(*arguments))
        elif line == ours[0] or line not in ON_PAGES:
            result = invoke(*arguments, *([] if verb in PRINTS_JSON else ["--json", "-"]))
            assert result.exit_code == 0, (line, result.output, result.exception)
            assert json.loads(result.stdout)


def test_figures_on_standard_output_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put_model(tmp_path / "model.safetensors")
    compile_ = ("compile", "model.safetensors", "-o", "out", "--arch", "pico", "--json")
    told = succeeded(invoke(*compile_, "file.json"))
    assert "out: mpo on pico" in told
    result = invoke(*compile_, "-")
    assert json.loads(result.stdout) == json.loads((tmp_path / "file.json").read_text())
    assert "out: mpo on pico" in result.stderr
    # and the next verb has its standard output back
    assert "cycles" in succeeded(invoke("simulate", "out"))


def test_examples_of_a_docstring_are_split_from_its_text() -> None:
    def verb() -> None:
        """Do it: well.

        Two lines
        of text.

        Examples
        --------
        einchip verb a
        einchip verb b
        """

    text = "Do it: well.\n\nTwo lines of text."
    assert documented(verb) == (text, ["einchip verb a", "einchip verb b"])


def test_the_page_is_printed_from_the_commands() -> None:
    stale = "python -m einchip.cli.page > docs/cli.md"
    assert (ROOT / "docs" / "cli.md").read_text() == page.page(), stale


def test_no_colours_in_what_is_piped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put_model(tmp_path / "model.safetensors")
    for arguments in (["--help"], ["run", "--help"], ["doctor"], ["runn"], ["schema", "x"]):
        result = invoke(*arguments)
        assert result.output
        assert "\x1b" not in result.stdout + result.stderr
