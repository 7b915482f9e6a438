"""A board at the end of a serial line."""

from __future__ import annotations

import errno
from typing import Final

from einchip.host.device import DeviceError
from einchip.host.link_device import DEFAULT_TIMEOUT, LONGEST, TRIES, Line, LinkDevice, reason
from einchip.link import FLAG

try:
    import serial
    from serial.tools import list_ports
except ImportError as _missing:  # of the extra `host`
    raise DeviceError("serial: found no pyserial; install einchip[host]") from _missing

DEFAULT_BAUD: Final = 1_000_000
#: Bits of a byte on the line.
_BYTE_BITS: Final = 10


class SerialLine(Line):
    """A serial port. Raises DeviceError where there is none, or no permission."""

    def __init__(self, port: str, baud: int) -> None:
        self.name, self.seconds_per_byte = port, _BYTE_BITS / baud
        self.check = f"{baud} baud; check power, cable, baud rate and bitstream"
        self._port = _opened(port, baud)

    def clear(self) -> None:
        """Forget what has come."""
        self._port.reset_input_buffer()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._port.write(data)

    def read_frame(self, seconds: float) -> bytes:
        """Return what comes up to the next FLAG, or in time."""
        self._port.timeout = seconds
        return self._port.read_until(bytes((FLAG,)), 2 * LONGEST)

    def close(self) -> None:
        """Close the port."""
        self._port.close()


class SerialDevice(LinkDevice):
    """A board whose `fpga.system.System` is at the other end of a serial port.

    Parameters
    ----------
    port : its name, such as /dev/ttyUSB0.
    baud : bits per second, those that the board was built with.
    timeout : seconds until a request is sent again.

    Raises DeviceError where there is no such port, no permission, or no einchip at its end.
    """

    def __init__(
        self, port: str, baud: int = DEFAULT_BAUD, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        super().__init__(SerialLine(port, baud), timeout)


def _opened(port: str, baud: int) -> serial.Serial:
    try:
        return serial.Serial(port, baud, exclusive=True, write_timeout=DEFAULT_TIMEOUT * TRIES)
    except OSError as error:
        code = error.errno or getattr(error.__context__, "errno", None)
        if code == errno.EACCES:
            way_out = "expected permission to use it; add yourself to its group (dialout)"
        elif code == errno.ENOENT:
            ports = ", ".join(sorted(p.device for p in list_ports.comports())) or "none"
            way_out = f"expected a serial port; there are: {ports}"
        else:
            way_out = "expected a serial port that nobody else uses"
        raise DeviceError(f"{port}: {reason(error)}, {way_out}") from None
    except ValueError as error:
        raise DeviceError(f"{port}: {error}; choose another baud rate") from None
