"""Logic synthesis: the cells of a small component are those that its definition needs."""

import stat
from pathlib import Path
from typing import get_args

import pytest
from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.fpga import synth
from einchip.fpga.synth import Family, StuckError, SynthesisError, count, synthesise
from tests.fpga.needs import needs_yosys

FAMILIES: tuple[Family, ...] = get_args(Family)


class MultiplyRegister(wiring.Component):
    """A register of a * b, and one of a's sign."""

    a: Signal
    b: Signal
    product: Signal
    sign: Signal

    def __init__(self, bits: int) -> None:
        super().__init__(
            {
                "a": In(signed(bits)),
                "b": In(signed(bits)),
                "product": Out(signed(2 * bits)),
                "sign": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += [self.product.eq(self.a * self.b), self.sign.eq(self.a < 0)]
        return m


def put_program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a program that is called as Yosys is, and let it be the only one."""
    path = folder / "yosys"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(synth, "find", lambda: str(path))


@needs_yosys
@pytest.mark.parametrize("family", FAMILIES)
def test_a_multiplier_takes_one_dsp_and_its_registers(family: Family, tmp_path: Path) -> None:
    found = synthesise(MultiplyRegister(8), family, tmp_path)
    # Xilinx' DSP has a register for the product, ECP5's is left without
    assert (found.dsp, found.ff) == (1, {"ecp5": 17, "xilinx": 1}[family])
    assert (found.carry, found.lut_ram, found.block_ram) == (0, 0, 0)
    assert found.logic_levels == {"ecp5": 1, "xilinx": 0}[family]
    assert found.yosys
    assert found.to_json()["dsp"] == 1


def test_cells_are_counted_by_kind() -> None:
    cells = {"LUT4": 5, "CCU2C": 2, "TRELLIS_FF": 7, "DP16KD": 1, "PDPW16KD": 2, "PFUMX": 9}
    figures = {"lut": 5, "carry": 2, "lut_ram": 0, "ff": 7, "dsp": 0, "block_ram": 3}
    assert count(cells, "ecp5") == figures
    cells = {"LUT2": 1, "LUT6": 2, "INV": 4, "FDRE": 3, "FDSE": 4, "RAM32M": 5, "RAMB36E1": 6}
    figures = {"lut": 7, "carry": 0, "lut_ram": 5, "ff": 7, "dsp": 0, "block_ram": 6}
    assert count(cells, "xilinx") == figures


def test_missing_yosys_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    with pytest.raises(SynthesisError, match=r"found none of .*; install einchip\[fpga\]$"):
        synth.find()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'ERROR: no such cell' >&2; exit 1",
            r"exit status 1 \(ERROR: no such cell\), expected",
        ),
        ("exit 3", r"exit status 3 \(no message\), expected"),
        (
            "exit 0",
            r"exit status 0 \(no message\), expected ltp.txt",
        ),  # stopped before the end of the script
    ],
)
def test_a_failed_run_is_one_line(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(tmp_path, script, monkeypatch)
    (tmp_path / "ltp.txt").write_text("left by an earlier run")
    with pytest.raises(SynthesisError, match=message) as error:
        synthesise(MultiplyRegister(2), "ecp5", tmp_path)
    assert "\n" not in str(error.value)


def test_a_program_that_is_stuck_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends by itself in a minute; the log says what is wrong from the second look on."""
    monkeypatch.setattr(synth, "WATCH_SECONDS", 0.05)
    script = "echo so far > log; echo begun; exec sleep 60"
    seen = list[str]()

    def stuck(log: str) -> str:
        seen.append(log)
        return "found no end" * (len(seen) > 1 and "so far" in log)

    with pytest.raises(StuckError, match=r"sh: found no end; see .*log"):
        synth.run(["/bin/sh", "-c", script], tmp_path, "result", "log", stuck)


def test_a_program_that_is_not_stuck_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synth, "WATCH_SECONDS", 0.05)
    script = "sleep 0.3; echo done > result"
    synth.run(["/bin/sh", "-c", script], tmp_path, "result", "log")
    assert (tmp_path / "result").read_text() == "done\n"
