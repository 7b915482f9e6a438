"""The Python API; the oracles are the verbs, the layers below, and the page's own ten lines."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import numpy as np
import pytest

import einchip
from einchip import api, energy
from einchip.arch import PRESETS, ArchError
from einchip.cli import app
from einchip.compiler import folder
from einchip.compiler.folder import FolderError
from einchip.hw import generate
from einchip.models import ModelError
from einchip.verify import compare
from einchip.verify.machine import RtlMachine
from tests.cli.helpers import ROOT, invoke, put_data, put_model, succeeded

PAGE: Final = (ROOT / "docs" / "api.md").read_text()
MODEL: Final = "examples/japanese_vowels/mpo.safetensors"
DATA: Final = "examples/japanese_vowels/japanese_vowels.npz"
#: Libraries and parts of einchip that take long to import.
SLOW: Final = {"numpy", "torch", "amaranth", "pydantic", "rich", "typer", "yaml", "einchip.api"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native_cache: Path) -> Path:
    """Return the folder in which each test runs, with a model, its data, and RTL kept elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / MODEL).parent.mkdir(parents=True)
    put_model(tmp_path / MODEL)
    put_data(tmp_path / DATA)
    monkeypatch.setattr(generate, "verilog", functools.cache(generate.verilog))
    build = RtlMachine.build
    monkeypatch.setattr(RtlMachine, "build", lambda arch, *_: build(arch, native_cache))
    return tmp_path


