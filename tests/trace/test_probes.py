"""Signals found by name in Verilog, and sampled; oracles: text written here, the run's SAIF."""

from pathlib import Path

import numpy as np
import pytest

from einchip.arch import PRESETS
from einchip.hw.counters import increments
from einchip.trace import activity, saif
from einchip.verify.jobs import Dump, Job, Load, Operation, Record, WaitIrq, WriteRegister
from einchip.verify.machine import ACTIVITY, generated
from einchip.verify.native import SCOPE, TOP, Harness, HarnessError, build
from einchip.verify.probes import Netlist, Probe, ProbeError, control_file, read_samples
from tests.verify.memcpy import BURST_BEATS, CONTROL, N_BURSTS, SOURCE, TARGET, memcpy_verilog

TEXT = r"""
module einchip_top(clk);
  wire [3:0] busy;
  \einchip_top.array  array (
    .clk(clk)
  );
  \einchip_top.writes$112  \writes$112  (
    .clk(clk)
  );
  \einchip_top.twin  twin (
    .clk(clk)
  );
  \einchip_top.twin  \twin$3  (
    .clk(clk)
  );
endmodule

module \einchip_top.array (clk);
  reg launch = 1'h0;
  wire [15:0] \desc.raw.wait ;
endmodule

module \einchip_top.writes$112 (clk);
  wire ends;
endmodule

module \einchip_top.twin (clk);
  wire ends;
endmodule
"""
NETLIST = Netlist(TEXT, "einchip_top", "TOP.top")


def test_signals_are_found_by_place() -> None:
    assert NETLIST.probe("busy") == Probe("einchip_top", "TOP.top", "busy", 4)
    launch = NETLIST.probe("array/launch")
    assert launch == Probe("einchip_top.array", "TOP.top.array", "launch", 1)
    assert NETLIST.probe("array/desc.raw.wait").identifier == "\\desc.raw.wait "
    assert NETLIST.probe("writes/ends").scope == "TOP.top.writes$112"
    assert control_file([launch]).splitlines()[1] == (
        'public_flat_rd -module "einchip_top.array" -var "launch"'
    )


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("array/lunch", "signal array/lunch: no lunch in einchip_top.array"),
        ("vector/ends", "signal vector/ends: 0 components vector in einchip_top, expected 1"),
        ("twin/ends", "signal twin/ends: 2 components twin in einchip_top, expected 1"),
    ],
)
def test_what_is_not_there_is_an_error(place: str, message: str) -> None:
    with pytest.raises(ProbeError, match=message):
        NETLIST.probe(place)


def test_verilog_without_the_machine_is_an_error() -> None:
    with pytest.raises(ProbeError, match="no module einchip_top in the Verilog"):
        Netlist("module other(clk);\nendmodule\n", "einchip_top", "TOP.top")


def test_all_signals_of_a_trace_are_in_the_generated_verilog(native_cache: Path) -> None:
    arch = PRESETS["pico"]
    text = generated(arch, native_cache).read_text()
    netlist = Netlist(text, TOP, SCOPE)
    found = {place: netlist.probe(place) for place in ACTIVITY}
    assert found["control/counters/events"].width_bits == increments(arch).size
    assert found["sequencer/registers/write__data"].width_bits == 32
    without = Netlist(text.replace("fetch__done", "fetch__over"), TOP, SCOPE)
    with pytest.raises(ProbeError, match="signal load/fetch__done: no fetch__done"):
        without.probe("load/fetch__done")


@pytest.fixture(scope="module")
def harness(native_cache: Path) -> Harness:
    visible = [probe("m_axi__wvalid"), probe("m_axi__wdata")]
    text = memcpy_verilog(4)
    return build(text, native_cache, 4, visible=visible, traced=True, waves="saif")


def probe(name: str) -> Probe:
    return Netlist(memcpy_verilog(4), TOP, SCOPE).probe(name)


def job(n_bursts: int, *, recorded: bool) -> Job:
    content = bytes(range(4 * BURST_BEATS * n_bursts))
    operations: list[Operation] = [
        Load(0, content), WriteRegister(SOURCE, 0), WriteRegister(TARGET, 0x200),
        WriteRegister(N_BURSTS, n_bursts), *([Record(on=True)] if recorded else []),
        WriteRegister(CONTROL, 1), WaitIrq(1000), *([Record(on=False)] if recorded else []),
        Dump(0x200, len(content)),
    ]  # fmt: skip
    return Job(memory_bytes=0x400, operations=operations)


def test_samples_and_switching_activity_see_the_same_run(harness: Harness, tmp_path: Path) -> None:
    probes = [probe("m_axi__wvalid"), probe("m_axi__wdata")]
    samples, waves = tmp_path / "samples", tmp_path / "run.saif"
    [result] = harness.run([job(2, recorded=True)], trace=waves, probes=probes, samples=samples)
    seen = read_samples(samples, probes)
    valid = seen[probes[0]][:, 0]
    assert valid.sum() == result.write_beats == 2 * BURST_BEATS
    data = seen[probes[1]][valid.astype(bool)].tobytes()
    assert data == bytes(range(len(data)))
    found = activity.measured(waves)
    assert found.total("", "m_axi__wvalid").high == valid.sum()
    bits = np.unpackbits(seen[probes[1]], axis=1).astype(np.int8)
    first = np.concatenate((np.zeros((1, 32), np.int8), bits))
    assert found.total("", "m_axi__wdata").changes == np.abs(np.diff(first, axis=0)).sum()


def test_a_job_that_does_not_say_what_is_recorded_whole(harness: Harness, tmp_path: Path) -> None:
    probes = [probe("m_axi__wvalid")]
    [result] = harness.run([job(1, recorded=False)], probes=probes, samples=tmp_path / "samples")
    rows = read_samples(tmp_path / "samples", probes)[probes[0]]
    assert len(rows) > result.cycles


def test_a_signal_that_is_not_visible_is_an_error(harness: Harness, tmp_path: Path) -> None:
    hidden = probe("m_axi__araddr")
    with pytest.raises(HarnessError, match=f"no signal {SCOPE}\tm_axi__araddr"):
        harness.run([job(1, recorded=True)], probes=[hidden], samples=tmp_path / "samples")
    with pytest.raises(ValueError, match="exactly one job"):
        harness.run([], probes=[hidden], samples=tmp_path / "samples")


def test_samples_of_other_signals_are_an_error(harness: Harness, tmp_path: Path) -> None:
    probes, samples = [probe("m_axi__wvalid")], tmp_path / "samples"
    harness.run([job(1, recorded=True)], probes=probes, samples=samples)
    with pytest.raises(ProbeError, match="found samples of other signals"):
        read_samples(samples, [probe("m_axi__wdata")])


def test_a_file_that_is_no_saif_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.saif"
    path.write_text("no\n")
    with pytest.raises(saif.SaifError, match="found no DURATION"):
        list(saif.read(path))
    path.write_text("(SAIFILE (DURATION 10)\n(INSTANCE TOP\n")
    with pytest.raises(saif.SaifError, match="the file ends early"):
        list(saif.read(path))
