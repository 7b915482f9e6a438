"""A board at the end of a serial line, over the frames of `einchip.link`."""

from __future__ import annotations

import contextlib
import errno
import time
from typing import Final

from einchip.host.device import Device, DeviceError, check_range
from einchip.link import (
    FLAG,
    MAX_DATA,
    OPEN_ANSWER,
    PROTOCOL,
    WORD_BYTES,
    Answer,
    FrameError,
    Kind,
    Request,
    Status,
    answer_of,
    request_bytes,
)

try:
    import serial
    from serial.tools import list_ports
except ImportError as _missing:  # of the extra `host`
    raise DeviceError("serial: found no pyserial; install einchip[host]") from _missing

DEFAULT_BAUD: Final = 1_000_000
#: Seconds until a request is sent again, beside those that its bytes take on the line.
DEFAULT_TIMEOUT: Final = 0.5
#: How often a request is sent.
TRIES: Final = 5
#: Bits of a byte on the line.
_BYTE_BITS: Final = 10
#: Bytes of an answer without escapes, and of one that is nothing but escapes.
_LONGEST: Final = 2 * (MAX_DATA + 16)
_WORD_MASK: Final = WORD_BYTES - 1


class SerialDevice(Device):
    """A board whose `fpga.system.System` is at the other end of a serial port.

    What is not answered is sent again, `TRIES` times in all; a write is carried out once however
    often it is sent. After any DeviceError the device is closed: open it anew.

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
        self._port, self._baud, self._timeout = port, baud, timeout
        self._tag = 0
        self._line: serial.Serial | None = _opened(port, baud)
        opened = self._ask(Kind.OPEN)
        if len(opened.data) != OPEN_ANSWER.size:
            raise self._failed("found no einchip at its end")
        protocol, self.memory_bytes = OPEN_ANSWER.unpack(opened.data)
        if protocol != PROTOCOL:
            raise self._failed(f"found protocol {protocol}, expected {PROTOCOL}; build it anew")

    def read_register(self, address: int) -> int:
        """Return a register."""
        answer = self._ask(Kind.READ_REGISTER, address, WORD_BYTES)
        return int.from_bytes(answer.data, "little")

    def write_register(self, address: int, value: int) -> None:
        """Write a register."""
        self._ask(Kind.WRITE_REGISTER, address, data=value.to_bytes(WORD_BYTES, "little"))

    def read_memory(self, address: int, n_bytes: int) -> bytes:
        """Return bytes of memory."""
        check_range(self, address, n_bytes)
        first, end = address & ~_WORD_MASK, -(-(address + n_bytes) // WORD_BYTES) * WORD_BYTES
        words = b"".join(
            self._ask(Kind.READ_MEMORY, at, min(MAX_DATA, end - at)).data
            for at in range(first, end, MAX_DATA)
        )
        return words[address - first :][:n_bytes]

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes of memory; words that they fill in part are read before."""
        check_range(self, address, len(data))
        before, behind = address & _WORD_MASK, -(address + len(data)) & _WORD_MASK
        front = self.read_memory(address - before, before)
        data = front + data + self.read_memory(address + len(data), behind)
        for k in range(0, len(data), MAX_DATA):
            self._ask(Kind.WRITE_MEMORY, address - before + k, data=data[k : k + MAX_DATA])

    def close(self) -> None:
        """Close the port."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.close()
            self._line = None

    def _ask(self, kind: Kind, address: int = 0, length: int = 0, data: bytes = b"") -> Answer:
        """Return the answer to a request. Raises DeviceError, and closes, where there is none."""
        self._tag = (self._tag + 1) % 256
        request = Request(kind, self._tag, address, length, data)
        wire = request_bytes(request)
        seconds = self._timeout + (len(wire) + _LONGEST) * _BYTE_BITS / self._baud
        for _ in range(TRIES):
            answer = self._once(request, wire, seconds)
            if answer is not None:
                return self._checked(request, answer)
        raise self._failed(
            f"found no answer in {TRIES} tries of {seconds:.2g} s, expected one at {self._baud} "
            "baud; check power, cable, baud rate and bitstream"
        )

    def _once(self, request: Request, wire: bytes, seconds: float) -> Answer | None:
        """Send a request and return its answer; None where none comes in time."""
        due = time.monotonic() + seconds
        try:
            line = self._open_line()
            line.reset_input_buffer()
            line.write(bytes((FLAG,)) + wire)
            while (left := due - time.monotonic()) > 0:
                line.timeout = left
                frame = line.read_until(bytes((FLAG,)), 2 * _LONGEST)
                with contextlib.suppress(FrameError):
                    answer = answer_of(frame.removesuffix(bytes((FLAG,))))
                    if (answer.kind, answer.tag) == (request.kind, request.tag):
                        return answer
        except (OSError, serial.SerialException) as error:
            raise self._failed(f"lost: {_reason(error)}; plug it in and open it again") from error
        return None

    def _open_line(self) -> serial.Serial:
        if self._line is None:
            raise DeviceError(f"{self._port}: is closed; open it again")
        return self._line

    def _checked(self, request: Request, answer: Answer) -> Answer:
        """Return an answer that says OK, with as much data as was asked for."""
        what = f"{request.kind.name} at {request.address:#x}"
        if answer.status == Status.NOT_OPEN:
            raise self._failed(
                "was reset: what it had loaded is gone; open it again, and load again"
            )
        if answer.status == Status.BUS_ERROR:
            raise DeviceError(f"{self._port}: {what}: found no such register; see registers.md")
        if answer.status != Status.OK:
            raise self._failed(f"{what}: found status {answer.status}, expected 0; build it anew")
        if request.kind is not Kind.OPEN and len(answer.data) != request.length:
            raise self._failed(
                f"{what}: found {len(answer.data)} bytes, expected {request.length}; build it anew"
            )
        return answer

    def _failed(self, what: str) -> DeviceError:
        """Close, and return the error that says why."""
        self.close()
        return DeviceError(f"{self._port}: {what}")


def _opened(port: str, baud: int) -> serial.Serial:
    try:
        return serial.Serial(port, baud, exclusive=True, write_timeout=DEFAULT_TIMEOUT * TRIES)
    except (OSError, serial.SerialException) as error:
        code = error.errno or getattr(error.__context__, "errno", None)
        if code == errno.EACCES:
            way_out = "expected permission to use it; add yourself to its group (dialout)"
        elif code == errno.ENOENT:
            ports = ", ".join(sorted(p.device for p in list_ports.comports())) or "none"
            way_out = f"expected a serial port; there are: {ports}"
        else:
            way_out = "expected a serial port that nobody else uses"
        raise DeviceError(f"{port}: {_reason(error)}, {way_out}") from None
    except ValueError as error:
        raise DeviceError(f"{port}: {error}; choose another baud rate") from None


def _reason(error: Exception) -> str:
    """Return what the system said, in a few words."""
    cause = error if isinstance(error, OSError) and error.strerror else error.__context__
    text = getattr(cause, "strerror", None) or str(error)
    return str(text).splitlines()[0].lower()