def test_the_main_job_on_the_page_runs_in_ten_lines(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [block] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len([line for line in block.splitlines() if line]) <= 10
    exec(block.replace('"small"', '"pico"'), {})
    succeeded(invoke("compile", MODEL, "-o", "out", "--arch", "pico", "--sequences", 2))
    figures = json.loads(invoke("simulate", "out", "--json", "-").stdout)
    cycles, spent = capsys.readouterr().out.splitlines()
    assert cycles.startswith(f"{figures['counters']['cycles']:,} cycles for 4 steps, ")
    assert f"{figures['ratio']:.2f} x" in cycles
    assert spent == f"{sum(figures['energy_pj'].values()) / 1e3:,.1f} nJ"
    assert "module einchip_top" in (here / "top.v").read_text()


def test_what_is_compiled_is_what_the_verb_writes(here: Path) -> None:
    succeeded(invoke("compile", MODEL, "-o", "verb", "--arch", "nano", "--batch", 2))
    einchip.compile(MODEL, "nano", DATA, batch=2, output="api")
    for path in (here / "verb").iterdir():
        assert path.read_bytes() == (here / "api" / path.name).read_bytes()
    assert einchip.open_compiled("api").folder == folder.read(here / "verb")


def test_merged_weights_are_those_of_the_verb(here: Path) -> None:
    succeeded(invoke("compile", MODEL, "-o", "verb", "--merge"))
    made = einchip.compile(MODEL, "small", DATA, merge=True)
    assert made.folder == folder.read(here / "verb")


def test_sequences_alone_and_none_are_taken(here: Path) -> None:
    rng = np.random.default_rng(0)
    given = einchip.compile(MODEL, "nano", [rng.standard_normal((n, 6)) for n in (4, 2)])
    assert [n for n, _ in given.folder.sequences] == [4, 2]
    none = einchip.compile(MODEL, PRESETS["nano"], n_steps=7)
    assert [n for n, _ in none.folder.sequences] == [7]
    assert none.folder.sequences == einchip.compile(MODEL, "nano", n_steps=7).folder.sequences


def test_simulation_sums_its_runs() -> None:
    made = einchip.compile(MODEL, "nano", DATA)
    run = made.simulate()
    assert run.cycles == run.counters["cycles"] == sum(r.cycles for _, r in run.runs)
    bound = sum(s.bound_cycles for s in made.folder.manifest.sequences)
    assert (run.bound_cycles, run.ratio) == (bound, run.cycles / bound)
    expected = energy.energy(run.counters, PRESETS["nano"], "zigzag", made.folder.run)
    assert run.energy("zigzag").by_component == expected.by_component
    other = made.simulate(n_steps=50)
    assert (other.n_steps, other.bound_cycles, other.ratio) == (50, None, None)
    assert made.simulate(latency=60).cycles > run.cycles


def test_a_machine_that_stops_is_said() -> None:
    made = einchip.compile(MODEL, "pico", n_steps=1)
    with pytest.raises(FolderError, match=r"mpo: the machine stopped with \w+; compile again"):
        api.time_sequence(made.folder, made.folder.places_for(1), n_steps=2**20)


def test_verification_counts_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    made = einchip.compile(MODEL, "pico", n_steps=1)
    found = [
        compare.Comparison(0, 1, (3, 3), (9, 9), {}, {"X": (0, 0)}, ()),
        compare.Comparison(1, 1, (3, 3), (9, 7), {}, {"X": (1, 2)}, ("X[3] differs",)),
    ]
    monkeypatch.setattr(compare, "compare", lambda *_, **__: found)
    checked = made.verify(2)
    assert (checked.equal, checked.differing_words, checked.cycles_apart) == (False, 3, 2)


def test_evaluation_is_that_of_the_verb(here: Path) -> None:
    succeeded(invoke("run", MODEL, "--arch", "nano", "--sequences", 2, "--json", "f.json"))
    [expected] = json.loads((here / "f.json").read_text())["models"]
    found = einchip.evaluate(MODEL, DATA, "nano", n_sequences=2)
    assert json.loads(json.dumps(found.to_json())) == expected


def test_a_machine_with_fields_changed() -> None:
    assert einchip.architecture("nano", x_depth=64) == PRESETS["nano"].override(x_depth=64)
    assert einchip.architecture(PRESETS["pico"]) is PRESETS["pico"]
    with pytest.raises(ArchError, match="did you mean nano"):
        einchip.architecture("nanoo")


def test_errors_are_raised_before_work_and_leave_nothing(here: Path) -> None:
    with pytest.raises(ModelError, match="found nothing"):
        einchip.compile("none.safetensors", "nano")
    put_data(here / "other.npz", n_channels=5)
    with pytest.raises(ModelError, match="found 5 channels, expected 6"):
        einchip.compile(MODEL, "nano", "other.npz", output="out")
    with pytest.raises(FolderError, match="found a file"):
        einchip.compile(MODEL, "nano", output=DATA)
    with pytest.raises(OSError, match="no such folder"):
        einchip.generate("pico", "none/top.v")
    assert not (here / "out").exists()


def test_importing_the_package_imports_nothing_slow() -> None:
    """The oracle is `sys.modules`. Processor time was 0.01 s, and 0.20 s of `einchip --help`."""
    code = f"import einchip, sys; print(*sorted({SLOW!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "\n"


def test_names_of_the_package_are_those_that_types_are_checked_with() -> None:
    tree = ast.parse(Path(einchip.__file__).read_text())
    imported = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("einchip.")
        for alias in node.names
    }
    assert sorted(imported) == sorted(einchip.__all__)
    for name, module in imported.items():
        assert getattr(einchip, name) is getattr(import_module(str(module)), name)
        assert name in dir(einchip)
        assert f"`{name}" in PAGE
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = einchip.simulat


def test_every_verb_has_its_function_on_the_page() -> None:
    import typer

    rows = dict(re.findall(r"^\| `([a-z]+)` \| (.*) \|$", PAGE, re.M))
    assert set(rows) >= set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for row in rows.values():
        for name in re.findall(r"`(einchip\.[\w.]+)`", row):
            assert resolved(name) is not None


def resolved(name: str) -> object:
    """Return what a dotted name stands for."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[n:], found)
    raise AssertionError(name)
