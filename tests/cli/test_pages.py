"""Every command and Python block in the pages, run as it stands, in order, page by page.

The oracles: exit status, no exception, and what a ```text block behind a command says it prints.
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
from tests.docs.outputs import TRAINED, prints
from tests.docs.pages import blocks, of_kind
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
    "--frequency-mhz", "--package", "--speed",
}  # fmt: skip
N_CHANNELS, N_UNITS, N_CLASSES = 6, 16, 3


#: Pages whose Python runs elsewhere, with files and oracles of its own.
ELSEWHERE: Final = {
    "api.md", "data.md", "model-file.md", "compress.md", "howto-board.md", "howto-format.md",
    "howto-instruction.md",
}  # fmt: skip


def commands(page: Path) -> list[str]:
    """Return the commands of einchip on a page, without what is remarked behind them."""
    return of_kind(page, "einchip")


def runnable(page: Path) -> bool:
    """Tell whether something on a page runs here."""
    python = page.name not in ELSEWHERE
    return any(b.kind == "einchip" or (b.kind == "python" and python) for b in blocks(page))


def meant(command: str) -> list[str]:
    """Return the arguments with which a command is run here."""
    for text, given in MEANT.items():
        command = command.replace(text, given)
    return shlex.split(command)[1:]


WITH_RUNS: Final = [page for page in PAGES if runnable(page)]


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
    (tmp_path / "examples" / "explore").mkdir()
    space = "base: nano\nparameters:\n  x_depth: [1024, 2048]\n"
    (tmp_path / "examples" / "explore" / "space.yaml").write_text(space)
    few = workloads.published()[-1:]
    monkeypatch.setattr(workloads, "published", lambda: few)
    fake_tools(monkeypatch, 99.0)
    build_rtl = RtlMachine.build
    monkeypatch.setattr(RtlMachine, "build", lambda arch, *_: build_rtl(arch, native_cache))


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("page", WITH_RUNS, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_runs_runs_one_after_the_other(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for library in ("tensorly", "tensap", "torch"):
        pytest.importorskip(library)
    names: dict[str, object] = {"__name__": page.name}
    printed: str | None = None  # of the last block; None: it runs elsewhere
    for block in blocks(page):
        if block.title and block.kind != "diff":
            Path(block.title).write_text(block.text)
        if block.kind == "text" and printed is not None:
            tolerance = TRAINED if page.name == "tutorial.md" else 0
            prints(block.text, printed, f"{page.name}:{block.line}", tolerance)
        elif block.kind == "einchip":
            printed = succeeded(invoke(*meant(block.text)))
        elif block.kind == "python" and page.name in ELSEWHERE:
            printed = None
        elif block.kind == "python":
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), names)
            printed = capsys.readouterr().out


def test_every_command_is_on_a_page() -> None:
    shown = {line.split()[1] for page in PAGES for line in commands(page)}
    assert shown == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_every_option_that_a_page_names_exists() -> None:
    group = typer.main.get_command(app)
    commands = [group, *group.commands.values()]  # type: ignore[attr-defined]
    parameters = [parameter for verb in commands for parameter in verb.params]
    options = {"--help", *(o for p in parameters for o in (*p.opts, *p.secondary_opts))}
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
