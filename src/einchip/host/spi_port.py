"""A board at the end of SPI, by a device node of Linux (spidev)."""

from __future__ import annotations

import abc
import errno
import time
from pathlib import Path
from typing import Final

from einchip.host.device import DeviceError
from einchip.host.link_device import DEFAULT_TIMEOUT, LONGEST, Line, LinkDevice, reason
from einchip.link import FILL, FLAG, without_fill

try:
    from fcntl import LOCK_EX, LOCK_NB, flock

    from periphery import SPI
except ImportError as _missing:  # of the extra `host`, on Linux
    raise DeviceError(
        "spi: found no python-periphery; install einchip[host], on Linux"
    ) from _missing

#: Of SCK; every board follows it.
DEFAULT_HZ: Final = 1_000_000
#: Where nodes are.
NODES: Final = Path("/dev")
#: Bytes of a transfer that asks whether there are any: the answer to most requests.
_POLL: Final = bytes((FILL,)) * 32
#: SCK rests at 0, and both sides sample at its rising edges.
_MODE: Final = 0


class SpiLine(Line):
    """Bytes over SPI: each transfer selects the board, and moves as many bytes in as out.

    Attributes
    ----------
    hz : of SCK.
    """

    def __init__(self, name: str, hz: int) -> None:
        self.name, self.seconds_per_byte = name, 8 / hz
        self.check = (
            f"{hz} Hz; check power, wires, frequency (at most an eighth of the board's clock) and "
            "bitstream (built with --link spi)"
        )
        self._pending, self._rests = bytearray(), False

    @abc.abstractmethod
    def transfer(self, data: bytes) -> bytes:
        """Send bytes and return as many that came meanwhile."""

    def clear(self) -> None:
        """Forget what has come, and take from the board what it still wants to send."""
        taken = 0
        while not self._rests and taken < 2 * LONGEST:
            self._move(_POLL)
            taken += len(_POLL)
        self._pending.clear()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._move(without_fill(data))

    def read_frame(self, seconds: float) -> bytes:
        """Return what comes up to the next FLAG, or in time."""
        due = time.monotonic() + seconds
        while FLAG not in self._pending and time.monotonic() < due:
            self._move(_POLL)
        end = self._pending.find(FLAG) + 1 or len(self._pending)
        frame = bytes(self._pending[:end])
        del self._pending[:end]
        return frame

    def _move(self, data: bytes) -> None:
        """Send bytes, and keep those that come meanwhile."""
        found = self.transfer(data)
        self._rests = found[-1] == FILL
        self._pending += found.replace(bytes((FILL,)), b"")


class SpidevLine(SpiLine):
    """A device node. Raises DeviceError where there is none, or no permission."""

    def __init__(self, node: str, hz: int) -> None:
        super().__init__(node, hz)
        self._spi = _opened(node, hz)

    def transfer(self, data: bytes) -> bytes:
        """Send and return bytes."""
        return bytes(self._spi.transfer(data))

    def close(self) -> None:
        """Close the node."""
        self._spi.close()


class SpiDevice(LinkDevice):
    """A board whose `fpga.system.SpiSystem` is at the other end of SPI.

    Parameters
    ----------
    node : its device node, such as /dev/spidev0.0.
    hz : frequency of SCK, which the board must follow (`host_link.spi.max_sck_hz`).
    timeout : seconds until a request is sent again.

    Raises DeviceError where there is no such node, no permission, or no einchip at its end.
    """

    def __init__(self, node: str, hz: int = DEFAULT_HZ, timeout: float = DEFAULT_TIMEOUT) -> None:
        super().__init__(SpidevLine(node, hz), timeout)


def _opened(node: str, hz: int) -> SPI:
    try:
        spi = SPI(node, _MODE, hz)
    except OSError as error:
        raise DeviceError(f"{node}: {reason(error)}, {_way_out(error)}") from None
    try:
        flock(spi.fd, LOCK_EX | LOCK_NB)
    except OSError as error:
        spi.close()
        raise DeviceError(
            f"{node}: {reason(error)}, expected a node that nobody else uses"
        ) from None
    return spi


def _way_out(error: OSError) -> str:
    """Return what was expected of a node, and what to do."""
    if error.errno == errno.EACCES:
        return "expected permission to use it; add yourself to its group (spi)"
    if error.errno == errno.ENOENT:
        nodes = ", ".join(sorted(map(str, NODES.glob("spidev*")))) or "none"
        return f"expected a device node of SPI; there are: {nodes}"
    return "expected a device node of SPI, such as /dev/spidev0.0"
