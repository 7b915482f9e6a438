"""The machine at its AXI ports, under cocotb with the bus models of cocotbext-axi."""

from pathlib import Path

from einchip.arch import PRESETS
from einchip.verify.cocotb_runner import simulate
from tests.bench.wrapper import WRAPPER, verilog_with_ids


def test_machine_at_its_axi_ports(build_dir: Path) -> None:
    simulate(
        verilog_with_ids(PRESETS["nano"]),
        top=WRAPPER,
        bench=Path(__file__).with_name("bench_machine.py"),
        build_dir=build_dir,
    )
