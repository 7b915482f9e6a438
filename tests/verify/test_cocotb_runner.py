"""cocotb benches on a machine that copies; the oracle is the RAM model of cocotbext-axi."""

from pathlib import Path

import pytest

from einchip.verify.cocotb_runner import BenchFailedError, simulate
from tests.verify.memcpy import memcpy_verilog

BENCH = Path(__file__).with_name("bench_memcpy.py")


def test_a_bench_runs_and_fails_when_it_should(build_dir: Path) -> None:
    verilog = memcpy_verilog(8)
    options = {"top": "einchip_top", "bench": BENCH, "build_dir": build_dir}
    simulate(verilog, **options, env={"EXPECTED_STATUS": "2"})  # type: ignore[arg-type]
    with pytest.raises(BenchFailedError, match="AssertionError"):
        simulate(verilog, **options, env={"EXPECTED_STATUS": "3"})  # type: ignore[arg-type]


def test_a_design_that_does_not_compile_fails(build_dir: Path) -> None:
    broken = "module einchip_top(clk);\n  input clk;\n  assign missing_net[ = 1;\nendmodule\n"
    with pytest.raises(BenchFailedError, match="syntax error"):
        simulate(broken, top="einchip_top", bench=BENCH, build_dir=build_dir)
