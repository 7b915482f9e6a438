"""`einchip run --device`; oracles: the library, machines that are wrong on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from einchip import energy, host
from einchip.arch import PRESETS
from einchip.cli.inputs import load_data
from einchip.compiler import folder, report
from einchip.compiler.compiled import compile_model
from einchip.host import Device, Layout
from einchip.host.emulated import SimulatorDevice
from einchip.models import load_model, save_model
from einchip.registers import STATUS_RUNNING
from einchip.sim import simulate
from einchip.verify.machine import RtlMachine
from tests.cli.helpers import (
    VOWELS,
    invoke,
    put_data,
    put_model,
    refused,
    succeeded,
    use_width,
)
from tests.compiler import cases
from tests.compiler.helpers import DATA
from tests.host.helpers import Changed

NANO = PRESETS["nano"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which each test runs, with a model and its data."""
    monkeypatch.chdir(tmp_path)
    use_width(monkeypatch, 80)
    put_model(tmp_path / "model.safetensors")
    put_data(tmp_path / "data.npz")
    return tmp_path


def figures(*arguments: object) -> dict[str, Any]:
    """Run a command on a device, and return what it writes."""
    out = succeeded(invoke("run", *arguments, "--json", "out.json"))
    assert all(len(line) <= 80 for line in out.splitlines())
    content: dict[str, Any] = json.loads(Path("out.json").read_text())
    return content


def test_example_answers_as_the_reference_with_the_figures_of_the_report() -> None:
    mps = VOWELS / "mps.safetensors"
    content = figures(mps, "--data", DATA, "--device", "simulator", "--sequences", 12)
    assert content["device"] == "simulator"
    [found] = content["models"]
    assert (found["n_differing"], found["n_sequences"]) == (0, 12)
    expected = json.loads((VOWELS / "results" / "small.json").read_text())["models"]
    [mps_alone] = [m for m in expected if m["name"] == found["name"]]
    assert found["setup_cycles"] == mps_alone["cycles_setup"]
    model = load_model(mps)
    train, test = (load_data(DATA, model, s) for s in ("train", "test"))
    compiled = compile_model(model, PRESETS["small"], train.sequences)
    answers = compiled.evaluate(test.sequences[:12])
    assert found["accuracy"] == report.accuracy(answers, test.labels[:12])
    timed = report.time_sequences(compiled.mapping, [len(s) for s in test.sequences[:12]])
    assert found["counters"] == dict(timed.counters)
    assert [r["n_steps"] for r in found["runs"]] == [len(s) for s in test.sequences[:12]]
    prices = energy.load("horowitz45")
    spent = energy.energy(timed.counters, PRESETS["small"], prices, compiled.programs.run)
    assert found["energy_pj"] == spent.by_component


def test_table_has_a_line_for_each_figure() -> None:
    out = succeeded(invoke("run", "model.safetensors", "--arch", "nano", "--device", "simulator"))
    rows = dict(
        [cell.strip() for cell in line.strip("│ ").split("│")]
        for line in out.splitlines()
        if line.count("│") == 3
    )
    content = figures("model.safetensors", "--arch", "nano", "--device", "simulator")
    [found] = content["models"]
    cycles, n_steps = found["counters"]["cycles"], 3 + 1 + 4
    assert rows["sequences"] == "3"
    assert rows["words that differ"] == "0"
    assert rows["words of the answers"] == f"{found['n_words']:,}"
    assert rows["cycles per sequence"] == f"{cycles / 3:,.0f}"
    assert rows["cycles per time step"] == f"{cycles / n_steps:,.1f}"
    assert rows["cycles to load weights"] == f"{found['setup_cycles']:,}"
    assert rows["accuracy"] == f"{100 * found['accuracy']:.2f} %"
    assert out.splitlines()[0].strip() == "mpo on nano, 8 bit, simulator"


