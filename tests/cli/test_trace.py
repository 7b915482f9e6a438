"""`einchip trace`; oracles: the simulator, the other trace's file, messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from einchip.compiler import folder
from einchip.sim import simulate
from einchip.trace.case import Case
from einchip.trace.model import Trace
from einchip.verify import verilator
from einchip.verify.machine import RtlMachine
from tests.cli.helpers import invoke, put_data, put_model, refused, succeeded


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model compiled for pico, two random sequences."""
    made = tmp_path_factory.mktemp("trace")
    put_model(made / "small.safetensors")
    put_data(made / "data.npz")
    arguments = ("--arch", "pico", "--data", made / "data.npz", "--sequences", 2)
    succeeded(invoke("compile", made / "small.safetensors", *arguments, "-o", made / "compiled"))
    return made / "compiled"


@pytest.fixture(autouse=True)
def _cached(monkeypatch: pytest.MonkeyPatch, native_cache: Path) -> None:
    build = RtlMachine.build
    monkeypatch.setattr(RtlMachine, "build", lambda arch, _, *w: build(arch, native_cache, *w))


def counters(path: Path) -> Any:
    return json.loads(path.read_text())["otherData"]["counters"]


def test_a_trace_of_the_simulator_is_written(compiled: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    said = succeeded(invoke("trace", compiled, "-o", path))
    assert said == f"{path}: {counters(path)['cycles']:,} cycles, {path.stat().st_size:,} bytes\n"
    made = folder.read(compiled)
    host = made.host(made.sequences[0][0])
    assert counters(path) == simulate(made.run, made.arch, host=host).counters


def test_simulator_and_rtl_are_compared_and_their_files_differ_by_a_line(
    compiled: Path, tmp_path: Path
) -> None:
    a, b, figures = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "figures.json"
    said = succeeded(
        invoke("trace", compiled, "--compare", "-o", a, "--from", "rtl", "--json", figures)
    )
    assert said.endswith("cycles, the traces of simulator and RTL are equal\n")
    succeeded(invoke("trace", compiled, "-o", b))
    lines = zip(a.read_text().splitlines(), b.read_text().splitlines(), strict=True)
    assert [x for x, y in lines if x != y] == [' "source": "rtl",']
    found = json.loads(figures.read_text())
    assert (found["difference"], found["activity"]) == (None, [])
    assert found["cycles"] == counters(a)["cycles"]


def test_other_sequences_and_lengths_are_traced(compiled: Path, tmp_path: Path) -> None:
    cycles = []
    for n in (1, 3):
        succeeded(invoke("trace", compiled, "--steps", n, "-o", tmp_path / "t.json"))
        cycles.append(counters(tmp_path / "t.json")["cycles"])
    assert cycles[0] < cycles[1]
    succeeded(invoke("trace", compiled, "--sequence", 1, "-o", tmp_path / "t.json"))
    head = json.loads((tmp_path / "t.json").read_text())["otherData"]
    assert "sequence 1," in head["program"]


def test_a_difference_is_named_and_fails(
    compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: Case, _: RtlMachine) -> Trace:
        trace = self.simulated()
        rises = {name: r.copy() for name, r in trace.rises.items()}
        rises["store_idle"][4] = 0
        return replace(trace, rises=rises)

    monkeypatch.setattr(Case, "on_rtl", wrong)
    figures = tmp_path / "figures.json"
    result = invoke("trace", compiled, "--compare", "--json", figures)
    assert result.exit_code == 1
    line = "cycle 4: store: store_idle: 1 in simulator, 0 in RTL"
    assert result.stderr == f"{line}\n"
    assert json.loads(figures.read_text())["difference"] == line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to do: expected -o FILE, --compare, --vcd FILE, --fst FILE or --saif FILE"),
        (("-o", "no/t.json"), "no/t.json: cannot write: "),
        (("--vcd", "no/t.vcd"), "no/t.vcd: cannot write: "),
        (("--compare", "--sequence", "9"), "--sequence: found 9, expected 0 to"),
        (("--compare", "--max-cycles", "10"), "cycles, expected at most 10; choose a shorter one"),
    ],
)
def test_what_cannot_be_traced_is_one_line(
    compiled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(tmp_path, "trace", compiled, *arguments)


def test_of_serial_machines_only_waves_are_recorded(tmp_path: Path) -> None:
    put_model(tmp_path / "small.safetensors")
    made = tmp_path / "compiled"
    succeeded(invoke("compile", tmp_path / "small.safetensors", "--arch", "femto", "-o", made))
    for arguments in (
        ("trace", made, "-o", tmp_path / "x.json"),
        ("trace", made, "--compare"),
        ("trace", made, "--saif", tmp_path / "x.saif"),
        ("report", made, "-o", tmp_path / "x.html"),
    ):
        assert "found a serial machine, expected one whose units" in refused(tmp_path, *arguments)


def test_fst_without_its_libraries_is_one_line(
    compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verilator, "missing_headers", lambda *names: list(names[:1]))
    said = refused(tmp_path, "trace", compiled, "--fst", tmp_path / "t.fst")
    assert said.startswith("--fst: Verilator's writer of FST needs lz4.h, which g++ does not find;")


def test_headers_that_are_missing_are_found_out() -> None:
    assert verilator.missing_headers("cstdint", "no_such_header.h") == ["no_such_header.h"]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("kind", "begins"),
    [("vcd", b"$version"), ("saif", b"// Generated by verilated_saif"), ("fst", b"\0")],
)
def test_waves_of_the_rtl_are_recorded(
    compiled: Path, tmp_path: Path, kind: str, begins: bytes
) -> None:
    if kind == "fst" and verilator.missing_headers("lz4.h", "zlib.h"):
        pytest.skip("no liblz4-dev, zlib1g-dev")
    path, figures = tmp_path / f"run.{kind}", tmp_path / "figures.json"
    said = succeeded(invoke("trace", compiled, "--steps", 1, f"--{kind}", path, "--json", figures))
    assert f"{path.stat().st_size:,} bytes" in said
    assert path.read_bytes().startswith(begins)
    rows = json.loads(figures.read_text())["activity"]
    assert bool(rows) == (kind == "saif")
    assert all(r["expected"] == r["found"] for r in rows if r["exact"])
