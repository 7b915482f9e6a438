"""A board in a simulation, whose serial line is a pseudo-terminal (`bench_board`)."""

import threading
import time
from pathlib import Path
from typing import Any

from einchip.arch import Architecture
from einchip.fpga.system import System
from einchip.host.serial_port import SerialDevice
from einchip.hw.generate import module_text
from einchip.verify.cocotb_runner import simulate

#: Cycles of a bit: that of 24 MHz and 3 Mbaud.
CYCLES = 8
#: Seconds that a simulated board may take for an answer, or for a command.
PATIENCE = 20.0


class VirtualBoard:
    """A board that runs until the end of its `with`."""

    def __init__(self, arch: Architecture, memory_bytes: int, folder: Path) -> None:
        self.arch = arch
        self._verilog = module_text(System(arch, memory_bytes, CYCLES), "board")
        self._folder, self._failure = folder, list[BaseException]()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        bench = Path(__file__).with_name("bench_board.py")
        env = {"BOARD": str(self._folder), "CYCLES": str(CYCLES)}
        try:
            simulate(
                self._verilog, top="board", bench=bench, build_dir=self._folder / "sim", env=env
            )
        except BaseException as failure:  # told in the thread that waits
            self._failure.append(failure)

    def __enter__(self) -> "VirtualBoard":
        self._thread.start()
        self._wait((self._folder / "port").exists, seconds=600)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._thread.is_alive():
            (self._folder / "command").write_text("stop")
        self._thread.join()
        if self._failure:
            raise self._failure[0]

    def _wait(self, ready: Any, seconds: float) -> None:
        due = time.monotonic() + seconds
        while not ready():
            if not self._thread.is_alive() or time.monotonic() > due:
                raise AssertionError(f"the board is gone: {self._failure}")
            time.sleep(0.02)

    def do(self, command: str) -> None:
        """Carry out a command of `bench_board`."""
        path = self._folder / "command"
        (self._folder / "next").write_text(command)
        (self._folder / "next").rename(path)
        self._wait(lambda: not path.exists(), PATIENCE)

    @property
    def port(self) -> str:
        """The terminal's name."""
        return (self._folder / "port").read_text()

    def open(self, timeout: float = PATIENCE / 4) -> SerialDevice:
        """Return the real driver at the other end."""
        return SerialDevice(self.port, timeout=timeout)