def test_rtl_has_the_figures_of_the_simulator(
    native_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = RtlMachine.build
    monkeypatch.setattr(RtlMachine, "build", lambda arch, *_: build(arch, native_cache))
    given = ("model.safetensors", "--arch", "nano", "--sequences", 2, "--device")
    assert figures(*given, "rtl")["models"] == figures(*given, "simulator")["models"]


def test_compiled_folder_runs_on_its_machine() -> None:
    succeeded(invoke("compile", "model.safetensors", "-o", "made", "--arch", "nano", "--batch", 2))
    [found] = figures("made", "--device", "simulator")["models"]
    made = folder.read(Path("made"))
    assert found["arch"] == made.arch.model_dump(mode="json")
    assert (found["batch"], found["n_sequences"], found["n_differing"]) == (2, 3, 0)
    cycles = [
        simulate(made.run, NANO, host=made.host(n), fetch=False).cycles for n, _ in made.sequences
    ]
    assert [r["cycles"] for r in found["runs"]] == cycles
    assert "accuracy" not in found
    [fewer] = figures("made", "--device", "simulator", "--sequences", 1)["models"]
    assert fewer["runs"] == found["runs"][:1]


def test_models_of_a_folder_run_one_after_the_other(here: Path) -> None:
    save_model(cases.model("sequence of h"), here / "states.safetensors")
    content = figures(".", "--arch", "nano", "--device", "simulator")
    assert [m["name"] for m in content["models"]] == ["mpo", "sequence of h"]
    assert [m["n_differing"] for m in content["models"]] == [0, 0]
    assert "accuracy" in content["models"][0]
    assert "accuracy" not in content["models"][1]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (["--arch", "small"], "--arch"),
        (["--set", "data_bits=16"], "--set"),
        (["--data", "data.npz"], "--data"),
    ],
)
def test_options_that_a_compiled_folder_has_decided(
    here: Path, options: list[str], option: str
) -> None:
    succeeded(invoke("compile", "model.safetensors", "-o", "made", "--arch", "nano"))
    line = refused(here, "run", "made", "--device", "simulator", *options)
    assert line.startswith(f"{option}: found it beside made, which is compiled and has its own; ")


def test_address_of_no_device_is_refused_before_anything_is_read(here: Path) -> None:
    line = refused(here, "run", "none.safetensors", "--device", "simulatr")
    assert line.startswith("device: found 'simulatr', expected simulator, rtl, serial:PORT[@BAUD]")
    assert line.endswith("did you mean simulator?")


@pytest.mark.parametrize("kind", ["serial", "spi"])
def test_port_that_is_not_there(here: Path, kind: str) -> None:
    given = ("model.safetensors", "--arch", "nano", "--device", f"{kind}:/dev/no-such-port")
    assert refused(here, "run", *given).startswith("/dev/no-such-port: ")


def test_board_without_its_package(here: Path) -> None:
    given = ("model.safetensors", "--arch", "nano", "--device", "pynq:nano.bit")
    assert refused(here, "run", *given).startswith("pynq: found no such package")


def test_model_without_data_or_a_damaged_folder(here: Path) -> None:
    succeeded(invoke("compile", "model.safetensors", "-o", "made", "--arch", "nano"))
    (here / "made" / "run.bin").write_bytes(b"")
    line = refused(here, "run", "made", "--device", "simulator")
    assert line.startswith("made/run.bin: size: found 0 bytes")
    (here / "data.npz").unlink()
    line = refused(here, "run", "model.safetensors", "--device", "simulator")
    assert line.startswith("model.safetensors: found no .npz beside it, expected sequences")


class Wrong(Changed):
    """A device whose answers have one wrong bit; short reads are none."""

    def read_memory(self, address: int, n_bytes: int) -> bytes:
        data = bytearray(super().read_memory(address, n_bytes))
        data[0] ^= 1
        return bytes(data)


def opened(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Let the command open another device."""

    def open_changed(_: str, arch: Any, memory_bytes: int) -> Device:
        made: Device = change(SimulatorDevice(arch, memory_bytes))
        return made

    monkeypatch.setattr(host, "open_device", open_changed)


def test_word_that_differs_is_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, Wrong)
    given = ("model.safetensors", "--arch", "nano", "--json", "out.json")
    result = invoke("run", *given, "--device", "simulator")
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("mpo: run 0: word 0 of the answer: device ")
    [found] = json.loads(Path("out.json").read_text())["models"]
    assert found["n_differing"] == 3
    assert [r["differing"] for r in found["runs"]] == [[0]] * 3
    assert "│ words that differ" in result.stdout


def test_device_that_is_another_machine(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, lambda device: Changed(device, CONFIG_HASH=1))
    line = refused(here, "run", "model.safetensors", "--arch", "nano", "--device", "simulator")
    assert line.startswith("device: found configuration 0x00000001, expected ")


def test_device_that_does_not_stop(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, lambda device: Changed(device, STATUS=STATUS_RUNNING))
    monkeypatch.setattr("einchip.host.Session.__init__.__defaults__", (0.01,))
    line = refused(here, "run", "model.safetensors", "--arch", "nano", "--device", "simulator")
    assert "has not stopped within 0.01 s: status RUNNING, no error, 0 cycles; " in line


def test_memory_that_is_too_small(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    succeeded(invoke("compile", "model.safetensors", "-o", "made", "--arch", "nano"))
    size = Layout.of(folder.read(here / "made")).size

    def least(_: str, arch: Any, memory_bytes: int) -> Device:
        assert memory_bytes == size
        return SimulatorDevice(arch, memory_bytes - 4096)

    monkeypatch.setattr(host, "open_device", least)
    line = refused(here, "run", "made", "--device", "simulator")
    assert "which are 4,096 more: give it more memory" in line
