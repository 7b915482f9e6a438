"""Every command in the pages, run as it stands; the oracle is its exit status.

Files that the pages name are small stand-ins here, so that each command takes a second or two; so
are the tools that make bitstreams.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import typer

from einchip import workloads
from einchip.cli import app
from einchip.verify.machine import RtlMachine
from tests.cli.helpers import ROOT, invoke, put_data, put_model, succeeded
from tests.fpga.targets.tools import fake_tools

PAGES: Final = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/*/*.md")]
#: What stands for something else in a command, or takes long, and what is given for it here.
MEANT: Final = {
    "(--rank R | --ratio X | --error E)": "--ratio 2",
    " [options]": "",
    "--format F ": "--format mps ",
    " MODEL ": " examples/japanese_vowels/mpo.safetensors ",
    "SOURCE": "model.onnx",
    "D.npz": "data.npz",
    "compare HT-LSTM": "compare --file FILE.yaml",
    "serial:/dev/ttyUSB0@BAUD": "simulator",
    "--arch small": "--arch nano",
    "--arch base": "--arch nano",
}
#: Options of other programs that the pages name.
OTHER_OPTIONS: Final = {
    "--no-deps", "--nightly", "--validate", "--fold", "--router", "--timing-allow-fail",
    "--frequency-mhz",
}  # fmt: skip
N_CHANNELS, N_UNITS, N_CLASSES = 6, 16, 3


def commands(page: Path) -> list[str]:
    """Return the commands of einchip on a page, without what is remarked behind them."""
    found = re.findall(r"^    (einchip [a-z].*)$", page.read_text(), re.M)
    return [re.sub(r" +#.*", "", line) for line in found]


WITH_COMMANDS: Final = [page for page in PAGES if commands(page)]


def put_onnx(path: Path) -> None:
    """Write a graph of one LSTM and a linear layer on its last state."""
    onnx_graphs = pytest.importorskip("tests.models.onnx_graphs")
    constants = onnx_graphs.cell_constants("LSTM", N_CHANNELS, N_UNITS, 1)
    nodes = [
        onnx_graphs.cell_node("LSTM", constants),
        onnx_graphs.helper.make_node("Squeeze", ["y_h", "axes"], ["last"]),
        onnx_graphs.helper.make_node("MatMul", ["last", "V"], ["z"], name="head"),
    ]
    constants["V"] = onnx_graphs.floats(N_UNITS, N_CLASSES)
    constants["axes"] = np.array([0])
    dims = ["time", "batch", N_CHANNELS]
    onnx_graphs.saved(onnx_graphs.model(nodes, constants, dims, ["z"]), path)


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native_cache: Path) -> None:
    """Run in a folder that has every file that a command reads, all of them small."""
    monkeypatch.chdir(tmp_path)
    vowels = tmp_path / "examples" / "japanese_vowels"
    (vowels / "results").mkdir(parents=True)
    put_model(vowels / "mpo.safetensors")
    for path in (vowels / "japanese_vowels.npz", tmp_path / "data.npz"):
        put_data(path)
    put_onnx(tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    shapes = ((4, 5), (5, 6), (6, 3))
    np.savez(tmp_path / "TENSORS.npz", *(rng.standard_normal(s) for s in shapes))
    entry = "- {name: a, format: mpo, in_modes: [4, 4], out_modes: [4, 4], ranks: [1, 2, 1]}\n"
    (tmp_path / "FILE.yaml").write_text(entry)
    few = workloads.published()[-1:]
    monkeypatch.setattr(workloads, "published", lambda: few)
    fake_tools(monkeypatch, 99.0)
    build_rtl = RtlMachine.build
    monkeypatch.setattr(RtlMachine, "build", lambda arch, *_: build_rtl(arch, native_cache))


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_a_page_run_one_after_the_other(page: Path) -> None:
    for library in ("tensorly", "tensap", "torch"):
        pytest.importorskip(library)
    for line in commands(page):
        for text, meant in MEANT.items():
            line = line.replace(text, meant)
        succeeded(invoke(*shlex.split(line)[1:]))


def test_every_command_is_on_a_page() -> None:
    shown = {line.split()[1] for page in PAGES for line in commands(page)}
    assert shown == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_every_option_that_a_page_names_exists() -> None:
    verbs = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    options = {option for verb in verbs for parameter in verb.params for option in parameter.opts}
    for page in PAGES:
        named = set(re.findall(r"(?<![-\w])--[a-z][-a-z]*", page.read_text()))
        assert named <= options | OTHER_OPTIONS, page.name


def test_every_target_of_make_that_a_page_names_exists() -> None:
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = re.findall(r"(?:`|^    |# or |\()make ([a-z]+)", page.read_text(), re.M)
        assert set(named) <= rules, page.name


def test_every_module_and_script_that_a_page_runs_exists() -> None:
    for page in PAGES:
        text = page.read_text()
        for module in re.findall(r"python -m ([\w.]+)", text):
            assert importlib.util.find_spec(module), (page.name, module)
        for script in re.findall(r"python ([\w/]+\.py)", text):
            assert (ROOT / script).is_file(), (page.name, script)
