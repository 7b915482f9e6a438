"""Every command on a small case; figures against the library, files against their readers."""

from __future__ import annotations

import functools
import importlib
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from einchip import energy
from einchip.arch import PRESETS
from einchip.cli.inputs import load_data
from einchip.compiler import folder, quantisation, quantisation_table, report
from einchip.compiler.compiled import compile_model
from einchip.hw import generate
from einchip.mapper.problem import MAX_BATCH
from einchip.models import load_model, load_npz, save_model
from einchip.reference import Memory
from einchip.registers import COUNTERS
from einchip.sim import Run, simulate
from einchip.verify import compare
from tests.cli.helpers import (
    VOWELS,
    invoke,
    put_data,
    put_model,
    refused,
    run,
    succeeded,
    use_width,
)
from tests.compiler import cases

#: What a unit can do in a cycle; each cycle counts once.
CAUSES = (
    "issue", "transfer", "stall_port", "stall_drain", "stall_write", "stall_memory", "stall_token",
    "stall_setup", "idle",
)  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which each test runs, with a model and its data."""
    monkeypatch.chdir(tmp_path)
    use_width(monkeypatch, 80)
    put_model(tmp_path / "model.safetensors")
    put_data(tmp_path / "data.npz")
    return tmp_path


def test_run_prints_and_writes_the_figures_of_the_report(here: Path) -> None:
    out = succeeded(invoke("run", "model.safetensors", "--arch", "nano", "--json", "out.json"))
    expected = report.figures(
        load_model(here / "model.safetensors"), PRESETS["nano"],
        load_npz(here / "data.npz", "train"), load_npz(here / "data.npz"),
        energy.load("horowitz45"),
    )  # fmt: skip
    content = json.loads((here / "out.json").read_text())
    assert content == json.loads(
        json.dumps({"arch": PRESETS["nano"].model_dump(), "models": [expected.to_json()]})
    )
    assert f"{expected.cycles:,.0f}" in out
    assert f"{100 * expected.accuracy_fixed[8]:.2f} %" in out


def test_table_of_run_is_whole_on_narrow_and_wide_terminals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = []

    def comparison(*arguments: Any) -> Any:
        tables.append(original(*arguments))
        return tables[-1]

    original = report.comparison
    monkeypatch.setattr(report, "comparison", comparison)
    narrow = succeeded(invoke("run", VOWELS, "--sequences", 2, "--json", "out.json"))
    wide = StringIO()
    Console(width=200, file=wide).print(tables[0])
    models = json.loads(Path("out.json").read_text())["models"]
    assert [m["n_sequences"] for m in models] == [2, 2, 2]
    for out in (narrow, wide.getvalue()):
        title, *_, last = [line.strip() for line in out.splitlines() if line.strip()]
        assert title == "japanese-vowels on small: 8 x 8 PEs, 8 bit"
        assert last.endswith("resident")
        assert all(len(line.rstrip()) <= 80 for line in out.splitlines())
        assert "…" not in out
        assert out.splitlines()[2].replace("┃", " ").split() == ["dense", "mpo", "mps"]
        [row] = [line.split("│") for line in out.splitlines() if "energy per sequence" in line]
        expected = [f"{sum(m['energy_pj'].values()) / 1e3:,.2f}" for m in models]
        assert [cell.strip() for cell in row[2:5]] == expected


def test_run_of_16_bits_with_a_wide_port_reports_8_bits_too() -> None:
    options = ("--set", "data_bits=16", "--set", "port_bytes=16")
    succeeded(invoke("run", "model.safetensors", *options, "--json", "out.json"))
    content = json.loads(Path("out.json").read_text())
    assert content["arch"]["port_bytes"] == 16
    assert set(content["models"][0]["accuracy_fixed"]) == {"8", "16"}


def test_names_that_look_like_markup_are_printed_as_they_are(here: Path) -> None:
    for name in ("[/bold]a", "[/bold]b"):
        text = (here / "model.safetensors").read_bytes()
        path = here / "x" / f"{name.removeprefix('[/bold]')}.yaml"
        path.parent.mkdir(exist_ok=True)
        spec = load_model(here / "model.safetensors").spec.model_dump()
        path.write_text(json.dumps({**spec, "name": name, "weights": "w.safetensors"}))
        (path.parent / "w.safetensors").write_bytes(text)
    assert "[/bold]a" in succeeded(invoke("run", "x/a.yaml", "--data", "data.npz"))
    assert "[/bold]a" in succeeded(invoke("compile", "x/a.yaml", "-o", "x/[/out]"))
    assert "[/bold]a" in succeeded(invoke("simulate", "x/[/out]"))


def test_compile_writes_a_folder_with_the_first_test_sequences(here: Path) -> None:
    out = succeeded(
        invoke("compile", "model.safetensors", "-o", "out", "--arch", "nano", "--sequences", 2)
    )
    found = folder.read(here / "out")
    assert [n for n, _ in found.sequences] == [3, 1]
    assert found.arch == PRESETS["nano"]
    [line] = out.splitlines()
    assert line.startswith("out: mpo on nano: 2 sequences, ")
    assert f"{found.run.n_words} words, {len(found.weights):,} bytes of weights" in line
    assert f"{json.loads((here / 'out/mapping.json').read_text())['macs_per_step']:,} MACs" in line


def test_compile_without_data_says_what_stands_in(here: Path) -> None:
    (here / "data.npz").unlink()
    out = succeeded(invoke("compile", "model.safetensors", "-o", "out", "--steps", 5))
    assert out.startswith("no data: one random sequence of standard normal values stands in\n")
    assert [n for n, _ in folder.read(here / "out").sequences] == [5]


def test_compile_says_which_weights_every_run_loads(here: Path) -> None:
    (here / "data.npz").unlink()
    layers = [cases.recurrent("lstm", "dense", 40, 40) for _ in range(2)]
    spec = {"version": 2, "name": "stack", "layers": layers, "weights": {"random": 1}}
    (here / "stack.yaml").write_text(json.dumps(spec))
    out = " ".join(
        succeeded(invoke("compile", "stack.yaml", "--arch", "nano", "-o", "out")).split()
    )
    mapping = json.loads((here / "out" / "mapping.json").read_text())
    n_bytes = mapping["reloaded_bytes_per_run"]
    assert n_bytes > 2 * 8 * 40 * 40
    assert f"every run loads {n_bytes:,} bytes" in out
    assert f"{n_bytes // PRESETS['nano'].port_bytes:,} cycles" in out


def test_compile_takes_a_yaml_model_and_a_yaml_machine(here: Path) -> None:
    spec = load_model(here / "model.safetensors").spec.model_dump_json()
    (here / "model.yaml").write_text(json.dumps({**json.loads(spec), "weights": {"random": 1}}))
    (here / "mine.yaml").write_text("preset: nano\nname: mine\nx_depth: 1024\n")
    options = ("--arch", "mine.yaml", "--set", "burst_beats=16", "--set", "name=other")
    succeeded(invoke("compile", "model.yaml", "-o", "out", *options))
    expected = PRESETS["nano"].override(name="other", x_depth=1024, burst_beats=16)
    assert folder.read(here / "out").arch == expected


def test_sequences_side_by_side_are_grouped_and_simulated(here: Path) -> None:
    (here / "data.npz").unlink()
    out = succeeded(invoke("compile", "model.safetensors", "-o", "out", "--batch", 3))
    assert out.startswith("no data: 3 random sequences of standard normal values stand in\n")
    assert "out: mpo on small: 1 run of 3 sequences, " in out
    manifest = folder.read(here / "out").manifest
    assert manifest.batch == 3
    assert [s.numbers for s in manifest.sequences] == [(0, 1, 2)]
    shown = succeeded(invoke("simulate", "out", "--json", "out.json"))
    assert "1 run of 3 sequences, 1 steps, " in shown
    content = json.loads((here / "out.json").read_text())
    assert content["batch"] == 3
    assert content["bound_cycles"] == manifest.sequences[0].bound_cycles


def test_a_batch_is_bounded(here: Path) -> None:
    message = refused(here, "compile", "model.safetensors", "-o", "out", "--batch", MAX_BATCH + 1)
    assert f"less than or equal to {MAX_BATCH}" in message
    assert importlib.import_module("einchip.cli.compile").MAX_BATCH == MAX_BATCH


@pytest.fixture
def made(here: Path) -> Path:
    """Return a compiled folder of two sequences."""
    succeeded(
        invoke("compile", "model.safetensors", "-o", "made", "--arch", "nano", "--sequences", 2)
    )
    return here / "made"


def test_simulate_prints_and_writes_cycles_counters_and_energy(made: Path) -> None:
    out = succeeded(invoke("simulate", "made", "--json", "out.json", "--energy", "zigzag"))
    content = json.loads(Path("out.json").read_text())
    assert [s["n_steps"] for s in content["sequences"]] == [3, 1]
    for entry in (*content["sequences"], content):
        assert list(entry["counters"]) == [c.name for c in COUNTERS]
    for name, value in content["counters"].items():
        assert value == sum(s["counters"][name] for s in content["sequences"])
    for s in content["sequences"]:
        for unit in ("array", "vector", "load", "store"):
            assert s["cycles"] == sum(s["counters"].get(f"{unit}_{p}", 0) for p in CAUSES)
    program = folder.read(Path("made")).run
    spent = energy.energy(content["counters"], PRESETS["nano"], "zigzag", program)
    assert content["energy_pj"] == spent.by_component
    assert content["ratio"] == content["counters"]["cycles"] / content["bound_cycles"] >= 1
    assert f"{content['counters']['cycles']:,} cycles" in out
    assert "…" not in out


def test_simulate_times_a_sequence_of_any_length(made: Path) -> None:
    """The oracle is a run of that length with every time step gone through."""
    out = succeeded(invoke("simulate", "made", "--json", "out.json", "--steps", 300))
    content = json.loads(Path("out.json").read_text())
    found = folder.read(Path("made"))
    places = found.places_for(300)
    expected = simulate(found.run, found.arch, host=places.host(300), external_bytes=places.size)
    assert expected.error is None
    assert content["sequences"] == [
        {"n_steps": 300, "cycles": expected.cycles, "counters": expected.counters}
    ]
    assert "ratio" not in content
    assert f"1 sequences, 300 steps, {expected.cycles:,} cycles" in out
    assert "bound" not in out


def test_memory_latency_is_bounded(made: Path) -> None:
    for latency in (0, 2**20 + 1, 10**30):
        found = invoke("simulate", "made", "--latency", latency)
        assert found.exit_code == 2
        assert "--latency" in found.stderr
        assert len(found.stderr.splitlines()) == 1


def test_memory_latency_costs_cycles(made: Path) -> None:
    for latency in (1, 100):
        name = f"{latency}.json"
        succeeded(invoke("simulate", "made", "--json", name, "--latency", latency))
    near, far = (json.loads(Path(f"{n}.json").read_text())["counters"] for n in (1, 100))
    assert near["cycles"] < far["cycles"]
    assert near["macs"] == far["macs"]


#: Seconds each, and the same every time.
verilog = functools.cache(generate.verilog)


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, native_cache: Path) -> None:
    """Let `verify` find the RTL where the other tests compile theirs."""
    monkeypatch.setattr(generate, "verilog", verilog)
    monkeypatch.setattr(compare, "compare", functools.partial(compare.compare, cache=native_cache))


@pytest.mark.usefixtures("cached")
def test_verify_finds_reference_simulator_and_rtl_equal(made: Path) -> None:
    out = succeeded(invoke("verify", "made", "--sequences", 5, "--latency", 3))
    assert out.splitlines()[-1] == "2 sequences: 0 differing words, 0 cycles of difference"
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "…" not in out


def _other_memory(run: Run, memory: Memory) -> Run:
    memory.y[5] += 1
    return run


def _other_cycles(run: Run, memory: Memory) -> Run:
    return replace(run, cycles=run.cycles + 1, counters={**run.counters, "macs": 1})


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_other_memory, "sequence 0: simulator: Y[5] differs from the reference"),
        (_other_cycles, "sequence 0: setup: macs: simulator 1, RTL 0"),
    ],
)
def test_verify_fails_and_names_the_first_difference(
    made: Path, monkeypatch: pytest.MonkeyPatch, change: Any, found: str
) -> None:
    def changed(*arguments: Any, memory: Memory, **options: Any) -> Run:
        run: Run = change(simulate(*arguments, memory=memory, **options), memory)
        return run

    monkeypatch.setattr(compare, "simulate", changed)
    result = invoke("verify", "made")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [found]


def test_verify_where_nothing_can_be_built_says_where(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "verilog", verilog)
    (made.parent / "build").write_text("a file")
    line = refused(made.parent, "verify", "made")
    assert line == "build/rtl: cannot build the simulator there: Not a directory"


def test_generate_writes_one_self_contained_verilog_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "verilog", verilog)
    out = succeeded(invoke("generate", "--arch", "nano", "-o", "nano.v"))
    text = (here / "nano.v").read_text()
    assert text.count("module einchip_top") == 1
    config = PRESETS["nano"].config_hash
    assert out == f"nano.v: 4 x 4 PEs, 4 lanes, 8 bit, configuration {config:08x}\n"
    # Amaranth writes sub-modules as \einchip_top.name; each that is used is defined.
    defined = {line.split("(")[0].split()[1] for line in text.splitlines() if line[:7] == "module "}
    used = {line.split()[0] for line in text.splitlines() if line.startswith("  \\einchip_top")}
    assert used
    assert used <= defined


def test_figures_go_to_standard_output_too(made: Path) -> None:
    result = run("simulate", "made", "--json", "/dev/stdout", cwd=made.parent)
    assert result.returncode == 0
    assert result.stderr == ""
    assert '"bound_cycles": ' in result.stdout


def test_figures_are_written_over_old_ones_and_nothing_is_left_beside(made: Path) -> None:
    Path("out.json").write_text("old")
    names = {p.name for p in made.parent.iterdir()}
    succeeded(invoke("simulate", "made", "--json", "out.json"))
    assert json.loads(Path("out.json").read_text())["model"] == "mpo"
    assert {p.name for p in made.parent.iterdir()} == names


def test_run_on_a_subset_takes_the_first_sequences(here: Path) -> None:
    succeeded(
        invoke("run", "model.safetensors", "--arch", "nano", "--sequences", 1, "--json", "a.json")
    )
    lengths = np.load(here / "data.npz")["test_lengths"]
    [figures] = json.loads((here / "a.json").read_text())["models"]
    assert (figures["n_sequences"], figures["mean_steps"]) == (1, lengths[0])


def test_energy_tables_are_listed_in_the_help() -> None:
    out = succeeded(invoke("simulate", "--help"))
    assert all(name in out for name in energy.tables())


@pytest.fixture
def words(here: Path) -> Path:
    """Return a model of tokens, with data."""
    save_model(cases.model("embedding"), here / "words.safetensors")
    lengths = np.array([3, 1, 4])
    tokens = np.random.default_rng(0).integers(11, size=(8, 1)).astype(np.float64)
    frames: dict[str, Any] = {f"{split}_frames": tokens for split in ("train", "test")}
    put_data(here / "words.npz", n_channels=1, clip=np.array(99.0), **frames)
    assert lengths.sum() == len(tokens)
    return here


def test_models_of_tokens_are_compiled_and_simulated(words: Path) -> None:
    succeeded(invoke("compile", "words.safetensors", "-o", "out", "--data", "words.npz"))
    found = folder.read(words / "out")
    assert [n for n, _ in found.sequences] == [3, 1, 4]
    compiled = compile_model(
        cases.model("embedding"), PRESETS["small"],
        load_data(words / "words.npz", cases.model("embedding"), "train").sequences,
    )  # fmt: skip
    assert found.manifest.fracs == compiled.fracs
    assert "3 sequences, 8 steps, " in succeeded(invoke("simulate", "out"))


def test_models_of_tokens_without_data_take_random_tokens(words: Path) -> None:
    (words / "words.npz").unlink()
    (words / "data.npz").unlink()
    out = succeeded(invoke("compile", "words.safetensors", "-o", "out", "--steps", 3))
    assert out.startswith("no data: one random sequence of tokens stands in\n")


def test_run_of_a_model_that_is_no_classifier_prints_its_ratio(here: Path) -> None:
    save_model(cases.model("sequence of h"), here / "states.safetensors")
    out = succeeded(invoke("run", "states.safetensors", "--json", "out.json"))
    [model] = json.loads((here / "out.json").read_text())["models"]
    assert f"{model['answer_snr_db']['8']:.1f} dB" in out
    assert "accuracy" not in out
    assert model["ratio"] >= 1


@pytest.mark.usefixtures("cached")
def test_a_bidirectional_stack_is_verified(here: Path) -> None:
    save_model(cases.model("bidirectional stack"), here / "both.safetensors")
    succeeded(invoke("compile", "both.safetensors", "-o", "out", "--arch", "nano"))
    out = succeeded(invoke("verify", "out", "--sequences", 3))
    assert out.splitlines()[-1] == "3 sequences: 0 differing words, 0 cycles of difference"


def test_quantise_prints_and_writes_report_plot_and_scales(here: Path) -> None:
    out = succeeded(
        invoke(
            "quantise", "model.safetensors", "--json", "q.json", "--plot", "q.svg", "-o",
            "scaled.safetensors", "--sequences", 2,
        )
    )  # fmt: skip
    content = json.loads((here / "q.json").read_text())
    model = load_model(here / "model.safetensors")
    train, test = (load_npz(here / "data.npz", s).sequences for s in ("train", "test"))
    expected = quantisation.noise(model, PRESETS["small"], train, test[:2])
    assert content["widths"] == json.loads(json.dumps([n.to_json() for n in expected]))
    assert (here / "q.svg").read_text() == quantisation_table.plot(
        expected, "mpo on small: root mean square error of the answer"
    )
    assert load_model(here / "scaled.safetensors").spec.data_bits == 8
    for n in expected:
        assert f"mpo on small, {n.data_bits} bit: answers {n.answer_snr_db:.1f} dB; " in out
    assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith("mpo on"))
