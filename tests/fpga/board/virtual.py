"""A board in a simulation, whose links end in pseudo-terminals (`bench_board`)."""

import os
import threading
import time
from pathlib import Path
from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from einchip.arch import Architecture
from einchip.fpga.host_link.bridge import Bridge
from einchip.fpga.host_link.memory import Ports
from einchip.fpga.host_link.spi import SpiPort
from einchip.fpga.host_link.uart import Receiver, Transmitter, line
from einchip.fpga.system import LinkedSystem, SpiSystem, System
from einchip.host.link_device import LinkDevice
from einchip.host.serial_port import SerialDevice
from einchip.host.spi_port import DEFAULT_HZ, SpiLine
from einchip.hw.generate import module_text
from einchip.verify.cocotb_runner import simulate
from tests.fpga.board.wires import UART_CYCLES

#: Seconds that a simulated board may take for an answer, or for a command.
PATIENCE = 20.0


class TerminalLine(SpiLine):
    """SPI whose transfers are carried out at the other end of a terminal (`wires.SpiWires`)."""

    def __init__(self, port: str) -> None:
        super().__init__(port, DEFAULT_HZ)
        self._file = os.open(port, os.O_RDWR | os.O_NOCTTY)

    def transfer(self, data: bytes) -> bytes:
        os.write(self._file, len(data).to_bytes(2, "little") + data)
        found = b""
        while len(found) < len(data):
            found += os.read(self._file, len(data) - len(found))
        return found

    def close(self) -> None:
        os.close(self._file)


class TwoLinks(LinkedSystem):
    """A system with both links, so that it is compiled once; that which asked gets the answer."""

    rx: Signal
    tx: Signal
    cipo: Signal

    def __init__(self, arch: Architecture, memory_bytes: int) -> None:
        self._receiver, self._transmitter = Receiver(UART_CYCLES), Transmitter(UART_CYCLES)
        self._spi = SpiPort()
        pins = {name: In(1) for name in ("sck", "copi", "cs")} | {"cipo": Out(1)}
        ends = {"uart_in": self._receiver, "uart_out": self._transmitter, "spi": self._spi}
        super().__init__(arch, memory_bytes, {"rx": line(In), "tx": line(Out), **pins}, ends)

    def _join(self, m: Module, bridge: Bridge) -> None:
        uart, spi, by_spi = self._receiver.bytes, self._spi, Signal()
        with m.If(spi.received.valid | uart.valid):
            m.d.sync += by_spi.eq(spi.received.valid)
        for sender, chosen in ((spi.sent, by_spi), (self._transmitter.bytes, ~by_spi)):
            m.d.comb += [
                sender.payload.eq(bridge.sent.payload),
                sender.valid.eq(bridge.sent.valid & chosen),
            ]
        came = Mux(spi.received.valid, spi.received.payload, uart.payload)
        m.d.comb += [
            bridge.received.payload.eq(came),
            bridge.received.valid.eq(spi.received.valid | uart.valid),
            bridge.sent.ready.eq(Mux(by_spi, spi.sent.ready, self._transmitter.bytes.ready)),
            self._receiver.rx.eq(self.rx),
            self.tx.eq(self._transmitter.tx),
            *(getattr(spi, name).eq(getattr(self, name)) for name in ("sck", "copi", "cs")),
            self.cipo.eq(spi.cipo),
        ]


def system_of(links: str, arch: Architecture, memory_bytes: int) -> LinkedSystem:
    """Return the system with these links; a serial machine's memory has one port.

    So it is on the iCEBreaker.
    """
    ports: Ports = 1 if arch.serial else 2
    if links == "spi":
        return SpiSystem(arch, memory_bytes, ports)
    if links == "uart":
        return System(arch, memory_bytes, UART_CYCLES, ports)
    return TwoLinks(arch, memory_bytes)


class VirtualBoard:
    """A board that runs until the end of its `with`; `links` is "uart", "spi" or "uart spi"."""

    def __init__(self, links: str, arch: Architecture, memory_bytes: int, folder: Path) -> None:
        self.links, self.arch = links, arch
        self._verilog = module_text(system_of(links, arch, memory_bytes), "board")
        self._folder, self._failure = folder, list[BaseException]()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        bench = Path(__file__).with_name("bench_board.py")
        env = {"BOARD": str(self._folder), "LINKS": self.links}
        try:
            simulate(
                self._verilog, top="board", bench=bench, build_dir=self._folder / "sim", env=env
            )
        except BaseException as failure:  # told in the thread that waits
            self._failure.append(failure)

    def __enter__(self) -> "VirtualBoard":
        self._thread.start()
        for link in self.links.split():
            self._wait((self._folder / link).exists, seconds=600)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._thread.is_alive():
            self._give("stop")
        self._thread.join()
        if self._failure:
            raise self._failure[0]

    def _wait(self, ready: Any, seconds: float) -> None:
        due = time.monotonic() + seconds
        while not ready():
            if not self._thread.is_alive() or time.monotonic() > due:
                raise AssertionError(f"the board is gone: {self._failure}")
            time.sleep(0.02)

    def _give(self, command: str) -> Path:
        """Put a command where `bench_board` looks; it appears whole, or it would be read empty."""
        path = self._folder / "command"
        (self._folder / "next").write_text(command)
        (self._folder / "next").rename(path)
        return path

    def do(self, command: str) -> None:
        """Carry out a command of `bench_board`."""
        path = self._give(command)
        self._wait(lambda: not path.exists(), PATIENCE)

    def open(self, link: str, timeout: float = PATIENCE / 4) -> LinkDevice:
        """Return the real driver at the other end of a link."""
        port = (self._folder / link).read_text()
        if link == "spi":
            return LinkDevice(TerminalLine(port), timeout)
        return SerialDevice(port, timeout=timeout)
